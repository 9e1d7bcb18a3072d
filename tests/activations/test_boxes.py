"""Complex boxes: finite exactly where the function is analytic on the whole box, and then right all over it."""

import mpmath as mp
import pytest

from lop_theory.activations.complex_boxes import complex_function
from lop_theory.activations.expression import Expr, X, call, num
from lop_theory.activations.formula import parse
from lop_theory.balls import acb, arb, fmpq, precision, within

POWERS = {"cube root": fmpq(1, 3), "square": fmpq(2), "inverse": fmpq(-1), "inverse root": fmpq(-1, 2)}
RIGHT = {
    "log": mp.log, "sqrt": mp.sqrt, "atan": mp.atan, "asinh": mp.asinh, "sigmoid": lambda z: 1 / (1 + mp.exp(-z)),
    "softplus": lambda z: mp.log(1 + mp.exp(z)), "cube root": lambda z: z ** (mp.mpf(1) / 3), "square": lambda z: z * z,
    "inverse": lambda z: 1 / z, "inverse root": lambda z: 1 / mp.sqrt(z), "tanh": mp.tanh, "tan": mp.tan, "erf": mp.erf,
    "sinh": mp.sinh, "cosh": mp.cosh, "exp": mp.exp, "sin": mp.sin, "cos": mp.cos,
    "abs": lambda z: z if z.real > 0 else -z, "relu": lambda z: z if z.real > 0 else 0,
    "sign": lambda z: 1 if z.real > 0 else -1, "step": lambda z: 1 if z.real > 0 else 0,
}  # fmt: skip
ON_THE_CUT = [(-1, 0), (-3, 0.05), (0, 0), (-2, -0.05)]
OFF_THE_CUT = [(1, 0), (3, -2), (0.2, 0.2), (-1, 0.5), (-1, -0.5), (0, 2), (0, -2)]
BRANCHES = [(0, 2), (0, -2), (0.05, 1.5), (-0.05, -3)]
BESIDE = [(0, 0), (0, 0.5), (0, -0.5), (1, 2), (-1, 2), (2, -3), (-2, -3), (0.3, 4), (-0.3, 4)]
CASES = [
    *((name, OFF_THE_CUT, ON_THE_CUT) for name in ("log", "sqrt", "cube root", "inverse root")),
    *((name, BESIDE, BRANCHES) for name in ("atan", "asinh")),
    *((name, [(1, 0), (-1, 3), (2, -1)], [(0, 0), (0.05, 4), (-0.05, 1)]) for name in ("abs", "relu", "sign", "step")),
    ("sigmoid", [(0, 0), (5, 1), (-5, 1), (30, 3), (-30, 3), (0, 2)], [(0, 3.15), (0.05, -3.1)]),
    ("softplus", [(0, 0), (5, 1), (-5, 1), (30, 2), (-30, 2), (0, 2)], [(0, 3.15), (0.05, -3.1)]),
    ("inverse", [(1, 0), (-1, 0), (0, 1)], [(0, 0), (0.05, 0.05)]),
    ("square", [(0, 0), (-2, 1)], []),
    *((name, [(0, 0), (1, 1), (-2, 0.5)], []) for name in ("sinh", "cosh", "exp", "sin", "cos", "erf")),
    ("tanh", [(0, 0), (2, 1), (-2, 1.5)], [(0, 1.57)]),
    ("tan", [(0, 0), (1, 2), (1.5, -1.5)], [(1.57, 0)]),
]


def on_box(name, at, half=0.1):
    expr = Expr("pow", (X,), POWERS[name]) if name in POWERS else call(name, X)
    with precision(80):
        ball = within(arb(half))
        return complex_function(expr)(acb(arb(at[0]) + ball, arb(at[1]) + ball))


@pytest.mark.parametrize(("name", "inside", "outside"), CASES, ids=[case[0] for case in CASES])
def test_boxes_are_finite_where_the_function_is_analytic_and_hold_its_values(name, inside, outside):
    for at in inside:
        found = on_box(name, at)
        assert found.is_finite(), at
        for dx, dy in [(0, 0), (0.1, 0.1), (-0.1, 0.1), (0.1, -0.1), (-0.1, -0.1), (0.03, -0.07)]:
            z = mp.mpc(at[0] + dx * 0.999, at[1] + dy * 0.999)
            value = mp.mpc(RIGHT[name](z))
            for part, exact in ((found.real, value.real), (found.imag, value.imag)):
                assert abs(float(part.mid()) - exact) <= float(part.rad()) + 1e-12 * (1 + abs(exact)), at
        size = 1 + abs(RIGHT[name](mp.mpc(*at)))
        assert float(found.abs_upper()) < 10 * size, "useless"
    for at in outside:
        assert not on_box(name, at).is_finite(), at


@pytest.mark.parametrize(("name", "left", "right"), [("max", "1", "x"), ("min", "x", "1")])
def test_the_larger_and_the_smaller_have_two_branches(name, left, right):
    expr = call(name, X, num(1))
    with precision(80):
        phi = complex_function(expr)
        below, above = phi(acb(arb(0), within(arb(0.5)))), phi(acb(arb(3), within(arb(0.5))))
        assert not phi(acb(arb(1) + within(arb(0.1)), arb(0))).is_finite()
    values = {"1": (1, 1), "x": (0, 3)}
    assert below.real.contains(values[left][0])
    assert above.real.contains(values[right][1])
    assert [float(z.imag.rad()) > 0.4 for z in (below, above)] == [left == "x", right == "x"]


@pytest.mark.parametrize("centre", [0, 1, -2])
def test_the_mean_value_form_keeps_off_the_cut_where_plain_arithmetic_meets_it(centre):
    """u = eᵗ − t − 1/2 ≥ 1/2, t = x − centre, of which plain arithmetic on |t| ≤ 1/2 sees [e^(−1/2) − 1, …]."""
    expr = parse(f"sqrt(exp(x - ({centre})) - (x - ({centre})) - 1/2)")
    with precision(80):
        found = complex_function(expr)(acb(arb(centre) + within(arb(0.5)), arb(0)))
        assert found.is_finite()
        for t in (-0.5, -0.2, 0, 0.1, 0.5):
            assert found.real.contains(arb(mp.nstr(mp.sqrt(mp.exp(t) - t - 0.5), 20)))
        assert float(found.abs_upper()) < 1


@pytest.mark.parametrize("radius", [0.01, 0.3])
def test_sums_of_powers_are_taken_at_the_middle(radius):
    """x² − 2x + 1 on 1 ± r lies in [0, r²] to a factor, and x³ − x about 2 in 6 ± 11r and a little."""
    with precision(80):
        box = acb(arb(1) + within(arb(radius)), arb(0))
        assert float(complex_function(parse("x**2 - 2*x + 1"))(box).abs_upper()) <= 1.01 * radius**2
        found = complex_function(parse("x**3 - x"))(box + 1)
        assert found.real.contains(6)
        assert found.real.contains(arb((2 + radius) ** 3 - (2 + radius)))
        assert found.real.contains(arb((2 - radius) ** 3 - (2 - radius)))
        assert float(found.real.rad()) <= 11 * radius + 6 * radius**2 + radius**3 + 1e-6


def test_points_of_the_imaginary_axis():
    """Neither to the left nor to the right."""
    with precision(80):
        for name, right in (("asinh", mp.asinh), ("atan", mp.atan), ("sigmoid", lambda z: 1 / (1 + mp.exp(-z)))):
            found = complex_function(call(name, X))(acb(0, 0.5))
            assert complex(float(found.real), float(found.imag)) == pytest.approx(complex(right(0.5j)), abs=1e-15)


@pytest.mark.parametrize(("text", "function"), [("sqrt(2 + sin(x))", lambda z: mp.sqrt(2 + mp.sin(z))),
                                                ("log(3 + exp(x))", lambda z: mp.log(3 + mp.exp(z)))])  # fmt: skip
def test_off_the_cut_plain_arithmetic_serves(text, function):
    with precision(80):
        found = complex_function(parse(text))(acb(arb(1, 0.01), arb(0.25, 0.01)))
        right = function(mp.mpc(1, 0.25))
        assert found.real.contains(arb(mp.nstr(right.real, 20)))
        assert found.imag.contains(arb(mp.nstr(right.imag, 20)))
        assert float(found.real.rad()) < 0.02
        assert float(found.imag.rad()) < 0.1
