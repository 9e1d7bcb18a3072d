(* The standard Gaussian mean as an improper Riemann integral, and Markov's inequality.

   w x              exp (- x^2 / 2)
   gauss_mean f m   int_{-T}^{T} f w / int_{-T}^{T} w tends to m: the mean of f is m
   moment n         0 for odd n, (n-1)(n-3)...1 for even n
   frozen eps d     the indicator of the inputs at which the derivative d is below eps          *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
Local Open Scope R_scope.

Definition w (x : R) := exp (- (x * x) / 2).
Definition mass T := RInt w (- T) T.
Definition gauss_mean (f : R -> R) (m : R) :=
  is_lim (fun T => RInt (fun x => f x * w x) (- T) T / mass T) p_infty m.

Lemma w_pos x : 0 < w x.
Proof. apply exp_pos. Qed.
Lemma w_derive x : is_derive w x (- x * w x).
Proof. unfold w; auto_derive; [easy|]; unfold Rdiv; field. Qed.
Lemma w_cont x : continuous w x.
Proof. apply (ex_derive_continuous w x); eexists; apply w_derive. Qed.
Lemma pow_cont n x : continuous (fun x => x ^ n) x.
Proof. apply (ex_derive_continuous (fun x => x ^ n) x); auto_derive; easy. Qed.
Lemma mono_cont n x : continuous (fun x => x ^ n * w x) x.
Proof. apply (continuous_mult (fun x => x ^ n) w); [apply pow_cont | apply w_cont]. Qed.
Lemma mono_int n a b : ex_RInt (fun x => x ^ n * w x) a b.
Proof. apply (ex_RInt_continuous (V := R_CompleteNormedModule)); intros; apply mono_cont. Qed.
Lemma w_int a b : ex_RInt w a b.
Proof. apply (ex_RInt_continuous (V := R_CompleteNormedModule)); intros; apply w_cont. Qed.

Lemma mass_pos T : 0 < T -> 0 < mass T.
Proof. intros T0; apply RInt_gt_0; [lra | intros; apply w_pos | intros; apply w_cont]. Qed.

Lemma mass_grows T : 1 <= T -> mass 1 <= mass T.
Proof.
intros T1; assert (split : mass T = RInt w (- T) (- (1)) + (mass 1 + RInt w 1 T)).
{ unfold mass; rewrite <- (RInt_Chasles w (- T) (- (1)) T) by apply w_int.
  rewrite <- (RInt_Chasles w (- (1)) 1 T) by apply w_int; reflexivity. }
assert (0 <= RInt w (- T) (- (1))) by (apply RInt_ge_0; [lra | apply w_int | intros; apply Rlt_le, w_pos]).
assert (0 <= RInt w 1 T) by (apply RInt_ge_0; [lra | apply w_int | intros; apply Rlt_le, w_pos]).
lra.
Qed.

(* integration by parts *)
Lemma parts n T : RInt (fun x => x ^ (S (S n)) * w x) (- T) T
  = INR (S n) * RInt (fun x => x ^ n * w x) (- T) T - (T ^ (S n) * w T - (- T) ^ (S n) * w (- T)).
Proof.
set (df := fun x => INR (S n) * (x ^ n * w x) - x ^ (S (S n)) * w x).
assert (der : forall x, is_derive (fun x => x ^ (S n) * w x) x (df x)).
{ intros x; replace (df x) with (INR (S n) * x ^ n * w x + x ^ S n * (- x * w x)) by (unfold df; simpl pow; ring).
  apply (is_derive_mult (fun x => x ^ S n) w x _ _ (proj2 (is_derive_Reals _ x _) (derivable_pt_lim_pow x (S n)))
    (w_derive x) Rmult_comm). }
assert (cont : forall x, continuous df x).
{ intros x; apply (continuous_minus (fun x => INR (S n) * (x ^ n * w x))); [|apply mono_cont].
  apply (continuous_mult (fun _ => INR (S n))); [apply continuous_const | apply mono_cont]. }
assert (int := is_RInt_unique _ _ _ _ (is_RInt_derive _ df (- T) T (fun x _ => der x) (fun x _ => cont x))).
assert (scaled : ex_RInt (fun x => INR (S n) * (x ^ n * w x)) (- T) T).
{ apply (ex_RInt_scal (V := R_CompleteNormedModule) (fun x => x ^ n * w x)); apply mono_int. }
assert (split : RInt df (- T) T = RInt (fun x => INR (S n) * (x ^ n * w x)) (- T) T
                                  - RInt (fun x => x ^ S (S n) * w x) (- T) T).
{ apply (RInt_minus (V := R_CompleteNormedModule) (fun x => INR (S n) * (x ^ n * w x))); [exact scaled | apply mono_int]. }
assert (scal : RInt (fun x => INR (S n) * (x ^ n * w x)) (- T) T = INR (S n) * RInt (fun x => x ^ n * w x) (- T) T).
{ apply (RInt_scal (V := R_CompleteNormedModule) (fun x => x ^ n * w x)); apply mono_int. }
assert (ends : RInt df (- T) T = T ^ S n * w T - (- T) ^ S n * w (- T)) by exact int.
lra.
Qed.

Lemma exp_pow y k : exp (INR k * y) = exp y ^ k.
Proof.
induction k as [|k IH]; [now rewrite Rmult_0_l, exp_0|].
rewrite S_INR, Rmult_plus_distr_r, Rmult_1_l, exp_plus, IH; simpl; ring.
Qed.

(* polynomials are negligible against the weight *)
Lemma pow_w_bounded k T : 1 <= T -> T ^ (S k) * w T <= (2 * INR (S k)) ^ (S k).
Proof.
intros T1; set (j := S k); assert (j0 : 0 < INR j) by (apply lt_0_INR; unfold j; lia).
assert (e : (T / (2 * INR j)) ^ j <= exp (T * T / 2)).
{ apply Rle_trans with (exp (T / 2)).
  - replace (T / 2) with (INR j * (T / (2 * INR j))) by (field; lra); rewrite exp_pow.
    apply pow_incr; split; [apply Rlt_le, Rdiv_lt_0_compat; lra|].
    assert (h := exp_ineq1_le (T / (2 * INR j))); lra.
  - destruct (Req_dec (T / 2) (T * T / 2)) as [->|ne]; [lra|]; apply Rlt_le, exp_increasing; nra. }
unfold w; replace (- (T * T) / 2) with (- (T * T / 2)) by field; rewrite exp_Ropp.
apply Rle_div_l; [apply exp_pos|].
replace (T ^ j) with ((2 * INR j) ^ j * (T / (2 * INR j)) ^ j)
  by (rewrite <- Rpow_mult_distr; f_equal; field; lra).
apply Rmult_le_compat_l; [apply pow_le; lra | exact e].
Qed.

Lemma inverse_vanishes c : is_lim (fun T => c / T) p_infty 0.
Proof.
replace (Finite 0) with (Rbar_mult c 0) by (simpl; f_equal; ring).
apply (is_lim_scal_l (fun T => / T) c p_infty 0).
apply (is_lim_inv (fun T => T) p_infty p_infty); [apply is_lim_id | easy].
Qed.

Lemma boundary_vanishes k : is_lim (fun T => (T ^ k * w T - (- T) ^ k * w (- T)) / mass T) p_infty 0.
Proof.
set (M := 2 * (2 * INR (S k)) ^ (S k) / mass 1).
assert (m1 := mass_pos 1 Rlt_0_1).
assert (bound : forall T, 1 <= T -> Rabs ((T ^ k * w T - (- T) ^ k * w (- T)) / mass T) <= M / T).
{ intros T T1; assert (mT := mass_grows T T1).
  replace (w (- T)) with (w T) by (unfold w; f_equal; field).
  rewrite <- Rmult_minus_distr_r.
  unfold Rdiv at 1; rewrite Rabs_mult, (Rabs_pos_eq (/ mass T)) by (apply Rlt_le, Rinv_0_lt_compat; lra).
  rewrite Rabs_mult, (Rabs_pos_eq (w T)) by (apply Rlt_le, w_pos).
  assert (tri : Rabs (T ^ k - (- T) ^ k) <= 2 * T ^ k).
  { assert (a1 : Rabs (T ^ k) = T ^ k) by (rewrite <- RPow_abs, Rabs_pos_eq; lra).
    assert (a2 : Rabs ((- T) ^ k) = T ^ k) by (rewrite <- RPow_abs, Rabs_Ropp, Rabs_pos_eq; lra).
    apply Rle_trans with (1 := Rabs_triang _ _); rewrite Rabs_Ropp; lra. }
  assert (pw := pow_w_bounded k T T1); assert (wp := w_pos T).
  apply (proj1 (Rle_div_r _ _ T (Rlt_le_trans _ _ _ Rlt_0_1 T1))).
  apply Rle_trans with (2 * (T ^ S k * w T) * / mass 1).
  - replace (Rabs (T ^ k - (- T) ^ k) * w T * / mass T * T) with ((Rabs (T ^ k - (- T) ^ k) * (w T * T)) * / mass T) by ring.
    apply Rmult_le_compat; [apply Rmult_le_pos; [apply Rabs_pos | nra] | apply Rlt_le, Rinv_0_lt_compat; lra | | apply Rinv_le_contravar; lra].
    simpl; replace (2 * (T * T ^ k * w T)) with ((2 * T ^ k) * (w T * T)) by ring.
    apply Rmult_le_compat_r; nra.
  - unfold M, Rdiv; apply Rmult_le_compat_r; [apply Rlt_le, Rinv_0_lt_compat; lra | lra]. }
apply (is_lim_le_le_loc (fun T => - (M / T)) (fun T => M / T)).
- exists 1; intros T T1; apply Rabs_le_between; apply bound; lra.
- replace (Finite 0) with (Rbar_opp 0) by (simpl; f_equal; ring); apply is_lim_opp.
  apply inverse_vanishes.
- apply inverse_vanishes.
Qed.

Fixpoint moment (n : nat) : R :=
  match n with O => 1 | S O => 0 | S (S k) => INR (S k) * moment k end.

(* [mehler-polynomial] the moments of the standard Gaussian, from the integral *)
Theorem gaussian_moments n : gauss_mean (fun x => x ^ n) (moment n).
Proof.
assert (both : gauss_mean (fun x => x ^ n) (moment n) /\ gauss_mean (fun x => x ^ S n) (moment (S n))); [|easy].
induction n as [|n [IH IH1]]; split; try exact IH1; unfold gauss_mean in *.
- apply (is_lim_ext_loc (fun _ => 1)); [|apply is_lim_const].
  exists 0; intros T T0; assert (m := mass_pos T T0).
  rewrite (RInt_ext _ w) by (intros; simpl; ring); unfold mass in *; field; lra.
- apply (is_lim_ext (fun T => - ((T ^ 0 * w T - (- T) ^ 0 * w (- T)) / mass T))).
  + intros T; f_equal; assert (der : is_RInt (fun x => x ^ 1 * w x) (- T) T (- w T - - w (- T))).
    { apply (is_RInt_derive (fun x => - w x) (fun x => x ^ 1 * w x)); [|intros; apply mono_cont].
      intros x _; replace (x ^ 1 * w x) with (opp (- x * w x)) by (unfold opp; simpl; ring).
      apply (is_derive_opp w), w_derive. }
    rewrite (is_RInt_unique _ _ _ _ der); unfold Rdiv; simpl; ring.
  + replace (Finite (moment 1)) with (Rbar_opp 0) by (simpl; f_equal; ring).
    apply is_lim_opp, boundary_vanishes.
- apply (is_lim_ext (fun T => INR (S n) * (RInt (fun x => x ^ n * w x) (- T) T / mass T)
    - (T ^ S n * w T - (- T) ^ S n * w (- T)) / mass T)).
  + intros T; rewrite parts; unfold Rdiv; ring.
  + replace (Finite (moment (S (S n)))) with (Finite (INR (S n) * moment n - 0)) by (f_equal; simpl; ring).
    apply (is_lim_minus' _ _ _ (INR (S n) * moment n) 0); [|apply boundary_vanishes].
    apply (is_lim_scal_l _ (INR (S n)) p_infty (moment n)); exact IH.
Qed.

(* ---- Markov's inequality ---- *)
Definition frozen (eps : R) (d : R -> R) (x : R) := if Rlt_dec (d x) eps then 1 else 0.

(* Markov's inequality for a non-negative d of mean a1; with d = f' and Stein's identity it is the freezing bound (Stein.v) *)
Lemma markov (d : R -> R) (a1 p eps : R) :
  (forall x, 0 <= d x) -> 0 < eps -> gauss_mean d a1 -> gauss_mean (frozen eps d) p ->
  (forall T, ex_RInt (fun x => d x * w x) (- T) T) -> (forall T, ex_RInt (fun x => frozen eps d x * w x) (- T) T) ->
  1 - a1 / eps <= p /\ sqrt (1 - (1 - a1 ^ 2)) = a1.
Proof.
intros d0 e0 md mp id ip.
assert (nonneg : 0 <= a1).
{ apply (is_lim_le_loc (fun _ => 0) (fun T => RInt (fun x => d x * w x) (- T) T / mass T) p_infty 0 a1);
    [| apply is_lim_const | exact md].
  exists 0; intros T T0; apply Rdiv_le_0_compat; [|now apply mass_pos].
  apply RInt_ge_0; [lra | apply id | intros; apply Rmult_le_pos; [apply d0 | apply Rlt_le, w_pos]]. }
split; [|replace (1 - (1 - a1 ^ 2)) with (a1 ^ 2) by ring; now apply sqrt_pow2].
apply Rmult_le_reg_l with (1 := e0).
enough (eps * 1 <= eps * p + a1) by (replace (eps * (1 - a1 / eps)) with (eps * 1 - a1) by (field; lra); lra).
apply (is_lim_le_loc (fun _ => eps * 1) (fun T => eps * (RInt (fun x => frozen eps d x * w x) (- T) T / mass T)
  + RInt (fun x => d x * w x) (- T) T / mass T) p_infty (eps * 1) (eps * p + a1)).
- exists 0; intros T T0; assert (m := mass_pos T T0).
  assert (le : RInt (fun x => eps * w x) (- T) T
    <= RInt (fun x => eps * (frozen eps d x * w x) + d x * w x) (- T) T).
  { apply RInt_le; [lra | | |].
    - apply (ex_RInt_scal (V := R_CompleteNormedModule) w), w_int.
    - apply (ex_RInt_plus (V := R_CompleteNormedModule) (fun x => eps * (frozen eps d x * w x))); [|apply id].
      apply (ex_RInt_scal (V := R_CompleteNormedModule) (fun x => frozen eps d x * w x)), ip.
    - intros x _; assert (wp := w_pos x); assert (dp := d0 x); unfold frozen; destruct Rlt_dec; nra. }
  assert (l : RInt (fun x => eps * w x) (- T) T = eps * mass T)
    by (apply (RInt_scal (V := R_CompleteNormedModule) w), w_int).
  assert (r : RInt (fun x => eps * (frozen eps d x * w x) + d x * w x) (- T) T
    = eps * RInt (fun x => frozen eps d x * w x) (- T) T + RInt (fun x => d x * w x) (- T) T).
  { etransitivity; [apply (RInt_plus (V := R_CompleteNormedModule) (fun x => eps * (frozen eps d x * w x)));
      [apply (ex_RInt_scal (V := R_CompleteNormedModule) (fun x => frozen eps d x * w x)), ip | apply id]|].
    apply f_equal2; [|reflexivity].
    apply (RInt_scal (V := R_CompleteNormedModule) (fun x => frozen eps d x * w x)), ip. }
  rewrite l, r in le; apply Rmult_le_reg_r with (1 := m).
  replace ((eps * (RInt (fun x => frozen eps d x * w x) (- T) T / mass T)
    + RInt (fun x => d x * w x) (- T) T / mass T) * mass T)
    with (eps * RInt (fun x => frozen eps d x * w x) (- T) T + RInt (fun x => d x * w x) (- T) T) by (field; lra).
  lra.
- apply is_lim_const.
- apply (is_lim_plus' _ _ _ (eps * p) a1); [|exact md].
  apply (is_lim_scal_l _ eps p_infty p); exact mp.
Qed.
