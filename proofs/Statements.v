(* Every theorem that claims.toml links, stated in full. This is the file to read: Checked.v proves each statement,
   and the ledger pins the hash of each statement together with every definition that it uses.

   a                  Hermite coefficients of an activation; kernel a = K; lin a = c; decorr a = lambda     (Gap.v)
   C, er2, potential  correlation matrix, Renyi-2 rank, P(C)                                                (Rank.v)
   A, w, b, x         network on a DAG, weights, biases, data; forward, adjoint, grad                       (Dag.v)
   blk                partition into blocks; in_equitable = RE, out_equitable = CE, block_constant = BC     (Cloning.v) *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import Rstruct.
From lop Require Import Persistence MehlerGeneral Gaussian Stein Mehler OrderedField Gap.
Import Order.TTheory GRing.Theory Num.Theory.
Set Implicit Arguments.
Unset Strict Implicit.

(* ---- Over the reals ---- *)
Local Open Scope R_scope.

(* the extremal kernel dominates *)
Definition kernel_extremal : Prop :=
  forall a : nat -> R, standardised a -> forall rho : R, Rabs rho <= 1 ->
  Rabs (kernel a rho) <= lin a * Rabs rho + (1 - lin a) * Rabs rho ^ 2.

(* |K| <= |rho| *)
Definition kernel_contracts : Prop :=
  forall a : nat -> R, standardised a -> forall rho : R, Rabs rho <= 1 -> Rabs (kernel a rho) <= Rabs rho.

(* (1/2) *)
Definition gap_sharp : Prop :=
  forall a : nat -> R, standardised a -> forall rho : R, Rabs rho <= 1 ->
  rho ^ 2 - kernel a rho ^ 2 >= decorr a * rho ^ 2 * (1 - rho ^ 2) + lin a * decorr a * rho ^ 2 * (1 - Rabs rho) ^ 2.

(* Lemma A.1 *)
Definition gap_bound : Prop :=
  forall a : nat -> R, standardised a -> forall rho : R, Rabs rho <= 1 ->
  rho ^ 2 - kernel a rho ^ 2 >= decorr a * rho ^ 2 * (1 - rho ^ 2).

(* (2/2) strict inside, for an activation neither linear nor without a linear part *)
Definition gap_strict : Prop :=
  forall a : nat -> R, standardised a -> forall rho : R, 0 < lin a < 1 -> 0 < Rabs rho < 1 ->
  rho ^ 2 - kernel a rho ^ 2 > decorr a * rho ^ 2 * (1 - rho ^ 2).

(* K(0) = 0 and K(1) = 1 *)
Definition kernel_ends : Prop :=
  forall a : nat -> R, standardised a -> kernel a 0 = 0 /\ kernel a 1 = 1.

(* K'(0) = c *)
Definition kernel_slope : Prop :=
  forall a : nat -> R, standardised a -> is_derive (kernel a) 0 (lin a).

(* c < 1 iff the activation is nonlinear: some coefficient beyond the first is not 0 *)
Definition lin_lt_1 : Prop :=
  forall a : nat -> R, standardised a -> lin a < 1 <-> (exists k, a (S (S k)) <> 0).

(* K = E + O *)
Definition kernel_parts : Prop :=
  forall a : nat -> R, standardised a -> forall rho : R, Rabs rho <= 1 ->
  kernel a rho = even_part a rho + odd_part a rho.

(* gap(-s) = gap(s) + 4 E(s) O(s) *)
Definition gap_parity : Prop :=
  forall a : nat -> R, standardised a -> forall s : R, Rabs s <= 1 ->
  (- s) ^ 2 - kernel a (- s) ^ 2 = s ^ 2 - kernel a s ^ 2 + 4 * even_part a s * odd_part a s.

(* [0, 1] suffices: E O >= 0 there, so the gap at -s is at least the gap at s *)
Definition unit_interval_suffices : Prop :=
  forall a : nat -> R, standardised a -> forall s : R, 0 <= s <= 1 ->
  0 <= even_part a s * odd_part a s /\ s ^ 2 - kernel a s ^ 2 <= (- s) ^ 2 - kernel a (- s) ^ 2.

(* the gap at rho = -1 *)
Definition gap_at_minus_one : Prop :=
  forall a : nat -> R, standardised a -> 1 - kernel a (-1) ^ 2 = 4 * even_part a 1 * odd_part a 1 /\
  even_part a 1 + odd_part a 1 = 1.

(* K(-1) = -1 iff odd, +1 iff even, strictly between otherwise *)
Definition kernel_at_minus_one : Prop :=
  forall a : nat -> R, standardised a -> (kernel a (-1) = -1 <-> odd_kernel a) /\
  (kernel a (-1) = 1 <-> even_kernel a) /\ -1 <= kernel a (-1) <= 1.

(* the gap at -1 vanishes exactly for an odd or an even activation *)
Definition gap_at_minus_one_zero : Prop :=
  forall a : nat -> R, standardised a -> 1 - kernel a (-1) ^ 2 = 0 <-> odd_kernel a \/ even_kernel a.

(* lambda cannot be improved by any function of c *)
Definition gap_optimal : Prop :=
  forall c lam : R, 0 <= c <= 1 -> 1 - c < lam -> exists (a : nat -> R) (rho : R), standardised a /\ lin a = c /\
  0 < rho < 1 /\ rho ^ 2 - kernel a rho ^ 2 < lam * rho ^ 2 * (1 - rho ^ 2).

(* in the plane of a unit v with v^T H v = 0 and of H v, m = |H v|, q the curvature along H v: the lowest curvature *)
Definition lowest_curvature : Prop :=
  forall q m : R, let low := q / 2 - sqrt (q ^ 2 / 4 + m ^ 2) in
  (forall a c : R, a ^ 2 + c ^ 2 = 1 -> low <= 2 * m * a * c + q * c ^ 2)
  /\ (exists a c : R, a ^ 2 + c ^ 2 = 1 /\ 2 * m * a * c + q * c ^ 2 = low).

(* the gap of a pure-parity activation *)
Definition gap_pure_parity : Prop :=
  forall a : nat -> R, standardised a -> forall rho : R, odd_kernel a \/ even_kernel a -> Rabs rho <= 1 ->
  rho ^ 2 - kernel a rho ^ 2 >= decorr a * (1 + lin a) * rho ^ 2 * (1 - rho ^ 2).

(* kappa = lambda (1 + c) for a pure-parity activation, approached at rho -> 0 *)
Definition kappa_pure_parity : Prop :=
  forall a : nat -> R, standardised a -> odd_kernel a \/ even_kernel a ->
  is_inf (fun r : R => exists rho : R, 0 < Rabs rho < 1 /\ r = ratio a rho) (decorr a * (1 + lin a)).

(* Groenwall: the squared distance grows at most like exp (k t) *)
Definition gronwall : Prop :=
  forall (dist2 rate : R -> R) (k : R), (forall t : R, 0 <= t -> is_derive dist2 t (rate t)) ->
  (forall t : R, 0 <= t -> rate t <= k * dist2 t) -> forall t : R, 0 <= t -> dist2 t <= dist2 0 * exp (k * t).

(* a flow that starts on the manifold stays on it, however the loss changes with time: tangency and a Lipschitz
   gradient give the growth hypothesis *)
Definition flow_stays : Prop :=
  forall (dist2 rate : R -> R) (k : R), (forall t : R, 0 <= t -> is_derive dist2 t (rate t)) ->
  (forall t : R, 0 <= t -> rate t <= k * dist2 t) -> forall t : R, (forall s : R, 0 <= dist2 s) -> dist2 0 = 0 ->
  0 <= t -> dist2 t = 0.

(* escape takes time: distance r is reached no sooner than log (r / dist 0) / mu, k = 2 mu *)
Definition escape_time : Prop :=
  forall (dist2 rate : R -> R) (k : R), (forall t : R, 0 <= t -> is_derive dist2 t (rate t)) ->
  (forall t : R, 0 <= t -> rate t <= k * dist2 t) -> forall t r2 : R, 0 < k -> 0 < dist2 0 -> 0 < r2 -> 0 <= t ->
  r2 <= dist2 t -> ln (r2 / dist2 0) / k <= t.

(* Eq. 1 in general, from the setting (completeness is a hypothesis): E[phi(X) phi(Y)] = <phi, P phi> = sum_k a_k^2
   rho^k, and sum_k a_k^2 = ||phi||^2 *)
Definition mehler_general : Prop :=
  forall (V : Type) (comb : R -> V -> V -> V) (ip : V -> V -> R) (he : nat -> V) (P : V -> V) (rho : R) (a : nat -> R)
      (phi : V),
  setting comb ip he P rho a phi -> is_series (fun k : nat => a k ^ 2 * rho ^ k) (ip phi (P phi)) /\
  is_series (fun k : nat => a k ^ 2) (ip phi phi).

(* every square-summable a and |rho| <= 1 occur in a setting: the hypotheses of mehler_general are satisfiable *)
Definition mehler_instance : Prop :=
  forall (rho : R) (rho_le : Rabs rho <= 1) (a : nat -> R), ex_series (fun k : nat => a k ^ 2) -> exists phi : l2,
  setting l2_comb dot l2_unit (damp rho rho_le) rho a phi.

(* the moments of the standard Gaussian, from the integral *)
Definition gaussian_moments : Prop :=
  forall n : nat, gauss_mean (pow^~ n) (moment n).

(* Stein's identity E f' = E x f (the coefficient a_1 of a standardised f), f piecewise C^1 of polynomial growth *)
Definition stein : Prop :=
  forall (f f' : R -> R) (C : R) (n : nat) (a1 : R), piecewise f f' -> growth f C n ->
  gauss_mean (fun x => x * f x) a1 -> gauss_mean f' a1.

(* a standardised non-decreasing activation f, piecewise C^1 of polynomial growth, with strength lambda = 1 - a_1^2:
   the probability p of f' < eps is at least 1 - sqrt (1 - lambda) / eps *)
Definition freezing_bound : Prop :=
  forall (f f' : R -> R) (C : R) (n : nat) (a1 p eps : R), piecewise f f' -> growth f C n -> (forall x, 0 <= f' x) ->
  gauss_mean f 0 -> gauss_mean (fun x => f x ^ 2) 1 -> gauss_mean (fun x => x * f x) a1 ->
  0 < eps -> gauss_mean (Gaussian.frozen eps f') p -> (forall T, ex_RInt (fun x => Gaussian.frozen eps f' x * w x) (- T) T) ->
  let lambda := 1 - a1 ^ 2 in 1 - sqrt (1 - lambda) / eps <= p.

(* the strength of tanh (a x) does not fall as the gain a grows: E tanh = 0, lambda = 1 - (E Z tanh)^2 / E tanh^2 *)
Definition tanh_gain_monotone : Prop :=
  forall a b : R, 0 < a -> a <= b -> exists D B A G : R,
  gauss_mean (fun x => tanh (a * x)) 0 /\ gauss_mean (fun x => tanh (b * x)) 0 /\
  gauss_mean (fun x => x * tanh (a * x)) D /\ gauss_mean (fun x => tanh (a * x) * tanh (a * x)) B /\
  gauss_mean (fun x => x * tanh (b * x)) A /\ gauss_mean (fun x => tanh (b * x) * tanh (b * x)) G /\
  0 < B /\ 0 < G /\ 1 - D ^ 2 / B <= 1 - A ^ 2 / G.

(* ---- Networks and matrices, over any ring or field ---- *)
From lop Require Import Rank Dag Cloning Backprop Trajectory Rates Counterexamples Hypotheses Frozen Manifolds Modules.
From lop Require Import Stability Flow Curvature Saddle Polynomials.
From lop Require Certificate Kappa Completeness FixedPoints Entrywise Optimisers Differentiable Layers Normalisation Attention.

(* on the unit circle the gradient is tangent everywhere and the gradient flow stays, but a discrete step of any size
   leaves, except at the critical points *)
Definition curved_leaves : Prop :=
  (forall x y : R, x ^ 2 + y ^ 2 = 1 -> x * circle_dx x y + y * circle_dy x y = 0) /\
  (forall x y eta : R, x ^ 2 + y ^ 2 = 1 -> x * y <> 0 -> eta <> 0 -> (x - eta * circle_dx x y) ^ 2 + (y - eta *
      circle_dy x y) ^ 2 <> 1).

(* the gradient flow keeps its distance to 0 *)
Definition curved_flow_stays : Prop :=
  forall x y : R -> R, (forall t : R, x t ^ 2 + y t ^ 2 <> 0) ->
  (forall t : R, is_derive x t (- circle_dx (x t) (y t))) ->
  (forall t : R, is_derive y t (- circle_dy (x t) (y t))) -> forall t : R, x t ^ 2 + y t ^ 2 = x 0 ^ 2 + y 0 ^ 2.

(* ---- What iterating the kernel does to correlations; certificates ---- *)

(* K fixes 0 and 1, -1 exactly when the activation is odd, and nothing else *)
Definition fixed_points : Prop :=
  forall a : nat -> R, standardised a -> forall rho : R, lin a < 1 -> Rabs rho <= 1 ->
  kernel a rho = rho <-> rho = 0 \/ rho = 1 \/ rho = -1 /\ odd_kernel a.

(* the ends repel: the distance of |K| to 1 is at least 1 + lambda |rho| times that of |rho| *)
Definition ends_repel : Prop :=
  forall a : nat -> R, standardised a -> forall rho : R, Rabs rho <= 1 ->
  (1 + decorr a * Rabs rho) * (1 - Rabs rho) <= 1 - Rabs (kernel a rho).

(* iterating K drives every |rho| < 1 to 0, never towards clones *)
Definition iterates_vanish : Prop :=
  forall a : nat -> R, standardised a -> forall rho : R, lin a < 1 -> Rabs rho < 1 ->
  is_lim_seq (fun n => FixedPoints.iterate a n rho) 0.

(* from -1: an odd activation stays, an even one is at 1 after one step, any other goes to 0 *)
Definition iterates_from_minus_one : Prop :=
  forall a : nat -> R, standardised a -> lin a < 1 ->
  (odd_kernel a -> forall n : nat, FixedPoints.iterate a n (-1) = -1) /\
  (even_kernel a -> forall n : nat, FixedPoints.iterate a n.+1 (-1) = 1) /\
  (~ odd_kernel a -> ~ even_kernel a -> is_lim_seq (fun n => FixedPoints.iterate a n (-1)) 0).

(* what the checker of gap certificates accepts holds: lambda is enclosed, and kappa / unit bounds
   r = (rho^2 - K^2) / (rho^2 (1 - rho^2)) from below, for every activation whose coefficients lie in the boxes *)
Definition certificate_holds : Prop :=
  forall (c : Certificate.certificate) (a : nat -> R),
  Certificate.check c = true -> standardised a -> Certificate.encloses c a ->
  IZR (fst (Certificate.lambda c)) <= IZR (Certificate.unit c) * decorr a <= IZR (snd (Certificate.lambda c)) /\
  (forall rho : R, 0 < Rabs rho < 1 -> IZR (Certificate.kappa c) / IZR (Certificate.unit c) <= ratio a rho).

(* and it accepts none that speaks of no activation: the boxes hold the coefficients of some standardised a *)
Definition certificate_possible : Prop :=
  forall c : Certificate.certificate, Certificate.check c = true -> exists a : nat -> R, standardised a /\ Certificate.encloses c a.

(* kappa = inf r from both sides: what the checker of the tangent and the witness accepts, on top of a certificate *)
Definition sharp_holds : Prop :=
  forall (s : Kappa.sharp) (a : nat -> R),
  Kappa.check_sharp s = true -> standardised a -> Certificate.encloses (Kappa.boxed s) a ->
  exists kappa : R, is_inf (fun r => exists rho : R, 0 < Rabs rho < 1 /\ r = ratio a rho) kappa /\
  IZR (Kappa.below s) <= IZR (Certificate.unit (Kappa.boxed s)) * kappa <= IZR (Kappa.above s).

(* the infimum inside: r'' >= mu > 0 on [p, q] and r >= r(m) outside give r >= r(m) - r'(m)^2 / (2 mu) on (0, 1) *)
Definition interior_branch : Prop :=
  forall (r r1 r2 : R -> R) (p m q mu : R), 0 < mu -> p <= m <= q ->
  (forall x : R, p <= x <= q -> is_derive r x (r1 x) /\ is_derive r1 x (r2 x) /\ mu <= r2 x) ->
  (forall x : R, 0 < x < 1 -> x < p \/ q < x -> r m <= r x) ->
  forall x : R, 0 < x < 1 -> r m - r1 m ^ 2 / (2 * mu) <= r x.

(* the infimum at the end: r decreasing on [p, 1) to its limit L, and r >= L before p *)
Definition end_branch : Prop :=
  forall (r r1 : R -> R) (p L : R), 0 < p < 1 -> (forall x : R, p <= x < 1 -> is_derive r x (r1 x) /\ r1 x <= 0) ->
  filterlim r (at_left 1) (locally L) -> (forall x : R, 0 < x < p -> L <= r x) ->
  is_inf (fun v => exists x : R, 0 < x < 1 /\ v = r x) L.

Local Open Scope ring_scope.

(* Schur's product theorem: the entrywise product of positive semi-definite matrices is positive semi-definite *)
Definition schur_product : Prop :=
  forall (F : realFieldType) (n : nat) (A B : 'M[F]_n), FixedPoints.psd A -> FixedPoints.psd B ->
  FixedPoints.psd (\matrix_(i, j) (A i j * B i j)).

(* K(C), entrywise, is positive semi-definite for every positive semi-definite C with entries in [-1, 1] *)
Definition kernel_psd : Prop :=
  forall (a : nat -> R) (n : nat) (C : 'M[R]_n), standardised a -> FixedPoints.psd C ->
  (forall i j, `|C i j| <= 1) -> FixedPoints.psd (map_mx (kernel a) C).

(* the effective rank never falls *)
Definition entrywise_rank : Prop :=
  forall a : nat -> R, standardised a -> forall (n : nat) (C : 'M[R]_n.+1), unit_corr C ->
  er2 C <= er2 (map_mx (kernel a) C).

(* Theorem 3.1 covers the second arrow: C -> corr (W C W^T) -> K(.) *)
Definition linear_step : Prop :=
  forall (a : nat -> R) (m n : nat) (W : 'M[R]_(m.+1, n)) (C : 'M[R]_n), standardised a -> FixedPoints.psd C ->
  let M := FixedPoints.cov W C in (forall i, 0 < M i i) ->
  1 + decorr a * potential (FixedPoints.corr M) <= er2 (map_mx (kernel a) (FixedPoints.corr M)) / er2 (FixedPoints.corr M).

(* the first arrow may lose rank, and the whole step with it: two uncorrelated units, rank 2 *)
Definition linear_arrow_loses : Prop :=
  exists W : 'M[R]_2, let M := FixedPoints.cov W 1%:M in (forall i, 0 < M i i) /\ er2 (1%:M : 'M[R]_2) = 2%:R /\
  Rlt (er2 (FixedPoints.corr M)) (Rdiv (IZR 1001) (IZR 1000)) /\
  exists a : nat -> R, standardised a /\ decorr a != 0 /\ Rlt (er2 (map_mx (kernel a) (FixedPoints.corr M))) (Rdiv (IZR 1001) (IZR 1000)).

(* quartic_gap *)
Definition quartic_gap : Prop :=
  forall (F : realFieldType) (c t K : F), `|K| <= c * t + (1 - c) * t ^+ 2 ->
  (1 - c) * t ^+ 2 * (1 - t ^+ 2) + c * (1 - c) * t ^+ 2 * (1 - t) ^+ 2 <= t ^+ 2 - K ^+ 2.

(* an odd kernel *)
Definition odd_quartic_gap : Prop :=
  forall (F : realFieldType) (c t K : F), 0 <= c <= 1 -> 0 <= t <= 1 -> `|K| <= c * t + (1 - c) * t ^+ 3 ->
  (1 - c) * (1 + c) * t ^+ 2 * (1 - t ^+ 2) <= t ^+ 2 - K ^+ 2.

(* Theorem 3.1 *)
Definition rank_gain : Prop :=
  forall (F : realFieldType) (n : nat) (C : 'M[F]_n.+1) (K : F -> F) (lam : F), unit_corr C -> K 1 = 1 ->
  (forall r : F, `|r| <= 1 -> lam * (r ^+ 2 * (1 - r ^+ 2)) <= r ^+ 2 - K r ^+ 2) -> 0 <= lam ->
  1 + lam * potential C <= er2 (map_mx K C) / er2 C.

(* over any ordered field *)
Definition rank_gain_equality : Prop :=
  forall (F : realFieldType) (n : nat) (C : 'M[F]_n.+1) (K : F -> F) (lam : F), unit_corr C -> K 1 = 1 ->
  (forall r : F, `|r| <= 1 -> lam * (r ^+ 2 * (1 - r ^+ 2)) <= r ^+ 2 - K r ^+ 2) -> 0 <= lam ->
  er2 (map_mx K C) / er2 C = 1 <-> (forall i j : ordinal_eqType n.+1, i != j -> K (C i j) ^+ 2 = C i j ^+ 2).

(* Theorem 3.1 for an activation with Hermite coefficients a *)
Definition rank_gain_real : Prop :=
  forall (a : nat -> R) (n : nat) (C : 'M[R]_n.+1), standardised a -> unit_corr C ->
  1 + decorr a * potential C <= er2 (map_mx (kernel a) C) / er2 C.

(* the corrected equality condition *)
Definition rank_equality : Prop :=
  forall (a : nat -> R) (n : nat) (C : 'M[R]_n.+1), standardised a -> unit_corr C ->
  er2 (map_mx (kernel a) C) / er2 C = 1 <->
  decorr a = 0 \/ (forall i j : ordinal_eqType n.+1, i != j -> C i j = 0 \/ C i j = 1 \/ C i j = -1 /\ (odd_kernel a
      \/ even_kernel a)).

(* the paper's condition fails: all correlations are -1, and the rank doubles *)
Definition paper_equality_refuted : Prop :=
  exists a : nat -> R, standardised a /\ decorr a != 0 /\
  (forall i j : 'I_2, anticorrelated i j = 1 \/ anticorrelated i j = -1) /\
  (forall x : 'cV[R]_2, 0 <= (x^T *m anticorrelated *m x) 0 0) /\
  er2 (map_mx (kernel a) anticorrelated) / er2 anticorrelated = 2%:R.

(* reverse mode equals forward mode: g . dh = grad_bias . db + grad . dw *)
Definition adjoint_tangent : Prop :=
  forall (R : comRingType) (V : finType) (A : arch R V) (w dw : V -> V -> R) (b db x g : V -> R),
  \sum_v g v * tangent A w dw b db x v = \sum_v grad_bias A w b x g v * db v + \sum_v \sum_u grad A w b x g u v * dw u
      v.

(* Theorem A.1.1 *)
Definition clone_forward : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B) (w : V -> V -> R) (b x : V -> R),
  shared A blk b -> inputs_equal A blk x -> in_equitable A blk (on_edges A w) -> block_equal blk (forward A w b x).

(* Theorem A.1.2, adjoints *)
Definition clone_backward : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B) (w : V -> V -> R) (b x : V -> R),
  shared A blk b -> inputs_equal A blk x -> in_equitable A blk (on_edges A w) ->
  out_equitable A blk (on_edges A w) -> forall g : V -> R, block_equal blk g ->
  block_equal blk (adjoint A w b x g).

(* Theorem A.1.2, gradients: constant on the edges between two blocks *)
Definition clone_gradient : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B) (w : V -> V -> R) (b x : V -> R),
  shared A blk b -> inputs_equal A blk x -> in_equitable A blk (on_edges A w) ->
  out_equitable A blk (on_edges A w) -> forall g : V -> R, block_equal blk g ->
  block_constant A blk (grad A w b x g) /\ block_equal blk (grad_bias A w b x g).

(* values: h v = h~ (blk v) *)
Definition base_forward : Prop :=
  forall (F : numFieldType) (V B : finType) (A : arch F V) (A0 : arch F B) (blk : V -> B) (w : V -> V -> F) (b x : V
      -> F) (w0 : B -> B -> F) (b0 x0 : B -> F),
  quotient A A0 blk w b x w0 b0 x0 -> forall v : V, forward A w b x v = forward A0 w0 b0 x0 (blk v).

(* on RE the quotient by non-zero block sums is acyclic: its edges go up in the order of the blocks' first nodes *)
Definition sum_quotient_acyclic : Prop :=
  forall (F : numFieldType) (V B : finType) (A : arch F V) (blk : V -> B) (w : V -> V -> F)
    (onto : forall I : B, [exists v, blk v == I]) (I J : B),
  sum_edge A w onto I J -> (rank A (first A onto I) < rank A (first A onto J))%N.

(* on RE, with shared activations and biases and all-input or all-hidden blocks, that quotient is a base network *)
Definition base_network_exists : Prop :=
  forall (F : numFieldType) (V B : finType) (A : arch F V) (blk : V -> B) (w : V -> V -> F) (b x : V -> F)
    (onto : forall I : B, [exists v, blk v == I]),
  shared A blk b -> in_equitable A blk (on_edges A w) -> inputs_equal A blk x ->
  quotient A (sum_arch A w onto) blk w b x (sum_weight A w onto) (b \o first A onto) (x \o first A onto).

(* and its values are those of the network *)
Definition base_values : Prop :=
  forall (F : numFieldType) (V B : finType) (A : arch F V) (blk : V -> B) (w : V -> V -> F) (b x : V -> F)
    (onto : forall I : B, [exists v, blk v == I]),
  shared A blk b -> in_equitable A blk (on_edges A w) -> forall v : V, inputs_equal A blk x ->
  forward A w b x v = forward (sum_arch A w onto) (sum_weight A w onto) (b \o first A onto) (x \o first A onto) (blk v).

(* adjoints: |S_I| d v = d~ (blk v), not d v = d~ (blk v) as the paper says *)
Definition base_backward : Prop :=
  forall (F : numFieldType) (V B : finType) (A : arch F V) (A0 : arch F B) (blk : V -> B) (w : V -> V -> F) (b x : V
      -> F) (w0 : B -> B -> F) (b0 x0 : B -> F),
  quotient A A0 blk w b x w0 b0 x0 -> forall g : V -> F, block_equal blk g ->
  out_equitable A blk (on_edges A w) -> forall v : V,
  card_of F blk (blk v) * adjoint A w b x g v = adjoint A0 w0 b0 x0 (base_g blk g) (blk v).

(* |S_J| dL/dw_uv = dL~/dw~_IJ *)
Definition base_gradient : Prop :=
  forall (F : numFieldType) (V B : finType) (A : arch F V) (A0 : arch F B) (blk : V -> B)
    (w : V -> V -> F) (b x : V -> F) (w0 : B -> B -> F) (b0 x0 : B -> F),
  quotient A A0 blk w b x w0 b0 x0 -> forall g : V -> F, block_equal blk g -> out_equitable A blk (on_edges A w) ->
  forall u v : V, edge A u v -> edge A0 (blk u) (blk v) ->
  card_of F blk (blk v) * grad A w b x g u v = grad A0 w0 b0 x0 (base_g blk g) (blk u) (blk v).

(* one SGD step on the clone changes the base weight at the rate eta * d_in / |S_J|, where d_in is the number of
   edges from S_I into v (|S_I| for complete blocks) *)
Definition clone_rates : Prop :=
  forall (F : numFieldType) (V B : finType) (A : arch F V) (A0 : arch F B) (blk : V -> B) (w : V -> V -> F) (b x : V
      -> F) (w0 : B -> B -> F) (b0 x0 : B -> F),
  quotient A A0 blk w b x w0 b0 x0 -> forall g : V -> F, block_equal blk g ->
  out_equitable A blk (on_edges A w) -> forall (eta : F) (I : B) (v : V), hidden A v -> edge A0 I (blk v) ->
  \sum_(u | blk u == I) on_edges A (fun u0 v0 : V => w u0 v0 - eta * grad A w b x g u0 v0) u v = w0 I (blk v) - eta *
      #|[pred u | blk u == I & edge A u v]|%:R / card_of F blk (blk v) * grad A0 w0 b0 x0 (base_g blk g) I (blk v).

(* biases: rate eta / |S_J| *)
Definition clone_bias_rate : Prop :=
  forall (F : numFieldType) (V B : finType) (A : arch F V) (A0 : arch F B) (blk : V -> B) (w : V -> V -> F) (b x : V
      -> F) (w0 : B -> B -> F) (b0 x0 : B -> F),
  quotient A A0 blk w b x w0 b0 x0 -> forall g : V -> F, block_equal blk g ->
  out_equitable A blk (on_edges A w) -> forall (eta : F) (v : V), hidden A v ->
  b v - eta * grad_bias A w b x g v = b0 (blk v) - eta / card_of F blk (blk v) * grad_bias A0 w0 b0 x0 (base_g blk g)
      (blk v).

(* the base of the clone after t steps of SGD is the base trained with the rates eta d_in / |S_J| and eta / |S_J| *)
Definition clone_follows_base : Prop :=
  forall (F : numFieldType) (V B : finType) (A : arch F V) (A0 : arch F B) (blk : V -> B) (eta : nat -> F)
    (d : B -> B -> nat) (data : nat -> seq (example F V B)) (w : V -> V -> F) (b : V -> F) (w0 : B -> B -> F) (b0 : B -> F),
  equitable_mask A blk -> indegree A blk d -> (forall u v, edge A u v -> edge A0 (blk u) (blk v)) ->
  based A A0 blk w b w0 b0 -> out_equitable A blk (on_edges A w) ->
  (forall t, all_prop (fun p : example F V B => matching blk p.1.2 p.2) (data t)) ->
  forall t, based A A0 blk (weight (clone A blk eta data w b t)) (bias (clone A blk eta data w b t))
    (base A0 blk eta d data w0 b0 t).1 (base A0 blk eta d data w0 b0 t).2.

(* with matched rates, clone and base compute the same function at every step *)
Definition same_function : Prop :=
  forall (F : numFieldType) (V B : finType) (A : arch F V) (A0 : arch F B) (blk : V -> B) (eta : nat -> F)
    (d : B -> B -> nat) (data : nat -> seq (example F V B)) (w : V -> V -> F) (b : V -> F) (w0 : B -> B -> F) (b0 : B -> F),
  equitable_mask A blk -> indegree A blk d -> (forall u v, edge A u v -> edge A0 (blk u) (blk v)) ->
  based A A0 blk w b w0 b0 -> out_equitable A blk (on_edges A w) ->
  (forall t, all_prop (fun p : example F V B => matching blk p.1.2 p.2) (data t)) ->
  forall t x0 v, forward A (weight (clone A blk eta data w b t)) (bias (clone A blk eta data w b t)) (x0 \o blk) v
    = forward A0 (base A0 blk eta d data w0 b0 t).1 (base A0 blk eta d data w0 b0 t).2 x0 (blk v).

(* backpropagation is the derivative of the loss along every parameter direction *)
Definition backprop_is_derivative : Prop :=
  forall (V : finType) (A : arch R_comRingType V) (w dw : V -> V -> R) (b db x : V -> R),
  (forall v : V, hidden A v -> is_derive (act A v) (preact A w b (forward A w b x) v) (act' A v (preact A w b (forward
      A w b x) v))) ->
  forall (l : (V -> R) -> R) (g : V -> R), has_gradient l (forward A w b x) g ->
  is_derive (fun t : R => l (forward A (line2 w dw t) (line b db t) x)) 0 (\sum_v grad_bias A w b x g v * db v +
      \sum_v \sum_u grad A w b x g u v * dw u v).

(* the partial derivative in the weight of a single edge u -> v *)
Definition backprop_partial : Prop :=
  forall (V : finType) (A : arch R_comRingType V) (w : V -> V -> R_comRingType) (b x : V -> R_comRingType) (l : (V ->
      R) -> R) (g : V -> R) (u v : V),
  (forall v0 : V, hidden A v0 -> is_derive (act A v0) (preact A w b (forward A w b x) v0) (act' A v0 (preact A w b
      (forward A w b x) v0))) ->
  has_gradient l (forward A w b x) g ->
  is_derive (fun t : R => l (forward A (fun i j : V => w i j + t * ((i == u) && (j == v))%:R) b x)) 0 (grad A w b x g
      u v).

(* RE is a linear space *)
Definition in_equitable_linear : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B) (c : R) (M N : V -> V -> R),
  in_equitable A blk M -> in_equitable A blk N -> in_equitable A blk (fun u v : V => c * M u v + N u v).

(* CE is a linear space *)
Definition out_equitable_linear : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B) (c : R) (M N : V -> V -> R),
  out_equitable A blk M -> out_equitable A blk N -> out_equitable A blk (fun u v : V => c * M u v + N u v).

(* with an equitable mask, BC is contained in RE and in CE *)
Definition block_constant_in : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B), equitable_mask A blk -> forall M : V ->
  V -> R, block_constant A blk M -> in_equitable A blk M.

(* block_constant_out *)
Definition block_constant_out : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B), equitable_mask A blk -> forall M : V ->
  V -> R, block_constant A blk M -> out_equitable A blk M.

(* with an equitable mask the quotient is acyclic, with no edge inside a block *)
Definition mask_acyclic : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B), equitable_mask A blk ->
  exists depth : B -> nat, forall u v : V, edge A u v -> hidden A v -> (depth (blk u) < depth (blk v))%N.

(* mask_no_inner_edge *)
Definition mask_no_inner_edge : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B), equitable_mask A blk -> forall u v : V,
  edge A u v -> hidden A v -> blk u != blk v.

(* any entrywise optimiser on the gradient history, with uniform decay, any batches, any step sizes: RE and CE hold
   at every step, and with them cloning *)
Definition trajectory_equitable : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B), equitable_mask A blk ->
  forall (update : nat -> seq R -> R) (keep : nat -> R) (batch : nat -> seq (sample R V)) (w0 : V -> V -> R) (b0 : V
      -> R),
  (forall t : nat, all_prop (valid A blk) (batch t)) ->
  cloned A blk {| weight := w0; bias := b0; seen := [::]; seen_bias := [::] |} -> forall t : nat,
  cloned A blk (run A update keep batch w0 b0 t).

(* Theorem A.1.3, corrected: without decay the weights stay in w0 + BC *)
Definition trajectory_affine : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B), equitable_mask A blk ->
  forall (update : nat -> seq R -> R) (keep : nat -> R) (batch : nat -> seq (sample R V)) (w0 : V -> V -> R) (b0 : V
      -> R),
  (forall t : nat, all_prop (valid A blk) (batch t)) ->
  cloned A blk {| weight := w0; bias := b0; seen := [::]; seen_bias := [::] |} -> forall t : nat,
  (forall t0 : nat, keep t0 = 1) ->
  block_constant A blk (fun u v : V => weight (run A update keep batch w0 b0 t) u v - w0 u v) /\
  block_equal blk (fun v : V => bias (run A update keep batch w0 b0 t) v - b0 v).

(* SGD with arbitrary batches and step sizes *)
Definition sgd_stays : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B) (eta : nat -> R) (batch : nat -> seq (sample
      R V)) (w0 : V -> V -> R) (b0 : V -> R) (t : nat),
  equitable_mask A blk -> (forall t0 : nat, all_prop (valid A blk) (batch t0)) ->
  cloned A blk {| weight := w0; bias := b0; seen := [::]; seen_bias := [::] |} ->
  let s := run A (sgd_update eta) (fun=> 1) batch w0 b0 in [/\ forall u v : V,
  edge A u v -> weight (s t.+1) u v = weight (s t) u v - eta t * batch_grad A (weight (s t)) (bias (s t)) (batch t) u
      v,
  cloned A blk (s t) & block_constant A blk (fun u v : V => weight (s t) u v - w0 u v)].

(* uniform decay stays in RE and CE but leaves w0 + BC unless w0 is block-constant *)
Definition decay_leaves : Prop :=
  forall (F : fieldType) (V B : finType) (A : arch F V) (blk : V -> B) (k : F) (w M : V -> V -> F), k != 1 ->
  block_constant A blk M -> block_constant A blk (fun u v : V => k * w u v + M u v - w u v) <->
  block_constant A blk w.

(* Theorem A.1.3 as stated is false: all its hypotheses hold, and one SGD step leaves RE *)
Definition support_counterexample : Prop :=
  forall (F : realFieldType) (eta : F), eta != 0 -> [/\ cloned (support_net F) blk8 (support_start F),
  valid (support_net F) blk8 (support_sample F) & ~ in_equitable (support_net F) blk8 (on_edges (support_net F)
      (weight (support_run eta 1)))].

(* RE and CE hold, the blocks are interleaved, and the quotient has a cycle *)
Definition cyclic_quotient : Prop :=
  forall F : realFieldType,
  [/\ in_equitable (signed_net F) two_blocks (on_edges (signed_net F) (signed_weight F)),
  out_equitable (signed_net F) two_blocks (on_edges (signed_net F) (signed_weight F)) & ~ (exists depth : bool -> nat,
      forall u v : [finType of 'I_8], edge (signed_net F) u v -> (depth (two_blocks u) < depth (two_blocks v))%N)].

(* RE and CE hold with edges inside the only block *)
Definition inner_edges : Prop :=
  forall F : realFieldType, let blk := fun=> tt in
  [/\ in_equitable (signed_net F) blk (on_edges (signed_net F) (signed_weight F)),
  out_equitable (signed_net F) blk (on_edges (signed_net F) (signed_weight F)) & exists u v : [finType of 'I_8], edge
      (signed_net F) u v && (blk u == blk v)].

(* from RE and CE (not block-constant), Adam with coupled L2 leaves CE *)
Definition coupled_adam_leaves : Prop :=
  forall (F : realFieldType) (eta eps mu : F), 0 < eta -> 0 < eps -> 0 < mu ->
  [/\ in_equitable (full_net F) blk8 (on_edges (full_net F) (adam_weight F)),
  out_equitable (full_net F) blk8 (on_edges (full_net F) (adam_weight F)) & ~ out_equitable (full_net F) blk8
      (on_edges (full_net F) (coupled_step eta eps mu (adam_weight F)))].

(* dropout with unshared masks (keep probability 1/2, the first clone dropped): RE and CE hold, the sample is valid,
   and every SGD step leaves CE *)
Definition unshared_dropout_leaves : Prop :=
  forall (F : realFieldType) (eta : F), eta != 0 ->
  let m := fun k : nat => match k with | 1%N => 0 | 2%N => 2 | _ => 1 end in
  [/\ in_equitable (small_net m) blk4 (on_edges (small_net m) (unit_weight F)),
  out_equitable (small_net m) blk4 (on_edges (small_net m) (unit_weight F)) & ~ out_equitable (small_net m) blk4
      (on_edges (small_net m) (fun u v : [finType of 'I_4] => unit_weight F u v - eta * @small_grad F m (@to_output F)
      u v))].

(* cloned outputs with different targets: the adjoints are not block-equal, and every SGD step leaves RE although
   activations, biases, RE and CE are as required *)
Definition cloned_outputs_leave : Prop :=
  forall (F : realFieldType) (eta : F), eta != 0 -> let m := fun=> 1 in
  [/\ shared (small_net m) blk4 (@no_bias F _),
  in_equitable (small_net m) blk4 (on_edges (small_net m) (unit_weight F)),
  out_equitable (small_net m) blk4 (on_edges (small_net m) (unit_weight F)) & ~ in_equitable (small_net m) blk4
      (on_edges (small_net m) (fun u v : [finType of 'I_4] => unit_weight F u v - eta * @small_grad F m (@to_clones F)
      u v))].

(* clones with different activations differ in value *)
Definition unshared_activation : Prop :=
  forall (F : realFieldType) (m : nat -> F), m 1%N != m 2%N ->
  ~ block_equal blk4 (forward (small_net m) (unit_weight F) (@no_bias F _) (unit_data F)).

(* clones with different biases differ in value, although everything else is as required *)
Definition unshared_bias : Prop :=
  forall (F : realFieldType) (b : 'I_4 -> F), b (@o4 1 isT) != b (@o4 2 isT) -> let net := small_net (fun=> 1) in
  [/\ shared net blk4 (@no_bias F _), inputs_equal net blk4 (unit_data F),
  in_equitable net blk4 (on_edges net (unit_weight F)),
  out_equitable net blk4 (on_edges net (unit_weight F)) & forward net (unit_weight F) b (unit_data F) (@o4 1 isT) !=
      forward net (unit_weight F) b (unit_data F) (@o4 2 isT)].

(* different inputs in an input block give different values in the hidden block behind it *)
Definition unequal_inputs : Prop :=
  forall (F : realFieldType) (x : 'I_4 -> F), x (@o4 0 isT) != x (@o4 1 isT) ->
  [/\ shared (paired_net F) pairs (@no_bias F _),
  in_equitable (paired_net F) pairs (on_edges (paired_net F) (unit_weight F)),
  out_equitable (paired_net F) pairs (on_edges (paired_net F) (unit_weight F)),
  pairs (@o4 2 isT) = pairs (@o4 3 isT) & forward (paired_net F) (unit_weight F) (@no_bias F _) x (@o4 2 isT) !=
      forward (paired_net F) (unit_weight F) (@no_bias F _) x (@o4 3 isT)].

(* the paper's delta(v) = delta~ is false: at the clones delta = 1 and delta~ = 2 *)
Definition paper_adjoint_refuted : Prop :=
  forall F : realFieldType, let g := fun v : ordinal_subFinType 4 => if val v == 3%N then 1 else 0 in
  quotient (small_net (fun=> 1)) (base_net F) blk3 (unit_weight F) (@no_bias F _) (unit_data F) (base_weight F)
      (@no_bias F _) (fun=> 1) /\
  adjoint (small_net (fun=> 1)) (unit_weight F) (@no_bias F _) (unit_data F) g (@o4 1 isT) = 1 /\
  adjoint (base_net F) (base_weight F) (@no_bias F _) (fun=> 1) (base_g blk3 g) (blk3 (@o4 1 isT)) = 2.

(* Theorem 2.1.1: the gradients of all incoming weights and of the bias vanish *)
Definition frozen_gradient : Prop :=
  forall (R : comRingType) (V : finType) (A : arch R V) (w : V -> V -> R) (b x g : V -> R) (v : V),
  frozen A w b x v -> grad_bias A w b x g v = 0 /\ (forall u : V, grad A w b x g u v = 0).

(* the affine slice {incoming weights and bias of v fixed} is invariant while v is frozen on all data met *)
Definition frozen_slice : Prop :=
  forall (R : comRingType) (V : finType) (A : arch R V) (eta : nat -> R) (batch : nat -> seq (sample R V)) (w0 : V ->
      V -> R) (b0 : V -> R) (v : V),
  (forall t : nat, all_prop (fun p : (V -> R) * ((V -> R) -> V -> R) => frozen A (weight (sgd_path A eta batch w0 b0
      t)) (bias (sgd_path A eta batch w0 b0 t)) p.1 v) (batch t)) ->
  forall t : nat, bias (sgd_path A eta batch w0 b0 t) v = b0 v /\
  (forall u : V, weight (sgd_path A eta batch w0 b0 t) u v = w0 u v).

(* the interval certificate is sound for every value of the other parameters: half-lines, two-sided regions, chains *)
Definition certificate_sound : Prop :=
  forall (F : realFieldType) (V : finType) (A : arch F V) (S : pred V) (r flat : V -> interval F)
    (w : V -> V -> F) (b x : V -> F) (v : V),
  certificate A S r flat w b -> data_in A r x -> S v -> frozen A w b x v.

(* certified units stay frozen for ever and their incoming parameters never move, whatever the others do *)
Definition frozen_for_ever : Prop :=
  forall (F : realFieldType) (V : finType) (A : arch F V) (S : pred V) (r flat : V -> interval F)
    (eta : nat -> F) (batch : nat -> seq (sample F V)) (w0 : V -> V -> F) (b0 : V -> F),
  certificate A S r flat w0 b0 -> (forall t, all_prop (fun p : sample F V => data_in A r p.1) (batch t)) ->
  forall t v, S v -> let s := sgd_path A eta batch w0 b0 t in
  bias s v = b0 v /\ (forall u, weight s u v = w0 u v)
  /\ all_prop (fun p : sample F V => frozen A (weight s) (bias s) p.1 v) (batch t).

(* relu >= 0 whatever its input, and relu = 0 on its flat half-line *)
Definition relu_half_line : Prop :=
  forall (F : realFieldType) (z : F), within (Some 0, None) (Num.max 0 z)
  /\ (within (None, Some 0) z -> within (Some 0, Some 0) (Num.max 0 z)).

(* Remark 2.1: on an affine manifold x0 + T, fields that are tangent on it (for every data set and loss) keep every
   discrete step in it *)
Definition affine_invariant : Prop :=
  forall (R : ringType) (E : lmodType R) (T : E -> Prop) (eta : nat -> R) (field : nat -> E -> E) (x0 : E),
  subspace T -> (forall (t : nat) (x : E), T (x - x0) -> T (field t x)) -> forall t : nat,
  T (euler eta field x0 t - x0).

(* Remark 2.2: at a cloned point the gradient is tangent (in BC) for every batch and every loss *)
Definition functional_lop : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B) (w : V -> V -> R) (b : V -> R) (s : seq
      (sample R V)),
  cloned A blk {| weight := w; bias := b; seen := [::]; seen_bias := [::] |} -> all_prop (valid A blk) s ->
  block_constant A blk (batch_grad A w b s).

(* near an affine manifold, a flow of a tangent Lipschitz gradient: the squared distance grows at most like exp (2 L t) *)
Definition distance_growth : Prop :=
  forall (n : nat) (Q : 'M[R]_n) (x0 : 'cV[R]_n) (field : R -> 'cV[R]_n -> 'cV[R]_n) (L : R) (theta : R -> 'cV[R]_n),
  projector Q -> tangent_field Q x0 field -> 0 < L -> lipschitz field L -> gradient_flow field theta ->
  forall t : R, 0 <= t -> Rle (dist2 Q x0 theta t) (Rmult (dist2 Q x0 theta 0) (exp (Rmult (2%:R * L) t))).

(* a flow that starts on the affine manifold stays on it, however data, loss and task change with time *)
Definition flow_persists : Prop :=
  forall (n : nat) (Q : 'M[R]_n) (x0 : 'cV[R]_n) (field : R -> 'cV[R]_n -> 'cV[R]_n) (L : R) (theta : R -> 'cV[R]_n),
  projector Q -> tangent_field Q x0 field -> 0 < L -> lipschitz field L -> gradient_flow field theta ->
  forall t : R, Q *m (theta 0 - x0) = 0 -> 0 <= t -> Q *m (theta t - x0) = 0.

(* distance r is reached no sooner than log (r^2 / dist_0^2) / (2 L) *)
Definition flow_escape : Prop :=
  forall (n : nat) (Q : 'M[R]_n) (x0 : 'cV[R]_n) (field : R -> 'cV[R]_n -> 'cV[R]_n) (L : R) (theta : R -> 'cV[R]_n),
  projector Q -> tangent_field Q x0 field -> 0 < L -> lipschitz field L -> gradient_flow field theta ->
  forall t r2 : R, 0 < dist2 Q x0 theta 0 -> 0 < r2 -> 0 <= t -> r2 <= dist2 Q x0 theta t ->
  Rle (Rdiv (ln (Rdiv r2 (dist2 Q x0 theta 0))) (2%:R * L)) t.

(* the closure criterion: an update that commutes with permutations within blocks maps block-constant histories to
   block-constant updates, on complete layers *)
Definition equivariant_closed : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B), Optimisers.complete A blk ->
  (forall u v : V, edge A u v -> hidden A v) ->
  forall (U : Optimisers.optimiser R V) (t : nat) (gw : seq {ffun V * V -> R}) (gb : seq {ffun V -> R}),
  Optimisers.equivariant blk U -> all_prop (Optimisers.constant_matrix A blk) gw ->
  all_prop (Optimisers.constant_vector blk) gb ->
  block_constant A blk (fun u v : V => if edge A u v then (U t gw gb).1 (u, v) else 0) /\
  Optimisers.constant_vector blk (U t gw gb).2.

(* any equivariant optimiser with uniform decay keeps RE and CE, and with them cloning *)
Definition equivariant_trains : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B), Optimisers.complete A blk ->
  (forall u v : V, edge A u v -> hidden A v) ->
  forall (U : Optimisers.optimiser R V) (keep : nat -> R) (batch : nat -> seq (sample R V)) (w0 : V -> V -> R) (b0 : V -> R),
  Optimisers.equivariant blk U -> (forall t : nat, all_prop (valid A blk) (batch t)) ->
  Optimisers.tied_training A blk (Optimisers.Training w0 b0 [::] [::]) ->
  forall t : nat, Optimisers.tied_training A blk (Optimisers.train A U keep batch w0 b0 t).

(* without decay the weights stay in w0 + BC *)
Definition equivariant_affine : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B), Optimisers.complete A blk ->
  (forall u v : V, edge A u v -> hidden A v) ->
  forall (U : Optimisers.optimiser R V) (keep : nat -> R) (batch : nat -> seq (sample R V)) (w0 : V -> V -> R) (b0 : V -> R),
  Optimisers.equivariant blk U -> (forall t : nat, all_prop (valid A blk) (batch t)) ->
  Optimisers.tied_training A blk (Optimisers.Training w0 b0 [::] [::]) ->
  forall t : nat, (forall t : nat, keep t = 1) -> let s := Optimisers.train A U keep batch w0 b0 t in
  block_constant A blk (fun u v => Optimisers.weights s u v - w0 u v) /\
  block_equal blk (fun v => Optimisers.biases s v - b0 v).

(* Muon is equivariant: momentum, a norm, Newton-Schulz polynomials on each layer's matrix, in exact arithmetic *)
Definition muon_equivariant : Prop :=
  forall (R : comRingType) (V B : finType) (blk : V -> B) (layers : seq (B -> B -> bool)) (a b c beta : R)
    (unitise : R -> R) (steps : nat) (eta : nat -> R),
  Optimisers.equivariant blk (@Optimisers.muon R V B blk layers a b c beta unitise steps eta).

(* Theorem A.2, sequential wiring over matching profiles *)
Definition sequence_cert : Prop :=
  forall (F : fieldType) (P Q : lmodType F) (I J O BI BJ BO : finType) (m : layer P I J) (n : layer Q J O) (pI : I ->
      BI) (pJ : J -> BJ) (pO : O -> BO) (M T : P -> Prop) (N S : Q -> Prop),
  cert m pI pJ M T -> cert n pJ pO N S -> cert (sequence m n) pI pO (both M N) (both T S).

(* Theorem A.2, residual connection *)
Definition residual_cert : Prop :=
  forall (F : fieldType) (P : lmodType F) (I BI : finType) (m : layer P I I) (pI : I -> BI) (M T : P -> Prop),
  cert m pI pI M T -> cert (residual m) pI pI M T.

(* Theorem A.2, parallel branches (concatenation) *)
Definition parallel_cert : Prop :=
  forall (F : fieldType) (P Q : lmodType F) (I O O' BI BO BO' : finType) (m : layer P I O) (n : layer Q I O') (pI : I
      -> BI) (pO : O -> BO) (pO' : O' -> BO') (M T : P -> Prop) (N S : Q -> Prop),
  cert m pI pO M T -> cert n pI pO' N S ->
  cert (parallel m n) pI (sum_profile (O':=O') (BO':=BO') pO pO') (both M N) (both T S).

(* Theorem A.2.3: training stays on the manifold, for any data and adjoints that respect the profiles *)
Definition certificate_persists : Prop :=
  forall (F : fieldType) (P : lmodType F) (I O BI BO : finType) (m : layer P I O) (pI : I -> BI) (pO : O -> BO) (M T :
      P -> Prop) (eta : nat -> F) (data : nat -> I -> F) (loss : nat -> (O -> F) -> O -> F) (w0 : P),
  cert m pI pO M T -> M w0 -> (forall t : nat, block_equal pI (data t)) ->
  (forall (t : nat) (y : O -> F), block_equal pO y -> block_equal pO (loss t y)) -> forall t : nat,
  M (train m eta data loss w0 t).

(* Lemma A.2 for a linear layer *)
Definition linear_cert : Prop :=
  forall (F : fieldType) (I O BI BO : finType) (pI : I -> BI) (pO : O -> BO),
  cert (linear F I O) pI pO (equitable pI pO) (constant pI pO).

(* entrywise activations, BatchNorm and pooling, parameters tied within blocks *)
Definition channelwise_cert : Prop :=
  forall (F : fieldType) (C S S' B : finType) (Q : lmodType F) (blk : C -> B) (phi : Q -> {ffun S -> F} -> S' -> F)
      (psi : Q -> {ffun S -> F} -> {ffun S' -> F} -> S -> F) (gam : Q -> {ffun S -> F} -> {ffun S' -> F} -> Q),
  cert (channelwise C phi psi gam) (@profile C B blk S) (@profile C B blk S') (@tied F C B Q blk) (@tied F C B Q blk).

(* an entrywise activation is certified *)
Definition entrywise_cert : Prop :=
  forall (F : fieldType) (C S B : finType) (blk : C -> B) (f f' : F -> F),
  cert (entrywise C S f f') (@profile C B blk S) (@profile C B blk S) (@tied F C B [lmodType F of F^o * F^o] blk)
      (@tied F C B [lmodType F of F^o * F^o] blk).

(* linear pooling over positions is certified *)
Definition pooling_cert : Prop :=
  forall (F : fieldType) (C S S' B : finType) (blk : C -> B) (k : S' -> S -> F),
  cert (pooling C (S':=S') k) (@profile C B blk S) (@profile C B blk S') (@tied F C B [lmodType F of F^o * F^o] blk)
      (@tied F C B [lmodType F of F^o * F^o] blk).

(* BatchNorm in training mode is certified, scale and shift tied within blocks *)
Definition batchnorm_cert : Prop :=
  forall (F : fieldType) (C S B : finType) (blk : C -> B) (sigma : forall U : finType, {ffun U -> F} -> F),
  cert (@batchnorm F C S sigma) (@profile C B blk S) (@profile C B blk S) (@tied F C B [lmodType F of F^o * F^o] blk)
      (@tied F C B [lmodType F of F^o * F^o] blk).

(* LayerNorm is certified, whatever the multiplicities of the clones *)
Definition layernorm_cert : Prop :=
  forall (F : fieldType) (C B : finType) (blk : C -> B) (sigma : forall U : finType, {ffun U -> F} -> F),
  cert (layernorm C sigma) blk blk (@tied F C B [lmodType F of F^o * F^o] blk) (@tied F C B [lmodType F of F^o * F^o]
      blk).

(* misaligned GroupNorm breaks MC1, whatever the backward pass *)
Definition misaligned_groupnorm : Prop :=
  forall (F : fieldType) (sigma : {ffun bool -> F} -> F) (M T : [lmodType F of F^o] -> Prop),
  (forall x : {ffun bool -> F}, sigma x != 0) -> 2%:R != 0 :> F -> (exists w : [lmodType F of F^o], M w) ->
  ~ cert (groupnorm sigma) misaligned misaligned M T.

(* ---- Modules over the reals: certificates, and backward passes that are derivatives ---- *)
Notation real := R_fieldType.

(* one module after another *)
Definition sequence_backprop : Prop :=
  forall (P Q : lmodType real) (K L I J O : finType) (co : P -> K -> R) (co' : Q -> L -> R) (m : layer P I J)
    (n : layer Q J O) (ok : P -> (I -> R) -> Prop) (ok' : Q -> (J -> R) -> Prop),
  Differentiable.backprop co m ok -> Differentiable.backprop co' n ok' ->
  Differentiable.backprop (Differentiable.both_coords co co') (sequence m n)
    (fun w x => ok w.1 x /\ ok' w.2 (fwd m w.1 x)).

(* a module added to an environment: adjoints of the ports that it reads are added up *)
Definition extend_backprop : Prop :=
  forall (P : lmodType real) (K E J O : finType) (co : P -> K -> R) (m : layer P J O) (r : J -> E)
    (ok : P -> (J -> R) -> Prop),
  Differentiable.backprop co m ok -> Differentiable.backprop co (Differentiable.extend m r) (fun w x => ok w (x \o r)).

(* over any DAG: where every module is differentiable, the composed backward pass is the derivative *)
Definition composed_backprop : Prop :=
  forall (I : finType) (P : lmodType real) (K E : finType) (net : layer P I E) (co : P -> K -> R)
    (ok : P -> (I -> R) -> Prop),
  Differentiable.composed net co ok -> Differentiable.backprop co net ok.

(* a module added to an environment, reading fairly *)
Definition extend_cert : Prop :=
  forall (P : lmodType real) (E J O BE BJ BO : finType) (m : layer P J O) (r : J -> E) (pE : E -> BE) (pJ : J -> BJ)
    (pO : O -> BO) (M T : P -> Prop),
  cert m pJ pO M T -> Differentiable.fair_reads r pJ pE ->
  cert (Differentiable.extend m r) pE (sum_profile pE pO) M T.

(* Theorem A.2 over any DAG: certified modules in topological order, each reading fairly any ports before it *)
Definition wired_cert : Prop :=
  forall (I BI : finType) (pI : I -> BI) (P : lmodType real) (E BE : finType) (net : layer P I E) (pE : E -> BE)
    (M T : P -> Prop), Differentiable.wired pI net pE M T -> cert net pI pE M T.

(* the same certified module on every group: groups may be clones of each other, ports within them too *)
Definition grouped_cert : Prop :=
  forall (G U U' : finType) (Q : lmodType real) (one : layer Q U U') (B BU BU' : finType) (blk : G -> B) (q : U -> BU)
    (q' : U' -> BU') (M T : Q -> Prop),
  cert one q q' M T ->
  cert (Layers.grouped G one) (Layers.grouped_profile blk q) (Layers.grouped_profile blk q') (Layers.each blk M)
    (Layers.each blk T).

(* and its backward pass is the derivative where each group's is *)
Definition grouped_backprop : Prop :=
  forall (G U U' K : finType) (Q : lmodType real) (one : layer Q U U') (co : Q -> K -> R) (ok : Q -> (U -> R) -> Prop),
  Differentiable.backprop co one ok ->
  Differentiable.backprop (fun (w : {ffun G -> Q}) (k : G * K) => co (w k.1) k.2) (Layers.grouped G one)
    (fun w x => forall g, ok (w g) (Layers.part x g)).

(* a bias shared within blocks keeps a certificate *)
Definition biased_cert : Prop :=
  forall (P : lmodType real) (I O BI BO : finType) (m : layer P I O) (pI : I -> BI) (pO : O -> BO) (M T : P -> Prop),
  cert m pI pO M T ->
  cert (Layers.biased m) pI pO (both M (Layers.shared_bias pO)) (both T (Layers.shared_bias pO)).

(* a bias *)
Definition biased_backprop : Prop :=
  forall (P : lmodType real) (K I O : finType) (m : layer P I O) (co : P -> K -> R) (ok : P -> (I -> R) -> Prop),
  Differentiable.backprop co m ok ->
  Differentiable.backprop (Differentiable.both_coords co (fun (b : [lmodType real of {ffun O -> R^o}]) o => b o))
    (Layers.biased m) (fun w x => ok w.1 x).

(* a linear layer; with `biased`, a linear layer with bias *)
Definition linear_backprop : Prop :=
  forall I O : finType,
  Differentiable.backprop (fun (w : {ffun O * I -> R^o}) k => w k) (linear real I O) (fun _ _ => True).

(* convolution: every offset's channel matrix equitable, gradients constant on pairs of blocks *)
Definition convolution_cert : Prop :=
  forall (C C' S S' D : finType) (off : S' -> S -> option D) (B B' : finType) (blk : C -> B) (blk' : C' -> B'),
  cert (Layers.convolution C C' off) (Layers.grouped_profile blk (@id S)) (Layers.grouped_profile blk' (@id S'))
    (@Layers.conv_equitable C C' D B B' blk blk') (@Layers.conv_constant C C' D B B' blk blk').

(* convolution, with any strides, padding and dilation *)
Definition convolution_backprop : Prop :=
  forall (C C' S S' D : finType) (off : S' -> S -> option D),
  Differentiable.backprop (fun (w : [lmodType real of {ffun C' * C * D -> R^o}]) k => w k) (Layers.convolution C C' off)
    (fun _ _ => True).

(* an activation is certified for every profile *)
Definition activation_cert : Prop :=
  forall (U BU : finType) (q : U -> BU) (f f' : R -> R),
  cert (Layers.activation U f f') q q (fun _ => True) (fun _ => True).

(* an activation, where f' is the derivative of f at every preactivation *)
Definition activation_backprop : Prop :=
  forall (U : finType) (f f' : R -> R),
  Differentiable.backprop Differentiable.no_coord (Layers.activation U f f')
    (fun _ x => forall u, is_derive f (x u) (f' (x u))).

(* a fixed linear map whose block sums agree, such as pooling over positions, is certified *)
Definition fixed_map_cert : Prop :=
  forall (I O BI BO : finType) (k : O -> I -> R) (pI : I -> BI) (pO : O -> BO),
  (forall J o o', pO o = pO o' -> \sum_(i | pI i == J) k o i = \sum_(i | pI i == J) k o' i) ->
  (forall K i i', pI i = pI i' -> \sum_(o | pO o == K) k o i = \sum_(o | pO o == K) k o i') ->
  cert (Layers.fixed_map k) pI pO (fun _ => True) (fun _ => True).

(* a fixed linear map *)
Definition fixed_map_backprop : Prop :=
  forall (I O : finType) (k : O -> I -> R),
  Differentiable.backprop Differentiable.no_coord (Layers.fixed_map k) (fun _ _ => True).

(* normalisation is certified for every profile, whatever the multiplicities *)
Definition norm_cert : Prop :=
  forall (U BU : finType) (q : U -> BU) (center : bool) (eps : R),
  cert (Normalisation.norm U center eps) q q (fun _ => True) (fun _ => True).

(* normalisation, by the batch or the sample, centred or not *)
Definition norm_backprop : Prop :=
  forall (U : finType) (center : bool) (eps : R), 0 < eps ->
  Differentiable.backprop Differentiable.no_coord (Normalisation.norm U center eps) (fun _ _ => True).

(* scale and shift, tied within blocks that the ports read fairly *)
Definition gain_cert : Prop :=
  forall (U A BU BA : finType) (a : U -> A) (q : U -> BU) (pA : A -> BA), Differentiable.fair_reads a q pA ->
  cert (Normalisation.gain a) q q (@tied real A BA [lmodType real of R^o * R^o] pA)
    (@tied real A BA [lmodType real of R^o * R^o] pA).

(* scale and shift *)
Definition gain_backprop : Prop :=
  forall (U A : finType) (a : U -> A),
  Differentiable.backprop (@Normalisation.gain_coord A) (Normalisation.gain a) (fun _ _ => True).

(* BatchNorm, LayerNorm, RMSNorm, InstanceNorm, aligned GroupNorm: groups may be clones of each other, and so may the
   ports within a group *)
Definition normalisation_cert : Prop :=
  forall (G U A B BU BA : finType) (center : bool) (eps : R) (a : G * U -> A) (blk : G -> B) (q : U -> BU) (pA : A -> BA),
  Differentiable.fair_reads a (Layers.grouped_profile blk q) pA ->
  let tied_gains := both (@Layers.each G Differentiable.no_params B blk (fun _ => True))
    (@tied real A BA [lmodType real of R^o * R^o] pA) in
  cert (Normalisation.normalisation center eps a) (Layers.grouped_profile blk q) (Layers.grouped_profile blk q)
    tied_gains tied_gains.

(* and their backward pass is the derivative, for every input *)
Definition normalisation_backprop : Prop :=
  forall (G U A : finType) (center : bool) (eps : R) (a : G * U -> A), 0 < eps ->
  Differentiable.backprop (Differentiable.both_coords
      (fun (w : {ffun G -> Differentiable.no_params}) (k : G * void) => Differentiable.no_coord (w k.1) k.2)
      (@Normalisation.gain_coord A))
    (Normalisation.normalisation center eps a) (fun _ _ => True).

(* queries and keys cloned alike, values cloned: with any multiplicities *)
Definition head_cert : Prop :=
  forall (S T D E : finType) (mask : S -> pred T) (scale : R) (BD BE : finType) (cls : D -> BD) (cls' : E -> BE),
  cert (Attention.head D E mask scale) (@Attention.port_profile S T D E BD BE cls cls')
    (@Attention.out_profile S E BE cls') (fun _ => True) (fun _ => True).

(* attention of one head, with any mask *)
Definition head_backprop : Prop :=
  forall (S T D E : finType) (mask : S -> pred T) (scale : R),
  Differentiable.backprop Differentiable.no_coord (Attention.head D E mask scale) (fun _ _ => True).

(* attention: heads may be clones of each other, and so may widths within a head *)
Definition attention_cert : Prop :=
  forall (H S T D E B BD BE : finType) (mask : S -> pred T) (scale : R) (blk : H -> B) (cls : D -> BD) (cls' : E -> BE),
  cert (Attention.attention H D E mask scale) (Layers.grouped_profile blk (@Attention.port_profile S T D E BD BE cls cls'))
    (Layers.grouped_profile blk (@Attention.out_profile S E BE cls'))
    (@Layers.each H Differentiable.no_params B blk (fun _ => True))
    (@Layers.each H Differentiable.no_params B blk (fun _ => True)).

(* attention over heads, with any mask *)
Definition attention_backprop : Prop :=
  forall (H S T D E : finType) (mask : S -> pred T) (scale : R),
  Differentiable.backprop
    (fun (w : {ffun H -> Differentiable.no_params}) (k : H * void) => Differentiable.no_coord (w k.1) k.2)
    (Attention.attention H D E mask scale) (fun _ _ => True).

(* the normal space is invariant and the quadratic form splits *)
Definition normal_splitting : Prop :=
  forall (F : realFieldType) (n : nat) (H : 'M[F]_n), H^T = H -> forall T : 'cV[F]_n -> Prop,
  tangent_invariant H T -> (forall k : 'cV[F]_n, normal T k -> normal T (H *m k)) /\
  (forall t k : 'cV[F]_n, T t -> normal T k -> form H (t + k) (t + k) = form H t t + form H k k).

(* BC is invariant under the Hessian of the loss of a cloned network *)
Definition hessian_keeps_BC : Prop :=
  forall (V B : finType) (A : arch R_comRingType V) (blk : V -> B) (b x : V -> R) (gl : (V -> R) -> V -> R),
  shared A blk b -> fair A blk x gl ->
  forall w M HM : V -> V -> R, equitable_mask A blk -> cloned_weights A blk w -> block_constant A blk M ->
  hessian_along A b x gl w M HM -> block_constant A blk HM.

(* the Hessian maps BC to BC and the normal space to itself, without cross terms *)
Definition network_splitting : Prop :=
  forall (V B : finType) (A : arch R_comRingType V) (blk : V -> B) (b x : V -> R) (gl : (V -> R) -> V -> R),
  shared A blk b -> fair A blk x gl ->
  forall (w : V -> V -> R) (H : (V -> V -> R) -> V -> V -> R), equitable_mask A blk -> cloned_weights A blk w ->
  second_order A b x gl w H -> forall N M : V -> V -> R, normal_to_BC A blk N -> block_constant A blk M ->
  block_constant A blk (H M) /\ normal_to_BC A blk (H N) /\ pair (H M) N = 0.

(* v^T H v = 0 and H v <> 0 with v normal: the form on the normal space takes both signs, with the explicit escape
   direction H v + a v *)
Definition saddle : Prop :=
  forall (F : realFieldType) (n : nat) (H : 'M[F]_n), H^T = H -> forall (T : 'cV[F]_n -> Prop) (v : 'cV[F]_n),
  tangent_invariant H T -> normal T v -> form H v v = 0 -> H *m v != 0 -> let k := H *m v in exists a c : F,
  normal T (k + a *: v) /\ normal T (k + c *: v) /\ form H (k + a *: v) (k + a *: v) < 0 /\
  0 < form H (k + c *: v) (k + c *: v).

(* if H D is not 0 for some redistribution D, the curvature takes both signs on the normal space, along H D + a D *)
Definition network_saddle : Prop :=
  forall (V B : finType) (A : arch R_comRingType V) (blk : V -> B) (b x : V -> R) (l : (V -> R) -> R)
    (gl : (V -> R) -> V -> R), smooth_loss A l gl -> shared A blk b -> fair A blk x gl ->
  forall (w D : V -> V -> R) (H : (V -> V -> R) -> V -> V -> R), equitable_mask A blk ->
  (forall u v, edge A u v -> hidden A v) -> cloned_weights A blk w -> second_order A b x gl w H ->
  redistribution A blk D -> forall u v : V, H D u v != 0 -> exists a c : R,
  normal_to_BC A blk (Curvature.plus (H D) a D) /\ normal_to_BC A blk (Curvature.plus (H D) c D)
  /\ curvature H (Curvature.plus (H D) a D) < 0 /\ 0 < curvature H (Curvature.plus (H D) c D).

(* a saddle exhibited: 1 input, 2 clones, 1 output, squared error with target y; D = out_of redistributes, into is normal *)
Definition saddle_exhibited : Prop :=
  forall (F : realFieldType) (y : F), let net := small_net (fun=> 1 : F) in
  [/\ in_equitable net blk4 (on_edges net (unit_weight F)), out_equitable net blk4 (on_edges net (unit_weight F)),
      redistribution net blk4 (out_of F),
      forall M, block_constant net blk4 M ->
        \sum_v \sum_u into F u v * M u v = 0 /\ \sum_v \sum_u out_of F u v * M u v = 0
    & forall a c, squared_error y (forward net (shift a c) (@no_bias F _) (unit_data F))
        = (2%:R - y) ^+ 2 / 2%:R + 2%:R * (2%:R - y) * (a * c) + 2%:R * (a * c) ^+ 2].

(* moving along a redistribution changes no value on any data: the loss is constant *)
Definition redistribution_flat : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B) (w D : V -> V -> R) (b x : V -> R),
  redistribution A blk D -> forall t : R, shared A blk b -> inputs_equal A blk x ->
  in_equitable A blk (on_edges A w) -> forward A (fun u v : V => w u v + t * D u v) b x =1 forward A w b x.

(* along a redistribution the loss is constant, so its slope and its curvature vanish *)
Definition redistribution_curvature : Prop :=
  forall (V B : finType) (A : arch R_comRingType V) (blk : V -> B) (b x : V -> R) (l : (V -> R) -> R)
    (gl : (V -> R) -> V -> R), smooth_loss A l gl -> shared A blk b -> fair A blk x gl ->
  forall w D HD : V -> V -> R, cloned_weights A blk w -> redistribution A blk D -> hessian_along A b x gl w D HD ->
  (forall t : R, loss A b x l (move w D t) = loss A b x l w) /\ pair (gradient A b x gl w) D = 0 /\ pair HD D = 0.

(* redistributions are orthogonal to BC, whether or not the blocks are complete *)
Definition redistribution_normal : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B) (D : V -> V -> R), redistribution A blk D ->
  forall M : V -> V -> R, block_constant A blk M -> (forall u v : V, edge A u v -> hidden A v) ->
  \sum_v \sum_u D u v * M u v = 0.

(* Definition A.2's strict "stable" never occurs: with two edges from one block into a hidden node there is a
   non-zero redistribution, so a direction along which the loss is constant for all data *)
Definition flat_direction_exists : Prop :=
  forall (R : comRingType) (V B : finType) (A : arch R V) (blk : V -> B) (u u' v : V), u != u' ->
  blk u = blk u' -> edge A u v -> edge A u' v -> exists D : V -> V -> R, redistribution A blk D /\ D u v = 1.

(* gradient flow conserves W2^T W2 - W1 W1^T (its derivative by the product rule is 0) *)
Definition balance_conserved : Prop :=
  forall (F : realFieldType) (i j k l m : nat) (Q : 'M[F]_(j, i)) (W1 : 'M[F]_(k, j)) (W2 : 'M[F]_(l, k)) (P :
      'M[F]_(m, l)) (G : 'M[F]_(m, i)),
  (dW2 Q W1 P G)^T *m W2 + W2^T *m dW2 Q W1 P G - (dW1 Q W2 P G *m W1^T + W1 *m (dW1 Q W2 P G)^T) = 0.

(* a hidden direction that neither enters nor leaves (u W1 = 0, W2 u^T = 0) stays so under every gradient step, for
   any data, loss and step size: an affine LoP manifold of rank-deficient networks *)
Definition dead_direction_stays : Prop :=
  forall (F : realFieldType) (i j k l m : nat) (Q : 'M[F]_(j, i)) (W1 : 'M[F]_(k, j)) (W2 : 'M[F]_(l, k)) (P :
      'M[F]_(m, l)) (G : 'M[F]_(m, i)) (u : 'rV[F]_k) (eta : F),
  u *m W1 = 0 -> W2 *m u^T = 0 -> u *m (W1 + eta *: dW1 Q W2 P G) = 0 /\ (W2 + eta *: dW2 Q W1 P G) *m u^T = 0.

(* when the layers are balanced, a direction missing from W1 is missing from W2 *)
Definition balanced_dead : Prop :=
  forall (F : realFieldType) (j k l : nat) (W1 : 'M[F]_(k, j)) (W2 : 'M[F]_(l, k)) (u : 'rV[F]_k),
  W2^T *m W2 = W1 *m W1^T -> u *m W1 = 0 -> W2 *m u^T = 0.

(* (1/3) orthogonality: E (He n He m) = n! if n = m, else 0 *)
Definition hermite_orthogonal : Prop :=
  forall (F : fieldType) (E : {poly F} -> F),
  (forall (a : F) (p q : poly_lmodType F), E (a *: p + q) = a * E p + E q) -> E 1 = 1 ->
  (forall q : poly_ringType F, E ('X * q) = E q^`()) -> forall n m : nat,
  E (He F n * He F m) = (if n == m then n`!%:R else 0).

(* (2/3) smoothing a Hermite polynomial multiplies it by r^m *)
Definition hermite_smoothing : Prop :=
  forall (F : fieldType) (E : {poly F} -> F),
  (forall (a : F) (p q : poly_lmodType F), E (a *: p + q) = a * E p + E q) -> E 1 = 1 ->
  (forall q : poly_ringType F, E ('X * q) = E q^`()) -> forall r s : F, r ^+ 2 + s ^+ 2 = 1 ->
  forall (m : nat) (x : F), E (He F m \Po mix r s x) = r ^+ m * (He F m).[x].

(* (3/3) E_x (p(x) E_z q(r x + s z)) = sum_k k! b_k c_k r^k for p = sum b_k He k, q = sum c_k He k: with orthonormal
   coefficients a_k = b_k sqrt(k!), K(rho) = sum_k a_k^2 rho^k at p = q *)
Definition mehler : Prop :=
  forall (F : fieldType) (E : {poly F} -> F),
  (forall (a : F) (p q : poly_lmodType F), E (a *: p + q) = a * E p + E q) -> E 1 = 1 ->
  (forall q : poly_ringType F, E ('X * q) = E q^`()) -> forall r s : F, r ^+ 2 + s ^+ 2 = 1 ->
  forall (N : nat) (b c : nat -> F), exists smooth : {poly F},
  (forall x : F, smooth.[x] = E (expand N c \Po mix r s x)) /\
  E (expand N b * smooth) = \sum_(k < N) k`!%:R * b k * c k * r ^+ k.

(* the mean of a polynomial by moments, which satisfies Stein's identity, is its Gaussian integral *)
Definition mean_is_gaussian : Prop :=
  forall p : {poly R}, gauss_mean (fun x => p.[x]) (mean_of p).

(* Eq. 1 for every polynomial p, from the integral: E p(X) p(Y) = K(rho) = sum_k a_k^2 rho^k, a_k = E p he_k *)
Definition polynomial_kernel : Prop :=
  forall (p : {poly R}) (rho s : R), rho ^+ 2 + s ^+ 2 = 1 ->
  correlated (fun x => p.[x]) rho s (kernel (coef p) rho)
  /\ kernel (coef p) rho = \sum_(k < size p) coef p k ^+ 2 * rho ^+ k.

(* mean 0 and second moment 1 give a_0 = 0 and sum_k a_k^2 = 1 *)
Definition polynomial_standardised : Prop :=
  forall p : {poly R}, gauss_mean (fun x => p.[x]) 0 -> gauss_mean (fun x => p.[x] ^+ 2) 1 -> standardised (coef p).

(* Lemma A.1 for a standardised polynomial, its kernel K and c = a_1 given by Gaussian integrals alone *)
Definition polynomial_gap : Prop :=
  forall (p : {poly R}) (rho s K c : R), rho ^+ 2 + s ^+ 2 = 1 ->
  gauss_mean (fun x => p.[x]) 0 -> gauss_mean (fun x => p.[x] ^+ 2) 1 -> gauss_mean (fun x => x * p.[x]) c ->
  correlated (fun x => p.[x]) rho s K -> (1 - c ^+ 2) * rho ^+ 2 * (1 - rho ^+ 2) <= rho ^+ 2 - K ^+ 2.

(* Theorem 3.1 for a standardised polynomial: KC is the correlation matrix of its features, by Gaussian integrals *)
Definition polynomial_rank_gain : Prop :=
  forall (p : {poly R}) (n : nat) (C KC : 'M[R]_n.+1) (c : R),
  gauss_mean (fun x => p.[x]) 0 -> gauss_mean (fun x => p.[x] ^+ 2) 1 -> gauss_mean (fun x => x * p.[x]) c ->
  unit_corr C -> (forall i j, correlated (fun x => p.[x]) (C i j) (sqrt (1 - C i j ^+ 2)) (KC i j)) ->
  1 + (1 - c ^+ 2) * potential C <= er2 KC / er2 C.

(* ---- Every continuous phi of polynomial growth, |phi x| <= C (1 + |x|)^n ---- *)
(* the Hermite polynomials are complete in the Gaussian L2: E (phi - p)^2 <= eps for some polynomial p *)
Definition hermite_complete : Prop :=
  forall (phi : R -> R) (C : R) (n : nat), (forall x : R, continuous phi x) -> growth phi C n ->
  forall eps : R, Rlt 0 eps -> exists (p : {poly R}) (m : R), gauss_mean (fun x => (phi x - p.[x]) ^+ 2) m /\ Rle m eps.

(* Eq. 1 and Parseval, from the integral: E phi(X) phi(Y) = K(rho) = sum_k a_k^2 rho^k and E phi^2 = sum_k a_k^2, with
   a_k = E phi he_k, he_k = He_k / sqrt (k!) *)
Definition continuous_mehler : Prop :=
  forall (phi : R -> R) (C : R) (n : nat), (forall x : R, continuous phi x) -> growth phi C n ->
  exists a : nat -> R, (forall k, gauss_mean (fun x => phi x * ((He _ k).[x] / sqrt k`!%:R)) (a k))
  /\ (forall rho s : R, rho ^+ 2 + s ^+ 2 = 1 -> correlated phi rho s (kernel a rho))
  /\ exists m : R, gauss_mean (fun x => phi x ^+ 2) m /\ is_series (fun k => pow (a k) 2) m.

(* mean 0 and second moment 1 give a_0 = 0 and sum_k a_k^2 = 1 *)
Definition continuous_standardised : Prop :=
  forall (phi : R -> R) (C : R) (n : nat), (forall x : R, continuous phi x) -> growth phi C n ->
  forall a : nat -> R, (forall k, gauss_mean (fun x => phi x * ((He _ k).[x] / sqrt k`!%:R)) (a k)) ->
  gauss_mean phi 0 -> gauss_mean (fun x => phi x ^+ 2) 1 -> standardised a.

(* Lemma A.1 for a standardised phi, its kernel K and c = a_1 given by Gaussian integrals alone *)
Definition continuous_gap : Prop :=
  forall (phi : R -> R) (C : R) (n : nat), (forall x : R, continuous phi x) -> growth phi C n ->
  forall rho s K c : R, rho ^+ 2 + s ^+ 2 = 1 ->
  gauss_mean phi 0 -> gauss_mean (fun x => phi x ^+ 2) 1 -> gauss_mean (fun x => x * phi x) c ->
  correlated phi rho s K -> (1 - c ^+ 2) * rho ^+ 2 * (1 - rho ^+ 2) <= rho ^+ 2 - K ^+ 2.

(* Theorem 3.1 for a standardised phi: KM is the correlation matrix of its features, by Gaussian integrals *)
Definition continuous_rank_gain : Prop :=
  forall (phi : R -> R) (C : R) (n : nat), (forall x : R, continuous phi x) -> growth phi C n ->
  forall (m : nat) (M KM : 'M[R]_m.+1) (c : R),
  gauss_mean phi 0 -> gauss_mean (fun x => phi x ^+ 2) 1 -> gauss_mean (fun x => x * phi x) c ->
  unit_corr M -> (forall i j, correlated phi (M i j) (sqrt (1 - M i j ^+ 2)) (KM i j)) ->
  1 + (1 - c ^+ 2) * potential M <= er2 KM / er2 M.
