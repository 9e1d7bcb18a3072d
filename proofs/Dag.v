(* Feed-forward networks on an arbitrary finite DAG (Appendix A.3). No axioms.

   arch R V       architecture on the node set V: edges, a topological numbering `rank`, the
                  input nodes, and per node the activation `act` with its derivative `act'`
   w u v, b v     weight of the edge u -> v, bias of v; `on_edges A w` is w with 0 off the edges
   forward        the values h: h v = x v at inputs, act_v (b v + sum_u w_uv h u) elsewhere
   slope          s v = act'_v (z v), 0 at inputs
   backward       the adjoints: d v = g v + sum_u w_vu s_u d_u, g v = dL/dh(v) directly
   grad, grad_bias   dL/dw_uv = d v * s v * h u on edges, dL/db_v = d v * s v
   tangent        the derivative of h along a parameter direction (dw, db); over the reals see Backprop.v
   sweeps         repeated synchronous evaluation; on a DAG it reaches the only solution       *)
From mathcomp Require Import all_ssreflect all_algebra ring.
Import GRing.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

(* ---- Equations along a DAG have exactly one solution ---- *)
Section Sweeps.
Variables (V : finType) (T : Type) (edge : rel V) (rank : V -> nat).
Hypothesis edge_rank : forall u v, edge u v -> rank u < rank v.
Variable F : (V -> T) -> V -> T.
Hypothesis local : forall h h' v, (forall u, edge u v -> h u = h' u) -> F h v = F h' v.

Definition solution (h : V -> T) := forall v, h v = F h v.
Definition height := (\max_v rank v).+1.
Definition sweeps (h0 : V -> T) := iter height F h0.

Lemma rank_height v : rank v < height.
Proof. by rewrite ltnS; apply: leq_bigmax. Qed.

Lemma iter_stable h0 n m v : rank v < n -> rank v < m -> iter n F h0 v = iter m F h0 v.
Proof.
elim: n m v => [|n IH] [|m] v //= vn vm; apply: local => u /edge_rank uv.
by apply: IH; apply: leq_trans uv _.
Qed.

Lemma sweeps_solution h0 : solution (sweeps h0).
Proof.
move=> v; rewrite -[F _ v]/(iter height.+1 F h0 v); apply: iter_stable; first exact: rank_height.
by apply: ltnW; apply: rank_height.
Qed.

Lemma solution_unique h h' : solution h -> solution h' -> h =1 h'.
Proof.
move=> sol sol' v; have [n] := ubnP (rank v); elim: n v => // n IH v vn.
rewrite sol sol'; apply: local => u /edge_rank uv; apply: IH.
exact: leq_trans uv vn.
Qed.
End Sweeps.

Local Open Scope ring_scope.

Record arch (R : comRingType) (V : finType) := Arch {
  edge : rel V;
  rank : V -> nat;
  edge_rank : forall u v, edge u v -> (rank u < rank v)%N;
  input : pred V;
  act : V -> R -> R;
  act' : V -> R -> R }.

Section Passes.
Variables (R : comRingType) (V : finType) (A : arch R V).
Implicit Types (w : V -> V -> R) (b x g h d s : V -> R).

Definition on_edges w u v := if edge A u v then w u v else 0.
Definition preact w b h v := b v + \sum_u on_edges w u v * h u.
Definition forward_step w b x h v := if input A v then x v else act A v (preact w b h v).
Definition forward w b x := sweeps (rank A) (forward_step w b x) (fun=> 0).
Definition slope w b h v := if input A v then 0 else act' A v (preact w b h v).
Definition backward_step w s g d v := g v + \sum_u on_edges w v u * (s u * d u).
Definition backward w s g := sweeps (fun v => height (rank A) - rank A v)%N (backward_step w s g) (fun=> 0).
Definition adjoint w b x g := backward w (slope w b (forward w b x)) g.
Definition grad_bias w b x g v := adjoint w b x g v * slope w b (forward w b x) v.
Definition grad w b x g u v := if edge A u v then grad_bias w b x g v * forward w b x u else 0.

Lemma forward_local w b x h h' v :
  (forall u, edge A u v -> h u = h' u) -> forward_step w b x h v = forward_step w b x h' v.
Proof.
move=> eq; rewrite /forward_step /preact; case: input => //; congr (act _ _ (_ + _)).
by apply: eq_bigr => u _; rewrite /on_edges; case: ifP => [/eq -> | _]; rewrite ?mul0r.
Qed.

Lemma backward_local w s g d d' v :
  (forall u, edge A v u -> d u = d' u) -> backward_step w s g d v = backward_step w s g d' v.
Proof.
move=> eq; congr (_ + _); apply: eq_bigr => u _; rewrite /on_edges.
by case: ifP => [/eq -> | _]; rewrite ?mul0r.
Qed.

Lemma reversed_rank u v : edge A v u -> (height (rank A) - rank A u < height (rank A) - rank A v)%N.
Proof. by move=> /edge_rank vu; apply: ltn_sub2l => //; apply: rank_height. Qed.

(* the forward equations determine the values *)
Lemma forwardE w b x v : forward w b x v = forward_step w b x (forward w b x) v.
Proof. exact: (sweeps_solution (@edge_rank _ _ A) (@forward_local w b x)). Qed.

Lemma forward_unique w b x h : (forall v, h v = forward_step w b x h v) -> h =1 forward w b x.
Proof.
move=> sol; apply: (solution_unique (@edge_rank _ _ A) (@forward_local w b x)) sol _.
exact: forwardE.
Qed.

(* the backward equations determine the adjoints *)
Lemma backwardE w s g v : backward w s g v = backward_step w s g (backward w s g) v.
Proof.
exact: (sweeps_solution (edge := fun u v => edge A v u) reversed_rank (@backward_local w s g)).
Qed.

Lemma backward_unique w s g d : (forall v, d v = backward_step w s g d v) -> d =1 backward w s g.
Proof.
move=> sol; apply: (solution_unique (edge := fun u v => edge A v u) reversed_rank
  (@backward_local w s g)) sol _.
exact: backwardE.
Qed.


Section Tangent.
Variables (w dw : V -> V -> R) (b db x : V -> R).
Let h := forward w b x.
Let s := slope w b h.

(* the derivative of preactivation v, given those dh of its sources *)
Definition dpreact (dh : V -> R) v :=
  db v + \sum_u (on_edges dw u v * h u + on_edges w u v * dh u).
Definition tangent_step dh v := s v * dpreact dh v.
Definition tangent := sweeps (rank A) tangent_step (fun=> 0).

Lemma tangent_local d d' v : (forall u, edge A u v -> d u = d' u) -> tangent_step d v = tangent_step d' v.
Proof.
move=> eq; congr (_ * (_ + _)); apply: eq_bigr => u _; congr (_ + _); rewrite /on_edges.
by case: ifP => [/eq -> | _]; rewrite ?mul0r.
Qed.

Lemma tangentE v : tangent v = tangent_step tangent v.
Proof. exact: (sweeps_solution (@edge_rank _ _ A) tangent_local). Qed.

(* [clone-gradient] reverse mode equals forward mode: g . dh = grad_bias . db + grad . dw *)
Theorem adjoint_tangent g :
  \sum_v g v * tangent v = \sum_v grad_bias w b x g v * db v + \sum_v \sum_u grad w b x g u v * dw u v.
Proof.
set d := adjoint w b x g.
have gE v : g v = d v - \sum_u on_edges w v u * (s u * d u).
  by rewrite /d /adjoint backwardE addrK.
have -> : \sum_v g v * tangent v
        = \sum_v (d v * tangent v - \sum_u on_edges w v u * (s u * d u) * tangent v).
  by apply: eq_bigr => v _; rewrite gE mulrBl mulr_suml.
rewrite sumrB (_ : \sum_v d v * tangent v = \sum_v d v * s v * db v
  + \sum_v \sum_u d v * s v * h u * on_edges dw u v + \sum_v \sum_u on_edges w u v * (s v * d v) * tangent u).
  rewrite [X in _ + X - _]exchange_big /= addrK; congr (_ + _).
  apply: eq_bigr => v _; apply: eq_bigr => u _; rewrite /grad /on_edges.
  by case: (edge A u v); rewrite ?mulr0 ?mul0r.
rewrite -!big_split /=; apply: eq_bigr => v _; rewrite {1}tangentE /tangent_step /dpreact.
rewrite mulrA mulrDr -addrA -big_split /= mulr_sumr; congr (_ + _); apply: eq_bigr => u _; ring.
Qed.
End Tangent.
End Passes.
