(* Concrete networks that refute statements of the paper, or show that a hypothesis is needed. No axioms.

   linear_net n e inp   nodes 0 .. n-1, edges e (increasing), inputs inp, identity activations
   support_net      1 input -> 3 clones -> 3 clones -> 1 output, the edge 3 -> 6 absent
   full_net         the same with that edge
   signed_net       8 nodes; +-1 edges {0,1} -> {2,3} and {4,5} -> {6,7}, which cancel
   small_net m      1 input -> 2 clones -> 1 output; node v computes m v times its preactivation
   squared h v      gradient of h_out^2 / 2: the value at the output node, 0 elsewhere            *)
From mathcomp Require Import all_ssreflect all_algebra ring.
From lop Require Import Dag Cloning Trajectory.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

Definition o8 k (lt : (k < 8)%N) : 'I_8 := Ordinal lt.
Definition o4 k (lt : (k < 4)%N) : 'I_4 := Ordinal lt.

Lemma forall8 (P : 'I_8 -> Prop) :
  P (@o8 0 isT) -> P (@o8 1 isT) -> P (@o8 2 isT) -> P (@o8 3 isT) ->
  P (@o8 4 isT) -> P (@o8 5 isT) -> P (@o8 6 isT) -> P (@o8 7 isT) -> forall v, P v.
Proof.
move=> p0 p1 p2 p3 p4 p5 p6 p7 [[|[|[|[|[|[|[|[|//]]]]]]]] lt]; by rewrite (bool_irrelevance lt isT).
Qed.

Lemma forall4 (P : 'I_4 -> Prop) :
  P (@o4 0 isT) -> P (@o4 1 isT) -> P (@o4 2 isT) -> P (@o4 3 isT) -> forall v, P v.
Proof. by move=> p0 p1 p2 p3 [[|[|[|[|//]]]] lt]; rewrite (bool_irrelevance lt isT). Qed.

Lemma sum8 (R : ringType) (f : 'I_8 -> R) : \sum_i f i =
  f (@o8 0 isT) + (f (@o8 1 isT) + (f (@o8 2 isT) + (f (@o8 3 isT) + (f (@o8 4 isT)
  + (f (@o8 5 isT) + (f (@o8 6 isT) + f (@o8 7 isT))))))).
Proof. by rewrite !big_ord_recl big_ord0 addr0; do !congr (_ + _); congr f; apply: val_inj. Qed.

Lemma sum4 (R : ringType) (f : 'I_4 -> R) :
  \sum_i f i = f (@o4 0 isT) + (f (@o4 1 isT) + (f (@o4 2 isT) + f (@o4 3 isT))).
Proof. by rewrite !big_ord_recl big_ord0 addr0; do !congr (_ + _); congr f; apply: val_inj. Qed.

Ltac solve_field := first [by [] | by ring | by field].

Section Nets.
Variable F : realFieldType.

Section Linear.
Variables (n : nat) (e : nat -> nat -> bool) (inp : pred nat) (m : nat -> F).
Hypothesis increasing : forall i j, e i j -> (i < j)%N.
Definition linear_net : arch F [finType of 'I_n] :=
  @Arch F [finType of 'I_n] (fun u v => e u v) val (fun u v => increasing (i := u) (j := v)) (fun v => inp v)
    (fun v z => m v * z) (fun v _ => m v).
End Linear.

Definition layer k : nat := match k with 0 => 0 | 1 | 2 | 3 => 1 | 4 | 5 | 6 => 2 | _ => 3 end.
Definition full_edge i j : bool := match i, j with
  | 0, 1 | 0, 2 | 0, 3 | 1, 4 | 1, 5 | 1, 6 | 2, 4 | 2, 5 | 2, 6 | 3, 4 | 3, 5 | 3, 6
  | 4, 7 | 5, 7 | 6, 7 => true | _, _ => false end.
Definition support_edge i j : bool := match i, j with 3, 6 => false | _, _ => full_edge i j end.

Lemma full_increasing i j : full_edge i j -> (i < j)%N.
Proof. by move: i j => [|[|[|[|[|[|[|?]]]]]]] [|[|[|[|[|[|[|[|?]]]]]]]]. Qed.
Lemma support_increasing i j : support_edge i j -> (i < j)%N.
Proof. by move: i j => [|[|[|[|[|[|[|?]]]]]]] [|[|[|[|[|[|[|[|?]]]]]]]]. Qed.

Definition support_net := linear_net 8 (pred1 0%N) (fun=> 1) support_increasing.
Definition full_net := linear_net 8 (pred1 0%N) (fun=> 1) full_increasing.
Definition blk8 (v : 'I_8) : 'I_4 := match val v with
  | 0 => @o4 0 isT | 1 | 2 | 3 => @o4 1 isT | 4 | 5 | 6 => @o4 2 isT | _ => @o4 3 isT end.

(* the 3 x 3 block [[1/4, 1/4, 1/2], [1/4, 1/4, 1/2], [1/2, 1/2, -]] *)
Definition support_weight (u v : 'I_8) : F := match val u, val v with
  | 1, 4 | 1, 5 | 2, 4 | 2, 5 => 4%:R^-1 | 1, 6 | 2, 6 | 3, 4 | 3, 5 => 2%:R^-1 | _, _ => 1 end.
Definition ones (v : 'I_8) : F := 1.
Definition squared (h : 'I_8 -> F) (v : 'I_8) : F := if val v == 7%N then h v else 0.
Definition no_bias (T : Type) (v : T) : F := 0.

Lemma support_values : forward support_net support_weight (@no_bias _) ones
  =1 fun v => if val v == 7%N then 3%:R else 1.
Proof.
move=> v; symmetry; move: v; apply: forward_unique; apply: forall8;
  rewrite /forward_step /preact ?sum8 /on_edges /= /support_weight /= /no_bias; solve_field.
Qed.

Lemma support_slope h v : slope support_net support_weight (@no_bias _) h v = (val v != 0%N)%:R.
Proof. by rewrite /slope /=; case: eqP. Qed.

Lemma support_adjoints : adjoint support_net support_weight (@no_bias _) ones
    (squared (forward support_net support_weight (@no_bias _) ones))
  =1 fun v => if val v == 0%N then 9%:R else 3%:R.
Proof.
move=> v; symmetry; move: v; apply: backward_unique; apply: forall8;
  rewrite /backward_step ?sum8 /squared ?support_values ?support_slope /on_edges /= /support_weight /=; solve_field.
Qed.

Definition support_sample : sample F [finType of 'I_8] := (ones, squared).
Definition support_start := State support_weight (@no_bias _) [::] [::] : state F [finType of 'I_8].
Definition support_run eta := run support_net (sgd_update (fun=> eta)) (fun=> 1) (fun=> [:: support_sample])
  support_weight (@no_bias _).

(* a table of the block sums proves equitability *)
Lemma in_by_table (V B : finType) (A : arch F V) (blk : V -> B) M (c : B -> B -> F) :
  (forall I v, \sum_u (if blk u == I then M u v else 0) = c I (blk v)) -> in_equitable A blk M.
Proof. by move=> tab I v v' vv hid; rewrite !(big_mkcond (fun u => blk u == I)) /= !tab vv. Qed.

Lemma out_by_table (V B : finType) (A : arch F V) (blk : V -> B) M (c : B -> B -> F) :
  (forall J u, \sum_v (if (blk v == J) && hidden A v then M u v else 0) = c (blk u) J) ->
  out_equitable A blk M.
Proof.
by move=> tab J u u' uu; rewrite !(big_mkcond (fun v => (blk v == J) && hidden A v)) /= !tab uu.
Qed.

Definition table (a b c : F) (I J : 'I_4) : F := match val I, val J with 0, 1 => a | 1, 2 => b | 2, 3 => c | _, _ => 0 end.

Ltac by_table := apply: forall4; apply: forall8;
  rewrite sum8 /on_edges /table /hidden /= ?eqE /= ?/support_weight /=; solve_field.

Lemma support_in : in_equitable support_net blk8 (on_edges support_net support_weight).
Proof. apply: (in_by_table (c := table 1 1 3%:R)); by_table. Qed.

Lemma support_out : out_equitable support_net blk8 (on_edges support_net support_weight).
Proof. apply: (out_by_table (c := table 3%:R 1 1)); by_table. Qed.

Lemma blk8_shared (e : nat -> nat -> bool) (inc : forall i j, e i j -> (i < j)%N) :
  shared (linear_net 8 (pred1 0%N) (fun=> 1) inc) blk8 (@no_bias _).
Proof. by split=> // u v; move: u v; apply: forall8; apply: forall8; rewrite ?eqE. Qed.

Lemma support_step eta u v : on_edges support_net (weight (support_run eta 1)) u v
  = if support_edge u v then support_weight u v - eta * (3%:R * (if val u == 7%N then 3%:R else 1)) else 0.
Proof.
rewrite /on_edges -[edge support_net u v]/(support_edge u v); case: ifP => // e.
have v0 : val v != 0%N by rewrite -lt0n (leq_ltn_trans (leq0n _) (support_increasing e)).
rewrite /= e /sgd_update /batch_grad /= big_cons big_nil addr0 /grad /= e /grad_bias mul1r mulNr.
by rewrite support_adjoints support_slope (negbTE v0) mulr1 support_values.
Qed.

(* [clone-support] Theorem A.1.3 as stated is false: all its hypotheses hold, and one SGD step leaves RE *)
Theorem support_counterexample eta : eta != 0 ->
  [/\ cloned support_net blk8 support_start, valid support_net blk8 support_sample
    & ~ in_equitable support_net blk8 (on_edges support_net (weight (support_run eta 1)))].
Proof.
move=> eta0; split.
- by split; [exact: blk8_shared | exact: support_in | exact: support_out].
- split=> [u v _ _ // | h _ u v]; rewrite /= /squared.
  by move: u v; apply: forall8; apply: forall8; rewrite ?eqE.
move=> /(_ (@o4 1 isT) (@o8 4 isT) (@o8 6 isT) erefl isT).
rewrite !(big_mkcond (fun u => blk8 u == _)) !sum8 !support_step /= ?eqE /= /support_weight /= => bad.
match goal with bad : ?l = ?r |- _ => have etaE : eta = (r - l) / 3%:R by field end.
by move: eta0; rewrite etaE bad subrr mul0r eqxx.
Qed.
End Nets.
