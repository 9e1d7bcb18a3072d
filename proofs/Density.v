(* Polynomials are dense in the Gaussian L2: every continuous function of polynomial growth is within any distance of a
   polynomial, and the squared error lies below a polynomial of small mean.

   wave k x        sin (x + k PI / 2), the k-th derivative of sin; taylor m k its Taylor polynomial of degree < m
   fold B x        (1 + sin (x / B)) / 2, a bounded function of which every polynomial is near polynomials
   near f          for every eps there are polynomials p, r with (f - p)^2 <= r and mean r <= eps            *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From lop Require Import Gaussian Stein Mean Weierstrass.
Local Open Scope R_scope.

(* ---- Taylor polynomials of the sine ---- *)
Definition wave (k : nat) (x : R) := sin (x + INR k * (PI / 2)).
Fixpoint taylor (m k : nat) (x : R) : R :=
  match m with O => 0 | S m => taylor m k x + wave (k + m) 0 / INR (fact m) * x ^ m end.

Lemma wave_derive k x : is_derive (wave k) x (wave (S k) x).
Proof.
unfold wave; rewrite S_INR; replace (x + (INR k + 1) * (PI / 2)) with (PI / 2 + (x + INR k * (PI / 2))) by ring.
rewrite <- cos_sin; auto_derive; [easy | ring].
Qed.

Lemma fact_S m : INR (fact (S m)) = INR (S m) * INR (fact m).
Proof. now rewrite <- mult_INR. Qed.

Lemma term_derive c m x : is_derive (fun x => c / INR (fact (S m)) * x ^ S m) x (c / INR (fact m) * x ^ m).
Proof.
assert (h := INR_fact_neq_0 m); assert (h' := not_0_INR (S m) (Nat.neq_succ_0 m)).
replace (c / INR (fact m) * x ^ m) with (c / INR (fact (S m)) * (INR (S m) * x ^ m)) by (rewrite fact_S; field; split; assumption).
apply (is_derive_scal (fun x => x ^ S m)), is_derive_Reals, (derivable_pt_lim_pow x (S m)).
Qed.

Lemma taylor_derive m k x : is_derive (taylor (S m) k) x (taylor m (S k) x).
Proof.
induction m as [|m IH]; [simpl; auto_derive; [easy | ring]|].
change (taylor (S m) (S k) x) with (taylor m (S k) x + wave (S k + m) 0 / INR (fact m) * x ^ m).
apply (is_derive_plus (taylor (S m) k) (fun x => wave (k + S m) 0 / INR (fact (S m)) * x ^ S m)); [exact IH|].
replace (S k + m)%nat with (k + S m)%nat by lia; apply term_derive.
Qed.

Lemma taylor_at_0 m k : taylor (S m) k 0 = wave k 0.
Proof.
induction m as [|m IH]; [simpl; rewrite Nat.add_0_r; field|].
change (taylor (S m) k 0 + wave (k + S m) 0 / INR (fact (S m)) * 0 ^ S m = wave k 0); rewrite IH, pow_i by lia; ring.
Qed.

Lemma taylor_poly m k : is_poly (taylor m k).
Proof.
induction m as [|m IH]; [exact (poly_const 0)|].
apply (poly_plus (taylor m k)); [exact IH | apply poly_scal, poly_pow, poly_id].
Qed.

Lemma grown g dg m : (forall x, is_derive g x (dg x)) -> g 0 = 0 -> (forall x, Rabs (dg x) <= Rabs x ^ m / INR (fact m)) ->
  forall x, Rabs (g x) <= Rabs x ^ S m / INR (fact (S m)).
Proof.
assert (right : forall g dg : R -> R, (forall x, is_derive g x (dg x)) -> g 0 = 0 ->
  (forall x, 0 <= x -> dg x <= x ^ m / INR (fact m)) -> forall x, 0 <= x -> g x <= x ^ S m / INR (fact (S m))).
{ clear; intros g dg d g0 b x x0; set (h t := 1 / INR (fact (S m)) * t ^ S m - g t); set (dh t := 1 / INR (fact m) * t ^ m - dg t).
  assert (dd : forall t, is_derive h t (dh t)).
  { intros t; apply (is_derive_minus (fun t => 1 / INR (fact (S m)) * t ^ S m) g); [apply term_derive | apply d]. }
  destruct (MVT_gen h 0 x dh) as [t [ht e]].
  - intros t _; apply dd.
  - intros t _; apply continuity_pt_filterlim, (ex_derive_continuous h); eexists; apply dd.
  - rewrite Rmin_left, Rmax_right in ht by lra; assert (bt := b t (proj1 ht)).
    assert (p : 0 <= dh t) by (unfold dh; replace (1 / INR (fact m) * t ^ m) with (t ^ m / INR (fact m)) by (unfold Rdiv; ring); lra).
    assert (q : 0 <= h x - h 0) by (rewrite e; nra); unfold h in q; rewrite g0, pow_i in q by lia.
    replace (x ^ S m / INR (fact (S m))) with (1 / INR (fact (S m)) * x ^ S m) by (unfold Rdiv; ring); lra. }
intros d g0 b x; assert (bb : forall t, - (Rabs t ^ m / INR (fact m)) <= dg t <= Rabs t ^ m / INR (fact m)) by (intros t; apply Rabs_le_between, b).
assert (minus_d : forall t, is_derive (fun t => - g t) t (- dg t)) by (intros t; apply (is_derive_opp g), d).
assert (flip_d : forall t, is_derive (fun t => g (- t)) t (- dg (- t))).
{ intros t; replace (- dg (- t)) with (scal (-1) (dg (- t))) by (unfold scal; simpl; unfold mult; simpl; ring).
  apply (is_derive_comp g (fun t => - t)); [apply d | auto_derive; [easy | ring]]. }
assert (both_d : forall t, is_derive (fun t => - g (- t)) t (dg (- t))).
{ intros t; replace (dg (- t)) with (- - dg (- t)) by ring; apply (is_derive_opp (fun t => g (- t))), flip_d. }
assert (at_0 : - g 0 = 0 /\ g (- 0) = 0 /\ - g (- 0) = 0) by (rewrite Ropp_0, g0; lra).
destruct (Rle_lt_dec 0 x) as [x0 | x0].
- rewrite (Rabs_pos_eq x) by lra; apply Rabs_le_between; split.
  + enough (- g x <= x ^ S m / INR (fact (S m))) by lra.
    apply (right (fun t => - g t) (fun t => - dg t)); try easy; intros t t0; assert (h := bb t); rewrite Rabs_pos_eq in h by exact t0; lra.
  + apply (right g dg); try easy; intros t t0; assert (h := bb t); rewrite Rabs_pos_eq in h by exact t0; lra.
- rewrite (Rabs_left x) by lra; replace (g x) with (g (- - x)) by (f_equal; ring); apply Rabs_le_between; split.
  + enough (- g (- - x) <= (- x) ^ S m / INR (fact (S m))) by lra.
    apply (right (fun t => - g (- t)) (fun t => dg (- t))); try easy; try lra; intros t t0; assert (h := bb (- t)); rewrite Rabs_Ropp, Rabs_pos_eq in h by exact t0; lra.
  + apply (right (fun t => g (- t)) (fun t => - dg (- t))); try easy; try lra; intros t t0; assert (h := bb (- t)); rewrite Rabs_Ropp, Rabs_pos_eq in h by exact t0; lra.
Qed.

Lemma taylor_error m k x : Rabs (wave k x - taylor m k x) <= Rabs x ^ m / INR (fact m).
Proof.
revert k x; induction m as [|m IH]; intros k x.
- simpl; unfold wave; rewrite Rminus_0_r; assert (h := SIN_bound (x + INR k * (PI / 2))); apply Rabs_le_between; lra.
- apply (grown (fun x => wave k x - taylor (S m) k x) (fun x => wave (S k) x - taylor m (S k) x)); [| cbv beta; rewrite taylor_at_0; apply Rminus_diag_eq; reflexivity | intros t; apply IH].
  intros t; apply (is_derive_minus (wave k) (taylor (S m) k)); [apply wave_derive | apply taylor_derive].
Qed.

(* ---- Functions near polynomials ---- *)
Lemma poly_tempered p : is_poly p -> tempered p.
Proof.
induction 1; [apply tempered_const | apply tempered_id | now apply tempered_plus | now apply tempered_mult | now apply tempered_ext with (1 := H)].
Qed.

Definition near (f : R -> R) := tempered f /\ forall eps, 0 < eps -> exists p r,
  is_poly p /\ is_poly r /\ (forall x, (f x - p x) ^ 2 <= r x) /\ mean r <= eps.

Lemma near_poly p : is_poly p -> near p.
Proof.
intros h; split; [exact (poly_tempered p h)|]; intros eps e0; exists p, (fun _ => 0); repeat split; [exact h | apply poly_const | |].
- intros x; replace (p x - p x) with 0 by ring; simpl; lra.
- rewrite mean_const; lra.
Qed.

Lemma near_plus f g : near f -> near g -> near (fun x => f x + g x).
Proof.
intros [tf nf] [tg ng]; split; [now apply tempered_plus|]; intros eps e0.
destruct (nf (eps / 4) ltac:(lra)) as (p & r & pp & pr & b & m); destruct (ng (eps / 4) ltac:(lra)) as (q & s & pq & ps & b' & m').
exists (fun x => p x + q x), (fun x => 2 * (r x + s x)); repeat split; [now apply poly_plus | now apply poly_scal, poly_plus | |].
- intros x; assert (h := b x); assert (h' := b' x); assert (sq := pow2_ge_0 ((f x - p x) - (g x - q x))); simpl in *; nra.
- assert (tr := poly_tempered r pr); assert (ts := poly_tempered s ps).
  rewrite (mean_scal 2 _ (tempered_plus _ _ tr ts)), (mean_plus _ _ tr ts); lra.
Qed.

Lemma near_ext f g : (forall x, f x = g x) -> near f -> near g.
Proof.
intros e [t n]; split; [exact (tempered_ext f g e t)|]; intros eps e0; destruct (n eps e0) as (p & r & pp & pr & b & m).
exists p, r; repeat split; try assumption; intros x; rewrite <- e; apply b.
Qed.

Lemma near_scal c f : near f -> near (fun x => c * f x).
Proof.
intros [tf nf]; split; [now apply tempered_scal|]; intros eps e0; assert (k := pow2_ge_0 c).
destruct (nf (eps / (c ^ 2 + 1)) ltac:(apply Rdiv_lt_0_compat; lra)) as (p & r & pp & pr & b & m).
exists (fun x => c * p x), (fun x => c ^ 2 * r x); repeat split; [now apply poly_scal | now apply poly_scal | |].
- intros x; replace ((c * f x - c * p x) ^ 2) with (c ^ 2 * (f x - p x) ^ 2) by ring; apply Rmult_le_compat_l; [exact k | apply b].
- rewrite mean_scal by exact (poly_tempered r pr); apply Rle_trans with (c ^ 2 * (eps / (c ^ 2 + 1))); [now apply Rmult_le_compat_l|].
  replace (c ^ 2 * (eps / (c ^ 2 + 1))) with (eps - eps / (c ^ 2 + 1)) by (field; lra).
  assert (0 < eps / (c ^ 2 + 1)) by (apply Rdiv_lt_0_compat; lra); lra.
Qed.

(* what is near functions near polynomials is near polynomials *)
Lemma near_limit f : tempered f ->
  (forall eps, 0 < eps -> exists g r, near g /\ is_poly r /\ (forall x, (f x - g x) ^ 2 <= r x) /\ mean r <= eps) -> near f.
Proof.
intros tf lim; split; [exact tf|]; intros eps e0.
destruct (lim (eps / 4) ltac:(lra)) as (g & r & [tg ng] & pr & b & m); destruct (ng (eps / 4) ltac:(lra)) as (p & s & pp & ps & b' & m').
exists p, (fun x => 2 * (r x + s x)); repeat split; [exact pp | now apply poly_scal, poly_plus | |].
- intros x; assert (h := b x); assert (h' := b' x); assert (sq := pow2_ge_0 ((f x - g x) - (g x - p x))); simpl in *; nra.
- assert (tr := poly_tempered r pr); assert (ts := poly_tempered s ps).
  rewrite (mean_scal 2 _ (tempered_plus _ _ tr ts)), (mean_plus _ _ tr ts); lra.
Qed.

(* ---- Multiplication by a folded variable ---- *)
Definition fold (B x : R) := (1 + sin (x / B)) / 2.

Lemma fold_range B x : 0 <= fold B x <= 1.
Proof. unfold fold; assert (h := SIN_bound (x / B)); lra. Qed.

Lemma fold_tempered B : tempered (fold B).
Proof.
split; [intros x; apply (ex_derive_continuous (fold B)); unfold fold; auto_derive; easy|].
exists 1, 0%nat; intros x; assert (h := fold_range B x); rewrite Rabs_pos_eq by lra; simpl; lra.
Qed.

Lemma halving (d : nat -> R) m0 : (forall m, (m0 <= m)%nat -> 0 <= d m /\ d (S m) <= d m / 2) -> forall eps, 0 < eps -> exists m, d m <= eps.
Proof.
intros h eps e0; destruct (h m0 (le_n _)) as [d0 _].
assert (step : forall j, d (m0 + j)%nat * INR (S j) <= d m0).
{ induction j as [|j IH]; [rewrite Nat.add_0_r; simpl; lra|].
  destruct (h (m0 + j)%nat ltac:(lia)) as [p q]; replace (m0 + S j)%nat with (S (m0 + j)) by lia.
  rewrite !S_INR in *; assert (j0 := pos_INR j); nra. }
destruct (nfloor_ex (d m0 / eps)) as [j [_ hj]]; [apply Rdiv_le_0_compat; lra|].
exists (m0 + j)%nat; assert (s := step j); rewrite S_INR in s; assert (j0 := pos_INR j).
assert (k : d m0 <= eps * (INR j + 1)) by (replace (d m0) with (d m0 / eps * eps) by (field; lra); nra).
nra.
Qed.

Lemma moment_pos k : 0 <= moment k.
Proof.
enough (both : 0 <= moment k /\ 0 <= moment (S k)) by easy.
induction k as [|k [IH IH']]; [simpl; lra|]; split; [exact IH'|].
change (moment (S (S k))) with (INR (S k) * moment k); apply Rmult_le_pos; [apply pos_INR | exact IH].
Qed.

Lemma moments_small N eps : 0 < eps -> exists m, (moment (2 * m) + moment (2 * m + 2 * N)) / INR (fact m) ^ 2 <= eps.
Proof.
apply (halving (fun m => (moment (2 * m) + moment (2 * m + 2 * N)) / INR (fact m) ^ 2) (N + 8)); intros m le.
assert (f0 := INR_fact_lt_0 m); assert (m0 := pos_INR m); assert (n0 := pos_INR N).
assert (p1 := moment_pos (2 * m)); assert (p2 := moment_pos (2 * m + 2 * N)).
split; [apply Rdiv_le_0_compat; [lra | apply pow_lt, f0]|].
replace (2 * S m)%nat with (S (S (2 * m))) by lia; replace (S (S (2 * m)) + 2 * N)%nat with (S (S (2 * m + 2 * N))) by lia.
change (moment (S (S (2 * m)))) with (INR (S (2 * m)) * moment (2 * m)).
change (moment (S (S (2 * m + 2 * N)))) with (INR (S (2 * m + 2 * N)) * moment (2 * m + 2 * N)).
rewrite fact_S, !S_INR, plus_INR, !mult_INR; change (INR 2) with 2; apply le_INR in le; rewrite plus_INR in le; simpl (INR 8) in le.
set (M := moment (2 * m)) in *; set (M' := moment (2 * m + 2 * N)) in *; set (F := INR (fact m)) in *; set (x := INR m) in *; set (y := INR N) in *.
assert (big : 2 * (2 * x + 2 * y + 1) <= (x + 1) ^ 2) by (simpl; nra).
apply Rmult_le_reg_r with (((x + 1) * F) ^ 2); [apply pow_lt, Rmult_lt_0_compat; lra|].
replace (((2 * x + 1) * M + (2 * x + 2 * y + 1) * M') / ((x + 1) * F) ^ 2 * ((x + 1) * F) ^ 2)
  with ((2 * x + 1) * M + (2 * x + 2 * y + 1) * M') by (field; lra).
replace ((M + M') / F ^ 2 / 2 * ((x + 1) * F) ^ 2) with ((M + M') * ((x + 1) ^ 2 / 2)) by (field; lra).
nra.
Qed.

Lemma square_bound f : tempered f -> exists C N, 0 <= C /\ forall x, f x ^ 2 <= C * (1 + x ^ (2 * N)).
Proof.
intros [_ [C [n g]]]; assert (C0 := growth_pos f C n g); exists (C ^ 2 * 4 ^ n), (2 * n)%nat.
split; [apply Rmult_le_pos; [apply pow2_ge_0 | apply pow_le; lra]|]; intros x.
rewrite <- (pow2_abs (f x)); apply Rle_trans with ((C * (1 + Rabs x) ^ n) ^ 2); [apply pow_incr; split; [apply Rabs_pos | apply g]|].
rewrite Rpow_mult_distr, <- pow_mult, Nat.mul_comm, Rmult_assoc; apply Rmult_le_compat_l; [apply pow2_ge_0|].
rewrite pow_mult; replace (x ^ (2 * (2 * n))) with ((Rabs x ^ 4) ^ n) by (rewrite <- pow_mult, RPow_abs, Rabs_pos_eq; [f_equal; lia | replace (4 * n)%nat with (2 * (2 * n))%nat by lia; rewrite pow_mult; apply pow_le, pow2_ge_0]).
assert (p := Rabs_pos x); set (t := Rabs x) in *; destruct (Rle_lt_dec t 1) as [l | l].
- assert (h := pow_incr ((1 + t) ^ 2) 4 n ltac:(simpl; nra)); assert (h' := pow_le (t ^ 4) n ltac:(apply pow_le; lra)).
  assert (h4 := pow_le 4 n ltac:(lra)); nra.
- assert (h := pow_incr ((1 + t) ^ 2) (4 * t ^ 4) n); rewrite Rpow_mult_distr in h; specialize (h ltac:(split; [apply pow2_ge_0 | simpl; assert (1 <= t * t) by nra; assert (t * t <= t * t * (t * t)) by nra; nra])).
  assert (h4 := pow_le 4 n ltac:(lra)); lra.
Qed.

Lemma poly_mean_pow n : mean (fun x => x ^ n) = moment n.
Proof. apply mean_is, gaussian_moments. Qed.

Lemma poly_rescale B t : is_poly t -> is_poly (fun x => t (x / B)).
Proof.
induction 1 as [c | | p q _ IHp _ IHq | p q _ IHp _ IHq | p q e _ IH]; [apply poly_const | | | |].
- apply (poly_ext (fun x => / B * x)); [intros; unfold Rdiv; ring | apply poly_scal, poly_id].
- exact (poly_plus _ _ IHp IHq).
- exact (poly_mult _ _ IHp IHq).
- apply (poly_ext (fun x => p (x / B))); [intros x; apply e | exact IH].
Qed.

Lemma fold_error B m x : 1 <= B -> (fold B x - (1 + taylor m 0 (x / B)) / 2) ^ 2 <= / INR (fact m) ^ 2 * x ^ (2 * m).
Proof.
intros B1; assert (f0 := INR_fact_lt_0 m); set (q := (1 + taylor m 0 (x / B)) / 2).
assert (h := taylor_error m 0 (x / B)); unfold wave in h; simpl (INR 0) in h; rewrite Rmult_0_l, Rplus_0_r in h.
assert (le : Rabs (x / B) ^ m <= Rabs x ^ m).
{ apply pow_incr; split; [apply Rabs_pos|]; unfold Rdiv; rewrite Rabs_mult, Rabs_inv, (Rabs_pos_eq B) by lra.
  assert (px := Rabs_pos x); rewrite <- (Rmult_1_r (Rabs x)) at 2; apply Rmult_le_compat_l; [exact px|].
  rewrite <- Rinv_1; apply Rinv_le_contravar; lra. }
assert (h' : Rabs (fold B x - q) <= Rabs x ^ m / INR (fact m)).
{ replace (fold B x - q) with (/ 2 * (sin (x / B) - taylor m 0 (x / B))) by (unfold fold, q; field).
  rewrite Rabs_mult, (Rabs_pos_eq (/ 2)) by lra; assert (pa := Rabs_pos (sin (x / B) - taylor m 0 (x / B))).
  apply Rle_trans with (1 := ltac:(lra) : / 2 * Rabs (sin (x / B) - taylor m 0 (x / B)) <= Rabs (sin (x / B) - taylor m 0 (x / B))).
  apply Rle_trans with (1 := h); apply Rmult_le_compat_r; [apply Rlt_le, Rinv_0_lt_compat, f0 | exact le]. }
rewrite <- pow2_abs; apply Rle_trans with ((Rabs x ^ m / INR (fact m)) ^ 2); [apply pow_incr; split; [apply Rabs_pos | exact h']|].
right; unfold Rdiv; rewrite Rpow_mult_distr, <- pow_mult, Nat.mul_comm, pow_mult, pow2_abs, <- pow_mult, pow_inv; ring.
Qed.

Lemma near_fold B f : 1 <= B -> near f -> near (fun x => fold B x * f x).
Proof.
intros B1 nf; apply near_limit; [apply tempered_mult; [apply fold_tempered | exact (proj1 nf)]|]; intros eps e0.
destruct (proj2 nf (eps / 4) ltac:(lra)) as (p & r & pp & pr & b & mr); destruct (square_bound p (poly_tempered p pp)) as (C & N & C0 & bp).
destruct (moments_small N (eps / (4 * (C + 1))) ltac:(apply Rdiv_lt_0_compat; lra)) as [m hm].
set (q x := (1 + taylor m 0 (x / B)) / 2); set (k := / INR (fact m) ^ 2); assert (f0 := INR_fact_lt_0 m).
assert (k0 : 0 < k) by (apply Rinv_0_lt_compat, pow_lt, f0).
assert (pq : is_poly q).
{ apply (poly_ext (fun x => / 2 * (1 + taylor m 0 (x / B)))); [intros; unfold q; field|].
  apply poly_scal, (poly_plus (fun _ => 1)), poly_rescale, taylor_poly; apply poly_const. }
assert (err : forall x, (fold B x - q x) ^ 2 <= k * x ^ (2 * m)) by (intros x; now apply fold_error).
exists (fun x => q x * p x), (fun x => 2 * r x + 2 * (C * k) * (x ^ (2 * m) + x ^ (2 * m + 2 * N))).
assert (ppow : forall n, is_poly (fun x => x ^ n)) by (intros n; apply poly_pow, poly_id).
assert (pe : is_poly (fun x => 2 * (C * k) * (x ^ (2 * m) + x ^ (2 * m + 2 * N)))) by (apply poly_scal, poly_plus; apply ppow).
split; [|split; [|split]]; [apply near_poly, poly_mult; assumption | apply poly_plus; [apply poly_scal, pr | exact pe] | |].
- intros x; assert (fr := fold_range B x); assert (bx := b x); assert (ex := err x); assert (px := bp x).
  set (u := fold B x) in *; set (v := q x) in *; set (a := f x) in *; set (c := p x) in *.
  assert (one : (u * (a - c)) ^ 2 <= r x).
  { apply Rle_trans with (2 := bx); rewrite Rpow_mult_distr; assert (s := pow2_ge_0 (a - c)); assert (u ^ 2 <= 1) by (simpl; nra); nra. }
  assert (two : ((u - v) * c) ^ 2 <= C * k * (x ^ (2 * m) + x ^ (2 * m + 2 * N))).
  { rewrite Rpow_mult_distr, pow_add; apply Rle_trans with (k * x ^ (2 * m) * (C * (1 + x ^ (2 * N)))); [|right; ring].
    apply Rmult_le_compat; [apply pow2_ge_0 | apply pow2_ge_0 | exact ex | exact px]. }
  assert (s := pow2_ge_0 (u * (a - c) - (u - v) * c)); replace (u * a - v * c) with (u * (a - c) + (u - v) * c) by ring; simpl in *; nra.
- assert (tr := poly_tempered r pr); assert (tm := poly_tempered _ (ppow (2 * m)%nat)); assert (tn := poly_tempered _ (ppow (2 * m + 2 * N)%nat)).
  assert (ts := tempered_plus _ _ tm tn).
  rewrite (mean_plus _ _ (tempered_scal 2 _ tr) (tempered_scal (2 * (C * k)) _ ts)), (mean_scal 2 _ tr), (mean_scal _ _ ts), (mean_plus _ _ tm tn), !poly_mean_pow.
  assert (h : C * k * (moment (2 * m) + moment (2 * m + 2 * N)) <= eps / 4).
  { replace (C * k * (moment (2 * m) + moment (2 * m + 2 * N))) with (C * ((moment (2 * m) + moment (2 * m + 2 * N)) / INR (fact m) ^ 2)) by (unfold k, Rdiv; ring).
    apply Rle_trans with (C * (eps / (4 * (C + 1)))); [apply Rmult_le_compat_l; assumption|].
    replace (eps / 4) with ((C + 1) * (eps / (4 * (C + 1)))) by (field; lra).
    assert (0 < eps / (4 * (C + 1))) by (apply Rdiv_lt_0_compat; lra); nra. }
  lra.
Qed.

Lemma near_composite B q f : 1 <= B -> is_poly q -> near f -> near (fun x => q (fold B x) * f x).
Proof.
intros B1 pq; revert f; induction pq as [c | | p q _ IHp _ IHq | p q _ IHp _ IHq | p q e _ IH]; intros f nf.
- now apply near_scal.
- now apply near_fold.
- apply (near_ext (fun x => p (fold B x) * f x + q (fold B x) * f x)); [intros; ring | apply near_plus; auto].
- apply (near_ext (fun x => p (fold B x) * (q (fold B x) * f x))); [intros; ring | auto].
- apply (near_ext (fun x => p (fold B x) * f x)); [intros x; now rewrite e | auto].
Qed.

(* ---- Density ---- *)
Definition clip (a y : R) := (Rabs (y + a) - Rabs (y - a)) / 2.

Lemma clip_range a y : 0 <= a -> - a <= clip a y <= a.
Proof. intros a0; unfold clip, Rabs; destruct (Rcase_abs (y + a)), (Rcase_abs (y - a)); lra. Qed.
Lemma clip_id a y : - a <= y <= a -> clip a y = y.
Proof. intros h; unfold clip, Rabs; destruct (Rcase_abs (y + a)), (Rcase_abs (y - a)); lra. Qed.
Lemma clip_cont a y : continuous (clip a) y.
Proof.
apply (continuous_ext (fun y => / 2 * (Rabs (y + a) - Rabs (y - a)))); [intros u; unfold clip, Rdiv; apply Rmult_comm|].
apply (continuous_mult (fun _ => / 2) (fun y => Rabs (y + a) - Rabs (y - a))); [apply continuous_const|].
apply (continuous_minus (fun y => Rabs (y + a)) (fun y => Rabs (y - a)));
  [apply (continuous_comp (fun y => y + a) Rabs) | apply (continuous_comp (fun y => y - a) Rabs)]; try apply continuous_Rabs;
  [apply (ex_derive_continuous (fun y => y + a)) | apply (ex_derive_continuous (fun y => y - a))]; auto_derive; easy.
Qed.

(* a function on [-B, B] as a function of the folded variable *)
Definition unfolded (B : R) (f : R -> R) (z : R) := f (B * clip 1 (asin (clip (sin 1) (2 * z - 1)))).

Lemma sin_1 : 0 < sin 1 < 1.
Proof.
split; [apply sin_gt_0; assert (h := PI2_1); lra | apply sin_lt_x; lra].
Qed.

Lemma unfolded_cont B f z : (forall x, continuous f x) -> continuous (unfolded B f) z.
Proof.
intros c; assert (s := sin_1); apply (continuous_comp (fun z => B * clip 1 (asin (clip (sin 1) (2 * z - 1)))) f); [|apply c].
apply (continuous_mult (fun _ => B) (fun z => clip 1 (asin (clip (sin 1) (2 * z - 1))))); [apply continuous_const|].
apply (continuous_comp (fun z => asin (clip (sin 1) (2 * z - 1))) (clip 1)); [|apply clip_cont].
apply (continuous_comp (fun z => clip (sin 1) (2 * z - 1)) asin).
- apply (continuous_comp (fun z => 2 * z - 1) (clip (sin 1))); [apply (ex_derive_continuous (fun z => 2 * z - 1)); auto_derive; easy | apply clip_cont].
- apply continuity_pt_filterlim, derivable_continuous_pt, derivable_pt_asin.
  assert (h := clip_range (sin 1) (2 * z - 1) ltac:(lra)); lra.
Qed.

Lemma unfolded_fold B f x : 1 <= B -> Rabs x <= B -> unfolded B f (fold B x) = f x.
Proof.
intros B1 xB; assert (p := PI2_1); assert (h : - (1) <= x / B <= 1).
{ apply Rabs_le_between in xB; split; [apply (proj1 (Rle_div_r _ _ B ltac:(lra))) | apply (proj2 (Rle_div_l _ _ B ltac:(lra)))]; lra. }
unfold unfolded; replace (2 * fold B x - 1) with (sin (x / B)) by (unfold fold; field; lra).
rewrite (clip_id (sin 1)), asin_sin, clip_id by (try split; try lra; rewrite <- ?sin_neg; apply sin_incr_1; lra).
f_equal; field; lra.
Qed.

(* every tempered function is near polynomials *)
Lemma density f : tempered f -> near f.
Proof.
intros t; apply near_limit; [exact t|]; intros eps e0; assert (t' := t); destruct t' as [c [C [n g]]]; assert (C0 := growth_pos f C n g).
set (W := fun x => 2 * C * (1 + Rabs x) ^ n + 1).
assert (tW : tempered W) by (apply tempered_plus; [apply tempered_scal, tempered_weight | apply tempered_const]).
destruct (square_bound W tW) as (K & N & K0 & bW); set (M := K * (moment 2 + moment (2 + 2 * N))).
assert (M0 : 0 <= M) by (apply Rmult_le_pos; [exact K0 | assert (h := moment_pos 2); assert (h' := moment_pos (2 + 2 * N)); lra]).
set (B := 1 + 2 * M / eps); assert (B1 : 1 <= B) by (unfold B; assert (h := Rdiv_le_0_compat (2 * M) eps ltac:(lra) e0); lra).
set (d := Rmin 1 (eps / 2)); assert (d0 : 0 < d) by (apply Rmin_glb_lt; lra).
assert (d1 : d <= 1) by apply Rmin_l; assert (d2 : d <= eps / 2) by apply Rmin_r.
destruct (weierstrass (unfolded B f) (fun z _ => unfolded_cont B f z c) d d0) as (q & pq & bq).
assert (iB : 0 < / B ^ 2) by (apply Rinv_0_lt_compat, pow_lt; lra).
assert (ppow : forall k, is_poly (fun x => x ^ k)) by (intros k; apply poly_pow, poly_id).
assert (pr : is_poly (fun x => d ^ 2 + / B ^ 2 * K * (x ^ 2 + x ^ (2 + 2 * N)))).
{ apply (poly_plus (fun _ => d ^ 2)); [apply poly_const|]; apply poly_scal, poly_plus; apply ppow. }
exists (fun x => q (fold B x)), (fun x => d ^ 2 + / B ^ 2 * K * (x ^ 2 + x ^ (2 + 2 * N))); split; [|split; [exact pr|split]].
- apply (near_ext (fun x => q (fold B x) * 1)); [intros; ring | apply near_composite; [exact B1 | exact pq | apply near_poly, poly_const]].
- intros x; assert (fr := fold_range B x); assert (h := bq (fold B x) fr).
  assert (r0 : 0 <= / B ^ 2 * K * (x ^ 2 + x ^ (2 + 2 * N))).
  { apply Rmult_le_pos; [apply Rmult_le_pos; lra|]; rewrite pow_add, (pow_mult x 2 N); assert (s := pow2_ge_0 x); assert (s' := pow_le (x ^ 2) N s); nra. }
  destruct (Rle_lt_dec (Rabs x) B) as [near_ | far].
  + rewrite (unfolded_fold B f x B1 near_) in h; apply Rle_trans with (d ^ 2); [|lra].
    rewrite <- pow2_abs, Rabs_minus_sym; apply pow_incr; split; [apply Rabs_pos | exact h].
  + assert (u : Rabs (unfolded B f (fold B x)) <= C * (1 + Rabs x) ^ n).
    { unfold unfolded; set (y := clip 1 (asin (clip (sin 1) (2 * fold B x - 1)))); assert (yr := clip_range 1 (asin (clip (sin 1) (2 * fold B x - 1))) ltac:(lra)); fold y in yr.
      apply Rle_trans with (1 := g (B * y)), Rmult_le_compat_l; [exact C0|]; apply pow_incr; rewrite Rabs_mult, (Rabs_pos_eq B) by lra.
      assert (ya : Rabs y <= 1) by (apply Rabs_le_between; lra); assert (yp := Rabs_pos y); split; nra. }
    assert (e : Rabs (f x - q (fold B x)) <= W x).
    { unfold W; assert (gx := g x); apply Rabs_le_between in gx; apply Rabs_le_between in u; apply Rabs_le_between in h; apply Rabs_le_between; lra. }
    apply Rle_trans with (W x ^ 2); [rewrite <- pow2_abs; apply pow_incr; split; [apply Rabs_pos | exact e]|].
    apply Rle_trans with (1 := bW x); assert (sq : 1 <= / B ^ 2 * x ^ 2).
    { apply Rmult_le_reg_l with (B ^ 2); [apply pow_lt; lra|]; rewrite <- Rmult_assoc, Rinv_r, Rmult_1_r, Rmult_1_l by (apply pow_nonzero; lra).
      rewrite <- (pow2_abs x); apply pow_incr; lra. }
    assert (k : 0 <= K * (1 + x ^ (2 * N))) by (apply Rle_trans with (2 := bW x), pow2_ge_0).
    rewrite pow_add; assert (dd := pow2_ge_0 d); nra.
- assert (t1 := poly_tempered _ (ppow 2%nat)); assert (t2 := poly_tempered _ (ppow (2 + 2 * N)%nat)); assert (t3 := tempered_plus _ _ t1 t2).
  rewrite (mean_plus _ _ (tempered_const (d ^ 2)) (tempered_scal (/ B ^ 2 * K) _ t3)), mean_const, (mean_scal _ _ t3), (mean_plus _ _ t1 t2), !poly_mean_pow.
  assert (h : / B ^ 2 * K * (moment 2 + moment (2 + 2 * N)) <= eps / 2); [|simpl pow in *; nra].
  replace (/ B ^ 2 * K * (moment 2 + moment (2 + 2 * N))) with (M * / B ^ 2) by (unfold M; ring).
  apply Rle_trans with (M * / B); [apply Rmult_le_compat_l; [exact M0 | apply Rinv_le_contravar; simpl; nra]|].
  apply (proj2 (Rle_div_l _ _ B ltac:(lra))); unfold B; replace (eps / 2 * (1 + 2 * M / eps)) with (eps / 2 + M) by (field; lra); lra.
Qed.
