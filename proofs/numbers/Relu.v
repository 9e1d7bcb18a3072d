(* The decorrelation strength of relu: the kink is an end point of the pieces. *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From Interval Require Import Tactic.
From lop Require Import Gaussian.
From lop.numbers Require Import Whole Box.
Local Open Scope R_scope.

Definition relu x := Rmax x 0.
Lemma relu_abs x : relu x = (x + Rabs x) / 2.
Proof. unfold relu, Rmax, Rabs; destruct Rle_dec, Rcase_abs; lra. Qed.
Lemma relu_cont x : continuous relu x.
Proof.
apply (continuous_ext (fun x => (x + Rabs x) * / 2)); [intros; symmetry; apply relu_abs|].
apply (continuous_mult (fun x => x + Rabs x) (fun _ => / 2)); [|apply continuous_const].
apply (continuous_plus (fun x : R => x) Rabs); [apply continuous_id | apply continuous_Rabs].
Qed.
Lemma relu_le x : Rabs (relu x) <= Rabs x.
Proof. rewrite relu_abs; unfold Rabs; repeat destruct Rcase_abs; lra. Qed.
Lemma relu_linear : linear relu.
Proof. intros x h; assert (t := relu_le x); lra. Qed.

(* the kink is an end point of the pieces *)
Lemma two_pieces f g h a b c : a <= b -> b <= c -> integrable f -> (forall x, a < x < b -> f x = g x) -> (forall x, b < x < c -> f x = h x) ->
  RInt (wf f) a c = RInt (wf g) a b + RInt (wf h) b c.
Proof.
intros ab bc i eg eh; rewrite <- (RInt_Chasles (V := R_CompleteNormedModule) (wf f) a b c) by apply i.
apply (f_equal2 Rplus); apply RInt_ext; intros x; rewrite Rmin_left, Rmax_right by lra; intros hx; unfold wf; [rewrite eg | rewrite eh]; auto.
Qed.
Lemma zero_piece a b : RInt (wf (fun _ => 0)) a b = 0.
Proof.
rewrite (RInt_ext _ (fun _ => 0)) by (intros; apply Rmult_0_l).
rewrite RInt_const; apply Rmult_0_r.
Qed.

Lemma relu_box : 0.999999999 <= RInt (wf relu) (- 8) 8 <= 1.000000001.
Proof.
rewrite (two_pieces _ (fun _ => 0) (fun x => x) (- 8) 0 8); try lra; [| apply wf_cont, relu_cont | | ]; try (intros; unfold relu, Rmax; destruct Rle_dec; simpl; lra).
rewrite zero_piece, Rplus_0_l; unfold wf, w.
integral with (i_fuel 1000).
Qed.
Lemma relu2_box : 1.25331413 <= RInt (wf (fun x => relu x ^ 2)) (- 8) 8 <= 1.25331415.
Proof.
rewrite (two_pieces _ (fun _ => 0) (fun x => x ^ 2) (- 8) 0 8); try lra; [| apply wf_cont | | ].
- rewrite zero_piece, Rplus_0_l; unfold wf, w.
  integral with (i_fuel 1000).
- intros x; apply (continuous_ext (fun x => relu x * relu x)); [intros; simpl; ring|].
  apply (continuous_mult relu relu); apply relu_cont.
- intros; unfold relu, Rmax; destruct Rle_dec; simpl; try lra; nra.
- intros; unfold relu, Rmax; destruct Rle_dec; simpl; try lra; nra.
Qed.
(* the same, without cutting at the kink: bisection meets 0 *)
Lemma xrelu_box : 1.25331413 <= RInt (wf (fun x => x * relu x)) (- 8) 8 <= 1.25331415.
Proof.
rewrite (RInt_ext _ (fun x => x * ((x + Rabs x) / 2) * exp (- (x * x) / 2))) by (intros; unfold wf, w; rewrite relu_abs; reflexivity).
integral with (i_fuel 1000).
Qed.

Lemma relu_arith m e q a : near m 2.5066282741 2.5066282751 -> near e 0.999999999 1.000000001 -> near q 1.25331413 1.25331415 -> near a 1.25331413 1.25331415 ->
  0.266528 <= 1 - (a / m) ^ 2 / (q / m - (e / m) ^ 2) <= 0.266529.
Proof. unfold near; intros; split; interval. Qed.

(* [strength-numbers] lambda of relu to six digits *)
Theorem strength_relu : strength_in relu 0.266528 0.266529.
Proof. exact (strength_from_boxes relu _ _ _ _ _ _ _ _ relu_cont relu_linear relu_box relu2_box xrelu_box relu_arith). Qed.
