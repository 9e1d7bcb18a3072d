(* Backpropagation is the derivative: the `grad` of Dag.v is the true gradient of the loss.

   has_gradient l h g   l : (V -> R) -> R is differentiable at h with gradient g, in the sense of the
                        chain rule along every curve through h (Hadamard); on a finite V this is
                        ordinary differentiability
   line w dw t          the weights w + t dw
   values t             the forward pass at the parameters w + t dw, b + t db                     *)
From mathcomp Require Import all_ssreflect all_algebra ring.
From mathcomp Require Import Rstruct.
From lop Require Import Dag Cloning.
From Coq Require Import Reals FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
Import GRing.Theory.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Local Open Scope ring_scope.

Lemma is_derive_add (f g : R -> R) t a b :
  is_derive f t a -> is_derive g t b -> is_derive (fun t => f t + g t) t (a + b).
Proof. exact: is_derive_plus. Qed.

Lemma is_derive_mul (f g : R -> R) t a b :
  is_derive f t a -> is_derive g t b -> is_derive (fun t => f t * g t) t (a * g t + f t * b).
Proof. by move=> df dg; apply: (is_derive_mult f g t a b df dg) => n m; apply: Rmult_comm. Qed.

Lemma is_derive_fun0 (c t : R) : is_derive (fun=> c) t (0 : R).
Proof. exact: is_derive_const. Qed.

Lemma is_derive_eqfun (f g : R -> R) t l : (forall t, f t = g t) -> is_derive f t l -> is_derive g t l.
Proof. exact: is_derive_ext. Qed.

Lemma is_derive_bigsum (I : finType) (P : pred I) (f : I -> R -> R) (df : I -> R) t :
  (forall i, P i -> is_derive (f i) t (df i)) ->
  is_derive (fun t => \sum_(i | P i) f i t) t (\sum_(i | P i) df i).
Proof.
move=> der; rewrite -[X in is_derive _ _ X]big_filter.
apply: (is_derive_eqfun (f := fun t => \sum_(i <- [seq i <- index_enum I | P i]) f i t)).
  by move=> s; rewrite big_filter.
have : all P [seq i <- index_enum I | P i] by apply: filter_all.
elim: (filter _ _) => [|i r IH] /= => [_ | /andP[Pi all_r]].
  rewrite big_nil; apply: (is_derive_eqfun (f := fun=> 0)) => [s|]; [by rewrite big_nil | exact: is_derive_fun0].
rewrite big_cons; apply: (is_derive_eqfun (f := fun t => f i t + \sum_(j <- r) f j t)) => [s|].
  by rewrite big_cons.
by apply: is_derive_add; [apply: der | apply: IH].
Qed.

Definition has_gradient (V : finType) (l : (V -> R) -> R) (h g : V -> R) :=
  forall (y : V -> R -> R) (dy : V -> R) (t : R), (forall v, y v t = h v) ->
    (forall v, is_derive (y v) t (dy v)) -> is_derive (fun s => l (y^~ s)) t (\sum_v g v * dy v).

(* an instance: any sum of differentiable losses of single units, such as the squared error *)
Lemma separable_gradient (V : finType) (l l' : V -> R -> R) (h : V -> R) :
  (forall v, is_derive (l v) (h v) (l' v (h v))) ->
  has_gradient (fun h => \sum_v l v (h v)) h (fun v => l' v (h v)).
Proof.
move=> der y dy t yh dery; apply: is_derive_bigsum => v _.
rewrite mulrC; apply: (is_derive_comp (l v) (y v)) (dery v).
by rewrite yh.
Qed.

Section Backprop.
Variables (V : finType) (A : arch R_comRingType V).
Variables (w dw : V -> V -> R) (b db x : V -> R).

Definition line (p dp : V -> R) t v := p v + t * dp v.
Definition line2 (p dp : V -> V -> R) t u v := p u v + t * dp u v.
Definition values t := forward A (line2 w dw t) (line b db t) x.

Let h := forward A w b x.
Let tangent := tangent A w dw b db x.
Hypothesis act_derive : forall v, hidden A v ->
  is_derive (act A v) (preact A w b h v) (act' A v (preact A w b h v)).

Lemma values0 v : values 0 v = h v.
Proof.
have eq u : line b db 0 u = b u by rewrite /line mul0r addr0.
have eq2 t u : line2 w dw 0 t u = w t u by rewrite /line2 mul0r addr0.
apply: (forward_unique (h := values 0)) => {}v; rewrite [LHS]forwardE /forward_step /preact eq.
case: input => //; congr (act A v (_ + _)); apply: eq_bigr => u _.
by rewrite /on_edges eq2.
Qed.

Lemma line_derive (p d : R) : is_derive (fun t : R => p + t * d) 0 d.
Proof.
have der : is_derive (fun t : R => p + t * d) 0 (0 + (1 * d + 0 * 0)).
  apply: is_derive_add; first exact: is_derive_fun0.
  apply: (is_derive_mul (f := id) (g := fun=> d)); [exact: is_derive_id | exact: is_derive_fun0].
by move: der; rewrite mul1r mulr0 addr0 add0r.
Qed.

Lemma edge_derive u v : is_derive (fun t : R => on_edges A (line2 w dw t) u v) 0 (on_edges A dw u v).
Proof. rewrite /on_edges; case: (edge A u v); [exact: line_derive | exact: is_derive_fun0]. Qed.

(* the values are differentiable along every parameter direction *)
Lemma values_derive v : is_derive (values^~ v) 0 (tangent v).
Proof.
have [n] := ubnP (rank A v); elim: n v => // n IH v vn.
rewrite /tangent tangentE /tangent_step /slope.
apply: (is_derive_eqfun (f := fun t => if input A v then x v
    else act A v (line b db t v + \sum_u on_edges A (line2 w dw t) u v * values t u))) => [t|].
  by rewrite [RHS]forwardE.
case: ifP => inv; first by rewrite mul0r; apply: is_derive_fun0.
rewrite mulrC; apply: (is_derive_comp (act A v)).
  rewrite /line mul0r addr0 (eq_bigr (fun u => on_edges A w u v * h u)) => [|u _].
    by apply: act_derive; rewrite /hidden inv.
  by rewrite values0 /on_edges /line2 mul0r addr0.
apply: is_derive_add; first exact: line_derive.
apply: is_derive_bigsum => u _.
have [e | e] := boolP (edge A u v); last first.
  rewrite /on_edges (negbTE e) !mul0r addr0.
  by apply: (is_derive_eqfun (f := fun=> 0)) => [t|]; [rewrite mul0r | exact: is_derive_fun0].
have := is_derive_mul (edge_derive u v) (IH u (leq_trans (edge_rank e) vn)).
by rewrite values0 /on_edges e /line2 mul0r addr0.
Qed.

(* [clone-gradient] backpropagation is the derivative of the loss along every parameter direction *)
Theorem backprop_is_derivative (l : (V -> R) -> R) (g : V -> R) : has_gradient l h g ->
  is_derive (fun t => l (forward A (line2 w dw t) (line b db t) x)) 0
    (\sum_v grad_bias A w b x g v * db v + \sum_v \sum_u grad A w b x g u v * dw u v).
Proof.
move=> gradl; rewrite -adjoint_tangent.
apply: (gradl (fun v t => values t v)); [exact: values0 | exact: values_derive].
Qed.
End Backprop.

(* [clone-gradient] the partial derivative in the weight of a single edge u -> v *)
Theorem backprop_partial (V : finType) (A : arch R_comRingType V) w b x (l : (V -> R) -> R) g (u v : V) :
  (forall v, hidden A v -> is_derive (act A v) (preact A w b (forward A w b x) v)
                                     (act' A v (preact A w b (forward A w b x) v))) ->
  has_gradient l (forward A w b x) g ->
  is_derive (fun t : R => l (forward A (fun i j => w i j + t * ((i == u) && (j == v))%:R) b x)) 0
    (grad A w b x g u v).
Proof.
move=> act_derive gradl; pose dw i j : R := ((i == u) && (j == v))%:R.
have := backprop_is_derivative dw (fun=> 0) act_derive gradl.
rewrite big1 ?add0r => [|i _]; last by rewrite mulr0.
rewrite (bigD1 v) //= [X in _ + X]big1 ?addr0 => [|j /negbTE jv]; last first.
  by rewrite big1 // => i _; rewrite /dw jv andbF mulr0.
rewrite (bigD1 u) //= [X in _ + X]big1 ?addr0 => [|i /negbTE iu]; last by rewrite /dw iu mulr0.
rewrite {2}/dw !eqxx mulr1; apply: is_derive_eqfun => t; congr (l (forward A _ _ x)).
by apply: functional_extensionality => i; rewrite /line mulr0 addr0.
Qed.
