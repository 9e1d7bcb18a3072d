(* The Gaussian mean of continuous functions of polynomial growth: it exists, is linear and monotone, and smoothing
   x |-> E_y f (r x + s y) stays among them.

   tempered f       f is continuous and |f x| <= C (1 + |x|)^n for some C and n
   mean f           the limit that gauss_mean (Gaussian.v) speaks of
   smooth r s f x   E_y f (r x + s y)                                                                *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From lop Require Import Gaussian Stein.
Local Open Scope R_scope.

Definition tempered (f : R -> R) := (forall x, continuous f x) /\ exists C n, growth f C n.
Definition mean (f : R -> R) : R := real (Lim (fun T => RInt (fun x => f x * w x) (- T) T / mass T) p_infty).

Lemma growth_pos f C n : growth f C n -> 0 <= C.
Proof. intros g; assert (h := g 0); rewrite Rabs_R0, Rplus_0_r, pow1 in h; assert (p := Rabs_pos (f 0)); lra. Qed.

Lemma one_le_pow x n : 1 <= (1 + Rabs x) ^ n.
Proof. apply pow_R1_Rle; assert (h := Rabs_pos x); lra. Qed.

Lemma growth_more f C n m : (n <= m)%nat -> growth f C n -> growth f C m.
Proof.
intros le g x; apply Rle_trans with (1 := g x), Rmult_le_compat_l; [exact (growth_pos f C n g)|].
apply Rle_pow; [assert (h := Rabs_pos x); lra | exact le].
Qed.

Lemma tempered_ext f g : (forall x, f x = g x) -> tempered f -> tempered g.
Proof.
intros e [c [C [n h]]]; split; [intros x; apply (continuous_ext f g x e (c x)) | exists C, n; intros x; rewrite <- e; apply h].
Qed.
Lemma tempered_const c : tempered (fun _ => c).
Proof. split; [intros x; apply continuous_const | exists (Rabs c), 0%nat; intros x; simpl; lra]. Qed.
Lemma tempered_id : tempered (fun x => x).
Proof. split; [intros x; apply continuous_id | exists 1, 1%nat; intros x; simpl; lra]. Qed.

Lemma tempered_plus f g : tempered f -> tempered g -> tempered (fun x => f x + g x).
Proof.
intros [cf [C [n hf]]] [cg [D [m hg]]]; split; [intros x; apply (continuous_plus f g x (cf x) (cg x))|].
exists (C + D), (n + m)%nat; intros x; apply Rle_trans with (1 := Rabs_triang _ _); rewrite Rmult_plus_distr_r.
apply Rplus_le_compat; [apply (growth_more f C n); [lia | exact hf] | apply (growth_more g D m); [lia | exact hg]].
Qed.

Lemma tempered_mult f g : tempered f -> tempered g -> tempered (fun x => f x * g x).
Proof.
intros [cf [C [n hf]]] [cg [D [m hg]]]; split; [intros x; apply (continuous_mult f g x (cf x) (cg x))|].
exists (C * D), (n + m)%nat; intros x; rewrite Rabs_mult, pow_add.
replace (C * D * ((1 + Rabs x) ^ n * (1 + Rabs x) ^ m)) with (C * (1 + Rabs x) ^ n * (D * (1 + Rabs x) ^ m)) by ring.
apply Rmult_le_compat; [apply Rabs_pos | apply Rabs_pos | apply hf | apply hg].
Qed.

Lemma tempered_scal c f : tempered f -> tempered (fun x => c * f x).
Proof. exact (tempered_mult (fun _ => c) f (tempered_const c)). Qed.
Lemma tempered_minus f g : tempered f -> tempered g -> tempered (fun x => f x - g x).
Proof.
intros hf hg; apply (tempered_ext (fun x => f x + (-1) * g x)); [intros; ring | apply tempered_plus, tempered_scal; assumption].
Qed.
Lemma tempered_pow f n : tempered f -> tempered (fun x => f x ^ n).
Proof. intros h; induction n as [|n IH]; [exact (tempered_const 1) | exact (tempered_mult _ _ h IH)]. Qed.
Lemma tempered_abs f : tempered f -> tempered (fun x => Rabs (f x)).
Proof.
intros [c [C [n h]]]; split; [intros x; apply (continuous_comp f Rabs x (c x)), continuous_Rabs|].
exists C, n; intros x; rewrite Rabs_Rabsolu; apply h.
Qed.

(* |f (x + y)| <= C (1 + |x|)^n (1 + |y|)^n *)
Lemma growth_sum f C n x y : growth f C n -> Rabs (f (x + y)) <= C * (1 + Rabs x) ^ n * (1 + Rabs y) ^ n.
Proof.
intros g; apply Rle_trans with (1 := g (x + y)); rewrite Rmult_assoc, <- Rpow_mult_distr.
apply Rmult_le_compat_l; [exact (growth_pos f C n g)|]; apply pow_incr.
assert (t := Rabs_triang x y); assert (p := Rabs_pos x); assert (q := Rabs_pos y); assert (u := Rabs_pos (x + y)); split; nra.
Qed.

Lemma tempered_shift f a b : tempered f -> tempered (fun y => f (a + b * y)).
Proof.
intros [c [C [n g]]]; split.
- intros y; apply (continuous_comp (fun y => a + b * y) f y); [|apply c].
  apply (ex_derive_continuous (fun y => a + b * y)); auto_derive; easy.
- exists (C * (1 + Rabs a) ^ n * (1 + Rabs b) ^ n), n; intros y.
  apply Rle_trans with (1 := growth_sum f C n a (b * y) g); rewrite (Rmult_assoc (_ * _) ((1 + Rabs b) ^ n)), <- Rpow_mult_distr.
  apply Rmult_le_compat_l; [apply Rmult_le_pos; [exact (growth_pos f C n g) | assert (h := one_le_pow a n); lra]|].
  apply pow_incr; rewrite Rabs_mult; assert (p := Rabs_pos b); assert (q := Rabs_pos y); split; nra.
Qed.

(* ---- The mean exists ---- *)
Lemma tempered_int f a b : tempered f -> ex_RInt (fun x => f x * w x) a b.
Proof.
intros [c _]; apply (ex_RInt_continuous (V := R_CompleteNormedModule)); intros x _.
apply (continuous_mult f w x (c x)), w_cont.
Qed.

Lemma decay f C n : growth f C n -> exists M, 0 <= M /\ forall x, 1 <= Rabs x -> Rabs (f x * w x) <= M * / (x * x).
Proof.
intros g; assert (C0 := growth_pos f C n g); exists (C * (2 ^ n * (2 * INR (S (S n))) ^ S (S n))); split.
{ apply Rmult_le_pos, Rmult_le_pos; [exact C0 | apply pow_le; lra | apply pow_le; assert (h := pos_INR (S (S n))); lra]. }
intros x x1; rewrite Rabs_mult, (Rabs_pos_eq (w x)) by (apply Rlt_le, w_pos).
assert (e : w x = w (Rabs x)) by (unfold w; do 3 f_equal; apply Rsqr_abs).
assert (sq : x * x = Rabs x * Rabs x) by exact (Rsqr_abs x); rewrite e, sq; assert (b := pow_w_bounded (S n) (Rabs x) x1).
assert (s := shifted_pow (Rabs x) n x1); assert (p := w_pos (Rabs x)); set (t := Rabs x) in *.
apply (proj1 (Rle_div_r _ _ (t * t) ltac:(nra))).
apply Rle_trans with (C * (2 ^ n * t ^ n) * w t * (t * t)).
- apply Rmult_le_compat_r; [nra|]; apply Rmult_le_compat_r; [lra|]; apply Rle_trans with (1 := g x), Rmult_le_compat_l; assumption.
- replace (C * (2 ^ n * t ^ n) * w t * (t * t)) with (C * (2 ^ n * (t ^ S (S n) * w t))) by (simpl; ring).
  apply Rmult_le_compat_l; [exact C0|]; apply Rmult_le_compat_l; [apply pow_le; lra | exact b].
Qed.

Lemma inverse_square_int M a b : 0 < a -> a <= b -> is_RInt (fun x => M * / (x * x)) a b (M / a - M / b).
Proof.
intros a0 ab; replace (M / a - M / b) with (minus (- (M / b)) (- (M / a))) by (unfold minus, plus, opp; simpl; ring).
apply (is_RInt_derive (fun x => - (M / x)) (fun x => M * / (x * x))).
- intros x; rewrite Rmin_left, Rmax_right by lra; intros h; auto_derive; [lra | field; lra].
- intros x; rewrite Rmin_left, Rmax_right by lra; intros h; apply (ex_derive_continuous (fun x => M * / (x * x))); auto_derive; nra.
Qed.

Lemma tail_right f M a b : tempered f -> (forall x, 1 <= Rabs x -> Rabs (f x * w x) <= M * / (x * x)) -> 1 <= a -> a <= b ->
  Rabs (RInt (fun x => f x * w x) a b) <= M / a - M / b.
Proof.
intros t d a1 ab; apply (norm_RInt_le (fun x => f x * w x) (fun x => M * / (x * x)) a b _ _ ab).
- intros x h; apply d; rewrite Rabs_pos_eq; lra.
- apply (RInt_correct (V := R_CompleteNormedModule)), tempered_int, t.
- apply inverse_square_int; lra.
Qed.

Lemma tail_left f M a b : tempered f -> (forall x, 1 <= Rabs x -> Rabs (f x * w x) <= M * / (x * x)) -> 1 <= a -> a <= b ->
  Rabs (RInt (fun x => f x * w x) (- b) (- a)) <= M / a - M / b.
Proof.
intros t d a1 ab; assert (h := tail_right (fun x => f (- x)) M a b).
replace (RInt (fun x => f x * w x) (- b) (- a)) with (RInt (fun x => f (- x) * w x) a b); [apply h; auto|].
- apply (tempered_ext (fun x => f (0 + -1 * x))); [intros; f_equal; ring | apply tempered_shift, t].
- intros x x1; replace (x * x) with (- x * - x) by ring; replace (w x) with (w (- x)) by (unfold w; f_equal; field).
  apply d; now rewrite Rabs_Ropp.
- apply is_RInt_unique; assert (i := RInt_correct (V := R_CompleteNormedModule) _ _ _ (tempered_int f (- b) (- a) t)).
  apply is_RInt_swap in i; assert (o := is_RInt_comp_opp _ _ _ _ i); apply (is_RInt_opp (V := R_NormedModule)) in o.
  rewrite opp_opp in o; apply (is_RInt_ext (V := R_NormedModule)) with (2 := o); intros x _; rewrite opp_opp.
  unfold w; do 2 f_equal; field.
Qed.

Lemma beyond f M a b : tempered f -> (forall x, 1 <= Rabs x -> Rabs (f x * w x) <= M * / (x * x)) -> 1 <= a -> a <= b ->
  Rabs (RInt (fun x => f x * w x) (- b) b - RInt (fun x => f x * w x) (- a) a) <= 2 * (M / a - M / b).
Proof.
intros t d a1 ab; assert (l := tail_left f M a b t d a1 ab); assert (r := tail_right f M a b t d a1 ab).
rewrite <- (RInt_Chasles (V := R_CompleteNormedModule) _ (- b) (- a) b) by apply tempered_int, t.
rewrite <- (RInt_Chasles (V := R_CompleteNormedModule) _ (- a) a b) by apply tempered_int, t.
unfold plus; simpl; apply Rabs_le_between in l; apply Rabs_le_between in r; apply Rabs_le_between; lra.
Qed.

Lemma whole_exists f : tempered f -> exists l : R, is_lim (fun T => RInt (fun x => f x * w x) (- T) T) p_infty l.
Proof.
intros t; assert (t' := t); destruct t' as [_ [C [n g]]]; destruct (decay f C n g) as [M [M0 d]].
apply (proj1 (filterlim_locally_cauchy (F := Rbar_locally' p_infty) (fun T => RInt (fun x => f x * w x) (- T) T))).
intros eps; assert (e0 := cond_pos eps); set (A := 1 + 2 * M / eps).
assert (A1 : 1 <= A) by (unfold A; assert (h := Rdiv_le_0_compat (2 * M) eps ltac:(lra) e0); lra).
assert (small : 2 * (M / A) < eps).
{ replace (2 * (M / A)) with (2 * M / A) by (field; lra); apply (proj2 (Rlt_div_l _ _ A ltac:(lra))).
  unfold A; replace (eps * (1 + 2 * M / eps)) with (eps + 2 * M) by (field; lra); lra. }
assert (close : forall u v, A < u -> u <= v -> Rabs (RInt (fun x => f x * w x) (- v) v - RInt (fun x => f x * w x) (- u) u) < eps).
{ intros u v hu uv; apply Rle_lt_trans with (1 := beyond f M u v t d ltac:(lra) uv).
  assert (0 <= M / v) by (apply Rdiv_le_0_compat; lra).
  assert (M / u <= M / A) by (apply Rmult_le_compat_l; [exact M0 | apply Rinv_le_contravar; lra]); lra. }
exists (fun T => A < T); split; [exists A; easy|]; intros u v hu hv.
change (Rabs (RInt (fun x => f x * w x) (- v) v - RInt (fun x => f x * w x) (- u) u) < eps).
destruct (Rle_lt_dec u v) as [uv | vu]; [apply close; lra | rewrite Rabs_minus_sym; apply close; lra].
Qed.

Lemma mean_is f u : gauss_mean f u -> mean f = u.
Proof. intros h; unfold mean; rewrite (is_lim_unique _ _ _ h); reflexivity. Qed.

Lemma mean_exists f : tempered f -> gauss_mean f (mean f).
Proof.
intros t; destruct (whole_exists f t) as [l hl]; destruct (whole_exists _ (tempered_const 1)) as [m hm].
assert (mass_lim : is_lim mass p_infty m).
{ apply (is_lim_ext (fun T => RInt (fun x => 1 * w x) (- T) T)); [|exact hm].
  intros T; unfold mass; apply RInt_ext; intros; apply Rmult_1_l. }
assert (m0 : m <> 0).
{ assert (h := mass_pos 1 Rlt_0_1); enough (mass 1 <= m) by lra.
  apply (is_lim_le_loc (fun _ => mass 1) mass p_infty (mass 1) m); [|apply is_lim_const | exact mass_lim].
  exists 1; intros T T1; apply mass_grows; lra. }
assert (q : gauss_mean f (l / m)); [|rewrite (mean_is f _ q); exact q].
apply (is_lim_div _ _ p_infty l m); [exact hl | exact mass_lim | intros e; apply m0; now injection e | easy].
Qed.

Lemma mean_le f g : tempered f -> tempered g -> (forall x, f x <= g x) -> mean f <= mean g.
Proof.
intros tf tg le; apply (is_lim_le_loc (fun T => RInt (fun x => f x * w x) (- T) T / mass T)
  (fun T => RInt (fun x => g x * w x) (- T) T / mass T) p_infty (mean f) (mean g)); [|now apply mean_exists | now apply mean_exists].
exists 0; intros T T0; assert (m := mass_pos T T0); apply Rmult_le_compat_r; [apply Rlt_le, Rinv_0_lt_compat, m|].
apply RInt_le; [lra | apply tempered_int, tf | apply tempered_int, tg|].
intros x _; apply Rmult_le_compat_r; [apply Rlt_le, w_pos | apply le].
Qed.

Lemma mean_plus f g : tempered f -> tempered g -> mean (fun x => f x + g x) = mean f + mean g.
Proof.
intros tf tg; apply mean_is; apply (is_lim_ext (fun T => RInt (fun x => f x * w x) (- T) T / mass T + RInt (fun x => g x * w x) (- T) T / mass T)).
- intros T; unfold Rdiv; rewrite <- Rmult_plus_distr_r; f_equal; symmetry.
  rewrite (RInt_ext _ (fun x => plus (f x * w x) (g x * w x))) by (intros; unfold plus; simpl; ring).
  apply (RInt_plus (V := R_CompleteNormedModule)); now apply tempered_int.
- apply (is_lim_plus' _ _ _ (mean f) (mean g)); now apply mean_exists.
Qed.

Lemma mean_scal c f : tempered f -> mean (fun x => c * f x) = c * mean f.
Proof.
intros tf; apply mean_is; apply (is_lim_ext (fun T => c * (RInt (fun x => f x * w x) (- T) T / mass T))).
- intros T; unfold Rdiv; rewrite <- Rmult_assoc; f_equal; symmetry.
  rewrite (RInt_ext _ (fun x => scal c (f x * w x))) by (intros; unfold scal; simpl; unfold mult; simpl; ring).
  apply (RInt_scal (V := R_CompleteNormedModule)); now apply tempered_int.
- apply (is_lim_scal_l _ c p_infty (mean f)); now apply mean_exists.
Qed.

Lemma mean_ext f g : (forall x, f x = g x) -> mean f = mean g.
Proof. intros e; unfold mean; do 2 f_equal; apply FunctionalExtensionality.functional_extensionality; intros T; f_equal; apply RInt_ext; intros x _; now rewrite e. Qed.

Lemma mean_const c : mean (fun _ => c) = c.
Proof.
apply mean_is; apply (is_lim_ext_loc (fun _ => c)); [|apply is_lim_const].
exists 0; intros T T0; assert (m := mass_pos T T0).
assert (e : RInt (fun x => c * w x) (- T) T = c * mass T) by (apply (RInt_scal (V := R_CompleteNormedModule) w), w_int).
rewrite e; field; lra.
Qed.

Lemma mean_abs f : tempered f -> Rabs (mean f) <= mean (fun x => Rabs (f x)).
Proof.
intros t; assert (ta := tempered_abs f t); apply Rabs_le_between; split.
- replace (- mean (fun x => Rabs (f x))) with (mean (fun x => -1 * Rabs (f x))) by (rewrite mean_scal by exact ta; ring).
  apply mean_le; [apply tempered_scal, ta | exact t | intros x; assert (h := Rabs_le_between (f x) (Rabs (f x))); assert (Rabs (f x) <= Rabs (f x)) by lra; apply h in H; lra].
- apply mean_le; [exact t | exact ta | intros x; apply Rle_abs].
Qed.

Lemma mean_minus f g : tempered f -> tempered g -> mean (fun x => f x - g x) = mean f - mean g.
Proof.
intros tf tg; rewrite (mean_ext _ (fun x => f x + -1 * g x)) by (intros; ring).
rewrite mean_plus, mean_scal; [ring | exact tg | exact tf | apply tempered_scal, tg].
Qed.

(* ---- Smoothing ---- *)
Definition smooth (r s : R) (f : R -> R) (x : R) := mean (fun y => f (r * x + s * y)).

Lemma smooth_growth r s f C n : growth f C n -> tempered f -> exists D, 0 <= D /\
  forall x y, Rabs (f (r * x + s * y)) <= D * (1 + Rabs x) ^ n * (1 + Rabs y) ^ n.
Proof.
intros g t; assert (C0 := growth_pos f C n g); exists (C * (1 + Rabs r) ^ n * (1 + Rabs s) ^ n).
assert (r1 := one_le_pow r n); assert (s1 := one_le_pow s n); split; [repeat apply Rmult_le_pos; lra|]; intros x y.
apply Rle_trans with (1 := growth_sum f C n (r * x) (s * y) g).
assert (up : forall a b, (1 + Rabs (a * b)) ^ n <= (1 + Rabs a) ^ n * (1 + Rabs b) ^ n).
{ intros a b; rewrite <- Rpow_mult_distr; apply pow_incr; rewrite Rabs_mult; assert (p := Rabs_pos a); assert (q := Rabs_pos b); split; nra. }
apply Rle_trans with (C * ((1 + Rabs r) ^ n * (1 + Rabs x) ^ n) * ((1 + Rabs s) ^ n * (1 + Rabs y) ^ n)); [|right; ring].
assert (q1 := one_le_pow (r * x) n); assert (q2 := one_le_pow (s * y) n).
apply Rmult_le_compat; [apply Rmult_le_pos; lra | lra | apply Rmult_le_compat_l; [exact C0 | apply up] | apply up].
Qed.

Lemma tempered_weight n : tempered (fun y => (1 + Rabs y) ^ n).
Proof. apply tempered_pow, tempered_plus; [apply tempered_const | apply tempered_abs, tempered_id]. Qed.

Lemma tempered_inner r s f x : tempered f -> tempered (fun y => f (r * x + s * y)).
Proof. intros t; exact (tempered_shift f (r * x) s t). Qed.

Lemma inner_range r s B x0 z y : Rabs z <= Rabs x0 + 1 -> Rabs y <= B ->
  let L := Rabs r * (Rabs x0 + 1) + Rabs s * B + 1 in - L <= r * z + s * y <= L.
Proof.
intros hz hy L; apply Rabs_le_between; apply Rle_trans with (1 := Rabs_triang _ _); rewrite !Rabs_mult; unfold L.
assert (Rabs r * Rabs z <= Rabs r * (Rabs x0 + 1)) by (apply Rmult_le_compat_l; [apply Rabs_pos | lra]).
assert (Rabs s * Rabs y <= Rabs s * B) by (apply Rmult_le_compat_l; [apply Rabs_pos | lra]); lra.
Qed.

Lemma far_apart r s f D n B x0 x y : 0 <= D -> (forall x y, Rabs (f (r * x + s * y)) <= D * (1 + Rabs x) ^ n * (1 + Rabs y) ^ n) ->
  1 <= B -> B < Rabs y -> Rabs x <= Rabs x0 + 1 ->
  Rabs (f (r * x + s * y) - f (r * x0 + s * y)) <= / B ^ 2 * (y ^ 2 * (2 * D * (2 + Rabs x0) ^ n * (1 + Rabs y) ^ n)).
Proof.
intros D0 b B1 far xx; assert (one : forall z, Rabs z <= Rabs x0 + 1 -> Rabs (f (r * z + s * y)) <= D * (2 + Rabs x0) ^ n * (1 + Rabs y) ^ n).
{ intros z hz; apply Rle_trans with (1 := b z y); apply Rmult_le_compat_r; [assert (h := one_le_pow y n); lra|].
  apply Rmult_le_compat_l; [exact D0|]; apply pow_incr; assert (h := Rabs_pos z); lra. }
assert (u1 := one x xx); assert (u2 := one x0 ltac:(lra)); assert (tri := Rabs_triang (f (r * x + s * y)) (- f (r * x0 + s * y))).
rewrite Rabs_Ropp in tri; unfold Rminus; assert (big : 1 <= / B ^ 2 * y ^ 2).
{ assert (sq : B ^ 2 <= y ^ 2) by (rewrite <- (pow2_abs y); apply pow_incr; lra).
  apply Rmult_le_reg_l with (B ^ 2); [apply pow_lt; lra|]; rewrite <- Rmult_assoc, Rinv_r, Rmult_1_r, Rmult_1_l; [exact sq|].
  apply pow_nonzero; lra. }
set (q := D * (2 + Rabs x0) ^ n * (1 + Rabs y) ^ n) in *; assert (q0 : 0 <= q) by (apply Rle_trans with (2 := u1), Rabs_pos).
replace (/ B ^ 2 * (y ^ 2 * (2 * D * (2 + Rabs x0) ^ n * (1 + Rabs y) ^ n))) with (/ B ^ 2 * y ^ 2 * (2 * q)) by (unfold q; ring).
nra.
Qed.

Lemma smooth_cont r s f x0 : tempered f -> continuous (smooth r s f) x0.
Proof.
intros t; assert (t' := t); destruct t' as [c [C [n g]]]; destruct (smooth_growth r s f C n g t) as [D [D0 b]].
set (H y := y ^ 2 * (2 * D * (2 + Rabs x0) ^ n * (1 + Rabs y) ^ n)).
assert (tH : tempered H).
{ apply tempered_mult; [apply tempered_pow, tempered_id | apply (tempered_scal (2 * D * (2 + Rabs x0) ^ n)), tempered_weight]. }
assert (k0 : 0 <= 2 * D * (2 + Rabs x0) ^ n) by (apply Rmult_le_pos; [lra | apply pow_le; assert (h := Rabs_pos x0); lra]).
assert (H0 : forall y, 0 <= H y).
{ intros y; apply Rmult_le_pos; [apply pow2_ge_0|]; apply Rmult_le_pos; [exact k0 | assert (h := one_le_pow y n); lra]. }
apply filterlim_locally; intros eps; assert (e0 := cond_pos eps); set (m := mean H).
assert (m0 : 0 <= m) by (rewrite <- (mean_const 0); apply mean_le; [apply tempered_const | exact tH | exact H0]).
set (B := 1 + 4 * m / eps); assert (B1 : 1 <= B) by (unfold B; assert (h := Rdiv_le_0_compat (4 * m) eps ltac:(lra) e0); lra).
assert (far_small : m / B ^ 2 <= eps / 4).
{ apply Rle_trans with (m / B); [apply Rmult_le_compat_l; [exact m0 | apply Rinv_le_contravar; simpl; nra]|].
  apply (proj2 (Rle_div_l _ _ B ltac:(lra))); unfold B; replace (eps / 4 * (1 + 4 * m / eps)) with (eps / 4 + m) by (field; lra); lra. }
set (L := Rabs r * (Rabs x0 + 1) + Rabs s * B + 1).
destruct (Heine_cor2 (f := f) (a := - L) (b := L) (fun x _ => proj2 (continuity_pt_filterlim f x) (c x)) (mkposreal (eps / 4) ltac:(lra))) as [d hd]; simpl in hd.
assert (d0 := cond_pos d); set (delta := Rmin 1 (d / (Rabs r + 1))); assert (pr := Rabs_pos r); assert (ps := Rabs_pos s).
assert (delta0 : 0 < delta) by (apply Rmin_glb_lt; [lra | apply Rdiv_lt_0_compat; lra]).
enough (close : forall x : R, Rabs (x - x0) < delta -> Rabs (smooth r s f x - smooth r s f x0) < eps) by (exists (mkposreal delta delta0); exact close).
intros x hx.
assert (hx1 : Rabs (x - x0) < 1) by (apply Rlt_le_trans with (1 := hx), Rmin_l).
assert (hxd : Rabs (r * x - r * x0) < d).
{ replace (r * x - r * x0) with (r * (x - x0)) by ring; rewrite Rabs_mult.
  assert (h : Rabs (x - x0) < d / (Rabs r + 1)) by (apply Rlt_le_trans with (1 := hx), Rmin_r).
  apply (proj2 (Rlt_div_r _ _ (Rabs r + 1) ltac:(lra))) in h || apply (proj1 (Rlt_div_r _ _ (Rabs r + 1) ltac:(lra))) in h.
  assert (p := Rabs_pos (x - x0)); nra. }
assert (xx : Rabs x <= Rabs x0 + 1) by (assert (h := Rabs_triang (x - x0) x0); replace (x - x0 + x0) with x in h by ring; lra).
unfold smooth; rewrite <- mean_minus by apply tempered_inner, t.
assert (td : tempered (fun y => f (r * x + s * y) - f (r * x0 + s * y))) by (apply tempered_minus; apply tempered_inner, t).
apply Rle_lt_trans with (1 := mean_abs _ td); apply Rle_lt_trans with (mean (fun y => eps / 4 + / B ^ 2 * H y)).
- apply mean_le; [apply tempered_abs, td | apply tempered_plus; [apply tempered_const | apply tempered_scal, tH]|]; intros y.
  assert (iB : 0 < / B ^ 2) by (apply Rinv_0_lt_compat, pow_lt; lra).
  destruct (Rle_lt_dec (Rabs y) B) as [near | far].
  + assert (inside : forall z, Rabs z <= Rabs x0 + 1 -> - L <= r * z + s * y <= L) by (intros z hz; now apply inner_range).
    assert (h := hd (r * x + s * y) (r * x0 + s * y) (inside x xx) (inside x0 ltac:(lra))).
    replace (r * x + s * y - (r * x0 + s * y)) with (r * x - r * x0) in h by ring; specialize (h hxd).
    assert (0 <= / B ^ 2 * H y) by (apply Rmult_le_pos; [lra | apply H0]); lra.
  + assert (h := far_apart r s f D n B x0 x y D0 b B1 far xx); fold (H y) in h; lra.
- rewrite mean_plus, mean_const, mean_scal; [fold m | exact tH | apply tempered_const | apply tempered_scal, tH].
  unfold Rdiv in far_small; lra.
Qed.

Lemma tempered_smooth r s f : tempered f -> tempered (smooth r s f).
Proof.
intros t; split; [intros x; now apply smooth_cont|]; assert (t' := t); destruct t' as [_ [C [n g]]].
destruct (smooth_growth r s f C n g t) as [D [D0 b]]; set (W := fun y => (1 + Rabs y) ^ n).
exists (D * mean W), n; intros x; unfold smooth; apply Rle_trans with (1 := mean_abs _ (tempered_inner r s f x t)).
replace (D * mean W * (1 + Rabs x) ^ n) with (mean (fun y => D * (1 + Rabs x) ^ n * W y)) by (rewrite mean_scal by apply tempered_weight; ring).
apply mean_le; [apply tempered_abs, tempered_inner, t | apply tempered_scal, tempered_weight | intros y; apply b].
Qed.
