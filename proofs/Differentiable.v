(* The backward passes of modules are derivatives, and certificates over any wiring (Definition A.1, Lemma A.2,
   Theorem A.2, Remark A.5), over the reals.

   backprop co m ok    bwd and pgrad are the derivative of fwd: along every differentiable curve of parameters and
                       inputs, and for every output adjoint d, where ok holds; co lists the parameters' coordinates
   fair_reads r pJ pE  reading ports j of a module from earlier ports r j: equal blocks are read from equal blocks, and
                       the ports of a block are read equally often
   extend m r          the environment with the outputs of m added, m reading its inputs through r
   wired net pE M T    net is made of certified modules in topological order, each reading any ports before it
   composed net co ok  the same of modules whose backward passes are derivatives                                     *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import Rstruct.
From Coq Require Import Reals Lra.
From Coquelicot Require Import Coquelicot.
From lop Require Import Dag Cloning Backprop Modules.
From mathcomp Require Import ring.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.
Notation real := R_fieldType.

(* ---- What a backward pass is ---- *)
Definition pairing (K : finType) (g h : K -> R) := \sum_k g k * h k.
Definition derives (K : finType) (x : R -> K -> R) t (dx : K -> R) := forall k, is_derive (x^~ k) t (dx k).

Definition backprop (P : lmodType real) (K I O : finType) (co : P -> K -> R) (m : layer P I O)
    (ok : P -> (I -> R) -> Prop) := forall (w : R -> P) (x : R -> I -> R) (t : R) dw dx d,
  ok (w t) (x t) -> derives (fun s => co (w s)) t dw -> derives x t dx ->
  is_derive (fun s => pairing d (fwd m (w s) (x s))) t
    (pairing (co (pgrad m (w t) (x t) d)) dw + pairing (bwd m (w t) (x t) d) dx).

Definition unit_at (K : finType) (j k : K) : R := (k == j)%:R.

Lemma pairing_unit (K : finType) j (h : K -> R) : pairing (unit_at j) h = h j.
Proof.
rewrite /pairing (bigD1 j) //= big1 ?addr0 /unit_at ?eqxx ?mul1r // => k /negbTE ->; exact: mul0r.
Qed.

Lemma pairingD (K : finType) (g g' h : K -> R) : pairing (fun k => g k + g' k) h = pairing g h + pairing g' h.
Proof. by rewrite /pairing -big_split; apply: eq_bigr => k _; rewrite mulrDl. Qed.

Lemma pairing_void (g h : void -> R) : pairing g h = 0.
Proof. by apply: big1; case. Qed.

Lemma derives_pairing (K : finType) (x : R -> K -> R) t dx d :
  derives x t dx -> is_derive (fun s => pairing d (x s)) t (pairing d dx).
Proof.
move=> der; apply: is_derive_bigsum => k _.
have := is_derive_mul (is_derive_fun0 (d k) t) (der k); by rewrite mul0r add0r.
Qed.

(* the outputs of a module are differentiable, and the adjoint identity holds *)
Lemma output_derives (P : lmodType real) (K I O : finType) (co : P -> K -> R) (m : layer P I O) ok w x t dw dx :
  backprop co m ok -> ok (w t) (x t) -> derives (fun s => co (w s)) t dw -> derives x t dx ->
  exists dy, derives (fun s => fwd m (w s) (x s)) t dy /\
    forall d, pairing d dy = pairing (co (pgrad m (w t) (x t) d)) dw + pairing (bwd m (w t) (x t) d) dx.
Proof.
move=> bp okt dw_ dx_; pose dy o := pairing (co (pgrad m (w t) (x t) (unit_at o))) dw
  + pairing (bwd m (w t) (x t) (unit_at o)) dx.
have der : derives (fun s => fwd m (w s) (x s)) t dy.
  move=> o; apply: is_derive_eqfun (bp w x t dw dx (unit_at o) okt dw_ dx_) => s; exact: pairing_unit.
exists dy; split=> // d; have := derives_pairing d der; have := bp w x t dw dx d okt dw_ dx_.
by move=> /is_derive_unique <- /is_derive_unique.
Qed.

(* ---- Composition ---- *)
Definition both_coords (P Q : Type) (K L : finType) (co : P -> K -> R) (co' : Q -> L -> R) (w : P * Q) (k : K + L) : R :=
  match k with inl k => co w.1 k | inr l => co' w.2 l end.

Lemma pairing_sum (K L : finType) (g h : K + L -> R) :
  pairing g h = pairing (g \o inl) (h \o inl) + pairing (g \o inr) (h \o inr).
Proof. by rewrite /pairing big_sumType. Qed.

(* [backward-derivative] one module after another *)
Theorem sequence_backprop (P Q : lmodType real) (K L I J O : finType) (co : P -> K -> R) (co' : Q -> L -> R)
    (m : layer P I J) (n : layer Q J O) ok ok' : backprop co m ok -> backprop co' n ok' ->
  backprop (both_coords co co') (sequence m n) (fun w x => ok w.1 x /\ ok' w.2 (fwd m w.1 x)).
Proof.
move=> bm bn w x t dw dx d [okm okn] dw_ dx_.
have [dy [der adj]] := output_derives (w := fun s => (w s).1) bm okm (fun k => dw_ (inl k)) dx_.
have := bn (fun s => (w s).2) (fun s => fwd m (w s).1 (x s)) t (dw \o inr) dy d okn (fun k => dw_ (inr k)) der.
by rewrite adj addrCA addrA pairing_sum.
Qed.

Section Reads.
Variables (J E BJ BE : finType) (r : J -> E) (pJ : J -> BJ) (pE : E -> BE).
Definition fair_reads := (forall j j', pJ j = pJ j' -> pE (r j) = pE (r j')) /\
  (forall K e e', pE e = pE e' -> #|[pred j | (r j == e) && (pJ j == K)]| = #|[pred j | (r j == e') && (pJ j == K)]|).

Lemma reads_equal x : fair_reads -> block_equal pE x -> block_equal pJ (x \o r : J -> R).
Proof. by move=> [same _] ex j j' jj; apply/ex/same. Qed.

Lemma gathered_equal (d : J -> R) : fair_reads -> block_equal pJ d -> block_equal pE (fun e => \sum_(j | r j == e) d j).
Proof.
move=> [_ count] ed e e' ee; rewrite (partition_big pJ xpredT) //= [RHS](partition_big pJ xpredT) //=.
apply: eq_bigr => K _; have [j0 /eqP j0K | none] := pickP (fun j => pJ j == K); last first.
  by rewrite !big_pred0 // => j; rewrite none andbF.
have const e0 : \sum_(j | (r j == e0) && (pJ j == K)) d j = d j0 *+ #|[pred j | (r j == e0) && (pJ j == K)]|.
  rewrite (eq_bigr (fun=> d j0)) => [|j /andP[_ /eqP jK]]; last by apply: ed; rewrite jK.
  by rewrite sumr_const; congr (_ *+ _); apply: eq_card.
by rewrite !const (count K e e').
Qed.

Lemma pairing_reads (d : J -> R) (h : E -> R) :
  pairing d (h \o r) = pairing (fun e => \sum_(j | r j == e) d j) h.
Proof.
rewrite /pairing (partition_big r xpredT) //=; apply: eq_bigr => e _; rewrite mulr_suml.
by apply: eq_bigr => j /eqP <-.
Qed.
End Reads.

Definition extend (P : lmodType real) (E J O : finType) (m : layer P J O) (r : J -> E) : layer P E [finType of E + O] :=
  Layer (fun w x o => match o with inl e => x e | inr o => fwd m w (x \o r) o end)
        (fun w x d e => d (inl e) + \sum_(j | r j == e) bwd m w (x \o r) (d \o inr) j)
        (fun w x d => pgrad m w (x \o r) (d \o inr)).

(* [composition-rules] a module added to an environment, reading fairly *)
Theorem extend_cert (P : lmodType real) (E J O BE BJ BO : finType) (m : layer P J O) (r : J -> E)
    (pE : E -> BE) (pJ : J -> BJ) (pO : O -> BO) M T :
  cert m pJ pO M T -> fair_reads r pJ pE -> cert (extend m r) pE (sum_profile pE pO) M T.
Proof.
move=> cm fair.
have inr_eq (d : E + O -> R) : block_equal (sum_profile pE pO) d -> block_equal pO (d \o inr).
  by move=> ed o o' oo; apply: ed; rewrite /= oo.
split=> [w x Mw ex | w x d Mw ex ed e e' ee | w x d Mw ex ed | a w d Mw Td] /=; last exact: (step_stays cm).
- move=> [e|o] [e'|o'] // [eo] /=; first exact: ex.
  by apply: (mc1 cm) => //; apply: reads_equal ex.
- congr (_ + _); first by apply: ed; rewrite /= ee.
  by apply: (gathered_equal fair) => //; apply: (mc2 cm) => //; [apply: reads_equal ex | apply: inr_eq].
- by apply: (mc3 cm) => //; [apply: reads_equal ex | apply: inr_eq].
Qed.

(* [backward-derivative] a module added to an environment: adjoints of the ports that it reads are added up *)
Theorem extend_backprop (P : lmodType real) (K E J O : finType) (co : P -> K -> R) (m : layer P J O) (r : J -> E) ok :
  backprop co m ok -> backprop co (extend m r) (fun w x => ok w (x \o r)).
Proof.
move=> bm w x t dw dx d okt dw_ dx_.
have der := bm w (fun s => x s \o r) t dw (dx \o r) (d \o inr) okt dw_ (fun j => dx_ (r j)).
have keep := derives_pairing (d \o inl) dx_.
apply: (is_derive_eqfun (f := fun s => pairing (d \o inl) (x s) + pairing (d \o inr) (fwd m (w s) (x s \o r)))).
  by move=> s; rewrite pairing_sum.
have := is_derive_add keep der; rewrite (pairing_reads r) addrCA -pairingD; exact.
Qed.

Definition no_params := [lmodType real of 'rV[real]_0].
Definition no_coord (w : no_params) (k : void) : R := match k with end.
Definition start (I : finType) : layer no_params I I := Layer (fun _ x => x) (fun _ _ d => d) (fun _ _ _ => 0).

Inductive wired (I BI : finType) (pI : I -> BI) : forall (P : lmodType real) (E BE : finType), layer P I E -> (E -> BE) ->
    (P -> Prop) -> (P -> Prop) -> Prop :=
  | Wired_start : wired pI (start I) pI (fun=> True) (fun=> True)
  | Wired_step (P Q : lmodType real) (E BE J O BJ BO : finType) (net : layer P I E) (pE : E -> BE) M T
      (m : layer Q J O) (pJ : J -> BJ) (pO : O -> BO) N S (r : J -> E) :
      wired pI net pE M T -> cert m pJ pO N S -> fair_reads r pJ pE ->
      wired pI (sequence net (extend m r)) (sum_profile pE pO) (both M N) (both T S).

(* [composition-rules] Theorem A.2 over any DAG: certified modules in topological order, each reading fairly any ports before it *)
Theorem wired_cert (I BI : finType) (pI : I -> BI) (P : lmodType real) (E BE : finType) (net : layer P I E) (pE : E -> BE)
    M T : wired pI net pE M T -> cert net pI pE M T.
Proof.
elim=> [|{P E BE net pE M T}P Q E BE J O BJ BO net pE M T m pJ pO N S r _ IH cm fair]; first by split.
exact: sequence_cert IH (extend_cert cm fair).
Qed.

Inductive composed (I : finType) : forall (P : lmodType real) (K E : finType), layer P I E -> (P -> K -> R) ->
    (P -> (I -> R) -> Prop) -> Prop :=
  | Composed_start : composed (start I) no_coord (fun _ _ => True)
  | Composed_step (P Q : lmodType real) (K L E J O : finType) (net : layer P I E) (co : P -> K -> R) ok
      (m : layer Q J O) (co' : Q -> L -> R) ok' (r : J -> E) : composed net co ok -> backprop co' m ok' ->
      composed (sequence net (extend m r)) (both_coords co co') (fun w x => ok w.1 x /\ ok' w.2 (fwd net w.1 x \o r)).

(* [backward-derivative] over any DAG: where every module is differentiable, the composed backward pass is the derivative *)
Theorem composed_backprop (I : finType) (P : lmodType real) (K E : finType) (net : layer P I E) (co : P -> K -> R) ok :
  composed net co ok -> backprop co net ok.
Proof.
elim=> [w x t dw dx d _ _ dx_ | {P K E net co ok}P Q K L E J O net co ok m co' ok' r _ IH bm].
  by rewrite pairing_void add0r; apply: derives_pairing.
exact: sequence_backprop IH (extend_backprop (r := r) bm).
Qed.
