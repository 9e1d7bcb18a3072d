"""Pictures of the gap and of the card: curves against closed kernels and quadrature, the files' sizes and sameness."""

import numpy as np
import pytest

from lop_theory.activations.catalogue import from_formula
from lop_theory.gap.analysis import analyse
from lop_theory.gap.kernel import standard_kernel
from lop_theory.gap.plot import _draw_strengths, curves, draw_card, draw_gap, kernel_curve, picture

RHO = np.linspace(-1, 1, 401)
STRENGTH = (np.pi - 2) / (2 * (np.pi - 1))  # λ of relu
NODES = np.linspace(-12, 12, 4801)
WEIGHTS = np.exp(-(NODES**2) / 2) * 0.005 / np.sqrt(2 * np.pi)


def arc_cosine(rho):
    """K of relu."""
    return (np.sqrt(1 - rho**2) + rho * (np.pi - np.arccos(rho)) - 1) / (np.pi - 1)


def strength(phi):
    """1 − (E Zφ)²/Var φ by the trapezoid rule."""
    values = phi(NODES)
    variance = WEIGHTS @ values**2 - (WEIGHTS @ values) ** 2
    return 1 - (WEIGHTS @ (NODES * values)) ** 2 / variance


def axes(*shape):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    return figure.subplots(*shape)


def lines(drawn):
    return {line.get_label(): (np.array(line.get_xdata()), np.array(line.get_ydata())) for line in drawn.get_lines()}


def test_the_curves_of_relu_are_those_of_its_closed_kernel():
    kern = standard_kernel(from_formula("relu(x)").expr)
    rho, gaps, bounds = map(np.array, curves(kern))
    assert rho == pytest.approx(RHO)
    assert gaps == pytest.approx(rho**2 - arc_cosine(rho) ** 2, abs=1e-4)
    assert bounds == pytest.approx(STRENGTH * rho**2 * (1 - rho**2), abs=1e-12)
    places, values = map(np.array, kernel_curve(kern))
    assert places == pytest.approx(RHO)
    assert values == pytest.approx(arc_cosine(RHO), abs=1e-4)


def test_what_is_drawn_of_the_gap():
    drawn = axes()
    draw_gap(drawn, standard_kernel(from_formula("relu(x)").expr), "relu")
    first, second = lines(drawn)
    (_, gaps), (_, bounds) = lines(drawn).values()
    assert (gaps >= bounds - 1e-12).all()
    assert ("gap" in first, "bound" in second) == (True, True)
    assert drawn.get_title() == f"relu, $\\lambda$ = {STRENGTH:.4f}"
    assert drawn.get_xlim() == (-1, 1)
    assert drawn.get_ylim()[0] == 0
    (area,) = drawn.collections
    box = area.get_paths()[0].vertices
    assert box[:, 1].max() == pytest.approx(gaps.max())


def test_what_is_drawn_of_the_card():
    drawn, analysis = axes(2, 2), analyse("tanh(2*x)")
    draw_card(drawn, standard_kernel(analysis.activation.expr), analysis)
    (phi, kernel), (gaps, strengths) = drawn
    ((x, y),) = lines(phi).values()
    assert x == pytest.approx(np.linspace(-4, 4, 401))
    assert y == pytest.approx(np.tanh(2 * x))
    assert phi.get_title() == analysis.activation.label
    assert phi.get_xlim() == (-4, 4)
    (rho, values), (left, right) = lines(kernel).values()
    assert rho == pytest.approx(RHO)
    assert values[[0, 200, -1]] == pytest.approx([-1, 0, 1])
    assert left == pytest.approx(right)
    assert (np.abs(values) <= np.abs(rho) + 1e-12).all()
    assert (kernel.get_xlim(), kernel.get_ylim()) == ((-1, 1), (-1.05, 1.05))
    assert gaps.get_title().startswith("gap and bound")
    (t, scaled), (b, shifted) = lines(strengths).values()
    assert t == pytest.approx(np.arange(-2, 2.25, 0.25))
    assert scaled == pytest.approx([strength(lambda z, a=2.0**k: np.tanh(2 * a * z)) for k in t], abs=1e-6)
    assert b == pytest.approx(np.arange(-3, 3.25, 0.25))
    assert shifted == pytest.approx([strength(lambda z, a=a: np.tanh(2 * (z + a))) for a in b], abs=1e-9)
    assert strengths.get_ylim() == (-0.02, 1.02)
    assert all(part.get_legend() is not None for part in (kernel, gaps, strengths))


def test_points_without_a_strength_are_left_out():
    """exp(a²x²/16) is square-integrable for a < 2 alone, whatever the bias."""
    drawn = axes()
    _draw_strengths(drawn, from_formula("exp(x**2/16) + x").expr)
    (t, scaled), (b, _) = lines(drawn).values()
    assert t == pytest.approx(np.arange(-2, 1, 0.25))
    assert ((scaled > 0) & (scaled < 1)).all()
    assert len(b) == 25


@pytest.mark.parametrize(("card", "size"), [(False, (832, 576)), (True, (1504, 1024))])
def test_a_picture_is_of_its_size_and_the_same_twice(card, size):
    pytest.importorskip("matplotlib")
    analysis = analyse("tanh")
    one, two = (picture(analysis, "png", card=card) for _ in range(2))
    assert one == two
    assert tuple(int.from_bytes(one[k : k + 4], "big") for k in (16, 20)) == size


@pytest.mark.parametrize("kind", ["pdf", "svg"])
def test_a_picture_tells_neither_time_nor_program(kind):
    pytest.importorskip("matplotlib")
    found = picture(analyse("tanh"), kind)
    assert b"CreationDate" not in found
    assert b"Producer" not in found
    assert b"<dc:date>" not in found
    assert found.count(b'id="axes_') == (1 if kind == "svg" else 0)
