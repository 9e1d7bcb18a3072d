(* A clone and its base side by side: the same function at every step of training. No axioms.

   matching l l0    the losses of clone and base: on values that agree, l is block-equal and l0 collects it by blocks
   clone t          the clone after t steps of plain SGD, step sizes eta
   base t           the base after t steps of SGD with the rates eta d_in / |S_J| (weights) and eta / |S_J| (biases)
   indegree         d I J edges enter each hidden node of J from I                                                 *)
From mathcomp Require Import all_ssreflect all_algebra ring.
From lop Require Import Dag Cloning Trajectory.
Import GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

Section Extensional.
Variables (R : comRingType) (V : finType) (A : arch R V) (w : V -> V -> R) (b x : V -> R).

Lemma adjoint_ext g g' : g =1 g' -> adjoint A w b x g =1 adjoint A w b x g'.
Proof.
move=> eq; apply: backward_unique => v; rewrite {1}/adjoint backwardE /backward_step eq; congr (_ + _).
Qed.

Lemma grad_bias_ext g g' : g =1 g' -> grad_bias A w b x g =1 grad_bias A w b x g'.
Proof. by move=> eq v; rewrite /grad_bias (adjoint_ext eq). Qed.

Lemma grad_ext g g' u v : g =1 g' -> grad A w b x g u v = grad A w b x g' u v.
Proof. by move=> eq; rewrite /grad (grad_bias_ext eq). Qed.
End Extensional.

Section Rates.
Variables (F : numFieldType) (V B : finType) (A : arch F V) (A0 : arch F B) (blk : V -> B).
Definition matching (l : (V -> F) -> V -> F) (l0 : (B -> F) -> B -> F) := forall h h0, (forall v, h v = h0 (blk v)) ->
  block_equal blk (l h) /\ forall I, l0 h0 I = \sum_(v | blk v == I) l h v.
Definition indegree (d : B -> B -> nat) := forall I v, hidden A v ->
  #|[pred u | (blk u == I) && edge A u v]| = d I (blk v).

(* data on the base's inputs, with the gradients of the two losses *)
Definition example : Type := ((B -> F) * ((V -> F) -> V -> F) * ((B -> F) -> B -> F)).
Definition clone_sample (p : example) : sample F V := (p.1.1 \o blk, p.1.2).
Definition base_sample (p : example) : sample F B := (p.1.1, p.2).

Variables (eta : nat -> F) (d : B -> B -> nat) (data : nat -> seq example).
Variables (w : V -> V -> F) (b : V -> F) (w0 : B -> B -> F) (b0 : B -> F).

Definition clone := run A (sgd_update eta) (fun=> 1) (fun t => map clone_sample (data t)) w b.
Fixpoint base t : (B -> B -> F) * (B -> F) := if t is t.+1 then let s := base t in
  (fun I J => s.1 I J - eta t * (d I J)%:R / card_of F blk J * batch_grad A0 s.1 s.2 (map base_sample (data t)) I J,
   fun J => s.2 J - eta t / card_of F blk J * batch_grad_bias A0 s.1 s.2 (map base_sample (data t)) J) else (w0, b0).

Definition based w' b' w0' b0' := forall x0, quotient A A0 blk w' b' (x0 \o blk) w0' b0' x0.

Lemma based_cloned w' b' w0' b0' : based w' b' w0' b0' ->
  shared A blk b' /\ in_equitable A blk (on_edges A w').
Proof.
move=> q; have q0 := q (fun=> 0); have inp : block_equal blk (input A).
  by move=> u v uv; rewrite !(q_input q0) uv.
have hid u v : blk u = blk v -> hidden A u -> hidden A v by rewrite /hidden => uv; rewrite (inp _ _ uv).
split; last by move=> I v v' vv hv; rewrite !(q_weight q0) ?vv //; apply: hid hv.
split=> // u v uv hu; have hv := hid u v uv hu.
- by move=> z; rewrite (q_act q0) // (q_act q0) // uv.
- by move=> z; rewrite (q_act' q0) // (q_act' q0) // uv.
- by rewrite !(q_bias q0) // uv.
Qed.

Section Step.
Variables (w' : V -> V -> F) (b' : V -> F) (w0' : B -> B -> F) (b0' : B -> F) (s : seq example).
Hypothesis q : based w' b' w0' b0'.
Hypothesis out : out_equitable A blk (on_edges A w').
Hypothesis match_s : all_prop (fun p => matching p.1.2 p.2) s.

Lemma example_gradient p v : matching p.1.2 p.2 ->
  let h := forward A w' b' (p.1.1 \o blk) in let h0 := forward A0 w0' b0' p.1.1 in
  card_of F blk (blk v) * grad_bias A w' b' (p.1.1 \o blk) (p.1.2 h) v = grad_bias A0 w0' b0' p.1.1 (p.2 h0) (blk v)
  /\ forall u, edge A u v -> edge A0 (blk u) (blk v) ->
     card_of F blk (blk v) * grad A w' b' (p.1.1 \o blk) (p.1.2 h) u v = grad A0 w0' b0' p.1.1 (p.2 h0) (blk u) (blk v).
Proof.
move=> m h h0; have [geq g0] := m h h0 (base_forward (q p.1.1)).
have same : p.2 h0 =1 base_g blk (p.1.2 h) by move=> I; rewrite g0.
split=> [|u e e0]; first by rewrite (grad_bias_base (q _) geq out) (grad_bias_ext _ _ _ _ same).
by rewrite (base_gradient (q _) geq out e e0) (grad_ext _ _ _ _ _ _ same).
Qed.

Lemma batch_gradient v :
  card_of F blk (blk v) * batch_grad_bias A w' b' (map clone_sample s) v = batch_grad_bias A0 w0' b0' (map base_sample s) (blk v)
  /\ forall u, edge A u v -> edge A0 (blk u) (blk v) ->
     card_of F blk (blk v) * batch_grad A w' b' (map clone_sample s) u v
     = batch_grad A0 w0' b0' (map base_sample s) (blk u) (blk v).
Proof.
rewrite /batch_grad /batch_grad_bias; elim: s match_s => [_|p r IH [mp mr]] /=.
  by rewrite !big_nil mulr0; split=> // u e e0; rewrite !big_nil mulr0.
have [IHb IHw] := IH mr; have [eb ew] := example_gradient v mp.
rewrite !big_cons mulrDr IHb eb; split=> // u e e0.
by rewrite !big_cons mulrDr IHw // ew.
Qed.
End Step.

Hypothesis mask : equitable_mask A blk.
Hypothesis deg : indegree d.
Hypothesis kept : forall u v, edge A u v -> edge A0 (blk u) (blk v).
Hypothesis start : based w b w0 b0.
Hypothesis out0 : out_equitable A blk (on_edges A w).
Hypothesis losses : forall t, all_prop (fun p => matching p.1.2 p.2) (data t).

Lemma samples_valid s : all_prop (fun p => matching p.1.2 p.2) s -> all_prop (valid A blk) (map clone_sample s).
Proof.
elim: s => //= p s IH [m ms]; split; last exact: IH.
split=> [u v uv _ | h eh]; first by rewrite /= uv.
pose h0 I := if [pick v | blk v == I] is Some v then h v else 0.
suff agree v : h v = h0 (blk v) by have [] := m h h0 agree.
by rewrite /h0; case: pickP => [u /eqP uv | /(_ v)]; [apply: eh | rewrite eqxx].
Qed.

Lemma clone_cloned t : cloned A blk (clone t).
Proof.
have [sh ein] := based_cloned start; apply: trajectory_equitable => // k; exact: samples_valid.
Qed.

Lemma clone_step t u v : on_edges A (weight (clone t.+1)) u v = on_edges A (weight (clone t)) u v
  - (if edge A u v then eta t * batch_grad A (weight (clone t)) (bias (clone t)) (map clone_sample (data t)) u v else 0).
Proof. by rewrite /on_edges /= /sgd_update /=; case: (edge A u v); rewrite ?mul1r ?mulNr ?subr0. Qed.

Lemma clone_bias_step t v : bias (clone t.+1) v = bias (clone t) v
  - eta t * batch_grad_bias A (weight (clone t)) (bias (clone t)) (map clone_sample (data t)) v.
Proof. by rewrite /= /sgd_update /= mul1r mulNr. Qed.

(* [clone-rates] the base of the clone is the base trained with the rates eta d_in / |S_J| and eta / |S_J|, at every step *)
Theorem clone_follows_base t : based (weight (clone t)) (bias (clone t)) (base t).1 (base t).2.
Proof.
elim: t => [|t q] //; have [_ _ eout] := clone_cloned t.
have grads v := batch_gradient q eout (losses t) v.
have nz v : card_of F blk (blk v) != 0 by exact: size_neq0.
move=> x0; have q0 := q x0; split=> [|||| v hid | v inv | I v hid] //; try by case: q0.
  have [gb _] := grads v; rewrite clone_bias_step (q_bias q0 hid) [RHS]/= -gb; congr (_ - _).
  by have := nz v; set c := card_of F blk (blk v) => c0; field.
rewrite (eq_bigr _ (fun u _ => clone_step t u v)) sumrB (q_weight q0 I hid) -big_mkcondr /on_edges /=.
have [e0 | /negP no] := boolP (edge A0 I (blk v)); last first.
  by rewrite big_pred0 ?subr0 // => u; apply/negP => /andP[/eqP uI e]; apply: no; rewrite -uI; apply: kept.
congr (_ - _); rewrite (eq_bigr (fun=> eta t / card_of F blk (blk v)
    * batch_grad A0 (base t).1 (base t).2 (map base_sample (data t)) I (blk v))) => [|u /andP[/eqP uI e]]; last first.
  have [_ gw] := grads v; rewrite -uI -gw ?uI //; have := nz v; set c := card_of F blk (blk v) => c0.
  by field.
rewrite sumr_const -(deg I hid) -[LHS]mulr_natr; have := nz v; set c := card_of F blk (blk v) => c0.
rewrite [X in _ * X = _](_ : _ = #|[pred u | (blk u == I) && edge A u v]|%:R); last by congr (_%:R); apply: eq_card.
by move: (_%:R : F) => k; field.
Qed.

(* [clone-rates] so clone and base compute the same function at every step *)
Theorem same_function t x0 v :
  forward A (weight (clone t)) (bias (clone t)) (x0 \o blk) v = forward A0 (base t).1 (base t).2 x0 (blk v).
Proof. exact: base_forward (clone_follows_base t x0) v. Qed.
End Rates.
