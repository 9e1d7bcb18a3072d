(* The paper's main statements, in the words of the paper, each checked against the theorem that proves it.

   Standardised activation with Hermite coefficients a:  standardised a   (Gap.v)
   lambda = decorr a;  K = kernel a;  er2 = Renyi-2 rank  (Gap.v, Rank.v)
   network on a DAG, weights w, biases b, data x          (Dag.v)
   blocks blk; RE, CE = in_equitable, out_equitable; BC = block_constant   (Cloning.v)            *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import Rstruct.
From Coq Require Import Reals.
From lop Require Import Gap Rank Dag Cloning Trajectory Frozen.
Set Implicit Arguments.
Unset Strict Implicit.

(* [gap] Lemma A.1 (universal quartic gap bound): rho^2 - K(rho)^2 >= lambda rho^2 (1 - rho^2) on [-1, 1] *)
Theorem lemma_A_1 : forall a, standardised a -> forall rho, (Rabs rho <= 1 ->
  rho ^ 2 - kernel a rho ^ 2 >= decorr a * rho ^ 2 * (1 - rho ^ 2))%R.
Proof. exact gap_bound. Qed.

Local Open Scope ring_scope.

(* [rank-gain] Theorem 3.1 (rank gain): er2(K(C)) / er2(C) >= 1 + lambda P(C) *)
Theorem theorem_3_1 : forall a n (C : 'M[R]_n.+1), standardised a -> unit_corr C ->
  1 + decorr a * potential C <= er2 (map_mx (kernel a) C) / er2 C.
Proof. exact: rank_gain_real. Qed.

(* [clone-forward] Theorem A.1.1: on RE, units of a block have equal forward activations *)
Theorem theorem_A_1_1 : forall (F : comRingType) (V B : finType) (A : arch F V) (blk : V -> B) w b x,
  shared A blk b -> inputs_equal A blk x -> in_equitable A blk (on_edges A w) ->
  forall u v, blk u = blk v -> forward A w b x u = forward A w b x v.
Proof. by move=> F V B A blk w b x sh xeq ein u v; apply: clone_forward. Qed.

(* [clone-gradient] Theorem A.1.2: on RE and CE, the gradients are constant on the edges between two blocks *)
Theorem theorem_A_1_2 : forall (F : comRingType) (V B : finType) (A : arch F V) (blk : V -> B) w b x g,
  shared A blk b -> inputs_equal A blk x -> in_equitable A blk (on_edges A w) ->
  out_equitable A blk (on_edges A w) -> block_equal blk g ->
  forall u v u' v', edge A u v -> edge A u' v' -> blk u = blk u' -> blk v = blk v' ->
  grad A w b x g u v = grad A w b x g u' v'.
Proof.
move=> F V B A blk w b x g sh xeq ein eout geq.
by have [[_ eq] _] := clone_gradient sh xeq ein eout geq.
Qed.

(* [frozen-unit] Theorem 2.1.1: a unit with zero derivative on the data has no gradient on its incoming weights *)
Theorem theorem_2_1_1 : forall (F : comRingType) (V : finType) (A : arch F V) w b x g u v,
  frozen A w b x v -> grad A w b x g u v = 0.
Proof. by move=> F V A w b x g u v fr; apply: (frozen_gradient g fr).2. Qed.
