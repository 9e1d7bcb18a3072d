(* From three enclosures on [-8, 8], by CoqInterval, to the strength of a continuous activation of linear growth.

   linear f         |f x| <= 2 |x| for |x| >= 8
   near b lo hi     lo <= b <= hi up to 1e-11, the integral's tails                                        *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From Interval Require Import Tactic.
From lop Require Import Gaussian.
From lop.numbers Require Import Whole.
Local Open Scope R_scope.

Lemma one_integrable : integrable (fun _ => 1).
Proof. apply wf_cont; intros; apply continuous_const. Qed.
Lemma one_growth : growth (fun _ => 1) 1 8.
Proof. split; [lra|]; split; [lra|]; intros x h; rewrite Rabs_R1; simpl; nra. Qed.

Lemma mass_box : 2.5066282741 <= RInt (wf (fun _ => 1)) (- 8) 8 <= 2.5066282751.
Proof.
rewrite (RInt_ext _ (fun x => exp (- (x * x) / 2))) by (intros; apply Rmult_1_l).
integral with (i_fuel 500).
Qed.

Lemma tail_box : 0 <= 2 * tail 1 8 <= 1e-11.
Proof. unfold tail, w; split; interval. Qed.

Definition linear (f : R -> R) := forall x, 8 <= Rabs x -> Rabs (f x) <= 2 * Rabs x.
Definition near (b lo hi : R) := lo - 1e-11 <= b <= hi + 1e-11.

Lemma enclose f lo hi : (forall x, continuous f x) -> growth f 1 8 -> lo <= RInt (wf f) (- 8) 8 <= hi ->
  has_whole f (whole f) /\ near (whole f) lo hi.
Proof.
intros c g b; destruct (whole_enclosure f 1 8 lo hi (wf_cont f c) g b) as [h e]; split; [exact h|].
assert (t := tail_box); unfold near; lra.
Qed.

Lemma sq_cont (f : R -> R) : (forall x, continuous f x) -> forall x, continuous (fun x => f x ^ 2) x.
Proof.
intros c x; apply (continuous_ext (fun x => f x * f x)); [intros; simpl; ring | apply (continuous_mult f f); apply c].
Qed.

Lemma x_cont (f : R -> R) : (forall x, continuous f x) -> forall x, continuous (fun x => x * f x) x.
Proof. intros c x; apply (continuous_mult (fun x => x) f); [apply continuous_id | apply c]. Qed.

Lemma growths f : linear f -> growth f 1 8 /\ growth (fun x => f x ^ 2) 1 8 /\ growth (fun x => x * f x) 1 8.
Proof.
intros l; repeat split; try lra; intros x h; assert (b := l x h); assert (p := Rabs_pos (f x));
  assert (sq : 64 <= Rabs x * Rabs x) by nra.
- simpl; nra.
- rewrite <- RPow_abs; assert (q := pow_incr _ _ 2 (conj p b)); simpl in *; nra.
- rewrite Rabs_mult; simpl; nra.
Qed.

Theorem strength_from_boxes f e1 e2 q1 q2 a1 a2 lo hi : (forall x, continuous f x) -> linear f ->
  e1 <= RInt (wf f) (- 8) 8 <= e2 -> q1 <= RInt (wf (fun x => f x ^ 2)) (- 8) 8 <= q2 ->
  a1 <= RInt (wf (fun x => x * f x)) (- 8) 8 <= a2 ->
  (forall m e q a, near m 2.5066282741 2.5066282751 -> near e e1 e2 -> near q q1 q2 -> near a a1 a2 ->
    lo <= 1 - (a / m) ^ 2 / (q / m - (e / m) ^ 2) <= hi) -> strength_in f lo hi.
Proof.
intros c l be bq ba arith; destruct (growths f l) as (g1 & g2 & g3).
destruct (enclose (fun _ => 1) _ _ (fun x => continuous_const _ _) one_growth mass_box) as [h0 b0].
destruct (enclose f _ _ c g1 be) as [h1 b1].
destruct (enclose _ _ _ (sq_cont f c) g2 bq) as [h2 b2].
destruct (enclose _ _ _ (x_cont f c) g3 ba) as [h3 b3].
split; [easy | exact (arith _ _ _ _ b0 b1 b2 b3)].
Qed.
