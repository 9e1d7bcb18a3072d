(* Optimisers beyond entrywise ones: updates that commute with permutations within blocks (Remarks 2.4, A.3). No axioms.

   complete          an edge depends only on the two blocks: complete layers
   matrix, moved s   a weight matrix on V x V, and the one with units renamed by s
   optimiser         step number, histories of weight and bias gradients -> updates of weights and biases
   equivariant U     U commutes with every renaming within blocks
   train t           weights, biases and gradient histories after t steps; weights multiplied by keep t first
   newton_schulz     a X + b X X^T X + c (X X^T)^2 X, iterated: the orthogonalisation of Muon                       *)
From mathcomp Require Import all_ssreflect fingroup perm all_algebra.
From lop Require Import Dag Cloning Trajectory.
Import GRing.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

Section Equivariant.
Variables (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B).
Notation matrix := {ffun V * V -> R}.
Notation vector := {ffun V -> R}.

Definition complete := forall u v u' v', blk u = blk u' -> blk v = blk v' -> edge A u v = edge A u' v'.
Definition within (s : {perm V}) := forall v, blk (s v) = blk v.
Definition moved (s : {perm V}) (X : matrix) : matrix := [ffun p => X (s p.1, s p.2)].
Definition moved_vector (s : {perm V}) (x : vector) : vector := [ffun v => x (s v)].
Definition optimiser := nat -> seq matrix -> seq vector -> matrix * vector.
Definition equivariant (U : optimiser) := forall t gw gb s, within s ->
  U t [seq moved s g | g <- gw] [seq moved_vector s g | g <- gb] = (moved s (U t gw gb).1, moved_vector s (U t gw gb).2).

Definition constant_matrix (X : matrix) := block_constant A blk (fun u v => X (u, v)).
Definition constant_vector (x : vector) := block_equal blk x.

Hypothesis full : complete.
Hypothesis into_hidden : forall u v, edge A u v -> hidden A v.

Lemma complete_equitable : equitable_mask A blk.
Proof.
split=> [I v v' vv _ | J u u' uu]; apply: eq_card => x; rewrite !inE; first by rewrite (full (erefl (blk x)) vv).
by rewrite (full uu (erefl (blk x))).
Qed.

Lemma moved_constant s X : within s -> constant_matrix X -> moved s X = X.
Proof.
move=> ws [X0 eX]; apply/ffunP => -[u v]; rewrite ffunE /=; have same := full (ws u) (ws v).
have [e | ne] := boolP (edge A u v); first by apply: eX => //; rewrite ?same.
by rewrite X0 ?same // X0.
Qed.
Lemma moved_equal s x : within s -> constant_vector x -> moved_vector s x = x.
Proof. by move=> ws ex; apply/ffunP => v; rewrite ffunE; apply: ex. Qed.

Lemma moved_history s (P : seq matrix) : within s -> all_prop constant_matrix P -> [seq moved s g | g <- P] = P.
Proof. by move=> ws; elim: P => //= g P IH [cg /IH ->]; rewrite moved_constant. Qed.
Lemma moved_biases s (P : seq vector) : within s -> all_prop constant_vector P -> [seq moved_vector s g | g <- P] = P.
Proof. by move=> ws; elim: P => //= g P IH [cg /IH ->]; rewrite moved_equal. Qed.

Lemma swap_within u u' : blk u = blk u' -> within (tperm u u').
Proof. by move=> uu v; case: tpermP => // ->. Qed.

(* [optimiser-equivariant] the closure criterion: block-constant histories give block-constant updates *)
Theorem equivariant_closed (U : optimiser) t gw gb : equivariant U ->
  all_prop constant_matrix gw -> all_prop constant_vector gb ->
  block_constant A blk (fun u v => if edge A u v then (U t gw gb).1 (u, v) else 0) /\ constant_vector (U t gw gb).2.
Proof.
move=> eU cw cb; have fixed s : within s -> moved s (U t gw gb).1 = (U t gw gb).1 /\ moved_vector s (U t gw gb).2 = (U t gw gb).2.
  move=> ws; have := eU t gw gb s ws; rewrite moved_history // moved_biases // => e.
  by split; symmetry; [exact: (congr1 fst e) | exact: (congr1 snd e)].
split=> [|v v' vv]; last by have [_ e] := fixed _ (swap_within vv); rewrite -[in LHS]e ffunE tpermL.
split=> [u v /negbTE -> // | u v u' v' e e' uu vv]; rewrite e e'.
have ne : blk u != blk v := mask_no_inner_edge complete_equitable e (into_hidden e).
have apart x y : blk x = blk u -> blk y = blk v -> x != y by move=> xu yv; apply: contraNneq ne => xy; rewrite -xu xy yv.
pose s := (tperm u u' * tperm v v')%g.
have ws : within s by move=> x; rewrite permM (swap_within vv) (swap_within uu).
have [eq _] := fixed s ws; rewrite -[in LHS]eq ffunE /= !permM tpermL.
rewrite (tpermD (x := v) (y := v') (z := u')) ?(eq_sym _ u') ?(apart u' v) ?(apart u' v') //.
by rewrite (tpermD (x := u) (y := u') (z := v)) ?(apart u v) ?(apart u' v) // tpermL.
Qed.

(* ---- Training ---- *)
Variables (U : optimiser) (keep : nat -> R) (batch : nat -> seq (sample R V)) (w0 : V -> V -> R) (b0 : V -> R).
Record training := Training { weights : V -> V -> R; biases : V -> R; past : seq matrix; past_bias : seq vector }.
Definition advance t (s : training) :=
  let gw := [ffun p => batch_grad A (weights s) (biases s) (batch t) p.1 p.2] :: past s in
  let gb := [ffun v => batch_grad_bias A (weights s) (biases s) (batch t) v] :: past_bias s in
  Training (fun u v => keep t * weights s u v + if edge A u v then (U t gw gb).1 (u, v) else 0)
           (fun v => keep t * biases s v + (U t gw gb).2 v) gw gb.
Fixpoint train t := if t is t.+1 then advance t (train t) else Training w0 b0 [::] [::].

Definition tied_training (s : training) :=
  [/\ shared A blk (biases s), in_equitable A blk (on_edges A (weights s)) & out_equitable A blk (on_edges A (weights s))].
Hypothesis commutes : equivariant U.
Hypothesis batches_valid : forall t, all_prop (valid A blk) (batch t).
Hypothesis start : tied_training (Training w0 b0 [::] [::]).

Lemma train_invariant t : [/\ tied_training (train t), all_prop constant_matrix (past (train t))
  & all_prop constant_vector (past_bias (train t))].
Proof.
elim: t => [|t [[sh ein eout] allw allb]]; first by split.
have [gw gb] := batch_grad_cloned sh ein eout (batches_valid t).
set s := train t in sh ein eout allw allb gw gb *.
pose hw : matrix := [ffun p => batch_grad A (weights s) (biases s) (batch t) p.1 p.2].
pose hb : vector := [ffun v => batch_grad_bias A (weights s) (biases s) (batch t) v].
have cw : constant_matrix hw.
  by case: gw => z eq; split=> [u v e | u v u' v' e e' uu vv]; rewrite !ffunE; [apply: z | apply: eq].
have cb : constant_vector hb by move=> u v uv; rewrite !ffunE; apply: gb.
have [bc be] := equivariant_closed (gw := hw :: past s) (gb := hb :: past_bias s) t commutes (conj cw allw) (conj cb allb).
have ext := equitable_ext A blk (fun u v => esym (on_edges_step A (keep t) (weights s)
  (fun u v => (U t (hw :: past s) (hb :: past_bias s)).1 (u, v)) u v)).
split; [split | by split..].
- by have [inp a1 a2 bE] := sh; split=> // u v uv hid /=; congr (_ * _ + _); [apply: bE | apply: be].
- by apply: ext.1; apply: in_equitable_linear ein (block_constant_in complete_equitable bc).
- by apply: ext.2; apply: out_equitable_linear eout (block_constant_out complete_equitable bc).
Qed.

(* [optimiser-equivariant] any equivariant optimiser with uniform decay keeps RE and CE, and with them cloning *)
Theorem equivariant_trains t : tied_training (train t).
Proof. by case: (train_invariant t). Qed.

(* [optimiser-equivariant] without decay the weights stay in w0 + BC *)
Theorem equivariant_affine t : (forall t, keep t = 1) ->
  block_constant A blk (fun u v => weights (train t) u v - w0 u v) /\ block_equal blk (fun v => biases (train t) v - b0 v).
Proof.
move=> no_decay; elim: t => [|t [bc bb]]; first by split=> [|u v _]; [split=> * |]; rewrite /= !subrr.
have [_ allw allb] := train_invariant t.+1; have [hist histb] := equivariant_closed t commutes allw allb.
set X := (U t _ _).1 in hist; set y := (U t _ _).2 in histb.
have sameW u v : weights (train t.+1) u v - w0 u v
    = 1 * (weights (train t) u v - w0 u v) + if edge A u v then X (u, v) else 0.
  by rewrite /= no_decay !mul1r addrAC.
split=> [|u v uv]; last by rewrite /= no_decay !mul1r !(addrAC _ _ (- _)) (bb u v uv); congr (_ + _); apply: histb.
have [z eq] := block_constant_linear 1 bc hist.
by split=> [u v e | u v u' v' e e' uu vv]; rewrite !sameW; [apply: z | apply: eq].
Qed.
End Equivariant.

(* ---- Muon ---- *)
Section Muon.
Variables (R : comRingType) (V B : finType) (blk : V -> B).
Notation matrix := {ffun V * V -> R}.
Implicit Types (X Y : matrix).
Definition times X Y : matrix := [ffun p => \sum_k X (p.1, k) * Y (k, p.2)].
Definition transposed X : matrix := [ffun p => X (p.2, p.1)].
Definition scaled k X : matrix := [ffun p => k * X p].
Definition norm2 X := \sum_p X p ^+ 2.
(* the entries of one layer's weight matrix: pairs of blocks that `sel` selects *)
Definition layer_part (sel : B -> B -> bool) X : matrix := [ffun p => if sel (blk p.1) (blk p.2) then X p else 0].
Definition newton_schulz (a b c : R) X : matrix :=
  let Y := times (times X (transposed X)) X in let Z := times (times X (transposed X)) Y in scaled a X + scaled b Y + scaled c Z.
(* normalised by any function `unitise` of the squared norm, then `steps` polynomials *)
Definition orthogonalised (a b c : R) (unitise : R -> R) steps X :=
  iter steps (newton_schulz a b c) (scaled (unitise (norm2 X)) X).
Definition momentum (beta : R) (history : seq matrix) : matrix := foldr (fun g m => scaled beta m + g) 0 history.
Definition muon (layers : seq (B -> B -> bool)) (a b c beta : R) (unitise : R -> R) steps (eta : nat -> R) : optimiser R V :=
  fun t gw gb => (scaled (- eta t) (\sum_(sel <- layers)
    layer_part sel (orthogonalised a b c unitise steps (layer_part sel (momentum beta gw)))), [ffun v => - eta t * head 0 gb v]).

Variable s : {perm V}.
Hypothesis ws : within blk s.
Local Notation mv := (@moved R V s).
Lemma moved_times X Y : times (mv X) (mv Y) = mv (times X Y).
Proof.
apply/ffunP => p; rewrite !ffunE [RHS](reindex_inj (@perm_inj _ s)); by apply: eq_bigr => k _; rewrite !ffunE.
Qed.
Lemma moved_transposed X : transposed (mv X) = mv (transposed X).
Proof. by apply/ffunP => p; rewrite !ffunE. Qed.
Lemma moved_add X Y : mv X + mv Y = mv (X + Y).
Proof. by apply/ffunP => p; rewrite !ffunE. Qed.
Lemma moved_scale k X : scaled k (mv X) = mv (scaled k X).
Proof. by apply/ffunP => p; rewrite !ffunE. Qed.
Lemma moved_zero : 0 = mv 0.
Proof. by apply/ffunP => p; rewrite !ffunE. Qed.
Lemma moved_norm X : norm2 (mv X) = norm2 X.
Proof.
rewrite /norm2 [RHS](reindex_inj (h := fun p : V * V => (s p.1, s p.2))) => [|[u v] [u' v'] [/perm_inj -> /perm_inj ->] //].
by apply: eq_bigr => p _; rewrite ffunE.
Qed.
Lemma moved_layer sel X : layer_part sel (mv X) = mv (layer_part sel X).
Proof. by apply/ffunP => p; rewrite !ffunE /= !ws. Qed.
Lemma moved_newton_schulz a b c X : newton_schulz a b c (mv X) = mv (newton_schulz a b c X).
Proof. by rewrite /newton_schulz moved_transposed !(moved_times, moved_scale, moved_add). Qed.
Lemma moved_orthogonalised a b c unitise steps X :
  orthogonalised a b c unitise steps (mv X) = mv (orthogonalised a b c unitise steps X).
Proof.
rewrite /orthogonalised moved_norm moved_scale; elim: steps => //= n ->; exact: moved_newton_schulz.
Qed.
Lemma moved_momentum beta gw : momentum beta [seq mv g | g <- gw] = mv (momentum beta gw).
Proof. by elim: gw => [|g gw IH] /=; [exact: moved_zero | rewrite IH moved_scale moved_add]. Qed.
End Muon.

(* [optimiser-equivariant] Muon is equivariant: momentum, a norm, Newton-Schulz polynomials on each layer's matrix, in exact
   arithmetic; so without decay it keeps w0 + BC, and with uniform decay RE and CE *)
Theorem muon_equivariant (R : comRingType) (V B : finType) (blk : V -> B) layers (a b c beta : R) unitise steps eta :
  equivariant blk (@muon R V B blk layers a b c beta unitise steps eta).
Proof.
move=> t gw gb s ws; rewrite /muon moved_momentum; congr (_, _).
  rewrite -moved_scale; congr (scaled _ _); elim: layers => [|sel l IH]; first by rewrite !big_nil; apply: moved_zero.
  by rewrite !big_cons IH moved_layer // moved_orthogonalised moved_layer // moved_add.
by apply/ffunP => v; case: gb => [|g gb]; rewrite !ffunE.
Qed.
