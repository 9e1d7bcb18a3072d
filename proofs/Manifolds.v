(* LoP manifolds: Definition 2.1, Remarks 2.1 and 2.2.

   subspace T       a predicate closed under addition and scaling
   euler            discrete steps x - eta_t F_t(x), F_t any field (data and loss may change each step)
   circle_loss      L(x, y) = x^2 / (x^2 + y^2): its gradient is tangent to every circle about 0     *)
From mathcomp Require Import all_ssreflect all_algebra ring.
From lop Require Import Dag Cloning Trajectory.
Import GRing.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Section Affine.
Local Open Scope ring_scope.
Variables (R : ringType) (E : lmodType R) (T : E -> Prop).
Definition subspace := T 0 /\ forall (a : R) u v, T u -> T v -> T (a *: u + v).

Fixpoint euler (eta : nat -> R) (field : nat -> E -> E) x0 t :=
  if t is t.+1 then euler eta field x0 t - eta t *: field t (euler eta field x0 t) else x0.

(* [affine-vs-curved] [functional-lop] Remark 2.1: on an affine manifold x0 + T, fields that are tangent
   on it (for every data set and loss) keep every discrete step in it *)
Theorem affine_invariant eta field x0 : subspace ->
  (forall t x, T (x - x0) -> T (field t x)) -> forall t, T (euler eta field x0 t - x0).
Proof.
move=> [T0 lin] tangent; elim=> [|t IH] /=; first by rewrite subrr.
by rewrite addrAC addrC -scaleNr; apply: lin => //; apply: tangent.
Qed.
End Affine.

Section Functional.
Local Open Scope ring_scope.
Variables (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B).

(* [functional-lop] Remark 2.2: at a cloned point the gradient is tangent (in BC) for every batch and every loss *)
Theorem functional_lop w b (s : seq (sample R V)) : cloned A blk (State w b [::] [::]) ->
  all_prop (valid A blk) s -> block_constant A blk (batch_grad A w b s).
Proof. by move=> [sh ein eout] valid_s; have [] := batch_grad_cloned sh ein eout valid_s. Qed.
End Functional.

From Coq Require Import Reals Lra Psatz.
From Coquelicot Require Import Coquelicot.
Local Open Scope R_scope.

Definition circle_loss x y := x ^ 2 / (x ^ 2 + y ^ 2).
Definition circle_dx x y := 2 * x * y ^ 2 / (x ^ 2 + y ^ 2) ^ 2.
Definition circle_dy x y := - (2 * x ^ 2 * y) / (x ^ 2 + y ^ 2) ^ 2.

Lemma circle_gradient x y : x ^ 2 + y ^ 2 <> 0 ->
  is_derive (fun x => circle_loss x y) x (circle_dx x y) /\ is_derive (circle_loss x) y (circle_dy x y).
Proof.
move=> nz; split; rewrite /circle_loss; auto_derive => //; rewrite /circle_dx /circle_dy; field => //.
Qed.

Lemma circle_tangent x y : x ^ 2 + y ^ 2 <> 0 -> x * circle_dx x y + y * circle_dy x y = 0.
Proof. by move=> nz; rewrite /circle_dx /circle_dy; field. Qed.

(* [affine-vs-curved] on the unit circle the gradient is tangent everywhere and the gradient flow stays,
   but a discrete step of any size leaves, except at the critical points *)
Theorem curved_leaves :
  (forall x y, x ^ 2 + y ^ 2 = 1 -> x * circle_dx x y + y * circle_dy x y = 0) /\
  (forall x y eta, x ^ 2 + y ^ 2 = 1 -> x * y <> 0 -> eta <> 0 ->
    (x - eta * circle_dx x y) ^ 2 + (y - eta * circle_dy x y) ^ 2 <> 1).
Proof.
split=> [x y c | x y eta c xy eta0]; first by apply: circle_tangent; lra.
rewrite /circle_dx /circle_dy c.
have pos : 0 < (eta * (x * y)) ^ 2 by apply: pow2_gt_0; apply: Rmult_integral_contrapositive_currified.
have step : (x - eta * (2 * x * y ^ 2 / 1 ^ 2)) ^ 2 + (y - eta * (- (2 * x ^ 2 * y) / 1 ^ 2)) ^ 2
          = (x ^ 2 + y ^ 2) * (1 + 4 * (eta * (x * y)) ^ 2) by field.
by rewrite step c; lra.
Qed.

Lemma is_derive_eq (f : R -> R) t a b : a = b -> is_derive f t a -> is_derive f t b.
Proof. by move=> ->. Qed.

Lemma constant_of_derive (f : R -> R) t : (forall s, is_derive f s 0) -> f t = f 0.
Proof.
move=> df; have [c [_ eq]] := MVT_gen f 0 t (fun _ => 0) (fun s _ => df s)
  (fun s _ => proj2 (continuity_pt_filterlim f s) (ex_derive_continuous f s (ex_intro _ _ (df s)))).
by move: eq; rewrite Rmult_0_l; lra.
Qed.

(* [affine-vs-curved] the gradient flow keeps its distance to 0 *)
Theorem curved_flow_stays (x y : R -> R) :
  (forall t, x t ^ 2 + y t ^ 2 <> 0) ->
  (forall t, is_derive x t (- circle_dx (x t) (y t))) -> (forall t, is_derive y t (- circle_dy (x t) (y t))) ->
  forall t, x t ^ 2 + y t ^ 2 = x 0 ^ 2 + y 0 ^ 2.
Proof.
move=> nz dx dy t; pose r s := x s * x s + y s * y s.
have dr s : is_derive r s 0.
  have := is_derive_plus _ _ _ _ _ (is_derive_mult x x s _ _ (dx s) (dx s) Rmult_comm)
                                   (is_derive_mult y y s _ _ (dy s) (dy s) Rmult_comm).
  have tan := circle_tangent (nz s); rewrite /plus /mult /=; apply: is_derive_eq; lra.
suff: r t = r 0 by rewrite /r; lra.
by apply: constant_of_derive.
Qed.
