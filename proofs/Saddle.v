(* A saddle exhibited, and the lowest curvature of the escape plane.

   small_net        1 input -> 2 clones -> 1 output, all weights 1 (Hypotheses.v): a cloned point
   shift a c        the weights 1 + a, 1 - a into the clones and 1 + c, 1 - c out of them
   squared_error y  (h_out - y)^2 / 2
   q, m             curvature along the unit vector of H v, and |H v| / |v|                           *)
From Coq Require Import Reals Lra Psatz.
Local Open Scope R_scope.

Lemma square_form (p r m a c : R) : 0 <= p -> 0 <= r -> p * r = m ^ 2 -> 0 <= p * a ^ 2 + 2 * m * a * c + r * c ^ 2.
Proof.
intros p0 r0 e; destruct p0 as [p0 | <-].
- apply Rmult_le_reg_l with p; [exact p0|]; rewrite Rmult_0_r.
  replace (p * (p * a ^ 2 + 2 * m * a * c + r * c ^ 2)) with ((p * a) ^ 2 + 2 * (p * a) * (m * c) + (p * r) * c ^ 2) by ring.
  rewrite e; replace (_ + _ + _) with ((p * a + m * c) ^ 2) by ring; apply pow2_ge_0.
- assert (m0 : m = 0) by nra; subst m; assert (h := pow2_ge_0 c); nra.
Qed.

(* the direction (- m, p) / n *)
Lemma lowest_attained (p r m : R) : p * r = m ^ 2 -> m ^ 2 + p ^ 2 <> 0 ->
  exists a c, a ^ 2 + c ^ 2 = 1 /\ 2 * m * a * c + (r - p) * c ^ 2 = - p.
Proof.
intros prod nz; set (n := sqrt (m ^ 2 + p ^ 2)).
assert (n2 : n * n = m ^ 2 + p ^ 2) by (apply sqrt_sqrt; assert (h := pow2_ge_0 m); assert (k := pow2_ge_0 p); lra).
assert (n0 : n <> 0) by (intros e; rewrite e in n2; lra).
exists (- m / n), (p / n); split.
- replace (_ + _) with ((m ^ 2 + p ^ 2) / (n * n)) by (field; exact n0); rewrite n2; field; exact nz.
- replace (2 * m * (- m / n) * (p / n) + (r - p) * (p / n) ^ 2) with (p * (- 2 * m ^ 2 + (r - p) * p) / (n * n)) by (field; exact n0).
  rewrite n2; apply Rmult_eq_reg_r with (m ^ 2 + p ^ 2); [|exact nz].
  unfold Rdiv; rewrite Rmult_assoc, Rinv_l, Rmult_1_r by exact nz; rewrite <- prod; ring.
Qed.

(* [saddle] the lowest value of the form 2 m a c + q c^2 on the unit circle is q/2 - sqrt (q^2/4 + m^2) *)
Theorem lowest_curvature (q m : R) : let low := q / 2 - sqrt (q ^ 2 / 4 + m ^ 2) in
  (forall a c, a ^ 2 + c ^ 2 = 1 -> low <= 2 * m * a * c + q * c ^ 2)
  /\ exists a c, a ^ 2 + c ^ 2 = 1 /\ 2 * m * a * c + q * c ^ 2 = low.
Proof.
set (s := sqrt _); intros low; assert (k := pow2_ge_0 m).
assert (sq : s * s = q ^ 2 / 4 + m ^ 2) by (apply sqrt_sqrt; assert (h := pow2_ge_0 q); lra).
assert (s0 : 0 <= s) by apply sqrt_pos.
assert (up : q / 2 <= s) by (destruct (Rle_lt_dec (q / 2) s); [easy | exfalso; nra]).
assert (down : - (q / 2) <= s) by (destruct (Rle_lt_dec (- (q / 2)) s); [easy | exfalso; nra]).
assert (prod : (s - q / 2) * (q / 2 + s) = m ^ 2) by nra.
split.
- intros a c unit; assert (h := square_form (s - q / 2) (q / 2 + s) m a c ltac:(lra) ltac:(lra) prod).
  unfold low; replace (q / 2 - s) with ((q / 2 - s) * (a ^ 2 + c ^ 2)) by (rewrite unit; ring); lra.
- destruct (Req_dec (m ^ 2 + (s - q / 2) ^ 2) 0) as [z | nz].
  + assert (e : s = q / 2) by nra; exists 1, 0; unfold low; split; [ring | rewrite e; ring].
  + destruct (lowest_attained _ _ _ prod nz) as [a [c [unit e]]]; exists a, c; split; [exact unit|].
    unfold low; replace q with (q / 2 + s - (s - q / 2)) at 1 by field; rewrite e; ring.
Qed.

From mathcomp Require Import all_ssreflect all_algebra ring.
From mathcomp Require Import Rstruct.
From lop Require Import Dag Cloning Trajectory Counterexamples Hypotheses Stability.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

Section Example.
Variable F : realFieldType.
Notation net := (small_net (fun=> 1 : F)).
(* 1 on the first clone's edge and -1 on the second's: into the clones, and out of them *)
Definition into (u v : 'I_4) : F := match val u, val v with 0, 1 => 1 | 0, 2 => -1 | _, _ => 0 end.
Definition out_of (u v : 'I_4) : F := match val u, val v with 1, 3 => 1 | 2, 3 => -1 | _, _ => 0 end.
Definition shift (a c : F) u v : F := unit_weight F u v + (a * into u v + c * out_of u v).
Definition squared_error (y : F) (h : 'I_4 -> F) : F := (h (@o4 3 isT) - y) ^+ 2 / 2%:R.

Lemma shift_output a c : forward net (shift a c) (@no_bias F _) (unit_data F) (@o4 3 isT) = 2%:R + 2%:R * a * c.
Proof.
have values v : forward net (shift a c) (@no_bias F _) (unit_data F) v
    = match val v with 0 => 1 | 1 => 1 + a | 2 => 1 - a | _ => 2%:R + 2%:R * a * c end.
  symmetry; move: v; apply: forward_unique; apply: forall4;
    rewrite /forward_step /preact ?sum4 /on_edges /= /shift /unit_weight /into /out_of /no_bias /=; solve_field.
by rewrite values.
Qed.

(* [saddle] exhibited: at a cloned point, along a redistribution (out_of) and another direction normal to BC (into), the
   squared error is (2 - y + 2 a c)^2 / 2, to second order (2 - y)^2 / 2 + 2 (2 - y) a c: a saddle for every y <> 2 *)
Theorem saddle_exhibited (y : F) :
  [/\ in_equitable net blk4 (on_edges net (unit_weight F)), out_equitable net blk4 (on_edges net (unit_weight F)),
      redistribution net blk4 out_of,
      forall M, block_constant net blk4 M -> \sum_v \sum_u into u v * M u v = 0 /\ \sum_v \sum_u out_of u v * M u v = 0
    & forall a c, squared_error y (forward net (shift a c) (@no_bias F _) (unit_data F))
        = (2%:R - y) ^+ 2 / 2%:R + 2%:R * (2%:R - y) * (a * c) + 2%:R * (a * c) ^+ 2].
Proof.
have [ein eout] := small_equitable (fun=> 1 : F); split=> //.
- split; first by apply: forall4; apply: forall4.
  move=> I v _; rewrite big_mkcond sum4 /out_of; move: I v; apply: forall4; apply: forall4;
    rewrite /= ?eqE /= ?eqE /=; solve_field.
- move=> M [_ eq]; split; rewrite !sum4 /into /out_of /=.
    have -> : M (@o4 0 isT) (@o4 1 isT) = M (@o4 0 isT) (@o4 2 isT) by apply: eq.
    by ring.
  have -> : M (@o4 1 isT) (@o4 3 isT) = M (@o4 2 isT) (@o4 3 isT) by apply: eq.
  by ring.
by move=> a c; rewrite /squared_error shift_output; field.
Qed.
End Example.
