(* Normalisation: BatchNorm, LayerNorm, GroupNorm, InstanceNorm, RMSNorm, over the reals (Lemma A.2, Remark A.5).

   norm center eps    (x - mean x) / sqrt (variance x + eps); x / sqrt (mean x^2 + eps) if not `center`
   gain a             w_a x + b_a with a = a (port): scale and shift shared by all ports with the same a
   normalisation      norm on every group, then gain: the groups are channels (BatchNorm, over batch and positions), samples
                      (LayerNorm, RMSNorm), groups of channels (GroupNorm), channels of a sample (InstanceNorm)       *)
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

(* ---- Normalisation ---- *)
Section Norm.
Variables (U BU : finType) (q : U -> BU) (center : bool) (eps : R).
Definition avg (x : U -> R) := (\sum_u x u) / #|U|%:R.
Definition centred (x : U -> R) u := x u - center%:R * avg x.
Definition spread (x : U -> R) := sqrt (avg (fun u => centred x u ^+ 2) + eps).
Definition normed (x : U -> R) u := centred x u * (spread x)^-1.
Definition norm : layer no_params U U := Layer (fun _ x u => normed x u)
  (fun _ x d u => (d u - center%:R * avg d - normed x u * avg (fun u => d u * normed x u)) * (spread x)^-1) (fun _ _ _ => 0).

(* [module-rules] normalisation is certified for every profile, whatever the multiplicities *)
Theorem norm_cert : cert norm q q (fun=> True) (fun=> True).
Proof.
have same x u u' : block_equal q x -> q u = q u' -> normed x u = normed x u'.
  by move=> ex uu; rewrite /normed /centred (ex u u').
apply: free_cert => [x ex | x d ex ed] u u' uu /=; first exact: same.
by rewrite (same x u u') // (ed u u').
Qed.

Lemma sum_avg x : \sum_u x u = #|U|%:R * avg x.
Proof.
rewrite /avg; have [z | nz] := eqVneq #|U| 0%N; last by rewrite mulrC divfK // pnatr_eq0.
by rewrite z mul0r big1 // => u _; have := max_card (pred1 u); rewrite card1 z.
Qed.
Lemma avg_derive x dx (t : R) : derives x t dx -> is_derive (fun s => avg (x s)) t (avg dx).
Proof.
move=> der; rewrite /avg; have := is_derive_cmul (#|U|%:R^-1) (is_derive_bigsum (P := xpredT) (fun u _ => der u)).
by rewrite mulrC; apply: is_derive_eqfun => s; rewrite mulrC.
Qed.
Lemma avgZ c x : avg (fun u => c * x u) = c * avg x.
Proof. by rewrite /avg -mulr_sumr mulrA. Qed.

Hypothesis eps_pos : 0 < eps.
Lemma spread_pos x : 0 < spread x.
Proof.
apply/RltP/sqrt_lt_R0/RltP; rewrite ltr_paddl // divr_ge0 ?ler0n // sumr_ge0 // => u _; exact: sqr_ge0.
Qed.
Lemma spread_arg x : 0 < avg (fun u => centred x u ^+ 2) + eps.
Proof. rewrite ltr_paddl // divr_ge0 ?ler0n // sumr_ge0 // => u _; exact: sqr_ge0. Qed.

Lemma centred_derive x dx (t : R) : derives x t dx -> derives (fun s => centred (x s)) t (centred dx).
Proof.
move=> der u; rewrite /centred -[- _]mulN1r; apply: (is_derive_eqfun (f := fun s => x s u + -1 * (center%:R * avg (x s)))).
  by move=> s; rewrite mulN1r.
by apply: is_derive_add; [apply: der | do 2 apply: is_derive_cmul; apply: avg_derive].
Qed.

Lemma spread_derive x dx (t : R) : derives x t dx ->
  is_derive (fun s => spread (x s)) t (avg (fun u => normed (x t) u * centred dx u)).
Proof.
move=> der; have c := centred_derive der.
have sq u : is_derive (fun s => centred (x s) u ^+ 2) t (2%:R * (centred (x t) u * centred dx u)).
  have := is_derive_mul (c u) (c u); rewrite [X in is_derive _ _ X](_ : _ = 2%:R * (centred (x t) u * centred dx u)).
    by apply: is_derive_eqfun => s; rewrite expr2.
  by ring.
have sum := is_derive_add (avg_derive (x := fun s u => centred (x s) u ^+ 2) sq) (is_derive_fun0 eps t).
have := @is_derive_root (fun s => avg (fun u => centred (x s) u ^+ 2) + eps) t _ (spread_arg (x t)) sum.
congr (is_derive _ _ _).
rewrite addr0 avgZ -/(spread (x t)).
have -> : avg (fun u => normed (x t) u * centred dx u) = (spread (x t))^-1 * avg (fun u => centred (x t) u * centred dx u).
  by rewrite -avgZ; congr (_ / _); apply: eq_bigr => u _; rewrite /normed; ring.
have nz := gt_eqF (spread_pos (x t)); field; by rewrite nz.
Qed.

(* (d - center avg d) and the adjoint of centring *)
Lemma centred_adjoint (e h : U -> R) : \sum_u e u * centred h u = \sum_u centred e u * h u.
Proof.
rewrite /centred; under eq_bigr do rewrite mulrBr; under [RHS]eq_bigr do rewrite mulrBl.
rewrite !sumrB -mulr_suml -mulr_sumr !sum_avg; congr (_ - _); ring.
Qed.

Lemma avg_normed x : center%:R * avg (normed x) = 0.
Proof.
have -> : avg (normed x) = avg (centred x) * (spread x)^-1.
  by rewrite mulrC -avgZ; congr (_ / _); apply: eq_bigr => u _; rewrite mulrC.
suff z : center%:R * avg (centred x) = 0 by rewrite mulrA z mul0r.
have const (c : R) : \sum_(u : U) c = #|U|%:R * c by rewrite sumr_const mulr_natl.
have cc : center%:R * center%:R = center%:R :> R by case: (center); rewrite ?mulr1 ?mulr0.
rewrite {1}/avg /centred sumrB const sum_avg.
have -> (n i c m : R) : c * ((n * m - n * (c * m)) * i) = (c - c * c) * (n * m * i) by ring.
by rewrite cc subrr mul0r.
Qed.

(* [backward-derivative] normalisation, by the batch or the sample, centred or not *)
Theorem norm_backprop : backprop no_coord norm (fun _ _ => True).
Proof.
move=> w x t dw dx d _ _ dx_; rewrite pairing_void add0r.
pose s0 := spread (x t); pose n := normed (x t); pose a := avg (fun u => n u * centred dx u); pose b := avg (fun u => d u * n u).
have nz s : spread (x s) != 0 by rewrite gt_eqF // spread_pos.
have dn u : is_derive (fun s => normed (x s) u) t ((centred dx u - n u * a) * s0^-1).
  have := is_derive_mul (centred_derive dx_ u) (is_derive_invr nz (spread_derive dx_)).
  by congr (is_derive _ _ _); rewrite /n /normed -/s0 -/a; ring.
have := derives_pairing d dn; congr (is_derive _ _ _); rewrite /pairing.
have adj : \sum_u d u * (centred dx u - n u * a) = \sum_u (d u - n u * b) * centred dx u.
  under eq_bigr do rewrite mulrBr; under [RHS]eq_bigr do rewrite mulrBl; rewrite !sumrB; congr (_ - _).
  rewrite (eq_bigr (fun u => a * (d u * n u))) => [|u _]; last by ring.
  rewrite -mulr_sumr [RHS](eq_bigr (fun u => b * (n u * centred dx u))) => [|u _]; last by ring.
  by rewrite -mulr_sumr !sum_avg -/a -/b; ring.
transitivity (s0^-1 * \sum_u d u * (centred dx u - n u * a)); first by rewrite mulr_sumr; apply: eq_bigr => u _; ring.
rewrite adj centred_adjoint mulr_sumr; apply: eq_bigr => u _; rewrite /= -/s0 -/n -/b.
have -> : centred (fun u => d u - n u * b) u = d u - center%:R * avg d - n u * b; last by ring.
have avgB : avg (fun u => d u - n u * b) = avg d - b * avg n.
  by rewrite -avgZ /avg -mulrBl -sumrB; congr (_ / _); apply: eq_bigr => v _; rewrite [b * _]mulrC.
have z : center%:R * avg n = 0 := avg_normed (x t).
have shape (e f c g h m : R) : e - f - c * (g - h * m) = e - c * g - f + h * (c * m) by ring.
by rewrite /centred avgB shape z mulr0 addr0.
Qed.
End Norm.

(* ---- Scale and shift ---- *)
Section Gain.
Variables (U A BU BA : finType) (a : U -> A) (q : U -> BU) (pA : A -> BA).
Notation gains := [lmodType real of {ffun A -> R^o * R^o}].
Definition gain : layer gains U U :=
  @Layer real gains U U (fun w x u => (w (a u)).1 * x u + (w (a u)).2) (fun w x d u => (w (a u)).1 * d u)
    (fun w x d => [ffun i => (\sum_(u | a u == i) d u * x u, \sum_(u | a u == i) d u)]).
Definition gain_coord (w : gains) (k : A * bool) := if k.2 then (w k.1).1 else (w k.1).2.

(* [module-rules] scale and shift, tied within blocks that the ports read fairly *)
Theorem gain_cert : fair_reads a q pA -> cert gain q q (tied pA) (tied pA).
Proof.
move=> fair; split=> [w x tw ex u u' uu | w x d tw ex ed u u' uu | w x d tw ex ed i i' ii | c w d tw td i i' ii] /=.
- by rewrite (ex u u') // (tw (a u) (a u')) //; apply: fair.1.
- by rewrite (ed u u') // (tw (a u) (a u')) //; apply: fair.1.
- rewrite !ffunE; congr (_, _); last exact: (gathered_equal fair ed).
  by apply: (gathered_equal (d := fun u => d u * x u) fair) => // u u' uu; rewrite (ex u u') // (ed u u').
- by rewrite !ffunE (tw i i') // (td i i').
Qed.

(* [backward-derivative] scale and shift *)
Theorem gain_backprop : backprop gain_coord gain (fun _ _ => True).
Proof.
move=> w x t dw dx d _ dw_ dx_.
have der u : is_derive (fun s => d u * ((w s (a u)).1 * x s u + (w s (a u)).2)) t
    (d u * (dw (a u, true) * x t u + (w t (a u)).1 * dx u + dw (a u, false))).
  apply: is_derive_cmul; apply: is_derive_add; last exact: (dw_ (a u, false)).
  by apply: is_derive_mul; [exact: (dw_ (a u, true)) | exact: dx_].
have := is_derive_bigsum (P := xpredT) (fun u _ => der u); congr (is_derive _ _ _).
have bools (f : A * bool -> R) : \sum_k f k = \sum_i f (i, true) + \sum_i f (i, false).
  by rewrite split_pair big_bool.
rewrite {1}/pairing bools /gain_coord /=; 
rewrite (eq_bigr (fun i => (\sum_(u | a u == i) d u * x t u) * dw (i, true))) => [|i _]; last by rewrite ffunE.
rewrite [X in _ + X + _](eq_bigr (fun i => (\sum_(u | a u == i) d u) * dw (i, false))) => [|i _]; last by rewrite ffunE.
have := pairing_reads a (fun u => d u * x t u) (fun i => dw (i, true)); rewrite {2}/pairing => <-.
have := pairing_reads a d (fun i => dw (i, false)); rewrite {2}/pairing => <-.
by rewrite /pairing -!big_split; apply: eq_bigr => u _ /=; ring.
Qed.
End Gain.

(* ---- Normalisation layers ---- *)
Section Layers.
Variables (G U A B BU BA : finType) (center : bool) (eps : R) (a : G * U -> A) (blk : G -> B) (q : U -> BU) (pA : A -> BA).
Definition normalisation := sequence (grouped G (norm U center eps)) (gain a).

(* [module-rules] [coverage] BatchNorm, LayerNorm, RMSNorm, InstanceNorm, aligned GroupNorm: groups may be clones of each
   other, and so may the ports within a group *)
Theorem normalisation_cert : fair_reads a (grouped_profile blk q) pA ->
  cert normalisation (grouped_profile blk q) (grouped_profile blk q)
    (both (each blk (fun=> True)) (tied pA)) (both (each blk (fun=> True)) (tied pA)).
Proof. by move=> fair; apply: sequence_cert (gain_cert fair); apply: grouped_cert; apply: norm_cert. Qed.

(* [backward-derivative] and their backward pass is the derivative, for every input *)
Theorem normalisation_backprop : 0 < eps ->
  backprop (both_coords (fun (w : {ffun G -> no_params}) k => no_coord (w k.1) k.2) (@gain_coord A)) normalisation
    (fun _ _ => True).
Proof.
move=> pos w x t dw dx d _.
have b := sequence_backprop (grouped_backprop (G := G) (@norm_backprop U center eps pos)) (gain_backprop a).
exact (b w x t dw dx d (conj (fun _ => I) I)).
Qed.
End Layers.
