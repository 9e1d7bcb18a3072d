(* The quartic gap bound: Lemma A.1 and items 1-4 of Appendix A.1.

   a k              the k-th Hermite coefficient of the activation (orthonormal basis)
   standardised a   E phi = 0 and E phi^2 = 1, that is a 0 = 0 and sum_k (a k)^2 = 1
   kernel a rho     K(rho) = sum_k (a k)^2 rho^k                       (Mehler, Eq. 1)
   lin a            c = (a 1)^2, the linearity coefficient
   decorr a         lambda = 1 - c, the decorrelation strength
   even_part, odd_part   E and O: the even and the odd powers of K
   odd_kernel, even_kernel   the activation has only odd / only even Hermite coefficients
   ratio a rho      (rho^2 - K^2) / (rho^2 (1 - rho^2))
   is_inf S m       m is the greatest lower bound of S                                        *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import Rstruct.
From Coquelicot Require Import Coquelicot.
From Coq Require Import Reals Lra Psatz.
From lop Require Import OrderedField.
Import Order.TTheory GRing.Theory Num.Theory.

(* ---- The reals ---- *)
Local Open Scope R_scope.

Definition standardised (a : nat -> R) := a 0%nat = 0 /\ is_series (fun k => a k ^ 2) 1.
Definition kernel (a : nat -> R) (rho : R) := Series (fun k => a k ^ 2 * rho ^ k).
Definition lin (a : nat -> R) := a 1%nat ^ 2.
Definition decorr (a : nat -> R) := 1 - lin a.
Definition ratio (a : nat -> R) (rho : R) :=
  (rho ^ 2 - kernel a rho ^ 2) / (rho ^ 2 * (1 - rho ^ 2)).
Definition is_inf (S : R -> Prop) (m : R) :=
  (forall x, S x -> m <= x) /\ forall eps, 0 < eps -> exists x, S x /\ x < m + eps.

Definition if_even (b : bool) (k : nat) (x : R) := if Bool.eqb (Nat.even k) b then x else 0.
Definition even_part (a : nat -> R) (rho : R) :=
  Series (fun k => if_even true k (a k ^ 2 * rho ^ k)).
Definition odd_part (a : nat -> R) (rho : R) :=
  Series (fun k => if_even false k (a k ^ 2 * rho ^ k)).
Definition odd_kernel (a : nat -> R) := forall k, Nat.even k = true -> a k = 0.
Definition even_kernel (a : nat -> R) := forall k, Nat.even k = false -> a k = 0.

Lemma pow_le_1 x k : Rabs x <= 1 -> Rabs (x ^ k) <= 1.
Proof.
move=> x1; rewrite -RPow_abs -(pow1 k).
by apply: pow_incr; split => //; apply: Rabs_pos.
Qed.

Lemma Rabs_sq x : Rabs x ^ 2 = x ^ 2.
Proof. by rewrite RPow_abs Rabs_pos_eq //; apply: pow2_ge_0. Qed.

Lemma Series_pos (u : nat -> R) : (forall k, 0 <= u k) -> ex_series u -> 0 <= Series u.
Proof.
move=> pos ex; rewrite -(Rmult_0_l (Series u)) -Series_scal_l.
by apply: Series_le ex => k; have := pos k; lra.
Qed.

Lemma term_le_Series (u : nat -> R) k : (forall k, 0 <= u k) -> ex_series u -> u k <= Series u.
Proof.
elim: k u => [|k IH] u pos ex; rewrite Series_incr_1 //.
  by have := Series_pos (fun k => u k.+1) (fun k => pos _) (proj1 (ex_series_incr_1 u) ex); lra.
have := IH (fun k => u k.+1) (fun k => pos _) (proj1 (ex_series_incr_1 u) ex).
by have := pos 0%nat; lra.
Qed.

Section Kernel.
Variable a : nat -> R.
Hypothesis std : standardised a.

Lemma a_summable : ex_series (fun k => a k ^ 2).
Proof. by exists 1; apply: std.2. Qed.

Lemma a_total : Series (fun k => a k ^ 2) = 1.
Proof. by apply: is_series_unique; apply: std.2. Qed.

Lemma dominated (u : nat -> R) : (forall k, Rabs (u k) <= a k ^ 2) -> ex_series u.
Proof. by move=> le; apply: (ex_series_le u (fun k => a k ^ 2)) => //; apply: a_summable. Qed.

Lemma term_le rho k : Rabs rho <= 1 -> Rabs (a k ^ 2 * rho ^ k) <= a k ^ 2.
Proof.
move=> r1; rewrite Rabs_mult (Rabs_pos_eq (a k ^ 2)); last exact: pow2_ge_0.
by have := pow_le_1 rho k r1; have := pow2_ge_0 (a k); have := Rabs_pos (rho ^ k); nra.
Qed.

Lemma kernel_summable rho : Rabs rho <= 1 -> ex_series (fun k => a k ^ 2 * rho ^ k).
Proof. by move=> r1; apply: dominated => k; apply: term_le. Qed.

Lemma shifted (u : nat -> R) : ex_series u -> ex_series (fun k => u k.+2).
Proof. by move=> /ex_series_incr_1 /ex_series_incr_1. Qed.

Lemma Series_split u : ex_series u -> u 0%nat = 0 -> Series u = u 1%nat + Series (fun k => u k.+2).
Proof.
move=> ex u0; rewrite Series_incr_1 // u0 Rplus_0_l Series_incr_1 //.
exact: (proj1 (ex_series_incr_1 u) ex).
Qed.

Lemma tail_total : Series (fun k => a k.+2 ^ 2) = decorr a.
Proof.
have a0 : a 0%nat ^ 2 = 0 by rewrite std.1; ring.
by have := Series_split (fun k => a k ^ 2) a_summable a0; rewrite a_total /decorr /lin; lra.
Qed.

Lemma decorr_pos : 0 <= decorr a <= 1.
Proof.
split; last by rewrite /decorr /lin; have := pow2_ge_0 (a 1%nat); lra.
rewrite -tail_total; apply: Series_pos (shifted _ a_summable) => k; exact: pow2_ge_0.
Qed.

Lemma lin_range : 0 <= lin a <= 1.
Proof. by have := decorr_pos; rewrite /decorr; lra. Qed.

Lemma kernel_split rho : Rabs rho <= 1 ->
  kernel a rho = lin a * rho + Series (fun k => a k.+2 ^ 2 * rho ^ k.+2).
Proof.
move=> r1; rewrite /kernel Series_split /lin; [by rewrite pow_1 | exact: kernel_summable |].
by rewrite std.1 /=; lra.
Qed.

(* |sum_k a_{k+2}^2 u_k| <= m (1 - c) when |u_k| <= m *)
Lemma tail_bound (u : nat -> R) m : (forall k, Rabs (u k) <= m) ->
  Rabs (Series (fun k => a k.+2 ^ 2 * u k)) <= m * decorr a.
Proof.
move=> le; have ex : ex_series (fun k => m * a k.+2 ^ 2).
  by apply: (ex_series_scal_l m (fun k => a k.+2 ^ 2)); apply: (shifted _ a_summable).
have abs_le k : Rabs (a k.+2 ^ 2 * u k) <= m * a k.+2 ^ 2.
  rewrite Rabs_mult (Rabs_pos_eq (_ ^ 2)); last exact: pow2_ge_0.
  by rewrite Rmult_comm; apply: Rmult_le_compat_r (le k); apply: pow2_ge_0.
apply: Rle_trans (Series_Rabs _ _) _.
  apply: (ex_series_le _ (fun k => m * a k.+2 ^ 2)) => // k.
  by rewrite /norm /= /abs /= Rabs_Rabsolu; apply: abs_le.
rewrite -tail_total -Series_scal_l; apply: Series_le ex => k.
by split; [apply: Rabs_pos | apply: abs_le].
Qed.

Lemma tail_near rho : Rabs rho <= 1 -> Rabs (kernel a rho - lin a * rho) <= rho ^ 2 * decorr a.
Proof.
move=> r1; rewrite kernel_split // Rplus_comm /Rminus Rplus_assoc Rplus_opp_r Rplus_0_r.
apply: tail_bound => k.
change (rho ^ k.+2) with (rho * (rho * rho ^ k)); rewrite !Rabs_mult.
by have := pow_le_1 rho k r1; have := Rabs_sq rho; have := Rabs_pos rho; have := Rabs_pos (rho ^ k); nra.
Qed.

(* [kernel-bounds] the extremal kernel dominates *)
Theorem kernel_extremal rho : Rabs rho <= 1 ->
  Rabs (kernel a rho) <= lin a * Rabs rho + (1 - lin a) * Rabs rho ^ 2.
Proof.
move=> r1; have := tail_near rho r1; rewrite -Rabs_sq -/(decorr a) => near.
have -> : kernel a rho = lin a * rho + (kernel a rho - lin a * rho) by ring.
apply: Rle_trans (Rabs_triang _ _) _; rewrite Rabs_mult Rabs_pos_eq; last exact: lin_range.1.
lra.
Qed.

(* [kernel-bounds] |K| <= |rho| *)
Theorem kernel_contracts rho : Rabs rho <= 1 -> Rabs (kernel a rho) <= Rabs rho.
Proof.
move=> r1; have le := kernel_extremal rho r1; have [? ?] := lin_range.
have : 0 <= (1 - lin a) * (Rabs rho * (1 - Rabs rho)); last lra.
by apply: Rmult_le_pos; [|apply: Rmult_le_pos (Rabs_pos _) _]; lra.
Qed.

(* [gap-sharp] (1/2) *)
Theorem gap_sharp rho : Rabs rho <= 1 ->
  rho ^ 2 - kernel a rho ^ 2
  >= decorr a * rho ^ 2 * (1 - rho ^ 2) + lin a * decorr a * rho ^ 2 * (1 - Rabs rho) ^ 2.
Proof.
move=> r1; rewrite -[rho ^ 2]Rabs_sq; apply: Rle_ge.
have bound : Rle (Rabs (kernel a rho)) (lin a * Rabs rho + (1 - lin a) * Rabs rho ^ 2) by apply: kernel_extremal.
have := @quartic_gap R_realFieldType (lin a) (Rabs rho) (kernel a rho).
rewrite -!RpowE => h; apply/RleP; apply: h; exact/RleP.
Qed.

(* [gap] Lemma A.1 *)
Theorem gap_bound rho : Rabs rho <= 1 ->
  rho ^ 2 - kernel a rho ^ 2 >= decorr a * rho ^ 2 * (1 - rho ^ 2).
Proof.
move=> r1; apply: Rge_trans (gap_sharp rho r1) _.
have : 0 <= lin a * decorr a * rho ^ 2 * (1 - Rabs rho) ^ 2; last lra.
have [? _] := lin_range; have [? _] := decorr_pos.
by apply: Rmult_le_pos (pow2_ge_0 _); apply: Rmult_le_pos (pow2_ge_0 _); apply: Rmult_le_pos.
Qed.

(* [gap-sharp] (2/2) strict inside, for an activation neither linear nor without a linear part *)
Theorem gap_strict rho : 0 < lin a < 1 -> 0 < Rabs rho < 1 ->
  rho ^ 2 - kernel a rho ^ 2 > decorr a * rho ^ 2 * (1 - rho ^ 2).
Proof.
move=> c [r0 r1]; apply: Rge_gt_trans (gap_sharp rho (Rlt_le _ _ r1)) _.
have sq : 0 < rho ^ 2 by rewrite -Rabs_sq; apply: pow_lt.
have sq' : 0 < (1 - Rabs rho) ^ 2 by apply: pow_lt; lra.
have : 0 < lin a * decorr a * rho ^ 2 * (1 - Rabs rho) ^ 2; last lra.
do 2! apply: Rmult_lt_0_compat => //; apply: Rmult_lt_0_compat; rewrite /decorr; lra.
Qed.

(* [kernel-bounds] K(0) = 0 and K(1) = 1 *)
Theorem kernel_ends : kernel a 0 = 0 /\ kernel a 1 = 1.
Proof.
split.
  have := kernel_contracts 0; rewrite Rabs_R0 => /(_ Rle_0_1) le.
  by apply: Rabs_eq_0; have := Rabs_pos (kernel a 0); lra.
by rewrite -[RHS]a_total; apply: Series_ext => k; rewrite pow1 Rmult_1_r.
Qed.

Lemma coefficient_le k : a k ^ 2 <= 1.
Proof. by rewrite -[X in _ <= X]a_total; apply: (term_le_Series (fun k => a k ^ 2)) a_summable => j; apply: pow2_ge_0. Qed.

(* [kernel-bounds] [fixed-points] K'(0) = c *)
Theorem kernel_slope : is_derive (kernel a) 0 (lin a).
Proof.
set p := fun k => a k ^ 2.
have radius : Rbar_lt (Rabs 0) (CV_radius p).
  rewrite Rabs_R0; apply: (Rbar_lt_le_trans _ 1); first exact: Rlt_0_1.
  have [ub _] := CV_radius_bounded p; apply: ub; exists 1 => k.
  rewrite pow1 Rmult_1_r Rabs_pos_eq; last exact: pow2_ge_0.
  exact: coefficient_le.
have := is_derive_PSeries p 0 radius.
have -> : PSeries (PS_derive p) 0 = lin a by rewrite PSeries_0 /PS_derive /= Rmult_1_l.
by [].
Qed.

(* [kernel-bounds] [fixed-points] c < 1 iff the activation is nonlinear: some coefficient beyond the first is not 0 *)
Theorem lin_lt_1 : lin a < 1 <-> exists k, a k.+2 <> 0.
Proof.
have tail := tail_total; have ex := shifted _ a_summable; split=> [lt | [k ne]]; last first.
  have := term_le_Series (fun k => a k.+2 ^ 2) k (fun _ => pow2_ge_0 _) ex; rewrite tail /decorr.
  by have : 0 < a k.+2 ^ 2 by [apply: pow2_gt_0]; lra.
have [//|none] := Classical_Prop.classic (exists k, a k.+2 <> 0); exfalso.
have zero k : a k.+2 = 0 by case: (Req_dec (a k.+2) 0) => // ne; case: none; exists k.
suff s0 : Series (fun k => a k.+2 ^ 2) = 0 by rewrite s0 /decorr in tail; lra.
by rewrite -(Rmult_0_l (Series (fun k => a k.+2 ^ 2))) -Series_scal_l; apply: Series_ext => k; rewrite zero; ring.
Qed.
End Kernel.

(* ---- Parity and the value at rho = -1 ---- *)
Section Parity.
Variable a : nat -> R.
Hypothesis std : standardised a.

Lemma if_even_le b k x : Rabs (if_even b k x) <= Rabs x.
Proof. by rewrite /if_even; case: Bool.eqb; rewrite ?Rabs_R0; [lra | apply: Rabs_pos]. Qed.

Lemma part_summable b rho : Rabs rho <= 1 -> ex_series (fun k => if_even b k (a k ^ 2 * rho ^ k)).
Proof.
move=> r1; apply: (dominated a std) => k.
by apply: Rle_trans (if_even_le _ _ _) _; apply: term_le.
Qed.

(* [gap-parity] K = E + O *)
Theorem kernel_parts rho : Rabs rho <= 1 -> kernel a rho = even_part a rho + odd_part a rho.
Proof.
move=> r1; rewrite -Series_plus; [|exact: part_summable|exact: part_summable].
by apply: Series_ext => k; rewrite /if_even; case: Nat.even => /=; ring.
Qed.

Lemma pow_opp rho k : (- rho) ^ k = (if Nat.even k then 1 else -1) * rho ^ k.
Proof.
elim: k => [|k IH]; first by rewrite /=; ring.
by rewrite -!tech_pow_Rmult IH Nat.even_succ -Nat.negb_even; case: Nat.even => /=; ring.
Qed.

Lemma kernel_opp rho : Rabs rho <= 1 -> kernel a (- rho) = even_part a rho - odd_part a rho.
Proof.
move=> r1; rewrite -Series_minus; [|exact: part_summable|exact: part_summable].
by apply: Series_ext => k; rewrite /if_even pow_opp; case: Nat.even => /=; ring.
Qed.

(* [gap-parity] gap(-s) = gap(s) + 4 E(s) O(s) *)
Theorem gap_parity s : Rabs s <= 1 ->
  (- s) ^ 2 - kernel a (- s) ^ 2 = s ^ 2 - kernel a s ^ 2 + 4 * even_part a s * odd_part a s.
Proof. by move=> s1; rewrite kernel_opp // kernel_parts //; ring. Qed.

Lemma one_le : Rabs 1 <= 1.
Proof. by rewrite Rabs_R1; lra. Qed.

(* [gap-parity] [0, 1] suffices: E O >= 0 there, so the gap at -s is at least the gap at s *)
Theorem unit_interval_suffices s : 0 <= s <= 1 ->
  0 <= even_part a s * odd_part a s /\ s ^ 2 - kernel a s ^ 2 <= (- s) ^ 2 - kernel a (- s) ^ 2.
Proof.
move=> [s0 s1]; have r1 : Rabs s <= 1 by rewrite Rabs_pos_eq.
have pos b k : 0 <= if_even b k (a k ^ 2 * s ^ k).
  rewrite /if_even; case: Bool.eqb; last lra.
  by apply: Rmult_le_pos; [apply: pow2_ge_0 | apply: pow_le].
have EO : 0 <= even_part a s * odd_part a s.
  by apply: Rmult_le_pos; (apply: Series_pos; [apply: pos | apply: part_summable]).
by split=> //; rewrite gap_parity //; lra.
Qed.

(* [gap-parity] [kernel-bounds] the gap at rho = -1 *)
Theorem gap_at_minus_one :
  1 - kernel a (-1) ^ 2 = 4 * even_part a 1 * odd_part a 1 /\ even_part a 1 + odd_part a 1 = 1.
Proof.
have K1 := proj2 (kernel_ends a std); have parts := kernel_parts 1 one_le.
have := gap_parity 1 one_le; change (- (1)) with (-1).
by rewrite K1 in parts *; lra.
Qed.

Lemma part_terms b : Series (fun k => if_even b k (a k ^ 2 * 1 ^ k)) = 0 <->
  forall k, Nat.even k = b -> a k = 0.
Proof.
set u := fun k => _; have pos k : 0 <= u k.
  rewrite /u /if_even pow1; case: Bool.eqb; last lra.
  by have := pow2_ge_0 (a k); lra.
split=> [zero k even_k | zero].
  have := term_le_Series u k pos (part_summable b 1 one_le); rewrite zero {1}/u /if_even even_k.
  rewrite Bool.eqb_reflx pow1 => le; have := pow2_ge_0 (a k) => ge.
  by have : Rsqr (a k) = 0 by [rewrite /Rsqr; lra]; apply: Rsqr_0_uniq.
rewrite -(Rmult_0_l (Series u)) -Series_scal_l; apply: Series_ext => k.
rewrite /u /if_even; case E: Bool.eqb; last ring.
by rewrite zero; [ring | apply: Bool.eqb_prop].
Qed.

Lemma even_part_zero : even_part a 1 = 0 <-> odd_kernel a.
Proof. exact: part_terms. Qed.

Lemma odd_part_zero : odd_part a 1 = 0 <-> even_kernel a.
Proof. exact: part_terms. Qed.

(* [kernel-bounds] K(-1) = -1 iff odd, +1 iff even, strictly between otherwise *)
Theorem kernel_at_minus_one :
  (kernel a (-1) = -1 <-> odd_kernel a) /\ (kernel a (-1) = 1 <-> even_kernel a)
  /\ -1 <= kernel a (-1) <= 1.
Proof.
have [_ total] := gap_at_minus_one; have opp := kernel_opp 1 one_le.
change (- (1)) with (-1) in opp.
split; [|split].
- by rewrite -even_part_zero opp; split; lra.
- by rewrite -odd_part_zero opp; split; lra.
- have := kernel_contracts a std (- (1)); rewrite Rabs_Ropp Rabs_R1 => /(_ (Rle_refl 1)).
  by move=> /Rabs_le_between.
Qed.

(* [rank-equality] the gap at -1 vanishes exactly for an odd or an even activation *)
Theorem gap_at_minus_one_zero : 1 - kernel a (-1) ^ 2 = 0 <-> odd_kernel a \/ even_kernel a.
Proof.
have [-> _] := gap_at_minus_one; rewrite -even_part_zero -odd_part_zero; split=> [eq0|]; last first.
  by case=> ->; ring.
have /Rmult_integral[z|z] : even_part a 1 * odd_part a 1 = 0 by lra.
  by left.
by right.
Qed.
End Parity.

(* ---- Optimality: the two-mode activation sqrt(c) he_1 + sqrt(lambda) he_2 ---- *)
Definition two_mode (c : R) (k : nat) : R :=
  match k with 1%nat => sqrt c | 2%nat => sqrt (1 - c) | _ => 0 end.

Lemma short_series (u : nat -> R) : (forall k, u k.+3 = 0) -> is_series u (u 0%nat + u 1%nat + u 2%nat).
Proof.
move=> zero; apply: (filterlim_ext_loc (fun _ => u 0%nat + u 1%nat + u 2%nat)); last exact: filterlim_const.
exists 2%nat => -[|[|n]]; [by lia | by lia | move=> _].
elim: n => [|n IH]; first by rewrite !sum_Sn sum_O.
by rewrite sum_Sn -IH zero /plus /=; ring.
Qed.

Lemma sqrt_sq c : 0 <= c -> sqrt c ^ 2 = c.
Proof. by move=> c0; rewrite /= Rmult_1_r sqrt_sqrt. Qed.

Lemma two_mode_standardised c : 0 <= c <= 1 -> standardised (two_mode c).
Proof.
move=> [c0 c1]; split=> //.
have := short_series (fun k => two_mode c k ^ 2); rewrite /two_mode !sqrt_sq //; last lra.
have -> : 0 ^ 2 + c + (1 - c) = 1 by ring.
by apply=> k; ring.
Qed.

Lemma two_mode_kernel c rho : 0 <= c <= 1 -> kernel (two_mode c) rho = c * rho + (1 - c) * rho ^ 2.
Proof.
move=> [c0 c1]; apply: is_series_unique.
have := short_series (fun k => two_mode c k ^ 2 * rho ^ k).
rewrite /two_mode !sqrt_sq //; last lra.
have -> : 0 ^ 2 * rho ^ 0 + c * rho ^ 1 + (1 - c) * rho ^ 2 = c * rho + (1 - c) * rho ^ 2 by ring.
by apply=> k; ring.
Qed.

(* [gap-sharp] lambda cannot be improved by any function of c *)
Theorem gap_optimal c lam : 0 <= c <= 1 -> 1 - c < lam ->
  exists a rho, standardised a /\ lin a = c /\ 0 < rho < 1
    /\ rho ^ 2 - kernel a rho ^ 2 < lam * rho ^ 2 * (1 - rho ^ 2).
Proof.
move=> c01 better; pose e := Rmin (lam - (1 - c)) 1; pose rho := 1 - e / 2.
have e0 : 0 < e by apply: Rmin_glb_lt; lra.
have [e1 ee] : e <= 1 /\ e <= lam - (1 - c) by split; [apply: Rmin_r | apply: Rmin_l].
exists (two_mode c), rho; split; first exact: two_mode_standardised.
split; first by rewrite /lin /two_mode sqrt_sq //; lra.
split; first by rewrite /rho; lra.
rewrite two_mode_kernel //; set x := rho.
have x01 : 1 / 2 <= x < 1 by rewrite /x /rho; lra.
have small : c * (1 - c) * (1 - x) < (lam - (1 - c)) * (1 + x).
  have cc : c * (1 - c) <= 1 / 4 by have := pow2_ge_0 (c - 1 / 2); lra.
  have : c * (1 - c) * (1 - x) <= 1 / 4 * (1 - x) by apply: Rmult_le_compat_r; lra.
  have : e * 1 <= (lam - (1 - c)) * (1 + x) by apply: Rmult_le_compat; lra.
  by rewrite /x /rho; lra.
have pos : 0 < x ^ 2 * (1 - x) by apply: Rmult_lt_0_compat; [apply: pow_lt|]; lra.
have := Rmult_lt_compat_l _ _ _ pos small; lra.
Qed.

(* ---- The sharp constant for pure parity ---- *)
Section Sharp.
Variable a : nat -> R.
Hypothesis std : standardised a.

Lemma odd_extremal rho : odd_kernel a -> Rabs rho <= 1 ->
  Rabs (kernel a rho) <= lin a * Rabs rho + (1 - lin a) * Rabs rho ^ 3.
Proof.
move=> odd r1; rewrite kernel_split //.
have := tail_bound a std (fun k => if k is _.+1 then rho ^ k.+2 else 0) (Rabs rho ^ 3) _.
move=> /(_ _) near.
apply: Rle_trans (Rabs_triang _ _) _; rewrite Rabs_mult (Rabs_pos_eq (lin a)); last exact: (lin_range a std).1.
apply: Rplus_le_compat_l; rewrite Rmult_comm.
have -> : Series (fun k => a k.+2 ^ 2 * rho ^ k.+2)
        = Series (fun k => a k.+2 ^ 2 * (if k is _.+1 then rho ^ k.+2 else 0)).
  by apply: Series_ext => -[|k] //; rewrite odd //; ring.
apply: near => -[|k]; first by rewrite Rabs_R0; apply: pow_le; apply: Rabs_pos.
rewrite -RPow_abs; change (Rabs rho ^ k.+3) with (Rabs rho * (Rabs rho * (Rabs rho * Rabs rho ^ k))).
have := pow_le_1 rho k r1; rewrite -RPow_abs => le1.
have := pow_le _ 3 (Rabs_pos rho) => pos; have := Rmult_le_compat_l _ _ _ pos le1.
by rewrite /=; lra.
Qed.

Lemma even_extremal rho : even_kernel a -> Rabs rho <= 1 -> lin a = 0 /\ Rabs (kernel a rho) <= Rabs rho ^ 2.
Proof.
move=> even r1; have c0 : lin a = 0 by rewrite /lin even //; ring.
by split=> //; have := kernel_extremal a std rho r1; rewrite c0; lra.
Qed.

(* [gap-parity] the gap of a pure-parity activation *)
Theorem gap_pure_parity rho : odd_kernel a \/ even_kernel a -> Rabs rho <= 1 ->
  rho ^ 2 - kernel a rho ^ 2 >= decorr a * (1 + lin a) * rho ^ 2 * (1 - rho ^ 2).
Proof.
move=> parity r1; apply: Rle_ge; have [c0 c1] := lin_range a std.
case: parity => [odd | even].
  have bound := odd_extremal rho odd r1; rewrite -[rho ^ 2]Rabs_sq.
  have := @odd_quartic_gap R_realFieldType (lin a) (Rabs rho) (kernel a rho).
  rewrite -!RpowE => h; apply/RleP; apply: h; last exact/RleP.
    by apply/andP; split; apply/RleP.
  by apply/andP; split; apply/RleP => //; apply: Rabs_pos.
have [z bound] := even_extremal rho even r1; rewrite /decorr z.
have := pow_incr _ _ 2 (conj (Rabs_pos (kernel a rho)) bound); rewrite !Rabs_sq; lra.
Qed.

Lemma ratio_near_zero rho : 0 < rho < 1 -> ratio a rho <= (1 - lin a ^ 2) / (1 - rho ^ 2).
Proof.
move=> [r0 r1]; have ra : Rabs rho <= 1 by rewrite Rabs_pos_eq; lra.
have tail : 0 <= Series (fun k => a k.+2 ^ 2 * rho ^ k.+2).
  apply: Series_pos (shifted _ (kernel_summable a std rho ra)) => k.
  by apply: Rmult_le_pos (pow2_ge_0 _) _; apply: pow_le; lra.
have [c0 _] := lin_range a std; have low : 0 <= lin a * rho <= kernel a rho.
  by rewrite kernel_split //; split; [apply: Rmult_le_pos; lra | lra].
have sq := pow_incr _ _ 2 low; have p1 : 0 < 1 - rho ^ 2 by nra.
have p2 : 0 < rho ^ 2 by apply: pow_lt.
rewrite /ratio; have -> : (1 - lin a ^ 2) / (1 - rho ^ 2) = (rho ^ 2 - (lin a * rho) ^ 2) / (rho ^ 2 * (1 - rho ^ 2)).
  by field; lra.
apply: Rmult_le_compat_r; last lra.
by apply/Rlt_le/Rinv_0_lt_compat/Rmult_lt_0_compat.
Qed.

(* [gap-parity] kappa = lambda (1 + c) for a pure-parity activation, approached at rho -> 0 *)
Theorem kappa_pure_parity : odd_kernel a \/ even_kernel a ->
  is_inf (fun r => exists rho, 0 < Rabs rho < 1 /\ r = ratio a rho) (decorr a * (1 + lin a)).
Proof.
move=> parity; have [c0 c1] := lin_range a std; split=> [_ [rho [[r0 r1] ->]] | eps e0].
  have p2 : 0 < rho ^ 2 by rewrite -Rabs_sq; apply: pow_lt.
  have p1 : 0 < 1 - rho ^ 2 by rewrite -Rabs_sq; nra.
  apply: (proj1 (Rle_div_r _ _ _ _)); first exact: Rmult_lt_0_compat.
  by have := gap_pure_parity rho parity (Rlt_le _ _ r1); lra.
pose rho := eps / (2 * (1 + eps)).
have r01 : 0 < rho < 1 / 2.
  by split; [apply: Rdiv_lt_0_compat | apply: (proj2 (Rlt_div_l _ _ _ _))]; lra.
exists (ratio a rho); split; first by exists rho; rewrite Rabs_pos_eq; lra.
apply: Rle_lt_trans (ratio_near_zero rho _) _; first lra.
have p1 : 0 < 1 - rho ^ 2 by nra.
apply: (proj2 (Rlt_div_l _ _ _ _)) => //; have twice : 2 * rho * (1 + eps) = eps by rewrite /rho; field; lra.
have small : rho ^ 2 * (1 + eps) < eps by nra.
rewrite /decorr; have := pow2_ge_0 (lin a); have := pow2_ge_0 rho; nra.
Qed.
End Sharp.
