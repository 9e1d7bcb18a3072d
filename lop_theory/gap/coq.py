"""A Coq file for an activation: ``check`` of proofs/Certificate.v and ``check_sharp`` of proofs/Kappa.v run on its
certificate, and λ from its integrals.

[gap-certificate] [gap-kappa] Coq's kernel then vouches for every step from the boxes of the Hermite coefficients to the
enclosures of λ and of κ = inf r, r(ρ) = (ρ² − K²)/(ρ²(1 − ρ²)); that the boxes hold the coefficients is certified by
balls.

The second half needs neither: λ to six digits about the improper Gaussian integrals themselves, enclosed by CoqInterval
(proofs/numbers). It takes continuous formulas of linear growth; others are refused by name.
"""

from fractions import Fraction
from itertools import pairwise
from math import ceil, exp, floor

from lop_theory.activations.expression import Expr
from lop_theory.activations.piecewise import breakpoints
from lop_theory.activations.real_balls import real_function
from lop_theory.balls import arb
from lop_theory.errors import InvalidInput
from lop_theory.gap.analysis import Analysis
from lop_theory.gap.certificate import CELLS, Certificate
from lop_theory.gap.coq_formula import Chain, Node, coq_text, core, required_growth, translate
from lop_theory.gap.enclosure import tangent

HEAD = """(* Gap certificate of {label}, written by `python -m lop_theory.gap`.

   Coq checks it after `make proofs`:   coqc -R proofs lop THIS_FILE

   boxes of a_1, a_2, ... in units of 10^-{decimals}: that they hold the Hermite coefficients of the standardised
   activation is certified by balls, outside Coq; what follows from them is proved here.                         *)
From Coq Require Import Reals ZArith List.
From lop Require Import Gap Certificate.
Import ListNotations.
Local Open Scope Z_scope.

Definition numbers : certificate := Certificate {unit} {cells}
  [{boxes}]
  ({low}, {high})
  [{slack}]
  {kappa}.

Lemma accepted : check numbers = true.
Proof. vm_cast_no_check (eq_refl true). Qed.

(* lambda lies in its interval, and kappa / unit bounds (rho^2 - K^2) / (rho^2 (1 - rho^2)) from below *)
Theorem certified : forall a : nat -> R, standardised a -> encloses numbers a ->
  (IZR (fst (lambda numbers)) <= IZR (unit numbers) * decorr a <= IZR (snd (lambda numbers)))%R
  /\\ forall rho : R, (0 < Rabs rho < 1)%R -> (IZR (Certificate.kappa numbers) / IZR (unit numbers) <= ratio a rho)%R.
Proof. exact (fun a => certificate_holds numbers a accepted). Qed.
Print Assumptions certified.

(* some activation has its coefficients in the boxes, so neither theorem is empty *)
Theorem possible : exists a : nat -> R, standardised a /\\ encloses numbers a.
Proof. exact (certificate_possible numbers accepted). Qed.

(* kappa, the infimum of r, from both sides: one tangent and one witness on a grid (Kappa.v) *)
From lop Require Import Kappa.
Definition sharp_numbers : sharp := Sharp numbers
  {grid}
  {place}
  {witness}
  {below} {above}.

Lemma sharp_accepted : check_sharp sharp_numbers = true.
Proof. vm_cast_no_check (eq_refl true). Qed.

(* below <= kappa * unit <= above *)
Theorem kappa_enclosed : forall a : nat -> R, standardised a -> encloses numbers a ->
  exists kappa : R, is_inf (values a) kappa
  /\\ (IZR (below sharp_numbers) <= IZR (unit numbers) * kappa <= IZR (above sharp_numbers))%R.
Proof. exact (fun a => sharp_holds sharp_numbers a sharp_accepted). Qed.
Print Assumptions kappa_enclosed.
"""


STRENGTH = """
(* ---- lambda from the Gaussian integrals themselves ----

   This half needs Debian's libcoq-interval and `make proofs-numbers`.                                            *)
From Coquelicot Require Import Coquelicot.
From Interval Require Import Tactic.
From Coq Require Import Lra.
From lop Require Import Gaussian.
From lop.numbers Require Import Whole Box Formula.
From lop.numbers Require Tanh.
Local Open Scope R_scope.

Definition activation (x : R) : R := {text}.
{chain}
Lemma same x : activation x = {last} x.
Proof. unfold activation; rewrite ?Tanh.tanh_form; reflexivity. Qed.
Ltac enclose := unfold wf, w, {names}, relu, sigmoid, softplus, hyperbolic; integral with (i_fuel 2000).
Lemma mean_box : {e} <= RInt (wf {last}) (- 8) 8 <= {e_}.
Proof. enclose. Qed.
Lemma square_box : {q} <= RInt (wf (fun x => {last} x ^ 2)) (- 8) 8 <= {q_}.
Proof. enclose. Qed.
Lemma slope_box : {a} <= RInt (wf (fun x => x * {last} x)) (- 8) 8 <= {a_}.
Proof. enclose. Qed.
Lemma arithmetic m e q a : near m 2.5066282741 2.5066282751 -> near e {e} {e_} -> near q {q} {q_} -> near a {a} {a_} ->
  {lo} <= 1 - (a / m) ^ 2 / (q / m - (e / m) ^ 2) <= {hi}.
Proof. unfold near; intros; split; interval. Qed.

(* the integrals exist, and lambda = 1 - (E Z phi)^2 / (E phi^2 - (E phi)^2) lies between these decimals *)
Theorem strength_between : strength_in activation {lo} {hi}.
Proof.
apply (strength_same activation {last} _ _ same).
exact (strength_from_boxes {last} _ _ _ _ _ _ _ _ {smooth} {linear} mean_box square_box slope_box arithmetic).
Qed.
Print Assumptions strength_between.
"""
DECIMALS = 10
ROOM = 30  # units of 10^-DECIMALS on both sides of an integral: what CoqInterval reaches in seconds


def script(analysis: Analysis) -> str:
    """Both halves: the certificate, and λ from its integrals. Raises ``InvalidInput`` as its parts do."""
    return certificate_script(analysis) + strength(analysis.activation.expr)


def certificate_script(analysis: Analysis) -> str:
    """The first half, for any activation. Raises ``InvalidInput`` if ``analysis.verdict`` does not hold."""
    label = analysis.activation.label
    if not analysis.verdict:
        raise InvalidInput("coq", label, "is not certified", "see what the command prints without --coq")
    return _certificate(analysis.certificate, label)


def require_expressible(expr: Expr) -> None:
    """Raises ``InvalidInput`` that names what keeps λ from being proved by its integrals."""
    _chained(expr)


def _chained(expr: Expr) -> tuple[Expr, Chain, Node, str]:
    plain, chain = core(expr), Chain(expr)
    last = translate(plain, chain)
    return plain, chain, last, required_growth(last, chain)


def strength(expr: Expr) -> str:
    """The second half: continuity, growth, three integrals, and what follows for λ."""
    plain, chain, last, linear = _chained(expr)
    boxes = [_box(value) for value in _integrals(expr)]
    low, high = _enclosure(boxes)
    named = dict(zip(("e", "e_", "q", "q_", "a", "a_"), (decimal(end) for box in boxes for end in box), strict=True))
    return STRENGTH.format(
        text=coq_text(plain),
        chain="\n".join(chain.lines),
        names=", ".join(chain.names),
        last=f"e{last.place}",
        smooth=last.smooth,
        linear=linear,
        lo=decimal(low),
        hi=decimal(high),
        **named,
    )


def decimal(value: Fraction) -> str:
    """A decimal number of Coq's reals."""
    text = f"{abs(value.numerator) * 10**DECIMALS // value.denominator:0{DECIMALS + 1}d}"
    shown = f"{text[:-DECIMALS]}.{text[-DECIMALS:]}"
    return f"(- {shown})" if value < 0 else shown


def _integrals(expr: Expr) -> list[float]:
    """∫ φw, ∫ φ²w and ∫ xφw on [−8, 8], w = exp(−x²/2): guesses, which Coq then encloses."""
    value, kinks = real_function(expr), [float(k.p) / float(k.q) for k in breakpoints(expr)]
    ends = sorted({i / 4 for i in range(-32, 33)} | {k for k in kinks if -8 < k < 8})
    total = [0.0, 0.0, 0.0]
    nodes = [arb.legendre_p_root(16, i, weight=True) for i in range(16)]
    for a, b in pairwise(ends):
        for node, weight in nodes:
            x = (a + b) / 2 + (b - a) / 2 * float(node)
            mass, y = (b - a) / 2 * float(weight) * exp(-x * x / 2), float(value(arb(x)))
            total = [total[0] + y * mass, total[1] + y * y * mass, total[2] + x * y * mass]
    return total


def _box(value: float) -> tuple[Fraction, Fraction]:
    room = Fraction(ROOM * max(1, ceil(abs(value))), 10**DECIMALS)
    middle = Fraction(round(value * 10**DECIMALS), 10**DECIMALS)
    return middle - room, middle + room


def _enclosure(boxes: list[tuple[Fraction, Fraction]]) -> tuple[Fraction, Fraction]:
    """λ from the boxes, by interval arithmetic, rounded outwards to six decimals."""
    tail, mass = Fraction(1, 10**11), (Fraction("2.5066282741"), Fraction("2.5066282751"))
    m = (mass[0] - tail, mass[1] + tail)
    e, q, a = ((lo - tail, hi + tail) for lo, hi in boxes)
    squares = [_square((min(v[0] / m[0], v[0] / m[1]), max(v[1] / m[0], v[1] / m[1]))) for v in (e, a)]
    variance = (q[0] / m[1] - squares[0][1], q[1] / m[0] - squares[0][0])
    low, high = 1 - squares[1][1] / variance[0], 1 - squares[1][0] / variance[1]
    return Fraction(floor(low * 10**6 - Fraction(1, 100)), 10**6), Fraction(
        ceil(high * 10**6 + Fraction(1, 100)), 10**6
    )


def _square(v: tuple[Fraction, Fraction]) -> tuple[Fraction, Fraction]:
    ends = (v[0] * v[0], v[1] * v[1])
    return (Fraction(0) if v[0] <= 0 <= v[1] else min(ends)), max(ends)


def _certificate(found: Certificate, label: str) -> str:
    sharp = tangent(found)
    return HEAD.format(
        label=_comment(label),
        decimals=found.decimals,
        unit=10**found.decimals,
        cells=CELLS,
        boxes=";\n   ".join(f"({lo}, {hi})" for lo, hi in found.coefficients[1:]),
        low=found.strength[0],
        high=found.strength[1],
        slack="; ".join(map(str, found.slack)),
        kappa=found.kappa_floor,
        grid=sharp.grid,
        place=sharp.place,
        witness=sharp.witness,
        below=sharp.low,
        above=sharp.high,
    )


def _comment(text: str) -> str:
    """``text`` where it cannot end or open a comment or a string of Coq."""
    return text.replace("(*", "( *").replace("*)", "* )").replace('"', "'")
