(* Every statement of Statements.v, proved by the theorem of the same name. *)
From lop.numbers Require Import Statements.
From lop.numbers Require Whole Tanh Relu Silu Erf Gelu.

Theorem whole_gauss_mean : Statements.whole_gauss_mean. Proof. exact (@Whole.whole_gauss_mean). Qed.
Theorem strength_tanh : Statements.strength_tanh. Proof. exact Tanh.strength_tanh. Qed.
Theorem strength_relu : Statements.strength_relu. Proof. exact Relu.strength_relu. Qed.
Theorem strength_silu : Statements.strength_silu. Proof. exact Silu.strength_silu. Qed.
Theorem strength_erf : Statements.strength_erf. Proof. exact Erf.strength_erf. Qed.
Theorem strength_gelu : Statements.strength_gelu. Proof. exact Gelu.strength_gelu. Qed.
