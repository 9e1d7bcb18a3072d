(* Monotone modulation (App. A.2): the decorrelation strength grows with the gain of tanh.

   mean f                1 - (E Z f)^2 / E f^2 is the strength of a centred f                    (Mean.v)
   association           Chebyshev's inequality: if g / f falls where x / f rises, E Z g E f^2 <= E f g E Z f   *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From lop Require Import Gaussian Stein Mean.
Local Open Scope R_scope.

Section Pair.
Variables f g : R -> R.
Hypothesis tf : tempered f.
Hypothesis tg : tempered g.

Let A := mean (fun y => y * g y).
Let B := mean (fun y => f y * f y).
Let D := mean (fun y => y * f y).
Let M := mean (fun y => f y * g y).
Let G := mean (fun y => g y * g y).
Let tA : tempered (fun y => y * g y) := tempered_mult _ _ tempered_id tg.
Let tB : tempered (fun y => f y * f y) := tempered_mult _ _ tf tf.
Let tD : tempered (fun y => y * f y) := tempered_mult _ _ tempered_id tf.
Let tM : tempered (fun y => f y * g y) := tempered_mult _ _ tf tg.
Let tG : tempered (fun y => g y * g y) := tempered_mult _ _ tg tg.

Lemma mean_four a b d m : tempered (fun y => a * (y * g y) + (b * (f y * f y) + (d * (y * f y) + m * (f y * g y))))
  /\ mean (fun y => a * (y * g y) + (b * (f y * f y) + (d * (y * f y) + m * (f y * g y)))) = a * A + (b * B + (d * D + m * M)).
Proof.
assert (h1 := tempered_scal a _ tA); assert (h2 := tempered_scal b _ tB); assert (h3 := tempered_scal d _ tD); assert (h4 := tempered_scal m _ tM).
assert (h34 := tempered_plus _ _ h3 h4); assert (h234 := tempered_plus _ _ h2 h34); split; [exact (tempered_plus _ _ h1 h234)|].
rewrite (mean_plus _ _ h1 h234), (mean_plus _ _ h2 h34), (mean_plus _ _ h3 h4).
rewrite (mean_scal a _ tA), (mean_scal b _ tB), (mean_scal d _ tD), (mean_scal m _ tM); reflexivity.
Qed.

Lemma association : (forall x y, (g x * f y - g y * f x) * (x * f y - y * f x) <= 0) -> A * B <= M * D.
Proof.
intros neg; assert (inner : forall x, B * (x * g x) + (A * (f x * f x) + (- M * (x * f x) + - D * (f x * g x))) <= 0).
{ intros x; destruct (mean_four (f x * f x) (x * g x) (- (f x * g x)) (- (x * f x))) as [t e].
  assert (h := mean_le _ _ t (tempered_const 0)); rewrite mean_const, e in h; enough (k : f x * f x * A + (x * g x * B + (- (f x * g x) * D + - (x * f x) * M)) <= 0) by lra.
  apply h; intros y; assert (n := neg x y); lra. }
destruct (mean_four B A (- M) (- D)) as [t e]; assert (h := mean_le _ _ t (tempered_const 0) inner); rewrite mean_const, e in h; lra.
Qed.

Lemma cauchy : 0 < B -> M * M <= B * G.
Proof.
intros b0; set (k := - (M / B)); assert (h1 := tempered_scal (k * k) _ tB); assert (h2 := tempered_scal (2 * k) _ tM).
assert (h12 := tempered_plus _ _ h1 h2); assert (h := tempered_plus _ _ h12 tG).
assert (pos : 0 <= mean (fun y => k * k * (f y * f y) + 2 * k * (f y * g y) + g y * g y)).
{ rewrite <- (mean_const 0); apply mean_le; [apply tempered_const | exact h | intros y; assert (s := Rle_0_sqr (k * f y + g y)); unfold Rsqr in s; lra]. }
rewrite (mean_plus _ _ h12 tG), (mean_plus _ _ h1 h2), (mean_scal (k * k) _ tB), (mean_scal (2 * k) _ tM) in pos.
fold B M G in pos; apply Rmult_le_reg_r with (/ B); [apply Rinv_0_lt_compat, b0|].
replace (B * G * / B) with G by (field; lra); replace (k * k * B + 2 * k * M + G) with (G - M * M * / B) in pos by (unfold k; field; lra); lra.
Qed.

(* the strength of g is at least that of f *)
Lemma stronger : (forall x y, (g x * f y - g y * f x) * (x * f y - y * f x) <= 0) -> 0 <= A -> 0 < B -> 0 < G ->
  1 - D ^ 2 / B <= 1 - A ^ 2 / G.
Proof.
intros neg a0 b0 g0; assert (ch := association neg); assert (cs := cauchy b0).
assert (s1 : (A * B) * (A * B) <= (M * D) * (M * D)) by (apply Rmult_le_compat; [nra | nra | exact ch | exact ch]).
assert (s2 : (M * D) * (M * D) <= B * G * (D * D)) by (replace ((M * D) * (M * D)) with (M * M * (D * D)) by ring; apply Rmult_le_compat_r; [apply Rle_0_sqr | exact cs]).
assert (k : A ^ 2 / G <= D ^ 2 / B); [|lra].
apply Rmult_le_reg_r with (B * B * G); [apply Rmult_lt_0_compat; nra|].
replace (A ^ 2 / G * (B * B * G)) with (A * B * (A * B)) by (field; lra).
replace (D ^ 2 / B * (B * B * G)) with (B * G * (D * D)) by (field; lra); lra.
Qed.
End Pair.

(* a non-negative tempered function that is positive on (0, 1) has a positive mean *)
Lemma mean_pos f : tempered f -> (forall x, 0 <= f x) -> (forall x, 0 < x < 1 -> 0 < f x) -> 0 < mean f.
Proof.
intros t nn pos; assert (t' := t); destruct t' as [c _]; set (d := RInt (fun x => f x * w x) 0 1).
assert (d0 : 0 < d).
{ apply RInt_gt_0; [lra | intros x h; apply Rmult_lt_0_compat; [now apply pos | apply w_pos] |].
  intros x _; apply (continuous_mult f w x (c x)), w_cont. }
destruct (whole_exists _ (tempered_const 1)) as [m hm].
assert (part : forall a b, a <= b -> 0 <= RInt (fun x => f x * w x) a b).
{ intros a b ab; apply RInt_ge_0; [exact ab | apply tempered_int, t | intros x _; apply Rmult_le_pos; [apply nn | apply Rlt_le, w_pos]]. }
assert (big : forall T, 1 <= T -> d <= RInt (fun x => f x * w x) (- T) T).
{ intros T T1; rewrite <- (RInt_Chasles (V := R_CompleteNormedModule) _ (- T) 0 T) by apply tempered_int, t.
  rewrite <- (RInt_Chasles (V := R_CompleteNormedModule) _ 0 1 T) by apply tempered_int, t.
  assert (p1 := part (- T) 0 ltac:(lra)); assert (p2 := part 1 T ltac:(lra)); unfold plus; simpl; fold d; lra. }
assert (mass_lim : is_lim mass p_infty m).
{ apply (is_lim_ext (fun T => RInt (fun x => 1 * w x) (- T) T)); [|exact hm].
  intros T; unfold mass; apply RInt_ext; intros; apply Rmult_1_l. }
assert (m0 : 0 < m).
{ assert (h := mass_pos 1 Rlt_0_1); enough (mass 1 <= m) by lra.
  apply (is_lim_le_loc (fun _ => mass 1) mass p_infty (mass 1) m); [|apply is_lim_const | exact mass_lim].
  exists 1; intros T T1; apply mass_grows; lra. }
assert (low : is_lim (fun T => d / mass T) p_infty (d / m)).
{ apply (is_lim_div (fun _ => d) mass p_infty d m); [apply is_lim_const | exact mass_lim | intros e; injection e; lra | easy]. }
apply Rlt_le_trans with (d / m); [apply Rdiv_lt_0_compat; assumption|].
apply (is_lim_le_loc (fun T => d / mass T) (fun T => RInt (fun x => f x * w x) (- T) T / mass T) p_infty (d / m) (mean f)); [|exact low | now apply mean_exists].
exists 1; intros T T1; apply Rmult_le_compat_r; [apply Rlt_le, Rinv_0_lt_compat, mass_pos; lra | apply big; lra].
Qed.

(* an even condition from one on 0 < x <= y *)
Lemma even_condition f g : (forall x, f (- x) = - f x) -> (forall x, g (- x) = - g x) ->
  (forall x y, 0 < x -> x <= y -> g y * f x <= g x * f y /\ x * f y <= y * f x) ->
  forall x y, (g x * f y - g y * f x) * (x * f y - y * f x) <= 0.
Proof.
intros of_ og c; assert (f0 : f 0 = 0) by (assert (h := of_ 0); rewrite Ropp_0 in h; lra).
assert (g0 : g 0 = 0) by (assert (h := og 0); rewrite Ropp_0 in h; lra).
assert (pos : forall x y, 0 < x -> 0 < y -> (g x * f y - g y * f x) * (x * f y - y * f x) <= 0).
{ intros x y x0 y0; destruct (Rle_lt_dec x y) as [l | l]; [destruct (c x y x0 l) | destruct (c y x y0 (Rlt_le _ _ l))]; nra. }
assert (half : forall x y, 0 < x -> (g x * f y - g y * f x) * (x * f y - y * f x) <= 0).
{ intros x y x0; destruct (Rtotal_order y 0) as [n | [-> | p]]; [| rewrite f0, g0; lra | now apply pos].
  assert (h := pos x (- y) x0 ltac:(lra)); rewrite of_, og in h; lra. }
intros x y; destruct (Rtotal_order x 0) as [n | [-> | p]]; [| rewrite f0, g0; lra | now apply half].
assert (h := half (- x) y ltac:(lra)); rewrite of_, og in h; lra.
Qed.

(* ---- tanh ---- *)
Lemma falling (u du : R -> R) x y : 0 < x -> x <= y -> (forall t, 0 < t -> is_derive u t (du t) /\ du t <= 0) -> u y <= u x.
Proof.
intros x0 xy d; destruct (MVT_gen u x y du) as [t [ht e]]; rewrite ?Rmin_left, ?Rmax_right in * by lra.
- intros t h; apply d; lra.
- intros t h; apply continuity_pt_filterlim, (ex_derive_continuous u); eexists; apply d; lra.
- assert (du t <= 0) by (apply d; lra); nra.
Qed.

Lemma sinh_d x : is_derive sinh x (cosh x).
Proof. apply is_derive_Reals, derivable_pt_lim_sinh. Qed.
Lemma cosh_d x : is_derive cosh x (sinh x).
Proof. apply is_derive_Reals, derivable_pt_lim_cosh. Qed.
Lemma cosh_pos x : 0 < cosh x.
Proof. unfold cosh; assert (h := exp_pos x); assert (h' := exp_pos (- x)); lra. Qed.
Lemma cosh_sinh x : cosh x * cosh x - sinh x * sinh x = 1.
Proof. unfold cosh, sinh; assert (e : exp x * exp (- x) = 1) by (rewrite <- exp_plus, Rplus_opp_r; apply exp_0); nra. Qed.

Lemma cosh_ge x : 1 <= cosh x.
Proof. assert (h := cosh_sinh x); assert (p := cosh_pos x); assert (s := Rle_0_sqr (sinh x)); unfold Rsqr in s; nra. Qed.

Lemma sinh_ge t : 0 <= t -> t <= sinh t.
Proof.
intros t0; destruct (MVT_gen sinh 0 t cosh) as [u [_ e]].
- intros; apply sinh_d.
- intros; apply continuity_pt_filterlim, (ex_derive_continuous sinh); eexists; apply sinh_d.
- rewrite sinh_0 in e; assert (h := cosh_ge u); nra.
Qed.

Lemma tanh_over_falls x y : 0 < x -> x <= y -> sinh y / (y * cosh y) <= sinh x / (x * cosh x).
Proof.
intros x0 xy; apply (falling (fun t => sinh t / (t * cosh t)) (fun t => (t - sinh t * cosh t) / (t * cosh t) ^ 2) x y x0 xy).
intros t t0; assert (c := cosh_pos t); assert (k := Rmult_lt_0_compat _ _ t0 c); split.
- replace ((t - sinh t * cosh t) / (t * cosh t) ^ 2) with ((cosh t * (t * cosh t) - sinh t * (1 * cosh t + t * sinh t)) / (t * cosh t) ^ 2).
  + apply (is_derive_div sinh (fun t => t * cosh t) t (cosh t) (1 * cosh t + t * sinh t)); [apply sinh_d | | lra].
    apply (is_derive_mult (fun t => t) cosh t 1 (sinh t)); [apply (is_derive_id (K := R_AbsRing)) | apply cosh_d | exact Rmult_comm].
  + f_equal; assert (h := cosh_sinh t); nra.
- assert (s := sinh_ge t (Rlt_le _ _ t0)); assert (g := cosh_ge t); apply Rmult_le_reg_r with ((t * cosh t) ^ 2); [apply pow_lt, k|].
  replace ((t - sinh t * cosh t) / (t * cosh t) ^ 2 * (t * cosh t) ^ 2) with (t - sinh t * cosh t) by (field; lra); nra.
Qed.

Lemma sinh_pos t : 0 < t -> 0 < sinh t.
Proof. intros h; assert (s := sinh_ge t (Rlt_le _ _ h)); lra. Qed.

Lemma ratio_falls q p x y : 0 <= q -> q <= p -> 0 < p -> 0 < x -> x <= y -> sinh (q * y) / sinh (p * y) <= sinh (q * x) / sinh (p * x).
Proof.
intros q0 qp p0 x0 xy; apply (falling (fun t => sinh (q * t) / sinh (p * t))
  (fun t => (q * cosh (q * t) * sinh (p * t) - sinh (q * t) * (p * cosh (p * t))) / sinh (p * t) ^ 2) x y x0 xy).
assert (inner : forall k t, is_derive (fun t => sinh (k * t)) t (k * cosh (k * t))).
{ intros k t; apply (is_derive_comp sinh (fun t => k * t) t (cosh (k * t)) k); [apply sinh_d | auto_derive; [easy | ring]]. }
intros t t0; assert (s := sinh_pos (p * t) (Rmult_lt_0_compat _ _ p0 t0)); split.
- apply (is_derive_div (fun t => sinh (q * t)) (fun t => sinh (p * t))); [apply inner | apply inner | lra].
- assert (le : q * cosh (q * t) * sinh (p * t) <= sinh (q * t) * (p * cosh (p * t))).
  { destruct q0 as [q0 | <-]; [|rewrite !Rmult_0_l, sinh_0; lra].
    assert (h := tanh_over_falls (q * t) (p * t) ltac:(nra) ltac:(nra)).
    assert (c := cosh_pos (q * t)); assert (c' := cosh_pos (p * t)); assert (qt := Rmult_lt_0_compat _ _ q0 t0); assert (pt := Rmult_lt_0_compat _ _ p0 t0).
    apply Rmult_le_reg_r with t; [exact t0|]; apply (Rmult_le_compat_r (q * t * cosh (q * t) * (p * t * cosh (p * t))) _ _ (Rlt_le _ _ (Rmult_lt_0_compat _ _ (Rmult_lt_0_compat _ _ qt c) (Rmult_lt_0_compat _ _ pt c')))) in h.
    replace (sinh (p * t) / (p * t * cosh (p * t)) * (q * t * cosh (q * t) * (p * t * cosh (p * t)))) with (q * cosh (q * t) * sinh (p * t) * t) in h by (field; lra).
    replace (sinh (q * t) / (q * t * cosh (q * t)) * (q * t * cosh (q * t) * (p * t * cosh (p * t)))) with (sinh (q * t) * (p * cosh (p * t)) * t) in h by (field; lra); exact h. }
  apply Rmult_le_reg_r with (sinh (p * t) ^ 2); [apply pow_lt, s|]; rewrite Rmult_0_l.
  replace ((q * cosh (q * t) * sinh (p * t) - sinh (q * t) * (p * cosh (p * t))) / sinh (p * t) ^ 2 * sinh (p * t) ^ 2)
    with (q * cosh (q * t) * sinh (p * t) - sinh (q * t) * (p * cosh (p * t))) by (field; lra); lra.
Qed.

Lemma product_sum u v : sinh u * cosh v = (sinh (u + v) + sinh (u - v)) / 2.
Proof.
unfold sinh, cosh, Rminus; rewrite !Ropp_plus_distr, Ropp_involutive, !exp_plus; field.
Qed.

Lemma tanh_odd x : tanh (- x) = - tanh x.
Proof. unfold tanh, sinh, cosh; rewrite Ropp_involutive; assert (h := exp_pos x); assert (h' := exp_pos (- x)); field; lra. Qed.

Lemma tanh_gain_tempered a : tempered (fun x => tanh (a * x)).
Proof.
split.
- intros x; apply (ex_derive_continuous (fun x => tanh (a * x))); unfold tanh; eexists.
  apply (is_derive_comp (fun t => sinh t / cosh t) (fun x => a * x)); [|auto_derive; [easy | reflexivity]].
  apply is_derive_div; [apply sinh_d | apply cosh_d | assert (h := cosh_pos (a * x)); lra].
- exists 1, 0%nat; intros x; unfold tanh; simpl; assert (c := cosh_pos (a * x)); unfold Rdiv; rewrite Rabs_mult, Rabs_inv, (Rabs_pos_eq (cosh _)) by lra.
  apply Rmult_le_reg_r with (cosh (a * x)); [exact c|]; rewrite Rmult_assoc, Rinv_l, !Rmult_1_r, Rmult_1_l by lra.
  unfold sinh, cosh; assert (h := exp_pos (a * x)); assert (h' := exp_pos (- (a * x))); apply Rabs_le_between; lra.
Qed.

Lemma tanh_condition a b x y : 0 < a -> a <= b -> 0 < x -> x <= y ->
  tanh (b * y) * tanh (a * x) <= tanh (b * x) * tanh (a * y) /\ x * tanh (a * y) <= y * tanh (a * x).
Proof.
intros a0 ab x0 xy; unfold tanh; assert (c1 := cosh_pos (b * y)); assert (c2 := cosh_pos (a * x)); assert (c3 := cosh_pos (b * x)); assert (c4 := cosh_pos (a * y)).
split.
- assert (h := ratio_falls (b - a) (b + a) x y ltac:(lra) ltac:(lra) ltac:(lra) x0 xy).
  assert (s1 := sinh_pos ((b + a) * x) ltac:(nra)); assert (s2 := sinh_pos ((b + a) * y) ltac:(nra)).
  assert (k : sinh ((b - a) * y) * sinh ((b + a) * x) <= sinh ((b - a) * x) * sinh ((b + a) * y)).
  { apply (Rmult_le_compat_r (sinh ((b + a) * x) * sinh ((b + a) * y)) _ _ (Rlt_le _ _ (Rmult_lt_0_compat _ _ s1 s2))) in h.
    replace (sinh ((b - a) * y) / sinh ((b + a) * y) * (sinh ((b + a) * x) * sinh ((b + a) * y))) with (sinh ((b - a) * y) * sinh ((b + a) * x)) in h by (field; lra).
    replace (sinh ((b - a) * x) / sinh ((b + a) * x) * (sinh ((b + a) * x) * sinh ((b + a) * y))) with (sinh ((b - a) * x) * sinh ((b + a) * y)) in h by (field; lra); exact h. }
  assert (e : forall t, sinh (b * t) * cosh (a * t) = (sinh ((b + a) * t) + sinh ((b - a) * t)) / 2 /\ sinh (a * t) * cosh (b * t) = (sinh ((b + a) * t) - sinh ((b - a) * t)) / 2).
  { intros t; rewrite !product_sum; split; [do 3 f_equal; ring|].
    replace (a * t - b * t) with (- ((b - a) * t)) by ring; replace (a * t + b * t) with ((b + a) * t) by ring.
    unfold sinh; rewrite Ropp_involutive; field. }
  destruct (e x) as [ex1 ex2], (e y) as [ey1 ey2]; set (N := cosh (b * y) * cosh (a * x) * (cosh (b * x) * cosh (a * y))).
  assert (n0 : 0 < N) by exact (Rmult_lt_0_compat _ _ (Rmult_lt_0_compat _ _ c1 c2) (Rmult_lt_0_compat _ _ c3 c4)).
  apply Rmult_le_reg_r with N; [exact n0|].
  replace (sinh (b * y) / cosh (b * y) * (sinh (a * x) / cosh (a * x)) * N) with (sinh (b * y) * cosh (a * y) * (sinh (a * x) * cosh (b * x))) by (unfold N; field; lra).
  replace (sinh (b * x) / cosh (b * x) * (sinh (a * y) / cosh (a * y)) * N) with (sinh (b * x) * cosh (a * x) * (sinh (a * y) * cosh (b * y))) by (unfold N; field; lra).
  rewrite ex1, ex2, ey1, ey2; lra.
- assert (h := tanh_over_falls (a * x) (a * y) ltac:(nra) ltac:(nra)).
  apply (Rmult_le_compat_r (a * x * y) _ _ ltac:(apply Rmult_le_pos; nra)) in h.
  replace (sinh (a * y) / (a * y * cosh (a * y)) * (a * x * y)) with (x * (sinh (a * y) / cosh (a * y))) in h by (field; repeat split; lra).
  replace (sinh (a * x) / (a * x * cosh (a * x)) * (a * x * y)) with (y * (sinh (a * x) / cosh (a * x))) in h by (field; repeat split; lra); exact h.
Qed.

Lemma odd_mean f : tempered f -> (forall x, f (- x) = - f x) -> gauss_mean f 0.
Proof.
intros t odd; apply (is_lim_ext (fun _ => 0)); [|apply is_lim_const]; intros T.
assert (i := RInt_correct (V := R_CompleteNormedModule) _ _ _ (tempered_int f (- T) T t)).
assert (o := is_RInt_comp_opp (fun x => f x * w x) (- T) T (opp (RInt (fun x => f x * w x) (- T) T))).
rewrite Ropp_involutive in o; specialize (o (is_RInt_swap _ _ _ _ i)).
assert (e : RInt (fun x => f x * w x) (- T) T = - RInt (fun x => f x * w x) (- T) T).
{ apply is_RInt_unique; apply (is_RInt_ext (V := R_NormedModule)) with (2 := o); intros x _.
  change (- (f (- x) * w (- x)) = f x * w x); rewrite odd; replace (w (- x)) with (w x) by (unfold w; f_equal; field); ring. }
replace (RInt (fun x => f x * w x) (- T) T) with 0 by lra; unfold Rdiv; ring.
Qed.

(* [tension-tanh-monotone] the strength of tanh (a x) grows with a: E tanh = 0, and lambda = 1 - (E Z tanh)^2 / E tanh^2 *)
Theorem tanh_gain_monotone a b : 0 < a -> a <= b -> exists D B A G : R,
  gauss_mean (fun x => tanh (a * x)) 0 /\ gauss_mean (fun x => tanh (b * x)) 0 /\
  gauss_mean (fun x => x * tanh (a * x)) D /\ gauss_mean (fun x => tanh (a * x) * tanh (a * x)) B /\
  gauss_mean (fun x => x * tanh (b * x)) A /\ gauss_mean (fun x => tanh (b * x) * tanh (b * x)) G /\
  0 < B /\ 0 < G /\ 1 - D ^ 2 / B <= 1 - A ^ 2 / G.
Proof.
intros a0 ab; assert (tf := tanh_gain_tempered a); assert (tg := tanh_gain_tempered b).
assert (tff := tempered_mult _ _ tf tf); assert (tgg := tempered_mult _ _ tg tg).
assert (txf := tempered_mult _ _ tempered_id tf); assert (txg := tempered_mult _ _ tempered_id tg).
assert (sign : forall k x, 0 < k -> 0 < x -> 0 < tanh (k * x)).
{ intros k x k0 x0; unfold tanh; apply Rdiv_lt_0_compat; [apply sinh_pos; nra | apply cosh_pos]. }
assert (square : forall k, 0 < k -> 0 < mean (fun x => tanh (k * x) * tanh (k * x))).
{ intros k k0; apply mean_pos; [apply tempered_mult; apply tanh_gain_tempered | intros x; apply Rle_0_sqr|].
  intros x [x0 _]; assert (h := sign k x k0 x0); nra. }
exists (mean (fun x => x * tanh (a * x))), (mean (fun x => tanh (a * x) * tanh (a * x))), (mean (fun x => x * tanh (b * x))), (mean (fun x => tanh (b * x) * tanh (b * x))).
assert (zero : forall k, gauss_mean (fun x => tanh (k * x)) 0).
{ intros k; apply odd_mean; [apply tanh_gain_tempered | intros x; now rewrite <- tanh_odd, Ropp_mult_distr_r]. }
split; [apply zero|]; split; [apply zero|]; repeat (split; [apply mean_exists; assumption|]); split; [apply square, a0|]; split; [apply square; lra|].
apply (stronger (fun x => tanh (a * x)) (fun x => tanh (b * x)) tf tg).
- apply even_condition; [intros x; now rewrite <- tanh_odd, Ropp_mult_distr_r | intros x; now rewrite <- tanh_odd, Ropp_mult_distr_r|].
  intros x y x0 xy; apply tanh_condition; assumption.
- rewrite <- (mean_const 0); apply mean_le; [apply tempered_const | exact txg|]; intros x.
  assert (b0 : 0 < b) by lra; destruct (Rtotal_order x 0) as [n | [-> | p]]; [|lra | assert (h := sign b x b0 p); nra].
  assert (h := sign b (- x) b0 ltac:(lra)); rewrite <- Ropp_mult_distr_r, tanh_odd in h; nra.
- apply square, a0.
- apply square; lra.
Qed.
