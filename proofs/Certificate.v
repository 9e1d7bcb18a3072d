(* The checker of gap certificates (python -m lop_theory.gap --certificate), as a boolean function over Z, and its
   soundness: what it accepts is a lower bound of r on all of (-1, 1).

   D               the unit: a whole number z stands for z / D
   box             lower and upper end of a coefficient a_k
   certificate     unit, cells, boxes of a_1, a_2, ..., enclosure of lambda, slack of each cell, floor of kappa
   check c         the checker;  encloses c a   the boxes hold for the coefficients a
   with g(t) = c t + (1 - c) t^2 and Q = sum_j T_(j+3) rho^j, T_m = sum_(k >= m) a_k^2:
   r = lambda + (c lambda (1 - rho) + (g + K) Q) / (1 + rho) on (0, 1)                                          *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From lop Require Import Gap.
From Coq Require Import Lra Lia ZArith List.
Import ListNotations.
Local Open Scope bool_scope.
Local Open Scope R_scope.

(* ---- The checker ---- *)
Definition box := (Z * Z)%type.
Record certificate := Certificate { unit : Z; cells : Z; boxes : list box; lambda : box; slack : list Z; kappa : Z }.

(* bounds of a square from those of a number, in the same unit *)
Definition square_low (D : Z) (b : box) : Z :=
  (if (fst b <=? 0) && (0 <=? snd b) then 0 else Z.min (fst b * fst b) (snd b * snd b) / D)%Z.
(* the least square in a box, in units of its square *)
Definition square_least (b : box) : Z :=
  (if (fst b <=? 0) && (0 <=? snd b) then 0 else Z.min (fst b * fst b) (snd b * snd b))%Z.
Definition square_high (D : Z) (b : box) : Z := (- (- Z.max (fst b * fst b) (snd b * snd b) / D))%Z.

(* (p, q) with p / q = sum_k l_k (i / C)^k, exactly *)
Fixpoint fraction (C i : Z) (l : list Z) : Z * Z :=
  match l with [] => (0, 1)%Z | x :: l => let (p, q) := fraction C i l in (x * (C * q) + i * p, C * q)%Z end.

(* T_3, T_4, ... from t = T_2 and the squares of a_2, a_3, ... *)
Fixpoint tails (t : Z) (high : list Z) : list Z :=
  match high with [] => [] | h :: high => let t := Z.max 0 (t - h) in t :: tails t high end.

(* g + K as a polynomial: c = first square, the rest from the second on *)
Definition growth (D c : Z) (low : list Z) : list Z :=
  match low with [] => [0; 2 * c; D - c] | l :: low => 0 :: 2 * c :: D - c + l :: low end%Z.

Definition cell_ok (D C c strength floor : Z) (G Q : list Z) (i ell : Z) : bool :=
  let (gp, gq) := fraction C i G in let (qp, qq) := fraction C i Q in
  ((0 <=? ell) && (ell * D * C * (gq * qq) <=? c * strength * (C - i - 1) * (gq * qq) + C * (gp * qp))
   && ((floor - strength) * (C + i + 1) <=? ell * C))%Z.

Fixpoint cells_ok (test : Z -> Z -> bool) (i : Z) (slack : list Z) : bool :=
  match slack with [] => true | ell :: slack => test i ell && cells_ok test (i + 1)%Z slack end.

(* what no coefficients could satisfy, and would make a theorem about them empty, is refused *)
Definition ordered (b : box) : bool := (fst b <=? snd b)%Z.

Definition check (c : certificate) : bool :=
  let D := unit c in let low := map (square_low D) (boxes c) in let high := map (square_high D) (boxes c) in
  match low, high with
  | l1 :: low, h1 :: high => ((0 <? D) && (0 <? cells c)
      && forallb ordered (boxes c) && (fold_right Z.add 0 (map square_least (boxes c)) <=? D * D) && (Z.of_nat (length (slack c)) =? cells c)
      && (fst (lambda c) =? Z.max 0 (D - h1)) && (snd (lambda c) =? Z.min D (D - l1))
      && cells_ok (cell_ok D (cells c) l1 (fst (lambda c)) (kappa c) (growth D l1 low) (tails (D - h1) high)) 0 (slack c))%Z
  | _, _ => false
  end.

Definition encloses (c : certificate) (a : nat -> R) := forall k, (k < length (boxes c))%nat ->
  IZR (fst (nth k (boxes c) (0, 0)%Z)) <= IZR (unit c) * a (S k) <= IZR (snd (nth k (boxes c) (0, 0)%Z)).

(* ---- Soundness ---- *)
Fixpoint eval (l : list Z) (x : R) : R := match l with [] => 0 | c :: l => IZR c + x * eval l x end.
Definition nonneg (l : list Z) := Forall (fun z => (0 <= z)%Z) l.

Lemma fraction_eval C i l : (0 < C)%Z -> (0 < snd (fraction C i l))%Z
  /\ eval l (IZR i / IZR C) = IZR (fst (fraction C i l)) / IZR (snd (fraction C i l)).
Proof.
intros C0; assert (c := IZR_lt 0 C C0); induction l as [|x l [q0 IH]]; simpl; [split; [lia | lra]|].
destruct (fraction C i l) as [p q]; simpl in *; split; [nia|].
rewrite IH, plus_IZR, !mult_IZR; assert (qq := IZR_lt 0 q q0); field; lra.
Qed.

Lemma eval_mono l x y : nonneg l -> 0 <= x <= y -> 0 <= eval l x <= eval l y.
Proof.
intros nn xy; induction nn as [|c l c0 nn IH]; simpl; [lra|].
apply IZR_le in c0; simpl in c0; split; [apply Rplus_le_le_0_compat; [exact c0 | apply Rmult_le_pos; lra]|].
apply Rplus_le_compat_l, Rmult_le_compat; lra.
Qed.

Lemma div_low x D : (0 < D)%Z -> IZR D * IZR (x / D) <= IZR x.
Proof. intros D0; rewrite <- mult_IZR; apply IZR_le, Z.mul_div_le, D0. Qed.

Lemma square_bounds D lo hi x : (0 < D)%Z -> IZR lo <= IZR D * x <= IZR hi ->
  (0 <= square_low D (lo, hi))%Z /\ IZR (square_low D (lo, hi)) <= IZR D * x ^ 2 <= IZR (square_high D (lo, hi)).
Proof.
intros D0 b; assert (d := IZR_lt 0 D D0); simpl in d; unfold square_low, square_high; simpl fst; simpl snd.
set (y := IZR D * x) in *; assert (sq : IZR D * x ^ 2 = y * y / IZR D) by (unfold y; field; lra).
split; [destruct (_ && _)%bool; [lia | apply Z.div_pos; [apply Z.min_glb; nia | exact D0]]|].
rewrite sq; split.
- assert (0 <= y * y / IZR D) by (apply Rdiv_le_0_compat; nra).
  assert (m1 := IZR_le _ _ (Z.le_min_l (lo * lo) (hi * hi))); assert (m2 := IZR_le _ _ (Z.le_min_r (lo * lo) (hi * hi))).
  rewrite mult_IZR in m1, m2; assert (away : 0 < IZR lo \/ IZR hi < 0 -> IZR (Z.min (lo * lo) (hi * hi) / D) <= y * y / IZR D).
  { intros s; apply (proj1 (Rle_div_r _ _ _ d)); rewrite Rmult_comm; apply Rle_trans with (1 := div_low _ D D0); destruct s; nra. }
  destruct (Z.leb_spec lo 0) as [l|l]; [destruct (Z.leb_spec 0 hi) as [h|h]|]; simpl; [assumption | |].
  + apply away; right; exact (IZR_lt _ _ h).
  + apply away; left; exact (IZR_lt _ _ l).
- apply (proj2 (Rle_div_l _ _ _ d)); rewrite opp_IZR.
  assert (h := div_low (- Z.max (lo * lo) (hi * hi)) D D0); rewrite opp_IZR in h.
  assert (m1 := IZR_le _ _ (Z.le_max_l (lo * lo) (hi * hi))); assert (m2 := IZR_le _ _ (Z.le_max_r (lo * lo) (hi * hi))).
  rewrite mult_IZR in m1, m2; destruct (Rle_lt_dec 0 y); nra.
Qed.

Section Sound.
Variable a : nat -> R.
Hypothesis std : standardised a.
Variables (D : Z) (rho : R).
Hypothesis D0 : (0 < D)%Z.
Hypothesis r01 : 0 < rho < 1.

(* sum_(k >= m) a_k^2 rho^(k-m) and T_m *)
Definition rest m := Series (fun k => a (m + k)%nat ^ 2 * rho ^ k).
Definition total m := Series (fun k => a (m + k)%nat ^ 2).

Lemma total_ex m : ex_series (fun k => a (m + k)%nat ^ 2).
Proof. apply (ex_series_incr_n (fun k => a k ^ 2)), a_summable, std. Qed.
Lemma term_bound m k : 0 <= a (m + k)%nat ^ 2 * rho ^ k <= a (m + k)%nat ^ 2.
Proof.
assert (p := pow2_ge_0 (a (m + k)%nat)); assert (q : 0 <= rho ^ k <= 1).
{ split; [apply pow_le; lra|]; rewrite <- (pow1 k); apply pow_incr; lra. }
split; [apply Rmult_le_pos; lra|]; rewrite <- (Rmult_1_r (_ ^ 2)) at 2; apply Rmult_le_compat_l; lra.
Qed.
Lemma rest_ex m : ex_series (fun k => a (m + k)%nat ^ 2 * rho ^ k).
Proof.
apply (ex_series_le (V := R_CompleteNormedModule)) with (2 := total_ex m); intros k.
change (Rabs (a (m + k)%nat ^ 2 * rho ^ k) <= a (m + k)%nat ^ 2); assert (b := term_bound m k); rewrite Rabs_pos_eq; lra.
Qed.
Lemma rest_pos m : 0 <= rest m.
Proof. apply Series_pos; [intros k; apply term_bound | apply rest_ex]. Qed.
Lemma total_pos m : 0 <= total m.
Proof. apply Series_pos; [intros k; apply pow2_ge_0 | apply total_ex]. Qed.
Lemma rest_le m : rest m <= total m.
Proof. apply Series_le; [intros k; apply term_bound | apply total_ex]. Qed.
Lemma rest_step m : rest m = a m ^ 2 + rho * rest (S m).
Proof.
unfold rest; rewrite Series_incr_1 by apply rest_ex; rewrite Nat.add_0_r, pow_O, Rmult_1_r; f_equal.
rewrite <- Series_scal_l; apply Series_ext; intros k; rewrite Nat.add_succ_r; simpl; ring.
Qed.
Lemma total_step m : total m = a m ^ 2 + total (S m).
Proof.
unfold total; rewrite Series_incr_1 by apply total_ex; rewrite Nat.add_0_r; f_equal.
apply Series_ext; intros k; now rewrite Nat.add_succ_r.
Qed.
Lemma total_two : total 2 = decorr a.
Proof. rewrite <- (tail_total a std); apply Series_ext; intros k; reflexivity. Qed.
Lemma kernel_rest : kernel a rho = lin a * rho + rho ^ 2 * rest 2.
Proof.
rewrite (kernel_split a std rho) by (rewrite Rabs_pos_eq; lra); f_equal; unfold rest.
rewrite <- Series_scal_l; apply Series_ext; intros k; simpl; ring.
Qed.

Definition low_bounds (low : list Z) m := forall k, (k < length low)%nat -> IZR (nth k low 0%Z) <= IZR D * a (m + k)%nat ^ 2.
Definition high_bounds (high : list Z) m := forall k, (k < length high)%nat -> IZR D * a (m + k)%nat ^ 2 <= IZR (nth k high 0%Z).

Lemma D_pos : 0 < IZR D.
Proof. exact (IZR_lt 0 D D0). Qed.

Lemma rest_above low m : low_bounds low m -> eval low rho <= IZR D * rest m.
Proof.
revert m; induction low as [|l low IH]; intros m h; simpl; [assert (p := rest_pos m); assert (d := D_pos); nra|].
assert (h0 := h 0%nat ltac:(simpl; lia)); rewrite Nat.add_0_r in h0; simpl in h0.
assert (h1 : low_bounds low (S m)) by (intros k lt; assert (e := h (S k) ltac:(simpl; lia)); rewrite Nat.add_succ_r in e; exact e).
specialize (IH _ h1); rewrite rest_step; nra.
Qed.

Lemma tails_nonneg t high : nonneg (tails t high).
Proof. revert t; induction high as [|h high IH]; intros t; constructor; [lia | apply IH]. Qed.

Lemma tails_below high m t : IZR t <= IZR D * total m -> high_bounds high m ->
  (1 - rho) * eval (tails t high) rho <= IZR D * (total m - rest m).
Proof.
revert m t; induction high as [|h high IH]; intros m t ht hb; simpl; [assert (p := rest_le m); assert (d := D_pos); nra|].
assert (h0 := hb 0%nat ltac:(simpl; lia)); rewrite Nat.add_0_r in h0; simpl in h0.
assert (h1 : high_bounds high (S m)) by (intros k lt; assert (e := hb (S k) ltac:(simpl; lia)); rewrite Nat.add_succ_r in e; exact e).
assert (t' : IZR (Z.max 0 (t - h)) <= IZR D * total (S m)).
{ destruct (Z.max_spec 0 (t - h)) as [[_ ->] | [_ ->]]; [rewrite minus_IZR; rewrite total_step in ht; lra|].
  apply Rmult_le_pos; [apply Rlt_le, D_pos | apply total_pos]. }
specialize (IH _ _ t' h1); rewrite (total_step m), (rest_step m); nra.
Qed.

(* (1 - rho) Q and g + K *)
Definition below := total 2 - rest 2.
Definition sum_gK := 2 * lin a * rho + rho ^ 2 * (decorr a + rest 2).

Lemma growth_below c low : (0 <= c)%Z -> IZR c <= IZR D * lin a -> low_bounds low 2 ->
  eval (growth D c low) rho <= IZR D * sum_gK.
Proof.
intros c0 cl lb; assert (h := rest_above low 2 lb); apply IZR_le in c0; simpl in c0; unfold sum_gK, decorr.
assert (e : eval (growth D c low) rho = 2 * IZR c * rho + rho ^ 2 * (IZR D - IZR c + eval low rho)).
{ destruct low as [|l low]; cbn [eval growth]; rewrite ?plus_IZR, ?minus_IZR, ?mult_IZR; ring. }
assert (p : 0 <= rho ^ 2) by apply pow2_ge_0.
assert (0 <= (IZR D * lin a - IZR c) * (2 * rho - rho ^ 2)) by (apply Rmult_le_pos; [lra | simpl; nra]).
rewrite e; nra.
Qed.

Lemma ratio_form : ratio a rho * (1 + rho)
  = decorr a * (1 + rho) + lin a * decorr a * (1 - rho) + below / (1 - rho) * sum_gK.
Proof.
assert (nz : 1 - rho ^ 2 <> 0) by nra; unfold ratio, below, sum_gK; rewrite total_two, kernel_rest; unfold decorr.
field; repeat split; lra || exact nz.
Qed.

Lemma cell_sound C c s floor G Q i ell : (0 < C)%Z -> (0 <= c)%Z -> (0 <= s)%Z ->
  IZR c <= IZR D * lin a -> IZR s <= IZR D * decorr a -> nonneg G -> nonneg Q ->
  eval G rho <= IZR D * sum_gK -> (1 - rho) * eval Q rho <= IZR D * below ->
  (0 <= i < C)%Z -> IZR i / IZR C <= rho <= (IZR i + 1) / IZR C ->
  cell_ok D C c s floor G Q i ell = true -> IZR floor / IZR D <= ratio a rho.
Proof.
intros C0 c0 s0 cl sl nG nQ eG eQ [i0 iC] [iu iv] ok; unfold cell_ok in ok.
destruct (fraction_eval C i G C0) as [gq0 gE], (fraction_eval C i Q C0) as [qq0 qE].
destruct (fraction C i G) as [gp gq], (fraction C i Q) as [qp qq]; simpl in gq0, qq0, gE, qE.
rewrite !Bool.andb_true_iff in ok; destruct ok as [[l0 cell] fl]; apply Z.leb_le, IZR_le in l0, cell, fl.
repeat rewrite ?plus_IZR, ?minus_IZR, ?mult_IZR in cell; repeat rewrite ?plus_IZR, ?minus_IZR, ?mult_IZR in fl.
assert (d := D_pos); assert (C1 := IZR_lt 0 C C0); assert (gq1 := IZR_lt 0 gq gq0); assert (qq1 := IZR_lt 0 qq qq0).
apply IZR_le in c0, s0, i0; apply IZR_lt in iC; simpl in *.
assert (u0 : 0 <= IZR i / IZR C <= rho) by (split; [apply Rdiv_le_0_compat; lra | exact iu]).
assert (mG := eval_mono G _ _ nG u0); assert (mQ := eval_mono Q _ _ nQ u0); rewrite gE in mG; rewrite qE in mQ.
set (g := IZR gp / IZR gq) in *; set (q := IZR qp / IZR qq) in *; set (v := (IZR i + 1) / IZR C) in *.
assert (Qr : q <= IZR D * (below / (1 - rho))).
{ apply Rle_trans with (1 := proj2 mQ); apply Rmult_le_reg_l with (1 - rho); [lra|].
  replace ((1 - rho) * (IZR D * (below / (1 - rho)))) with (IZR D * below) by (field; lra); exact eQ. }
assert (cell' : IZR ell * IZR D <= IZR c * IZR s * (1 - v) + g * q).
{ apply Rmult_le_reg_r with (IZR C * (IZR gq * IZR qq)); [apply Rmult_lt_0_compat; nra|].
  replace ((IZR c * IZR s * (1 - v) + g * q) * (IZR C * (IZR gq * IZR qq)))
    with (IZR c * IZR s * (IZR C - IZR i - 1) * (IZR gq * IZR qq) + IZR C * (IZR gp * IZR qp))
    by (unfold g, q, v; field; lra).
  lra. }
assert (v1 : v <= 1) by (apply (proj2 (Rle_div_l _ _ _ C1)); assert (i + 1 <= C)%Z by (apply lt_IZR in iC; lia); apply IZR_le in H; rewrite plus_IZR in H; simpl in H; lra).
assert (cs : IZR c * IZR s * (1 - v) <= IZR D * IZR D * (lin a * decorr a * (1 - rho))).
{ apply Rle_trans with ((IZR D * lin a) * (IZR D * decorr a) * (1 - rho)); [|right; ring].
  apply Rmult_le_compat; [nra | lra | apply Rmult_le_compat; lra | lra]. }
assert (gq' : g * q <= IZR D * IZR D * (below / (1 - rho) * sum_gK)).
{ apply Rle_trans with ((IZR D * sum_gK) * (IZR D * (below / (1 - rho)))); [|right; ring].
  apply Rmult_le_compat; lra. }
set (w := lin a * decorr a * (1 - rho) + below / (1 - rho) * sum_gK) in *.
assert (ew : IZR ell <= IZR D * w) by (apply Rmult_le_reg_r with (IZR D); [exact d | unfold w; nra]).
assert (rf := ratio_form); assert (fv : (IZR floor - IZR s) * (1 + v) <= IZR ell).
{ apply Rmult_le_reg_r with (IZR C); [exact C1|]; replace ((IZR floor - IZR s) * (1 + v) * IZR C)
    with ((IZR floor - IZR s) * (IZR C + IZR i + 1)) by (unfold v; field; lra); exact fl. }
apply (proj2 (Rle_div_l _ _ _ d)); apply Rmult_le_reg_r with (1 + rho); [lra|].
assert (fw : (IZR floor - IZR s) * (1 + rho) <= IZR D * w).
{ destruct (Rle_lt_dec (IZR floor) (IZR s)); [apply Rle_trans with 0; nra|].
  apply Rle_trans with ((IZR floor - IZR s) * (1 + v)); [apply Rmult_le_compat_l; lra | lra]. }
replace (ratio a rho * IZR D * (1 + rho)) with (IZR D * (ratio a rho * (1 + rho))) by ring.
rewrite rf, !Rmult_plus_distr_l; unfold w in fw; nra.
Qed.
End Sound.

Lemma cell_of rho C : (0 < C)%Z -> 0 < rho < 1 -> exists i, (0 <= i < C)%Z /\ IZR i / IZR C <= rho <= (IZR i + 1) / IZR C.
Proof.
intros C0 r01; assert (c := IZR_lt 0 C C0); simpl in c; set (i := (up (rho * IZR C) - 1)%Z); exists i.
destruct (archimed (rho * IZR C)) as [h1 h2].
assert (e : IZR i = IZR (up (rho * IZR C)) - 1) by (unfold i; now rewrite minus_IZR).
split; [split|].
- assert (-1 < i)%Z by (apply lt_IZR; rewrite e; nra); lia.
- apply lt_IZR; rewrite e; nra.
- rewrite e; split; [apply (proj2 (Rle_div_l _ _ _ c)); lra | apply (proj1 (Rle_div_r _ _ _ c)); lra].
Qed.

Lemma cells_ok_nth test slack : forall i k, cells_ok test i slack = true -> (k < length slack)%nat ->
  test (i + Z.of_nat k)%Z (nth k slack 0%Z) = true.
Proof.
induction slack as [|ell slack IH]; intros i k ok lt; [simpl in lt; lia|].
simpl in ok; rewrite Bool.andb_true_iff in ok; destruct ok as [ok rest]; destruct k as [|k].
- rewrite Z.add_0_r; exact ok.
- simpl nth; replace (i + Z.of_nat (S k))%Z with (i + 1 + Z.of_nat k)%Z by lia; apply IH; [exact rest | simpl in lt; lia].
Qed.

Lemma squares_bound a D bs m : (0 < D)%Z ->
  (forall k, (k < length bs)%nat -> IZR (fst (nth k bs (0, 0)%Z)) <= IZR D * a (m + k)%nat <= IZR (snd (nth k bs (0, 0)%Z))) ->
  nonneg (map (square_low D) bs) /\ low_bounds a D (map (square_low D) bs) m /\ high_bounds a D (map (square_high D) bs) m.
Proof.
intros D0 b; assert (sq : forall k, (k < length bs)%nat -> (0 <= square_low D (nth k bs (0, 0)%Z))%Z /\
  IZR (square_low D (nth k bs (0, 0)%Z)) <= IZR D * a (m + k)%nat ^ 2 <= IZR (square_high D (nth k bs (0, 0)%Z))).
{ intros k lt; specialize (b k lt); destruct (nth k bs (0, 0)%Z) as [lo hi]; apply square_bounds; assumption. }
split; [|split].
- apply Forall_forall; intros z hz; apply in_map_iff in hz; destruct hz as [x [<- hx]].
  destruct (In_nth _ _ (0, 0)%Z hx) as [k [lt <-]]; apply sq, lt.
- intros k lt; rewrite map_length in lt; rewrite (nth_indep _ _ (square_low D (0, 0)%Z)), map_nth by (rewrite map_length; exact lt); apply sq, lt.
- intros k lt; rewrite map_length in lt; rewrite (nth_indep _ _ (square_high D (0, 0)%Z)), map_nth by (rewrite map_length; exact lt); apply sq, lt.
Qed.

(* negative rho never lies lower *)
Lemma ratio_opp a s : standardised a -> 0 < s < 1 -> ratio a s <= ratio a (- s).
Proof.
intros std s01; assert (h := proj2 (unit_interval_suffices a std s ltac:(lra))); unfold ratio.
replace ((- s) ^ 2 * (1 - (- s) ^ 2)) with (s ^ 2 * (1 - s ^ 2)) by ring.
apply Rmult_le_compat_r; [apply Rlt_le, Rinv_0_lt_compat, Rmult_lt_0_compat; [apply pow_lt; lra | simpl; nra] | exact h].
Qed.

(* [gap-certificate] what the checker accepts holds: lambda is enclosed, and kappa / unit bounds r from below *)
Theorem certificate_holds c a : check c = true -> standardised a -> encloses c a ->
  IZR (fst (lambda c)) <= IZR (unit c) * decorr a <= IZR (snd (lambda c))
  /\ forall rho, 0 < Rabs rho < 1 -> IZR (kappa c) / IZR (unit c) <= ratio a rho.
Proof.
intros ok std enc; destruct c as [D C bs [s1 s2] sl fl]; unfold check, encloses in *; simpl in *.
destruct bs as [|b bs]; [discriminate|]; cbn [map] in ok.
rewrite !Bool.andb_true_iff in ok; destruct ok as [[[[[[[D0 C0] _] _] len] e1] e2] cok].
apply Z.ltb_lt in D0, C0; apply Z.eqb_eq in len, e1, e2.
destruct (squares_bound a D (b :: bs) 1 D0 enc) as [nn [lb hb]]; cbn [map] in nn, lb, hb.
assert (l1 := lb 0%nat ltac:(simpl; lia)); assert (h1 := hb 0%nat ltac:(simpl; lia)); simpl in l1, h1.
assert (lb2 : low_bounds a D (map (square_low D) bs) 2) by (intros k lt; exact (lb (S k) ltac:(simpl; lia))).
assert (hb2 : high_bounds a D (map (square_high D) bs) 2) by (intros k lt; exact (hb (S k) ltac:(simpl; lia))).
set (q1 := square_low D b) in *; set (p1 := square_high D b) in *.
assert (d := IZR_lt 0 D D0); simpl in d; assert (q0 : (0 <= q1)%Z) by (inversion nn; assumption).
assert (dec := decorr_pos a std); assert (lr := lin_range a std); unfold lin in lr.
assert (sl1 : IZR s1 <= IZR D * decorr a).
{ rewrite e1; destruct (Z.max_spec 0 (D - p1)) as [[_ ->] | [_ ->]]; [rewrite minus_IZR; unfold decorr, lin; lra | nra]. }
assert (sl2 : IZR D * decorr a <= IZR s2).
{ rewrite e2; destruct (Z.min_spec D (D - q1)) as [[_ ->] | [_ ->]]; [nra | rewrite minus_IZR; unfold decorr, lin; lra]. }
split; [split; assumption|].
assert (pos : forall r, 0 < r < 1 -> IZR fl / IZR D <= ratio a r).
{ intros r r01; destruct (cell_of r C C0 r01) as [i [iC ir]].
  assert (cell := cells_ok_nth _ _ _ (Z.to_nat i) cok ltac:(lia)); rewrite Z2Nat.id, Z.add_0_l in cell by lia.
  assert (qD : (q1 <= D)%Z) by (apply le_IZR; nra).
  refine (cell_sound a std D r D0 r01 C q1 s1 fl _ _ i _ C0 q0 _ l1 sl1 _ _ _ _ iC ir cell).
  - rewrite e1; apply Z.le_max_l.
  - assert (tl := Forall_inv_tail nn); destruct (map (square_low D) bs) as [|y m]; unfold growth.
    + repeat (apply Forall_cons; [lia|]); apply Forall_nil.
    + assert (y0 := Forall_inv tl); simpl in y0; repeat (apply Forall_cons; [lia|]); exact (Forall_inv_tail tl).
  - apply tails_nonneg.
  - apply growth_below; assumption.
  - apply (tails_below a std D r D0 r01 _ 2); [|exact hb2].
    rewrite (total_two a std), minus_IZR; unfold decorr, lin; simpl; lra. }
intros rho; unfold Rabs; destruct Rcase_abs as [neg | nonneg_]; intros r01; [|exact (pos rho r01)].
apply Rle_trans with (1 := pos _ r01); rewrite <- (Ropp_involutive rho) at 2; apply ratio_opp; assumption.
Qed.

(* ---- What the checker accepts speaks of some activation ---- *)
(* the end of a box that is nearest to 0, or 0 *)
Definition nearest (b : box) : Z := (if (fst b <=? 0) && (0 <=? snd b) then 0 else if 0 <? fst b then fst b else snd b)%Z.

Lemma nearest_square b : ordered b = true -> (nearest b * nearest b)%Z = square_least b.
Proof.
unfold ordered, nearest, square_least; destruct b as [lo hi]; simpl fst; simpl snd; intros o; apply Z.leb_le in o.
destruct (Z.leb_spec lo 0), (Z.leb_spec 0 hi), (Z.ltb_spec 0 lo); simpl; nia.
Qed.

Lemma nearest_inside b : ordered b = true -> (fst b <= nearest b <= snd b)%Z.
Proof.
unfold ordered, nearest; destruct b as [lo hi]; simpl fst; simpl snd; intros o; apply Z.leb_le in o.
destruct (Z.leb_spec lo 0), (Z.leb_spec 0 hi), (Z.ltb_spec 0 lo); simpl; lia.
Qed.

Lemma finite_series (l : list R) : is_series (fun k => nth k l 0 ^ 2) (fold_right (fun x s => x ^ 2 + s) 0 l).
Proof.
induction l as [|x l IH]; simpl fold_right.
- apply filterlim_ext with (fun _ : nat => 0); [|apply filterlim_const].
  intros n; rewrite (sum_n_ext _ (fun _ => 0)), sum_n_const; [ring | intros [|k]; simpl; ring].
- apply is_series_decr_1; simpl nth; replace (plus _ _) with (fold_right (fun x s => x ^ 2 + s) 0 l); [exact IH|].
  unfold plus, opp; simpl; ring.
Qed.

Lemma least_squares D bs last : (0 < D)%Z -> forallb ordered bs = true ->
  fold_right (fun x s => x ^ 2 + s) 0 (map (fun b => IZR (nearest b) / IZR D) bs ++ [last])
  = IZR (fold_right Z.add 0%Z (map square_least bs)) / (IZR D * IZR D) + last ^ 2.
Proof.
intros D0 o; assert (d := IZR_lt 0 D D0); simpl in d; induction bs as [|b bs IH]; [simpl; field; lra|].
simpl in o; apply Bool.andb_true_iff in o; destruct o as [o os]; cbn [map app fold_right]; rewrite (IH os).
rewrite plus_IZR, <- (nearest_square b o), mult_IZR; field; lra.
Qed.

(* [gap-certificate] the boxes of what the checker accepts hold some standardised coefficients *)
Theorem certificate_possible c : check c = true -> exists a, standardised a /\ encloses c a.
Proof.
destruct c as [D C bs lm sl fl]; unfold check, encloses; cbn [unit boxes]; intros ok.
destruct bs as [|b bs]; [discriminate|]; cbn [map] in ok.
rewrite !Bool.andb_true_iff in ok; destruct ok as [[[[[[[D0 _] o] sum] _] _] _] _].
apply Z.ltb_lt in D0; apply Z.leb_le in sum; assert (d := IZR_lt 0 D D0); simpl in d.
change (square_least b :: map square_least bs) with (map square_least (b :: bs)) in sum.
set (total := fold_right Z.add 0%Z (map square_least (b :: bs))) in *.
assert (s1 : IZR total / (IZR D * IZR D) <= 1).
{ apply (proj2 (Rle_div_l _ _ _ (Rmult_lt_0_compat _ _ d d))); rewrite Rmult_1_l, <- mult_IZR; apply IZR_le, sum. }
set (near := map (fun b => IZR (nearest b) / IZR D) (b :: bs)).
exists (fun k => nth k (0 :: near ++ [sqrt (1 - IZR total / (IZR D * IZR D))]) 0); split; [split; [reflexivity|]|].
- assert (h := finite_series (0 :: near ++ [sqrt (1 - IZR total / (IZR D * IZR D))])); cbn [fold_right] in h.
  unfold near in h at 2; rewrite (least_squares D (b :: bs) _ D0 o) in h; fold total in h.
  rewrite pow2_sqrt in h by lra; match type of h with is_series _ ?v => replace v with 1 in h by ring end; exact h.
- intros k lt; cbn [nth]; rewrite app_nth1 by (unfold near; rewrite map_length; exact lt); unfold near.
  rewrite (nth_indep _ 0 (IZR (nearest (0, 0)%Z) / IZR D)) by (rewrite map_length; exact lt); rewrite (map_nth (fun b => IZR (nearest b) / IZR D)).
  rewrite forallb_forall in o; assert (i := nearest_inside _ (o _ (nth_In _ (0, 0)%Z lt))).
  replace (IZR D * _) with (IZR (nearest (nth k (b :: bs) (0, 0)%Z))) by (field; lra); split; apply IZR_le, i.
Qed.
