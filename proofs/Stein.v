(* Stein's identity E f' = E x f, and the freezing bound, for piecewise C^1 activations of polynomial growth.

   piecewise f f'   f is glued from finitely many C^1 functions at kinks where they agree, and f' from their
                    derivatives (at a kink, the one from the left): relu, leaky relu, hardtanh, elu, selu, |x|, and
                    every C^1 function
   growth f C n     |f x| <= C (1 + |x|)^n
   frozen eps f'    the indicator of the inputs at which the derivative f' is below eps (Gaussian.v)           *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From lop Require Import Gaussian.
Local Open Scope R_scope.

Definition glued (t : R) (f g : R -> R) (x : R) := if Rle_dec x t then f x else g x.
Inductive piecewise : (R -> R) -> (R -> R) -> Prop :=
| smooth f f' : (forall x, is_derive f x (f' x)) -> (forall x, continuous f' x) -> piecewise f f'
| kink t f f' g g' : piecewise f f' -> piecewise g g' -> f t = g t -> piecewise (glued t f g) (glued t f' g').
Definition growth (f : R -> R) (C : R) (n : nat) := forall x, Rabs (f x) <= C * (1 + Rabs x) ^ n.

Lemma glued_left t f g x : x <= t -> glued t f g x = f x.
Proof. unfold glued; destruct Rle_dec; lra. Qed.
Lemma glued_right t f g x : t < x -> glued t f g x = g x.
Proof. unfold glued; destruct Rle_dec; lra. Qed.

(* a value over [a, b] of a glued integrand from the values of its parts, cut at t *)
Lemma glued_int t (u v h : R -> R) (U V : R -> R) a b : a <= b -> U t = V t ->
  (forall x, x <= t -> h x = u x) -> (forall x, t < x -> h x = v x) ->
  (forall a b, a <= b -> is_RInt u a b (U b - U a)) -> (forall a b, a <= b -> is_RInt v a b (V b - V a)) ->
  is_RInt h a b (glued t U V b - glued t U V a).
Proof.
intros ab UV hl hr iu iv.
assert (left : forall a b, a <= b -> b <= t -> is_RInt h a b (U b - U a)).
{ intros c d cd dt; apply is_RInt_ext with (2 := iu c d cd); intros x [_ hx]; rewrite Rmax_right in hx by lra.
  symmetry; apply hl; lra. }
assert (right : forall a b, a <= b -> t <= a -> is_RInt h a b (V b - V a)).
{ intros c d cd tc; apply is_RInt_ext with (2 := iv c d cd); intros x [hx _]; rewrite Rmin_left in hx by lra.
  symmetry; apply hr; lra. }
destruct (Rle_lt_dec b t) as [bt | tb].
- rewrite !glued_left by lra; apply left; lra.
- rewrite (glued_right t U V b) by lra; destruct (Rle_lt_dec a t) as [at_ | ta].
  + rewrite glued_left by lra; replace (V b - U a) with (plus (U t - U a) (V b - V t)) by (unfold plus; simpl; lra).
    apply (is_RInt_Chasles h a t b); [apply left | apply right]; lra.
  + rewrite glued_right by lra; apply right; lra.
Qed.

(* integration by parts: (f w)' = f' w - x f w *)
Lemma by_parts f f' : piecewise f f' -> forall a b, a <= b ->
  is_RInt (fun x => (f' x - x * f x) * w x) a b (f b * w b - f a * w a).
Proof.
induction 1 as [f f' d c | t f f' g g' pf IHf pg IHg e]; intros a b ab.
- apply (is_RInt_derive (fun x => f x * w x)).
  + intros x _; replace ((f' x - x * f x) * w x) with (f' x * w x + f x * (- x * w x)) by ring.
    apply (is_derive_mult f w x _ _ (d x) (w_derive x) Rmult_comm).
  + intros x _; apply (continuous_mult (fun x => f' x - x * f x) w); [|apply w_cont].
    apply (continuous_minus f'); [apply c|]; apply (continuous_mult (fun x => x) f); [apply continuous_id|].
    apply (ex_derive_continuous f); eexists; apply d.
- set (U x := f x * w x); set (V x := g x * w x).
  assert (UV : forall x, glued t f g x * w x = glued t U V x) by (intros x; unfold glued; destruct Rle_dec; easy).
  rewrite !UV; apply glued_int with (u := fun x => (f' x - x * f x) * w x) (v := fun x => (g' x - x * g x) * w x); try easy.
  + unfold U, V; now rewrite e.
  + intros x xt; now rewrite !glued_left by lra.
  + intros x tx; now rewrite !glued_right by lra.
Qed.

Lemma ex_glued t (u v h : R -> R) a b : a <= b -> (forall x, x <= t -> h x = u x) -> (forall x, t < x -> h x = v x) ->
  (forall a b, a <= b -> ex_RInt u a b) -> (forall a b, a <= b -> ex_RInt v a b) -> ex_RInt h a b.
Proof.
intros ab hl hr iu iv.
assert (left : forall a b, a <= b -> b <= t -> ex_RInt h a b).
{ intros c d cd dt; apply ex_RInt_ext with (2 := iu c d cd); intros x [_ hx]; rewrite Rmax_right in hx by lra.
  symmetry; apply hl; lra. }
assert (right : forall a b, a <= b -> t <= a -> ex_RInt h a b).
{ intros c d cd tc; apply ex_RInt_ext with (2 := iv c d cd); intros x [hx _]; rewrite Rmin_left in hx by lra.
  symmetry; apply hr; lra. }
destruct (Rle_lt_dec b t), (Rle_lt_dec a t); try (apply left; lra); try (apply right; lra).
apply (ex_RInt_Chasles h a t b); [apply left | apply right]; lra.
Qed.

Lemma derivative_int f f' : piecewise f f' -> forall a b, a <= b -> ex_RInt (fun x => f' x * w x) a b.
Proof.
induction 1 as [f f' d c | t f f' g g' pf IHf pg IHg e]; intros a b ab.
- apply (ex_RInt_continuous (V := R_CompleteNormedModule)); intros x _; apply (continuous_mult f' w); [apply c | apply w_cont].
- apply ex_glued with t (fun x => f' x * w x) (fun x => g' x * w x); try easy.
  + intros x xt; now rewrite glued_left by lra.
  + intros x tx; now rewrite glued_right by lra.
Qed.

Lemma shifted_pow T n : 1 <= T -> (1 + T) ^ n <= 2 ^ n * T ^ n.
Proof. intros T1; rewrite <- Rpow_mult_distr; apply pow_incr; lra. Qed.

Lemma ends_vanish f C n : growth f C n -> is_lim (fun T => (f T * w T - f (- T) * w (- T)) / mass T) p_infty 0.
Proof.
intros g; assert (m1 := mass_pos 1 Rlt_0_1).
assert (C0 : 0 <= C).
{ assert (h := g 0); rewrite Rabs_R0, Rplus_0_r, pow1 in h; assert (p := Rabs_pos (f 0)); lra. }
set (M := 2 * (C * (2 ^ n * (2 * INR (S n)) ^ S n)) / mass 1).
assert (one : forall T x, 1 <= T -> Rabs x = T -> Rabs (f x * w T) * T <= C * (2 ^ n * (2 * INR (S n)) ^ S n)).
{ intros T x T1 e; rewrite Rabs_mult, (Rabs_pos_eq (w T)) by (apply Rlt_le, w_pos).
  assert (h := g x); rewrite e in h; assert (s := shifted_pow T n T1); assert (b := pow_w_bounded n T T1).
  assert (p := w_pos T); assert (q := pow_lt 2 n Rlt_0_2).
  apply Rle_trans with (C * (2 ^ n * T ^ n) * (w T * T)).
  - rewrite Rmult_assoc; apply Rmult_le_compat_r; [nra|]; apply Rle_trans with (1 := h); apply Rmult_le_compat_l; lra.
  - replace (C * (2 ^ n * T ^ n) * (w T * T)) with (C * (2 ^ n * (T ^ S n * w T))) by (simpl; ring).
    apply Rmult_le_compat_l; [exact C0|]; apply Rmult_le_compat_l; lra. }
assert (bound : forall T, 1 <= T -> Rabs ((f T * w T - f (- T) * w (- T)) / mass T) <= M / T).
{ intros T T1; assert (mT := mass_grows T T1); replace (w (- T)) with (w T) by (unfold w; f_equal; field).
  assert (a1 := one T T T1 ltac:(apply Rabs_pos_eq; lra)).
  assert (a2 := one T (- T) T1 ltac:(rewrite Rabs_Ropp; apply Rabs_pos_eq; lra)).
  unfold Rdiv at 1; rewrite Rabs_mult, (Rabs_pos_eq (/ mass T)) by (apply Rlt_le, Rinv_0_lt_compat; lra).
  assert (tri := Rabs_triang (f T * w T) (- (f (- T) * w T))); rewrite Rabs_Ropp in tri.
  apply (proj1 (Rle_div_r _ _ T (Rlt_le_trans _ _ _ Rlt_0_1 T1))); unfold M, Rdiv.
  replace (Rabs (f T * w T - f (- T) * w T) * / mass T * T) with (Rabs (f T * w T - f (- T) * w T) * T * / mass T) by ring.
  apply Rmult_le_compat; [apply Rmult_le_pos; [apply Rabs_pos | lra] | apply Rlt_le, Rinv_0_lt_compat; lra | |
    apply Rinv_le_contravar; lra].
  unfold Rminus; nra. }
apply (is_lim_le_le_loc (fun T => - (M / T)) (fun T => M / T)).
- exists 1; intros T T1; apply Rabs_le_between, bound; lra.
- replace (Finite 0) with (Rbar_opp 0) by (simpl; f_equal; ring); apply is_lim_opp, inverse_vanishes.
- apply inverse_vanishes.
Qed.

(* [freezing-bound] Stein's identity: E f' = E x f, the coefficient a_1 of a standardised f *)
Theorem stein f f' C n a1 : piecewise f f' -> growth f C n -> gauss_mean (fun x => x * f x) a1 -> gauss_mean f' a1.
Proof.
intros pf g m; apply (is_lim_ext_loc (fun T => RInt (fun x => x * f x * w x) (- T) T / mass T
  + (f T * w T - f (- T) * w (- T)) / mass T)).
- exists 0; intros T T0; assert (d := derivative_int f f' pf (- T) T ltac:(lra)).
  assert (p := by_parts f f' pf (- T) T ltac:(lra)); assert (mT := mass_pos T T0).
  assert (x : is_RInt (fun x => x * f x * w x) (- T) T (RInt (fun x => f' x * w x) (- T) T - (f T * w T - f (- T) * w (- T)))).
  { apply (is_RInt_ext (fun x => minus (f' x * w x) ((f' x - x * f x) * w x))).
    - intros x _; unfold minus, plus, opp; simpl; ring.
    - apply (is_RInt_minus (V := R_NormedModule)); [apply (RInt_correct (V := R_CompleteNormedModule)), d | exact p]. }
  rewrite (is_RInt_unique _ _ _ _ x); field; lra.
- replace (Finite a1) with (Finite (a1 + 0)) by (f_equal; ring).
  apply (is_lim_plus' _ _ _ a1 0); [exact m | exact (ends_vanish f C n g)].
Qed.

(* [freezing-bound] a standardised non-decreasing activation f with strength lambda = 1 - a_1^2 is frozen (f' < eps)
   with probability p >= 1 - sqrt (1 - lambda) / eps *)
Theorem freezing_bound f f' C n a1 p eps : piecewise f f' -> growth f C n -> (forall x, 0 <= f' x) ->
  gauss_mean f 0 -> gauss_mean (fun x => f x ^ 2) 1 -> gauss_mean (fun x => x * f x) a1 ->
  0 < eps -> gauss_mean (frozen eps f') p -> (forall T, ex_RInt (fun x => frozen eps f' x * w x) (- T) T) ->
  let lambda := 1 - a1 ^ 2 in 1 - sqrt (1 - lambda) / eps <= p.
Proof.
intros pf g pos _ _ m e0 mp ip lambda.
assert (int : forall T, ex_RInt (fun x => f' x * w x) (- T) T).
{ intros T; destruct (Rle_lt_dec 0 T); [apply derivative_int with (1 := pf); lra|].
  apply ex_RInt_swap, derivative_int with (1 := pf); lra. }
destruct (markov f' a1 p eps pos e0 (stein f f' C n a1 pf g m) mp int ip) as [b s].
unfold lambda; rewrite s; exact b.
Qed.
