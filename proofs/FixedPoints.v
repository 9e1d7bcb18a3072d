(* What iterating the kernel does to correlations (Section 3), and the linear half of a step.

   iterate a n rho   K (K (... rho)), n times
   corr M            M_ij / sqrt (M_ii M_jj), the correlation matrix of a covariance matrix M
   psd C             x^T C x >= 0 for every x                                                    *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import Rstruct.
From Coquelicot Require Import Coquelicot.
From Coq Require Import Reals Lra.
From lop Require Import Gap Rank Stability.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Local Open Scope R_scope.
Section Iterates.
Variable a : nat -> R.
Hypothesis std : standardised a.
Definition iterate (n : nat) rho := ssrnat.iter n (kernel a) rho.

(* [fixed-points] K fixes 0 and 1, -1 exactly when the activation is odd, and nothing else *)
Theorem fixed_points rho : lin a < 1 -> Rabs rho <= 1 ->
  kernel a rho = rho <-> rho = 0 \/ rho = 1 \/ (rho = -1 /\ odd_kernel a).
Proof.
move=> c1 r1; have [K0 K1] := kernel_ends a std; have [Km _] := kernel_at_minus_one a std.
split=> [fix_ | [-> | [-> | [-> odd]]]] //; last exact/Km.
have gap := gap_bound a std rho r1; rewrite fix_ /decorr in gap.
have [z | nz] := Req_dec rho 0; [by left | right].
have [o | no] := Req_dec rho 1; [by left | right].
have [m | nm] := Req_dec rho (-1); first by rewrite m in fix_ *; split=> //; exact/Km.
have [lo hi] := proj1 (Rabs_le_between rho 1) r1.
have pos : 0 < (1 - lin a) * (rho * rho) * ((1 - rho) * (1 + rho)).
  by apply: Rmult_lt_0_compat; apply: Rmult_lt_0_compat; [lra | apply: Rsqr_pos_lt | lra | lra].
by simpl in gap; lra.
Qed.

(* [fixed-points] the ends repel: the distance of |K| to 1 is at least 1 + lambda |rho| times that of |rho| *)
Theorem ends_repel rho : Rabs rho <= 1 ->
  (1 + decorr a * Rabs rho) * (1 - Rabs rho) <= 1 - Rabs (kernel a rho).
Proof. by move=> r1; have := kernel_extremal a std rho r1; rewrite /decorr; lra. Qed.

Lemma iterate_le rho n : Rabs rho <= 1 ->
  Rabs (iterate n rho) <= Rabs rho * (lin a + (1 - lin a) * Rabs rho) ^ n.
Proof.
move=> r1; set q := lin a + _; have [c0 c1] := lin_range a std; have p := Rabs_pos rho.
have q01 : 0 <= q <= 1.
  by rewrite /q; split; [apply: Rplus_le_le_0_compat => //; apply: Rmult_le_pos; lra | nra].
elim: n => [|n IH]; first by rewrite /= Rmult_1_r; apply: Rle_refl.
have qn : 0 <= q ^ n <= 1 by split; [apply: pow_le; lra | rewrite -(pow1 n); apply: pow_incr].
set x := iterate n rho in IH; change (iterate n.+1 rho) with (kernel a x).
have x1 : Rabs x <= Rabs rho by nra.
apply: Rle_trans (kernel_extremal a std x _) _; first lra.
have -> : lin a * Rabs x + (1 - lin a) * Rabs x ^ 2 = Rabs x * (lin a + (1 - lin a) * Rabs x) by ring.
have -> : Rabs rho * q ^ n.+1 = (Rabs rho * q ^ n) * q by rewrite /=; ring.
have px := Rabs_pos x; apply: Rmult_le_compat => //; last by rewrite /q; nra.
by apply: Rplus_le_le_0_compat => //; apply: Rmult_le_pos; lra.
Qed.

(* [fixed-points] iterating K drives every |rho| < 1 to 0, never towards clones *)
Theorem iterates_vanish rho : lin a < 1 -> Rabs rho < 1 -> is_lim_seq (iterate^~ rho) 0.
Proof.
move=> c1 r1; set q := lin a + (1 - lin a) * Rabs rho; have [c0 _] := lin_range a std; have p := Rabs_pos rho.
have q1 : Rabs q < 1 by rewrite Rabs_pos_eq /q; nra.
have lim : is_lim_seq (fun n => Rabs rho * q ^ n) 0.
  have := is_lim_seq_scal_l _ (Rabs rho) _ (is_lim_seq_geom q q1).
  by rewrite /Rbar_mult /= Rmult_0_r.
apply/is_lim_seq_abs_0; apply: (is_lim_seq_le_le (fun=> 0) _ _ _ _ (is_lim_seq_const 0) lim) => n.
by split; [apply: Rabs_pos | apply: iterate_le; lra].
Qed.

(* [fixed-points] from -1: an odd activation stays, an even one is at 1 after one step, any other goes to 0 *)
Theorem iterates_from_minus_one : lin a < 1 ->
  (odd_kernel a -> forall n, iterate n (-1) = -1) /\ (even_kernel a -> forall n, iterate n.+1 (-1) = 1) /\
  (~ odd_kernel a -> ~ even_kernel a -> is_lim_seq (iterate^~ (-1)) 0).
Proof.
move=> c1; have [K0 K1] := kernel_ends a std; have [Ko [Ke [lo hi]]] := kernel_at_minus_one a std.
split; first by move=> /Ko odd; elim=> [|n IH] //; rewrite /iterate iterS -/(iterate n _) IH.
split; first by move=> /Ke even; elim=> [|n IH] //; rewrite /iterate iterS -/(iterate n.+1 _) IH.
move=> no ne; apply/is_lim_seq_incr_1; apply: (is_lim_seq_ext (iterate^~ (kernel a (-1)))).
  by move=> n; rewrite /iterate iterSr.
apply: iterates_vanish => //; apply: Rabs_def1.
  by case: hi => // /Ke.
by case: lo => // /esym/Ko.
Qed.
End Iterates.

(* ---- The linear half of a step ---- *)
Definition squeezed : R := 1 / sqrt (1 * (1 + / 100 * / 100)).
Lemma squeezed_sq : squeezed * squeezed = 10000 / 10001 /\ 0 < squeezed <= 1.
Proof.
have pos : 0 <= 1 * (1 + / 100 * / 100) by lra.
have root : 0 < sqrt (1 * (1 + / 100 * / 100)) by apply: sqrt_lt_R0; lra.
have sq := sqrt_sqrt _ pos; have s0 : 0 < squeezed by apply: Rdiv_lt_0_compat; lra.
suff e : squeezed * squeezed = 10000 / 10001 by split=> //; nra.
transitivity (1 / (sqrt (1 * (1 + / 100 * / 100)) * sqrt (1 * (1 + / 100 * / 100)))); first by rewrite /squeezed; field; lra.
by rewrite sq; field.
Qed.
Lemma half : 0 <= 1 / 2 <= 1.
Proof. by lra. Qed.
Lemma two_mode_one : kernel (two_mode (1 / 2)) 1 = 1.
Proof. by rewrite two_mode_kernel; [field | exact: half]. Qed.
Lemma rank_small x : 9998 / 10000 <= x -> 2 / (1 + x) < 1001 / 1000.
Proof. by move=> h; apply: (proj2 (Rlt_div_l _ _ _ _)); lra. Qed.
Lemma squeezed_ranks : 2 / (1 + squeezed * squeezed) < 1001 / 1000 /\
  2 / (1 + kernel (two_mode (1 / 2)) squeezed * kernel (two_mode (1 / 2)) squeezed) < 1001 / 1000.
Proof.
have [sq [s0 s1]] := squeezed_sq; split; apply: rank_small; first lra.
rewrite two_mode_kernel; last exact: half.
have : squeezed * squeezed <= 1 / 2 * squeezed + (1 - 1 / 2) * squeezed ^ 2 by rewrite /=; nra.
by rewrite sq; set K := _ + _ => h; nra.
Qed.

From mathcomp Require Import ring.
Local Open Scope ring_scope.
Section Covariance.
Variable F : realFieldType.
Definition cov m n (W : 'M[F]_(m, n)) (C : 'M[F]_n) : 'M[F]_m := W *m C *m W^T.
Definition psd n (C : 'M[F]_n) := C^T = C /\ forall x : 'cV[F]_n, 0 <= (x^T *m C *m x) 0 0.

Lemma cov_psd m n (W : 'M[F]_(m, n)) C : psd C -> psd (cov W C).
Proof.
move=> [sym pos]; split=> [|x]; first by rewrite /cov !trmx_mul trmxK sym mulmxA.
by have := pos (W^T *m x); rewrite trmx_mul trmxK /cov !mulmxA.
Qed.

Lemma cauchy_schwarz n (M : 'M[F]_n) i j : psd M -> 0 < M j j -> M i j ^+ 2 <= M i i * M j j.
Proof.
move=> [sym pos] Mj; pose e k : 'cV[F]_n := delta_mx k 0.
have entry k l : dot (e k) (M *m e l) = M k l by rewrite /dot mulmxA trmx_delta -rowE -colE !mxE.
have symE : M j i = M i j by rewrite -[in LHS]sym mxE.
have := pos (M j j *: e i - M i j *: e j); rewrite -mulmxA -/(dot _ _) mulmxBr -!scalemxAr.
rewrite -!scaleNr !(dotDl, dotDr, dotZl, dotZr) !entry symE.
have shape (p q r : F) : q * (q * p + - r * r) + - r * (q * r + - r * q) = q * (p * q - r ^+ 2) by ring.
rewrite (shape (M i i) (M j j) (M i j)).
by rewrite pmulr_rge0 // subr_ge0.
Qed.
End Covariance.
Definition corr n (M : 'M[R]_n) : 'M[R]_n := \matrix_(i, j) (M i j / sqrt (M i i * M j j)).

Lemma corr_unit n (M : 'M[R]_n) : psd M -> (forall i, 0 < M i i) -> unit_corr (corr M).
Proof.
move=> pM pos; have root i j : 0 < sqrt (M i i * M j j).
  by apply/RltP/sqrt_lt_R0/RltP; apply: mulr_gt0.
have square i j : sqrt (M i i * M j j) ^+ 2 = M i i * M j j.
  by rewrite expr2; apply: sqrt_sqrt; apply/RleP/ltW/mulr_gt0.
split=> [i | i j]; rewrite mxE.
  by rewrite [sqrt _](sqrt_square (M i i)) ?divff ?gt_eqF //; apply/RleP/ltW.
rewrite normrM normfV (gtr0_norm (root i j)) ler_pdivr_mulr // mul1r.
have cs := cauchy_schwarz i pM (pos j).
by rewrite -ler_sqr ?nnegrE ?normr_ge0 ?(ltW (root i j)) // real_normK ?num_real // square.
Qed.

(* [linear-step] Theorem 3.1 covers the second arrow: C -> corr (W C W^T) -> K(.) *)
Theorem linear_step a m n (W : 'M[R]_(m.+1, n)) (C : 'M[R]_n) : standardised a -> psd C ->
  (forall i, 0 < cov W C i i) ->
  1 + decorr a * potential (corr (cov W C)) <= er2 (map_mx (kernel a) (corr (cov W C))) / er2 (corr (cov W C)).
Proof. by move=> std pC pos; apply: rank_gain_real => //; apply/corr_unit => //; apply: cov_psd. Qed.

Definition squeeze : 'M[R]_2 := \matrix_(i, j) (if j == 0 then 1 else if i == 0 then 0 else 100%:R^-1).

Lemma er2_two (M : 'M[R]_2) r : M 0 0 = 1 -> M 1 1 = 1 -> M 0 1 = r -> M 1 0 = r -> er2 M = 2%:R / (1 + r ^+ 2).
Proof.
move=> M00 M11 M01 M10; have pos : 1 + r ^+ 2 != 0 by rewrite gt_eqF // ltr_paddr ?sqr_ge0 ?ltr01.
rewrite /er2 /mxtrace /fro2 !big_ord_recl !big_ord0 (_ : lift ord0 ord0 = 1) ?M00 ?M01 ?M10 ?M11; last exact: val_inj.
rewrite !addr0 !expr1n.
have shape (x : R) : 1 + x != 0 -> (1 + 1) ^+ 2 / (1 + x + (x + 1)) = 2%:R / (1 + x).
  move=> nz; have -> : 1 + x + (x + 1) = 2%:R * (1 + x) by ring.
  by field; rewrite nz.
exact: shape.
Qed.

Lemma squeeze_entries (C := cov squeeze 1%:M) :
  [/\ C 0 0 = 1, C 0 1 = 1, C 1 0 = 1 & C 1 1 = 1 + 100%:R^-1 ^+ 2].
Proof.
by split; rewrite /C /cov mulmx1 !mxE !big_ord_recl big_ord0 !mxE /= ?mulr1 ?mul1r ?mulr0 ?mul0r ?addr0 ?expr2.
Qed.

Lemma as_real (x : R) : 2%:R / (1 + x ^+ 2) = Rdiv 2 (Rplus 1 (Rmult x x)).
Proof.
have nz : 1 + x ^+ 2 != 0 by rewrite gt_eqF // ltr_paddr ?sqr_ge0 ?ltr01.
by rewrite /Rdiv -[Rplus _ _]/(1 + x * x) -expr2 RinvE // -INRE (INR_IZR_INZ 2).
Qed.

Lemma er2_squeezed (f : R -> R) : f 1 = 1 -> er2 (map_mx f (corr (cov squeeze 1%:M))) = Rdiv 2 (Rplus 1 (Rmult (f squeezed) (f squeezed))).
Proof.
move=> f1; rewrite -as_real; have [C00 C01 C10 C11] := squeeze_entries.
have i100 : 100%:R = 100%R :> R by rewrite -INRE (INR_IZR_INZ 100).
have nz : 100%R != 0 :> R by apply/eqP => h; have : (100 = 0)%R by []; lra.
have hundred : 100%:R^-1 ^+ 2 = (/ 100 * / 100)%R :> R by rewrite expr2 i100 -RinvE.
pose t : R := 1 + 100%:R^-1 ^+ 2; have t0 : 0 < t by rewrite ltr_paddr ?sqr_ge0 ?ltr01.
have same : 1 / sqrt (Rmult 1 t) = squeezed.
  have r0 : sqrt (Rmult 1 t) != 0 by rewrite gt_eqF //; apply/RltP/sqrt_lt_R0; rewrite Rmult_1_l; apply/RltP.
  by rewrite /squeezed /Rdiv -hundred RinvE.
have entry (M : 'M[R]_2) i j : map_mx f (corr M) i j = f (M i j / sqrt (M i i * M j j)) by rewrite !mxE.
apply: er2_two; rewrite entry ?C00 ?C01 ?C10 ?C11 -/t.
- by rewrite (sqrt_square (GRing.one R_ringType)) ?divr1 //; apply/RleP/ler01.
- by rewrite (sqrt_square t) ?divff ?gt_eqF //; apply/RleP/ltW.
- by rewrite same.
- by rewrite Rmult_comm same.
Qed.

(* [linear-step] the first arrow may lose rank, and the whole step with it: two uncorrelated units, rank 2 *)
Theorem linear_arrow_loses : exists W : 'M[R]_2, (forall i, 0 < cov W 1%:M i i)
  /\ er2 (1%:M : 'M[R]_2) = 2%:R /\ Rlt (er2 (corr (cov W 1%:M))) (1001 / 1000)
  /\ exists a, standardised a /\ decorr a != 0 /\ Rlt (er2 (map_mx (kernel a) (corr (cov W 1%:M)))) (1001 / 1000).
Proof.
exists squeeze; have [C00 C01 C10 C11] := squeeze_entries; have [lin_ all_] := squeezed_ranks.
split; first by case=> [[|[|]]] // i; [rewrite (_ : Ordinal _ = 0) ?C00 ?ltr01 | rewrite (_ : Ordinal _ = 1) ?C11 ?ltr_paddr ?sqr_ge0 ?ltr01]; try exact: val_inj.
split; first by rewrite (@er2_two _ 0) ?mxE // expr0n addr0 divr1.
split; first by rewrite -(map_mx_id (f := id) _ (corr _)) ?er2_squeezed.
exists (two_mode (1 / 2)); split; first exact: two_mode_standardised half.
split; first by apply/eqP; rewrite /decorr /lin /two_mode sqrt_sq => [h|]; [have : (1 - 1 / 2 = 0)%R := h; lra | lra].
by rewrite er2_squeezed ?two_mode_one.
Qed.
