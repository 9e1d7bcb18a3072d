(* The modules of a network: each with a certificate and a backward pass that is its derivative (Lemma A.2, Remarks A.4,
   A.5), over the reals. With `wired` and `composed` (Differentiable.v) any network of them on a DAG has both.

   grouped G one      the same module on every group, with parameters of its own: heads, normalisation groups, channels
   biased m           m plus a bias for every output
   convolution off    sum_(c, s) w (c', c, off s' s) x (c, s): stride, padding, dilation are in the offsets `off`; a
                      linear layer is the case of one position
   activation f f'    f on every port                                                                              *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import Rstruct.
From Coq Require Import Reals Lra FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
From lop Require Import Dag Cloning Backprop Modules Differentiable.
From mathcomp Require Import ring.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

Lemma split_pair (A B : finType) (f : A * B -> R) : \sum_i f i = \sum_b \sum_a f (a, b).
Proof. by rewrite exchange_big pair_big; apply: eq_bigr => -[]. Qed.

Lemma is_derive_cmul c (f : R -> R) t l : is_derive f t l -> is_derive (fun s => c * f s) t (c * l).
Proof. by move=> df; have := is_derive_mul (is_derive_fun0 c t) df; rewrite mul0r add0r. Qed.

Lemma is_derive_invr (f : R -> R) t l : (forall s, f s != 0) -> is_derive f t l ->
  is_derive (fun s => (f s)^-1) t (- l * (f t)^-1 ^+ 2).
Proof.
move=> nz df; have n0 : f t <> 0%R by move: (nz t) => /eqP.
apply: (is_derive_eqfun (f := fun s => Rinv (f s))); first by move=> s; rewrite RinvE.
rewrite [X in is_derive _ _ X](_ : _ = (- l / (f t) ^ 2)%R); first exact: is_derive_inv.
by rewrite RpowE RdivE ?expf_neq0 // exprVn.
Qed.

Lemma is_derive_root (f : R -> R) t l : 0 < f t -> is_derive f t l ->
  is_derive (fun s => sqrt (f s)) t (l * (2%:R * sqrt (f t))^-1).
Proof.
move=> /RltP pos df; have root : 0 < sqrt (f t) by apply/RltP/sqrt_lt_R0.
have two : 2%:R = 2%R :> R by rewrite -INRE (INR_IZR_INZ 2).
have e : (2%:R * sqrt (f t))^-1 = Rinv (Rmult 2 (sqrt (f t))).
  by rewrite two RinvE // mulf_neq0 ?gt_eqF // -two ltr0n.
rewrite e; exact: is_derive_sqrt.
Qed.

(* ---- Groups, heads, channels ---- *)
Section Grouped.
Variables (G U U' : finType) (Q : lmodType real) (one : layer Q U U').
Definition part (V : finType) (x : G * V -> R) g := fun u => x (g, u).
Definition grouped : layer [lmodType real of {ffun G -> Q}] [finType of G * U] [finType of G * U'] :=
  @Layer real [lmodType real of {ffun G -> Q}] _ _
    (fun w x p => fwd one (w p.1) (part x p.1) p.2)
    (fun w x d p => bwd one (w p.1) (part x p.1) (part d p.1) p.2)
    (fun w x d => [ffun g => pgrad one (w g) (part x g) (part d g)]).

Variables (B BU BU' : finType) (blk : G -> B) (q : U -> BU) (q' : U' -> BU') (M T : Q -> Prop).
Definition each (P : Q -> Prop) (w : {ffun G -> Q}) := (forall g, P (w g)) /\ forall g g', blk g = blk g' -> w g = w g'.
Definition grouped_profile (V BV : finType) (p : V -> BV) (i : G * V) : B * BV := (blk i.1, p i.2).

Lemma part_equal (V BV : finType) (p : V -> BV) x g : block_equal (grouped_profile p) x -> block_equal p (part x g).
Proof. by move=> ex u u' uu; apply: ex; rewrite /grouped_profile /= uu. Qed.
Lemma part_same (V BV : finType) (p : V -> BV) x g g' :
  block_equal (grouped_profile p) x -> blk g = blk g' -> part x g = part x g'.
Proof. by move=> ex gg; apply: functional_extensionality => u; apply: ex; rewrite /grouped_profile /= gg. Qed.

(* [module-rules] the same certified module on every group: groups may be clones of each other, ports within them too *)
Theorem grouped_cert : cert one q q' M T -> cert grouped (grouped_profile q) (grouped_profile q') (each M) (each T).
Proof.
move=> c1; split=> [w x [Mw tw] ex | w x d [Mw tw] ex ed | w x d [Mw tw] ex ed | a w d [Mw tw] [Td td]] /=.
- move=> [g u] [g' u'] [gg uu] /=; rewrite (tw g g') // (part_same ex gg).
  by apply: (mc1 c1) => //; apply: part_equal ex.
- move=> [g u] [g' u'] [gg uu] /=; rewrite (tw g g') // (part_same ex gg) (part_same ed gg).
  by apply: (mc2 c1) => //; [apply: part_equal ex | apply: part_equal ed].
- split=> [g | g g' gg]; rewrite !ffunE; last by rewrite (tw g g') // (part_same ex gg) (part_same ed gg).
  by apply: (mc3 c1) => //; [apply: part_equal ex | apply: part_equal ed].
- split=> [g | g g' gg]; rewrite !ffunE; last by rewrite (tw g g') // (td g g').
  exact: (step_stays c1).
Qed.
End Grouped.

Lemma pairing_groups (G U : finType) (g h : G * U -> R) : pairing g h = \sum_k pairing (part g k) (part h k).
Proof. by rewrite /pairing pair_big; apply: eq_bigr => -[]. Qed.

(* [backward-derivative] and its backward pass is the derivative where each group's is *)
Theorem grouped_backprop (G U U' K : finType) (Q : lmodType real) (one : layer Q U U') (co : Q -> K -> R) ok :
  backprop co one ok ->
  backprop (fun (w : {ffun G -> Q}) k => co (w k.1) k.2) (@grouped G U U' Q one) (fun w x => forall g, ok (w g) (part x g)).
Proof.
move=> b1 w x t dw dx d okt dw_ dx_.
apply: (is_derive_eqfun (f := fun s => \sum_g pairing (part d g) (fwd one (w s g) (part (x s) g)))).
  by move=> s; rewrite pairing_groups.
rewrite !pairing_groups -big_split /=; apply: is_derive_bigsum => g _.
have := b1 (fun s => w s g) (fun s => part (x s) g) t (part dw g) (part dx g) (part d g) (okt g)
  (fun k => dw_ (g, k)) (fun u => dx_ (g, u)).
by congr (is_derive _ _ (pairing _ _ + _)); apply: functional_extensionality => k; rewrite /part /= ffunE.
Qed.

(* ---- Bias ---- *)
Section Biased.
Variables (P : lmodType real) (K I O BI BO : finType) (m : layer P I O) (pI : I -> BI) (pO : O -> BO) (M T : P -> Prop).
Notation biases := [lmodType real of {ffun O -> R^o}].
Definition biased : layer [lmodType real of P * biases] I O :=
  @Layer real [lmodType real of P * biases] I O (fun w x o => fwd m w.1 x o + w.2 o) (fun w x d => bwd m w.1 x d)
    (fun w x d => (pgrad m w.1 x d, [ffun o => d o])).
Definition shared_bias (b : biases) := block_equal pO b.

(* [module-rules] a bias shared within blocks keeps a certificate *)
Theorem biased_cert : cert m pI pO M T -> cert biased pI pO (both M shared_bias) (both T shared_bias).
Proof.
move=> cm; split=> [w x [Mw sb] ex o o' oo | w x d [Mw sb] ex ed | w x d [Mw sb] ex ed | a w d [Mw sb] [Td sd]] /=.
- by rewrite (sb o o') // (mc1 cm Mw ex oo).
- exact: (mc2 cm).
- by split; [apply: (mc3 cm) | move=> o o' oo; rewrite !ffunE; apply: ed].
- by split; [apply: (step_stays cm) | move=> o o' oo; rewrite !ffunE (sb o o') // (sd o o')].
Qed.

(* [backward-derivative] a bias *)
Theorem biased_backprop (co : P -> K -> R) ok : backprop co m ok ->
  backprop (both_coords co (fun (b : biases) o => b o)) biased (fun w x => ok w.1 x).
Proof.
move=> bm w x t dw dx d okt dw_ dx_.
have := is_derive_add (bm (fun s => (w s).1) x t (dw \o inl) dx d okt (fun k => dw_ (inl k)) dx_)
  (derives_pairing d (fun o => dw_ (inr o))).
rewrite addrAC pairing_sum /=; set a := _ + _; set b := _ + _.
rewrite (_ : a = b); last by rewrite /a /b; congr (_ + _ + _); apply: eq_bigr => o _; rewrite /= ffunE.
apply: is_derive_eqfun => s; rewrite /pairing -big_split; by apply: eq_bigr => o _; rewrite mulrDr.
Qed.
End Biased.

(* ---- Convolution, of which a linear layer is the case of one position ---- *)
Section Convolution.
Variables (C C' S S' D : finType) (off : S' -> S -> option D).
Notation kernels := [lmodType real of {ffun C' * C * D -> R^o}].
Definition tap (w : C' * C * D -> R) (o : C' * S') (i : C * S) : R :=
  if off o.2 i.2 is Some e then w (o.1, i.1, e) else 0.
Definition convolution : layer kernels [finType of C * S] [finType of C' * S'] :=
  @Layer real kernels _ _ (fun w x o => \sum_i tap w o i * x i) (fun w x d i => \sum_o tap w o i * d o)
    (fun w x d => [ffun k => \sum_o \sum_i tap (fun k' => (k' == k)%:R) o i * (d o * x i)]).

Lemma tap_sum w o i : tap w o i = \sum_k w k * tap (fun k' => (k' == k)%:R) o i.
Proof.
rewrite /tap; case: (off _ _) => [e|]; last by rewrite big1 // => k _; rewrite mulr0.
rewrite (bigD1 (o.1, i.1, e)) //= eqxx mulr1 big1 ?addr0 // => k /negbTE ne; by rewrite eq_sym ne mulr0.
Qed.

(* [backward-derivative] convolution, with any strides, padding and dilation *)
Theorem convolution_backprop : backprop (fun (w : kernels) k => w k) convolution (fun _ _ => True).
Proof.
move=> w x t dw dx d _ dw_ dx_.
have tap_der o i : is_derive (fun s => tap (w s) o i) t (tap dw o i).
  by rewrite /tap; case: (off _ _) => [e|]; [apply: dw_ | apply: is_derive_fun0].
have := is_derive_bigsum (P := xpredT) (f := fun o s => d o * \sum_i tap (w s) o i * x s i)
  (df := fun o => d o * \sum_i (tap dw o i * x t i + tap (w t) o i * dx i)) (t := t) _.
move/(_ (fun o _ => is_derive_cmul (d o) (is_derive_bigsum (fun i _ => is_derive_mul (tap_der o i) (dx_ i))))).
congr (is_derive _ _ _); under eq_bigr do rewrite big_split mulrDr; rewrite big_split; congr (_ + _); rewrite /pairing.
  transitivity (\sum_k \sum_o \sum_i dw k * (tap (fun k' => (k' == k)%:R) o i * (d o * x t i))).
    rewrite exchange_big; apply: eq_bigr => o _; rewrite exchange_big mulr_sumr; apply: eq_bigr => i _ /=.
    by rewrite tap_sum mulr_suml mulr_sumr; apply: eq_bigr => k _; ring.
  by apply: eq_bigr => k _; rewrite ffunE mulr_suml; apply: eq_bigr => o _; rewrite mulr_suml; apply: eq_bigr => i _; ring.
transitivity (\sum_i \sum_o d o * (tap (w t) o i * dx i)).
  by rewrite exchange_big; apply: eq_bigr => o _; rewrite mulr_sumr.
by apply: eq_bigr => i _; rewrite mulr_suml; apply: eq_bigr => o _; ring.
Qed.

Variables (B B' : finType) (blk : C -> B) (blk' : C' -> B').
(* RE and CE of every offset's channel matrix; constant on pairs of blocks *)
Definition conv_equitable (w : kernels) := forall e,
  (forall J c c', blk' c = blk' c' -> \sum_(u | blk u == J) w (c, u, e) = \sum_(u | blk u == J) w (c', u, e)) /\
  (forall J u u', blk u = blk u' -> \sum_(c | blk' c == J) w (c, u, e) = \sum_(c | blk' c == J) w (c, u', e)).
Definition conv_constant (d : kernels) := forall c c' u u' e, blk' c = blk' c' -> blk u = blk u' -> d (c, u, e) = d (c', u', e).

Lemma tap_rows w x c c' s' : conv_equitable w -> block_equal (grouped_profile blk (@id S)) x -> blk' c = blk' c' ->
  \sum_i tap w (c, s') i * x i = \sum_i tap w (c', s') i * x i.
Proof.
move=> ew ex cc; rewrite !split_pair; apply: eq_bigr => s _; rewrite /tap /=.
case: (off s' s) => [e|]; last by rewrite !big1 // => u _; rewrite mul0r.
by apply: (sum_all (p := blk)) => [u u' uu | J]; [apply: ex; rewrite /grouped_profile /= uu | apply: (ew e).1].
Qed.
Lemma tap_columns w d u u' s : conv_equitable w -> block_equal (grouped_profile blk' (@id S')) d -> blk u = blk u' ->
  \sum_o tap w o (u, s) * d o = \sum_o tap w o (u', s) * d o.
Proof.
move=> ew ed uu; rewrite !split_pair; apply: eq_bigr => s' _; rewrite /tap /=.
case: (off s' s) => [e|]; last by rewrite !big1 // => c _; rewrite mul0r.
by apply: (sum_all (p := blk')) => [c c' cc | J]; [apply: ed; rewrite /grouped_profile /= cc | apply: (ew e).2].
Qed.
Lemma tap_one c u e o i : tap (fun k => (k == (c, u, e))%:R) o i
  = ((o.1 == c) && (i.1 == u) && (off o.2 i.2 == Some e))%:R.
Proof. by rewrite /tap; case: (off _ _) => [e'|]; rewrite ?andbF //= -xpair_eqE -xpair_eqE. Qed.

Lemma kernel_gradient (x : C * S -> R) (d : C' * S' -> R) c u e :
  \sum_o \sum_i tap (fun k => (k == (c, u, e))%:R) o i * (d o * x i)
  = \sum_s' \sum_s (off s' s == Some e)%:R * (d (c, s') * x (u, s)).
Proof.
rewrite split_pair; apply: eq_bigr => s' _; rewrite (bigD1 c) //= [X in _ + X]big1 ?addr0 => [|c' /negbTE ne].
  rewrite split_pair; apply: eq_bigr => s _; rewrite (bigD1 u) //= big1 ?addr0 ?tap_one /= ?eqxx // => u' /negbTE ne.
  by rewrite tap_one /= ne andbF mul0r.
by rewrite big1 // => i _; rewrite tap_one /= ne mul0r.
Qed.

(* [module-rules] [coverage] convolution: every offset's channel matrix equitable, gradients constant on pairs of blocks *)
Theorem convolution_cert :
  cert convolution (grouped_profile blk (@id S)) (grouped_profile blk' (@id S')) conv_equitable conv_constant.
Proof.
split=> [w x ew ex | w x d ew ex ed | w x d ew ex ed | a w d ew cd] /=.
- by move=> [c s'] [c' s''] [cc ->]; apply: tap_rows.
- by move=> [u s] [u' s''] [uu ->]; apply: tap_columns.
- move=> c c' u u' e cc uu; rewrite !ffunE !kernel_gradient; apply: eq_bigr => s' _; apply: eq_bigr => s _.
  by congr (_ * (_ * _)); [apply: ed | apply: ex]; rewrite /grouped_profile /= ?cc ?uu.
have at_ k : (w - a *: d) k = w k - a * d k by rewrite !ffunE.
move=> e; split=> [J c c' cc | J u u' uu]; rewrite (eq_bigr _ (fun _ _ => at_ _)) [RHS](eq_bigr _ (fun _ _ => at_ _)) !sumrB.
  by rewrite ((ew e).1 J c c') //; congr (_ - _); apply: eq_bigr => u _; congr (_ * _); apply: cd.
by rewrite ((ew e).2 J u u') //; congr (_ - _); apply: eq_bigr => c _; congr (_ * _); apply: cd.
Qed.
End Convolution.

(* ---- Modules without parameters ---- *)
Lemma free_cert (I O BI BO : finType) (m : layer no_params I O) (pI : I -> BI) (pO : O -> BO) :
  (forall x, block_equal pI x -> block_equal pO (fwd m 0 x)) ->
  (forall x d, block_equal pI x -> block_equal pO d -> block_equal pI (bwd m 0 x d)) ->
  cert m pI pO (fun=> True) (fun=> True).
Proof.
move=> f b; have zero (w : no_params) : w = 0 by apply/rowP => -[].
by split=> // [w x | w x d] _; rewrite (zero w); [apply: f | apply: b].
Qed.

Section Activation.
Variables (U BU : finType) (q : U -> BU) (f f' : R -> R).
Definition activation : layer no_params U U := Layer (fun _ x u => f (x u)) (fun _ x d u => d u * f' (x u)) (fun _ _ _ => 0).
(* [module-rules] an activation is certified for every profile *)
Theorem activation_cert : cert activation q q (fun=> True) (fun=> True).
Proof.
apply: free_cert => [x ex | x d ex ed] u u' uu /=; first by rewrite (ex u u').
by rewrite (ex u u') // (ed u u').
Qed.
(* [backward-derivative] an activation, where f' is the derivative of f at every preactivation *)
Theorem activation_backprop : backprop no_coord activation (fun _ x => forall u, is_derive f (x u) (f' (x u))).
Proof.
move=> w x t dw dx d okt _ dx_; rewrite pairing_void add0r; apply: is_derive_bigsum => u _.
rewrite [X in is_derive _ _ X](_ : _ = d u * (dx u * f' (x t u))); last by rewrite /=; ring.
by apply: is_derive_cmul; apply: (is_derive_comp f) (okt u) (dx_ u).
Qed.
End Activation.

(* ---- Linear layers, and fixed linear maps: pooling, sums ---- *)
(* [backward-derivative] a linear layer; with `biased`, a linear layer with bias *)
Theorem linear_backprop (I O : finType) : backprop (fun (w : {ffun O * I -> R^o}) k => w k) (linear real I O) (fun _ _ => True).
Proof.
move=> w x t dw dx d _ dw_ dx_.
have := is_derive_bigsum (P := xpredT) (f := fun o s => d o * \sum_i w s (o, i) * x s i)
  (df := fun o => d o * \sum_i (dw (o, i) * x t i + w t (o, i) * dx i)) (t := t) _.
move/(_ (fun o _ => is_derive_cmul (d o) (is_derive_bigsum (fun i _ => is_derive_mul (dw_ (o, i)) (dx_ i))))).
congr (is_derive _ _ _); under eq_bigr do rewrite big_split mulrDr; rewrite big_split; congr (_ + _); rewrite /pairing.
  rewrite split_pair exchange_big; apply: eq_bigr => o _; rewrite mulr_sumr; apply: eq_bigr => i _.
  by rewrite ffunE /=; ring.
transitivity (\sum_i \sum_o d o * (w t (o, i) * dx i)).
  by rewrite exchange_big; apply: eq_bigr => o _; rewrite mulr_sumr.
by apply: eq_bigr => i _; rewrite mulr_suml; apply: eq_bigr => o _; ring.
Qed.

Section Fixed.
Variables (I O BI BO : finType) (k : O -> I -> R) (pI : I -> BI) (pO : O -> BO).
Definition fixed_map : layer no_params I O :=
  Layer (fun _ x o => \sum_i k o i * x i) (fun _ x d i => \sum_o k o i * d o) (fun _ _ _ => 0).
(* [module-rules] a fixed linear map whose block sums agree, such as pooling over positions, is certified *)
Theorem fixed_map_cert :
  (forall J o o', pO o = pO o' -> \sum_(i | pI i == J) k o i = \sum_(i | pI i == J) k o' i) ->
  (forall K i i', pI i = pI i' -> \sum_(o | pO o == K) k o i = \sum_(o | pO o == K) k o i') ->
  cert fixed_map pI pO (fun=> True) (fun=> True).
Proof.
move=> re ce; apply: free_cert => [x ex o o' oo | x d _ ed i i' ii] /=.
  by apply: (sum_all (p := pI)) => // J; apply: re.
by apply: (sum_all (p := pO)) => // K; apply: ce.
Qed.
(* [backward-derivative] a fixed linear map *)
Theorem fixed_map_backprop : backprop no_coord fixed_map (fun _ _ => True).
Proof.
move=> w x t dw dx d _ _ dx_; rewrite pairing_void add0r.
have := is_derive_bigsum (P := xpredT) (fun o _ => is_derive_cmul (d o) (is_derive_bigsum (P := xpredT) (fun i _ =>
  is_derive_cmul (k o i) (dx_ i)))).
congr (is_derive _ _ _); rewrite /pairing; transitivity (\sum_i \sum_o d o * (k o i * dx i)).
  by rewrite exchange_big; apply: eq_bigr => o _; rewrite mulr_sumr.
by apply: eq_bigr => i _; rewrite mulr_suml; apply: eq_bigr => o _ /=; ring.
Qed.
End Fixed.
