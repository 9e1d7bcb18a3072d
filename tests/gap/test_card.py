"""``--card``: one page, every number an enclosure."""

import json

import numpy as np
import pytest

from lop_theory.activations.catalogue import CATALOGUE, activation
from lop_theory.balls import fmpq
from lop_theory.gap.__main__ import main
from lop_theory.gap.analysis import analyse
from lop_theory.gap.card import Course, card_of
from lop_theory.gap.card_lines import _course_json, _told, card_block, card_json
from lop_theory.tension.course import Segment

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(120)
WEIGHTS = WEIGHTS / np.sqrt(2 * np.pi)


def _printed(capsys, *arguments):
    assert main([*arguments]) == 0
    return capsys.readouterr().out


def test_the_page_of_gelu(capsys):
    lines = {line[:15].strip(): line[16:] for line in _printed(capsys, "--act", "gelu", "--card").splitlines()}
    for name in ("lambda", "kappa", "K(-1)", "E phi", "E phi^2", "gain", "chi", "tends to", "K'(1)", "frozen"):
        low, high = map(float, lines[name][1 : lines[name].index("]")].split(", "))
        assert low <= high <= low + 1e-8, name
    assert "chaos" in lines["chi"]
    assert "attracting" in lines["K(0) = 0"]
    assert "repelling" in lines["K(1) = 1"]
    assert "rises to 1.678185, falls to 4" in lines["phi(a x)"]
    assert "rises to -1.683764, falls to 3" in lines["phi(x + b)"]


@pytest.mark.parametrize("name", ["relu", "tanh", "square", "identity", "sign"])
def test_numbers_of_the_json_enclose_the_truth(capsys, name):
    data = json.loads(_printed(capsys, "--act", name, "--card", "--json"))
    card, act = data["card"], activation(name)
    values = act.numpy()(NODES)
    tolerance = 3e-3 if act.kinks() else 1e-9  # Gauss–Hermite converges slowly over a kink
    expected = {"mean": WEIGHTS @ values, "mean_square": WEIGHTS @ values**2}
    for key, truth in expected.items():
        assert float(card[key]["lower"]) - tolerance <= truth <= float(card[key]["upper"]) + tolerance
    assert float(card["gain"]["lower"]) == pytest.approx(float(card["mean_square"]["lower"]) ** -0.5, rel=1e-12)
    slope = float(card["slope_at_one"]["upper"])
    assert [p["at"] for p in card["fixed_points"]] == {"identity": []}.get(
        name, [-1, 0, 1] if act.parity() == "odd" else [0, 1]
    )
    for point in card["fixed_points"]:
        rate = {0: float(data["a1_squared"]["upper"])}.get(point["at"], slope)
        assert float(point["rate"]["upper"]) == rate
        assert point["nature"] == ("attracting" if rate < 1 else "repelling")
    grid = np.linspace(-6, 6, 60_001)
    deviation = np.sqrt(WEIGHTS @ values**2 - (WEIGHTS @ values) ** 2)
    density = np.exp(-(grid**2) / 2)
    frozen = density[np.abs(act.derivative_numpy()(grid)) < 0.01 * deviation].sum() / density.sum()
    assert float(card["frozen"]["lower"]) == pytest.approx(frozen, abs=1e-3)


def test_a_card_of_every_activation_says_what_it_knows():
    for name in ("step", "hardshrink", "hermite", "abs"):
        assert name in CATALOGUE
        card = card_of(analyse(name))
        text = card_block(card)
        assert "nan" not in text
        assert "lambda" in text
        assert json.loads(json.dumps(card_json(card)))["card"]["phase"] in ("order", "edge", "chaos", "undecided")
        for course in (card.scale, card.bias):
            assert course.segments or course.reason


def test_what_lambda_does_is_told_from_left_to_right():
    """An undecided gap of 1e-6 is the width of a turn, a wider one is said."""
    turn, wide = fmpq(1, 10**6), fmpq(2, 10**6)
    parts = [(-3, -1, 1), (-1, -1 + turn, 0), (-1 + turn, fmpq(1, 3), -1), (fmpq(1, 3), fmpq(1, 3) + wide, 0)]
    segments = tuple(Segment(fmpq(a), fmpq(b), sign) for a, b, sign in [*parts, (fmpq(1, 3) + wide, 3, 1)])
    course = Course((fmpq(-3), fmpq(3)), segments)
    assert _told(course) == (
        "lambda from -3: rises to -1, falls to 0.333333, not decided to 0.333335, rises to 3 "
        "(certified by balls, turns to 1e-6)"
    )
    assert _told(Course((fmpq(1, 4), fmpq(4)), (), "constant: why")) == "lambda constant: why on [0.25, 4]"
    data = _course_json(course)
    assert (data["from"], data["to"], data["reason"]) == ("-3", "3", None)
    assert data["segments"][:2] == [["-3", "-1", 1], ["-1", "-999999/1000000", 0]]
    assert _course_json(Course((fmpq(1, 4), fmpq(4)), (), "why"))["reason"] == "why"


@pytest.mark.parametrize(
    ("text", "scale", "bias"),
    [("2*x - 1", "phi is linear", "phi is linear"), ("x**2", "even or homogeneous", None),
     ("relu(x)", "even or homogeneous", None), ("cos(x)", "even or homogeneous", None)],
)  # fmt: skip
def test_where_lambda_is_constant_that_is_said(text, scale, bias):
    """Of an even function a_1 = 0, so that λ = 1 at every scale."""
    card = card_of(analyse(text))
    for course, word, interval in ((card.scale, scale, ("1/4", "4")), (card.bias, bias, ("-3", "3"))):
        assert word in course.reason if word else course.reason is None
        assert tuple(map(str, course.interval)) == interval
        assert bool(course.segments) == (course.reason is None)


def test_what_cannot_be_known_is_said(capsys):
    """φ⁴ is not integrable: nothing is said of scale and bias, and the rest stands."""
    out = _printed(capsys, "--formula", "exp(x**2/8+x/3)", "--card")
    assert out.count("lambda not known: is not shown to be square-integrable") == 2
    assert "order" in out


def test_the_picture_of_the_card(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    target = tmp_path / "card.svg"
    _printed(capsys, "--act", "relu", "--card", "--plot", str(target))
    assert target.read_text().count('id="axes_') == 4
