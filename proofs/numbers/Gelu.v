(* The decorrelation strength of gelu, x (1 + erf (x / sqrt 2)) / 2, through the surrogate of erf. *)
From Coq Require Import Reals Lra Lia List.
From Coquelicot Require Import Coquelicot.
From Interval Require Import Tactic.
From lop Require Import Gaussian.
From lop.numbers Require Import Whole Box Erf.
Local Open Scope R_scope.

Definition gelu (x : R) : R := x * (1 + erf (x / sqrt 2)) / 2.
Definition geluS (x : R) : R := x * (1 + erfS (x / sqrt 2)) / 2.
Lemma root2 : 1.4 <= sqrt 2.
Proof. interval. Qed.
Lemma comp_cont (f : R -> R) : (forall x, continuous f x) -> forall x, continuous (fun x => x * (1 + f (x / sqrt 2)) / 2) x.
Proof.
intros c x; assert (r := root2).
apply (continuous_mult (fun x => x * (1 + f (x / sqrt 2))) (fun _ => / 2)); [|apply continuous_const].
apply (continuous_mult (fun x : R => x) (fun x => 1 + f (x / sqrt 2))); [apply continuous_id|].
apply (continuous_plus (fun _ : R => 1) (fun x => f (x / sqrt 2))); [apply continuous_const|].
apply (continuous_comp (fun x => x / sqrt 2) f); [|apply c].
apply (continuous_mult (fun x => x) (fun _ => / sqrt 2)); [apply continuous_id | apply continuous_const].
Qed.
Lemma scaled x : Rabs (x / sqrt 2) <= Rabs x.
Proof.
assert (r := root2); unfold Rdiv; rewrite Rabs_mult, (Rabs_pos_eq (/ sqrt 2)) by (apply Rlt_le, Rinv_0_lt_compat; lra).
assert (/ sqrt 2 <= 1) by (rewrite <- Rinv_1; apply Rinv_le_contravar; lra); assert (p := Rabs_pos x); nra.
Qed.
Lemma gelu_near x : Rabs x <= 8 -> Rabs (geluS x - gelu x) <= 4e-9.
Proof.
intros h; unfold geluS, gelu; assert (s := scaled x); assert (n := erf_near (x / sqrt 2) ltac:(lra)).
replace (x * (1 + erfS (x / sqrt 2)) / 2 - x * (1 + erf (x / sqrt 2)) / 2) with (x * / 2 * (erfS (x / sqrt 2) - erf (x / sqrt 2))) by field.
rewrite !Rabs_mult, (Rabs_pos_eq (/ 2)) by lra; assert (p := Rabs_pos (erfS (x / sqrt 2) - erf (x / sqrt 2))); assert (q := Rabs_pos x).
apply Rle_trans with (8 * / 2 * 1e-9); [apply Rmult_le_compat; nra | lra].
Qed.
Lemma gelu_bound x : Rabs (gelu x) <= 1.5 * Rabs x.
Proof.
unfold gelu, Rdiv; rewrite !Rabs_mult, (Rabs_pos_eq (/ 2)) by lra.
assert (b := erf_bound (x / sqrt 2)); assert (t := Rabs_triang 1 (erf (x / sqrt 2))); rewrite Rabs_R1 in t; assert (q := Rabs_pos x); unfold Rdiv in *; nra.
Qed.
Lemma gelu_cont x : continuous gelu x.
Proof. apply (comp_cont erf erf_cont). Qed.
Lemma geluS_cont x : continuous geluS x.
Proof. apply (comp_cont erfS erfS_cont). Qed.
Lemma gelu_linear : linear gelu.
Proof. intros x h; assert (b := gelu_bound x); assert (p := Rabs_pos x); lra. Qed.

Ltac box := unfold wf, w, geluS, erfS, nodes, unit; cbn [gs]; integral with (i_fuel 600).
Lemma e_box : 0.70710677 <= RInt (wf geluS) (- 8) 8 <= 0.70710679.
Proof. box. Qed.
Lemma q_box : 1.06587218 <= RInt (wf (fun x => geluS x ^ 2)) (- 8) 8 <= 1.06587220.
Proof. box. Qed.
Lemma a_box : 1.25331413 <= RInt (wf (fun x => x * geluS x)) (- 8) 8 <= 1.25331415.
Proof. box. Qed.
Lemma gelu_box : 0.70710675 <= RInt (wf gelu) (- 8) 8 <= 0.70710681.
Proof. assert (t := transfer gelu geluS 4e-9 0.70710677 0.70710679 gelu_cont geluS_cont ltac:(lra) gelu_near e_box); lra. Qed.
Lemma gelu2_box : 1.065871888 <= RInt (wf (fun x => gelu x ^ 2)) (- 8) 8 <= 1.065872492.
Proof.
assert (t := transfer (fun x : R => gelu x ^ 2 : R) (fun x : R => geluS x ^ 2 : R) 9.7e-8 1.06587218 1.06587220 (sq_cont _ gelu_cont) (sq_cont _ geluS_cont) ltac:(lra)).
enough (1.06587218 - 3 * 9.7e-8 <= RInt (wf (fun x => gelu x ^ 2)) (- 8) 8 <= 1.06587220 + 3 * 9.7e-8) by lra.
apply t; [|exact q_box]; intros x hx; assert (n := gelu_near x hx); assert (b := gelu_bound x).
replace (geluS x ^ 2 - gelu x ^ 2) with ((geluS x - gelu x) * ((geluS x - gelu x) + 2 * gelu x)) by ring; rewrite Rabs_mult.
assert (tri := Rabs_triang (geluS x - gelu x) (2 * gelu x)); rewrite (Rabs_mult 2), (Rabs_pos_eq 2) in tri by lra.
apply Rle_trans with (4e-9 * 24.1); [apply Rmult_le_compat; try apply Rabs_pos; lra | lra].
Qed.
Lemma xgelu_box : 1.25331403 <= RInt (wf (fun x => x * gelu x)) (- 8) 8 <= 1.25331425.
Proof.
assert (t := transfer (fun x => x * gelu x) (fun x => x * geluS x) 3.2e-8 1.25331413 1.25331415 (x_cont _ gelu_cont) (x_cont _ geluS_cont) ltac:(lra)).
enough (1.25331413 - 3 * 3.2e-8 <= RInt (wf (fun x => x * gelu x)) (- 8) 8 <= 1.25331415 + 3 * 3.2e-8) by lra.
apply t; [|exact a_box]; intros x hx; assert (n := gelu_near x hx); rewrite <- Rmult_minus_distr_l, Rabs_mult.
apply Rle_trans with (8 * 4e-9); [apply Rmult_le_compat; try apply Rabs_pos; lra | lra].
Qed.

Lemma gelu_arith m e q a : near m 2.5066282741 2.5066282751 -> near e 0.70710675 0.70710681 -> near q 1.065871888 1.065872492 -> near a 1.25331403 1.25331425 ->
  0.276712 <= 1 - (a / m) ^ 2 / (q / m - (e / m) ^ 2) <= 0.276713.
Proof. unfold near; intros; split; interval. Qed.

(* [strength-numbers] lambda of gelu to six digits *)
Theorem strength_gelu : strength_in gelu 0.276712 0.276713.
Proof. exact (strength_from_boxes gelu _ _ _ _ _ _ _ _ gelu_cont gelu_linear gelu_box gelu2_box xgelu_box gelu_arith). Qed.
