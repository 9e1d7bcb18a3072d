(* Frozen units (Theorem 2.1.1) over any commutative ring or ordered field. No axioms.

   frozen w b x v      f'_v (z v) = 0 on the data x
   sgd_path            weights and biases along SGD with any batches and step sizes
   interval            ends that may be infinite (None); within I y: y lies in I; inside I J: I lies in J
   reach r w b v       b_v + sum_u w_uv r_u by interval arithmetic, 0 * infinity = 0
   certificate S r flat w b   the units of S are certified: every value of the other parameters keeps z v, v in S, in
                       the flat region flat v of its activation; r u is the range of unit u                       *)
From mathcomp Require Import all_ssreflect all_algebra ring.
From lop Require Import Dag Cloning Trajectory.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

Section Frozen.
Variables (R : comRingType) (V : finType) (A : arch R V).
Implicit Types (w : V -> V -> R) (b x : V -> R).

Definition frozen w b x v := slope A w b (forward A w b x) v = 0.

(* [frozen-unit] Theorem 2.1.1: the gradients of all incoming weights and of the bias vanish *)
Theorem frozen_gradient w b x g v : frozen w b x v ->
  grad_bias A w b x g v = 0 /\ forall u, grad A w b x g u v = 0.
Proof.
move=> fr; have bias0 : grad_bias A w b x g v = 0 by rewrite /grad_bias fr mulr0.
by split=> // u; rewrite /grad bias0 mul0r; case: ifP.
Qed.

Lemma frozen_batch w b (r : seq (sample R V)) v : all_prop (fun p => frozen w b p.1 v) r ->
  batch_grad_bias A w b r v = 0 /\ forall u, batch_grad A w b r u v = 0.
Proof.
rewrite /batch_grad_bias /batch_grad; elim: r => [|p r IH] /= => [_ | [fp /IH[b_r w_r]]].
  by rewrite big_nil; split=> // u; rewrite big_nil.
have [b_p w_p] := frozen_gradient (p.2 (forward A w b p.1)) fp.
by rewrite big_cons b_p b_r addr0; split=> // u; rewrite big_cons w_p w_r addr0.
Qed.

Variables (eta : nat -> R) (batch : nat -> seq (sample R V)) (w0 : V -> V -> R) (b0 : V -> R).
Definition sgd_path := run A (sgd_update eta) (fun=> 1) batch w0 b0.

Lemma frozen_step t v :
  all_prop (fun p => frozen (weight (sgd_path t)) (bias (sgd_path t)) p.1 v) (batch t) ->
  bias (sgd_path t.+1) v = bias (sgd_path t) v
  /\ forall u, weight (sgd_path t.+1) u v = weight (sgd_path t) u v.
Proof.
move=> /frozen_batch[gb gw]; rewrite /sgd_path /= /sgd_update /= gb mul1r mulr0 addr0.
by split=> // u; rewrite gw mul1r mulr0 if_same addr0.
Qed.

(* [frozen-unit] the affine slice {incoming weights and bias of v fixed} is invariant while v is
   frozen on all data met *)
Theorem frozen_slice v :
  (forall t, all_prop (fun p => frozen (weight (sgd_path t)) (bias (sgd_path t)) p.1 v) (batch t)) ->
  forall t, bias (sgd_path t) v = b0 v /\ forall u, weight (sgd_path t) u v = w0 u v.
Proof.
move=> fr; elim=> [|t [IHb IHw]] //; have [stepb stepw] := frozen_step (fr t).
by rewrite stepb; split=> // u; rewrite stepw.
Qed.
End Frozen.

Section Certificate.
Variables (F : realFieldType) (V : finType) (A : arch F V).
Definition interval : Type := option F * option F.
Implicit Types (I J : interval) (r flat : V -> interval).

Definition within I (y : F) :=
  (if I.1 is Some l then l <= y else true) && (if I.2 is Some h then y <= h else true).
Definition inside I J :=
  (if J.1 is Some l then (if I.1 is Some l' then l <= l' else false) else true)
  && (if J.2 is Some h then (if I.2 is Some h' then h' <= h else false) else true).
Definition scaled (c : F) I : interval := if c == 0 then (Some 0, Some 0)
  else if 0 < c then (omap ( *%R c) I.1, omap ( *%R c) I.2) else (omap ( *%R c) I.2, omap ( *%R c) I.1).
Definition osum (a b : option F) := if a is Some a then (if b is Some b then Some (a + b) else None) else None.
Definition add I J : interval := (osum I.1 J.1, osum I.2 J.2).
(* b_v + sum_u w_uv r_u in interval arithmetic *)
Definition reach r (w : V -> V -> F) (b : V -> F) v : interval :=
  add (Some (b v), Some (b v)) (\big[add/(Some 0, Some 0)]_u scaled (on_edges A w u v) (r u)).

Lemma inside_within I J y : inside I J -> within I y -> within J y.
Proof.
case: I J => [[a|] [b|]] [[c|] [d|]] /andP[] //= h1 h2 /andP[/= h3 h4]; rewrite /within /=;
  by rewrite ?(le_trans h1 h3) ?(le_trans h4 h2).
Qed.

Lemma scaled_within c I y : within I y -> within (scaled c I) (c * y).
Proof.
rewrite /scaled; case: eqP => [->|/eqP c0]; first by rewrite mul0r /within /= lexx.
case: I => [lo hi] /andP[/= l h]; case: ifP => [cp|/negbT cn].
  by rewrite /within; case: lo l => [lo|] /= l; case: hi h => [hi|] /= h; rewrite ?ler_pmul2l ?l ?h.
have {}cn : c < 0 by rewrite lt_neqAle c0 leNgt.
by rewrite /within; case: lo l => [lo|] /= l; case: hi h => [hi|] /= h; rewrite ?ler_nmul2l ?l ?h.
Qed.

Lemma add_within I J x y : within I x -> within J y -> within (add I J) (x + y).
Proof.
case: I J => [[a|] [b|]] [[c|] [d|]] /andP[/= h1 h2] /andP[/= h3 h4]; rewrite /within /= ?ler_add //.
Qed.

Lemma reach_within r w b h v : (forall u, edge A u v -> within (r u) (h u)) -> within (reach r w b v) (preact A w b h v).
Proof.
move=> hr; apply: add_within; first by rewrite /within /= lexx.
apply: (big_rec2 (fun I y => within I y)) => [|u I y _ IH]; first by rewrite /within /= lexx.
apply: add_within => //; rewrite /on_edges; case: ifP => e; first by apply: scaled_within; apply: hr.
by rewrite /scaled eqxx mul0r /within /= lexx.
Qed.

(* the units in S are certified: r is the range of every unit, flat v a region where the derivative of v vanishes *)
Record certificate (S : pred V) r flat (w : V -> V -> F) (b : V -> F) : Prop := Certificate {
  c_hidden : forall v, S v -> hidden A v;
  c_flat : forall v z, S v -> within (flat v) z -> act' A v z = 0;
  c_reach : forall v, S v -> inside (reach r w b v) (flat v);
  c_free : forall u z, hidden A u -> ~~ S u -> within (r u) (act A u z);
  c_chain : forall u z, S u -> within (reach r w b u) z -> within (r u) (act A u z) }.
Definition data_in r (x : V -> F) := forall u, input A u -> within (r u) (x u).

Variables (S : pred V) (r flat : V -> interval).

Lemma values_within w b x : certificate S r flat w b -> data_in r x -> forall v, within (r v) (forward A w b x v).
Proof.
move=> c dx v; have [n] := ubnP (rank A v); elim: n v => // n IH v vn.
rewrite forwardE /forward_step; case: ifP => inv; first exact: dx.
have [Sv|nSv] := boolP (S v); last by apply: (c_free c) => //; rewrite /hidden inv.
apply: (c_chain c) => //; apply: reach_within => u e; apply: IH.
exact: leq_trans (edge_rank e) vn.
Qed.

(* [frozen-unit] the interval certificate is sound for every value of the parameters that it does not name: half-lines
   (relu >= 0), flat regions of one or two sides, and chains in which a certified unit narrows the range below it *)
Theorem certificate_sound w b x v : certificate S r flat w b -> data_in r x -> S v -> frozen A w b x v.
Proof.
move=> c dx Sv; rewrite /frozen /slope (negbTE (c_hidden c Sv)); apply: (c_flat c Sv).
apply: inside_within (c_reach c Sv) _; apply: reach_within => u _; exact: values_within.
Qed.

Lemma certificate_same w w' b b' : (forall v, S v -> b' v = b v /\ forall u, w' u v = w u v) ->
  certificate S r flat w b -> certificate S r flat w' b'.
Proof.
move=> same c; have reachE v : S v -> reach r w' b' v = reach r w b v.
  move=> Sv; have [bE wE] := same v Sv; rewrite /reach bE; congr (add _ _); apply: eq_bigr => u _.
  by rewrite /on_edges wE.
split=> [v | v z | v Sv | u z | u z Su]; [exact: (c_hidden c) | exact: (c_flat c) | | exact: (c_free c) |].
  by rewrite reachE //; apply: (c_reach c).
by rewrite reachE //; apply: (c_chain c).
Qed.

(* [frozen-unit] certified units stay frozen for ever and their incoming parameters never move, whatever happens to
   every other parameter *)
Theorem frozen_for_ever eta batch w0 b0 : certificate S r flat w0 b0 ->
  (forall t, all_prop (fun p => data_in r p.1) (batch t)) -> forall t v, S v ->
  bias (sgd_path A eta batch w0 b0 t) v = b0 v /\ (forall u, weight (sgd_path A eta batch w0 b0 t) u v = w0 u v)
  /\ all_prop (fun p => frozen A (weight (sgd_path A eta batch w0 b0 t)) (bias (sgd_path A eta batch w0 b0 t)) p.1 v)
       (batch t).
Proof.
move=> cert data t v Sv; set path := sgd_path A eta batch w0 b0.
have frozen_at k : (forall v, S v -> bias (path k) v = b0 v /\ forall u, weight (path k) u v = w0 u v) ->
    forall v, S v -> all_prop (fun p => frozen A (weight (path k)) (bias (path k)) p.1 v) (batch k).
  move=> same u Su; have ck := certificate_same same cert; elim: (batch k) (data k) => //= p s IH [dp /IH ?].
  by split=> //; apply: (certificate_sound ck).
suff stays k : forall v, S v -> bias (path k) v = b0 v /\ forall u, weight (path k) u v = w0 u v.
  by have [bE wE] := stays t v Sv; split=> //; split=> //; apply: frozen_at => //; apply: stays.
elim: k => [|k IH] // u Su; have [bE wE] := IH u Su; have [sb sw] := frozen_step (frozen_at k IH u Su).
by rewrite sb; split=> // i; rewrite sw.
Qed.

(* [frozen-unit] the half-line of relu, its flat region, and a chain: relu below a unit certified at 0 is at 0 *)
Theorem relu_half_line (z : F) : within (Some 0, None) (Num.max 0 z)
  /\ (within (None, Some 0) z -> within (Some 0, Some 0) (Num.max 0 z)).
Proof.
rewrite /within /= le_maxr lexx /= => [//]; split=> // z0.
by rewrite le_maxl lexx z0.
Qed.
End Certificate.
