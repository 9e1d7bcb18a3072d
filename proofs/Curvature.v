(* The Hessian of the loss of a network at a cloned point: invariance of BC, flat directions, saddles.

   loss w             l (forward A w b x), l any loss of the values with gradient gl
   gradient w u v     dloss/dw_uv by backpropagation (Backprop.v)
   hessian_along w D HD   HD is the derivative of the gradient along D: HD = H D
   second_order w H   H D is the Hessian applied to D, for every D: linear and symmetric (as for any C^2 loss)
   pair D E           sum over all edges of D E;  curvature H D = D^T H D
   normal_to_BC D     D is orthogonal to every block-constant direction                          *)
From mathcomp Require Import all_ssreflect all_algebra ring.
From mathcomp Require Import Rstruct.
From lop Require Import Dag Cloning Trajectory Backprop Stability.
From Coq Require Import Reals Lra FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.
Bind Scope ring_scope with R.

Section Network.
Variables (V B : finType) (A : arch R_comRingType V) (blk : V -> B) (b x : V -> R).
Variables (l : (V -> R) -> R) (gl : (V -> R) -> V -> R).
Implicit Types (w D E M : V -> V -> R) (t a c : R).
Definition move w D t u v : R := w u v + t * D u v.
Definition loss w : R := l (forward A w b x).
Definition gradient w : V -> V -> R := grad A w b x (gl (forward A w b x)).
Definition pair D E : R := \sum_v \sum_u D u v * E u v.
Definition hessian_along w D HD := forall u v, is_derive (fun t => gradient (move w D t) u v) 0 (HD u v).
Definition smooth_loss := (forall v z, hidden A v -> is_derive (act A v) z (act' A v z))
  /\ (forall h, has_gradient l h (gl h)).
Definition fair := inputs_equal A blk x /\ forall h, block_equal blk h -> block_equal blk (gl h).
Definition cloned_weights w :=
  in_equitable A blk (on_edges A w) /\ out_equitable A blk (on_edges A w).
Definition normal_to_BC D := forall M, block_constant A blk M -> pair D M = 0.

Hypothesis smooth : smooth_loss.
Hypothesis sh : shared A blk b.
Hypothesis fr : fair.

Lemma fun2 (f g : V -> V -> R) : (forall i j, f i j = g i j) -> f = g.
Proof.
move=> fg; apply: functional_extensionality => i; apply: functional_extensionality => j; exact: fg.
Qed.

Lemma zero_derive (f : R -> R) d : (forall t, f t = 0) -> is_derive f 0 d -> d = 0.
Proof.
move=> z /is_derive_unique <-; rewrite (Derive_ext f (fun=> 0)) //; exact: Derive_const.
Qed.

Lemma same_derive (f g : R -> R) c d : (forall t, f t = g t) -> is_derive f 0 c -> is_derive g 0 d -> c = d.
Proof. by move=> fg /is_derive_unique <- /is_derive_unique <-; apply: Derive_ext. Qed.

Lemma on_edges_move w D t u v : t * on_edges A D u v + on_edges A w u v = on_edges A (move w D t) u v.
Proof. by rewrite /on_edges /move; case: ifP => // _; [rewrite addrC | rewrite mulr0 addr0]. Qed.

Lemma move_cloned w D t : cloned_weights w -> cloned_weights D -> cloned_weights (move w D t).
Proof.
move=> [iw ow] [iD oD]; have eq := equitable_ext A blk (on_edges_move w D t).
by split; [apply: eq.1; apply: in_equitable_linear | apply: eq.2; apply: out_equitable_linear].
Qed.

Lemma gradient_tangent w : cloned_weights w -> block_constant A blk (gradient w).
Proof.
move=> [ein eout]; have [xeq geq] := fr.
by have [] := clone_gradient sh xeq ein eout (geq _ (clone_forward sh xeq ein)).
Qed.

Lemma block_constant_cloned M : equitable_mask A blk -> block_constant A blk M -> cloned_weights M.
Proof.
move=> mask bc; have ext u v : M u v = on_edges A M u v by rewrite /on_edges; case: ifPn => // /bc.1.
have eq := equitable_ext A blk ext.
by split; [apply: eq.1; apply: block_constant_in | apply: eq.2; apply: block_constant_out].
Qed.

(* [normal-splitting] tangency of the gradient on all of w + BC makes BC invariant under the Hessian *)
Theorem hessian_keeps_BC w M HM : equitable_mask A blk -> cloned_weights w -> block_constant A blk M ->
  hessian_along w M HM -> block_constant A blk HM.
Proof.
move=> mask cw bc hess; have at_t t := gradient_tangent (move_cloned t cw (block_constant_cloned mask bc)).
split=> [u v ne | u v u' v' e e' uu vv]; first by apply: zero_derive (hess u v) => t; apply: (at_t t).1.
by apply: same_derive (hess u v) (hess u' v') => t; apply: (at_t t).2.
Qed.

Lemma slope_along w D (t : R) : is_derive (fun s : R => loss (move w D (t + s))) 0 (pair (gradient (move w D t)) D).
Proof.
have [act_d grad_l] := smooth; set wt := move w D t.
have := backprop_is_derivative (b := b) (x := x) (w := wt) D (fun=> 0) (fun v hv => act_d v _ hv) (grad_l _).
rewrite big1 ?add0r => [|v _]; last by rewrite mulr0.
apply: is_derive_eqfun => s; rewrite /loss; congr (l (forward A _ _ x)).
  by apply: fun2 => i j; rewrite /line2 /wt /move mulrDl addrA.
by apply: functional_extensionality => v; rewrite /line mulr0 addr0.
Qed.

(* [flat-directions] along a redistribution the loss is constant, so its slope and curvature vanish *)
Theorem redistribution_curvature w D HD : cloned_weights w -> redistribution A blk D -> hessian_along w D HD ->
  (forall t, loss (move w D t) = loss w) /\ pair (gradient w) D = 0 /\ pair HD D = 0.
Proof.
move=> [ein _] red hess; have [xeq _] := fr.
have flat t : loss (move w D t) = loss w.
  by rewrite /loss; congr l; apply: functional_extensionality => v; apply: (redistribution_flat red t sh xeq ein).
have slope t : pair (gradient (move w D t)) D = 0.
  have /is_derive_unique <- := slope_along w D t.
  by rewrite (Derive_ext _ (fun=> loss w)) => [|s]; [exact: Derive_const | exact: flat].
split=> //; split.
  rewrite -(slope 0); congr pair; congr gradient.
  by apply: fun2 => i j; rewrite /move mul0r addr0.
apply: (zero_derive slope); apply: is_derive_bigsum => v _; apply: is_derive_bigsum => u _.
have := is_derive_mul (hess u v) (is_derive_fun0 (D u v) 0).
by rewrite mulr0 addr0.
Qed.

(* ---- The quadratic form on the normal space ---- *)
Definition plus D (a : R) E u v : R := D u v + a * E u v.
Definition second_order w (H : (V -> V -> R) -> V -> V -> R) := (forall D, hessian_along w D (H D))
  /\ (forall D a E F, pair (H (plus D a E)) F = pair (H D) F + a * pair (H E) F)
  /\ (forall D E, pair (H D) E = pair D (H E)).
Definition curvature (H : (V -> V -> R) -> V -> V -> R) D := pair (H D) D.

Lemma pairC D E : pair D E = pair E D.
Proof. by apply: eq_bigr => v _; apply: eq_bigr => u _; rewrite mulrC. Qed.

Lemma pair_plus D a E F : pair F (plus D a E) = pair F D + a * pair F E.
Proof.
rewrite mulr_sumr -big_split; apply: eq_bigr => v _; rewrite mulr_sumr -big_split; apply: eq_bigr => u _.
by rewrite /plus /= mulrDr mulrCA.
Qed.

Lemma pair_gt0 D u v : D u v != 0 -> 0 < pair D D.
Proof.
move=> nz; rewrite /pair (bigD1 v) //= (bigD1 u) //=; apply: ltr_paddr.
  by rewrite sumr_ge0 // => i _; rewrite sumr_ge0 // => j _; rewrite -expr2 sqr_ge0.
apply: ltr_paddr; first by rewrite sumr_ge0 // => j _; rewrite -expr2 sqr_ge0.
by rewrite -expr2 exprn_even_gt0.
Qed.

Variables (w D : V -> V -> R) (H : (V -> V -> R) -> V -> V -> R).
Hypothesis mask : equitable_mask A blk.
Hypothesis into_hidden : forall u v, edge A u v -> hidden A v.
Hypothesis cw : cloned_weights w.
Hypothesis so : second_order w H.
Hypothesis red : redistribution A blk D.

Lemma normals : normal_to_BC D /\ normal_to_BC (H D).
Proof.
have nD : normal_to_BC D by move=> M bc; exact: (redistribution_normal red bc into_hidden).
split=> // M bc; have [hess [_ sym]] := so; rewrite sym; apply: nD.
exact: hessian_keeps_BC mask cw bc (hess M).
Qed.

(* [normal-splitting] the Hessian maps BC to BC and the normal space to itself: no cross terms *)
Theorem network_splitting N M : normal_to_BC N -> block_constant A blk M ->
  block_constant A blk (H M) /\ normal_to_BC (H N) /\ pair (H M) N = 0.
Proof.
move=> nN bc; have [hess [_ sym]] := so; have keeps K (bk : block_constant A blk K) := hessian_keeps_BC mask cw bk (hess K).
split; first exact: keeps; split=> [K bk|]; last by rewrite pairC; apply/nN/keeps.
by rewrite sym; apply/nN/keeps.
Qed.

Lemma plane_algebra (a c p q : R) : c * (c * p) + a * (c * q) + a * (c * q + a * 0) = c ^+ 2 * p + 2%:R * a * c * q :> R.
Proof. by rewrite mulr0 addr0 mulrA -expr2 -addrA -mulr2n -mulr_natl !mulrA. Qed.

Lemma plane_curvature a c : curvature H (plus (fun u v => c * H D u v) a D)
  = c ^+ 2 * curvature H (H D) + 2%:R * a * c * pair (H D) (H D).
Proof.
have [hess [lin sym]] := so; have [_ [_ flat]] := redistribution_curvature cw red (hess D).
have scaled F : pair (H (fun u v => c * H D u v)) F = c * pair (H (H D)) F.
  have z : pair (H (fun _ _ => 0)) F = 0.
    have := lin (fun _ _ => 0) (-1) (fun _ _ => 0) F; have -> : plus (fun _ _ => 0) (-1) (fun _ _ => 0) = (fun _ _ => 0).
      by apply: fun2 => i j; rewrite /plus mulr0 addr0.
    by move=> ->; rewrite mulN1r subrr.
  have <- : plus (fun _ _ => 0) c (H D) = (fun u v => c * H D u v).
    by apply: fun2 => i j; rewrite /plus add0r.
  by rewrite lin z add0r.
have pull F : pair F (fun u v => c * H D u v) = c * pair F (H D).
  by rewrite mulr_sumr; apply: eq_bigr => v _; rewrite mulr_sumr; apply: eq_bigr => u _; rewrite mulrCA.
rewrite /curvature lin !pair_plus !scaled !pull flat (sym (H D) D).
exact: plane_algebra.
Qed.

(* [saddle] if H D is not 0 for some redistribution D, the curvature takes both signs on the normal space, in the
   directions H D + a D: every cloned point is then a saddle of the form, with an explicit escape plane *)
Theorem network_saddle u v : H D u v != 0 -> exists a c,
  normal_to_BC (plus (H D) a D) /\ normal_to_BC (plus (H D) c D)
  /\ curvature H (plus (H D) a D) < 0 /\ 0 < curvature H (plus (H D) c D).
Proof.
move=> nz; have pos := pair_gt0 nz; have [nD nK] := normals.
have nplane a : normal_to_BC (plus (H D) a D).
  by move=> M bc; rewrite pairC pair_plus !(pairC M) nK // nD // mulr0 addr0.
have along a : curvature H (plus (H D) a D) = curvature H (H D) + 2%:R * a * pair (H D) (H D).
  have := plane_curvature a 1; rewrite expr1n mul1r mulr1 => <-; congr curvature; congr plus.
  by apply: fun2 => i j; rewrite mul1r.
move: (curvature H (H D)) along => q along; set k := pair (H D) (H D) in pos along *.
have k0 : 2%:R * k != 0 by rewrite mulf_neq0 ?pnatr_eq0 // gt_eqF.
exists ((-1 - q) / (2%:R * k)), ((1 - q) / (2%:R * k)); split=> //; split=> //; rewrite !along.
have reach y : q + 2%:R * ((y - q) / (2%:R * k)) * k = y.
  by rewrite -mulrA mulrCA divfK // addrC subrK.
by rewrite !reach ltrN10 ltr01.
Qed.
End Network.
