(* Stability and persistence: Definition A.2, Remark A.6.

   form H u v      u^T H v;   dot u v = u^T v
   normal T n      n is orthogonal to the tangent space T
   redistribution  a direction D whose sums into each node over each source block vanish
   gronwall        the comparison lemma behind persistence near an invariant manifold
   balance         W_{l+1}^T W_{l+1} - W_l W_l^T of a deep linear network                        *)
From mathcomp Require Import all_ssreflect all_algebra ring.
From lop Require Import Dag Cloning.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Section Hessian.
Local Open Scope ring_scope.
Variables (F : realFieldType) (n : nat) (H : 'M[F]_n).
Implicit Types (T : 'cV[F]_n -> Prop) (u v t k : 'cV[F]_n).
Definition dot u v : F := (u^T *m v) 0 0.
Definition form u v : F := dot u (H *m v).
Definition normal T k := forall t, T t -> dot k t = 0.
(* the Hessian maps T into itself: what tangency of the gradient along T gives *)
Definition tangent_invariant T := forall t k, T t -> normal T k -> dot k (H *m t) = 0.

Lemma dotDl u v t : dot (u + v) t = dot u t + dot v t.
Proof. by rewrite /dot linearD mulmxDl mxE. Qed.
Lemma dotZl a u t : dot (a *: u) t = a * dot u t.
Proof. by rewrite /dot linearZ -scalemxAl mxE. Qed.
Lemma dotC u v : dot u v = dot v u.
Proof. by rewrite /dot -[u^T *m v]trmxK trmx_mul trmxK mxE. Qed.
Lemma dotDr u v t : dot t (u + v) = dot t u + dot t v.
Proof. by rewrite !(dotC t) dotDl. Qed.
Lemma dotZr a u t : dot t (a *: u) = a * dot t u.
Proof. by rewrite !(dotC t) dotZl. Qed.
Lemma dot_sq u : dot u u = \sum_i u i 0 ^+ 2.
Proof. by rewrite /dot mxE; apply: eq_bigr => i _; rewrite mxE. Qed.
Lemma dot_gt0 u : u != 0 -> 0 < dot u u.
Proof.
move=> u0; have pos i : true -> 0 <= u i 0 ^+ 2 by rewrite sqr_ge0.
rewrite lt_neqAle dot_sq sumr_ge0 // andbT eq_sym psumr_eq0 //; apply: contra u0 => /allP z.
apply/eqP/matrixP => i j; rewrite ord1 mxE; apply/eqP.
by have := z i (mem_index_enum i); rewrite /= sqrf_eq0.
Qed.

Hypothesis sym : H^T = H.
Lemma dot_sym u v : dot u (H *m v) = dot (H *m u) v.
Proof. by rewrite /dot trmx_mul sym mulmxA. Qed.

(* [normal-splitting] the normal space is invariant and the quadratic form splits *)
Theorem normal_splitting T : tangent_invariant T ->
  (forall k, normal T k -> normal T (H *m k)) /\
  (forall t k, T t -> normal T k -> form (t + k) (t + k) = form t t + form k k).
Proof.
move=> inv; split=> [k nk t Tt | t k Tt nk]; first by rewrite -dot_sym; apply: inv.
rewrite /form mulmxDr dotDl !dotDr (inv t k) // [dot t (H *m k)]dot_sym [dot _ k]dotC (inv t k) //.
by rewrite addr0 add0r.
Qed.

Lemma form_along k v a : form (k + a *: v) (k + a *: v) = form k k + a * form k v *+ 2 + a ^+ 2 * form v v.
Proof.
rewrite /form mulmxDr -scalemxAr dotDl dotZl !dotDr !dotZr [dot v (H *m k)]dot_sym [dot (H *m v) k]dotC.
by move: (dot k _) (dot k _) (dot v _) => p q r; ring.
Qed.

(* [saddle] v^T H v = 0 and H v <> 0 with v normal: the form on the normal space takes both signs,
   with the explicit escape direction H v + a v *)
Theorem saddle T v : tangent_invariant T -> normal T v -> form v v = 0 -> H *m v != 0 ->
  let k := H *m v in
  exists a c, normal T (k + a *: v) /\ normal T (k + c *: v)
    /\ form (k + a *: v) (k + a *: v) < 0 /\ 0 < form (k + c *: v) (k + c *: v).
Proof.
move=> inv nv flat Hv k; have nk : normal T k by apply: (normal_splitting inv).1.
have cross : form k v != 0 by rewrite gt_eqF // /form dot_gt0.
have two : 2%:R != 0 :> F by rewrite pnatr_eq0.
have lin a : normal T (k + a *: v) by move=> t Tt; rewrite dotDl dotZl nk // nv // mulr0 addr0.
have reach y : form (k + ((y - form k k) / (2%:R * form k v)) *: v) (k + ((y - form k k) / (2%:R * form k v)) *: v) = y.
  by rewrite form_along flat mulr0 addr0 -mulr_natr; field; rewrite cross.
exists ((-1 - form k k) / (2%:R * form k v)), ((1 - form k k) / (2%:R * form k v)).
by rewrite !reach ltrN10 ltr01.
Qed.
End Hessian.

Section Flat.
Local Open Scope ring_scope.
Variables (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B).
Variables (w D : V -> V -> R) (b x : V -> R).
Definition redistribution := (forall u v, ~~ edge A u v -> D u v = 0) /\
  forall I v, hidden A v -> \sum_(u | blk u == I) D u v = 0.
Hypothesis red : redistribution.

Lemma red_edges u v : on_edges A D u v = D u v.
Proof. by rewrite /on_edges; case: ifPn => // /(red.1). Qed.

(* [flat-directions] moving along a redistribution changes no value on any data: the loss is constant *)
Theorem redistribution_flat t : shared A blk b -> inputs_equal A blk x -> in_equitable A blk (on_edges A w) ->
  forward A (fun u v => w u v + t * D u v) b x =1 forward A w b x.
Proof.
move=> sh xeq ein v; symmetry; move: v; apply: forward_unique => v.
rewrite {1}forwardE /forward_step; case: ifPn => // hid; congr (act A v (_ + _)).
have eh := clone_forward sh xeq ein.
have zero : \sum_u D u v * forward A w b x u = 0.
  rewrite (block_sum (blk := blk) (P := xpredT) (m' := fun=> 0) eh); first by rewrite big1 // => u _; rewrite mul0r.
  by move=> I; under eq_bigl do rewrite andbT; rewrite red.2 // big1.
have -> : \sum_u on_edges A (fun u v => w u v + t * D u v) u v * forward A w b x u
  = \sum_u on_edges A w u v * forward A w b x u + t * \sum_u D u v * forward A w b x u.
  rewrite mulr_sumr -big_split /=; apply: eq_bigr => u _; rewrite -red_edges /on_edges.
  by case: ifP => _; rewrite ?mulr0 ?mul0r ?mulr0 ?addr0 // mulrDl mulrA.
by rewrite zero mulr0 addr0.
Qed.

(* [flat-directions] redistributions are orthogonal to BC, whether or not the blocks are complete *)
Theorem redistribution_normal M : block_constant A blk M -> (forall u v, edge A u v -> hidden A v) ->
  \sum_v \sum_u D u v * M u v = 0.
Proof.
move=> [M0 eM] hid; rewrite big1 // => v _; rewrite (partition_big blk xpredT) //= big1 // => I _.
have [u0 /andP[/eqP u0I e0] | none] := pickP (fun u => (blk u == I) && edge A u v); last first.
  by rewrite big1 // => u uI; rewrite M0 ?mulr0 //; move/negbT: (none u); rewrite uI.
rewrite (eq_bigr (fun u => D u v * M u0 v)) => [|u /eqP uI].
  by rewrite -mulr_suml red.2 ?mul0r //; apply: hid e0.
have [e | ne] := boolP (edge A u v); last by rewrite red.1 // !mul0r.
by congr (_ * _); apply: eM => //; rewrite uI.
Qed.
End Flat.

Local Open Scope ring_scope.

(* [flat-directions] Definition A.2's strict "stable" never occurs: with two edges from one block into a hidden
   node there is a non-zero redistribution, so a direction along which the loss is constant for all data *)
Theorem flat_direction_exists (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B) u u' v :
  u != u' -> blk u = blk u' -> edge A u v -> edge A u' v ->
  exists D : V -> V -> R, redistribution A blk D /\ D u v = 1.
Proof.
move=> uu bb e e'; exists (fun s t => if t == v then (s == u)%:R - (s == u')%:R else 0).
split; last by rewrite !eqxx (negbTE uu) subr0.
split=> [s t ne | I t _].
  case: eqVneq ne => // ->; case: eqVneq => [->|_]; first by rewrite e.
  by case: eqVneq => [->|_]; rewrite ?e' // subr0.
case: (t == v); last by rewrite big1.
have one k : \sum_(s | blk s == I) (s == k)%:R = (blk k == I)%:R :> R.
  rewrite big_mkcond (bigD1 k) //= eqxx big1 ?addr0 => [|s /negbTE ->]; last by case: ifP.
  by case: (blk k == I).
by rewrite sumrB !one bb subrr.
Qed.

(* ---- Deep linear networks ---- *)
Section LowRank.
Local Open Scope ring_scope.
Variables (F : realFieldType) (i j k l m : nat).
(* the product is P *m W2 *m W1 *m Q: W1, W2 adjacent layers, P and Q the layers after and before, G = dL/d(product) *)
Variables (Q : 'M[F]_(j, i)) (W1 : 'M[F]_(k, j)) (W2 : 'M[F]_(l, k)) (P : 'M[F]_(m, l)) (G : 'M[F]_(m, i)).
Definition dW1 : 'M[F]_(k, j) := - ((P *m W2)^T *m G *m Q^T).
Definition dW2 : 'M[F]_(l, k) := - (P^T *m G *m (W1 *m Q)^T).

(* [low-rank] gradient flow conserves W2^T W2 - W1 W1^T (its derivative by the product rule is 0) *)
Theorem balance_conserved :
  (dW2^T *m W2 + W2^T *m dW2) - (dW1 *m W1^T + W1 *m dW1^T) = 0.
Proof.
have negT (a c : nat) (X : 'M[F]_(a, c)) : (- X)^T = - X^T by rewrite linearN.
rewrite /dW1 /dW2 !negT !mulNmx !mulmxN !trmx_mul !trmxK !mulmxA; apply/eqP; rewrite subr_eq0; apply/eqP.
by rewrite addrC.
Qed.

(* [low-rank] a hidden direction that neither enters nor leaves (u W1 = 0, W2 u^T = 0) stays so under every
   gradient step, for any data, loss and step size: an affine LoP manifold of rank-deficient networks *)
Theorem dead_direction_stays (u : 'rV[F]_k) eta : u *m W1 = 0 -> W2 *m u^T = 0 ->
  u *m (W1 + eta *: dW1) = 0 /\ (W2 + eta *: dW2) *m u^T = 0.
Proof.
move=> u1 u2; rewrite mulmxDr mulmxDl u1 u2 !add0r -scalemxAr -scalemxAl /dW1 /dW2 mulmxN mulNmx.
have z1 : u *m (P *m W2)^T = 0 by rewrite -[u]trmxK -trmx_mul -mulmxA u2 mulmx0 trmx0.
have z2 : (W1 *m Q)^T *m u^T = 0 by rewrite -trmx_mul mulmxA u1 mul0mx trmx0.
split; first by rewrite !mulmxA z1 !mul0mx oppr0 scaler0.
by rewrite -(mulmxA _ _ u^T) z2 mulmx0 oppr0 scaler0.
Qed.

(* [low-rank] when the layers are balanced, a direction missing from W1 is missing from W2 *)
Theorem balanced_dead (u : 'rV[F]_k) : W2^T *m W2 = W1 *m W1^T -> u *m W1 = 0 -> W2 *m u^T = 0.
Proof.
move=> bal u1; have sq : dot (W2 *m u^T) (W2 *m u^T) = 0.
  by rewrite /dot trmx_mul trmxK -mulmxA (mulmxA W2^T) bal !mulmxA u1 !mul0mx mxE.
by apply/eqP/negPn/negP => /dot_gt0; rewrite sq ltxx.
Qed.
End LowRank.
