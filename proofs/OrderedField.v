(* Inequalities behind the gap bound (Lemma A.1) over any ordered field: no axioms.

   c          the linearity coefficient, a_1^2
   t          |rho|, the absolute correlation
   K          the value of the correlation kernel at rho
   1 - c      lambda, the decorrelation strength                                  *)
From mathcomp Require Import all_ssreflect all_algebra ring.
Import Order.TTheory GRing.Theory Num.Theory.

Section Algebra.
Local Open Scope ring_scope.
Variable F : realFieldType.
Implicit Types c t K : F.

(* [gap-sharp] the slack of the extremal kernel, exactly *)
Lemma extremal_slack c t :
  t ^+ 2 - (c * t + (1 - c) * t ^+ 2) ^+ 2
  = (1 - c) * t ^+ 2 * (1 - t ^+ 2) + c * (1 - c) * t ^+ 2 * (1 - t) ^+ 2.
Proof. ring. Qed.

(* [gap] [gap-sharp] *)
Theorem quartic_gap c t K : `|K| <= c * t + (1 - c) * t ^+ 2 ->
  (1 - c) * t ^+ 2 * (1 - t ^+ 2) + c * (1 - c) * t ^+ 2 * (1 - t) ^+ 2 <= t ^+ 2 - K ^+ 2.
Proof.
move=> bound; rewrite -extremal_slack ler_add2l.
rewrite ler_opp2 -[K ^+ 2]real_normK ?num_real //.
by rewrite ler_sqr ?nnegrE // (le_trans _ bound).
Qed.

(* [gap-parity] an odd kernel *)
Theorem odd_quartic_gap c t K : 0 <= c <= 1 -> 0 <= t <= 1 ->
  `|K| <= c * t + (1 - c) * t ^+ 3 ->
  (1 - c) * (1 + c) * t ^+ 2 * (1 - t ^+ 2) <= t ^+ 2 - K ^+ 2.
Proof.
move=> /andP[c0 c1] /andP[t0 t1] bound.
have sq : K ^+ 2 <= (c * t + (1 - c) * t ^+ 3) ^+ 2.
  by rewrite -[K ^+ 2]real_normK ?num_real // ler_sqr ?nnegrE // (le_trans _ bound).
apply: le_trans (ler_sub (lexx _) sq).
rewrite -subr_ge0.
have -> : t ^+ 2 - (c * t + (1 - c) * t ^+ 3) ^+ 2 - (1 - c) * (1 + c) * t ^+ 2 * (1 - t ^+ 2)
        = (1 - c) ^+ 2 * t ^+ 4 * (1 - t) * (1 + t) by ring.
by rewrite !mulr_ge0 ?sqr_ge0 ?exprn_ge0 ?subr_ge0 ?addr_ge0 ?ler01.
Qed.
End Algebra.

