(* Rank gain: Theorem 3.1.

   fro2 M         squared Frobenius norm of M
   er2 M          Renyi-2 effective rank, (tr M)^2 / |M|_F^2
   potential C    P(C) = sum_{i <> j} C_ij^2 (1 - C_ij^2) / |C|_F^2
   unit_corr C    unit diagonal and entries in [-1, 1]: all that the theorem uses of a
                  correlation matrix (symmetry and positivity are not needed)
   map_mx K C     the kernel K applied entrywise                                       *)
From mathcomp Require Import all_ssreflect all_algebra ring.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

Definition fro2 (F : ringType) n (M : 'M[F]_n) := \sum_i \sum_j M i j ^+ 2.
Definition er2 (F : fieldType) n (M : 'M[F]_n) := (\tr M) ^+ 2 / fro2 M.
Definition potential (F : fieldType) n (C : 'M[F]_n) :=
  (\sum_i \sum_(j | j != i) C i j ^+ 2 * (1 - C i j ^+ 2)) / fro2 C.
Definition unit_corr (F : numDomainType) n (C : 'M[F]_n) :=
  (forall i, C i i = 1) /\ (forall i j, `|C i j| <= 1).

(* ---- Over any ordered field (no axioms) ---- *)
Section AnyField.
Variables (F : realFieldType) (n : nat) (C : 'M[F]_n.+1) (K : F -> F) (lam : F).
Hypothesis corr : unit_corr C.
Hypothesis K1 : K 1 = 1.

Let KC := map_mx K C.

Lemma fro2_ge1 (M : 'M[F]_n.+1) : M 0 0 = 1 -> 1 <= fro2 M.
Proof.
move=> M00; rewrite /fro2 (bigD1 0) //= (bigD1 0) //= M00 expr1n -addrA ler_addl addr_ge0 //.
  by rewrite sumr_ge0 // => j _; rewrite sqr_ge0.
by rewrite sumr_ge0 // => i _; rewrite sumr_ge0 // => j _; rewrite sqr_ge0.
Qed.

Lemma fro2_pos (M : 'M[F]_n.+1) : M 0 0 = 1 -> 0 < fro2 M.
Proof. by move=> /fro2_ge1; apply: lt_le_trans; rewrite ltr01. Qed.

Lemma KC_diag i : KC i i = 1.
Proof. by rewrite mxE corr.1. Qed.

Lemma trace_unit (M : 'M[F]_n.+1) : (forall i, M i i = 1) -> \tr M = n.+1%:R.
Proof. by move=> d; rewrite /mxtrace (eq_bigr (fun=> 1)) // sumr_const card_ord. Qed.

Lemma ratio_of_ratios (t k c : F) : t != 0 -> k != 0 -> c != 0 -> (t ^+ 2 / k) / (t ^+ 2 / c) = c / k.
Proof. by move=> t0 k0 c0; field; rewrite k0 c0 t0. Qed.

Lemma er2_ratio : er2 KC / er2 C = fro2 C / fro2 KC.
Proof.
have pC := fro2_pos (corr.1 0); have pK := fro2_pos (KC_diag 0).
rewrite /er2 !trace_unit; [|exact: corr.1|exact: KC_diag].
have nz : n.+1%:R != 0 :> F by rewrite pnatr_eq0.
by apply: ratio_of_ratios => //; apply: lt0r_neq0.
Qed.

Lemma potential_full : potential C = (\sum_i \sum_j C i j ^+ 2 * (1 - C i j ^+ 2)) / fro2 C.
Proof.
congr (_ / _); apply: eq_bigr => i _; rewrite [RHS](bigD1 i) //=.
by rewrite corr.1 expr1n subrr mulr0 add0r.
Qed.

Hypothesis gap : forall r, `|r| <= 1 -> lam * (r ^+ 2 * (1 - r ^+ 2)) <= r ^+ 2 - K r ^+ 2.
Hypothesis lam0 : 0 <= lam.

Lemma fro2_gap : lam * (\sum_i \sum_j C i j ^+ 2 * (1 - C i j ^+ 2)) <= fro2 C - fro2 KC.
Proof.
rewrite mulr_sumr -sumrB; apply: ler_sum => i _; rewrite mulr_sumr -sumrB.
by apply: ler_sum => j _; rewrite [KC i j]mxE gap // corr.2.
Qed.

Lemma potential_ge0 : 0 <= potential C.
Proof.
have pC := fro2_pos (corr.1 0).
rewrite potential_full divr_ge0 ?(ltW pC) // sumr_ge0 // => i _; rewrite sumr_ge0 // => j _.
by rewrite mulr_ge0 ?sqr_ge0 // subr_ge0 -real_normK ?num_real // expr_le1 ?corr.2.
Qed.

(* [rank-gain] Theorem 3.1 *)
Theorem rank_gain : 1 + lam * potential C <= er2 KC / er2 C.
Proof.
have pC := fro2_pos (corr.1 0); have pK := fro2_pos (KC_diag 0).
have P0 := potential_ge0; rewrite potential_full in P0 *; rewrite er2_ratio.
set Q := (\sum_i _) in P0 *; have gapQ : lam * Q <= fro2 C - fro2 KC := fro2_gap.
have Q0 : 0 <= lam * Q by rewrite mulr_ge0 // -(divfK (lt0r_neq0 pC) Q) mulr_ge0 // ltW.
rewrite ler_pdivl_mulr // mulrDl mul1r -ler_subr_addl.
apply: le_trans gapQ; rewrite mulrA mulrAC ler_pdivr_mulr //.
apply: ler_wpmul2l => //; rewrite -subr_ge0; apply: le_trans Q0 _; exact: fro2_gap.
Qed.

(* [rank-equality] over any ordered field *)
Theorem rank_gain_equality :
  er2 KC / er2 C = 1 <-> forall i j, i != j -> K (C i j) ^+ 2 = C i j ^+ 2.
Proof.
have pK := lt0r_neq0 (fro2_pos (KC_diag 0)); rewrite er2_ratio.
have ge0 i j : 0 <= C i j ^+ 2 - KC i j ^+ 2.
  rewrite [KC i j]mxE; apply: le_trans (gap (corr.2 i j)).
  rewrite mulr_ge0 // mulr_ge0 ?sqr_ge0 // subr_ge0 -real_normK ?num_real // expr_le1 ?corr.2 //.
have diff : fro2 C - fro2 KC = \sum_i \sum_j (C i j ^+ 2 - KC i j ^+ 2).
  by rewrite -sumrB; apply: eq_bigr => i _; rewrite -sumrB.
split=> [/divr1_eq eq1 i j _ | eq_off].
  move/eqP: diff; rewrite eq1 subrr eq_sym psumr_eq0 => [/allP/(_ i (mem_index_enum i))|k _]; last exact: sumr_ge0.
  rewrite /= psumr_eq0 // => /allP/(_ j (mem_index_enum j)); rewrite /= subr_eq0 [KC i j]mxE.
  by move=> /eqP.
suff eqF : fro2 C = fro2 KC by rewrite eqF divff.
apply/eqP; rewrite -subr_eq0 diff big1 // => i _; rewrite big1 // => j _; rewrite [KC i j]mxE.
have [-> | ij] := eqVneq i j; first by rewrite corr.1 K1 subrr.
by rewrite eq_off ?subrr.
Qed.
End AnyField.

(* ---- Over the reals, with the series kernel ---- *)
From Coq Require Import Reals Lra.
From mathcomp Require Import Rstruct.
From Coquelicot Require Import Coquelicot.
From lop Require Import Gap.
Local Open Scope ring_scope.

Section Reals.
Variables (a : nat -> R) (n : nat) (C : 'M[R]_n.+1).
Hypothesis std : standardised a.
Hypothesis corr : unit_corr C.

Lemma kernel_gap (r : R) : `|r| <= 1 ->
  decorr a * (r ^+ 2 * (1 - r ^+ 2)) <= r ^+ 2 - kernel a r ^+ 2.
Proof.
by move=> /RleP r1; apply/RleP; have := gap_bound a std r r1; rewrite mulrA !RpowE => /Rge_le.
Qed.

Lemma decorr_ge0 : 0 <= decorr a.
Proof. by apply/RleP; have [] := decorr_pos a std. Qed.

(* [rank-gain] Theorem 3.1 for an activation with Hermite coefficients a *)
Theorem rank_gain_real : 1 + decorr a * potential C <= er2 (map_mx (kernel a) C) / er2 C.
Proof. apply: rank_gain corr _ kernel_gap decorr_ge0; exact: (kernel_ends a std).2. Qed.

Lemma kernel_sq_eq (r : R) : `|r| <= 1 -> kernel a r ^+ 2 = r ^+ 2 <->
  (decorr a = 0 \/ (r = 0 \/ r = 1 \/ (r = -1 /\ (odd_kernel a \/ even_kernel a))))%R.
Proof.
move=> /RleP r1; rewrite -!RpowE; have [K0 K1] := kernel_ends a std.
have [l0 _] := decorr_pos a std; have gap := gap_bound a std r r1.
have c1 := kernel_contracts a std r r1; have near := tail_near a std r r1.
have minus := gap_at_minus_one_zero a std.
split=> [eq2 | ]; last first.
  case=> [lin0 | [-> | [-> | [-> par]]]]; rewrite ?K0 ?K1 //; last by have := proj2 minus par; rewrite /=; lra.
  rewrite lin0 Rmult_0_r in near; have := Rabs_pos (kernel a r - lin a * r)%R => pos.
  have /Rabs_eq_0 : Rabs (kernel a r - lin a * r)%R = 0%R by lra.
  by have -> : lin a = 1%R by [rewrite /decorr in lin0; lra]; move=> d; have -> : kernel a r = r by lra.
case: (Req_dec (decorr a) 0) => [|l]; [by left | right].
case: (Req_dec r 0) => [|rn0]; [by left | right].
case: (Req_dec r 1) => [|rn1]; [by left | right].
have rm1 : r = (-1)%R.
  case: (Req_dec r (-1)%R) => // rnm; have [lo hi] := proj1 (Rabs_le_between r 1) r1.
  have rn : (1 - r <> 0)%R by lra.
  have pos : (0 < decorr a * (r * r) * ((1 - r) * (1 + r)))%R.
    by apply: Rmult_lt_0_compat; apply: Rmult_lt_0_compat; [lra | apply: Rsqr_pos_lt | lra | lra].
  by rewrite /= in gap eq2; lra.
by split=> //; apply/minus; rewrite -rm1; rewrite rm1 in eq2 *; lra.
Qed.

(* [rank-equality] the corrected equality condition *)
Theorem rank_equality : er2 (map_mx (kernel a) C) / er2 C = 1 <->
  decorr a = 0 \/ forall i j, i != j ->
    C i j = 0 \/ C i j = 1 \/ (C i j = - 1 /\ (odd_kernel a \/ even_kernel a)).
Proof.
have K1 := (kernel_ends a std).2.
rewrite (rank_gain_equality corr K1 kernel_gap decorr_ge0); split=> [eqs | cond i j ij].
  case: (Req_dec (decorr a) 0) => [|l]; [by left | right=> i j ij].
  by case: (proj1 (kernel_sq_eq (corr.2 i j)) (eqs i j ij)).
by apply/(kernel_sq_eq (corr.2 i j)); case: cond => [|off]; [left | right; apply: off].
Qed.
End Reals.

(* two perfectly anticorrelated units *)
Definition anticorrelated : 'M[R]_2 := \matrix_(i, j) (if i == j then 1 else - 1).

Lemma anticorrelated_corr : unit_corr anticorrelated.
Proof.
split=> [i | i j]; rewrite mxE ?eqxx //.
by case: eqP => _; rewrite ?normrN normr1.
Qed.

(* [rank-equality] the paper's condition fails: all correlations are -1, and the rank doubles *)
Theorem paper_equality_refuted :
  exists a, standardised a /\ decorr a != 0
    /\ (forall i j, anticorrelated i j = 1 \/ anticorrelated i j = - 1)
    /\ (forall x : 'cV[R]_2, 0 <= (x^T *m anticorrelated *m x) 0 0)
    /\ er2 (map_mx (kernel a) anticorrelated) / er2 anticorrelated = 2%:R.
Proof.
have half : (0 <= 1 / 2 <= 1)%R by lra.
exists (two_mode (1 / 2)%R); split; first exact: two_mode_standardised.
have pos : (1 / 2 > 0)%R by lra.
split; first by apply/eqP; rewrite /decorr /lin /two_mode (sqrt_sq _ half.1) => h; have : (1 - 1 / 2 = 0)%R := h; lra.
split; first by move=> i j; rewrite mxE; case: eqP; [left | right].
split=> [x|].
  rewrite mxE !big_ord_recl big_ord0 !mxE !big_ord_recl !big_ord0 !mxE /=; apply/RleP.
  set u := x _ _; set v := x _ _; have := pow2_ge_0 (u - v); rewrite /GRing.zero /GRing.add /GRing.mul /GRing.opp /GRing.one /=; lra.
rewrite er2_ratio; [|exact: anticorrelated_corr|exact: (kernel_ends _ (two_mode_standardised _ half)).2].
rewrite /fro2 !big_ord_recl !big_ord0 !mxE /= !two_mode_kernel //.
have -> : (1 / 2 * 1 + (1 - 1 / 2) * 1 ^ 2)%R = 1 :> R by rewrite -[RHS]/1%R; field.
have -> : (1 / 2 * -1 + (1 - 1 / 2) * (-1) ^ 2)%R = 0 :> R by rewrite -[RHS]/0%R; field.
rewrite sqrrN !expr1n expr0n /= !addr0 !add0r.
by rewrite -[1 + 1]/(2%:R : R) -mulr2n -mulr_natr mulfK // pnatr_eq0.
Qed.
