(* Persistence in and near an invariant affine manifold, under a changing loss.

   dist2 t     squared distance to the manifold along the flow at time t
   gronwall    dist2' <= k dist2 implies dist2 t <= dist2 0 exp (k t)                       *)
From Coq Require Import Reals Lra.
From Coquelicot Require Import Coquelicot.
Local Open Scope R_scope.

Section Gronwall.
Variables (dist2 rate : R -> R) (k : R).
Hypothesis flow : forall t, 0 <= t -> is_derive dist2 t (rate t).
Hypothesis growth : forall t, 0 <= t -> rate t <= k * dist2 t.

Lemma scaled_derive t : 0 <= t ->
  is_derive (fun s => dist2 s * exp (- k * s)) t ((rate t - k * dist2 t) * exp (- k * t)).
Proof.
intros t0; assert (d := flow t t0).
auto_derive; [exists (rate t); exact d|].
replace (Derive (fun s => dist2 s) t) with (rate t) by (symmetry; exact (is_derive_unique _ _ _ d)); ring.
Qed.

(* [persistence] Groenwall: the squared distance grows at most like exp (k t) *)
Theorem gronwall t : 0 <= t -> dist2 t <= dist2 0 * exp (k * t).
Proof.
intros t0; pose (z s := dist2 s * exp (- k * s)).
assert (dec : z t <= z 0).
{ destruct (Req_dec t 0) as [->|tn]; [lra|].
  destruct (MVT_gen z 0 t (fun s => (rate s - k * dist2 s) * exp (- k * s))) as [c [[c0 _] eq]].
  - intros s [s0 _]; apply scaled_derive; rewrite Rmin_left in s0; lra.
  - intros s [s0 _]; rewrite Rmin_left in s0; [|lra].
    apply continuity_pt_filterlim, (ex_derive_continuous z s).
    eexists; exact (scaled_derive s s0).
  - rewrite Rmin_left in c0; [|lra].
    assert (slope := growth c c0); assert (pos := exp_pos (- k * c)).
    assert (0 <= (k * dist2 c - rate c) * exp (- k * c) * t) by (repeat apply Rmult_le_pos; lra).
    lra. }
unfold z in dec; rewrite Rmult_0_r, exp_0, Rmult_1_r in dec.
apply (Rmult_le_compat_r (exp (k * t))) in dec; [|apply Rlt_le, exp_pos].
rewrite Rmult_assoc, <- exp_plus in dec.
replace (- k * t + k * t) with 0 in dec by ring; rewrite exp_0 in dec; lra.
Qed.

(* [persistence] a squared distance that starts at 0 stays at 0; Flow.v derives the growth from tangency *)
Theorem flow_stays t : (forall s, 0 <= dist2 s) -> dist2 0 = 0 -> 0 <= t -> dist2 t = 0.
Proof. intros pos start t0; assert (le := gronwall t t0); assert (ge := pos t); rewrite start in le; lra. Qed.

(* [persistence] escape takes time: distance r is reached no sooner than log (r / dist 0) / mu, k = 2 mu *)
Theorem escape_time t r2 : 0 < k -> 0 < dist2 0 -> 0 < r2 -> 0 <= t -> r2 <= dist2 t ->
  ln (r2 / dist2 0) / k <= t.
Proof.
intros k0 d0 r0 t0 reach; assert (le := gronwall t t0).
apply Rle_div_l; [lra|]; rewrite <- (ln_exp (t * k)); apply ln_le.
- apply Rdiv_lt_0_compat; lra.
- apply Rle_div_l; [lra|]; rewrite (Rmult_comm t k); lra.
Qed.
End Gronwall.
