(* Hypotheses that cannot be dropped, and optimisers that leave, on concrete networks. No axioms.

   signed_net      8 hidden nodes; +-1 edges {0,1} -> {2,3} and {4,5} -> {6,7}, which cancel
   two_blocks      the blocks {0,1,6,7} and {2,3,4,5}: the quotient has edges both ways
   adam_first      Adam's first update (bias-corrected) on a coordinate with gradient g: eta g / (|g| + eps)
   small_net m     1 input -> 2 clones -> 1 output; node v computes m v times its preactivation
   paired_net      2 inputs (one block) -> 2 hidden nodes (one block), the edges 0 -> 2 and 1 -> 3
  to_output, to_clones   gradient of squared losses at the output, and at the two clones with targets 0 and 1 *)
From mathcomp Require Import all_ssreflect all_algebra ring.
From lop Require Import Dag Cloning Trajectory Counterexamples.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

Section Hypotheses.
Variable F : realFieldType.

(* ---- RE and CE with a cyclic quotient ---- *)
Definition signed_edge i j : bool := match i, j with
  | 0, 2 | 0, 3 | 1, 2 | 1, 3 | 4, 6 | 4, 7 | 5, 6 | 5, 7 => true | _, _ => false end.
Lemma signed_increasing i j : signed_edge i j -> (i < j)%N.
Proof. by move: i j => [|[|[|[|[|[|?]]]]]] [|[|[|[|[|[|[|[|?]]]]]]]]. Qed.
Definition signed_net : arch F [finType of 'I_8] := linear_net 8 pred0 (fun=> 1) signed_increasing.
Definition signed_weight (u v : 'I_8) : F := match val u, val v with
  | 0, 3 | 1, 2 | 4, 7 | 5, 6 => -1 | _, _ => 1 end.
Definition two_blocks (v : 'I_8) : bool := match val v with 0 | 1 | 6 | 7 => false | _ => true end.

Lemma in_out_zero (B : finType) (blk : 'I_8 -> B) :
  (forall I v, \sum_u (if blk u == I then on_edges signed_net signed_weight u v else 0) = 0) ->
  (forall J u, \sum_v (if (blk v == J) && hidden signed_net v then on_edges signed_net signed_weight u v else 0) = 0) ->
  in_equitable signed_net blk (on_edges signed_net signed_weight)
  /\ out_equitable signed_net blk (on_edges signed_net signed_weight).
Proof. by move=> i o; split; [apply: (in_by_table (c := fun _ _ => 0)) | apply: (out_by_table (c := fun _ _ => 0))]. Qed.

(* [clone-ordering] RE and CE hold, the blocks are interleaved, and the quotient has a cycle *)
Theorem cyclic_quotient :
  [/\ in_equitable signed_net two_blocks (on_edges signed_net signed_weight),
      out_equitable signed_net two_blocks (on_edges signed_net signed_weight)
    & ~ exists depth : bool -> nat, forall u v, edge signed_net u v ->
        (depth (two_blocks u) < depth (two_blocks v))%N].
Proof.
have [ein eout] : in_equitable signed_net two_blocks (on_edges signed_net signed_weight)
  /\ out_equitable signed_net two_blocks (on_edges signed_net signed_weight).
  by apply: in_out_zero => -[]; apply: forall8; rewrite sum8 /on_edges /= /signed_weight /=; ring.
split=> // -[depth up].
have := up (@o8 0 isT) (@o8 2 isT) isT; have := up (@o8 4 isT) (@o8 6 isT) isT.
by rewrite /two_blocks /= => /ltnW; rewrite leqNgt => /negP.
Qed.

(* [clone-ordering] RE and CE hold with edges inside the only block *)
Theorem inner_edges : let blk := fun _ : 'I_8 => tt in
  [/\ in_equitable signed_net blk (on_edges signed_net signed_weight),
      out_equitable signed_net blk (on_edges signed_net signed_weight)
    & exists u v, edge signed_net u v && (blk u == blk v)].
Proof.
move=> blk; have [ein eout] : in_equitable signed_net blk (on_edges signed_net signed_weight)
  /\ out_equitable signed_net blk (on_edges signed_net signed_weight).
  by apply: in_out_zero => -[]; apply: forall8; rewrite sum8 /on_edges /= /signed_weight /=; ring.
by split=> //; exists (@o8 0 isT), (@o8 2 isT).
Qed.

(* ---- Adam with coupled L2 ---- *)
Definition adam_weight (u v : 'I_8) : F := match val u, val v with
  | 1, 4 => 2%:R | 1, 5 | 1, 6 => -1 | 2, 4 => -2%:R | 2, 5 | 2, 6 => 1 | 3, _ => if val v == 7%N then 1 else 0
  | _, _ => 1 end.
Definition zeros (v : 'I_8) : F := 0.
Definition adam_first eta eps (g : F) := eta * (g / (`|g| + eps)).
Definition coupled_step eta eps mu (w : 'I_8 -> 'I_8 -> F) u v :=
  w u v - adam_first eta eps (grad (full_net F) w (@no_bias F _) zeros
    (squared (forward (full_net F) w (@no_bias F _) zeros)) u v + mu * w u v).

Lemma zero_forward w v : forward (full_net F) w (@no_bias F _) zeros v = 0.
Proof.
symmetry; apply: (forward_unique (h := fun=> 0)) => {}v; rewrite /forward_step; case: ifP => // _.
by rewrite /= /preact big1 ?addr0 ?mulr0 // => u _; rewrite mulr0.
Qed.

Lemma zero_grad w g u v : grad (full_net F) w (@no_bias F _) zeros g u v = 0.
Proof. by rewrite /grad zero_forward mulr0; case: ifP. Qed.

(* [optimiser-entrywise] from RE and CE (not block-constant), Adam with coupled L2 leaves CE *)
Theorem coupled_adam_leaves eta eps mu : 0 < eta -> 0 < eps -> 0 < mu ->
  [/\ in_equitable (full_net F) blk8 (on_edges (full_net F) adam_weight),
      out_equitable (full_net F) blk8 (on_edges (full_net F) adam_weight)
    & ~ out_equitable (full_net F) blk8 (on_edges (full_net F) (coupled_step eta eps mu adam_weight))].
Proof.
move=> eta0 eps0 mu0; split.
- apply: (in_by_table (c := table 1 0 3%:R)); apply: forall4; apply: forall8;
    rewrite sum8 /on_edges /table /= ?eqE /= /adam_weight /=; solve_field.
- apply: (out_by_table (c := table 3%:R 0 1)); apply: forall4; apply: forall8;
    rewrite sum8 /on_edges /table /hidden /= ?eqE /= /adam_weight /=; solve_field.
move=> /(_ (@o4 2 isT) (@o8 1 isT) (@o8 3 isT) erefl).
rewrite !(big_mkcond (fun v => (blk8 v == _) && _)) !sum8 /on_edges /hidden /= ?eqE /=.
rewrite /coupled_step !zero_grad !add0r /adam_weight /= /adam_first.
rewrite !mulrN1 normrN !mulr0 !mul0r !mulr0 !oppr0 !addr0 (gtr0_norm mu0) (gtr0_norm (mulr_gt0 mu0 (ltr0Sn _ 1))).
have p1 : mu + eps != 0 by rewrite gt_eqF // addr_gt0.
have p2 : mu * 2%:R + eps != 0 by rewrite gt_eqF // addr_gt0 // mulr_gt0 // ltr0Sn.
move=> bad; have : 0 < 2%:R * eta * mu ^+ 2 / ((mu + eps) * (mu * 2%:R + eps)).
  by rewrite divr_gt0 ?mulr_gt0 ?exprn_gt0 ?ltr0Sn // addr_gt0 // mulr_gt0 // ltr0Sn.
match goal with bad : ?l = 0 |- is_true (0 < ?r) -> _ => have -> : r = l by field; rewrite p1 p2 end.
by rewrite bad ltxx.
Qed.

(* ---- A network with two clones between one input and one output ---- *)
Definition small_edge i j : bool := match i, j with 0, 1 | 0, 2 | 1, 3 | 2, 3 => true | _, _ => false end.
Lemma small_increasing i j : small_edge i j -> (i < j)%N.
Proof. by move: i j => [|[|[|?]]] [|[|[|[|?]]]]. Qed.
Definition small_net (m : nat -> F) := linear_net 4 (pred1 0%N) m small_increasing.
Definition unit_weight (u v : 'I_4) : F := 1.
Definition unit_data (v : 'I_4) : F := 1.
Definition blk4 (v : 'I_4) : 'I_4 := match val v with 0 => @o4 0 isT | 1 | 2 => @o4 1 isT | _ => @o4 3 isT end.
Definition to_output (h : 'I_4 -> F) (v : 'I_4) : F := if val v == 3%N then h v else 0.
Definition to_clones (h : 'I_4 -> F) (v : 'I_4) : F :=
  match val v with 1 => h v | 2 => h v - 1 | _ => 0 end.
Definition small_grad m (g : ('I_4 -> F) -> 'I_4 -> F) :=
  grad (small_net m) unit_weight (@no_bias F _) unit_data (g (forward (small_net m) unit_weight (@no_bias F _) unit_data)).

Lemma small_equitable m : in_equitable (small_net m) blk4 (on_edges (small_net m) unit_weight)
  /\ out_equitable (small_net m) blk4 (on_edges (small_net m) unit_weight).
Proof.
split.
  apply: (in_by_table (c := fun I J => match val I, val J with 0, 1 => 1 | 1, 3 => 2%:R | _, _ => 0 end)).
  by apply: forall4; apply: forall4; rewrite sum4 /on_edges /= ?eqE /= /unit_weight; solve_field.
apply: (out_by_table (c := fun I J => match val I, val J with 0, 1 => 2%:R | 1, 3 => 1 | _, _ => 0 end)).
by apply: forall4; apply: forall4; rewrite sum4 /on_edges /hidden /= ?eqE /= /unit_weight; solve_field.
Qed.

Lemma small_values m v : forward (small_net m) unit_weight (@no_bias F _) unit_data v
  = match val v with 0 => 1 | 1 => m 1%N | 2 => m 2%N | _ => m 3%N * (m 1%N + m 2%N) end.
Proof.
symmetry; move: v; apply: forward_unique; apply: forall4;
  rewrite /forward_step /preact ?sum4 /on_edges /= /unit_weight /no_bias; solve_field.
Qed.

Definition small_adj m (g : 'I_4 -> F) (v : 'I_4) : F := match val v with
  | 3 => g (@o4 3 isT) | 1 | 2 => g v + m 3%N * g (@o4 3 isT)
  | _ => g v + m 1%N * (g (@o4 1 isT) + m 3%N * g (@o4 3 isT)) + m 2%N * (g (@o4 2 isT) + m 3%N * g (@o4 3 isT)) end.

Lemma small_adjoints m g v : adjoint (small_net m) unit_weight (@no_bias F _) unit_data g v = small_adj m g v.
Proof.
symmetry; move: v; apply: backward_unique; apply: forall4;
  rewrite /backward_step ?sum4 /on_edges /slope /small_adj /= /unit_weight; solve_field.
Qed.

(* [optimiser-entrywise] [clone-trajectory] dropout with unshared masks (keep probability 1/2, the first
   clone dropped): RE and CE hold, the sample is valid, and every SGD step leaves CE *)
Theorem unshared_dropout_leaves eta : eta != 0 ->
  let m k := match k with 1 => 0 | 2 => 2%:R | _ => 1 end in
  [/\ in_equitable (small_net m) blk4 (on_edges (small_net m) unit_weight),
      out_equitable (small_net m) blk4 (on_edges (small_net m) unit_weight)
    & ~ out_equitable (small_net m) blk4
          (on_edges (small_net m) (fun u v => unit_weight u v - eta * small_grad m to_output u v))].
Proof.
move=> eta0 m; have [ein eout] := small_equitable m; split=> //.
move=> /(_ (@o4 3 isT) (@o4 1 isT) (@o4 2 isT) erefl).
rewrite !(big_mkcond (fun v => (blk4 v == _) && _)) !sum4 /on_edges /hidden /= ?eqE /= /small_grad.
rewrite /grad /= /grad_bias !small_adjoints /slope /small_adj /= /to_output /= !small_values /= /unit_weight => bad.
match goal with bad : ?l = ?r |- _ => have etaE : eta = (l - r) / 4%:R by field end.
by move: eta0; rewrite etaE bad subrr mul0r eqxx.
Qed.

(* [clone-backward] cloned outputs with different targets: the adjoints are not block-equal, and
   every SGD step leaves RE although activations, biases, RE and CE are as required *)
Theorem cloned_outputs_leave eta : eta != 0 ->
  let m := fun=> 1 in
  [/\ shared (small_net m) blk4 (@no_bias F _), in_equitable (small_net m) blk4 (on_edges (small_net m) unit_weight),
      out_equitable (small_net m) blk4 (on_edges (small_net m) unit_weight)
    & ~ in_equitable (small_net m) blk4
          (on_edges (small_net m) (fun u v => unit_weight u v - eta * small_grad m to_clones u v))].
Proof.
move=> eta0 m; have [ein eout] := small_equitable m; split=> //.
  by split=> // u v; move: u v; apply: forall4; apply: forall4; rewrite ?eqE.
move=> /(_ (@o4 0 isT) (@o4 1 isT) (@o4 2 isT) erefl isT).
rewrite !(big_mkcond (fun v => blk4 v == _)) !sum4 /on_edges /hidden /= ?eqE /= /small_grad.
rewrite /grad /= /grad_bias !small_adjoints /slope /small_adj /= /to_clones /= !small_values /= /unit_weight /m => bad.
match goal with bad : ?l = ?r |- _ => have etaE : eta = r - l by ring end.
by move: eta0; rewrite etaE bad subrr eqxx.
Qed.

(* [clone-forward] clones with different activations differ in value *)
Theorem unshared_activation (m : nat -> F) : m 1%N != m 2%N ->
  ~ block_equal blk4 (forward (small_net m) unit_weight (@no_bias F _) unit_data).
Proof.
move=> /eqP m12 /(_ (@o4 1 isT) (@o4 2 isT) erefl); by rewrite !small_values.
Qed.

(* [clone-forward] clones with different biases differ in value, although everything else is as required *)
Theorem unshared_bias (b : 'I_4 -> F) : b (@o4 1 isT) != b (@o4 2 isT) -> let net := small_net (fun=> 1) in
  [/\ shared net blk4 (@no_bias F _), inputs_equal net blk4 unit_data,
      in_equitable net blk4 (on_edges net unit_weight), out_equitable net blk4 (on_edges net unit_weight)
    & forward net unit_weight b unit_data (@o4 1 isT) != forward net unit_weight b unit_data (@o4 2 isT)].
Proof.
move=> b12 net; have [ein eout] := small_equitable (fun=> 1); split=> //.
  by split=> // u v; move: u v; apply: forall4; apply: forall4; rewrite ?eqE.
rewrite (forwardE _ _ _ _ (@o4 1 isT)) (forwardE _ _ _ _ (@o4 2 isT)) /forward_step /preact !sum4 /on_edges /= !mul1r.
by apply: contra b12 => /eqP/addIr ->.
Qed.

(* ---- An input block with different data ---- *)
Definition paired_edge i j : bool := match i, j with 0, 2 | 1, 3 => true | _, _ => false end.
Lemma paired_increasing i j : paired_edge i j -> (i < j)%N.
Proof. by move: i j => [|[|?]] [|[|[|[|?]]]]. Qed.
Definition paired_net := linear_net 4 (fun v => v < 2)%N (fun=> 1 : F) paired_increasing.
Definition pairs (v : 'I_4) : bool := (val v < 2)%N.

(* [clone-forward] different inputs in an input block give different values in the hidden block behind it *)
Theorem unequal_inputs (x : 'I_4 -> F) : x (@o4 0 isT) != x (@o4 1 isT) ->
  [/\ shared paired_net pairs (@no_bias F _), in_equitable paired_net pairs (on_edges paired_net unit_weight),
      out_equitable paired_net pairs (on_edges paired_net unit_weight), pairs (@o4 2 isT) = pairs (@o4 3 isT)
    & forward paired_net unit_weight (@no_bias F _) x (@o4 2 isT)
      != forward paired_net unit_weight (@no_bias F _) x (@o4 3 isT)].
Proof.
move=> x01; split=> //.
- by split=> // u v; move: u v; apply: forall4; apply: forall4; rewrite ?eqE.
- apply: (in_by_table (c := fun I J => (I && ~~ J)%:R)) => -[]; apply: forall4;
    rewrite sum4 /on_edges /= ?eqE /= /unit_weight; solve_field.
- apply: (out_by_table (c := fun I J => (I && ~~ J)%:R)) => -[]; apply: forall4;
    rewrite sum4 /on_edges /hidden /= ?eqE /= /unit_weight; solve_field.
have value v : forward paired_net unit_weight (@no_bias F _) x v
    = match val v with 2 => x (@o4 0 isT) | 3 => x (@o4 1 isT) | _ => x v end.
  symmetry; move: v; apply: forward_unique; apply: forall4;
    rewrite /forward_step /preact ?sum4 /on_edges /= /unit_weight /no_bias; solve_field.
by rewrite !value.
Qed.

(* ---- The base of the small network: one hidden node, outgoing weight 2 ---- *)
Definition o3 k (lt : (k < 3)%N) : 'I_3 := Ordinal lt.
Definition base_edge i j : bool := match i, j with 0, 1 | 1, 2 => true | _, _ => false end.
Lemma base_increasing i j : base_edge i j -> (i < j)%N.
Proof. by move: i j => [|[|?]] [|[|[|?]]]. Qed.
Definition base_net := linear_net 3 (pred1 0%N) (fun=> 1 : F) base_increasing.
Definition base_weight (I J : 'I_3) : F := if val I == 1%N then 2%:R else 1.
Definition blk3 (v : 'I_4) : 'I_3 := match val v with 0 => @o3 0 isT | 1 | 2 => @o3 1 isT | _ => @o3 2 isT end.

Lemma small_quotient : quotient (small_net (fun=> 1)) base_net blk3 unit_weight (@no_bias F _) unit_data
  base_weight (@no_bias F _) (fun=> 1).
Proof.
split=> //.
- move=> [[|[|[|//]]] lt]; [exists (@o4 0 isT) | exists (@o4 1 isT) | exists (@o4 3 isT)]; exact: val_inj.
- by apply: forall4.
move=> [[|[|[|//]]] lt] v _; rewrite big_mkcond sum4 /on_edges /base_weight /unit_weight; move: v;
  apply: forall4; rewrite ?eqE /= ?eqE /=; solve_field.
Qed.

(* [base-network] the paper's delta(v) = delta~ is false: at the clones delta = 1 and delta~ = 2 *)
Theorem paper_adjoint_refuted : let g v : F := if val v == 3%N then 1 else 0 in
  quotient (small_net (fun=> 1)) base_net blk3 unit_weight (@no_bias F _) unit_data base_weight (@no_bias F _) (fun=> 1)
  /\ adjoint (small_net (fun=> 1)) unit_weight (@no_bias F _) unit_data g (@o4 1 isT) = 1
  /\ adjoint base_net base_weight (@no_bias F _) (fun=> 1) (base_g blk3 g) (blk3 (@o4 1 isT)) = 2%:R.
Proof.
move=> g; have adj : adjoint (small_net (fun=> 1)) unit_weight (@no_bias F _) unit_data g (@o4 1 isT) = 1.
  by rewrite small_adjoints /small_adj /g /=; ring.
split; first exact: small_quotient; split=> //.
have [_ out] := small_equitable (fun=> 1).
rewrite -(base_backward small_quotient); first by rewrite adj mulr1 /card_of; congr (_%:R); rewrite -sum1_card big_mkcond !big_ord_recl big_ord0.
  by move=> u v; move: u v; apply: forall4; apply: forall4; rewrite ?eqE.
apply: (out_by_table (c := fun I J => match val I, val J with 0, 1 => 2%:R | 1, 2 => 1 | _, _ => 0 end)).
move=> [[|[|[|//]]] lt]; apply: forall4; rewrite sum4 /on_edges /hidden /= ?eqE /= /unit_weight; solve_field.
Qed.
End Hypotheses.
