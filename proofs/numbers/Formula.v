(* What an activation needs for a strength from boxes: continuity and linear growth, one lemma a node of its formula
   (python -m lop_theory.gap --coq writes the chain of lemmas for a formula).

   grows f A B     |f x| <= A |x| + B for every x, A and B not negative
   nonneg, nonpos  the sign of f everywhere
   hyperbolic u    tanh u in the form that CoqInterval bounds best                                             *)
From Coq Require Import Reals Lra FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
From lop Require Import Gaussian.
From lop.numbers Require Import Whole Box Tanh.
Local Open Scope R_scope.

Definition relu (u : R) : R := (u + Rabs u) / 2.
Definition sigmoid (u : R) : R := / (1 + exp (- u)).
Definition softplus (u : R) : R := ln (1 + exp u).
Definition hyperbolic (u : R) : R := 1 - 2 / (exp (2 * u) + 1).

Definition smooth (f : R -> R) := forall x, continuous f x.
Definition grows (f : R -> R) (A B : R) := 0 <= A /\ 0 <= B /\ forall x, Rabs (f x) <= A * Rabs x + B.
Definition nonneg (f : R -> R) := forall x, 0 <= f x.
Definition nonpos (f : R -> R) := forall x, f x <= 0.

(* ---- Continuity ---- *)
Lemma smooth_of (g f : R -> R) : (forall u, continuous g u) -> smooth f -> smooth (fun x => g (f x)).
Proof. intros cg cf x; apply (continuous_comp f g); [apply cf | apply cg]. Qed.
Lemma smooth_x : smooth (fun x => x).
Proof. intros x; apply continuous_id. Qed.
Lemma smooth_num c : smooth (fun _ => c).
Proof. intros x; apply continuous_const. Qed.
Lemma smooth_add f g : smooth f -> smooth g -> smooth (fun x => f x + g x).
Proof. intros cf cg x; apply (continuous_plus f g); [apply cf | apply cg]. Qed.
Lemma smooth_mul f g : smooth f -> smooth g -> smooth (fun x => f x * g x).
Proof. intros cf cg x; apply (continuous_mult f g); [apply cf | apply cg]. Qed.
Lemma derivable_smooth (g : R -> R) : (forall u, ex_derive g u) -> forall u, continuous g u.
Proof. intros d u; apply (ex_derive_continuous g u), d. Qed.
Lemma smooth_exp f : smooth f -> smooth (fun x => exp (f x)).
Proof. apply smooth_of, derivable_smooth; intros u; eexists; apply is_derive_exp. Qed.
Lemma smooth_sin f : smooth f -> smooth (fun x => sin (f x)).
Proof. apply smooth_of, derivable_smooth; intros u; eexists; apply is_derive_sin. Qed.
Lemma smooth_cos f : smooth f -> smooth (fun x => cos (f x)).
Proof. apply smooth_of, derivable_smooth; intros u; eexists; apply is_derive_cos. Qed.
Lemma smooth_atan f : smooth f -> smooth (fun x => atan (f x)).
Proof. apply smooth_of, derivable_smooth; intros u; eexists; apply is_derive_atan. Qed.
Lemma smooth_abs f : smooth f -> smooth (fun x => Rabs (f x)).
Proof. apply smooth_of; intros u; apply continuous_Rabs. Qed.
Lemma smooth_sqrt f : smooth f -> smooth (fun x => sqrt (f x)).
Proof. apply smooth_of; intros u; apply continuous_sqrt. Qed.
Lemma smooth_relu f : smooth f -> smooth (fun x => relu (f x)).
Proof.
intros c; apply (smooth_mul (fun x => f x + Rabs (f x)) (fun _ => / 2)); [|apply smooth_num].
apply smooth_add; [exact c | apply smooth_abs, c].
Qed.
Lemma exp_plus_pos u : 0 < 1 + exp u.
Proof. assert (h := exp_pos u); lra. Qed.
Lemma smooth_sigmoid f : smooth f -> smooth (fun x => sigmoid (f x)).
Proof. apply smooth_of, derivable_smooth; intros u; unfold sigmoid; auto_derive; assert (h := exp_plus_pos (- u)); lra. Qed.
Lemma smooth_softplus f : smooth f -> smooth (fun x => softplus (f x)).
Proof. apply smooth_of, derivable_smooth; intros u; unfold softplus; auto_derive; assert (h := exp_plus_pos u); lra. Qed.
Lemma smooth_tanh f : smooth f -> smooth (fun x => hyperbolic (f x)).
Proof. apply smooth_of, derivable_smooth; intros u; unfold hyperbolic; auto_derive; assert (h := exp_pos (2 * u)); lra. Qed.
Lemma smooth_inv f c : 0 < c -> smooth f -> (forall x, c <= f x) -> smooth (fun x => / f x).
Proof.
intros c0 cf low x; apply (continuous_comp f Rinv); [apply cf|]; apply (ex_derive_continuous Rinv (f x)).
auto_derive; assert (h := low x); lra.
Qed.

(* ---- Sign ---- *)
Lemma nonneg_square f : nonneg (fun x => f x * f x).
Proof. intros x; nra. Qed.
Lemma nonneg_mul f g : nonneg f -> nonneg g -> nonneg (fun x => f x * g x).
Proof. intros a b x; apply Rmult_le_pos; auto. Qed.
Lemma nonneg_add f g : nonneg f -> nonneg g -> nonneg (fun x => f x + g x).
Proof. intros a b x; assert (h := a x); assert (i := b x); lra. Qed.
Lemma nonneg_num c : 0 <= c -> nonneg (fun _ => c).
Proof. intros h x; exact h. Qed.
Lemma nonneg_abs f : nonneg (fun x => Rabs (f x)).
Proof. intros x; apply Rabs_pos. Qed.
Lemma nonneg_exp f : nonneg (fun x => exp (f x)).
Proof. intros x; apply Rlt_le, exp_pos. Qed.
Lemma nonneg_sqrt f : nonneg (fun x => sqrt (f x)).
Proof. intros x; apply sqrt_pos. Qed.
Lemma nonneg_relu f : nonneg (fun x => relu (f x)).
Proof. intros x; unfold relu, Rabs; destruct Rcase_abs; lra. Qed.
Lemma nonneg_sigmoid f : nonneg (fun x => sigmoid (f x)).
Proof. intros x; apply Rlt_le, Rinv_0_lt_compat, exp_plus_pos. Qed.
Lemma nonneg_softplus f : nonneg (fun x => softplus (f x)).
Proof. intros x; unfold softplus; rewrite <- ln_1; apply Rlt_le, ln_increasing; [lra | assert (h := exp_pos (f x)); lra]. Qed.
Lemma nonpos_mul f g : nonpos f -> nonneg g -> nonpos (fun x => f x * g x).
Proof. intros a b x; assert (h := a x); assert (i := b x); nra. Qed.
Lemma nonpos_mul_right f g : nonneg f -> nonpos g -> nonpos (fun x => f x * g x).
Proof. intros a b x; assert (h := a x); assert (i := b x); nra. Qed.
Lemma nonpos_num c : c <= 0 -> nonpos (fun _ => c).
Proof. intros h x; exact h. Qed.

(* ---- Growth ---- *)
Lemma grows_x : grows (fun x => x) 1 0.
Proof. repeat split; try lra; intros x; lra. Qed.
Lemma grows_num c B : Rabs c <= B -> grows (fun _ => c) 0 B.
Proof. intros h; assert (p := Rabs_pos c); repeat split; try lra; intros x; lra. Qed.
Lemma grows_add f g A B A' B' : grows f A B -> grows g A' B' -> grows (fun x => f x + g x) (A + A') (B + B').
Proof.
intros (a & b & h) (a' & b' & h'); repeat split; try lra; intros x.
assert (t := Rabs_triang (f x) (g x)); assert (i := h x); assert (j := h' x); lra.
Qed.
Lemma grows_mul f g B A' B' : grows f 0 B -> grows g A' B' -> grows (fun x => f x * g x) (B * A') (B * B').
Proof.
intros (a & b & h) (a' & b' & h'); repeat split; try (apply Rmult_le_pos; assumption); intros x; rewrite Rabs_mult.
assert (i := h x); assert (j := h' x); rewrite Rmult_assoc, <- Rmult_plus_distr_l.
apply Rmult_le_compat; try apply Rabs_pos; lra.
Qed.
Lemma grows_mul_right f g A B B' : grows f A B -> grows g 0 B' -> grows (fun x => f x * g x) (B' * A) (B' * B).
Proof.
intros gf gg; destruct (grows_mul g f B' A B gg gf) as (a & b & h); repeat split; try assumption.
intros x; rewrite (Rmult_comm (f x)); apply h.
Qed.
Lemma grows_less (f g : R -> R) A B C : (forall x, Rabs (g x) <= Rabs (f x) + C) -> 0 <= C -> grows f A B -> grows g A (B + C).
Proof. intros le c (a & b & h); repeat split; try lra; intros x; assert (i := le x); assert (j := h x); lra. Qed.
Lemma grows_abs f A B : grows f A B -> grows (fun x => Rabs (f x)) A (B + 0).
Proof. apply grows_less; [intros x; rewrite Rabs_Rabsolu|]; lra. Qed.
Lemma grows_relu f A B : grows f A B -> grows (fun x => relu (f x)) A (B + 0).
Proof. apply grows_less; [intros x; unfold relu, Rabs; repeat destruct Rcase_abs; lra | lra]. Qed.
Lemma grows_sqrt f A B : grows f A B -> grows (fun x => sqrt (f x)) A (B + 1).
Proof.
apply grows_less; [|lra]; intros x; rewrite Rabs_pos_eq by apply sqrt_pos.
destruct (Rle_lt_dec 0 (f x)) as [p | n]; [|rewrite sqrt_neg_0 by lra; assert (h := Rabs_pos (f x)); lra].
rewrite Rabs_pos_eq by exact p; assert (s := sqrt_sqrt _ p); assert (q := sqrt_pos (f x)); nra.
Qed.
Lemma grows_softplus f A B : grows f A B -> grows (fun x => softplus (f x)) A (B + 1).
Proof.
apply grows_less; [|lra]; intros x; rewrite Rabs_pos_eq by apply (nonneg_softplus f); unfold softplus.
assert (one : 1 <= exp (Rabs (f x))) by (rewrite <- exp_0; destruct (Rabs_pos (f x)) as [h | <-]; [apply Rlt_le, exp_increasing, h | lra]).
assert (le : exp (f x) <= exp (Rabs (f x))) by (destruct (Rle_abs (f x)) as [h | <-]; [apply Rlt_le, exp_increasing, h | lra]).
assert (e1 := exp_ineq1_le 1); rewrite <- (ln_exp (Rabs (f x) + 1)); apply ln_le; [apply exp_plus_pos|].
rewrite exp_plus; nra.
Qed.
Lemma bounded f B : 0 <= B -> (forall x, Rabs (f x) <= B) -> grows f 0 B.
Proof. intros b h; repeat split; try lra; intros x; assert (i := h x); lra. Qed.
Lemma grows_sin f : grows (fun x => sin (f x)) 0 1.
Proof. apply bounded; [lra|]; intros x; apply Rabs_le_between; assert (h := SIN_bound (f x)); lra. Qed.
Lemma grows_cos f : grows (fun x => cos (f x)) 0 1.
Proof. apply bounded; [lra|]; intros x; apply Rabs_le_between; assert (h := COS_bound (f x)); lra. Qed.
Lemma grows_atan f : grows (fun x => atan (f x)) 0 2.
Proof. apply bounded; [lra|]; intros x; apply Rabs_le_between; assert (h := atan_bound (f x)); assert (p := PI_4); lra. Qed.
Lemma grows_tanh f : grows (fun x => hyperbolic (f x)) 0 1.
Proof. apply bounded; [lra|]; intros x; unfold hyperbolic; rewrite <- tanh_form; apply tanh_bound. Qed.
Lemma grows_sigmoid f : grows (fun x => sigmoid (f x)) 0 1.
Proof.
apply bounded; [lra|]; intros x; rewrite Rabs_pos_eq by apply (nonneg_sigmoid f); unfold sigmoid.
apply Rle_trans with (/ 1); [apply Rinv_le_contravar; [lra | assert (h := exp_pos (- f x)); lra] | rewrite Rinv_1; lra].
Qed.
Lemma grows_exp f : nonpos f -> grows (fun x => exp (f x)) 0 1.
Proof.
intros n; apply bounded; [lra|]; intros x; rewrite Rabs_pos_eq by apply Rlt_le, exp_pos; rewrite <- exp_0.
destruct (n x) as [h | ->]; [apply Rlt_le, exp_increasing, h | lra].
Qed.
Lemma grows_inv f c B : 0 < c -> / c <= B -> (forall x, c <= f x) -> grows (fun x => / f x) 0 B.
Proof.
intros c0 cb low; assert (p := Rinv_0_lt_compat _ c0); apply bounded; [lra|]; intros x; assert (h := low x).
rewrite Rabs_pos_eq by (apply Rlt_le, Rinv_0_lt_compat; lra); apply Rle_trans with (/ c); [apply Rinv_le_contravar; lra | exact cb].
Qed.
Lemma above f g c : (forall x, c <= f x) -> nonneg g -> forall x, c <= f x + g x.
Proof. intros l n x; assert (h := n x); assert (i := l x); lra. Qed.
Lemma above_right f g c : (forall x, c <= g x) -> nonneg f -> forall x, c <= f x + g x.
Proof. intros l n x; assert (h := n x); assert (i := l x); lra. Qed.
Lemma grows_as f A B A' B' : grows f A B -> A = A' -> B = B' -> grows f A' B'.
Proof. intros g <- <-; exact g. Qed.

Lemma grows_linear f A B : grows f A B -> A * 8 + B <= 16 -> linear f.
Proof. intros (a & b & h) le x x8; assert (i := h x); nra. Qed.

(* the same function, written in another way *)
Lemma strength_same f g lo hi : (forall x, f x = g x) -> strength_in g lo hi -> strength_in f lo hi.
Proof. intros e; rewrite (functional_extensionality f g e); exact (fun h => h). Qed.
