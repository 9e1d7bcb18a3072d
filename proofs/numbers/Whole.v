(* Improper Gaussian integrals: existence, an enclosure from a finite integral and a tail bound, and the strength.

   whole f              int_{-oo}^{oo} f w, w = exp (- x^2 / 2); has_whole f l: it exists and is l
   growth f C A         |f x| <= C |x|^3 for |x| >= A;  tail C A bounds what [-A, A] leaves out
   strength f           lambda = 1 - (E Z f)^2 / (E f^2 - (E f)^2), of the standardised f
   strength_in f lo hi  the four integrals exist and lo <= strength f <= hi                          *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From lop Require Import Gaussian.
Local Open Scope R_scope.

Definition wf (f : R -> R) (x : R) : R := f x * w x.
(* int_{-oo}^{oo} f w, an improper Riemann integral of Coquelicot *)
Definition has_whole (f : R -> R) (l : R) := is_RInt_gen (wf f) (Rbar_locally m_infty) (Rbar_locally p_infty) l.
Definition whole (f : R -> R) : R := RInt_gen (wf f) (Rbar_locally m_infty) (Rbar_locally p_infty).

Definition integrable (f : R -> R) := forall a b, ex_RInt (wf f) a b.
Definition growth (f : R -> R) C A := 0 <= C /\ 0 <= A /\ forall x, A <= Rabs x -> Rabs (f x) <= C * Rabs x ^ 3.
Definition tail C A := C * ((A * A + 2) * w A).

Lemma wf_cont f : (forall x, continuous f x) -> integrable f.
Proof.
intros c a b; apply (ex_RInt_continuous (V := R_CompleteNormedModule)); intros x _.
apply (continuous_mult f w); [apply c | apply w_cont].
Qed.

Lemma w_even x : w (- x) = w x.
Proof. unfold w; f_equal; field. Qed.

Lemma cubic_int a b : is_RInt (fun x => x ^ 3 * w x) a b ((a * a + 2) * w a - (b * b + 2) * w b).
Proof.
replace ((a * a + 2) * w a - (b * b + 2) * w b) with (minus (- ((b * b + 2) * w b)) (- ((a * a + 2) * w a)))
  by (unfold minus, plus, opp; simpl; ring).
apply (is_RInt_derive (fun x => - ((x * x + 2) * w x)) (fun x => x ^ 3 * w x)).
- intros x _; unfold w; auto_derive; [easy|]; unfold Rdiv; simpl; field.
- intros x _; apply mono_cont.
Qed.

Lemma tail_pos C x : 0 <= C -> 0 <= C * ((x * x + 2) * w x).
Proof. intros; assert (h := w_pos x); assert (0 <= (x * x + 2) * w x) by (apply Rmult_le_pos; nra); nra. Qed.

Lemma tail_right f C A a b : integrable f -> growth f C A -> A <= a -> a <= b -> Rabs (RInt (wf f) a b) <= tail C a.
Proof.
intros i (C0 & A0 & g) Aa ab.
assert (cub := is_RInt_scal _ _ _ C _ (cubic_int a b)).
apply Rle_trans with (C * ((a * a + 2) * w a - (b * b + 2) * w b)).
- apply (norm_RInt_le (wf f) (fun x => scal C (x ^ 3 * w x)) a b _ _ ab) with (3 := cub).
  + intros x [ax xb]; unfold wf; change (Rabs (f x * w x) <= C * (x ^ 3 * w x)); rewrite Rabs_mult, (Rabs_pos_eq (w x)) by (apply Rlt_le, w_pos).
    assert (h := g x); rewrite (Rabs_pos_eq x) in h by lra; assert (p := w_pos x); specialize (h ltac:(lra)); nra.
  + apply (RInt_correct (V := R_CompleteNormedModule)), i.
- unfold tail; assert (h := tail_pos C b C0); nra.
Qed.

Lemma tail_left f C A a b : integrable f -> growth f C A -> b <= - A -> a <= b -> Rabs (RInt (wf f) a b) <= tail C b.
Proof.
intros i (C0 & A0 & g) bA ab.
assert (cub := is_RInt_scal _ _ _ (- C) _ (cubic_int a b)).
apply Rle_trans with (- C * ((a * a + 2) * w a - (b * b + 2) * w b)).
- apply (norm_RInt_le (wf f) (fun x => scal (- C) (x ^ 3 * w x)) a b _ _ ab) with (3 := cub).
  + intros x [ax xb]; unfold wf; change (Rabs (f x * w x) <= - C * (x ^ 3 * w x)); rewrite Rabs_mult, (Rabs_pos_eq (w x)) by (apply Rlt_le, w_pos).
    assert (h := g x); rewrite (Rabs_left1 x) in h by lra; assert (p := w_pos x); specialize (h ltac:(lra)); simpl in *; nra.
  + apply (RInt_correct (V := R_CompleteNormedModule)), i.
- unfold tail; assert (h := tail_pos C a C0); nra.
Qed.

(* the finite integral on [a, b] beyond [-A, A] *)
Lemma outside f C A a b : integrable f -> growth f C A -> a <= - A -> A <= b ->
  Rabs (RInt (wf f) a b - RInt (wf f) (- A) A) <= 2 * tail C A.
Proof.
intros i g aA Ab; assert (A0 := proj1 (proj2 g)).
rewrite <- (RInt_Chasles (V := R_CompleteNormedModule) (wf f) a (- A) b) by apply i.
rewrite <- (RInt_Chasles (V := R_CompleteNormedModule) (wf f) (- A) A b) by apply i.
unfold plus; simpl.
assert (l := tail_left f C A a (- A) i g (Rle_refl _) aA); assert (r := tail_right f C A A b i g (Rle_refl _) Ab).
unfold tail in *; rewrite w_even in l; replace (- A * - A) with (A * A) in l by ring.
apply Rabs_le_between in l; apply Rabs_le_between in r; apply Rabs_le_between; lra.
Qed.

Lemma tail_vanishes C : is_lim (fun A => tail C A) p_infty 0.
Proof.
assert (b : forall T, 1 <= T -> Rabs (tail C T) <= (3 * Rabs C * (2 * INR 3) ^ 3) / T).
{ intros T T1; assert (h := pow_w_bounded 2 T T1); assert (p := w_pos T); unfold tail.
  rewrite Rabs_mult, (Rabs_pos_eq ((T * T + 2) * w T)) by nra.
  apply (proj1 (Rle_div_r _ _ T (Rlt_le_trans _ _ _ Rlt_0_1 T1))).
  assert (((T * T + 2) * w T) * T <= 3 * (T ^ 3 * w T)).
  { assert (T * w T <= T ^ 3 * w T) by (apply Rmult_le_compat_r; [lra | simpl; nra]). simpl in *; nra. }
  assert (q := Rabs_pos C); apply Rle_trans with (Rabs C * (3 * (T ^ 3 * w T))); [nra|].
  replace (3 * Rabs C * (2 * INR 3) ^ 3) with (Rabs C * (3 * (2 * INR 3) ^ 3)) by ring.
  apply Rmult_le_compat_l; [exact q|lra]. }
apply (is_lim_le_le_loc (fun T => - ((3 * Rabs C * (2 * INR 3) ^ 3) / T)) (fun T => (3 * Rabs C * (2 * INR 3) ^ 3) / T)).
- exists 1; intros T T1; apply Rabs_le_between; apply b; lra.
- replace (Finite 0) with (Rbar_opp 0) by (simpl; f_equal; ring); apply is_lim_opp, inverse_vanishes.
- apply inverse_vanishes.
Qed.

Lemma growth_up f C A B : growth f C A -> A <= B -> growth f C B.
Proof. intros (c & a & g) le; split; [easy|]; split; [lra|]; intros x Bx; apply g; lra. Qed.

Theorem whole_exists f C A : integrable f -> growth f C A -> exists l, has_whole f l.
Proof.
intros i g.
set (F := filter_prod (Rbar_locally m_infty) (Rbar_locally p_infty)).
assert (PF : ProperFilter F) by (apply filter_prod_proper).
destruct (proj1 (filterlim_locally_cauchy (U := R_CompleteNormedModule) (F := F) (fun ab => RInt (wf f) (fst ab) (snd ab)))) as [l Hl].
- intros eps.
  assert (lim := tail_vanishes C); apply is_lim_spec in lim; specialize (lim (mkposreal (eps / 8) ltac:(assert (h := cond_pos eps); simpl in *; lra))).
  destruct lim as [M HM]; set (B := Rmax (M + 1) A).
  assert (BA : A <= B) by apply Rmax_r; assert (BM : M + 1 <= B) by apply Rmax_l.
  specialize (HM B ltac:(lra)); rewrite Rminus_0_r in HM; simpl in HM; apply Rabs_lt_between in HM.
  assert (gB := growth_up _ _ _ _ g BA).
  exists (fun ab => fst ab <= - B /\ B <= snd ab); split.
  + apply (Filter_prod _ _ _ (fun a => a <= - B) (fun b => B <= b)); [exists (- B); intros; lra | exists B; intros; lra | easy].
  + intros [a b] [a' b'] [ha hb] [ha' hb']; simpl in *.
    assert (o := outside f C B a b i gB ha hb); assert (o' := outside f C B a' b' i gB ha' hb').
    apply Rabs_le_between in o; apply Rabs_le_between in o'.
    change (Rabs (RInt (wf f) a' b' - RInt (wf f) a b) < eps); assert (e := cond_pos eps); apply Rabs_lt_between; lra.
- exists l; unfold has_whole, is_RInt_gen, filterlimi, filter_le; intros P HP; specialize (Hl P HP).
  unfold filtermap, filtermapi in *; revert Hl; apply filter_imp; intros [a b] h; exists (RInt (wf f) a b); split; [|exact h].
  apply (RInt_correct (V := R_CompleteNormedModule)), i.
Qed.

Lemma whole_value f l : has_whole f l -> whole f = l.
Proof. intros h; apply is_RInt_gen_unique; exact h. Qed.

Theorem whole_enclosure f C A lo hi : integrable f -> growth f C A -> lo <= RInt (wf f) (- A) A <= hi ->
  has_whole f (whole f) /\ lo - 2 * tail C A <= whole f <= hi + 2 * tail C A.
Proof.
intros i g lh; destruct (whole_exists f C A i g) as [v hv].
assert (e := whole_value f v hv); rewrite e; split; [exact hv|].
set (I := RInt (wf f) (- A) A) in *; set (t := tail C A).
assert (near : forall eps : posreal, Rabs (v - I) <= 2 * t + eps).
{ intros eps; specialize (hv (ball v eps) (locally_ball v eps)); unfold filtermapi in hv.
  destruct hv as [P Q HP HQ H]; destruct HP as [a0 HP], HQ as [b0 HQ].
  specialize (H (Rmin (a0 - 1) (- A)) (Rmax (b0 + 1) A)).
  destruct H as [y [hy by_]].
  - apply HP; assert (h1 := Rmin_l (a0 - 1) (- A)); lra.
  - apply HQ; assert (h1 := Rmax_l (b0 + 1) A); lra.
  - simpl in hy; assert (o := outside f C A _ _ i g (Rmin_r (a0 - 1) (- A)) (Rmax_r (b0 + 1) A)).
    rewrite (is_RInt_unique _ _ _ _ hy) in o; fold I t in o.
    change (Rabs (y - v) < eps) in by_; apply Rabs_lt_between in by_; apply Rabs_le_between in o; apply Rabs_le_between; lra. }
assert (Rabs (v - I) <= 2 * t).
{ apply le_epsilon; intros eps e0; exact (near (mkposreal eps e0)). }
apply Rabs_le_between in H; lra.
Qed.

(* ---- The decorrelation strength of an activation ---- *)
Definition mean (f : R -> R) := whole f / whole (fun _ => 1).
Definition variance (f : R -> R) := mean (fun x => f x ^ 2) - mean f ^ 2.
Definition strength (f : R -> R) := 1 - mean (fun x => x * f x) ^ 2 / variance f.
Definition strength_in (f : R -> R) (lo hi : R) :=
  (has_whole (fun _ => 1) (whole (fun _ => 1)) /\ has_whole f (whole f)
   /\ has_whole (fun x => f x ^ 2) (whole (fun x => f x ^ 2)) /\ has_whole (fun x => x * f x) (whole (fun x => x * f x)))
  /\ lo <= strength f <= hi.

(* ---- The improper integral is the mean of Gaussian.v ---- *)
Lemma whole_lim f l : has_whole f l -> is_lim (fun T => RInt (wf f) (- T) T) p_infty l.
Proof.
intros h P HP; specialize (h P HP); unfold filtermapi in h; destruct h as [Q1 Q2 [a0 H1] [b0 H2] H].
exists (Rmax (- a0) b0); intros T hT; assert (m1 := Rmax_l (- a0) b0); assert (m2 := Rmax_r (- a0) b0).
assert (x1 : - T < a0) by lra; assert (x2 : b0 < T) by lra.
destruct (H (- T) T (H1 _ x1) (H2 _ x2)) as [y [iy py]]; simpl in iy.
rewrite (is_RInt_unique (V := R_CompleteNormedModule) _ _ _ _ iy); exact py.
Qed.
(* [strength-numbers] an improper integral divided by that of 1 is the Gaussian mean of Gaussian.v *)
Theorem whole_gauss_mean f l m : has_whole f l -> has_whole (fun _ => 1) m -> m <> 0 -> gauss_mean f (l / m).
Proof.
intros hf h1 m0; assert (a := whole_lim f l hf); assert (b := whole_lim _ m h1).
assert (b' : is_lim mass p_infty m).
{ revert b; apply is_lim_ext; intros T; unfold mass; apply RInt_ext; intros x _; apply Rmult_1_l. }
unfold gauss_mean; apply (is_lim_div (fun T => RInt (wf f) (- T) T) mass p_infty l m a b'); [intros e; injection e; exact m0 | exact I].
Qed.
