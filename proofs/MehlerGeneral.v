(* Mehler's formula (Eq. 1) in general, from stated hypotheses, over the reals.

   comb c x y       c x + y, in any type V; only what inner products see of it is used
   form K           K is symmetric and linear in comb: an inner product <f, g>, or E[f(X) g(Y)]
   partial n        a_0 he_0 + ... + a_(n-1) he_(n-1);  rest n = phi - partial n
   setting          he is orthonormal, P he_k = rho^k he_k, |<f, P f>| <= ||f||^2, rest n tends to 0 in norm

   For the standard Gaussian: V = L^2, <f, g> = E f(X) g(X), he_k = He_k / sqrt(k!), (P f)(x) = E f(rho x + s Z)
   with s^2 = 1 - rho^2, so <f, P g> = E f(X) g(Y) with corr(X, Y) = rho. Orthonormality and the eigenvalues rho^k
   are hermite_orthogonal and hermite_smoothing (Mehler.v); the bound is |f(X) f(Y)| <= (f(X)^2 + f(Y)^2) / 2.
   That rest n tends to 0 is the completeness of the Hermite polynomials: a hypothesis here, proved for continuous phi of
   polynomial growth in Completeness.v, where they are shown to be such a setting.                              *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
Local Open Scope R_scope.

Section General.
Variables (V : Type) (comb : R -> V -> V -> V).

Definition form (K : V -> V -> R) :=
  (forall x y, K x y = K y x) /\ (forall c x y z, K (comb c x y) z = c * K x z + K y z).

Variables (ip : V -> V -> R) (he : nat -> V) (P : V -> V) (rho : R) (a : nat -> R) (phi : V).

Fixpoint partial (n : nat) : V :=
  match n with O => comb (-1) (he 0) (he 0) | S n => comb (a n) (he n) (partial n) end.
Definition rest n := comb (-1) (partial n) phi.
Definition indicator (j k : nat) (c : R) := if Nat.eqb j k then c else 0.

Record setting : Prop := Setting {
  inner : form ip;
  orthonormal : forall j k, ip (he j) (he k) = indicator j k 1;
  linear : forall c x y f, ip f (P (comb c x y)) = c * ip f (P x) + ip f (P y);
  eigen : forall k f, ip f (P (he k)) = rho ^ k * ip f (he k);
  bounded : forall f, Rabs (ip f (P f)) <= ip f f;
  complete : is_lim_seq (fun n => ip (rest n) (rest n)) 0 }.

Lemma form_quadratic K c f g : form K -> K (comb c f g) (comb c f g) = c ^ 2 * K f f + 2 * c * K f g + K g g.
Proof.
intros [sym lin]; rewrite lin, (sym f (comb c f g)), (sym g (comb c f g)), !lin, (sym g f); ring.
Qed.

Lemma form_zero K f : form K -> K (partial 0) f = 0.
Proof. intros [_ lin]; simpl; rewrite lin; ring. Qed.

Lemma form_partial K c n k : form K -> (forall j k, K (he j) (he k) = indicator j k (c k)) -> (n <= k)%nat ->
  K (partial n) (he k) = 0.
Proof.
intros fK diag; induction n as [|n IH]; intros le; [now apply form_zero|].
destruct fK as [sym lin]; simpl; rewrite lin, diag, IH by lia; unfold indicator.
destruct (Nat.eqb_spec n k); [lia | ring].
Qed.

Lemma form_sum K c : form K -> (forall j k, K (he j) (he k) = indicator j k (c k)) ->
  forall n, K (partial (S n)) (partial (S n)) = sum_n (fun k => a k ^ 2 * c k) n.
Proof.
intros fK diag.
assert (step : forall n, K (partial (S n)) (partial (S n)) = a n ^ 2 * c n + K (partial n) (partial n)).
{ intros n; simpl partial at 1 2; rewrite form_quadratic, diag by exact fK.
  rewrite (proj1 fK (he n)), (form_partial K c) by auto.
  unfold indicator; rewrite Nat.eqb_refl; ring. }
induction n as [|n IH]; rewrite step.
- rewrite sum_O, form_zero by exact fK; ring.
- rewrite IH, sum_Sn; unfold plus; simpl; ring.
Qed.

Lemma form_bound K f g : form ip -> form K -> (forall f, Rabs (K f f) <= ip f f) ->
  Rabs (K f g) <= sqrt (ip g g) * ((ip f f + 1) / 2).
Proof.
intros fip fK le.
assert (pos : forall f, 0 <= ip f f) by (intros h; apply Rle_trans with (2 := le h), Rabs_pos).
assert (scaled : forall t, 0 < t -> 2 * t * Rabs (K f g) <= t ^ 2 * ip f f + ip g g).
{ intros t t0; assert (up := le (comb t f g)); assert (down := le (comb (- t) f g)).
  rewrite !form_quadratic in up, down by assumption.
  apply Rabs_le_between in up; apply Rabs_le_between in down.
  rewrite <- (Rabs_pos_eq (2 * t)), <- Rabs_mult by lra.
  apply Rabs_le_between; split; nra. }
assert (F := pos f); assert (G := sqrt_sqrt (ip g g) (pos g)); assert (k0 := Rabs_pos (K f g)).
destruct (sqrt_pos (ip g g)) as [q0 | q0].
- assert (h := scaled _ q0); apply Rmult_le_reg_l with (2 * sqrt (ip g g)); nra.
- rewrite <- q0 in *; rewrite <- G in scaled; rewrite Rmult_0_l.
  destruct k0 as [k0 | <-]; [exfalso | lra].
  assert (t0 : 0 < Rabs (K f g) / (ip f f + 1)) by (apply Rdiv_lt_0_compat; lra).
  assert (e : Rabs (K f g) / (ip f f + 1) * (ip f f + 1) = Rabs (K f g)) by (field; lra).
  assert (h := scaled _ t0); nra.
Qed.

(* a bounded form that is diagonal in he is a series in its diagonal *)
Lemma form_series K c : form ip -> form K -> (forall f, Rabs (K f f) <= ip f f) ->
  (forall j k, K (he j) (he k) = indicator j k (c k)) -> is_lim_seq (fun n => ip (rest n) (rest n)) 0 ->
  is_series (fun k => a k ^ 2 * c k) (K phi phi).
Proof.
intros fip fK le diag lim; change (is_lim_seq (sum_n (fun k => a k ^ 2 * c k)) (K phi phi)).
enough (conv : is_lim_seq (fun n => K (partial n) (partial n)) (K phi phi)).
{ apply is_lim_seq_ext with (2 := proj1 (is_lim_seq_incr_1 _ _) conv); now apply form_sum. }
set (r n := ip (rest n) (rest n)) in *; set (M := ip phi phi + 1).
assert (dist : forall n, Rabs (K (partial n) (partial n) - K phi phi) <= sqrt (r n) * M + r n).
{ intros n; assert (b := form_bound K phi (rest n) fip fK le); assert (d := le (rest n)); fold (r n) in b, d.
  assert (cross : K phi (rest n) = K phi phi - K (partial n) phi).
  { unfold rest; rewrite (proj1 fK), (proj2 fK); ring. }
  assert (quad : K (rest n) (rest n) = K (partial n) (partial n) - 2 * K (partial n) phi + K phi phi).
  { unfold rest; rewrite form_quadratic by exact fK; ring. }
  replace (K (partial n) (partial n) - K phi phi) with (K (rest n) (rest n) - 2 * K phi (rest n)) by lra.
  apply Rabs_le_between in b; apply Rabs_le_between in d; apply Rabs_le_between; unfold M; lra. }
assert (root : is_lim_seq (fun n => sqrt (r n)) 0).
{ rewrite <- sqrt_0; apply (is_lim_seq_continuous sqrt r 0); [apply continuity_pt_sqrt; lra | exact lim]. }
assert (small : is_lim_seq (fun n => sqrt (r n) * M + r n) 0).
{ replace (Finite 0) with (Finite (0 * M + 0)) by (f_equal; ring).
  apply is_lim_seq_plus'; [apply is_lim_seq_mult'; [exact root | apply is_lim_seq_const] | exact lim]. }
apply is_lim_seq_ext with (fun n => (K (partial n) (partial n) - K phi phi) + K phi phi); [intros; ring|].
replace (Finite (K phi phi)) with (Finite (0 + K phi phi)) by (f_equal; ring).
apply is_lim_seq_plus'; [|apply is_lim_seq_const].
apply is_lim_seq_abs_0; apply is_lim_seq_le_le with (3 := small) (u := fun _ => 0); [|apply is_lim_seq_const].
intros n; split; [apply Rabs_pos | apply dist].
Qed.

(* [mehler-general] Eq. 1 in general, from the setting (completeness is a hypothesis): E[phi(X) phi(Y)] = <phi, P phi>
   = sum_k a_k^2 rho^k, and sum_k a_k^2 = ||phi||^2 *)
Theorem mehler_general : setting ->
  is_series (fun k => a k ^ 2 * rho ^ k) (ip phi (P phi)) /\ is_series (fun k => a k ^ 2) (ip phi phi).
Proof.
intros s; destruct (inner s) as [sym lin].
assert (nonneg : forall f, 0 <= ip f f) by (intros f; apply Rle_trans with (2 := bounded s f), Rabs_pos).
split.
- set (K f g := (ip f (P g) + ip g (P f)) / 2).
  replace (ip phi (P phi)) with (K phi phi) by (unfold K; field).
  apply form_series; [exact (inner s) | | | | exact (complete s)]; unfold K.
  + split; [intros; field | intros; rewrite lin, (linear s); field].
  + intros f; replace ((ip f (P f) + ip f (P f)) / 2) with (ip f (P f)) by field; apply (bounded s).
  + intros j k; rewrite !(eigen s), (sym (he k)), (orthonormal s); unfold indicator.
    destruct (Nat.eqb_spec j k) as [-> | _]; field.
- apply is_series_ext with (fun k => a k ^ 2 * 1); [intros; apply Rmult_1_r|].
  apply form_series; [exact (inner s) | exact (inner s) | | exact (orthonormal s) | exact (complete s)].
  intros f; rewrite Rabs_pos_eq by apply nonneg; apply Rle_refl.
Qed.

(* ||phi - partial n||^2 = ||phi||^2 - (a_0^2 + ... + a_(n-1)^2) for a_k = <phi, he_k> *)
Lemma rest_norm : form ip -> (forall j k, ip (he j) (he k) = indicator j k 1) -> (forall k, ip phi (he k) = a k) ->
  forall n, ip (rest (S n)) (rest (S n)) = ip phi phi - sum_n (fun k => a k ^ 2) n.
Proof.
intros fip on coef n; unfold rest; rewrite form_quadratic, (form_sum ip (fun _ => 1)) by assumption.
assert (cross : forall m, ip (partial (S m)) phi = sum_n (fun k => a k ^ 2) m).
{ induction m as [|m IH].
  - simpl partial; rewrite (proj2 fip), (form_zero ip), (proj1 fip), coef, sum_O by exact fip; ring.
  - change (partial (S (S m))) with (comb (a (S m)) (he (S m)) (partial (S m))).
    rewrite (proj2 fip), IH, (proj1 fip), coef, sum_Sn; unfold plus; simpl; ring. }
rewrite cross, (sum_n_ext (fun k => a k ^ 2 * 1) (fun k => a k ^ 2)) by (intros; apply Rmult_1_r); ring.
Qed.
End General.
Arguments form {V}.
Arguments rest {V}.
Arguments setting {V}.

(* ---- The setting is satisfiable: square-summable sequences ---- *)
Definition summable (x : nat -> R) := ex_series (fun n => x n ^ 2).
Definition l2 := {x : nat -> R | summable x}.
Definition dot (x y : l2) := Series (fun n => proj1_sig x n * proj1_sig y n).

Lemma dominated (u : nat -> R) v : (forall n, Rabs (u n) <= v n) -> ex_series v -> ex_series u.
Proof. intros le; apply (ex_series_le (V := R_CompleteNormedModule)); exact le. Qed.

Lemma dot_exists (x y : l2) : ex_series (fun n => proj1_sig x n * proj1_sig y n).
Proof.
destruct x as [x sx], y as [y sy]; simpl; apply dominated with (2 := ex_series_plus _ _ sx sy); intros n.
unfold plus; simpl; assert (0 <= (x n - y n) ^ 2) by apply pow2_ge_0; assert (0 <= (x n + y n) ^ 2) by apply pow2_ge_0.
apply Rabs_le_between; nra.
Qed.

Lemma comb_exists c (x y : l2) : ex_series (fun n => (c * proj1_sig x n + proj1_sig y n) ^ 2).
Proof.
assert (sum := ex_series_plus _ _ (ex_series_scal_l (2 * c ^ 2) _ (proj2_sig x)) (ex_series_scal_l 2 _ (proj2_sig y))).
apply dominated with (2 := sum); intros n.
change (Rabs ((c * proj1_sig x n + proj1_sig y n) ^ 2) <= 2 * c ^ 2 * proj1_sig x n ^ 2 + 2 * proj1_sig y n ^ 2).
rewrite Rabs_pos_eq by apply pow2_ge_0; assert (h := pow2_ge_0 (c * proj1_sig x n - proj1_sig y n)).
replace (2 * c ^ 2 * proj1_sig x n ^ 2 + 2 * proj1_sig y n ^ 2) with ((c * proj1_sig x n + proj1_sig y n) ^ 2 + (c * proj1_sig x n - proj1_sig y n) ^ 2) by ring.
lra.
Qed.
Definition l2_comb c x y : l2 := exist summable _ (comb_exists c x y).

Lemma series_indicator k c : is_series (fun n => indicator n k c) c.
Proof.
assert (partials : forall n, sum_n (fun n => indicator n k c) n = if Nat.leb k n then c else 0).
{ unfold indicator; induction n as [|n IH].
  - rewrite sum_O; destruct k; reflexivity.
  - rewrite sum_Sn, IH; match goal with |- plus ?x ?y = ?z => change (x + y = z) end.
    destruct (Nat.leb_spec k n), (Nat.eqb_spec (S n) k), (Nat.leb_spec k (S n)); try lia; ring. }
apply (is_lim_seq_ext_loc (fun _ => c) _ c); [|apply is_lim_seq_const].
exists k; intros n le; rewrite partials; destruct (Nat.leb_spec k n); [easy | lia].
Qed.

Lemma unit_exists k : ex_series (fun n => indicator n k 1 ^ 2).
Proof.
exists 1; apply is_series_ext with (2 := series_indicator k 1).
intros n; unfold indicator; destruct (Nat.eqb n k); simpl; ring.
Qed.
Definition l2_unit k : l2 := exist summable _ (unit_exists k).

Lemma dot_unit x k : dot x (l2_unit k) = proj1_sig x k.
Proof.
apply is_series_unique; apply is_series_ext with (2 := series_indicator k (proj1_sig x k)).
intros n; simpl; unfold indicator; destruct (Nat.eqb_spec n k) as [-> |]; ring.
Qed.

Section Sequences.
Variable rho : R.
Hypothesis rho_le : Rabs rho <= 1.

Lemma damp_le (y : R) n : Rabs (rho ^ n * y) <= Rabs y.
Proof.
assert (p : Rabs (rho ^ n) <= 1).
{ rewrite <- RPow_abs, <- (pow1 n); apply pow_incr; split; [apply Rabs_pos | exact rho_le]. }
rewrite Rabs_mult; assert (h := Rabs_pos y); nra.
Qed.

Lemma damp_exists (x : l2) : ex_series (fun n => (rho ^ n * proj1_sig x n) ^ 2).
Proof.
apply dominated with (2 := proj2_sig x); intros n; rewrite Rabs_pos_eq by apply pow2_ge_0.
rewrite <- (pow2_abs (rho ^ n * _)), <- (pow2_abs (proj1_sig x n)).
apply pow_incr; split; [apply Rabs_pos | apply damp_le].
Qed.
Definition damp (x : l2) : l2 := exist summable _ (damp_exists x).

Lemma dot_form : form l2_comb dot.
Proof.
split; intros; [apply Series_ext; intros; ring|].
unfold dot; rewrite <- Series_scal_l, <- Series_plus; [apply Series_ext; intros; simpl; ring | | apply dot_exists].
exact (ex_series_scal_l c _ (dot_exists x z)).
Qed.

Lemma l2_complete (x : l2) :
  is_lim_seq (fun n => dot (rest l2_comb l2_unit (proj1_sig x) x n) (rest l2_comb l2_unit (proj1_sig x) x n)) 0.
Proof.
apply is_lim_seq_incr_1; apply is_lim_seq_ext with (fun n => dot x x - sum_n (fun k => proj1_sig x k ^ 2) n).
- intros n; symmetry; apply rest_norm; [exact dot_form | | intros; apply dot_unit].
  intros j k; rewrite dot_unit; simpl; unfold indicator; now rewrite Nat.eqb_sym.
- replace (Finite 0) with (Finite (dot x x - dot x x)) by (f_equal; ring).
  apply is_lim_seq_minus'; [apply is_lim_seq_const|].
  apply is_series_ext with (fun k => proj1_sig x k * proj1_sig x k); [intros; simpl; ring|].
  apply Series_correct, dot_exists.
Qed.

(* [mehler-general] every square-summable a and |rho| <= 1 occur in a setting: the hypotheses of mehler_general are satisfiable *)
Theorem mehler_instance (a : nat -> R) : ex_series (fun k => a k ^ 2) ->
  exists phi : l2, setting l2_comb dot l2_unit damp rho a phi.
Proof.
intros sum; exists (exist summable a sum); split.
- exact dot_form.
- intros j k; rewrite dot_unit; simpl; unfold indicator; now rewrite Nat.eqb_sym.
- intros c x y f; unfold dot; rewrite <- Series_scal_l, <- Series_plus;
    [apply Series_ext; intros; simpl; ring | exact (ex_series_scal_l c _ (dot_exists f (damp x))) | exact (dot_exists f (damp y))].
- intros k f; rewrite dot_unit; apply is_series_unique.
  apply is_series_ext with (2 := series_indicator k (rho ^ k * proj1_sig f k)).
  intros n; simpl; unfold indicator; destruct (Nat.eqb_spec n k) as [-> |]; ring.
- intros f; assert (le : forall n, 0 <= Rabs (proj1_sig f n * (rho ^ n * proj1_sig f n)) <= proj1_sig f n * proj1_sig f n).
  { intros n; split; [apply Rabs_pos|]; rewrite Rabs_mult.
    assert (h := damp_le (proj1_sig f n) n); assert (p := Rabs_pos (proj1_sig f n)).
    assert (sq : proj1_sig f n * proj1_sig f n = Rabs (proj1_sig f n) * Rabs (proj1_sig f n)) by exact (Rsqr_abs _).
    rewrite sq; apply Rmult_le_compat_l; assumption. }
  apply Rle_trans with (2 := Series_le _ _ le (dot_exists f f)).
  apply (Series_Rabs (fun n => proj1_sig f n * (rho ^ n * proj1_sig f n))).
  apply (dominated _ _) with (2 := dot_exists f f); intros n; rewrite Rabs_Rabsolu; exact (proj2 (le n)).
- exact (l2_complete (exist summable a sum)).
Qed.
End Sequences.
