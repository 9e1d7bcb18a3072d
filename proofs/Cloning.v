(* Cloning: Theorem 2.1.2 = A.1 (items 1 and 2), Remark A.2, over any commutative ring or field.
   No axioms. Neither contiguous blocks, nor an acyclic quotient, nor an edge-free block is assumed.

   blk v              the block of node v; `block_equal f`: f is equal within blocks
   hidden v           v is not an input
   in_equitable M     for every block I, the sums over u in I of M u v agree for all hidden v of a block
                      (the paper's row- or column-equitability, according to orientation)
   out_equitable M    for every block J, the sums over hidden v in J of M u v agree for all u of a block
   block_constant M   M vanishes off the edges and is equal on the edges between two given blocks (BC)
   shared             blocks are all-input or all-hidden; activation and bias are shared in a block
   base network       an arch on the blocks with weights w0 I J = common incoming sum; its edges need only
                      be the non-zero sums: `sum_arch`, acyclic whatever the edges between blocks      *)
From mathcomp Require Import all_ssreflect all_algebra ring.
From lop Require Import Dag.
Import GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

Section Blocks.
Variables (R : comRingType) (V : finType) (B : finType) (blk : V -> B).

Definition block_equal (T : Type) (f : V -> T) := forall u v, blk u = blk v -> f u = f v.

(* a weighted sum of block-equal values depends on the block sums of the weights only *)
Lemma block_sum (P : pred V) (m m' h : V -> R) : block_equal h ->
  (forall I, \sum_(u | (blk u == I) && P u) m u = \sum_(u | (blk u == I) && P u) m' u) ->
  \sum_(u | P u) m u * h u = \sum_(u | P u) m' u * h u.
Proof.
move=> eq_h sums; rewrite (partition_big blk xpredT) //= [RHS](partition_big blk xpredT) //=.
apply: eq_bigr => I _.
have [u0 u0I | none] := pickP (fun u => blk u == I); last first.
  by rewrite !big_pred0 // => u; rewrite none andbF.
have at_u0 k : \sum_(u | P u && (blk u == I)) k u * h u = (\sum_(u | (blk u == I) && P u) k u) * h u0.
  rewrite mulr_suml; apply: eq_big => [u | u /andP[_ uI]]; first exact: andbC.
  by rewrite (eq_h u u0) // (eqP uI) (eqP u0I).
by rewrite !at_u0 sums.
Qed.
End Blocks.

Section Cloning.
Variables (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B).
Implicit Types (w M : V -> V -> R) (b x g : V -> R).

Definition hidden v := ~~ input A v.
Definition in_equitable M := forall I v v', blk v = blk v' -> hidden v ->
  \sum_(u | blk u == I) M u v = \sum_(u | blk u == I) M u v'.
Definition out_equitable M := forall J u u', blk u = blk u' ->
  \sum_(v | (blk v == J) && hidden v) M u v = \sum_(v | (blk v == J) && hidden v) M u' v.
Definition block_constant M := (forall u v, ~~ edge A u v -> M u v = 0) /\
  (forall u v u' v', edge A u v -> edge A u' v' -> blk u = blk u' -> blk v = blk v' -> M u v = M u' v').

Definition shared b := [/\ block_equal blk (input A),
  forall u v, blk u = blk v -> hidden u -> act A u =1 act A v,
  forall u v, blk u = blk v -> hidden u -> act' A u =1 act' A v &
  forall u v, blk u = blk v -> hidden u -> b u = b v].
Definition inputs_equal x := forall u v, blk u = blk v -> input A u -> x u = x v.

Variables (w : V -> V -> R) (b x : V -> R).
Hypothesis sh : shared b.
Hypothesis xeq : inputs_equal x.
Hypothesis in_eq : in_equitable (on_edges A w).

Lemma preact_block h u v : block_equal blk h -> blk u = blk v -> hidden u ->
  preact A w b h u = preact A w b h v.
Proof.
move=> eq_h uv hid; have [_ _ _ beq] := sh; congr (_ + _); first exact: beq.
apply: (block_sum (blk := blk) (P := xpredT)) => // I.
under eq_bigl do rewrite andbT; under [RHS]eq_bigl do rewrite andbT; exact: in_eq.
Qed.

Lemma forward_step_block h : block_equal blk h -> block_equal blk (forward_step A w b x h).
Proof.
move=> eq_h u v uv; have [inp actE _ _] := sh; rewrite /forward_step (inp _ _ uv).
case: ifP => inv; first by apply: xeq => //; rewrite (inp _ _ uv).
have hid : hidden u by rewrite /hidden (inp _ _ uv) inv.
by rewrite (preact_block eq_h uv hid) (actE _ _ uv hid).
Qed.

(* [clone-forward] Theorem A.1.1 *)
Theorem clone_forward : block_equal blk (forward A w b x).
Proof. by rewrite /forward /sweeps; elim: height => //= n IH; apply: forward_step_block. Qed.

Lemma slope_block : block_equal blk (slope A w b (forward A w b x)).
Proof.
move=> u v uv; have [inp _ actE _] := sh; rewrite /slope (inp _ _ uv); case: ifP => // inv.
have hid : hidden u by rewrite /hidden (inp _ _ uv) inv.
by rewrite (preact_block clone_forward uv hid) (actE _ _ uv hid).
Qed.

Hypothesis out_eq : out_equitable (on_edges A w).

Lemma backward_step_block s g d : block_equal blk s -> (forall v, input A v -> s v = 0) ->
  block_equal blk g -> block_equal blk d -> block_equal blk (backward_step A w s g d).
Proof.
move=> eq_s s0 eq_g eq_d u v uv; congr (_ + _); first exact: eq_g.
have to_hidden k : \sum_u on_edges A w k u * (s u * d u) = \sum_(u | hidden u) on_edges A w k u * (s u * d u).
  rewrite (bigID hidden) /= [X in _ + X]big1 ?addr0 // => t; rewrite /hidden negbK => /s0 ->.
  by rewrite mul0r mulr0.
rewrite !to_hidden; apply: (block_sum (blk := blk)) => [t t' tt' | I]; last exact: out_eq.
by rewrite (eq_s _ _ tt') (eq_d _ _ tt').
Qed.

(* [clone-backward] Theorem A.1.2, adjoints *)
Theorem clone_backward g : block_equal blk g -> block_equal blk (adjoint A w b x g).
Proof.
move=> eq_g; rewrite /adjoint /backward /sweeps; elim: (height _) => //= n IH.
by apply: backward_step_block => // [|v inv]; [exact: slope_block | rewrite /slope inv].
Qed.

(* [clone-gradient] Theorem A.1.2, gradients: constant on the edges between two blocks *)
Theorem clone_gradient g : block_equal blk g ->
  block_constant (grad A w b x g) /\ block_equal blk (grad_bias A w b x g).
Proof.
move=> eq_g.
have bias : block_equal blk (grad_bias A w b x g).
  by move=> u v uv; rewrite /grad_bias (clone_backward eq_g uv) (slope_block uv).
split=> //; split=> [u v /negbTE e | u v u' v' e e' uu vv]; rewrite /grad ?e // e'.
by rewrite (bias _ _ vv) (clone_forward uu).
Qed.
End Cloning.

(* ---- The base network on the blocks (Remark A.2) ---- *)
Section Base.
Variables (F : numFieldType) (V B : finType) (A : arch F V) (A0 : arch F B) (blk : V -> B).
Variables (w : V -> V -> F) (b x : V -> F) (w0 : B -> B -> F) (b0 x0 : B -> F).

(* A0 with w0, b0, x0 is the base network of A with w, b, x *)
Record quotient : Prop := Quotient {
  q_onto : forall I, exists v, blk v = I;
  q_input : forall v, input A v = input A0 (blk v);
  q_act : forall v, hidden A v -> act A v =1 act A0 (blk v);
  q_act' : forall v, hidden A v -> act' A v =1 act' A0 (blk v);
  q_bias : forall v, hidden A v -> b v = b0 (blk v);
  q_data : forall v, input A v -> x v = x0 (blk v);
  q_weight : forall I v, hidden A v -> \sum_(u | blk u == I) on_edges A w u v = on_edges A0 w0 I (blk v) }.
Hypothesis quo : quotient.

Lemma block_sum_base (m h0 : B -> F) (k : V -> F) : (forall I, \sum_(u | blk u == I) k u = m I) ->
  \sum_u k u * h0 (blk u) = \sum_I m I * h0 I.
Proof.
move=> sums; rewrite (partition_big blk xpredT) //=; apply: eq_bigr => I _.
by rewrite -sums mulr_suml; apply: eq_bigr => u /eqP ->.
Qed.

Lemma preact_base h0 v : hidden A v -> preact A w b (h0 \o blk) v = preact A0 w0 b0 h0 (blk v).
Proof.
by move=> hid; rewrite /preact (q_bias quo hid); congr (_ + _); apply: block_sum_base => I; apply: q_weight.
Qed.

(* [base-network] values: h v = h~ (blk v) *)
Theorem base_forward v : forward A w b x v = forward A0 w0 b0 x0 (blk v).
Proof.
symmetry; apply: (forward_unique (h := forward A0 w0 b0 x0 \o blk)) => {}v.
rewrite [LHS]/comp forwardE /forward_step -(q_input quo); case: ifP => inv; first by rewrite (q_data quo inv).
have hid : hidden A v by rewrite /hidden inv.
by rewrite (q_act quo hid) preact_base.
Qed.

Lemma slope_base v : slope A w b (forward A w b x) v = slope A0 w0 b0 (forward A0 w0 b0 x0) (blk v).
Proof.
rewrite /slope -(q_input quo); case: ifP => // inv; have hid : hidden A v by rewrite /hidden inv.
rewrite -(q_act' quo hid) -preact_base //; congr (act' A v (_ + _)).
by apply: eq_bigr => u _; rewrite base_forward.
Qed.

Variable g : V -> F.
Hypothesis g_eq : block_equal blk g.
Hypothesis out_eq : out_equitable A blk (on_edges A w).

Definition card_of I : F := #|[pred v | blk v == I]|%:R.
(* the base's output adjoint collects those of the block *)
Definition base_g I := \sum_(v | blk v == I) g v.

Lemma size_neq0 v : card_of (blk v) != 0.
Proof. by rewrite pnatr_eq0 -lt0n; apply/card_gt0P; exists v; rewrite inE. Qed.

Lemma sum_block_const (f : V -> F) v : block_equal blk f -> \sum_(u | blk u == blk v) f u = card_of (blk v) * f v.
Proof.
move=> eq_f; rewrite (eq_bigr (fun=> f v)) => [|u /eqP]; last exact: eq_f.
by rewrite sumr_const mulr_natl.
Qed.

(* |S_I| times the outgoing sum is |S_J| times the incoming sum *)
Lemma double_count u v : hidden A v ->
  card_of (blk u) * (\sum_(t | (blk t == blk v) && hidden A t) on_edges A w u t)
  = card_of (blk v) * on_edges A0 w0 (blk u) (blk v).
Proof.
move=> hid; rewrite -(sum_block_const (f := fun s => \sum_(t | _) on_edges A w s t)); last first.
  by move=> s s' ss; apply: out_eq.
rewrite exchange_big /= (eq_bigr (fun=> on_edges A0 w0 (blk u) (blk v))) => [|t /andP[/eqP tv ht]]; last by rewrite (q_weight quo _ ht) tv.
rewrite sumr_const mulr_natl; congr (_ *+ _); apply: eq_card => t; rewrite !inE.
rewrite unfold_in /=; case: eqP => //= e.
by move: hid; rewrite /hidden !(q_input quo) e => ->.
Qed.

Let s0 := slope A0 w0 b0 (forward A0 w0 b0 x0).
Let d0 := backward A0 w0 s0 base_g.

Lemma outgoing_base v J :
  \sum_(t | blk t == J) on_edges A w v t * (s0 J * (d0 J / card_of J))
  = on_edges A0 w0 (blk v) J * (s0 J * d0 J) / card_of (blk v).
Proof.
rewrite -mulr_suml; have [u uJ] := q_onto quo J.
have nv := size_neq0 v; have nu := size_neq0 u; rewrite uJ in nu.
have [hid|] := boolP (hidden A u); last first.
  by rewrite /hidden negbK (q_input quo) uJ /s0 /slope => ->; rewrite !(mul0r, mulr0).
have same t : (blk t == J) = (blk t == J) && hidden A t.
  by case: eqP => // tJ; rewrite /hidden (q_input quo) tJ -uJ -(q_input quo).
rewrite (eq_bigl _ _ same); have := double_count v hid; rewrite uJ => count.
by apply: (mulfI nv); rewrite [LHS]mulrA count; field; rewrite nu nv.
Qed.

(* [base-network] adjoints: |S_I| d v = d~ (blk v), not d v = d~ (blk v) as the paper says *)
Theorem base_backward v :
  card_of (blk v) * adjoint A w b x g v = adjoint A0 w0 b0 x0 base_g (blk v).
Proof.
suff -> : adjoint A w b x g v = d0 (blk v) / card_of (blk v) by rewrite mulrCA divff ?size_neq0 ?mulr1.
symmetry; apply: (backward_unique (d := fun v => d0 (blk v) / card_of (blk v))) => {}v.
rewrite /d0 backwardE /backward_step -/d0 mulrDl /base_g sum_block_const //.
rewrite mulrAC divff ?size_neq0 // mul1r; congr (_ + _).
rewrite mulr_suml (partition_big blk xpredT) //=; apply: eq_bigr => J _.
rewrite -outgoing_base; apply: eq_bigr => t /eqP tJ; by rewrite slope_base tJ.
Qed.

Lemma grad_bias_base v :
  card_of (blk v) * grad_bias A w b x g v = grad_bias A0 w0 b0 x0 base_g (blk v).
Proof. by rewrite /grad_bias mulrA base_backward slope_base. Qed.

(* [clone-rates] |S_J| dL/dw_uv = dL~/dw~_IJ *)
Theorem base_gradient u v : edge A u v -> edge A0 (blk u) (blk v) ->
  card_of (blk v) * grad A w b x g u v = grad A0 w0 b0 x0 base_g (blk u) (blk v).
Proof.
move=> e e0; rewrite /grad e e0 mulrA grad_bias_base; congr (_ * _); exact: base_forward.
Qed.

(* [clone-rates] one SGD step on the clone changes the base weight at the rate eta * d_in / |S_J|,
   where d_in is the number of edges from S_I into v (|S_I| for complete blocks) *)
Theorem clone_rates eta I v : hidden A v -> edge A0 I (blk v) ->
  \sum_(u | blk u == I) on_edges A (fun u v => w u v - eta * grad A w b x g u v) u v
  = w0 I (blk v) - eta * #|[pred u | (blk u == I) && edge A u v]|%:R / card_of (blk v)
                   * grad A0 w0 b0 x0 base_g I (blk v).
Proof.
move=> hid e0; have nv := size_neq0 v; set G := grad A0 _ _ _ _ _ _.
have step u : blk u == I -> on_edges A (fun u v => w u v - eta * grad A w b x g u v) u v
    = on_edges A w u v - (if edge A u v then eta * G / card_of (blk v) else 0).
  move=> /eqP uI; rewrite /on_edges; case: ifP => e; last by rewrite subr0.
  by congr (_ - _); rewrite /G -uI -base_gradient ?uI //; field.
rewrite (eq_bigr _ step) sumrB (q_weight quo _ hid) {1}/on_edges e0; congr (_ - _).
rewrite -big_mkcondr sumr_const -[LHS]mulr_natr.
rewrite [X in _ * X = _](_ : _ = #|[pred u | (blk u == I) && edge A u v]|%:R); first by move: (_%:R : F) => k; field.
by congr (_%:R); apply: eq_card.
Qed.

(* [clone-rates] biases: rate eta / |S_J| *)
Theorem clone_bias_rate eta v : hidden A v ->
  b v - eta * grad_bias A w b x g v
  = b0 (blk v) - eta / card_of (blk v) * grad_bias A0 w0 b0 x0 base_g (blk v).
Proof.
by move=> hid; rewrite (q_bias quo hid) -grad_bias_base; have := size_neq0 v => nv; congr (_ - _); field.
Qed.
End Base.

(* ---- Every in-equitable network has a base network: the quotient by non-zero block sums is acyclic ---- *)
Section SumQuotient.
Variables (F : numFieldType) (V B : finType) (A : arch F V) (blk : V -> B) (w : V -> V -> F) (b x : V -> F).
Hypothesis onto : forall I, [exists v, blk v == I].
Hypothesis sh : shared A blk b.
Hypothesis ein : in_equitable A blk (on_edges A w).

Definition member I := xchoose (existsP (onto I)).
(* the first node of a block in the topological numbering *)
Definition first I := [arg min_(v < member I | blk v == I) rank A v]%N.
Definition sum_weight I J := \sum_(u | blk u == I) on_edges A w u (first J).
Definition sum_edge : rel B := fun I J => ~~ input A (first J) && (sum_weight I J != 0).

Lemma memberP I : blk (member I) = I.
Proof. by apply/eqP; apply: xchooseP (existsP (onto I)). Qed.

Lemma firstP I : blk (first I) = I /\ forall v, blk v = I -> (rank A (first I) <= rank A v)%N.
Proof.
rewrite /first; case: arg_minnP => [|i /eqP bi le]; first by rewrite memberP.
by split=> // v /eqP bv; apply: le.
Qed.

(* [base-network] the edges with a non-zero block sum go up in the order of the blocks' first nodes *)
Theorem sum_quotient_acyclic I J : sum_edge I J -> (rank A (first I) < rank A (first J))%N.
Proof.
move=> /andP[hid nz]; have [t /andP[/eqP tI et]] : exists t, (blk t == I) && edge A t (first J).
  apply/existsP; apply: contraNT nz; rewrite negb_exists => /forallP none.
  rewrite /sum_weight big1 // => t tI; rewrite /on_edges; case: ifP => // et.
  by have := none t; rewrite tI et.
by apply: leq_ltn_trans (edge_rank et); apply: (firstP I).2.
Qed.

Definition sum_arch : arch F B := @Arch F B sum_edge (fun I => rank A (first I)) sum_quotient_acyclic
  (fun I => input A (first I)) (fun I => act A (first I)) (fun I => act' A (first I)).

(* [base-network] on RE, with shared activations and biases and all-input or all-hidden blocks, a base network exists *)
Theorem base_network_exists : inputs_equal A blk x ->
  quotient A sum_arch blk w b x sum_weight (b \o first) (x \o first).
Proof.
move=> xeq; have [inp actE act'E bE] := sh; have rep v : blk v = blk (first (blk v)) by rewrite (firstP _).1.
split=> [I | v | v hid | v hid | v hid | v inv | I v hid] /=.
- by exists (first I); rewrite (firstP I).1.
- exact: inp.
- exact: actE.
- exact: act'E.
- exact: bE.
- exact: xeq.
have hid' : ~~ input A v := hid; rewrite (ein I (rep v) hid) [RHS]/on_edges /= /sum_edge -(inp _ _ (rep v)) hid' /=.
by rewrite -/(sum_weight I (blk v)); case: eqP => [->|].
Qed.

(* [base-network] so its values are those of the network *)
Theorem base_values v : inputs_equal A blk x ->
  forward A w b x v = forward sum_arch sum_weight (b \o first) (x \o first) (blk v).
Proof. by move=> xeq; apply: base_forward (base_network_exists xeq) v. Qed.
End SumQuotient.
