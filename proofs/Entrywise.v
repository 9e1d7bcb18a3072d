(* The kernel applied entrywise to a covariance matrix: Schur's product theorem, and K (C) is positive semi-definite.

   psd C             symmetric, and x^T C x >= 0 for every x     (FixedPoints.v)
   schur A B         the entrywise product
   map_mx K C        the kernel K applied entrywise                                             *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From mathcomp Require Import all_ssreflect all_algebra ring.
From mathcomp Require Import Rstruct.
From lop Require Import Gap Rank FixedPoints.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

(* ---- Schur's product theorem, over any ordered field ---- *)
Section Schur.
Variables (F : realFieldType) (n : nat).
Implicit Types A B : 'M[F]_n.

Definition schur A B : 'M[F]_n := \matrix_(i, j) (A i j * B i j).
Definition quad A (x : 'I_n -> F) := \sum_i \sum_j x i * x j * A i j.

Lemma schurE A B i j : schur A B i j = A i j * B i j.
Proof. by rewrite mxE. Qed.

Lemma quadE A (x : 'cV[F]_n) : (x^T *m A *m x) 0 0 = quad A (fun i => x i 0).
Proof.
rewrite /quad exchange_big mxE; apply: eq_bigr => j _; rewrite mxE mulr_suml; apply: eq_bigr => i _.
by rewrite !mxE mulrAC.
Qed.

Lemma psdE A : psd A <-> (forall i j, A i j = A j i) /\ forall x, 0 <= quad A x.
Proof.
split=> [[sym pos] | [sym pos]]; [split=> [i j | x] | split=> [|x]].
- by rewrite -[in LHS]sym mxE.
- have := pos (\col_i x i); rewrite quadE; congr (_ <= _).
  by apply: eq_bigr => i _; apply: eq_bigr => j _; rewrite !mxE.
- by apply/matrixP => i j; rewrite mxE.
- by rewrite quadE.
Qed.

Lemma quad_delta A (k : 'I_n) : quad A (fun i => (i == k)%:R) = A k k.
Proof.
rewrite /quad (bigD1 k) //= (bigD1 k) //= eqxx !mul1r !big1 ?addr0 // => i /negPf ->; last by rewrite mulr0 mul0r.
by rewrite big1 // => l _; rewrite !mul0r.
Qed.

(* what is left of A when row and column k are eliminated *)
Definition pivot A (k : 'I_n) : 'M[F]_n := \matrix_(i, j) (A i j - A i k * A k j / A k k).

Lemma quad_shift A (k : 'I_n) (x : 'I_n -> F) t : (forall i j, A i j = A j i) ->
  quad A (fun i => x i - t * (i == k)%:R) = quad A x - 2%:R * t * (\sum_i x i * A i k) + t ^+ 2 * A k k.
Proof.
move=> sym; have pick (f : 'I_n -> F) : \sum_i (i == k)%:R * f i = f k.
  by rewrite (bigD1 k) //= eqxx mul1r big1 ?addr0 // => i /negPf ->; rewrite mul0r.
have term (p q e f c : F) : (p - t * e) * (q - t * f) * c
  = p * q * c - t * p * (f * c) - e * (t * (q * c)) + e * (t ^+ 2 * (f * c)) by ring.
have row i : \sum_j (x i - t * (i == k)%:R) * (x j - t * (j == k)%:R) * A i j
  = \sum_j x i * x j * A i j - t * x i * A i k - (i == k)%:R * (t * (\sum_j x j * A i j)) + (i == k)%:R * (t ^+ 2 * A i k).
  by rewrite (eq_bigr _ (fun j _ => term _ _ _ _ _)) big_split /= !sumrB -!mulr_sumr !pick.
rewrite /quad (eq_bigr _ (fun i _ => row i)) big_split /= !sumrB !pick.
have -> : \sum_j x j * A k j = \sum_i x i * A i k by apply: eq_bigr => i _; rewrite sym.
have -> : \sum_i t * x i * A i k = t * \sum_i x i * A i k by rewrite mulr_sumr; apply: eq_bigr => i _; rewrite mulrA.
have close (q r d : F) : q - t * r - t * r + t ^+ 2 * d = q - 2%:R * t * r + t ^+ 2 * d by ring.
exact: close.
Qed.

Lemma pivot_psd A k : psd A -> A k k != 0 -> psd (pivot A k).
Proof.
move=> /psdE[sym pos] d; apply/psdE; split=> [i j | x].
  by rewrite !mxE sym (sym i k) (sym k j) [A k i * _]mulrC.
have := pos (fun i => x i - (\sum_i x i * A i k) / A k k * (i == k)%:R); rewrite quad_shift //.
set s := \sum_i x i * A i k; congr (_ <= _).
have term (p q c u v e : F) : p * q * (c - u * v / e) = p * q * c - p * u * (q * v / e) by ring.
have -> : quad (pivot A k) x = quad A x - s * (s / A k k).
  rewrite /quad [s / _]mulr_suml [s * _]mulr_suml -sumrB; apply: eq_bigr => i _.
  by rewrite mulr_sumr -sumrB; apply: eq_bigr => j _; rewrite mxE (sym k j) term.
have close (q r e : F) : e != 0 -> q - 2%:R * (r / e) * r + (r / e) ^+ 2 * e = q - r * (r / e) by move=> ?; field.
exact: close.
Qed.

Lemma zero_row A (k j : 'I_n) : psd A -> A k k = 0 -> A k j = 0.
Proof.
move=> psdA d; have /psdE[sym pos] := psdA; have := pos (fun i => (i == j)%:R); have dj : 0 <= A j j.
  by have := pos (fun i => (i == j)%:R); rewrite quad_delta.
move: dj; rewrite le_eqVlt => /orP[/eqP dj _ | dj _]; last first.
  have := cauchy_schwarz k psdA dj; rewrite d mul0r => le.
  by apply/eqP; rewrite -sqrf_eq0 eq_le le sqr_ge0.
pose s := \sum_i (i == j)%:R * A i k; have sE : s = A k j.
  by rewrite /s (bigD1 j) //= eqxx mul1r big1 => [|i /negPf ->]; [rewrite addr0 sym | rewrite mul0r].
have q0 : quad A (fun i => (i == j)%:R) = 0 by rewrite quad_delta -dj.
have := pos (fun i => (i == j)%:R - s * (i == k)%:R); rewrite quad_shift // q0 d -/s mulr0 addr0 sub0r.
rewrite -mulrA oppr_ge0 pmulr_rle0 ?ltr0n // -expr2 => le.
by apply/eqP; rewrite -sE -sqrf_eq0 eq_le le sqr_ge0.
Qed.

Lemma schur_sum A B C c : psd (schur A C) -> psd (schur B C) -> 0 <= c ->
  psd (schur (\matrix_(i, j) (A i j + c * B i j)) C).
Proof.
move=> /psdE[sA pA] /psdE[sB pB] c0; set D := \matrix_(i, j) _.
have DE i j : schur D C i j = schur A C i j + c * schur B C i j by rewrite !schurE mxE mulrDl mulrA.
apply/psdE; split=> [i j | x]; first by rewrite !DE sA sB.
have -> : quad (schur D C) x = quad (schur A C) x + c * quad (schur B C) x.
  rewrite /quad mulr_sumr -big_split /=; apply: eq_bigr => i _; rewrite mulr_sumr -big_split /=.
  by apply: eq_bigr => j _; rewrite DE mulrDr (mulrCA _ c).
by rewrite addr_ge0 // mulr_ge0.
Qed.

Lemma schur_rank_one (u : 'I_n -> F) B : psd B -> psd (schur (\matrix_(i, j) (u i * u j)) B).
Proof.
move=> /psdE[sym pos]; apply/psdE; split=> [i j | x]; first by rewrite !schurE !mxE sym [u i * u j]mulrC.
have term (p q r t b : F) : p * q * (r * t) * b = q * t * (p * r * b) by ring.
have := pos (fun i => u i * x i); congr (_ <= _); apply: eq_bigr => i _; apply: eq_bigr => j _.
by rewrite schurE mxE term.
Qed.

(* [entrywise] Schur's product theorem *)
Theorem schur_product A B : psd A -> psd B -> psd (schur A B).
Proof.
move=> pA pB; suff elim k : (k <= n)%N -> forall A, psd A -> (forall i j : 'I_n, (k <= i)%N -> A i j = 0) -> psd (schur A B).
  by apply: (elim n) => // i j; rewrite leqNgt ltn_ord.
elim: k => [_ M pM z | k IH lt M pM z].
  have z0 i j : schur M B i j = 0 by rewrite schurE z ?mul0r.
  apply/psdE; split=> [i j | x]; first by rewrite !z0.
  by rewrite /quad big1 // => i _; rewrite big1 // => j _; rewrite z0 mulr0.
pose l := Ordinal lt; have [d | d] := eqVneq (M l l) 0.
  apply: (IH (ltnW lt) M pM) => i j; rewrite leq_eqVlt => /orP[/eqP e | /z //].
  by have -> : i = l by [apply: val_inj]; apply: zero_row.
have /psdE[sym pos] := pM; have d0 : 0 < M l l.
  by rewrite lt_neqAle eq_sym d; have := pos (fun i => (i == l)%:R); rewrite quad_delta.
have split : M = \matrix_(i, j) (pivot M l i j + (M l l)^-1 * (\matrix_(i, j) (M i l * M j l)) i j).
  by apply/matrixP => i j; rewrite !mxE (sym l j) [(M l l)^-1 * _]mulrC subrK.
rewrite split; apply: schur_sum; [apply: (IH (ltnW lt) _ (pivot_psd pM d)) | exact: schur_rank_one | by rewrite invr_ge0 ltW].
move=> i j; rewrite leq_eqVlt mxE => /orP[/eqP e | gt]; last by rewrite (z i j gt) (z i l gt) !mul0r subrr.
by have -> : i = l by [apply: val_inj]; rewrite mulrAC divff // mul1r subrr.
Qed.
End Schur.

(* ---- The kernel ---- *)
Lemma series_sum (I : eqType) (r : seq I) (f : I -> nat -> R) (l : I -> R) :
  (forall i, is_series (f i) (l i)) -> is_series (fun k => \sum_(i <- r) f i k) (\sum_(i <- r) l i).
Proof.
move=> s; elim: r => [|i r IH].
  rewrite big_nil; apply: (filterlim_ext (fun _ => 0%R)); last exact: filterlim_const.
  by elim=> [|k IH]; [rewrite sum_O big_nil | rewrite sum_Sn -IH big_nil /plus /= Rplus_0_l].
rewrite big_cons; apply: (is_series_ext (fun k => Rplus (f i k) (\sum_(j <- r) f j k))) => [k|].
  by rewrite big_cons.
exact: is_series_plus (s i) IH.
Qed.

Section Kernel.
Variables (a : nat -> R) (n : nat) (C : 'M[R]_n).
Hypothesis std : standardised a.

Lemma power_psd k : psd C -> psd (map_mx (fun r => r ^+ k) C).
Proof.
move=> pC; elim: k => [|k IH].
  have -> : map_mx (fun r => r ^+ 0) C = \matrix_(i, j) (1 * 1) by apply/matrixP => i j; rewrite !mxE expr0 mulr1.
  apply/psdE; split=> [i j | x]; first by rewrite !mxE.
  have -> : quad (\matrix_(i, j) (1 * 1)) x = (\sum_i x i) ^+ 2; last exact: sqr_ge0.
  by rewrite expr2 mulr_suml; apply: eq_bigr => i _; rewrite mulr_sumr; apply: eq_bigr => j _; rewrite mxE !mulr1.
have -> : map_mx (fun r => r ^+ k.+1) C = schur C (map_mx (fun r => r ^+ k) C).
  by apply/matrixP => i j; rewrite !mxE exprS.
exact: schur_product.
Qed.

(* [entrywise] K (C) is positive semi-definite *)
Theorem kernel_psd : psd C -> (forall i j, `|C i j| <= 1) -> psd (map_mx (kernel a) C).
Proof.
move=> pC le; have /psdE[sym _] := pC; apply/psdE; split=> [i j | x]; first by rewrite !mxE sym.
pose u k := \sum_i \sum_j x i * x j * (a k ^+ 2 * C i j ^+ k).
have su : is_series u (quad (map_mx (kernel a) C) x).
  apply: series_sum => i; apply: series_sum => j; rewrite mxE.
  apply: (is_series_scal_l (x i * x j)); apply: (is_series_ext (fun k => Rmult (pow (a k) 2) (pow (C i j) k))) => [k|].
    by rewrite RmultE !RpowE.
  apply: Series_correct; apply: kernel_summable => //; exact/RleP.
have <- : Series u = quad (map_mx (kernel a) C) x by apply: is_series_unique.
apply/RleP; apply: Series_pos => [k|]; last by eexists; exact: su.
have -> : u k = a k ^+ 2 * quad (map_mx (fun r => r ^+ k) C) x.
  rewrite /quad mulr_sumr; apply: eq_bigr => i _; rewrite mulr_sumr; apply: eq_bigr => j _; rewrite mxE mulrCA; done.
apply/RleP; apply: mulr_ge0; first exact: sqr_ge0.
by have /psdE[_ ] := power_psd k pC.
Qed.

(* [entrywise] the effective rank never falls *)
Theorem entrywise_rank m (D : 'M[R]_m.+1) : unit_corr D -> er2 D <= er2 (map_mx (kernel a) D).
Proof.
move=> corr; have := rank_gain_real std corr; have d0 : 0 < fro2 D := fro2_pos (corr.1 0).
have e0 : 0 < er2 D.
  rewrite /er2 divr_gt0 // (trace_unit corr.1) exprn_gt0 // ltr0n.
done.
rewrite ler_pdivl_mulr // => le; apply: le_trans le; rewrite ler_pmull // ler_addl mulr_ge0 //.
  by apply: decorr_ge0.
exact: potential_ge0.
Qed.
End Kernel.
