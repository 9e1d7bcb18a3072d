(* Hermite expansions in the Gaussian L2: smoothing preserves means, and the continuous functions of polynomial growth
   are a `setting` of MehlerGeneral.v, completeness included.

   combined b n x     b_0 h_0 x + ... + b_(n-1) h_(n-1) x
   space, s_ip        the tempered functions (Mean.v) with <f, g> = E f g
   coefficient phi k  <phi, h_k>;  s_smooth f  x |-> E_y f (r x + s y)                                *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From lop Require Import Gaussian Stein Mean Weierstrass Density MehlerGeneral.
Local Open Scope R_scope.

Lemma near_square f eps : tempered f -> 0 < eps -> exists p r, is_poly p /\ is_poly r /\ (forall x, (f x - p x) ^ 2 <= r x) /\ mean r <= eps.
Proof. intros t; apply density, t. Qed.

Lemma sum_0 (u : nat -> R) : @eq R (sum_n u 0) (u 0%nat).
Proof. exact (sum_O u). Qed.
Lemma sum_S (u : nat -> R) n : @eq R (sum_n u (S n)) (sum_n u n + u (S n)).
Proof. exact (sum_Sn u n). Qed.

(* ---- Smoothing is linear and monotone ---- *)
Section Smoothing.
Variables r s : R.

Lemma smooth_plus f g x : tempered f -> tempered g -> smooth r s (fun x => f x + g x) x = smooth r s f x + smooth r s g x.
Proof. intros tf tg; apply (mean_plus (fun y => f (r * x + s * y)) (fun y => g (r * x + s * y))); now apply tempered_inner. Qed.
Lemma smooth_scal c f x : tempered f -> smooth r s (fun x => c * f x) x = c * smooth r s f x.
Proof. intros tf; apply (mean_scal c (fun y => f (r * x + s * y))); now apply tempered_inner. Qed.
Lemma smooth_ext f g x : (forall x, f x = g x) -> smooth r s f x = smooth r s g x.
Proof. intros e; apply mean_ext; intros; apply e. Qed.
Lemma smooth_le f g x : tempered f -> tempered g -> (forall x, f x <= g x) -> smooth r s f x <= smooth r s g x.
Proof. intros tf tg le; apply mean_le; try (now apply tempered_inner); intros y; apply le. Qed.
Lemma smooth_const c x : smooth r s (fun _ => c) x = c.
Proof. exact (mean_const c). Qed.

(* f(x) (P f)(x) against ((f^2)(x) + (P f^2)(x)) / 2 *)
Lemma smooth_product f x : tempered f ->
  2 * Rabs (f x * smooth r s f x) <= f x ^ 2 + smooth r s (fun x => f x ^ 2) x.
Proof.
intros t; assert (ti := tempered_inner r s f x t); assert (tq := tempered_inner r s _ x (tempered_pow f 2 t)).
assert (e : f x * smooth r s f x = mean (fun y => f x * f (r * x + s * y))) by (unfold smooth; now rewrite mean_scal).
rewrite e; assert (tp := tempered_scal (f x) _ ti).
apply Rle_trans with (2 * mean (fun y => Rabs (f x * f (r * x + s * y)))); [apply Rmult_le_compat_l; [lra | now apply mean_abs]|].
rewrite <- mean_scal by now apply tempered_abs.
apply Rle_trans with (mean (fun y => f x ^ 2 + f (r * x + s * y) ^ 2)).
- apply mean_le; [now apply tempered_scal, tempered_abs | apply tempered_plus; [apply tempered_const | exact tq]|]; intros y.
  set (u := f x); set (v := f (r * x + s * y)); assert (h := pow2_ge_0 (u - v)); assert (h' := pow2_ge_0 (u + v)).
  unfold Rabs; destruct Rcase_abs; simpl in *; nra.
- rewrite mean_plus, mean_const by (try exact tq; apply tempered_const); unfold smooth; lra.
Qed.
End Smoothing.

(* ---- The Hermite polynomials as an orthonormal, complete family of eigenfunctions ---- *)
Section Hermite.
Variable h : nat -> R -> R.
Fixpoint combined (b : nat -> R) (n : nat) (x : R) : R := match n with O => 0 | S n => b n * h n x + combined b n x end.

Hypothesis h_one : forall x, h 0 x = 1.
Hypothesis h_poly : forall k, is_poly (h k).
Hypothesis h_orthonormal : forall j k, mean (fun x => h j x * h k x) = indicator j k 1.
Hypothesis h_span : forall p, is_poly p -> exists b n, forall x, p x = combined b n x.

Lemma h_tempered k : tempered (h k).
Proof. apply poly_tempered, h_poly. Qed.

Lemma span_tempered b n : tempered (combined b n).
Proof. induction n as [|n IH]; [apply tempered_const | apply tempered_plus; [apply tempered_scal, h_tempered | exact IH]]. Qed.

Definition space := {f : R -> R | tempered f}.
Definition fn (f : space) : R -> R := proj1_sig f.
Definition s_comb c (f g : space) : space :=
  exist tempered (fun x => c * fn f x + fn g x) (tempered_plus _ _ (tempered_scal c _ (proj2_sig f)) (proj2_sig g)).
Definition s_ip (f g : space) := mean (fun x => fn f x * fn g x).
Definition s_he k : space := exist tempered (h k) (h_tempered k).

Lemma s_ip_tempered f g : tempered (fun x => fn f x * fn g x).
Proof. exact (tempered_mult _ _ (proj2_sig f) (proj2_sig g)). Qed.

Lemma s_form : form s_comb s_ip.
Proof.
split; [intros f g; apply mean_ext; intros; ring|]; intros c f g k; unfold s_ip.
rewrite (mean_ext _ (fun x => c * (fn f x * fn k x) + fn g x * fn k x)) by (intros; simpl; ring).
rewrite (mean_plus _ _ (tempered_scal c _ (s_ip_tempered f k)) (s_ip_tempered g k)), (mean_scal c _ (s_ip_tempered f k)); reflexivity.
Qed.

Lemma partial_span b n x : fn (partial space s_comb s_he b n) x = combined b n x.
Proof. induction n as [|n IH]; simpl; [ring | now rewrite <- IH]. Qed.

Section Expansion.
Variable phi : space.
Definition coefficient k := s_ip phi (s_he k).

Lemma distance b n : s_ip (s_comb (-1) (partial space s_comb s_he b (S n)) phi) (s_comb (-1) (partial space s_comb s_he b (S n)) phi)
  = s_ip phi phi - sum_n (fun k => coefficient k ^ 2) n + sum_n (fun k => (coefficient k - b k) ^ 2) n.
Proof.
rewrite (form_quadratic space s_comb s_ip) by exact s_form.
rewrite (form_sum space s_comb s_he b s_ip (fun _ => 1)) by (exact s_form || exact h_orthonormal).
assert (cross : forall m, s_ip (partial space s_comb s_he b (S m)) phi = sum_n (fun k => b k * coefficient k) m).
{ assert (one : forall k, s_ip (s_he k) phi = coefficient k) by (intros; apply (proj1 s_form)).
  induction m as [|m IH].
  - simpl partial; rewrite !(proj2 s_form), one, sum_0; ring.
  - change (partial space s_comb s_he b (S (S m))) with (s_comb (b (S m)) (s_he (S m)) (partial space s_comb s_he b (S m))).
    rewrite (proj2 s_form), IH, one, sum_S; ring. }
rewrite cross; clear cross; assert (e : @eq R (sum_n (fun k => (coefficient k - b k) ^ 2) n)
  (sum_n (fun k => coefficient k ^ 2) n - 2 * sum_n (fun k => b k * coefficient k) n + sum_n (fun k => b k ^ 2 * 1) n)).
{ induction n as [|n IH]; [rewrite !sum_0; ring|]; rewrite !sum_S, IH; ring. }
rewrite e; ring.
Qed.

Lemma squares_nonneg (u : nat -> R) n : 0 <= sum_n (fun k => u k ^ 2) n.
Proof.
induction n as [|n IH]; [rewrite sum_0; apply pow2_ge_0|]; rewrite sum_S; assert (s := pow2_ge_0 (u (S n))); simpl in s; lra.
Qed.

Lemma norm_rest n : s_ip (rest s_comb s_he coefficient phi (S n)) (rest s_comb s_he coefficient phi (S n))
  = s_ip phi phi - sum_n (fun k => coefficient k ^ 2) n.
Proof.
unfold rest; rewrite distance; assert (z : @eq R 0 (sum_n (fun k => (coefficient k - coefficient k) ^ 2) n)); [|rewrite <- z; ring].
induction n as [|n IH]; [rewrite sum_0; ring | rewrite sum_S, <- IH; ring].
Qed.

Lemma s_complete : is_lim_seq (fun n => s_ip (rest s_comb s_he coefficient phi n) (rest s_comb s_he coefficient phi n)) 0.
Proof.
apply is_lim_seq_incr_1, is_lim_seq_spec; intros eps; assert (e0 := cond_pos eps).
destruct (density (fn phi) (proj2_sig phi)) as [_ d]; destruct (d (eps / 2) ltac:(lra)) as (p & q & pp & pq & b & m).
destruct (h_span p pp) as (c & N & pc); exists N; intros n le.
assert (pos : 0 <= s_ip (rest s_comb s_he coefficient phi (S n)) (rest s_comb s_he coefficient phi (S n))).
{ rewrite <- (mean_const 0); apply mean_le; [apply tempered_const | apply s_ip_tempered | intros x; apply Rle_0_sqr]. }
rewrite Rminus_0_r, Rabs_pos_eq by exact pos; rewrite norm_rest.
set (c' k := if Nat.ltb k N then c k else 0).
assert (pad : forall j x, (N <= j)%nat -> combined c' j x = combined c N x).
{ assert (low : forall j x, (j <= N)%nat -> combined c' j x = combined c j x).
  { induction j as [|j IH]; intros x jN; [reflexivity|]; simpl; rewrite IH by lia; unfold c'; destruct (Nat.ltb_spec j N); [reflexivity | lia]. }
  induction j as [|j IH]; intros x jN; [replace N with 0%nat by lia; reflexivity|].
  destruct (Nat.eq_dec (S j) N) as [<- | ne]; [apply low; lia|]; simpl; rewrite IH by lia; unfold c'; destruct (Nat.ltb_spec j N); [lia | ring]. }
assert (dist := distance c' n); assert (sq := squares_nonneg (fun k => coefficient k - c' k) n).
assert (small : s_ip (s_comb (-1) (partial space s_comb s_he c' (S n)) phi) (s_comb (-1) (partial space s_comb s_he c' (S n)) phi) <= eps / 2).
{ apply Rle_trans with (2 := m); apply mean_le; [apply s_ip_tempered | apply poly_tempered, pq|]; intros x.
  assert (val : fn (s_comb (-1) (partial space s_comb s_he c' (S n)) phi) x = fn phi x - p x).
  { change (-1 * fn (partial space s_comb s_he c' (S n)) x + fn phi x = fn phi x - p x).
    rewrite partial_span, pad, <- pc by lia; ring. }
  rewrite val; apply Rle_trans with (2 := b x); right; ring. }
lra.
Qed.
End Expansion.

Variables r s : R.
Hypothesis h_eigen : forall k x, smooth r s (h k) x = r ^ k * h k x.

Lemma stationary_span b n : mean (smooth r s (combined b n)) = mean (combined b n).
Proof.
assert (one : forall k, mean (h k) = indicator k 0 1).
{ intros k; rewrite <- h_orthonormal; apply mean_ext; intros x; rewrite h_one; ring. }
induction n as [|n IH]; [apply mean_ext; intros x; exact (smooth_const r s 0 x)|].
assert (tn := h_tempered n); assert (ts := span_tempered b n).
rewrite (mean_ext _ (fun x => b n * (r ^ n * h n x) + smooth r s (combined b n) x)).
- change (combined b (S n)) with (fun x => b n * h n x + combined b n x).
  assert (t1 := tempered_scal (r ^ n) _ tn); assert (t2 := tempered_scal (b n) _ t1); assert (t3 := tempered_scal (b n) _ tn).
  rewrite (mean_plus _ _ t2 (tempered_smooth r s _ ts)), (mean_plus _ _ t3 ts), (mean_scal (b n) _ t1), (mean_scal (r ^ n) _ tn), (mean_scal (b n) _ tn).
  rewrite IH, one; unfold indicator; destruct n; simpl; ring.
- intros x; rewrite <- h_eigen, <- (smooth_scal r s (b n) _ x tn); symmetry.
  exact (eq_sym (smooth_plus r s _ _ x (tempered_scal (b n) _ tn) ts)) || exact (smooth_plus r s _ _ x (tempered_scal (b n) _ tn) ts).
Qed.

(* E_x E_y f (r x + s y) = E f *)
Lemma stationary f : tempered f -> mean (smooth r s f) = mean f.
Proof.
intros t; apply Rminus_diag_uniq; destruct (Req_dec (mean (smooth r s f) - mean f) 0) as [e | ne]; [exact e | exfalso].
set (al := Rabs (mean (smooth r s f) - mean f) / 3); assert (a0 : 0 < al) by (unfold al; assert (k := Rabs_pos_lt _ ne); lra).
destruct (near_square f (al ^ 2) t (pow_lt _ 2 a0)) as (p & q & pp & pq & b & m).
assert (tp := poly_tempered p pp); assert (tq := poly_tempered q pq); assert (te := tempered_minus f p t tp).
set (g x := / 2 * (al + / al * q x)).
assert (pg : is_poly g).
{ apply poly_scal, (poly_plus (fun _ => al)), poly_scal, pq; apply poly_const. }
assert (tg := poly_tempered g pg).
assert (le : forall x, Rabs (f x - p x) <= g x).
{ intros x; assert (k := b x); assert (sq := pow2_ge_0 (al - Rabs (f x - p x))); rewrite <- pow2_abs in k.
  unfold g; apply Rmult_le_reg_l with (2 * al); [lra|].
  replace (2 * al * (/ 2 * (al + / al * q x))) with (al * al + q x) by (field; lra); simpl in *; nra. }
assert (stat : forall u, is_poly u -> mean (smooth r s u) = mean u).
{ intros u pu; destruct (h_span u pu) as (c & n & e).
  rewrite (mean_ext u (combined c n) e), (mean_ext (smooth r s u) (smooth r s (combined c n))) by (intros; now apply smooth_ext).
  apply stationary_span. }
assert (mg : mean g <= al).
{ assert (tc := tempered_const al); assert (ts := tempered_scal (/ al) q tq); unfold g.
  rewrite (mean_scal (/ 2) _ (tempered_plus _ _ tc ts)), (mean_plus _ _ tc ts), mean_const, (mean_scal (/ al) _ tq).
  assert (k : / al * mean q <= al); [|lra]; apply Rmult_le_reg_l with al; [exact a0|].
  replace (al * (/ al * mean q)) with (mean q) by (field; lra); simpl in m; lra. }
assert (minus_ : forall x, smooth r s (fun x => f x - p x) x = smooth r s f x - smooth r s p x) by (intros x; apply (mean_minus (fun y => f (r * x + s * y)) (fun y => p (r * x + s * y))); now apply tempered_inner).
assert (tf' := tempered_smooth r s f t); assert (tp' := tempered_smooth r s p tp); assert (te' := tempered_smooth r s _ te); assert (tg' := tempered_smooth r s g tg).
assert (one : Rabs (mean f - mean p) <= al).
{ rewrite <- mean_minus by assumption; apply Rle_trans with (1 := mean_abs _ te); apply Rle_trans with (2 := mg); apply mean_le; [now apply tempered_abs | exact tg | exact le]. }
assert (two : Rabs (mean (smooth r s f) - mean (smooth r s p)) <= al).
{ rewrite <- mean_minus by assumption; rewrite <- (mean_ext _ _ minus_); apply Rle_trans with (1 := mean_abs _ te').
  apply Rle_trans with (2 := mg); rewrite <- (stat g pg); apply mean_le; [now apply tempered_abs | exact tg'|]; intros x.
  apply Rle_trans with (1 := mean_abs _ (tempered_inner r s _ x te)); apply mean_le; [apply tempered_abs, (tempered_inner r s _ x te) | apply tempered_inner, tg | intros y; apply le]. }
rewrite (stat p pp) in two; assert (tri := Rabs_triang (mean (smooth r s f) - mean p) (- (mean f - mean p))); rewrite Rabs_Ropp in tri.
replace (mean (smooth r s f) - mean p + - (mean f - mean p)) with (mean (smooth r s f) - mean f) in tri by ring; unfold al in *; lra.
Qed.

Definition s_smooth (f : space) : space := exist tempered (smooth r s (fn f)) (tempered_smooth r s _ (proj2_sig f)).

(* the Gaussian L2 is a setting of MehlerGeneral.v *)
Lemma gaussian_setting phi : setting s_comb s_ip s_he s_smooth r (coefficient phi) phi.
Proof.
split.
- exact s_form.
- exact h_orthonormal.
- intros c x y f; unfold s_ip; rewrite (mean_ext _ (fun t => c * (fn f t * fn (s_smooth x) t) + fn f t * fn (s_smooth y) t)).
  + rewrite (mean_plus _ _ (tempered_scal c _ (s_ip_tempered f (s_smooth x))) (s_ip_tempered f (s_smooth y))), (mean_scal c _ (s_ip_tempered f (s_smooth x)));
      reflexivity.
  + intros t; simpl; rewrite smooth_plus, smooth_scal by (try apply tempered_scal; exact (proj2_sig x) || exact (proj2_sig y)); ring.
- intros k f; unfold s_ip; rewrite (mean_ext _ (fun t => r ^ k * (fn f t * fn (s_he k) t))) by (intros t; simpl; rewrite h_eigen; ring).
  apply mean_scal, s_ip_tempered.
- intros f; assert (t := proj2_sig f : tempered (fn f)); assert (t2 := tempered_pow _ 2 t); assert (tp := s_ip_tempered f (s_smooth f)).
  apply Rle_trans with (1 := mean_abs _ tp); apply Rmult_le_reg_l with 2; [lra|]; rewrite <- mean_scal by now apply tempered_abs.
  apply Rle_trans with (mean (fun x => fn f x ^ 2 + smooth r s (fun x => fn f x ^ 2) x)).
  + apply mean_le; [now apply tempered_scal, tempered_abs | apply tempered_plus; [exact t2 | now apply tempered_smooth] | intros x; apply (smooth_product r s (fn f)), t].
  + rewrite (mean_plus _ _ t2 (tempered_smooth r s _ t2)), (stationary _ t2); unfold s_ip; rewrite (mean_ext (fun x => fn f x ^ 2) (fun x => fn f x * fn f x)) by (intros; ring); lra.
- apply s_complete.
Qed.
End Hermite.
