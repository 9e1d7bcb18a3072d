(* Decorrelation strengths proved to six digits, about the improper Gaussian integrals themselves: the file to read.

   strength_in f lo hi   the integrals of 1, f, f^2 and x f against exp (- x^2 / 2) over the whole line exist, and
                         lo <= lambda f <= hi, lambda f = 1 - (E Z f)^2 / (E f^2 - (E f)^2)              (Whole.v) *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From lop Require Import Gaussian.
From lop.numbers Require Import Whole Relu Silu Erf Gelu.
Local Open Scope R_scope.

(* an improper integral divided by that of 1 is the Gaussian mean of the other proofs *)
Definition whole_gauss_mean : Prop :=
  forall (f : R -> R) (l m : R), has_whole f l -> has_whole (fun _ => 1) m -> m <> 0 -> gauss_mean f (l / m).

(* lambda of tanh *)
Definition strength_tanh : Prop := strength_in tanh 0.069530 0.069531.

(* lambda of relu *)
Definition strength_relu : Prop := strength_in relu 0.266528 0.266529.

(* lambda of silu *)
Definition strength_silu : Prop := strength_in silu 0.201490 0.201491.

(* lambda of erf *)
Definition strength_erf : Prop := strength_in erf 0.086417 0.086418.

(* lambda of gelu *)
Definition strength_gelu : Prop := strength_in gelu 0.276712 0.276713.
