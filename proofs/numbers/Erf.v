(* The decorrelation strength of erf, through a sum of Gaussians within 1e-9 of it on [-8, 8].

   gs l x     sum of c exp (- q x^2) over the nodes (c, q): x gs nodes x is the Gauss-Legendre rule with 22 nodes for
              int_0^x exp (- t^2) dt, so that CoqInterval meets elementary functions only
   ds l x     the derivative of x gs l x
   erfS       the surrogate of erf                                                                            *)
From Coq Require Import Reals Lra Lia List.
From Coquelicot Require Import Coquelicot.
From Interval Require Import Tactic.
From lop Require Import Gaussian.
From lop.numbers Require Import Whole Box.
Import ListNotations.
Local Open Scope R_scope.

Fixpoint gs (l : list (R * R)) (x : R) : R := match l with [] => 0 | (c, q) :: l => c * exp (- (x * x) * q) + gs l x end.
Fixpoint ds (l : list (R * R)) (x : R) : R := match l with [] => 0 | (c, q) :: l => c * (1 - 2 * (x * x) * q) * exp (- (x * x) * q) + ds l x end.
Definition unit := 17592186044416.
Definition nodes : list (R * R) := [
  (128669207372 / unit, 143164132 / unit); (297087176156 / unit, 3942293619 / unit);
  (459977040445 / unit, 23464955294 / unit); (613936228884 / unit, 79192387874 / unit);
  (755950362763 / unit, 198007565023 / unit); (883252155265 / unit, 410505007553 / unit);
  (993362981536 / unit, 747845749903 / unit); (1084139371633 / unit, 1238416127680 / unit);
  (1153814350156 / unit, 1904567285464 / unit); (1201031720843 / unit, 2759708670687 / unit);
  (1224872427155 / unit, 3806003566230 / unit); (1224872427155 / unit, 5032869837073 / unit);
  (1201031720843 / unit, 6416427968257 / unit); (1153814350156 / unit, 7919965861848 / unit);
  (1084139371633 / unit, 9495411350576 / unit); (993362981536 / unit, 11085725055612 / unit);
  (883252155265 / unit, 12628054147010 / unit); (755950362763 / unit, 14057427384727 / unit);
  (613936228884 / unit, 15310728334725 / unit); (459977040445 / unit, 16330660946742 / unit);
  (297087176156 / unit, 17069427045879 / unit); (128669207372 / unit, 17491958494894 / unit)].
Lemma gs_derive l x : is_derive (fun x => x * gs l x) x (ds l x).
Proof.
induction l as [|[c q] l IH]; simpl.
- apply (is_derive_ext (fun _ => 0)); [intros; symmetry; apply Rmult_0_r | apply (is_derive_const (V := R_NormedModule))].
- apply (is_derive_ext (fun x => plus (x * (c * exp (- (x * x) * q))) (x * gs l x))); [intros y; symmetry; apply Rmult_plus_distr_l|].
  apply (is_derive_plus (fun x => x * (c * exp (- (x * x) * q)))); [|exact IH].
  auto_derive; [easy | ring].
Qed.
Lemma ds_near x : 0 <= x <= 8 -> Rabs (ds nodes x - exp (- (x * x))) <= 1e-10.
Proof. intros h; unfold nodes, unit; cbn [ds].
  interval with (i_bisect x, i_taylor x, i_degree 12, i_depth 40). Qed.

Definition erf (x : R) : R := 2 / sqrt PI * RInt (fun t => exp (- (t * t))) 0 x.
Definition erfS (x : R) : R := 2 / sqrt PI * (x * gs nodes x).
Lemma bell_cont t : continuous (fun t => exp (- (t * t))) t.
Proof. apply (ex_derive_continuous (fun t => exp (- (t * t)))); auto_derive; easy. Qed.
Lemma bell_int a b : ex_RInt (fun t => exp (- (t * t))) a b.
Proof. apply (ex_RInt_continuous (V := R_CompleteNormedModule)); intros; apply bell_cont. Qed.
Lemma erf_derive x : is_derive erf x (2 / sqrt PI * exp (- (x * x))).
Proof.
apply (is_derive_scal (fun x => RInt (fun t => exp (- (t * t))) 0 x)).
apply (is_derive_RInt (V := R_CompleteNormedModule) (fun t => exp (- (t * t))) _ 0 x); [|apply bell_cont].
exists (mkposreal 1 Rlt_0_1); intros y _; apply (RInt_correct (V := R_CompleteNormedModule)), bell_int.
Qed.
Lemma erf_cont x : continuous erf x.
Proof. apply (ex_derive_continuous erf x); eexists; apply erf_derive. Qed.
Lemma erfS_cont x : continuous erfS x.
Proof.
apply (ex_derive_continuous erfS x); eexists; apply (is_derive_scal (fun x => x * gs nodes x)), gs_derive.
Qed.
Lemma ds_cont l x : continuous (ds l) x.
Proof.
apply (ex_derive_continuous (ds l) x); induction l as [|[c q] l IH]; simpl; [apply ex_derive_const|].
apply (ex_derive_plus (fun x => c * (1 - 2 * (x * x) * q) * exp (- (x * x) * q))); [auto_derive; easy | exact IH].
Qed.
Lemma k_bound : 0 < 2 / sqrt PI <= 1.2.
Proof. split; interval. Qed.

Lemma raw_near x : 0 <= x <= 8 -> Rabs (x * gs nodes x - RInt (fun t => exp (- (t * t))) 0 x) <= 1e-10 * 8.
Proof.
intros h.
assert (i : is_RInt (fun t => minus (ds nodes t) (exp (- (t * t)))) 0 x (minus (minus (x * gs nodes x) (0 * gs nodes 0)) (RInt (fun t => exp (- (t * t))) 0 x))).
{ apply (is_RInt_minus (V := R_NormedModule) (ds nodes)).
  - apply (is_RInt_derive (fun x => x * gs nodes x)); intros; [apply gs_derive | apply ds_cont].
  - apply (RInt_correct (V := R_CompleteNormedModule)), bell_int. }
assert (b : Rabs (minus (minus (x * gs nodes x) (0 * gs nodes 0)) (RInt (fun t => exp (- (t * t))) 0 x)) <= (x - 0) * 1e-10).
{ apply (norm_RInt_le_const _ 0 x _ 1e-10 (proj1 h)) with (2 := i); intros t ht; apply ds_near; lra. }
change (Rabs (x * gs nodes x - 0 * gs nodes 0 - RInt (fun t => exp (- (t * t))) 0 x) <= (x - 0) * 1e-10) in b.
rewrite Rmult_0_l, !Rminus_0_r in b; lra.
Qed.
Lemma erf_odd x : erf (- x) = - erf x.
Proof.
assert (e : RInt (fun t => exp (- (t * t))) 0 (- x) = - RInt (fun t => exp (- (t * t))) 0 x); [|unfold erf; rewrite e; ring].
assert (l := RInt_correct (V := R_CompleteNormedModule) _ _ _ (bell_int (- 0) (- x))).
apply (is_RInt_comp_opp (V := R_NormedModule)) in l; apply (is_RInt_unique (V := R_CompleteNormedModule)) in l.
rewrite Ropp_0 in l; rewrite <- l.
rewrite (RInt_ext _ (fun t => opp (exp (- (t * t))))) by (intros t _; apply (f_equal (fun z => - exp z)); ring).
apply (RInt_opp (V := R_CompleteNormedModule)), bell_int.
Qed.
Lemma gs_even l x : gs l (- x) = gs l x.
Proof. induction l as [|[c q] l IH]; simpl; [easy|]; rewrite IH; do 3 f_equal; ring. Qed.
Lemma erf_near x : Rabs x <= 8 -> Rabs (erfS x - erf x) <= 1e-9.
Proof.
assert (pos : forall x, 0 <= x <= 8 -> Rabs (erfS x - erf x) <= 1e-9).
{ intros y h; unfold erfS, erf; rewrite <- Rmult_minus_distr_l, Rabs_mult; assert (k := k_bound); rewrite (Rabs_pos_eq (2 / sqrt PI)) by lra.
  assert (r := raw_near y h); assert (p := Rabs_pos (y * gs nodes y - RInt (fun t => exp (- (t * t))) 0 y)).
  apply Rle_trans with (1.2 * (1e-10 * 8)); [apply Rmult_le_compat; [lra | exact p | lra | exact r] | lra]. }
intros h; destruct (Rle_lt_dec 0 x) as [x0 | x0]; [apply pos; rewrite Rabs_pos_eq in h; lra|].
rewrite Rabs_left in h by lra; assert (p := pos (- x) ltac:(lra)).
rewrite erf_odd in p; replace (erfS (- x)) with (- erfS x) in p by (unfold erfS; rewrite gs_even; ring).
rewrite <- Rabs_Ropp; replace (- (erfS x - erf x)) with (- erfS x - - erf x) by ring; exact p.
Qed.

(* what holds for the surrogate holds for the activation, up to 3 d *)
Lemma transfer f g d lo hi : (forall x, continuous f x) -> (forall x, continuous g x) -> 0 <= d ->
  (forall x, Rabs x <= 8 -> Rabs (g x - f x) <= d) -> lo <= RInt (wf g) (- 8) 8 <= hi ->
  lo - 3 * d <= RInt (wf f) (- 8) 8 <= hi + 3 * d.
Proof.
intros cf cg d0 near b; assert (i := wf_cont f cf); assert (j := wf_cont g cg).
assert (m := mass_box); assert (k := one_integrable).
assert (e : Rabs (RInt (wf g) (- 8) 8 - RInt (wf f) (- 8) 8) <= d * RInt (wf (fun _ => 1)) (- 8) 8).
{ apply (norm_RInt_le (fun x => minus (wf g x) (wf f x)) (fun x => scal d (wf (fun _ => 1) x)) (- 8) 8); [lra | | |].
  - intros x hx; change (Rabs (g x * w x - f x * w x) <= d * (1 * w x)).
    rewrite <- Rmult_minus_distr_r, Rabs_mult, (Rabs_pos_eq (w x)) by (apply Rlt_le, w_pos).
    assert (n := near x ltac:(apply Rabs_le_between; lra)); assert (p := w_pos x); nra.
  - apply (is_RInt_minus (V := R_NormedModule)); apply (RInt_correct (V := R_CompleteNormedModule)); [apply j | apply i].
  - apply (is_RInt_scal (V := R_NormedModule)), (RInt_correct (V := R_CompleteNormedModule)), k. }
assert (d * RInt (wf (fun _ => 1)) (- 8) 8 <= d * 3) by (apply Rmult_le_compat_l; lra).
apply Rabs_le_between in e; lra.
Qed.

Lemma odd_box (f : R -> R) : (forall x, continuous f x) -> (forall x, f (- x) = - f x) -> RInt (wf f) (- 8) 8 = 0.
Proof.
intros c o; assert (i := wf_cont f c).
assert (l := RInt_correct (V := R_CompleteNormedModule) _ _ _ (i (- (8)) (- - (8)))).
apply (is_RInt_comp_opp (V := R_NormedModule)) in l; apply (is_RInt_unique (V := R_CompleteNormedModule)) in l.
rewrite (RInt_ext _ (wf f)) in l by (intros t _; unfold wf, w; change (- (f (- t) * exp (- (- t * - t) / 2)) = f t * exp (- (t * t) / 2)); rewrite o; replace (- t * - t) with (t * t) by ring; ring).
rewrite Ropp_involutive in l; assert (s := opp_RInt_swap (V := R_CompleteNormedModule) (wf f) 8 (- (8)) (i _ _)).
assert (two : forall u v : R, v = u -> - v = u -> u = 0) by (intros; lra).
exact (two _ _ l s).
Qed.

Lemma erf_bound x : Rabs (erf x) <= 2.
Proof.
assert (b : forall y, 0 <= y -> 0 <= RInt (fun t => exp (- (t * t))) 0 y <= 1.6).
{ intros y y0; split; [apply RInt_ge_0; [exact y0 | apply bell_int | intros; apply Rlt_le, exp_pos]|].
  apply Rle_trans with (atan y - atan 0).
  - apply (is_RInt_le (fun t => exp (- (t * t))) (fun t => / (1 + Rsqr t)) 0 y); [exact y0 | apply (RInt_correct (V := R_CompleteNormedModule)), bell_int | |].
    + apply (is_RInt_derive atan (fun t => / (1 + Rsqr t))); intros t _; [apply is_derive_atan|].
      apply (ex_derive_continuous (fun t => / (1 + Rsqr t))); unfold Rsqr; auto_derive; nra.
    + intros t _; unfold Rsqr; rewrite exp_Ropp; apply Rinv_le_contravar; [nra|].
      assert (h := exp_ineq1_le (t * t)); simpl; nra.
  - rewrite atan_0; assert (h := proj2 (atan_bound y)); assert (PI / 2 <= 1.6) by interval; lra. }
assert (k := k_bound); unfold erf.
assert (pos : forall y, 0 <= y -> 0 <= erf y <= 2).
{ intros y y0; destruct (b y y0); unfold erf; split; [apply Rmult_le_pos; lra | apply Rle_trans with (1.2 * 1.6); [apply Rmult_le_compat; lra | lra]]. }
fold (erf x); destruct (Rle_lt_dec 0 x) as [x0 | x0].
- assert (p := pos x x0); rewrite Rabs_pos_eq; lra.
- assert (p := pos (- x) ltac:(lra)); rewrite erf_odd in p; rewrite Rabs_left1; lra.
Qed.

Lemma erf_linear : linear erf.
Proof. intros x h; assert (b := erf_bound x); lra. Qed.

Lemma erf2_box : 1.164476845 <= RInt (wf (fun x => erf x ^ 2)) (- 8) 8 <= 1.164476877.
Proof.
assert (h : 1.16447686 <= RInt (wf (fun x => erfS x ^ 2)) (- 8) 8 <= 1.164476862).
{ unfold wf, w, erfS, nodes, unit; cbn [gs].
  integral with (i_fuel 2000). }
assert (t := transfer (fun x : R => erf x ^ 2 : R) (fun x : R => erfS x ^ 2 : R) 4.1e-9 1.16447686 1.164476862 (sq_cont _ erf_cont) (sq_cont _ erfS_cont) ltac:(lra)).
enough (1.16447686 - 3 * 4.1e-9 <= RInt (wf (fun x => erf x ^ 2)) (- 8) 8 <= 1.164476862 + 3 * 4.1e-9) by lra.
apply t; [|exact h]; intros x hx; assert (n := erf_near x hx); assert (b := erf_bound x).
replace (erfS x ^ 2 - erf x ^ 2) with ((erfS x - erf x) * ((erfS x - erf x) + 2 * erf x)) by ring; rewrite Rabs_mult.
assert (tri := Rabs_triang (erfS x - erf x) (2 * erf x)); rewrite (Rabs_mult 2), (Rabs_pos_eq 2) in tri by lra.
apply Rle_trans with (1e-9 * 4.1); [apply Rmult_le_compat; try apply Rabs_pos; lra | lra].
Qed.
Lemma xerf_box : 1.632993125 <= RInt (wf (fun x => x * erf x)) (- 8) 8 <= 1.632993195.
Proof.
assert (h : 1.63299315 <= RInt (wf (fun x => x * erfS x)) (- 8) 8 <= 1.63299317).
{ unfold wf, w, erfS, nodes, unit; cbn [gs].
  integral with (i_fuel 300). }
assert (t := transfer (fun x => x * erf x) (fun x => x * erfS x) 8e-9 1.63299315 1.63299317 (x_cont _ erf_cont) (x_cont _ erfS_cont) ltac:(lra)).
enough (1.63299315 - 3 * 8e-9 <= RInt (wf (fun x => x * erf x)) (- 8) 8 <= 1.63299317 + 3 * 8e-9) by lra.
apply t; [|exact h]; intros x hx; assert (n := erf_near x hx); rewrite <- Rmult_minus_distr_l, Rabs_mult.
apply Rle_trans with (8 * 1e-9); [apply Rmult_le_compat; try apply Rabs_pos; lra | lra].
Qed.
Lemma erf_box : 0 <= RInt (wf erf) (- 8) 8 <= 0.
Proof. rewrite (odd_box erf erf_cont erf_odd); lra. Qed.

Lemma erf_arith m e q a : near m 2.5066282741 2.5066282751 -> near e 0 0 -> near q 1.164476845 1.164476877 -> near a 1.632993125 1.632993195 ->
  0.086417 <= 1 - (a / m) ^ 2 / (q / m - (e / m) ^ 2) <= 0.086418.
Proof. unfold near; intros; split; interval. Qed.

(* [strength-numbers] lambda of erf to six digits *)
Theorem strength_erf : strength_in erf 0.086417 0.086418.
Proof. exact (strength_from_boxes erf _ _ _ _ _ _ _ _ erf_cont erf_linear erf_box erf2_box xerf_box erf_arith). Qed.
