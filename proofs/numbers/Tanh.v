(* The decorrelation strength of tanh (the one of Coq's library). *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From Interval Require Import Tactic.
From lop Require Import Gaussian.
From lop.numbers Require Import Whole Box.
Local Open Scope R_scope.

(* tanh of Coq's library, in a form with one occurrence of x *)
Lemma tanh_form x : tanh x = 1 - 2 / (exp (2 * x) + 1).
Proof.
unfold tanh, sinh, cosh; replace (2 * x) with (x + x) by ring; rewrite exp_plus, exp_Ropp.
assert (h := exp_pos x); assert (0 < exp x * exp x) by nra; field; repeat split; nra.
Qed.
Lemma tanh_bound x : Rabs (tanh x) <= 1.
Proof.
rewrite tanh_form; assert (h := exp_pos (2 * x)); apply Rabs_le_between.
assert (0 < 2 / (exp (2 * x) + 1) <= 2); [split; [apply Rdiv_lt_0_compat; lra|] | lra].
apply Rle_div_l; nra.
Qed.
Lemma tanh_cont x : continuous tanh x.
Proof.
apply (continuous_ext (fun x => 1 - 2 / (exp (2 * x) + 1))); [intros; symmetry; apply tanh_form|].
apply (ex_derive_continuous (fun x => 1 - 2 / (exp (2 * x) + 1))); auto_derive; assert (h := exp_pos (2 * x)); lra.
Qed.

Lemma tanh_linear : linear tanh.
Proof. intros x h; assert (t := tanh_bound x); lra. Qed.

Lemma tanh2_box : 0.988349715 <= RInt (wf (fun x => tanh x ^ 2)) (- 8) 8 <= 0.988349721.
Proof.
rewrite (RInt_ext _ (fun x => (1 - 2 / (exp (2 * x) + 1)) ^ 2 * exp (- (x * x) / 2))) by (intros; unfold wf, w; rewrite tanh_form; reflexivity).
integral with (i_fuel 1000).
Qed.
Lemma xtanh_box : 1.518278553 <= RInt (wf (fun x => x * tanh x)) (- 8) 8 <= 1.518278560.
Proof.
rewrite (RInt_ext _ (fun x => x * (1 - 2 / (exp (2 * x) + 1)) * exp (- (x * x) / 2))) by (intros; unfold wf, w; rewrite tanh_form; reflexivity).
integral with (i_fuel 1000).
Qed.
Lemma tanh_box : - 1e-10 <= RInt (wf tanh) (- 8) 8 <= 1e-10.
Proof.
rewrite (RInt_ext _ (fun x => (1 - 2 / (exp (2 * x) + 1)) * exp (- (x * x) / 2))) by (intros; unfold wf, w; rewrite tanh_form; reflexivity).
integral with (i_fuel 1000).
Qed.


Lemma tanh_arith m e q a : near m 2.5066282741 2.5066282751 -> near e (- 1e-10) 1e-10 -> near q 0.988349715 0.988349721 -> near a 1.518278553 1.518278560 ->
  0.069530 <= 1 - (a / m) ^ 2 / (q / m - (e / m) ^ 2) <= 0.069531.
Proof. unfold near; intros; split; interval. Qed.

(* [strength-numbers] lambda of tanh to six digits *)
Theorem strength_tanh : strength_in tanh 0.069530 0.069531.
Proof. exact (strength_from_boxes tanh _ _ _ _ _ _ _ _ tanh_cont tanh_linear tanh_box tanh2_box xtanh_box tanh_arith). Qed.
