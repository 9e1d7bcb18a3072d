(* Training trajectories: Theorem A.1.3, corrected, and Remark 2.4. No axioms.

   equitable_mask   the 0/1 edge mask is itself equitable: equal numbers of edges into hidden nodes
                    of a block and out of the nodes of a block (complete blocks are a special case)
   sample           (data x, gradient of the loss as a function of the values)
   valid            data equal within input blocks; block-equal values give block-equal adjoints
                    (so for any loss when every output is a block of its own)
   run t            weights, biases and gradient history after t steps of an optimiser that maps
                    each coordinate's own gradient history to its update (SGD, momentum, Adam ...),
                    with the weights first multiplied by keep t (1 without decay)
   keep             1 - eta * decay: uniform decoupled decay                                     *)
From mathcomp Require Import all_ssreflect all_algebra ring.
From lop Require Import Dag Cloning.
Import GRing.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

Section Trajectory.
Variables (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B).
Implicit Types (M N : V -> V -> R) (c : R).
Notation in_equitable := (in_equitable A blk).
Notation out_equitable := (out_equitable A blk).
Notation block_constant := (block_constant A blk).

Definition equitable_mask :=
  (forall I v v', blk v = blk v' -> hidden A v ->
     #|[pred u | (blk u == I) && edge A u v]| = #|[pred u | (blk u == I) && edge A u v']|) /\
  (forall J u u', blk u = blk u' ->
     #|[pred v | (blk v == J) && hidden A v && edge A u v]|
     = #|[pred v | (blk v == J) && hidden A v && edge A u' v]|).

(* ---- RE and CE are linear spaces ---- *)

(* [clone-trajectory] RE is a linear space *)
Theorem in_equitable_linear c M N : in_equitable M -> in_equitable N ->
  in_equitable (fun u v => c * M u v + N u v).
Proof.
by move=> eM eN I v v' vv hid; rewrite !big_split /= -!mulr_sumr (eM I v v') // (eN I v v').
Qed.

(* [clone-trajectory] CE is a linear space *)
Theorem out_equitable_linear c M N : out_equitable M -> out_equitable N ->
  out_equitable (fun u v => c * M u v + N u v).
Proof.
by move=> eM eN J u u' uu; rewrite !big_split /= -!mulr_sumr (eM J u u') // (eN J u u').
Qed.

Lemma equitable_ext M N : (forall u v, M u v = N u v) ->
  (in_equitable M -> in_equitable N) /\ (out_equitable M -> out_equitable N).
Proof.
move=> eq; split=> [eqM I v v' vv hid | eqM J u u' uu].
  have /= := eqM I v v' vv hid; rewrite (eq_bigr (N^~ v)) // => ->; exact: eq_bigr.
have /= := eqM J u u' uu; rewrite (eq_bigr (N u)) // => ->; exact: eq_bigr.
Qed.

Lemma block_constant_linear c M N : block_constant M -> block_constant N ->
  block_constant (fun u v => c * M u v + N u v).
Proof.
move=> [M0 eM] [N0 eN]; split=> [u v e | u v u' v' e e' uu vv].
  by rewrite M0 // N0 // mulr0 addr0.
by rewrite (eM u v u' v') // (eN u v u' v').
Qed.

Lemma block_constant_value M : block_constant M ->
  exists m : B -> B -> R, forall u v, M u v = if edge A u v then m (blk u) (blk v) else 0.
Proof.
move=> [M0 eM].
exists (fun I J => if [pick p : V * V | [&& edge A p.1 p.2, blk p.1 == I & blk p.2 == J]] is Some p
                   then M p.1 p.2 else 0) => u v.
case: ifP => [e | /negbT/M0 //]; case: pickP => [[s t] /and3P[/= st /eqP su /eqP tv] | none].
  exact: eM.
by have := none (u, v); rewrite /= e !eqxx.
Qed.

Hypothesis mask : equitable_mask.

(* [clone-support] with an equitable mask, BC is contained in RE *)
Theorem block_constant_in M : block_constant M -> in_equitable M.
Proof.
move=> /block_constant_value[m mE] I v v' vv hid.
have sum t : \sum_(u | blk u == I) M u t
           = m I (blk t) *+ #|[pred u | (blk u == I) && edge A u t]|.
  rewrite (eq_bigr (fun u => if edge A u t then m I (blk t) else 0)) => [|u /eqP <-]; last exact: mE.
  by rewrite -big_mkcondr sumr_const; congr (_ *+ _); apply: eq_card.
by rewrite !sum (mask.1 I v v') // vv.
Qed.

(* [clone-support] with an equitable mask, BC is contained in CE *)
Theorem block_constant_out M : block_constant M -> out_equitable M.
Proof.
move=> /block_constant_value[m mE] J u u' uu.
have sum t : \sum_(v | (blk v == J) && hidden A v) M t v
           = m (blk t) J *+ #|[pred v | (blk v == J) && hidden A v && edge A t v]|.
  rewrite (eq_bigr (fun v => if edge A t v then m (blk t) J else 0)) => [|v /andP[/eqP <- _]]; last exact: mE.
  by rewrite -big_mkcondr sumr_const; congr (_ *+ _); apply: eq_card.
by rewrite !sum (mask.2 J u u') // uu.
Qed.

(* [clone-ordering] with an equitable mask the quotient is acyclic, with no edge inside a block *)
Theorem mask_acyclic : exists depth : B -> nat,
  forall u v, edge A u v -> hidden A v -> (depth (blk u) < depth (blk v))%N.
Proof.
exists (fun I => \max_(v | blk v == I) rank A v) => u v e hid.
have inh : (0 < #|[pred v | blk v == blk u]|)%N by apply/card_gt0P; exists u; rewrite inE.
have [top topI maxE] := eq_bigmax_cond (rank A) inh.
have -> : (\max_(v | blk v == blk u) rank A v = rank A top)%N by rewrite -maxE; apply: eq_bigl.
rewrite inE in topI; move/eqP: topI => topI.
have : (0 < #|[pred t | (blk t == blk v) && hidden A t && edge A top t]|)%N.
  by rewrite (mask.2 (blk v) top u) //; apply/card_gt0P; exists v; rewrite inE eqxx hid e.
case/card_gt0P=> t; rewrite inE => /andP[/andP[tJ _] et].
apply: leq_trans (edge_rank et) _; exact: (@leq_bigmax_cond _ (fun s => blk s == blk v) (rank A) t tJ).
Qed.

(* [clone-ordering] with an equitable mask, no edge lies inside a block *)
Theorem mask_no_inner_edge u v : edge A u v -> hidden A v -> blk u != blk v.
Proof.
have [depth up] := mask_acyclic.
by move=> e hid; apply/eqP=> uv; have := up _ _ e hid; rewrite uv ltnn.
Qed.

(* ---- Trajectories ---- *)
Definition sample : Type := (V -> R) * ((V -> R) -> V -> R).
Definition valid (p : sample) := inputs_equal A blk p.1 /\
  forall h, block_equal blk h -> block_equal blk (p.2 h).

Definition batch_grad w b (s : seq sample) u v :=
  \sum_(p <- s) grad A w b p.1 (p.2 (forward A w b p.1)) u v.
Definition batch_grad_bias w b (s : seq sample) v :=
  \sum_(p <- s) grad_bias A w b p.1 (p.2 (forward A w b p.1)) v.

Record state := State { weight : V -> V -> R; bias : V -> R;
  seen : seq (V -> V -> R); seen_bias : seq (V -> R) }.

Variables (update : nat -> seq R -> R) (keep : nat -> R) (batch : nat -> seq sample).
Variables (w0 : V -> V -> R) (b0 : V -> R).

Definition step t (s : state) :=
  let gw := batch_grad (weight s) (bias s) (batch t) :: seen s in
  let gb := batch_grad_bias (weight s) (bias s) (batch t) :: seen_bias s in
  State (fun u v => keep t * weight s u v + if edge A u v then update t [seq g u v | g <- gw] else 0)
        (fun v => keep t * bias s v + update t [seq g v | g <- gb]) gw gb.
Fixpoint run t := if t is t.+1 then step t (run t) else State w0 b0 [::] [::].

Definition cloned (s : state) :=
  [/\ shared A blk (bias s), in_equitable (on_edges A (weight s)) & out_equitable (on_edges A (weight s))].
Fixpoint all_prop T (P : T -> Prop) (s : seq T) := if s is x :: s then P x /\ all_prop P s else True.

Hypothesis batches_valid : forall t, all_prop valid (batch t).

Lemma batch_grad_cloned w b s : shared A blk b -> in_equitable (on_edges A w) ->
  out_equitable (on_edges A w) -> all_prop valid s ->
  block_constant (batch_grad w b s) /\ block_equal blk (batch_grad_bias w b s).
Proof.
move=> sh ein eout; rewrite /batch_grad /batch_grad_bias; elim: s => [|p s IH] /=.
  by move=> _; split=> [|u v _]; [split=> * |]; rewrite !big_nil.
move=> [[xeq geq] /IH[[z eqs] eqb]].
have [[z1 eq1] eqb1] := clone_gradient sh xeq ein eout (geq _ (clone_forward sh xeq ein)).
split=> [|u v uv]; last by rewrite !big_cons (eqb1 u v) // (eqb u v).
split=> [u v e | u v u' v' e e' uu vv]; rewrite !big_cons; first by rewrite z // z1 // addr0.
by rewrite (eq1 u v u' v') // (eqs u v u' v').
Qed.

Lemma history_block (gs : seq (V -> V -> R)) t : all_prop block_constant gs ->
  block_constant (fun u v => if edge A u v then update t [seq g u v | g <- gs] else 0).
Proof.
move=> all_bc; split=> [u v /negbTE -> // | u v u' v' e e' uu vv]; rewrite e e'; congr (update t _).
by elim: gs all_bc => //= g gs IH [[_ eg] /IH ->]; rewrite (eg u v u' v').
Qed.

Lemma history_bias (gs : seq (V -> R)) t u v : all_prop (@block_equal _ _ blk R) gs -> blk u = blk v ->
  update t [seq g u | g <- gs] = update t [seq g v | g <- gs].
Proof.
move=> all_eq uv; congr (update t _).
by elim: gs all_eq => //= g gs IH [eg /IH ->]; rewrite (eg u v).
Qed.

Hypothesis start : cloned (State w0 b0 [::] [::]).

Lemma on_edges_step k w (f : V -> V -> R) u v :
  on_edges A (fun u v => k * w u v + if edge A u v then f u v else 0) u v
  = k * on_edges A w u v + if edge A u v then f u v else 0.
Proof. by rewrite /on_edges; case: (edge A u v); rewrite ?mulr0 ?addr0. Qed.

Lemma run_invariant t : [/\ cloned (run t), all_prop block_constant (seen (run t))
  & all_prop (@block_equal _ _ blk R) (seen_bias (run t))].
Proof.
elim: t => [|t [[sh ein eout] allw allb]]; first by split.
have [gw gb] := batch_grad_cloned sh ein eout (batches_valid t).
have hist := @history_block (_ :: _) t (conj gw allw).
pose gs := batch_grad (weight (run t)) (bias (run t)) (batch t) :: seen (run t).
pose f u v := update t [seq g u v | g <- gs].
have ext := equitable_ext (fun u v => esym (on_edges_step (keep t) (weight (run t)) f u v)).
split; [split | by split..].
- have [inp a1 a2 bE] := sh; split=> // u v uv hid /=; congr (_ * _ + _); first exact: bE.
  exact: (@history_bias (_ :: _) t u v (conj gb allb) uv).
- by apply: ext.1; apply: in_equitable_linear ein (block_constant_in hist).
- by apply: ext.2; apply: out_equitable_linear eout (block_constant_out hist).
Qed.

(* [clone-trajectory] [optimiser-entrywise] any entrywise optimiser on the gradient history, with uniform
   decay, any batches, any step sizes: RE and CE hold at every step, and with them cloning *)
Theorem trajectory_equitable t : cloned (run t).
Proof. by case: (run_invariant t). Qed.

(* [clone-trajectory] Theorem A.1.3, corrected: without decay the weights stay in w0 + BC *)
Theorem trajectory_affine t : (forall t, keep t = 1) ->
  block_constant (fun u v => weight (run t) u v - w0 u v) /\ block_equal blk (fun v => bias (run t) v - b0 v).
Proof.
move=> no_decay; elim: t => [|t [bc bb]].
  by split=> [|u v _]; [split=> * |]; rewrite /= !subrr.
have [[sh ein eout] allw allb] := run_invariant t.
have [gw gb] := batch_grad_cloned sh ein eout (batches_valid t).
have hist := @history_block (_ :: _) t (conj gw allw).
have same u v : weight (run t.+1) u v - w0 u v = 1 * (weight (run t) u v - w0 u v)
    + if edge A u v then update t [seq g u v | g <- batch_grad (weight (run t)) (bias (run t)) (batch t)
                                                     :: seen (run t)] else 0.
  by rewrite /= no_decay !mul1r addrAC.
split=> [|u v uv]; last first.
  rewrite /= no_decay !mul1r !(addrAC _ _ (- _)) (bb u v uv); congr (_ + _).
  exact: (@history_bias (_ :: _) t u v (conj gb allb) uv).
have [z eq] := block_constant_linear 1 bc hist.
by split=> [u v e | u v u' v' e e' uu vv]; rewrite !same; [apply: z | apply: eq].
Qed.
End Trajectory.

(* plain SGD is the case in which the update is - eta_t times the newest gradient *)
Definition sgd_update (R : ringType) (eta : nat -> R) t (history : seq R) := - eta t * head 0 history.

(* [clone-trajectory] SGD with arbitrary batches and step sizes *)
Theorem sgd_stays (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B)
    (eta : nat -> R) (batch : nat -> seq (sample R V)) w0 b0 t :
  equitable_mask A blk -> (forall t, all_prop (valid A blk) (batch t)) ->
  cloned A blk (State w0 b0 [::] [::]) ->
  let s := run A (sgd_update eta) (fun=> 1) batch w0 b0 in
  [/\ forall u v, edge A u v -> weight (s t.+1) u v
        = weight (s t) u v - eta t * batch_grad A (weight (s t)) (bias (s t)) (batch t) u v,
      cloned A blk (s t) & block_constant A blk (fun u v => weight (s t) u v - w0 u v)].
Proof.
move=> mask valid_b start /=; split=> [u v e||].
- by rewrite e mul1r /sgd_update /= mulNr.
- exact: trajectory_equitable.
- by have [] := trajectory_affine mask (sgd_update eta) valid_b start t (fun=> erefl).
Qed.

(* [optimiser-entrywise] uniform decay stays in RE and CE but leaves w0 + BC unless w0 is block-constant *)
Theorem decay_leaves (F : fieldType) (V B : finType) (A : arch F V) (blk : V -> B) k (w M : V -> V -> F) :
  k != 1 -> block_constant A blk M ->
  block_constant A blk (fun u v => k * w u v + M u v - w u v) <-> block_constant A blk w.
Proof.
move=> k1 bcM; have k0 : k - 1 != 0 by rewrite subr_eq0.
have shape u v : k * w u v + M u v - w u v = (k - 1) * w u v + M u v by ring.
split=> bc; last first.
  have [z eq] := block_constant_linear (k - 1) bc bcM.
  by split=> [u v e | u v u' v' e e' uu vv]; rewrite !shape; [apply: z | apply: eq].
have wE u v : w u v = (k - 1)^-1 * ((k * w u v + M u v - w u v) - M u v) by rewrite shape addrK mulKf.
case: bc bcM => z eq [zM eqM].
split=> [u v e | u v u' v' e e' uu vv]; rewrite wE ?[RHS]wE.
  by rewrite z // zM // subrr mulr0.
by rewrite (eq u v u' v') // (eqM u v u' v').
Qed.
