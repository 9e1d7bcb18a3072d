(* Mehler's formula (Eq. 1) for polynomial activations. The algebra needs no axioms.

   E             a linear functional on polynomials with E 1 = 1 and Stein's identity E (x q) = E q'
                 (the standard Gaussian mean: see Gaussian.v)
   He m          the probabilists' Hermite polynomials: He (m+1) = x He m - m He (m-1)
   smooth r s q  the polynomial x |-> E_z q (r x + s z), on a Hermite combination q = sum_m b_m He m
                 with r^2 + s^2 = 1 it is sum_m r^m b_m He m (smoothing)                         *)
From mathcomp Require Import all_ssreflect all_algebra ring.
Import GRing.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

Section Mehler.
Variable F : fieldType.
Variable E : {poly F} -> F.
Hypothesis E_linear : forall (a : F) p q, E (a *: p + q) = a * E p + E q.
Hypothesis E_one : E 1 = 1.
Hypothesis stein : forall q, E ('X * q) = E q^`().

Lemma E0 : E 0 = 0.
Proof. by have := E_linear 1 0 0; rewrite scale1r addr0 mul1r => /eqP; rewrite -subr_eq0 opprD addNKr oppr_eq0 => /eqP. Qed.
Lemma E_add p q : E (p + q) = E p + E q.
Proof. by rewrite -[p]scale1r E_linear mul1r scale1r. Qed.
Lemma E_scale a p : E (a *: p) = a * E p.
Proof. by rewrite -[a *: p]addr0 E_linear E0 addr0. Qed.
Lemma E_sub p q : E (p - q) = E p - E q.
Proof. by rewrite -scaleN1r E_add E_scale mulN1r. Qed.
Lemma E_const a : E a%:P = a.
Proof. by rewrite -[a%:P]mulr1 mul_polyC E_scale E_one mulr1. Qed.
Lemma E_sum (I : finType) (f : I -> {poly F}) : E (\sum_i f i) = \sum_i E (f i).
Proof. by apply: (big_morph E E_add E0). Qed.

(* (He m, He (m-1)) *)
Fixpoint hermite_pair m : {poly F} * {poly F} :=
  if m is m.+1 then let (h, h') := hermite_pair m in ('X * h - m%:R *: h', h) else (1, 0).
Definition He m := (hermite_pair m).1.

Lemma pairS m : hermite_pair m.+1 = ('X * He m - m%:R *: (hermite_pair m).2, He m).
Proof. by rewrite /He /=; case: (hermite_pair m). Qed.
Lemma HeS m : He m.+2 = 'X * He m.+1 - m.+1%:R *: He m.
Proof.
have prev : (hermite_pair m.+1).2 = He m by rewrite pairS.
by rewrite {1}/He (pairS m.+1) prev.
Qed.
Lemma He1 : He 1 = 'X.
Proof. by rewrite /He /= scale0r subr0 mulr1. Qed.

Lemma two_step (P : nat -> Prop) : P 0%N -> P 1%N -> (forall m, P m -> P m.+1 -> P m.+2) -> forall m, P m.
Proof. by move=> p0 p1 pS m; suff [] : P m /\ P m.+1 by []; elim: m => [|m [pm pm1]]; split=> //; apply: pS. Qed.

Lemma He_deriv m : (He m.+1)^`() = m.+1%:R *: He m.
Proof.
elim/two_step: m => [||m IH1 IH2]; first by rewrite He1 derivX scale1r.
  by rewrite HeS He1 !derivE mulr1 mul1r scaler0 subr0 -mulr2n scaler_nat.
rewrite HeS derivB derivM derivX mul1r derivZ IH1 IH2 -scalerAr -addrA -scalerBr -HeS.
by rewrite -{1}[He m.+2]scale1r -scalerDl -(natrD _ 1).
Qed.

(* [mehler-polynomial] (1/3) orthogonality: E (He n He m) = n! if n = m, else 0 *)
Theorem hermite_orthogonal n m : E (He n * He m) = if n == m then (n`!)%:R else 0.
Proof.
have He0 : He 0 = 1 by [].
have shift k q : E (He k.+1 * q) = E (He k * q^`()).
  case: k => [|k]; first by rewrite He1 stein He0 mul1r.
  by rewrite HeS mulrBl -mulrA -scalerAl E_sub stein derivM He_deriv E_add -scalerAl !E_scale addrAC subrr add0r.
elim: n m => [|n IH] [|m]; rewrite ?He0 ?mul1r ?E_one //.
- by rewrite -[He m.+1]mulr1 shift derivC mulr0 E0.
- by rewrite shift derivC mulr0 E0.
rewrite shift He_deriv -scalerAr E_scale IH eqSS; case: eqP => [->|_]; last by rewrite mulr0.
by rewrite -natrM factS.
Qed.

Section Smoothing.
Variables r s : F.
Hypothesis unit_circle : r ^+ 2 + s ^+ 2 = 1.

(* the polynomial z |-> r x + s z *)
Definition mix (x : F) : {poly F} := (r * x)%:P + s *: 'X.

Lemma mix_deriv x : (mix x)^`() = s%:P.
Proof. by rewrite /mix derivD derivC derivZ derivX add0r alg_polyC. Qed.

(* [mehler-polynomial] (2/3) smoothing a Hermite polynomial multiplies it by r^m *)
Theorem hermite_smoothing m x : E (He m \Po mix x) = r ^+ m * (He m).[x].
Proof.
elim/two_step: m => [||m IH1 IH2].
- by rewrite comp_polyC E_one expr0 mul1r hornerC.
- rewrite He1 comp_polyX /mix E_add E_const E_scale -['X]mulr1 stein derivC E0 mulr0 addr0 mulr1.
  by rewrite hornerX expr1.
rewrite HeS comp_polyB comp_polyM comp_polyX comp_polyZ E_sub E_scale IH1.
rewrite {1}/mix mulrDl mul_polyC -scalerAl E_add !E_scale IH2 stein deriv_comp mix_deriv He_deriv comp_polyZ.
rewrite [_ * s%:P]mulrC mul_polyC !E_scale IH1 !hornerE /= !exprS.
move: ((He m).[x]) ((He m.+1).[x]) (r ^+ m) (m.+1%:R : F) => p q e k.
apply/eqP; rewrite -subr_eq0; apply/eqP.
match goal with |- ?d = 0 => have -> : d = k * e * p * (r ^+ 2 + s ^+ 2 - 1) by ring end.
by rewrite unit_circle subrr mulr0.
Qed.

(* polynomials by their Hermite coefficients: sum_k c_k He k / sqrt(k!) needs square roots, so the
   unnormalised coefficients b_k = c_k / sqrt(k!) are used here: sum_k b_k He k *)
Definition expand N (b : nat -> F) : {poly F} := \sum_(k < N) b k *: He k.

Lemma expand_smoothing N b x : E (expand N b \Po mix x) = (expand N (fun k => r ^+ k * b k)).[x].
Proof.
rewrite /expand (raddf_sum (comp_poly_additive _)) E_sum horner_sum; apply: eq_bigr => k _.
by rewrite /= comp_polyZ E_scale hermite_smoothing hornerZ mulrCA mulrA.
Qed.

(* [mehler-polynomial] (3/3) E_x (p(x) E_z q(r x + s z)) = sum_k k! b_k c_k r^k for p = sum b_k He k, q = sum c_k He k:
   with orthonormal coefficients a_k = b_k sqrt(k!), K(rho) = sum_k a_k^2 rho^k at p = q *)
Theorem mehler N (b c : nat -> F) : exists smooth : {poly F},
  (forall x, smooth.[x] = E (expand N c \Po mix x)) /\
  E (expand N b * smooth) = \sum_(k < N) (k`!)%:R * b k * c k * r ^+ k.
Proof.
exists (expand N (fun k => r ^+ k * c k)); split=> [x|]; first by rewrite expand_smoothing.
rewrite {1}/expand mulr_suml E_sum; apply: eq_bigr => k _.
rewrite /expand mulr_sumr E_sum (bigD1 k) //= big1 ?addr0 => [|l lk].
  by rewrite -scalerAl -scalerAr !E_scale hermite_orthogonal eqxx; ring.
rewrite -scalerAl -scalerAr !E_scale hermite_orthogonal; case: eqP => [kl|_]; last by rewrite !mulr0.
by case/eqP: lk; apply: val_inj.
Qed.
End Smoothing.
End Mehler.
