(* Modules: Definition A.1, Lemma A.2, Theorems 2.2 and A.2, over any field. No axioms.

   layer P I O        a module with parameters P, input ports I, output ports O:
     fwd w x          its outputs
     bwd w x d        the input adjoints for output adjoints d (vector-Jacobian product)
     pgrad w x d      the parameter gradient
   cert m pI pO M T   the certificate MC1-MC3 for the profiles pI, pO: on the manifold M, block-equal
                      inputs (and output adjoints) give block-equal outputs (MC1), input adjoints
                      (MC2) and a gradient in T (MC3); steps along T stay in M
   sequence, residual, parallel   wiring over matching profiles
   channelwise        every channel through the same map of its own entries: entrywise activation,
                      BatchNorm (S = the batch), pooling (S = the positions)                           *)
From mathcomp Require Import all_ssreflect all_algebra ring.
From lop Require Import Dag Cloning Trajectory.
Import GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

Section Certificates.
Variable F : fieldType.

Record layer (P : lmodType F) (I O : finType) := Layer {
  fwd : P -> (I -> F) -> O -> F;
  bwd : P -> (I -> F) -> (O -> F) -> I -> F;
  pgrad : P -> (I -> F) -> (O -> F) -> P }.

Record cert (P : lmodType F) (I O BI BO : finType) (m : layer P I O) (pI : I -> BI) (pO : O -> BO)
    (M T : P -> Prop) : Prop := Cert {
  mc1 : forall w x, M w -> block_equal pI x -> block_equal pO (fwd m w x);
  mc2 : forall w x d, M w -> block_equal pI x -> block_equal pO d -> block_equal pI (bwd m w x d);
  mc3 : forall w x d, M w -> block_equal pI x -> block_equal pO d -> T (pgrad m w x d);
  step_stays : forall a w d, M w -> T d -> M (w - a *: d) }.

(* ---- Wiring ---- *)
Definition both (P Q : lmodType F) (M : P -> Prop) (N : Q -> Prop) (w : P * Q) := M w.1 /\ N w.2.

Definition sequence (P Q : lmodType F) (I J O : finType) (m : layer P I J) (n : layer Q J O) :
    layer [lmodType F of P * Q] I O :=
  Layer (fun w x => fwd n w.2 (fwd m w.1 x))
        (fun w x d => bwd m w.1 x (bwd n w.2 (fwd m w.1 x) d))
        (fun w x d => (pgrad m w.1 x (bwd n w.2 (fwd m w.1 x) d), pgrad n w.2 (fwd m w.1 x) d)).

Definition residual (P : lmodType F) (I : finType) (m : layer P I I) : layer P I I :=
  Layer (fun w x i => x i + fwd m w x i) (fun w x d i => d i + bwd m w x d i) (pgrad m).

Definition parallel (P Q : lmodType F) (I O O' : finType) (m : layer P I O) (n : layer Q I O') :
    layer [lmodType F of P * Q] I [finType of O + O'] :=
  Layer (fun w x o => match o with inl o => fwd m w.1 x o | inr o => fwd n w.2 x o end)
        (fun w x d i => bwd m w.1 x (d \o inl) i + bwd n w.2 x (d \o inr) i)
        (fun w x d => (pgrad m w.1 x (d \o inl), pgrad n w.2 x (d \o inr))).

Definition sum_profile (O O' BO BO' : finType) (pO : O -> BO) (pO' : O' -> BO') (o : O + O') : BO + BO' :=
  match o with inl o => inl (pO o) | inr o => inr (pO' o) end.

(* [composition-rules] Theorem A.2, sequential wiring over matching profiles *)
Theorem sequence_cert (P Q : lmodType F) (I J O BI BJ BO : finType) (m : layer P I J) (n : layer Q J O)
    (pI : I -> BI) (pJ : J -> BJ) (pO : O -> BO) M T N S :
  cert m pI pJ M T -> cert n pJ pO N S -> cert (sequence m n) pI pO (both M N) (both T S).
Proof.
move=> cm cn; split=> [w x [Mw Nw] ex | w x d [Mw Nw] ex ed | w x d [Mw Nw] ex ed | a w d [Mw Nw] [Td Sd]].
- by apply: (mc1 cn) => //; apply: (mc1 cm).
- by apply: (mc2 cm) => //; apply: (mc2 cn) => //; apply: (mc1 cm).
- split; first by apply: (mc3 cm) => //; apply: (mc2 cn) => //; apply: (mc1 cm).
  by apply: (mc3 cn) => //; apply: (mc1 cm).
- by split; [apply: (step_stays cm) | apply: (step_stays cn)].
Qed.

(* [composition-rules] Theorem A.2, residual connection *)
Theorem residual_cert (P : lmodType F) (I BI : finType) (m : layer P I I) (pI : I -> BI) M T :
  cert m pI pI M T -> cert (residual m) pI pI M T.
Proof.
move=> cm; split=> [w x Mw ex i j ij | w x d Mw ex ed i j ij | w x d | ] /=.
- by congr (_ + _); [apply: ex | apply: (mc1 cm)].
- by congr (_ + _); [apply: ed | apply: (mc2 cm)].
- by move=> Mw ex ed; apply: (mc3 cm).
- by move=> a w d Mw Td; apply: (step_stays cm).
Qed.

(* [composition-rules] Theorem A.2, parallel branches (concatenation) *)
Theorem parallel_cert (P Q : lmodType F) (I O O' BI BO BO' : finType) (m : layer P I O) (n : layer Q I O')
    (pI : I -> BI) (pO : O -> BO) (pO' : O' -> BO') M T N S :
  cert m pI pO M T -> cert n pI pO' N S ->
  cert (parallel m n) pI (sum_profile pO pO') (both M N) (both T S).
Proof.
have inl_eq (d : O + O' -> F) : block_equal (sum_profile pO pO') d -> block_equal pO (d \o inl).
  by move=> ed o o' oo; apply: ed; rewrite /= oo.
have inr_eq (d : O + O' -> F) : block_equal (sum_profile pO pO') d -> block_equal pO' (d \o inr).
  by move=> ed o o' oo; apply: ed; rewrite /= oo.
move=> cm cn; split=> [w x [Mw Nw] ex | w x d [Mw Nw] ex ed i j ij | w x d [Mw Nw] ex ed | a w d [Mw Nw] [Td Sd]].
- by case=> o [] o' // [oo] /=; [apply: (mc1 cm) | apply: (mc1 cn)].
- by congr (_ + _); [apply: (mc2 cm) => //; apply: inl_eq | apply: (mc2 cn) => //; apply: inr_eq].
- by split; [apply: (mc3 cm) => //; apply: inl_eq | apply: (mc3 cn) => //; apply: inr_eq].
- by split; [apply: (step_stays cm) | apply: (step_stays cn)].
Qed.

(* SGD from w0 on the data, with the output adjoints `loss` *)
Fixpoint train (P : lmodType F) (I O : finType) (m : layer P I O) (eta : nat -> F)
    (data : nat -> I -> F) (loss : nat -> (O -> F) -> O -> F) (w0 : P) t : P :=
  if t is t.+1 then let w := train m eta data loss w0 t in
    w - eta t *: pgrad m w (data t) (loss t (fwd m w (data t))) else w0.

(* [composition-rules] Theorem A.2.3: training stays on the manifold, for any data and adjoints that respect the profiles *)
Theorem certificate_persists (P : lmodType F) (I O BI BO : finType) (m : layer P I O) (pI : I -> BI) (pO : O -> BO)
    M T eta data loss w0 : cert m pI pO M T -> M w0 -> (forall t, block_equal pI (data t)) ->
  (forall t y, block_equal pO y -> block_equal pO (loss t y)) ->
  forall t, M (train m eta data loss w0 t).
Proof.
move=> cm Mw0 edata eloss; elim=> [|t IH] //=; apply: (step_stays cm) => //.
by apply: (mc3 cm) => //; apply/eloss/(mc1 cm).
Qed.

(* ---- Linear layers: RE and CE ---- *)
Section Linear.
Variables (I O BI BO : finType) (pI : I -> BI) (pO : O -> BO).
Notation params := [lmodType F of {ffun O * I -> F^o}].

Definition linear : layer params I O :=
  @Layer params I O (fun w x o => \sum_i w (o, i) * x i) (fun w x d i => \sum_o w (o, i) * d o)
         (fun w x d => [ffun p => d p.1 * x p.2]).
Definition equitable (w : params) :=
  (forall J o o', pO o = pO o' -> \sum_(i | pI i == J) w (o, i) = \sum_(i | pI i == J) w (o', i)) /\
  (forall K i i', pI i = pI i' -> \sum_(o | pO o == K) w (o, i) = \sum_(o | pO o == K) w (o, i')).
Definition constant (d : params) :=
  forall o o' i i', pO o = pO o' -> pI i = pI i' -> d (o, i) = d (o', i').

Lemma sum_all (K B : finType) (p : K -> B) (k h : K -> F) k' : block_equal p h ->
  (forall J, \sum_(i | p i == J) k i = \sum_(i | p i == J) k' i) -> \sum_i k i * h i = \sum_i k' i * h i.
Proof.
move=> eh sums; apply: (block_sum (P := xpredT) eh) => J.
by under eq_bigl do rewrite andbT; under [RHS]eq_bigl do rewrite andbT.
Qed.

(* [module-rules] Lemma A.2 for a linear layer *)
Theorem linear_cert : cert linear pI pO equitable constant.
Proof.
split=> [w x [re ce] ex o o' oo | w x d [re ce] ex ed i i' ii | w x d _ ex ed o o' i i' oo ii | a w d [re ce] cd] /=.
- by apply: (sum_all ex) => J; apply: re.
- by apply: (sum_all ed) => K; apply: ce.
- by rewrite !ffunE /= (ex i i') // (ed o o').
have at_ p : (w - a *: d) p = w p - a * d p by rewrite !ffunE.
split=> [J o o' oo | K i i' ii]; rewrite (eq_bigr _ (fun _ _ => at_ _)) [RHS](eq_bigr _ (fun _ _ => at_ _)) !sumrB.
  by rewrite (re J o o') //; congr (_ - _); apply: eq_bigr => i _; congr (_ * _); apply: cd.
by rewrite (ce K i i') //; congr (_ - _); apply: eq_bigr => o _; congr (_ * _); apply: cd.
Qed.
End Linear.

(* ---- Channelwise layers ---- *)
Section Channelwise.
Variables (C S S' B : finType) (Q : lmodType F) (blk : C -> B).
Variables (phi : Q -> {ffun S -> F} -> S' -> F) (psi : Q -> {ffun S -> F} -> {ffun S' -> F} -> S -> F)
  (gam : Q -> {ffun S -> F} -> {ffun S' -> F} -> Q).
Notation params := [lmodType F of {ffun C -> Q}].

Definition channel (U : finType) (x : C * U -> F) c : {ffun U -> F} := [ffun s => x (c, s)].
Definition channelwise : layer params [finType of C * S] [finType of C * S'] :=
  @Layer params _ _ (fun w x p => phi (w p.1) (channel x p.1) p.2)
    (fun w x d p => psi (w p.1) (channel x p.1) (channel d p.1) p.2)
    (fun w x d => [ffun c => gam (w c) (channel x c) (channel d c)]).
Definition profile (U : finType) (p : C * U) : B * U := (blk p.1, p.2).
Definition tied (w : params) := forall c c', blk c = blk c' -> w c = w c'.

Lemma channel_eq (U : finType) (x : C * U -> F) c c' :
  block_equal (@profile U) x -> blk c = blk c' -> channel x c = channel x c'.
Proof. by move=> ex cc; apply/ffunP => s; rewrite !ffunE; apply: ex; rewrite /profile /= cc. Qed.

(* [module-rules] [coverage] entrywise activations, BatchNorm and pooling, parameters tied within blocks *)
Theorem channelwise_cert : cert channelwise (@profile S) (@profile S') tied tied.
Proof.
split=> [w x tw ex [c s] [c' s'] [cc ->] | w x d tw ex ed [c s] [c' s'] [cc ->] | w x d tw ex ed c c' cc | a w d tw td c c' cc] /=.
- by rewrite (tw c c') // (channel_eq ex cc).
- by rewrite (tw c c') // (channel_eq ex cc) (channel_eq ed cc).
- by rewrite !ffunE (tw c c') // (channel_eq ex cc) (channel_eq ed cc).
- by rewrite !ffunE (tw c c') // (td c c').
Qed.
End Channelwise.

(* ---- Instances ---- *)
Section Instances.
Variables (C S S' B : finType) (blk : C -> B).
Notation affine := [lmodType F of F^o * F^o].

(* an activation f with derivative f', applied entrywise *)
Definition entrywise (f f' : F -> F) := @channelwise C S S affine
  (fun _ x s => f (x s)) (fun _ x d s => d s * f' (x s)) (fun _ _ _ => 0).
(* [coverage] [module-rules] an entrywise activation is certified *)
Theorem entrywise_cert f f' : cert (entrywise f f') (@profile C B blk S) (@profile C B blk S) (tied blk) (tied blk).
Proof. exact: channelwise_cert. Qed.

(* pooling over positions by a matrix k (average, strided, global) *)
Definition pooling (k : S' -> S -> F) := @channelwise C S S' affine
  (fun _ x s' => \sum_s k s' s * x s) (fun _ _ d s => \sum_s' k s' s * d s') (fun _ _ _ => 0).
(* [coverage] [module-rules] linear pooling over positions is certified *)
Theorem pooling_cert k : cert (pooling k) (@profile C B blk S) (@profile C B blk S') (tied blk) (tied blk).
Proof. exact: channelwise_cert. Qed.

(* normalisation; sigma x stands for sqrt (variance x + eps) *)
Variable sigma : forall U : finType, {ffun U -> F} -> F.
Definition mean (U : finType) (x : U -> F) : F := (\sum_s x s) / #|U|%:R.
Definition normal (U : finType) (x : {ffun U -> F}) s := (x s - mean x) / sigma x.

(* BatchNorm: each channel is normalised over the batch S, then scaled and shifted *)
Definition batchnorm := @channelwise C S S affine
  (fun q x s => q.1 * normal x s + q.2)
  (fun q x d s => q.1 / sigma x * (d s - mean d - normal x s * mean (fun s => d s * normal x s)))
  (fun _ x d => (\sum_s d s * normal x s, \sum_s d s)).
(* [coverage] [module-rules] BatchNorm in training mode is certified, scale and shift tied within blocks *)
Theorem batchnorm_cert : cert batchnorm (@profile C B blk S) (@profile C B blk S) (tied blk) (tied blk).
Proof. exact: channelwise_cert. Qed.

(* LayerNorm over the channels of one sample; scale and shift tied within blocks *)
Notation params := [lmodType F of {ffun C -> F^o * F^o}].
Definition layernorm : layer params C C :=
  @Layer params C C
    (fun w x c => (w c).1 * normal (finfun x) c + (w c).2)
    (fun w x d c => ((w c).1 * d c - mean (fun c => (w c).1 * d c)
      - normal (finfun x) c * mean (fun c => (w c).1 * d c * normal (finfun x) c)) / sigma (finfun x))
    (fun w x d => [ffun c => (d c * normal (finfun x) c, d c)]).
(* [coverage] [module-rules] LayerNorm is certified, whatever the multiplicities of the clones *)
Theorem layernorm_cert : cert layernorm blk blk (@tied C B affine blk) (@tied C B affine blk).
Proof.
have norm_eq x c c' : block_equal blk x -> blk c = blk c' -> normal (finfun x) c = normal (finfun x) c'.
  by move=> ex cc; rewrite /normal !ffunE (ex c c').
split=> [w x tw ex c c' cc | w x d tw ex ed c c' cc | w x d tw ex ed c c' cc | a w d tw td c c' cc] /=.
- by rewrite (tw c c') // (norm_eq x c c').
- by rewrite (tw c c') // (norm_eq x c c') // (ed c c').
- by rewrite !ffunE (norm_eq x c c') // (ed c c').
- by rewrite !ffunE (tw c c') // (td c c').
Qed.
End Instances.

(* ---- GroupNorm with groups that cut through a block ---- *)
Section GroupNorm.
Variable sigma : {ffun bool -> F} -> F.
(* four channels (group, place) in two groups of two *)
Definition group_part (x : bool * bool -> F) g : {ffun bool -> F} := [ffun i => x (g, i)].
Definition groupnorm : layer [lmodType F of F^o] [finType of bool * bool] [finType of bool * bool] :=
  @Layer [lmodType F of F^o] _ _
    (fun _ x c => (group_part x c.1 c.2 - mean (group_part x c.1)) / sigma (group_part x c.1))
    (fun _ _ _ _ => 0) (fun _ _ _ => 0).
(* a block of three clones: the whole first group and half of the second *)
Definition misaligned (c : bool * bool) : bool := c.1 && c.2.

(* [coverage] [module-rules] misaligned GroupNorm breaks MC1, whatever the backward pass *)
Theorem misaligned_groupnorm M T : (forall x, sigma x != 0) -> 2%:R != 0 :> F -> (exists w, M w) ->
  ~ cert groupnorm misaligned misaligned M T.
Proof.
move=> sig two [w Mw] c; pose x (p : bool * bool) : F := (misaligned p)%:R.
have ex : block_equal misaligned x by move=> p q pq; rewrite /x pq.
have := mc1 c Mw ex (_ : misaligned (false, false) = misaligned (true, false)); move=> /(_ erefl) /=.
rewrite /mean !ffunE /x /= !big_bool !ffunE /= card_bool addr0 mul0r subr0 mul0r sub0r => /esym/eqP.
by rewrite addr0 mul1r mulf_eq0 oppr_eq0 !invr_eq0 (negbTE two) (negbTE (sig _)).
Qed.
End GroupNorm.
End Certificates.
