(* Gradient flow on and near an affine manifold whose normal space is the range of an orthogonal projector Q.

   projector Q        Q is symmetric and idempotent; the manifold is { x : Q (x - x0) = 0 }
   field t x          the gradient at time t: data, loss and task may change with t in any way
   tangent            on the manifold the field has no normal component, at any time
   lipschitz L        |field t x - field t y| <= L |x - y|
   flow               theta' = - field t theta, at every t >= 0
   dist2 t            the squared distance of theta t to the manifold, |Q (theta t - x0)|^2                  *)
From Coq Require Import Reals Lra.
From Coquelicot Require Import Coquelicot.
From lop Require Import Persistence.
From mathcomp Require Import all_ssreflect all_algebra ring.
From mathcomp Require Import Rstruct.
From lop Require Import Dag Cloning Backprop Stability.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

Section Flow.
Variables (n : nat) (Q : 'M[R]_n) (x0 : 'cV[R]_n) (field : R -> 'cV[R]_n -> 'cV[R]_n) (L : R) (theta : R -> 'cV[R]_n).
Notation sq u := (dot (F := R_realFieldType) u u).
Definition projector := Q^T = Q /\ Q *m Q = Q.
Definition tangent_field := forall t x, Q *m (x - x0) = 0 -> Q *m field t x = 0.
Definition lipschitz := forall t x y, sq (field t x - field t y) <= L ^+ 2 * sq (x - y).
Definition gradient_flow := forall t, 0 <= t -> forall i, is_derive (fun s => theta s i 0) t (- field t (theta t) i 0).
Definition dist2 t : R := sq (Q *m (theta t - x0)).

Hypothesis proj : projector.
Hypothesis tan : tangent_field.
Hypothesis L0 : 0 < L.
Hypothesis lip : lipschitz.
Hypothesis flow : gradient_flow.

Lemma sq_ge0 (u : 'cV[R]_n) : 0 <= sq u.
Proof. by rewrite dot_sq sumr_ge0 // => i _; rewrite sqr_ge0. Qed.

Lemma dotE (u v : 'cV[R]_n) : dot (F := R_realFieldType) u v = \sum_i u i 0 * v i 0.
Proof. by rewrite /dot mxE; apply: eq_bigr => i _; rewrite mxE. Qed.

Lemma dot_proj u v : dot (F := R_realFieldType) (Q *m u) (Q *m v) = dot (F := R_realFieldType) (Q *m u) v.
Proof. by have [sym idem] := proj; rewrite /dot !trmx_mul sym -!mulmxA (mulmxA Q Q) idem. Qed.

Lemma sq_proj u : sq (Q *m u) <= sq u.
Proof.
have cross : dot (F := R_realFieldType) (Q *m u) u = sq (Q *m u) by rewrite -dot_proj.
suff e : sq u = sq (Q *m u) + sq (u + (-1) *: (Q *m u)) by rewrite e ler_addl sq_ge0.
move: cross; set P := Q *m u => cross.
by rewrite dotDl !dotDr !dotZl !dotZr (dotC u P) cross; ring.
Qed.

(* the slope of the squared distance *)
Lemma dist2_derive t : 0 <= t ->
  is_derive dist2 t (- (2%:R * dot (F := R_realFieldType) (Q *m (theta t - x0)) (Q *m field t (theta t)))).
Proof.
move=> t0; pose y s i := (Q *m (theta s - x0)) i 0.
have dy i : is_derive (y^~ i) t (- (Q *m field t (theta t)) i 0).
  rewrite mxE -sumrN; apply: (is_derive_eqfun (f := fun s => \sum_j Q i j * (theta s j 0 - x0 j 0))) => [s|].
    by rewrite /y mxE; apply: eq_bigr => j _; rewrite !mxE.
  apply: is_derive_bigsum => j _; have dj : is_derive (fun s => theta s j 0 - x0 j 0) t (- field t (theta t) j 0 + 0).
    by apply: is_derive_add; [apply: flow | apply: is_derive_fun0].
  by have := is_derive_mul (is_derive_fun0 (Q i j) t) dj; rewrite mul0r add0r addr0 mulrN.
apply: (is_derive_eqfun (f := fun s => \sum_i y s i * y s i)) => [s|]; first by rewrite /dist2 dotE.
have -> : - (2%:R * dot (F := R_realFieldType) (Q *m (theta t - x0)) (Q *m field t (theta t)))
    = \sum_i (- (Q *m field t (theta t)) i 0 * y t i + y t i * - (Q *m field t (theta t)) i 0).
  rewrite dotE mulr_sumr -sumrN; apply: eq_bigr => i _; rewrite /y.
  by rewrite mulNr mulrN (mulrC ((Q *m field t (theta t)) i 0)) mulr_natl mulr2n opprD.
by apply: is_derive_bigsum => i _; apply: is_derive_mul.
Qed.

(* tangency and the Lipschitz bound: the normal part of the field is at most L times the distance *)
Lemma normal_part t x : sq (Q *m field t x) <= L ^+ 2 * sq (Q *m (x - x0)).
Proof.
have [_ idem] := proj; pose m := x - Q *m (x - x0).
have on : Q *m (m - x0) = 0 by rewrite /m addrAC mulmxBr mulmxA idem subrr.
have -> : Q *m field t x = Q *m (field t x - field t m) by rewrite mulmxBr (tan t on) subr0.
apply: le_trans (sq_proj _) _; apply: le_trans (lip t x m) _.
by have -> : x - m = Q *m (x - x0) by rewrite /m opprB addrC subrK.
Qed.

Lemma growth_rate t : - (2%:R * dot (F := R_realFieldType) (Q *m (theta t - x0)) (Q *m field t (theta t)))
  <= 2%:R * L * dist2 t.
Proof.
rewrite /dist2; set a := Q *m (theta t - x0); set g := Q *m field t (theta t).
have young : 0 <= sq (L *: a + g) by exact: sq_ge0.
have part : sq g <= L ^+ 2 * sq a by exact: normal_part.
have e : sq (L *: a + g) = L ^+ 2 * sq a + 2%:R * (L * dot (F := R_realFieldType) a g) + sq g.
  by rewrite dotDl !dotDr !dotZl !dotZr (dotC g a); ring.
rewrite e in young; rewrite -(ler_pmul2l L0).
have -> : L * - (2%:R * dot (F := R_realFieldType) a g) = - (2%:R * (L * dot (F := R_realFieldType) a g)) by ring.
rewrite ler_oppl; apply: le_trans (_ : - (L ^+ 2 * sq a + sq g) <= _).
  rewrite ler_opp2; have -> : L * (2%:R * L * sq a) = L ^+ 2 * sq a + L ^+ 2 * sq a by ring.
  by rewrite ler_add2l.
by rewrite -subr_ge0 opprK addrC addrAC.
Qed.

(* [persistence] near the manifold the squared distance grows at most like exp (2 L t): growth is derived from
   tangency and a Lipschitz gradient *)
Theorem distance_growth t : 0 <= t -> Rle (dist2 t) (Rmult (dist2 0) (exp (Rmult (2%:R * L) t))).
Proof.
move=> /RleP t0; apply: (gronwall dist2 _ (2%:R * L) _ _ t t0) => s s0.
  by apply: dist2_derive; apply/RleP.
by apply/RleP; apply: growth_rate.
Qed.

(* [persistence] [affine-vs-curved] a flow that starts on the manifold stays on it, whatever the data do *)
Theorem flow_persists t : Q *m (theta 0 - x0) = 0 -> 0 <= t -> Q *m (theta t - x0) = 0.
Proof.
move=> start t0; have := distance_growth t0; rewrite {2}/dist2 start.
have -> : sq (0 : 'cV[R]_n) = 0 by rewrite dotE big1 // => i _; rewrite !mxE mulr0.
rewrite Rmult_0_l => /RleP le; apply/eqP/negPn/negP => /(@dot_gt0 R_realFieldType n) pos.
by have := lt_le_trans pos le; rewrite ltxx.
Qed.

(* [persistence] escape takes time: distance r is reached no sooner than log (r^2 / dist_0^2) / (2 L) *)
Theorem flow_escape t (r2 : R) : 0 < dist2 0 -> 0 < r2 -> 0 <= t -> r2 <= dist2 t ->
  Rle (Rdiv (ln (Rdiv r2 (dist2 0))) (2%:R * L)) t.
Proof.
move=> /RltP d0 /RltP r0 /RleP t0 /RleP reach; apply: (escape_time dist2 _ (2%:R * L)) reach => //.
- by move=> s s0; apply: dist2_derive; apply/RleP.
- by move=> s _; apply/RleP; apply: growth_rate.
- by apply/RltP; rewrite mulr_gt0 // ltr0n.
Qed.
End Flow.
