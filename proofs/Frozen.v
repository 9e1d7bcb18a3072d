(* Frozen units (Theorem 2.1.1) over any commutative ring or ordered field. No axioms.

   frozen w b x v      f'_v (z v) = 0 on the data x
   sgd_path            weights and biases along SGD with any batches and step sizes
   interval bound      upper w hi lo u v: the largest value of w_uv h u over lo u <= h u <= hi u
   certificate         every upstream value keeps z v at or below a threshold beyond which f' is 0      *)
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
Variables (v : V) (lo hi : V -> F) (threshold : F).
Hypothesis v_hidden : hidden A v.
Hypothesis flat : forall z, z <= threshold -> act' A v z = 0.
(* the activations upstream are bounded, whatever their preactivation *)
Hypothesis bounded : forall u, edge A u v -> hidden A u -> forall z, lo u <= act A u z <= hi u.

Definition upper (w : V -> V -> F) u := if edge A u v then Num.max (w u v * lo u) (w u v * hi u) else 0.
Definition certificate (w : V -> V -> F) (b : V -> F) : bool := b v + \sum_u upper w u <= threshold.
Definition data_bounded (x : V -> F) := forall u, edge A u v -> input A u -> lo u <= x u <= hi u.

Lemma scale_le (c l h y : F) : l <= y <= h -> c * y <= Num.max (c * l) (c * h).
Proof.
move=> /andP[ly yh]; rewrite le_maxr; have [c0 | c0] := leP 0 c.
  by rewrite (ler_wpmul2l c0 yh) orbT.
by rewrite (ler_wnmul2l (ltW c0) ly).
Qed.

(* [frozen-unit] the interval certificate is sound for every upstream parameter value *)
Theorem certificate_sound w b x : certificate w b -> data_bounded x -> frozen A w b x v.
Proof.
move=> cert data; rewrite /frozen /slope (negbTE v_hidden); apply: flat; apply: le_trans cert.
rewrite ler_add2l; apply: ler_sum => u _; rewrite /on_edges /upper; case: ifP => e; last by rewrite mul0r.
apply: scale_le; rewrite forwardE /forward_step; case: ifP => inu; first exact: data.
by apply: bounded => //; rewrite /hidden inu.
Qed.

Lemma certificate_same w w' b b' : b' v = b v -> (forall u, w' u v = w u v) ->
  certificate w b -> certificate w' b'.
Proof.
move=> bb ww; have eqU : \sum_u upper w' u = \sum_u upper w u.
  by apply: eq_bigr => u _; rewrite /upper ww.
by rewrite /certificate bb eqU.
Qed.

(* [frozen-unit] a certified unit stays frozen for ever, and its incoming weights never move,
   whatever happens to every other parameter *)
Theorem frozen_for_ever eta batch w0 b0 : certificate w0 b0 ->
  (forall t, all_prop (fun p => data_bounded p.1) (batch t)) ->
  forall t, certificate (weight (sgd_path A eta batch w0 b0 t)) (bias (sgd_path A eta batch w0 b0 t))
    /\ bias (sgd_path A eta batch w0 b0 t) v = b0 v
    /\ forall u, weight (sgd_path A eta batch w0 b0 t) u v = w0 u v.
Proof.
move=> cert data; set path := sgd_path A eta batch w0 b0.
suff stays t : bias (path t) v = b0 v /\ forall u, weight (path t) u v = w0 u v.
  by move=> t; have [bE wE] := stays t; split=> //; apply: certificate_same cert.
elim: t => [|t [bE wE]] //; have cert_t := certificate_same bE wE cert.
have fr : all_prop (fun p => frozen A (weight (path t)) (bias (path t)) p.1 v) (batch t).
  by elim: (batch t) (data t) => //= p r IH [dp /IH ?]; split=> //; apply: certificate_sound.
have [stepb stepw] := frozen_step fr.
by rewrite stepb; split=> // u; rewrite stepw.
Qed.
End Certificate.
