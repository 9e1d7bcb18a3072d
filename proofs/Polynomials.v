(* The correlation kernel of polynomial activations, from the Gaussian integral: Eq. 1, Lemma A.1, Theorem 3.1.

   psum c n, msum c n    the polynomial with coefficients c 0 .. c (n-1), and its Gaussian mean by moments
   mean_of p             the Gaussian mean of a polynomial, sum_i p_i moment i; it is the integral (mean_is_gaussian)
   He k                  the probabilists' Hermite polynomials (Mehler.v)
   coef p k              the Hermite coefficient E p he_k, he_k = He_k / sqrt k!
   correlated p rho s K  K = E_x [ p x * E_y p (rho x + s y) ], the correlation of p at X and Y, corr (X, Y) = rho  *)
From Coq Require Import Reals Lra Psatz.
From Coquelicot Require Import Coquelicot.
From lop Require Import Gaussian Gap.
Local Open Scope R_scope.

Fixpoint psum (c : nat -> R) n (x : R) := match n with O => 0 | S n => c n * x ^ n + psum c n x end.
Fixpoint msum (c : nat -> R) n := match n with O => 0 | S n => c n * moment n + msum c n end.

Lemma psum_int c n a b : ex_RInt (fun x => psum c n x * w x) a b.
Proof.
induction n as [|n IH]; simpl.
- apply (ex_RInt_ext (fun x => 0 * w x)); [intros; reflexivity|].
  apply (ex_RInt_scal (V := R_CompleteNormedModule) w), w_int.
- apply (ex_RInt_ext (fun x => plus (scal (c n) (x ^ n * w x)) (psum c n x * w x))).
  { intros; unfold plus, scal; simpl; unfold mult; simpl; ring. }
  apply (ex_RInt_plus (V := R_CompleteNormedModule) (fun x => c n * (x ^ n * w x))); [|exact IH].
  apply (ex_RInt_scal (V := R_CompleteNormedModule) (fun x => x ^ n * w x)), mono_int.
Qed.

Lemma psum_step c n T : RInt (fun x => psum c (S n) x * w x) (- T) T
  = c n * RInt (fun x => x ^ n * w x) (- T) T + RInt (fun x => psum c n x * w x) (- T) T.
Proof.
rewrite (RInt_ext _ (fun x => plus (scal (c n) (x ^ n * w x)) (psum c n x * w x))).
- etransitivity; [apply (RInt_plus (V := R_CompleteNormedModule)); [|apply psum_int]|].
  + apply (ex_RInt_scal (V := R_CompleteNormedModule)), mono_int.
  + apply f_equal2; [|reflexivity]; apply (RInt_scal (V := R_CompleteNormedModule)), mono_int.
- intros; unfold plus, scal; simpl; unfold mult; simpl; ring.
Qed.

Lemma psum_mean c n : gauss_mean (psum c n) (msum c n).
Proof.
induction n as [|n IH]; simpl.
- apply (is_lim_ext (fun _ => 0)); [|apply is_lim_const]; intros T.
  assert (e : RInt (fun x => 0 * w x) (- T) T = 0 * mass T) by (apply (RInt_scal (V := R_CompleteNormedModule) w), w_int).
  rewrite e; unfold Rdiv; ring.
- apply (is_lim_ext (fun T => c n * (RInt (fun x => x ^ n * w x) (- T) T / mass T)
    + RInt (fun x => psum c n x * w x) (- T) T / mass T)).
  + intros T; change (fun x => (c n * x ^ n + psum c n x) * w x) with (fun x => psum c (S n) x * w x).
    rewrite psum_step; unfold Rdiv; ring.
  + apply (is_lim_plus' _ _ _ (c n * moment n) (msum c n)); [|exact IH].
    apply (is_lim_scal_l _ (c n) p_infty (moment n)), gaussian_moments.
Qed.

Lemma gauss_mean_unique {f u v} : gauss_mean f u -> gauss_mean f v -> u = v.
Proof. intros hu hv; apply is_lim_unique in hu; apply is_lim_unique in hv; rewrite hu in hv; now injection hv. Qed.

Lemma gauss_mean_ext {f g u} : (forall x, f x = g x) -> gauss_mean f u -> gauss_mean g u.
Proof. intros fg; apply is_lim_ext; intros T; f_equal; apply RInt_ext; intros x _; now rewrite fg. Qed.

Definition correlated (f : R -> R) (rho s K : R) := exists inner : R -> R,
  (forall x, gauss_mean (fun y => f (rho * x + s * y)) (inner x)) /\ gauss_mean (fun x => f x * inner x) K.

Lemma correlated_unique f rho s K K' : correlated f rho s K -> correlated f rho s K' -> K = K'.
Proof.
intros [i [hi k]] [i' [hi' k']]; apply (gauss_mean_unique k); apply gauss_mean_ext with (2 := k').
intros x; now rewrite (gauss_mean_unique (hi x) (hi' x)).
Qed.

From mathcomp Require Import all_ssreflect all_algebra ring.
From mathcomp Require Import Rstruct.
From lop Require Import Mehler Rank.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.
Bind Scope ring_scope with R.

(* ---- The functional of Mehler.v is the Gaussian integral ---- *)
Definition mean_of (p : {poly R}) : R := \sum_(i < size p) p`_i * moment i.

Lemma mean_wide n (p : {poly R}) : (size p <= n)%N -> mean_of p = \sum_(i < n) p`_i * moment i.
Proof.
move=> le; rewrite /mean_of (big_ord_widen n (fun i => p`_i * moment i)) // big_mkcond /=.
by apply: eq_bigr => i _; case: ltnP => // h; rewrite nth_default ?mul0r.
Qed.

Lemma mean_linear (a : R) (p q : {poly R}) : mean_of (a *: p + q) = a * mean_of p + mean_of q.
Proof.
pose n := maxn (size (a *: p + q)) (maxn (size p) (size q)).
rewrite !(@mean_wide n) ?leq_max ?leqnn ?orbT // mulr_sumr -big_split.
by apply: eq_bigr => i _; rewrite coefD coefZ mulrDl mulrA.
Qed.

Lemma mean_one : mean_of 1 = 1.
Proof. by rewrite -polyC1 (@mean_wide 1) ?size_polyC ?leq_b1 // big_ord1 coefC mulr1. Qed.

Lemma momentSS k : moment k.+2 = k.+1%:R * moment k.
Proof. by rewrite [moment k.+2]/(INR k.+1 * moment k)%R INRE. Qed.

Lemma mean_stein (p : {poly R}) : mean_of ('X * p) = mean_of p^`().
Proof.
rewrite (@mean_wide (size p).+2); last first.
  by apply: leq_trans (size_mul_leq _ _) _; rewrite size_polyX /= leqnSn.
rewrite (@mean_wide (size p)); last by rewrite (leq_trans (size_poly _ _)) // leq_pred.
rewrite !big_ord_recl !coefXM eqxx mul0r add0r.
have -> : moment (lift ord0 (ord0 : 'I_(size p).+1)) = 0 by [].
rewrite mulr0 add0r; apply: eq_bigr => i _.
have -> : nat_of_ord (lift ord0 (lift ord0 i)) = i.+2 by [].
by rewrite coefXM coef_deriv momentSS mulrA -[p`_i.+1 *+ _]mulr_natr.
Qed.

Lemma psumE (p : {poly R}) n x : \sum_(i < n) p`_i * x ^+ i = psum (fun i => p`_i) n x.
Proof. by elim: n => [|n IH]; rewrite ?big_ord0 // big_ord_recr /= IH addrC RpowE. Qed.

Lemma msumE (p : {poly R}) n : \sum_(i < n) p`_i * moment i = msum (fun i => p`_i) n.
Proof. by elim: n => [|n IH]; rewrite ?big_ord0 // big_ord_recr /= IH addrC. Qed.

(* [mehler-polynomial] the functional that satisfies Stein's identity is the Gaussian integral *)
Theorem mean_is_gaussian (p : {poly R}) : gauss_mean (fun x => p.[x]) (mean_of p).
Proof.
rewrite /mean_of msumE; apply: (gauss_mean_ext _ (psum_mean (fun i => p`_i) (size p))) => x.
by rewrite horner_coef psumE.
Qed.
Arguments mean_is_gaussian p : clear implicits.

(* ---- Hermite expansions ---- *)
Notation H := (@He [fieldType of R]).

Lemma He_size m : size (H m) = m.+1 /\ lead_coef (H m) = 1.
Proof.
suff [] : (size (H m) = m.+1 /\ H m \is monic) /\ (size (H m.+1) = m.+2 /\ H m.+1 \is monic).
  by move=> [-> /monicP ->].
elim: m => [|m [[s1 m1] [s2 m2]]].
  by rewrite He1 size_polyC oner_eq0 monic1 size_polyX monicX.
split=> //; rewrite HeS; have sX : size ('X * H m.+1) = m.+3.
  by rewrite mulrC size_mulX -?size_poly_eq0 s2.
have lt : ((size (- (m.+1%:R *: H m))%R) < (size ('X * H m.+1)%R))%N.
  by rewrite sX size_opp; apply: leq_ltn_trans (size_scale_leq _ _) _; rewrite s1.
rewrite size_addl // sX; split=> //.
by rewrite monicE lead_coefDl // lead_coefM lead_coefX mul1r -monicE.
Qed.

Lemma expandable n (p : {poly R}) : (size p <= n)%N -> exists b : nat -> R, p = expand n b.
Proof.
elim: n p => [|n IH] p le.
  exists (fun _ => 0); rewrite /expand big_ord0; apply/eqP; by rewrite -size_poly_leq0.
pose q := p - p`_n *: H n; have [sz lc] := He_size n.
have top : (H n)`_n = 1 by rewrite -[RHS]lc lead_coefE (f_equal predn sz).
have le' : (size q <= n)%N.
  apply/leq_sizeP => j; rewrite leq_eqVlt => /orP[/eqP <- | lt].
    by rewrite coefB coefZ top mulr1 subrr.
  rewrite coefB coefZ (nth_default _ (leq_trans le lt)).
  by rewrite (nth_default _ (_ : (size (H n) <= j)%N)) ?sz // mulr0 subr0.
have [b eb] := IH q le'; exists (fun k => if k == n then p`_n else b k).
rewrite /expand big_ord_recr /= eqxx; transitivity (expand n b + p`_n *: H n); first by rewrite -eb /q subrK.
congr (_ + _); rewrite /expand; apply: eq_bigr => i _.
by rewrite (ltn_eqF (ltn_ord i)).
Qed.

Definition coef (p : {poly R}) (k : nat) : R := mean_of (p * H k) / sqrt (k`!)%:R.

Lemma expand_mean n (b : nat -> R) k : mean_of (expand n b * H k) = if (k < n)%N then (k`!)%:R * b k else 0.
Proof.
rewrite /expand mulr_suml (E_sum mean_linear).
have term (i : 'I_n) : mean_of ((b i *: H i) * H k) = if i == k :> nat then (k`!)%:R * b k else 0.
  rewrite -scalerAl (E_scale mean_linear) (hermite_orthogonal mean_linear mean_one mean_stein).
  by case: eqP => [->|_]; [ring | rewrite mulr0].
rewrite (eq_bigr _ (fun i _ => term i)); case: ltnP => [lt|ge].
  rewrite (bigD1 (Ordinal lt)) //= eqxx big1 ?addr0 // => i ne.
  by case: eqP => // e; case/eqP: ne; apply: val_inj.
by rewrite big1 // => i _; rewrite ltn_eqF // (leq_trans (ltn_ord i)).
Qed.

Lemma fact_pos k : Rlt 0 ((k`!)%:R : R).
Proof. by rewrite -INRE; apply: lt_0_INR; apply/ssrnat.ltP; exact: fact_gt0. Qed.

Lemma coef_sq n b k : (coef (expand n b) k) ^+ 2 = if (k < n)%N then (k`!)%:R * b k * b k else 0.
Proof.
rewrite /coef expand_mean; case: ltnP => [_|_]; last by rewrite mul0r expr2 mul0r.
have f0 := fact_pos k; set f := (k`!)%:R in f0 *.
set r := sqrt f; have sq : r * r = f by apply: sqrt_sqrt; apply: Rlt_le.
have r0 : r != 0 by apply/eqP; apply: Rgt_not_eq; apply: sqrt_lt_R0.
by rewrite -sq; field.
Qed.

Lemma finite_series (u : nat -> R) n : (forall k, (n <= k)%N -> u k = 0) -> is_series u (\sum_(k < n) u k).
Proof.
move=> zero; case: n zero => [|n] zero.
  rewrite big_ord0; apply: (filterlim_ext (fun _ => 0%R)); last exact: filterlim_const.
  by elim=> [|k IH]; [rewrite sum_O zero | rewrite sum_Sn -IH zero // /plus /= Rplus_0_l].
apply: (filterlim_ext_loc (fun _ => (\sum_(k < n.+1) u k : R))); last exact: filterlim_const.
exists n => m /ssrnat.leP le.
have base : forall k, sum_n u k = \sum_(i < k.+1) u i.
  by elim=> [|k IH]; [rewrite sum_O big_ord1 | rewrite sum_Sn IH [RHS]big_ord_recr].
rewrite base (big_ord_widen m.+1 u) //= big_mkcond /=; apply: eq_bigr => i _.
by case: ltnP => // /zero.
Qed.

(* ---- The kernel ---- *)
(* [mehler-polynomial] Eq. 1 for every polynomial p, from the integral: E p(X) p(Y) = sum_k a_k^2 rho^k *)
Theorem polynomial_kernel (p : {poly R}) (rho s : R) : rho ^+ 2 + s ^+ 2 = 1 ->
  correlated (fun x => p.[x]) rho s (kernel (coef p) rho)
  /\ kernel (coef p) rho = \sum_(k < size p) coef p k ^+ 2 * rho ^+ k.
Proof.
move=> circle; have [b pb] := expandable (leqnn (size p)); set n := size p in pb *.
have [smooth [sm val]] := mehler mean_linear mean_one mean_stein circle n b b.
rewrite -pb in sm val.
have sq k : coef p k ^+ 2 = if (k < n)%N then (k`!)%:R * b k * b k else 0 by rewrite [in LHS]pb coef_sq.
have fin : \sum_(k < n) k`!%:R * b k * b k * rho ^+ k = \sum_(k < n) coef p k ^+ 2 * rho ^+ k.
  by apply: eq_bigr => k _; rewrite sq ltn_ord.
have K : kernel (coef p) rho = \sum_(k < n) coef p k ^+ 2 * rho ^+ k.
  apply: is_series_unique; apply: (is_series_ext (fun k => coef p k ^+ 2 * rho ^+ k)) => [k|].
    by rewrite -!RpowE.
  by apply: finite_series => k le; rewrite sq ltnNge le mul0r.
split=> //; exists (fun x => smooth.[x]); split=> [x|].
  have := mean_is_gaussian (p \Po mix rho s x); rewrite -sm; apply: gauss_mean_ext => y.
  by rewrite horner_comp /mix !hornerE.
rewrite K -fin -val; have := mean_is_gaussian (p * smooth); apply: gauss_mean_ext => x.
by rewrite hornerM.
Qed.

(* [mehler-polynomial] mean 0 and second moment 1 make the Hermite coefficients standardised: sum_k a_k^2 = 1 *)
Theorem polynomial_standardised (p : {poly R}) :
  gauss_mean (fun x => p.[x]) 0 -> gauss_mean (fun x => p.[x] ^+ 2) 1 -> standardised (coef p).
Proof.
move=> m0 m1; have e0 : mean_of p = 0 by exact: (gauss_mean_unique (mean_is_gaussian p) m0).
have e1 : mean_of (p * p) = 1.
  apply: (gauss_mean_unique (mean_is_gaussian (p * p))); move: m1; apply: gauss_mean_ext => x.
  by rewrite hornerM expr2.
split; first by rewrite /coef mulr1 e0 mul0r.
have [b pb] := expandable (leqnn (size p)); set n := size p in pb *.
have sq k : coef p k ^+ 2 = if (k < n)%N then (k`!)%:R * b k * b k else 0 by rewrite [in LHS]pb coef_sq.
apply: (is_series_ext (fun k => coef p k ^+ 2)) => [k|]; first by rewrite -!RpowE.
have one : \sum_(k < n) coef p k ^+ 2 = 1.
  have <- : mean_of (p * expand n b) = 1 by rewrite -pb.
  rewrite [in RHS]/expand mulr_sumr (E_sum mean_linear); apply: eq_bigr => k _.
  have ek : mean_of (p * H k) = (k`!)%:R * b k by rewrite pb expand_mean ltn_ord.
  rewrite sq ltn_ord -scalerAr (E_scale mean_linear) ek; ring.
have ser : is_series (fun k => coef p k ^+ 2) (\sum_(k < n) coef p k ^+ 2).
  by apply: finite_series => k le; rewrite sq ltnNge le.
by rewrite one in ser.
Qed.

Lemma circle_le (r s : R) : r ^+ 2 + s ^+ 2 = 1 -> Rle (Rabs r) (IZR 1).
Proof. rewrite !expr2 => h; have h' : Rplus (Rmult r r) (Rmult s s) = IZR 1 := h; by apply: Rabs_le; split; nra. Qed.

Lemma coef_lin (p : {poly R}) c : gauss_mean (fun x => x * p.[x]) c -> lin (coef p) = c ^+ 2.
Proof.
move=> mc; rewrite /lin RpowE; congr (_ ^+ 2); rewrite /coef He1 -[(1`!)%:R]/(1 : R) sqrt_1 divr1.
apply: (gauss_mean_unique (mean_is_gaussian _)); move: mc; apply: gauss_mean_ext => x.
by rewrite hornerM hornerX mulrC.
Qed.

(* [mehler-polynomial] Lemma A.1 for a standardised polynomial, its kernel and c = a_1 given by Gaussian means alone *)
Theorem polynomial_gap (p : {poly R}) (rho s K c : R) : rho ^+ 2 + s ^+ 2 = 1 ->
  gauss_mean (fun x => p.[x]) 0 -> gauss_mean (fun x => p.[x] ^+ 2) 1 -> gauss_mean (fun x => x * p.[x]) c ->
  correlated (fun x => p.[x]) rho s K -> (1 - c ^+ 2) * rho ^+ 2 * (1 - rho ^+ 2) <= rho ^+ 2 - K ^+ 2.
Proof.
move=> circle m0 m1 mc cK; have [cK' _] := polynomial_kernel p circle.
have r1 := circle_le circle; have std := polynomial_standardised m0 m1.
rewrite (correlated_unique _ _ _ _ _ cK cK'); apply/RleP.
by have := gap_bound (coef p) std rho r1; rewrite /decorr (coef_lin mc) !RpowE => /Rge_le.
Qed.

(* [mehler-polynomial] Theorem 3.1 for a standardised polynomial: K C is the correlation matrix of its features *)
Theorem polynomial_rank_gain (p : {poly R}) n (C KC : 'M[R]_n.+1) (c : R) :
  gauss_mean (fun x => p.[x]) 0 -> gauss_mean (fun x => p.[x] ^+ 2) 1 -> gauss_mean (fun x => x * p.[x]) c ->
  unit_corr C -> (forall i j, correlated (fun x => p.[x]) (C i j) (sqrt (1 - C i j ^+ 2)) (KC i j)) ->
  1 + (1 - c ^+ 2) * potential C <= er2 KC / er2 C.
Proof.
move=> m0 m1 mc corr cK; have std := polynomial_standardised m0 m1.
have -> : KC = map_mx (kernel (coef p)) C.
  apply/matrixP => i j; rewrite mxE.
  have pos : Rle 0 (1 - C i j ^+ 2).
    by apply/RleP; rewrite subr_ge0 -real_normK ?num_real // expr_le1 ?corr.2.
  have circle : C i j ^+ 2 + sqrt (1 - C i j ^+ 2) ^+ 2 = 1.
    have := sqrt_sqrt _ pos; rewrite expr2 => sq.
    by rewrite [X in _ + X](sq : _ = _) addrC subrK.
  exact: correlated_unique (cK i j) (polynomial_kernel p circle).1.
by have := rank_gain_real std corr; rewrite /decorr (coef_lin mc).
Qed.
