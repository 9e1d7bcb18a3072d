(* kappa = inf r from both sides, r = (rho^2 - K^2) / (rho^2 (1 - rho^2)): the branches of `lop_theory.gap --kappa`.

   r (1 + rho) = S F,  S = sum_j T_(j+2) rho^j,  F = 1 + K / rho,  T_m = sum_(k >= m) a_k^2
   S and F have non-negative coefficients, so S F lies above each of its tangents, and a truncated series below it: one
   tangent, at the place of the infimum, bounds kappa to second order; a truncated K at a witness bounds it from above.

   values a         the values of r on 0 < |rho| < 1, whose infimum is kappa
   sharp            a certificate (Certificate.v), the grid and the tangent's place on it, the witness, the enclosure
   check_sharp      the checker, a boolean function over Z                                                        *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From lop Require Import Gap Certificate.
From Coq Require Import Lra Lia ZArith List.
Import ListNotations.
Local Open Scope bool_scope.
Local Open Scope R_scope.

Definition values (a : nat -> R) (r : R) := exists rho, 0 < Rabs rho < 1 /\ r = ratio a rho.

(* ---- The checker ---- *)
Record sharp := Sharp { boxed : certificate; grid : Z; place : Z; witness : Z; below : Z; above : Z }.

Fixpoint slope (k : Z) (l : list Z) : list Z := match l with [] => [] | x :: l => (k * x)%Z :: slope (k + 1) l end.
Definition derived (l : list Z) : list Z := match l with [] => [] | _ :: l => slope 1 l end.

(* the tangent of S F at p / C lies above below * (1 + rho) at rho = 0 and at rho = 1 *)
Definition tangent_ok (D C p below : Z) (S F : list Z) : bool :=
  let (sp, sq) := fraction C p S in let (fp, fq) := fraction C p F in
  let (tp, tq) := fraction C p (derived S) in let (gp, gq) := fraction C p (derived F) in
  let q := (sq * fq * (tq * gq))%Z in let n := (sp * fp * (tq * gq))%Z in
  let n' := (tp * fp * (sq * gq) + sp * gp * (fq * tq))%Z in
  ((below * D * (q * C) <=? n * C - n' * p) && (2 * below * D * (q * C) <=? n * C + n' * (C - p)))%Z.

(* r at w / C is at most above / D, because K / rho is at least the truncated series p / (q D) *)
Definition witness_ok (D C w above : Z) (low : list Z) : bool :=
  let (p, q) := fraction C w low in
  ((0 <? w) && (w <? C) && (0 <=? above) &&
   ((D * D * (q * q) - p * p) * (C * C) <=? above * D * (q * q) * (C * C - w * w)))%Z.

Definition check_sharp (s : sharp) : bool :=
  let c := boxed s in let D := unit c in let low := map (square_low D) (boxes c) in
  match low with
  | [] => false
  | l :: rest => (check c && (0 <? D) && (0 <? grid s) && (0 <=? place s)
      && tangent_ok D (grid s) (place s) (below s) (tails D (map (square_high D) (boxes c))) (D + l :: rest)
      && witness_ok D (grid s) (witness s) (above s) low)%Z
  end.

(* ---- Polynomials with non-negative coefficients lie above their tangents ---- *)
Lemma slope_eval k l x : eval (slope k l) x = IZR k * eval l x + x * eval (derived l) x.
Proof.
assert (one : forall l k, eval (slope k l) x = IZR (k - 1) * eval l x + eval (slope 1 l) x).
{ clear; intros l; induction l as [|c l IH]; intros k; [simpl; ring|].
  change (slope k (c :: l)) with ((k * c)%Z :: slope (k + 1) l); change (slope 1 (c :: l)) with ((1 * c)%Z :: slope 2 l).
  cbn [eval]; rewrite (IH (k + 1)%Z), (IH 2%Z), !mult_IZR; repeat rewrite ?plus_IZR, ?minus_IZR; ring. }
destruct l as [|c l]; [simpl; ring|]; change (slope k (c :: l)) with ((k * c)%Z :: slope (k + 1) l).
cbn [eval derived]; rewrite (one l), mult_IZR, minus_IZR, plus_IZR; ring.
Qed.

Lemma derived_cons c l x : eval (derived (c :: l)) x = eval l x + x * eval (derived l) x.
Proof. simpl; rewrite slope_eval; ring. Qed.

Lemma derived_nonneg l : nonneg l -> nonneg (derived l).
Proof.
assert (up : forall l k, (0 <= k)%Z -> nonneg l -> nonneg (slope k l)).
{ clear; intros l; induction l as [|c l IH]; intros k k0 nn; simpl; [constructor|].
  inversion nn; subst; constructor; [nia | apply IH; [lia | assumption]]. }
intros nn; destruct l; simpl; [constructor | inversion nn; subst; apply up; [lia | assumption]].
Qed.

Lemma eval_nonneg l x : nonneg l -> 0 <= x -> 0 <= eval l x.
Proof. intros nn x0; apply (eval_mono l x x nn); lra. Qed.

Lemma above_tangent l x m : nonneg l -> 0 <= x -> 0 <= m -> eval l m + eval (derived l) m * (x - m) <= eval l x.
Proof.
intros nn x0 m0; induction nn as [|c l c0 nn IH]; [simpl; lra|].
rewrite derived_cons; simpl; assert (d := eval_nonneg _ m (derived_nonneg l nn) m0).
assert (s := pow2_ge_0 (x - m)); assert (h := Rmult_le_compat_l x _ _ x0 IH); simpl in s; nra.
Qed.

Lemma product_above_tangent s f x m : nonneg s -> nonneg f -> 0 <= x -> 0 <= m ->
  eval s m * eval f m + (eval (derived s) m * eval f m + eval s m * eval (derived f) m) * (x - m) <= eval s x * eval f x.
Proof.
intros ns nf x0 m0; assert (ts := above_tangent s x m ns x0 m0); assert (tf := above_tangent f x m nf x0 m0).
assert (sm := eval_nonneg s m ns m0); assert (fm := eval_nonneg f m nf m0).
assert (both : 0 <= (eval s x - eval s m) * (eval f x - eval f m)).
{ destruct (Rle_lt_dec x m) as [le | lt].
  - assert (h := eval_mono s x m ns (conj x0 le)); assert (h' := eval_mono f x m nf (conj x0 le)); nra.
  - assert (h := eval_mono s m x ns (conj m0 (Rlt_le _ _ lt))); assert (h' := eval_mono f m x nf (conj m0 (Rlt_le _ _ lt))); nra. }
assert (h := Rmult_le_compat_r (eval f m) _ _ fm ts); assert (h' := Rmult_le_compat_l (eval s m) _ _ sm tf); nra.
Qed.

(* ---- Soundness ---- *)
Section Sound.
Variable a : nat -> R.
Hypothesis std : standardised a.
Variables (D : Z).
Hypothesis D0 : (0 < D)%Z.

Lemma kernel_form rho : 0 < rho < 1 -> kernel a rho = rho * rest a rho 1.
Proof.
intros r01; rewrite (kernel_rest a std rho r01), (rest_step a std rho r01 1); unfold lin; ring.
Qed.

Lemma total_one : total a 1 = 1.
Proof. rewrite (total_step a std 1), (total_two a std); unfold decorr, lin; ring. Qed.

Lemma ratio_factors rho : 0 < rho < 1 -> ratio a rho * (1 + rho) = (1 - rest a rho 1) / (1 - rho) * (1 + rest a rho 1).
Proof.
intros r01; assert (nz : 1 - rho ^ 2 <> 0) by nra; unfold ratio; rewrite kernel_form by exact r01; field; repeat split; lra.
Qed.

Variables (low high : list Z).
Hypothesis lows : low_bounds a D low 1.
Hypothesis highs : high_bounds a D high 1.
Hypothesis low0 : nonneg low.

Lemma product_below rho l more : low = l :: more -> 0 < rho < 1 ->
  eval (tails D high) rho * eval (D + l :: more)%Z rho <= IZR D * IZR D * (ratio a rho * (1 + rho)).
Proof.
intros e r01; assert (d := IZR_lt 0 D D0); simpl in d.
assert (F := rest_above a std D rho D0 r01 low 1 lows); rewrite e in F; simpl in F.
assert (S := tails_below a std D rho D0 r01 high 1 D ltac:(rewrite total_one; lra) highs); rewrite total_one in S.
assert (s0 := eval_nonneg _ rho (tails_nonneg D high) (Rlt_le _ _ (proj1 r01))).
rewrite ratio_factors by exact r01; set (x := rest a rho 1) in *.
apply Rle_trans with (IZR D * ((1 - x) / (1 - rho)) * (IZR D * (1 + x))); [|right; ring].
apply Rmult_le_compat; [exact s0 | | | cbn [eval]; rewrite plus_IZR; lra].
- apply eval_nonneg; [|lra]; rewrite e in low0; inversion low0; subst; constructor; [lia | assumption].
- apply Rmult_le_reg_l with (1 - rho); [lra|].
  replace ((1 - rho) * (IZR D * ((1 - x) / (1 - rho)))) with (IZR D * (1 - x)) by (field; lra); exact S.
Qed.

Lemma tangent_sound C p b l more rho : low = l :: more -> (0 < C)%Z -> (0 <= p)%Z -> 0 < rho < 1 ->
  tangent_ok D C p b (tails D high) (D + l :: more)%Z = true -> IZR b / IZR D <= ratio a rho.
Proof.
intros e C0 p0 r01 ok; assert (d := IZR_lt 0 D D0); assert (c := IZR_lt 0 C C0); simpl in c, d.
set (S := tails D high) in *; set (F := (D + l :: more)%Z) in *.
assert (nS : nonneg S) by apply tails_nonneg.
assert (nF : nonneg F) by (rewrite e in low0; inversion low0; subst; constructor; [lia | assumption]).
unfold tangent_ok in ok.
destruct (fraction_eval C p S C0) as [q1 e1]; destruct (fraction C p S) as [sp sq].
destruct (fraction_eval C p F C0) as [q2 e2]; destruct (fraction C p F) as [fp fq].
destruct (fraction_eval C p (derived S) C0) as [q3 e3]; destruct (fraction C p (derived S)) as [tp tq].
destruct (fraction_eval C p (derived F) C0) as [q4 e4]; destruct (fraction C p (derived F)) as [gp gq].
simpl fst in *; simpl snd in *; rewrite Bool.andb_true_iff in ok; destruct ok as [ok0 ok1].
apply Z.leb_le, IZR_le in ok0; apply Z.leb_le, IZR_le in ok1.
repeat rewrite ?plus_IZR, ?minus_IZR, ?mult_IZR in ok0; repeat rewrite ?plus_IZR, ?minus_IZR, ?mult_IZR in ok1.
apply IZR_lt in q1, q2, q3, q4; simpl in q1, q2, q3, q4; apply IZR_le in p0; simpl in p0.
set (m := IZR p / IZR C) in *; assert (m0 : 0 <= m) by (apply Rdiv_le_0_compat; lra).
assert (t := product_above_tangent S F rho m nS nF ltac:(lra) m0); rewrite e1, e2, e3, e4 in t.
assert (b1 := product_below rho l more e r01); fold S F in b1.
set (n := IZR sp / IZR sq * (IZR fp / IZR fq)) in *.
set (n' := IZR tp / IZR tq * (IZR fp / IZR fq) + IZR sp / IZR sq * (IZR gp / IZR gq)) in *.
set (Q := IZR sq * IZR fq * (IZR tq * IZR gq) * IZR C).
assert (Q0 : 0 < Q) by (unfold Q; repeat apply Rmult_lt_0_compat; assumption).
assert (at0 : IZR b * IZR D <= n - n' * m).
{ apply Rmult_le_reg_r with (1 := Q0); apply Rle_trans with (2 := ok0) || (eapply Rle_trans; [|eapply Rle_trans; [exact ok0|]]); right; unfold n, n', m, Q; field; lra. }
assert (at1 : 2 * IZR b * IZR D <= n + n' * (1 - m)).
{ apply Rmult_le_reg_r with (1 := Q0); eapply Rle_trans; [|eapply Rle_trans; [exact ok1|]]; right; unfold n, n', m, Q; field; lra. }
apply (proj2 (Rle_div_l _ _ _ d)); apply Rmult_le_reg_r with (IZR D * (1 + rho)); [nra|].
assert (IZR b * IZR D * (1 + rho) <= n + n' * (rho - m)) by nra; nra.
Qed.

Lemma witness_sound C w t : (0 < C)%Z -> witness_ok D C w t low = true ->
  exists rho, 0 < Rabs rho < 1 /\ ratio a rho <= IZR t / IZR D.
Proof.
intros C0 ok; assert (d := IZR_lt 0 D D0); assert (c := IZR_lt 0 C C0); simpl in c, d; unfold witness_ok in ok.
destruct (fraction_eval C w low C0) as [q1 e1]; destruct (fraction C w low) as [p q]; simpl fst in *; simpl snd in *.
rewrite !Bool.andb_true_iff in ok; destruct ok as [[[w0 wC] t0] ok].
apply Z.ltb_lt, IZR_lt in w0; apply Z.ltb_lt, IZR_lt in wC; apply Z.leb_le, IZR_le in ok; apply Z.leb_le, IZR_le in t0.
apply IZR_lt in q1; simpl in q1, w0, t0; repeat rewrite ?plus_IZR, ?minus_IZR, ?mult_IZR in ok.
set (rho := IZR w / IZR C) in *; assert (r01 : 0 < rho < 1).
{ split; [apply Rdiv_lt_0_compat | apply (proj2 (Rlt_div_l _ _ _ c))]; lra. }
exists rho; split; [rewrite Rabs_pos_eq; lra|].
assert (F := rest_above a std D rho D0 r01 low 1 lows); rewrite e1 in F; set (y := IZR p / IZR q) in *.
assert (y0 : 0 <= y) by (rewrite <- e1; apply eval_nonneg; [exact low0 | lra]).
assert (form : ratio a rho = (1 - rest a rho 1 ^ 2) / (1 - rho ^ 2)).
{ unfold ratio; rewrite kernel_form by exact r01; field; split; nra. }
rewrite form; set (x := rest a rho 1) in *; assert (p1 : 0 < 1 - rho ^ 2) by nra.
apply (proj2 (Rle_div_l _ _ _ p1)); assert (sq : y * y <= IZR D * x * (IZR D * x)) by (apply Rmult_le_compat; lra).
assert (ok' : IZR D * IZR D - y * y <= IZR t * IZR D * (1 - rho ^ 2)).
{ apply Rmult_le_reg_r with (IZR q * IZR q * (IZR C * IZR C)); [repeat apply Rmult_lt_0_compat; assumption|].
  eapply Rle_trans; [|eapply Rle_trans; [exact ok|]]; right; unfold y, rho; field; lra. }
apply Rmult_le_reg_r with (IZR D * IZR D); [nra|].
replace (IZR t / IZR D * (1 - rho ^ 2) * (IZR D * IZR D)) with (IZR t * IZR D * (1 - rho ^ 2)) by (field; lra).
nra.
Qed.
End Sound.

(* [gap-kappa-branches] what the checker accepts encloses kappa, the infimum of r: below <= kappa * unit <= above *)
Theorem sharp_holds s a : check_sharp s = true -> standardised a -> encloses (boxed s) a ->
  exists kappa, is_inf (values a) kappa /\ IZR (below s) <= IZR (unit (boxed s)) * kappa <= IZR (above s).
Proof.
intros ok std enc; destruct s as [c C p w b t]; destruct c as [D n bs lm sl fl].
unfold check_sharp, encloses in *; cbn [boxed unit boxes grid place witness below above] in *.
destruct bs as [|bx bs]; [discriminate|]; cbn [map] in ok.
rewrite !Bool.andb_true_iff in ok; destruct ok as [[[[[_ D0] C0] p0] tan] wit].
apply Z.ltb_lt in D0, C0; apply Z.leb_le in p0; assert (d := IZR_lt 0 D D0); simpl in d.
destruct (squares_bound a D (bx :: bs) 1 D0 enc) as [nn [lb hb]]; cbn [map] in nn, lb, hb.
assert (pos : forall r, 0 < r < 1 -> IZR b / IZR D <= ratio a r).
{ intros r r01; exact (tangent_sound a std D D0 _ _ lb hb nn C p b _ _ r eq_refl C0 p0 r01 tan). }
assert (all : forall r, 0 < Rabs r < 1 -> IZR b / IZR D <= ratio a r).
{ intros r; unfold Rabs; destruct Rcase_abs as [neg | nonneg_]; intros r01; [|exact (pos r r01)].
  apply Rle_trans with (1 := pos _ r01); rewrite <- (Ropp_involutive r) at 2; apply ratio_opp; assumption. }
destruct (witness_sound a std D D0 _ lb nn C w t C0 wit) as [r [r1 up]].
destruct (completeness (fun x => values a (- x))) as [M [ub lub]].
{ exists (- (IZR b / IZR D)); intros x [rho [h e]]; assert (l := all rho h); lra. }
{ exists (- ratio a r), r; rewrite Ropp_involutive; split; [exact r1 | reflexivity]. }
exists (- M); split; [split|split].
- intros x v; assert (h : - x <= M) by (apply ub; cbv beta; rewrite Ropp_involutive; exact v); lra.
- intros eps e0; destruct (Classical_Prop.classic (exists x, values a x /\ x < - M + eps)) as [h | none]; [exact h | exfalso].
  assert (h : M <= M - eps); [|lra]; apply lub; intros x v; destruct (Rle_lt_dec x (M - eps)) as [le | lt]; [exact le|].
  exfalso; apply none; exists (- x); split; [exact v | lra].
- assert (h : M <= - (IZR b / IZR D)) by (apply lub; intros x [rho [h e]]; assert (l := all rho h); lra).
  assert (l : IZR b / IZR D <= - M) by lra; apply (proj1 (Rle_div_l _ _ _ d)) in l; lra.
- assert (h : - ratio a r <= M) by (apply ub; exists r; split; [exact r1 | apply Ropp_involutive]).
  assert (l : - M <= IZR t / IZR D) by lra; apply (proj2 (Rle_div_r _ _ _ d)) in l || apply (proj1 (Rle_div_r _ _ _ d)) in l; lra.
Qed.

(* ---- The branches of `sharp_constant`, for r on (0, 1) with derivatives r1 and r2 ---- *)
Lemma mean_value (f df : R -> R) x y : (forall t, Rmin x y <= t <= Rmax x y -> is_derive f t (df t)) ->
  exists t, Rmin x y <= t <= Rmax x y /\ f y - f x = df t * (y - x).
Proof.
intros d; apply MVT_gen; intros t h; [apply d; lra|].
apply continuity_pt_filterlim, (ex_derive_continuous f); eexists; apply d, h.
Qed.

(* [gap-kappa-branches] inside: r'' >= mu on [p, q] and r >= r(m) outside, so r >= r(m) - r'(m)^2 / (2 mu) everywhere *)
Theorem interior_branch (r r1 r2 : R -> R) p m q mu : 0 < mu -> p <= m <= q ->
  (forall x, p <= x <= q -> is_derive r x (r1 x) /\ is_derive r1 x (r2 x) /\ mu <= r2 x) ->
  (forall x, 0 < x < 1 -> x < p \/ q < x -> r m <= r x) ->
  forall x, 0 < x < 1 -> r m - r1 m ^ 2 / (2 * mu) <= r x.
Proof.
intros m0 pmq d out x x01; assert (drop : 0 <= r1 m ^ 2 / (2 * mu)) by (apply Rdiv_le_0_compat; [apply pow2_ge_0 | lra]).
destruct (Rlt_le_dec x p) as [l | px]; [assert (h := out x x01 (or_introl l)); lra|].
destruct (Rlt_le_dec q x) as [l | xq]; [assert (h := out x x01 (or_intror l)); lra|].
set (g t := r t - r m - r1 m * (t - m) - mu / 2 * (t - m) ^ 2).
assert (inside : forall u v t, p <= u <= q -> p <= v <= q -> Rmin u v <= t <= Rmax u v -> p <= t <= q).
{ intros u v t hu hv [h1 h2]; split; [apply Rle_trans with (2 := h1) | apply Rle_trans with (1 := h2)];
    unfold Rmin, Rmax; destruct Rle_dec; lra. }
destruct (mean_value g (fun t => r1 t - r1 m - mu * (t - m)) m x) as [t [ht e]].
{ intros t h; destruct (d t (inside m x t ltac:(lra) ltac:(lra) h)) as [d1 _]; unfold g.
  auto_derive; [repeat split; eexists; exact d1|]; replace (Derive _ t) with (r1 t) by (symmetry; apply is_derive_unique, d1); field. }
destruct (mean_value r1 r2 m t) as [u [hu e']].
{ intros u h; apply d, (inside m t u); try lra; apply (inside m x t); lra || exact ht. }
assert (hp : mu <= r2 u) by (apply d, (inside m t u); try lra; apply (inside m x t); lra || exact ht).
assert (side : 0 <= (t - m) * (x - m)) by (revert ht; unfold Rmin, Rmax; destruct Rle_dec; nra).
assert (g0 : 0 <= g x).
{ replace (g x) with (g x - g m) by (unfold g; ring); rewrite e; rewrite e'; nra. }
assert (sq := pow2_ge_0 (r1 m + mu * (x - m))).
assert (k : r1 m ^ 2 / (2 * mu) + r1 m * (x - m) + mu / 2 * (x - m) ^ 2 = (r1 m + mu * (x - m)) ^ 2 / (2 * mu)) by (field; lra).
assert (0 <= (r1 m + mu * (x - m)) ^ 2 / (2 * mu)) by (apply Rdiv_le_0_compat; [exact sq | lra]); unfold g in g0; lra.
Qed.

(* [gap-kappa-branches] the end: r falls on [p, 1) to its limit L, and r >= L before p, so L is the infimum *)
Theorem end_branch (r r1 : R -> R) p L : 0 < p < 1 -> (forall x, p <= x < 1 -> is_derive r x (r1 x) /\ r1 x <= 0) ->
  filterlim r (at_left 1) (locally L) -> (forall x, 0 < x < p -> L <= r x) ->
  is_inf (fun v => exists x, 0 < x < 1 /\ v = r x) L.
Proof.
intros p01 d lim before; split.
- intros v [x [x01 ->]]; destruct (Rlt_le_dec x p) as [l | px]; [apply before; lra|].
  apply (filterlim_le (F := at_left 1) r (fun _ => r x) (Finite L) (Finite (r x))).
  + exists (mkposreal (1 - x) ltac:(lra)); intros y hy y1; unfold ball in hy; simpl in hy; unfold AbsRing_ball, abs, minus, plus, opp in hy; simpl in hy.
    apply Rabs_def2 in hy; destruct (mean_value r r1 x y) as [t [ht e]].
    * intros t h; apply d; revert h; unfold Rmin, Rmax; destruct Rle_dec; lra.
    * assert (r1 t <= 0) by (apply d; revert ht; unfold Rmin, Rmax; destruct Rle_dec; lra); nra.
  + exact lim.
  + apply filterlim_const.
- intros eps e0; destruct (lim (fun v => v < L + eps)) as [delta h].
  { exists (mkposreal eps e0); intros v hv; unfold ball in hv; simpl in hv; unfold AbsRing_ball, abs, minus, plus, opp in hv; simpl in hv.
    apply Rabs_def2 in hv; lra. }
  assert (d0 := cond_pos delta); set (x := Rmax (1 / 2) (1 - delta / 2)).
  assert (x01 : 0 < x < 1 /\ 1 - x < delta) by (unfold x, Rmax; destruct Rle_dec; lra).
  exists (r x); split; [exists x; split; [lra | reflexivity]|]; apply h; [|lra].
  unfold ball; simpl; unfold AbsRing_ball, abs, minus, plus, opp; simpl; apply Rabs_def1; lra.
Qed.
