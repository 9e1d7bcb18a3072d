(* Attention: softmax (scale q k^T) v, over the reals (Remark A.5). Heads are `grouped`.

   query, key, value   the three parts of a head's input: positions times width
   logit s t           scale sum_d q (s, d) k (t, d);  mask s: the positions that s may attend to (causal, padding)
   weight s t          exp (logit s t) / sum_t' exp (logit s t')
   head                sum_t weight s t * v (t, e)                                                               *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import Rstruct.
From Coq Require Import Reals Lra FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
From lop Require Import Dag Cloning Backprop Modules Differentiable Layers.
From mathcomp Require Import ring.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

Section Head.
Variables (S T D E : finType) (mask : S -> pred T) (scale : R).
Notation port := [finType of (S * D + T * D) + T * E].
Implicit Types (x dx : (S * D + T * D) + T * E -> R) (d : S * E -> R).
Definition query x s i := x (inl (inl (s, i))).
Definition key x t i := x (inl (inr (t, i))).
Definition value x t e := x (inr (t, e)).
Definition logit x s t := scale * \sum_i query x s i * key x t i.
Definition total x s := \sum_(t | mask s t) exp (logit x s t).
Definition weight x s t := exp (logit x s t) * (total x s)^-1.

(* the adjoints of the weights, and of the logits *)
Definition weight_adjoint x d s t := \sum_e d (s, e) * value x t e.
Definition logit_adjoint x d s t :=
  weight x s t * (weight_adjoint x d s t - \sum_(t' | mask s t') weight x s t' * weight_adjoint x d s t').

Definition head : layer no_params port [finType of S * E] := Layer
  (fun _ x o => \sum_(t | mask o.1 t) weight x o.1 t * value x t o.2)
  (fun _ x d p => match p with
    | inl (inl (s, i)) => scale * \sum_(t | mask s t) logit_adjoint x d s t * key x t i
    | inl (inr (t, i)) => scale * \sum_(s | mask s t) logit_adjoint x d s t * query x s i
    | inr (t, e) => \sum_(s | mask s t) weight x s t * d (s, e) end)
  (fun _ _ _ => 0).

(* ---- The certificate ---- *)
Variables (BD BE : finType) (cls : D -> BD) (cls' : E -> BE).
Definition port_profile (p : (S * D + T * D) + T * E) : (S * BD + T * BD) + T * BE := match p with
  | inl (inl (s, i)) => inl (inl (s, cls i)) | inl (inr (t, i)) => inl (inr (t, cls i)) | inr (t, e) => inr (t, cls' e) end.
Definition out_profile (o : S * E) := (o.1, cls' o.2).

(* [module-rules] [coverage] queries and keys cloned alike, values cloned: with any multiplicities *)
Theorem head_cert : cert head port_profile out_profile (fun=> True) (fun=> True).
Proof.
have eq_value x t e e' : block_equal port_profile x -> cls' e = cls' e' -> value x t e = value x t e'.
  by move=> ex ee; apply: ex; rewrite /= ee.
have eq_query x s i i' : block_equal port_profile x -> cls i = cls i' -> query x s i = query x s i'.
  by move=> ex ii; apply: ex; rewrite /= ii.
have eq_key x t i i' : block_equal port_profile x -> cls i = cls i' -> key x t i = key x t i'.
  by move=> ex ii; apply: ex; rewrite /= ii.
apply: free_cert => [x ex [s e] [s' e'] [<- ee] | x d ex ed] /=.
  by apply: eq_bigr => t _; rewrite (eq_value x t e e').
move=> [[[s i]|[t i]]|[t e]] [[[s' i']|[t' i']]|[t' e']] //= [<- eq_].
- by congr (_ * _); apply: eq_bigr => t _; rewrite (eq_key x t i i').
- by congr (_ * _); apply: eq_bigr => s _; rewrite (eq_query x s i i').
- by apply: eq_bigr => s _; congr (_ * _); apply: ed; rewrite /out_profile /= eq_.
Qed.

(* ---- The derivative ---- *)
Lemma total_pos x s t : mask s t -> 0 < total x s.
Proof.
move=> st; rewrite /total (bigD1 t) //= ltr_paddr ?sumr_ge0 // => [t' _|]; last exact/RltP/exp_pos.
exact/RleP/Rlt_le/exp_pos.
Qed.

Definition dlogit x dx s t := scale * \sum_i (query dx s i * key x t i + query x s i * key dx t i).
Lemma logit_derive x dx (r : R) (y : R -> _ -> R) s t : y r = x -> derives y r dx ->
  is_derive (fun u => logit (y u) s t) r (dlogit x dx s t).
Proof.
by move=> <- der; apply: is_derive_cmul; apply: is_derive_bigsum => i _; apply: is_derive_mul; apply: der.
Qed.

Lemma exp_derive (f : R -> R) r l : is_derive f r l -> is_derive (fun u => exp (f u)) r (l * exp (f r)).
Proof. exact: (is_derive_comp exp f) (is_derive_exp _). Qed.

Lemma weight_derive x dx (r : R) (y : R -> _ -> R) s t : y r = x -> derives y r dx -> mask s t ->
  is_derive (fun u => weight (y u) s t) r
    (weight x s t * (dlogit x dx s t - \sum_(t' | mask s t') weight x s t' * dlogit x dx s t')).
Proof.
move=> yx der st; have e t' := exp_derive (logit_derive s t' yx der).
have shape (a b i m : R) : a * b * i + b * (- m * i ^+ 2) = b * i * (a - i * m) by ring.
have nz u : total (y u) s != 0 by rewrite gt_eqF // (total_pos _ st).
have := is_derive_mul (e t) (is_derive_invr nz (is_derive_bigsum (P := mask s) (fun t' _ => e t'))).
rewrite yx; congr (is_derive _ _ _); rewrite /weight -/(total x s).
rewrite [X in _ = _ * (_ - X)](eq_bigr (fun t' => (total x s)^-1 * (dlogit x dx s t' * exp (logit x s t')))).
  rewrite -mulr_sumr; exact: shape.
by have shape' (a b i : R) : b * i * a = i * (a * b) by [ring]; move=> t' _; apply: shape'.
Qed.

Lemma logit_exchange x dx d s : \sum_(t | mask s t)
    weight x s t * (dlogit x dx s t - \sum_(t' | mask s t') weight x s t' * dlogit x dx s t') * weight_adjoint x d s t
  = \sum_(t | mask s t) logit_adjoint x d s t * dlogit x dx s t.
Proof.
set m := \sum_(t' | mask s t') weight x s t' * dlogit x dx s t'.
rewrite /logit_adjoint; set a := \sum_(t' | mask s t') weight x s t' * weight_adjoint x d s t'.
rewrite (eq_bigr (fun t => weight x s t * dlogit x dx s t * weight_adjoint x d s t - m * (weight x s t * weight_adjoint x d s t))).
  rewrite sumrB -mulr_sumr -/a [RHS](eq_bigr (fun t => weight x s t * dlogit x dx s t * weight_adjoint x d s t
    - a * (weight x s t * dlogit x dx s t))) => [|t _]; last by ring.
  by rewrite sumrB -mulr_sumr -/m mulrC.
by move=> t _; ring.
Qed.

(* [backward-derivative] attention, where every query may attend to some key *)
Theorem head_backprop : backprop no_coord head (fun _ _ => True).
Proof.
move=> w y r dw dx d _ _ der; rewrite pairing_void add0r; set x := y r.
pose dp s t := weight x s t * (dlogit x dx s t - \sum_(t' | mask s t') weight x s t' * dlogit x dx s t').
have := is_derive_bigsum (P := xpredT) (f := fun o u => d o * fwd head (w u) (y u) o)
  (df := fun o => d o * \sum_(t | mask o.1 t) (dp o.1 t * value x t o.2 + weight x o.1 t * value dx t o.2)) (t := r) _.
move/(_ (fun o _ => is_derive_cmul (d o) (is_derive_bigsum (fun t st =>
  is_derive_mul (weight_derive (erefl x) der st) (der (inr (t, o.2))))))); congr (is_derive _ _ _).
rewrite pairing_sum pairing_sum /pairing /=.
have split_ : \sum_o d o * (\sum_(t | mask o.1 t) (dp o.1 t * value x t o.2 + weight x o.1 t * value dx t o.2))
  = \sum_s \sum_(t | mask s t) logit_adjoint x d s t * dlogit x dx s t
    + \sum_s \sum_(t | mask s t) \sum_e weight x s t * d (s, e) * value dx t e.
  rewrite -big_split /= split_pair exchange_big; apply: eq_bigr => s _; rewrite -logit_exchange -/(dp s _) /=.
  rewrite -big_split /=; under eq_bigr do rewrite mulr_sumr; rewrite exchange_big; apply: eq_bigr => t _ /=.
  by rewrite /weight_adjoint -/(dp s t) mulr_sumr -big_split; apply: eq_bigr => e _ /=; ring.
rewrite split_ !split_pair; congr (_ + _); last first.
  rewrite (exchange_big_dep xpredT) //= exchange_big; apply: eq_bigr => t _; rewrite exchange_big /=.
  by apply: eq_bigr => e _; rewrite mulr_suml; apply: eq_bigr.
transitivity (\sum_s \sum_(t | mask s t) \sum_i scale * logit_adjoint x d s t * key x t i * query dx s i
  + \sum_s \sum_(t | mask s t) \sum_i scale * logit_adjoint x d s t * query x s i * key dx t i).
  rewrite -big_split; apply: eq_bigr => s _ /=; rewrite -big_split; apply: eq_bigr => t _ /=.
  by rewrite -big_split /dlogit mulrCA mulrA mulr_sumr; apply: eq_bigr => i _ /=; ring.
congr (_ + _).
  rewrite [RHS]exchange_big; apply: eq_bigr => s _; rewrite exchange_big; apply: eq_bigr => i _ /=.
  by rewrite -mulrA mulr_suml mulr_sumr; apply: eq_bigr => t _; rewrite !mulrA.
rewrite (exchange_big_dep xpredT) //= [RHS]exchange_big; apply: eq_bigr => t _; rewrite exchange_big; apply: eq_bigr => i _ /=.
by rewrite -mulrA mulr_suml mulr_sumr; apply: eq_bigr => s _; rewrite !mulrA.
Qed.
End Head.

(* ---- Attention over heads ---- *)
Section Attention.
Variables (H S T D E B BD BE : finType) (mask : S -> pred T) (scale : R) (blk : H -> B) (cls : D -> BD) (cls' : E -> BE).
Definition attention := grouped H (@head S T D E mask scale).

(* [module-rules] [coverage] attention: heads may be clones of each other, and so may widths within a head *)
Theorem attention_cert : cert attention (grouped_profile blk (port_profile cls cls')) (grouped_profile blk (out_profile cls'))
  (each blk (fun=> True)) (each blk (fun=> True)).
Proof. by apply: grouped_cert; apply: head_cert. Qed.

(* [backward-derivative] attention over heads, with any mask *)
Theorem attention_backprop : backprop (fun (w : {ffun H -> no_params}) k => no_coord (w k.1) k.2) attention (fun _ _ => True).
Proof.
move=> w x t dw dx d _; have b := grouped_backprop (G := H) (@head_backprop S T D E mask scale).
exact (b w x t dw dx d (fun _ => I)).
Qed.
End Attention.
