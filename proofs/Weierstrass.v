(* Weierstrass's theorem on [0, 1], by Bernstein's polynomials.

   is_poly p             p is a polynomial function
   bernstein n g x    the mean of g k for k binomial (n, x), by recursion on n                     *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
Local Open Scope R_scope.

Inductive is_poly : (R -> R) -> Prop :=
| poly_const c : is_poly (fun _ => c)
| poly_id : is_poly (fun x => x)
| poly_plus p q : is_poly p -> is_poly q -> is_poly (fun x => p x + q x)
| poly_mult p q : is_poly p -> is_poly q -> is_poly (fun x => p x * q x)
| poly_ext p q : (forall x, p x = q x) -> is_poly p -> is_poly q.

Lemma poly_scal c p : is_poly p -> is_poly (fun x => c * p x).
Proof. exact (poly_mult _ p (poly_const c)). Qed.
Lemma poly_pow p n : is_poly p -> is_poly (fun x => p x ^ n).
Proof. intros h; induction n as [|n IH]; [exact (poly_const 1) | exact (poly_mult p _ h IH)]. Qed.

Fixpoint bernstein n (g : nat -> R) (x : R) : R :=
  match n with O => g O | S n => (1 - x) * bernstein n g x + x * bernstein n (fun k => g (S k)) x end.

Lemma bernstein_poly n g : is_poly (bernstein n g).
Proof.
revert g; induction n as [|n IH]; intros g; [exact (poly_const (g O))|].
apply (poly_plus (fun x => (1 - x) * bernstein n g x) (fun x => x * bernstein n (fun k => g (S k)) x)).
- apply (poly_mult (fun x => 1 - x)); [|apply IH].
  apply (poly_ext (fun x => 1 + -1 * x)); [intros; ring | apply poly_plus, poly_scal, poly_id; apply poly_const].
- apply poly_mult; [apply poly_id | apply IH].
Qed.

Lemma bernstein_ext n x g h : (forall k, g k = h k) -> bernstein n g x = bernstein n h x.
Proof.
revert g h; induction n as [|n IH]; intros g h e; [apply e|]; simpl.
now rewrite (IH g h e), (IH _ _ (fun k => e (S k))).
Qed.

Lemma bernstein_comb n x a g b h : bernstein n (fun k => a * g k + b * h k) x = a * bernstein n g x + b * bernstein n h x.
Proof.
revert g h; induction n as [|n IH]; intros g h; [reflexivity|]; simpl.
rewrite IH, (IH (fun k => g (S k)) (fun k => h (S k))); ring.
Qed.

Lemma bernstein_le n x g h : 0 <= x <= 1 -> (forall k, (k <= n)%nat -> g k <= h k) -> bernstein n g x <= bernstein n h x.
Proof.
intros x01; revert g h; induction n as [|n IH]; intros g h le; [apply le, le_n|]; simpl.
apply Rplus_le_compat; apply Rmult_le_compat_l; (lra || apply IH; intros k kn; apply le; lia).
Qed.

Lemma bernstein_const n x c : bernstein n (fun _ => c) x = c.
Proof. induction n as [|n IH]; [reflexivity|]; simpl; rewrite IH; ring. Qed.

(* mean and second moment of the binomial distribution *)
Lemma bernstein_moments n x :
  bernstein n INR x = INR n * x /\ bernstein n (fun k => INR k ^ 2) x = INR n * x * (1 - x) + (INR n * x) ^ 2.
Proof.
induction n as [|n [IH1 IH2]]; [simpl; split; ring|].
assert (e1 : bernstein n (fun k => INR (S k)) x = INR n * x + 1).
{ rewrite (bernstein_ext n x _ (fun k => 1 * INR k + 1 * 1)) by (intros; rewrite S_INR; ring).
  rewrite (bernstein_comb n x 1 INR 1 (fun _ => 1)), bernstein_const, IH1; ring. }
assert (e2 : bernstein n (fun k => INR (S k) ^ 2) x = INR n * x * (1 - x) + (INR n * x) ^ 2 + 2 * (INR n * x) + 1).
{ rewrite (bernstein_ext n x _ (fun k => 1 * INR k ^ 2 + 1 * (2 * INR k + 1 * 1))) by (intros; rewrite S_INR; ring).
  rewrite (bernstein_comb n x 1 (fun k => INR k ^ 2) 1 (fun k => 2 * INR k + 1 * 1)), (bernstein_comb n x 2 INR 1 (fun _ => 1)).
  rewrite bernstein_const, IH1, IH2; ring. }
split.
- change (bernstein (S n) INR x) with ((1 - x) * bernstein n INR x + x * bernstein n (fun k => INR (S k)) x).
  rewrite e1, IH1, S_INR; ring.
- change (bernstein (S n) (fun k => INR k ^ 2) x)
    with ((1 - x) * bernstein n (fun k => INR k ^ 2) x + x * bernstein n (fun k => INR (S k) ^ 2) x).
  rewrite e2, IH2, S_INR; ring.
Qed.

Lemma bernstein_variance n x : (0 < n)%nat -> bernstein n (fun k => (INR k / INR n - x) ^ 2) x = x * (1 - x) / INR n.
Proof.
intros n0; assert (p := lt_0_INR n n0); destruct (bernstein_moments n x) as [m1 m2].
rewrite (bernstein_ext n x _ (fun k => / INR n ^ 2 * INR k ^ 2 + 1 * (- 2 * x / INR n * INR k + x ^ 2 * 1))) by (intros; field; lra).
rewrite (bernstein_comb n x (/ INR n ^ 2) (fun k => INR k ^ 2) 1 (fun k => - 2 * x / INR n * INR k + x ^ 2 * 1)).
rewrite (bernstein_comb n x _ INR _ (fun _ => 1)), bernstein_const, m1, m2; field; lra.
Qed.

Lemma bernstein_near n x f e L : (0 < n)%nat -> 0 <= x <= 1 -> 0 <= L ->
  (forall y, 0 <= y <= 1 -> Rabs (f y - f x) <= e + L * (y - x) ^ 2) ->
  Rabs (bernstein n (fun k => f (INR k / INR n)) x - f x) <= e + L / INR n.
Proof.
intros n0 x01 L0 osc; assert (p := lt_0_INR n n0); assert (v := bernstein_variance n x n0).
assert (at_k : forall k, (k <= n)%nat -> Rabs (f (INR k / INR n) - f x) <= e + L * (INR k / INR n - x) ^ 2).
{ intros k kn; apply osc; split; [apply Rdiv_le_0_compat; [apply pos_INR | exact p]|].
  apply (proj2 (Rle_div_l _ _ _ p)); rewrite Rmult_1_l; apply le_INR, kn. }
assert (up := bernstein_le n x (fun k => f (INR k / INR n)) (fun k => 1 * (f x + e) + L * (INR k / INR n - x) ^ 2) x01).
assert (down := bernstein_le n x (fun k => 1 * (f x - e) + - L * (INR k / INR n - x) ^ 2) (fun k => f (INR k / INR n)) x01).
rewrite (bernstein_comb n x 1 (fun _ => f x + e) L), bernstein_const, v in up.
rewrite (bernstein_comb n x 1 (fun _ => f x - e) (- L)), bernstein_const, v in down.
assert (small : 0 <= L * (x * (1 - x) / INR n) <= L / INR n).
{ split; [apply Rmult_le_pos, Rdiv_le_0_compat; [exact L0 | nra | exact p]|].
  unfold Rdiv; apply Rmult_le_compat_l; [exact L0|]; rewrite <- (Rmult_1_l (/ INR n)) at 2.
  apply Rmult_le_compat_r; [apply Rlt_le, Rinv_0_lt_compat, p | nra]. }
apply Rabs_le_between; split.
- enough (h : f x - e - L * (x * (1 - x) / INR n) <= bernstein n (fun k => f (INR k / INR n)) x) by lra.
  apply Rle_trans with (2 := down ltac:(intros k kn; assert (h := at_k k kn); apply Rabs_le_between in h; lra)); lra.
- enough (h : bernstein n (fun k => f (INR k / INR n)) x <= f x + e + L * (x * (1 - x) / INR n)) by lra.
  apply Rle_trans with (1 := up ltac:(intros k kn; assert (h := at_k k kn); apply Rabs_le_between in h; lra)); lra.
Qed.

Lemma weierstrass f : (forall x, 0 <= x <= 1 -> continuous f x) -> forall eps, 0 < eps ->
  exists p, is_poly p /\ forall x, 0 <= x <= 1 -> Rabs (p x - f x) <= eps.
Proof.
intros c eps e0; assert (cp : forall x, 0 <= x <= 1 -> continuity_pt f x) by (intros x h; apply continuity_pt_filterlim, c, h).
destruct (Heine_cor2 (f := f) (a := 0) (b := 1) cp (mkposreal (eps / 2) ltac:(lra))) as [delta hd]; simpl in hd.
destruct (continuity_ab_maj f 0 1 ltac:(lra) cp) as [xM [hM bM]]; destruct (continuity_ab_min f 0 1 ltac:(lra) cp) as [xm [hm bm]].
assert (d0 := cond_pos delta); assert (d2 : 0 < delta ^ 2) by (apply pow_lt, d0); set (L := (f xM - f xm) / delta ^ 2).
assert (L0 : 0 <= L) by (apply Rdiv_le_0_compat; [assert (h := hM xm bm); lra | exact d2]).
assert (osc : forall x, 0 <= x <= 1 -> forall y, 0 <= y <= 1 -> Rabs (f y - f x) <= eps / 2 + L * (y - x) ^ 2).
{ intros x hx y hy; destruct (Rlt_le_dec (Rabs (y - x)) delta) as [near | far].
  - assert (h := hd y x hy hx near); assert (s : 0 <= L * (y - x) ^ 2) by (apply Rmult_le_pos; [exact L0 | apply pow2_ge_0]); lra.
  - assert (sq : L * delta ^ 2 <= L * (y - x) ^ 2) by (apply Rmult_le_compat_l; [exact L0|]; rewrite <- (pow2_abs (y - x)); apply pow_incr; lra).
    replace (L * delta ^ 2) with (f xM - f xm) in sq by (unfold L; field; lra).
    assert (h1 := hM x hx); assert (h2 := hm x hx); assert (h3 := hM y hy); assert (h4 := hm y hy); apply Rabs_le_between; lra. }
destruct (nfloor_ex (2 * L / eps)) as [n [_ hn]]; [apply Rdiv_le_0_compat; lra|].
exists (bernstein (S n) (fun k => f (INR k / INR (S n)))); split; [apply bernstein_poly|]; intros x hx.
apply Rle_trans with (1 := bernstein_near (S n) x f _ L (Nat.lt_0_succ n) hx L0 (osc x hx)).
assert (p := lt_0_INR (S n) (Nat.lt_0_succ n)); rewrite S_INR in *.
enough (h : L / (INR n + 1) <= eps / 2) by lra; apply (proj2 (Rle_div_l _ _ _ p)).
apply Rlt_le, (proj2 (Rlt_div_l _ _ _ e0)) in hn || (apply Rlt_le in hn; apply (proj1 (Rle_div_l _ _ _ e0)) in hn); lra.
Qed.
