(* Completeness of the Hermite polynomials, and what follows for every continuous phi of polynomial growth: Eq. 1,
   Parseval, Lemma A.1 and Theorem 3.1, from Gaussian integrals alone.

   he k x                he_k x = He_k x / sqrt (k!)
   growth phi C n        |phi x| <= C (1 + |x|)^n                                               (Stein.v)
   gauss_mean, correlated   Gaussian mean as an improper integral, E phi(X) phi(Y)   (Gaussian.v, Polynomials.v) *)
From Coq Require Import Reals Lra.
From Coquelicot Require Import Coquelicot.
From lop Require Import Gaussian Stein Gap Mean Weierstrass Density MehlerGeneral Expansion.
From mathcomp Require Import all_ssreflect all_algebra ring.
From mathcomp Require Import Rstruct.
From lop Require Import Mehler Rank Polynomials.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

(* he_k = He_k / sqrt (k!) *)
Definition he (k : nat) (x : R) : R := horner (H k) x / sqrt (k`!)%:R.

Lemma poly_horner (p : {poly R}) : is_poly (fun x => p.[x]).
Proof.
apply: (poly_ext (psum (fun i => p`_i) (size p))) => [x|]; first by rewrite horner_coef psumE.
elim: (size p) => [|n IH]; first exact: (poly_const 0).
exact: (poly_plus _ _ (poly_scal _ _ (poly_pow _ _ poly_id)) IH).
Qed.

Lemma horner_poly (f : R -> R) : is_poly f -> exists p : {poly R}, forall x, f x = p.[x].
Proof.
elim=> [c | | f1 f2 _ [p ep] _ [q eq] | f1 f2 _ [p ep] _ [q eq] | f1 f2 e _ [p ep]].
- by exists c%:P => x; rewrite hornerC.
- by exists 'X => x; rewrite hornerX.
- by exists (p + q) => x; rewrite hornerD -ep -eq.
- by exists (p * q) => x; rewrite hornerM -ep -eq.
- by exists p => x; rewrite -e.
Qed.

Lemma mean_horner (p : {poly R}) : mean (fun x => p.[x]) = mean_of p.
Proof. exact: mean_is (mean_is_gaussian p). Qed.

Lemma root_fact k : sqrt (k`!)%:R * sqrt (k`!)%:R = (k`!)%:R :> R.
Proof. by apply: sqrt_sqrt; apply: Rlt_le; exact: fact_pos. Qed.

Lemma root_neq0 k : sqrt (k`!)%:R != 0 :> R.
Proof. by apply/eqP; apply: Rgt_not_eq; apply: sqrt_lt_R0; exact: fact_pos. Qed.

Lemma he_polyE k x : he k x = ((sqrt (k`!)%:R)^-1 *: H k).[x].
Proof. by rewrite /he hornerZ mulrC. Qed.

Lemma he_poly k : is_poly (he k).
Proof. apply: (poly_ext (fun x => ((sqrt (k`!)%:R)^-1 *: H k).[x])) => [x|]; [by rewrite he_polyE | exact: poly_horner]. Qed.

Lemma he_one x : he 0 x = 1.
Proof. by rewrite /he hornerC -[(0`!)%:R]/(1 : R) sqrt_1 divr1. Qed.

Lemma he_orthonormal j k : mean (fun x => he j x * he k x) = indicator j k 1.
Proof.
rewrite (mean_ext _ (fun x => (((sqrt (j`!)%:R)^-1 *: H j) * ((sqrt (k`!)%:R)^-1 *: H k)).[x])); last first.
  by move=> x; rewrite hornerM -!he_polyE.
rewrite mean_horner -scalerAl -scalerAr !(E_scale mean_linear) (hermite_orthogonal mean_linear mean_one mean_stein) /indicator.
case: Nat.eqb_spec => [-> | /eqP/negPf ->]; last by rewrite !mulr0.
rewrite eqxx; have := root_neq0 k; have := root_fact k; move: (sqrt _) => q; move: (_%:R) => f <- q0.
by rewrite mulrA -invfM mulVf // mulf_neq0.
Qed.

Lemma he_span (f : R -> R) : is_poly f -> exists b n, forall x, f x = combined he b n x.
Proof.
move=> /horner_poly[p ep]; have [b pb] := expandable (leqnn (size p)).
exists (fun k => b k * sqrt (k`!)%:R), (size p) => x; rewrite ep {1}pb; elim: (size p) => [|n IH].
  by rewrite /expand big_ord0 horner0.
rewrite /expand big_ord_recr hornerD hornerZ /= -IH addrC; congr (_ + _).
rewrite /he !RmultE; have := root_neq0 n; move: (sqrt _) (_.[x]) => q z q0.
by rewrite [z / q]mulrC mulrA mulfK.
Qed.

Lemma he_eigen (r s : R) : r ^+ 2 + s ^+ 2 = 1 -> forall k x, smooth r s (he k) x = Rmult (pow r k) (he k x).
Proof.
move=> circle k x; rewrite /smooth (mean_ext _ (fun y => (((sqrt (k`!)%:R)^-1 *: H k) \Po mix r s x).[y])); last first.
  by move=> y; rewrite horner_comp he_polyE /mix !hornerE.
rewrite mean_horner comp_polyZ (E_scale mean_linear) (hermite_smoothing mean_linear mean_one mean_stein circle).
by rewrite he_polyE hornerZ RpowE mulrCA.
Qed.

(* ---- What follows for a continuous phi of polynomial growth ---- *)
Section Continuous.
Variables (phi : R -> R) (C : R) (n : nat).
Hypothesis cont : forall x, continuous phi x.
Hypothesis grow : growth phi C n.

Let tphi : tempered phi := conj cont (ex_intro _ C (ex_intro _ n grow)).
Let v : space := exist tempered phi tphi.

(* [mehler-continuous] completeness of the Hermite polynomials in the Gaussian L2 *)
Theorem hermite_complete (eps : R) : Rlt 0 eps ->
  exists (p : {poly R}) (m : R), gauss_mean (fun x => Rminus (phi x) p.[x] ^+ 2) m /\ Rle m eps.
Proof.
move=> e0; have [_ d] := density phi tphi; have [f [r [/horner_poly[p ep] [pr [le m]]]]] := d eps e0.
have t : tempered (fun x => Rminus (phi x) p.[x] ^+ 2).
  apply: (tempered_ext (fun x => pow (Rminus (phi x) p.[x]) 2)) => [x|]; first by rewrite RpowE.
  apply: tempered_pow; apply: tempered_minus => //; apply: poly_tempered; exact: poly_horner.
exists p, (mean (fun x => Rminus (phi x) p.[x] ^+ 2)); split; first exact: mean_exists.
apply: Rle_trans m; apply: mean_le => // [|x]; first exact: poly_tempered.
by rewrite -RpowE -ep; apply: le.
Qed.

Variable a : nat -> R.
Hypothesis coefficients : forall k, gauss_mean (fun x => phi x * he k x) (a k).

Lemma coefficientE k : coefficient he he_poly v k = a k.
Proof. by rewrite -(mean_is _ _ (@coefficients k)); apply: mean_ext. Qed.

Lemma series_ext (u : nat -> R) l : is_series (fun k => Rmult (pow (coefficient he he_poly v k) 2) (u k)) l ->
  is_series (fun k => Rmult (pow (a k) 2) (u k)) l.
Proof. by apply: is_series_ext => k; rewrite coefficientE. Qed.

(* Parseval *)
Lemma continuous_parseval (m : R) : gauss_mean (fun x => phi x ^+ 2) m -> is_series (fun k => pow (a k) 2) m.
Proof.
move=> hm; have circle : (0 : R) ^+ 2 + 1 ^+ 2 = 1 by rewrite expr0n expr1n add0r.
have set_ := gaussian_setting he he_one he_poly he_orthonormal he_span 0 1 (he_eigen circle) v.
have [_ s] := mehler_general _ _ _ _ _ _ _ _ set_.
have -> : m = s_ip v v by rewrite -(mean_is _ _ hm); apply: mean_ext => x; rewrite expr2.
by apply: is_series_ext s => k; rewrite coefficientE.
Qed.

(* Eq. 1 *)
Lemma continuous_kernel (rho s : R) : rho ^+ 2 + s ^+ 2 = 1 -> correlated phi rho s (kernel a rho).
Proof.
move=> circle; have set_ := gaussian_setting he he_one he_poly he_orthonormal he_span rho s (he_eigen circle) v.
have [ser _] := mehler_general _ _ _ _ _ _ _ _ set_.
exists (smooth rho s phi); split=> [x|].
  by apply: mean_exists; exact: (tempered_inner rho s phi x tphi).
have -> : kernel a rho = s_ip v (s_smooth rho s v) by apply: is_series_unique; apply: series_ext.
by apply: mean_exists; exact: (s_ip_tempered v (s_smooth rho s v)).
Qed.

(* [mehler-continuous] mean 0 and second moment 1 make the coefficients standardised *)
Theorem continuous_standardised : gauss_mean phi 0 -> gauss_mean (fun x => phi x ^+ 2) 1 -> standardised a.
Proof.
move=> m0 m1; split; last exact: continuous_parseval.
rewrite -coefficientE; apply: (etrans _ (mean_is _ _ m0)); apply: mean_ext => x; by rewrite /= he_one Rmult_1_r.
Qed.

Lemma continuous_lin c : gauss_mean (fun x => x * phi x) c -> lin a = c ^+ 2.
Proof.
move=> mc; rewrite /lin RpowE; congr (_ ^+ 2); rewrite -coefficientE; apply: (etrans _ (mean_is _ _ mc)); apply: mean_ext => x.
by rewrite /= /he He1 -[(1`!)%:R]/(1 : R) sqrt_1 divr1 hornerX mulrC.
Qed.

Lemma gap_of_coefficients (rho s K c : R) : rho ^+ 2 + s ^+ 2 = 1 ->
  gauss_mean phi 0 -> gauss_mean (fun x => phi x ^+ 2) 1 -> gauss_mean (fun x => x * phi x) c ->
  correlated phi rho s K -> (1 - c ^+ 2) * rho ^+ 2 * (1 - rho ^+ 2) <= rho ^+ 2 - K ^+ 2.
Proof.
move=> circle m0 m1 mc cK; have r1 := circle_le circle; have std := continuous_standardised m0 m1.
rewrite (correlated_unique _ _ _ _ _ cK (continuous_kernel circle)); apply/RleP.
by have := gap_bound a std rho r1; rewrite /decorr (continuous_lin mc) !RpowE => /Rge_le.
Qed.

Lemma rank_gain_of_coefficients m (M KM : 'M[R]_m.+1) (c : R) :
  gauss_mean phi 0 -> gauss_mean (fun x => phi x ^+ 2) 1 -> gauss_mean (fun x => x * phi x) c ->
  unit_corr M -> (forall i j, correlated phi (M i j) (sqrt (1 - M i j ^+ 2)) (KM i j)) ->
  1 + (1 - c ^+ 2) * potential M <= er2 KM / er2 M.
Proof.
move=> m0 m1 mc corr cK; have std := continuous_standardised m0 m1.
have -> : KM = map_mx (kernel a) M.
  apply/matrixP => i j; rewrite mxE.
  have pos : Rle 0 (1 - M i j ^+ 2).
    by apply/RleP; rewrite subr_ge0 -real_normK ?num_real // expr_le1 ?corr.2.
  have circle : M i j ^+ 2 + sqrt (1 - M i j ^+ 2) ^+ 2 = 1.
    have := sqrt_sqrt _ pos; rewrite expr2 => sq.
    by rewrite [X in _ + X](sq : _ = _) addrC subrK.
  exact: correlated_unique (cK i j) (continuous_kernel circle).
by have := rank_gain_real std corr; rewrite /decorr (continuous_lin mc).
Qed.
End Continuous.

Lemma coefficients_exist (phi : R -> R) (C : R) (n : nat) : (forall x, continuous phi x) -> growth phi C n ->
  forall k, gauss_mean (fun x => phi x * he k x) (mean (fun x => phi x * he k x)).
Proof.
move=> cont grow k; have tphi : tempered phi by split=> //; exists C, n.
by apply: mean_exists; apply: (tempered_mult phi (he k) tphi); apply: poly_tempered; exact: he_poly.
Qed.

(* [mehler-continuous] Eq. 1 and Parseval: the coefficients a_k = E phi he_k exist, E phi(X) phi(Y) = sum_k a_k^2 rho^k
   and E phi^2 = sum_k a_k^2 *)
Theorem continuous_mehler (phi : R -> R) (C : R) (n : nat) : (forall x, continuous phi x) -> growth phi C n ->
  exists a : nat -> R, (forall k, gauss_mean (fun x => phi x * he k x) (a k))
  /\ (forall rho s : R, rho ^+ 2 + s ^+ 2 = 1 -> correlated phi rho s (kernel a rho))
  /\ exists m : R, gauss_mean (fun x => phi x ^+ 2) m /\ is_series (fun k => pow (a k) 2) m.
Proof.
move=> cont grow; have ex := coefficients_exist cont grow; exists (fun k => mean (fun x => phi x * he k x)); split=> //; split.
  by move=> rho s; apply: (continuous_kernel cont grow ex).
have t : tempered (fun x => phi x ^+ 2).
  apply: (tempered_ext (fun x => pow (phi x) 2)) => [x|]; first by rewrite RpowE.
  by apply: tempered_pow; split=> //; exists C, n.
exists (mean (fun x => phi x ^+ 2)); split; first exact: mean_exists.
exact: (continuous_parseval cont grow ex (mean_exists _ t)).
Qed.

(* [mehler-continuous] Lemma A.1 for a standardised phi, its kernel K and c = a_1 by Gaussian integrals alone *)
Theorem continuous_gap (phi : R -> R) (C : R) (n : nat) : (forall x, continuous phi x) -> growth phi C n ->
  forall rho s K c : R, rho ^+ 2 + s ^+ 2 = 1 ->
  gauss_mean phi 0 -> gauss_mean (fun x => phi x ^+ 2) 1 -> gauss_mean (fun x => x * phi x) c ->
  correlated phi rho s K -> (1 - c ^+ 2) * rho ^+ 2 * (1 - rho ^+ 2) <= rho ^+ 2 - K ^+ 2.
Proof. by move=> cont grow rho s K c; apply: (gap_of_coefficients cont grow (coefficients_exist cont grow)). Qed.

(* [mehler-continuous] Theorem 3.1 for a standardised phi: KM is the correlation matrix of its features *)
Theorem continuous_rank_gain (phi : R -> R) (C : R) (n : nat) : (forall x, continuous phi x) -> growth phi C n ->
  forall m (M KM : 'M[R]_m.+1) (c : R),
  gauss_mean phi 0 -> gauss_mean (fun x => phi x ^+ 2) 1 -> gauss_mean (fun x => x * phi x) c ->
  unit_corr M -> (forall i j, correlated phi (M i j) (sqrt (1 - M i j ^+ 2)) (KM i j)) ->
  1 + (1 - c ^+ 2) * potential M <= er2 KM / er2 M.
Proof. by move=> cont grow m M KM c; apply: (rank_gain_of_coefficients cont grow (coefficients_exist cont grow)). Qed.
