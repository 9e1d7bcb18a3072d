(* The decorrelation strength of silu, x / (1 + exp (- x)). *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From Interval Require Import Tactic.
From lop Require Import Gaussian.
From lop.numbers Require Import Whole Box.
Local Open Scope R_scope.

Definition silu (x : R) : R := x / (1 + exp (- x)).
Lemma silu_bound x : Rabs (silu x) <= Rabs x.
Proof.
unfold silu, Rdiv; rewrite Rabs_mult; assert (h := exp_pos (- x)); assert (p := Rabs_pos x).
assert (0 < / (1 + exp (- x)) <= 1) by (split; [apply Rinv_0_lt_compat; lra | rewrite <- Rinv_1; apply Rinv_le_contravar; lra]).
rewrite (Rabs_pos_eq (/ _)); nra.
Qed.
Lemma silu_cont x : continuous silu x.
Proof. apply (ex_derive_continuous silu x); unfold silu; auto_derive; assert (h := exp_pos (- x)); lra. Qed.
Lemma silu_linear : linear silu.
Proof. intros x h; assert (t := silu_bound x); lra. Qed.

Ltac box := unfold wf, w, silu; integral with (i_fuel 600).
Lemma e_box : 0.517921948 <= RInt (wf silu) (- 8) 8 <= 0.517921954.
Proof. box. Qed.
Lemma q_box : 0.891796972 <= RInt (wf (fun x => silu x ^ 2)) (- 8) 8 <= 0.891796982.
Proof. box. Qed.
Lemma a_box : 1.253314132 <= RInt (wf (fun x => x * silu x)) (- 8) 8 <= 1.253314142.
Proof. box. Qed.

Lemma silu_arith m e q a : near m 2.5066282741 2.5066282751 -> near e 0.517921948 0.517921954 -> near q 0.891796972 0.891796982 -> near a 1.253314132 1.253314142 ->
  0.201490 <= 1 - (a / m) ^ 2 / (q / m - (e / m) ^ 2) <= 0.201491.
Proof. unfold near; intros; split; interval. Qed.

(* [strength-numbers] lambda of silu to six digits *)
Theorem strength_silu : strength_in silu 0.201490 0.201491.
Proof. exact (strength_from_boxes silu _ _ _ _ _ _ _ _ silu_cont silu_linear e_box q_box a_box silu_arith). Qed.
