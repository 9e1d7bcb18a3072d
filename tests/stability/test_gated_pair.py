"""Near-clones with diverging outgoing weights: the gate, its bound, and what merging loses."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.stability.gated_pair import Pair, gate_of, pair_of, remainder_bound

pytestmark = pytest.mark.claim("later-gated-pair")
vectors = st.lists(st.floats(-2, 2), min_size=3, max_size=3).map(np.array)
# value, slope, max|σ″|, max|σ‴| (global maxima: tanh″ ≤ 4/(3√3), |tanh‴| ≤ 2; sin: 1, 1)
SMOOTH = {
    "tanh": (np.tanh, lambda u: 1 - np.tanh(u) ** 2, 4 / (3 * math.sqrt(3)), 2.0),
    "sin": (np.sin, np.cos, 1.0, 1.0),
}


def output(sigma, pair, x):
    return sum(a * sigma(w @ x) for w, a in zip(pair.incoming, pair.outgoing, strict=True))


@pytest.mark.claim("later-gated-pair")
@pytest.mark.parametrize("name", SMOOTH)
@given(vectors, vectors, vectors, st.floats(1e-3, 0.5))
def test_the_pair_is_a_gate_within_the_bound(name, w, v, x, epsilon):
    sigma, slope, second, third = SMOOTH[name]
    pair = pair_of(w, v, epsilon)
    expected = sigma(w @ x) + (v @ x) * slope(w @ x)
    bound = remainder_bound(gate_of(pair), x, second, third)
    assert abs(output(sigma, pair, x) - expected) <= bound + 1e-12 / epsilon
    assert bound <= epsilon**2 * ((v @ x) ** 2 * second / 2 + abs(v @ x) ** 3 * third / 6) * (1 + 1e-9) + 1e-15


@pytest.mark.claim("later-gated-pair")
@given(st.lists(st.fractions(-3, 3, max_denominator=4), min_size=6, max_size=6), st.fractions("1/50", 1))
def test_the_square_in_rationals(numbers, epsilon):
    w, v = (np.array(n, dtype=object) for n in (numbers[:2], numbers[2:4]))
    x = np.array(numbers[4:], dtype=object)
    u, s = w @ x, v @ x
    assert output(lambda t: t**2, pair_of(w, v, epsilon), x) == u**2 + 2 * u * s + epsilon**2 * s**2


@pytest.mark.claim("later-gated-pair")
@given(vectors, vectors, st.lists(st.floats(-3, 3), min_size=2, max_size=2), vectors)
def test_any_two_units_are_their_gate_to_first_order(first, second, outgoing, x):
    pair = Pair(np.stack([first, second]), np.array(outgoing))
    gate = gate_of(pair)
    u, d = gate.mean @ x, gate.half @ x
    value = gate.total * np.tanh(u) + gate.lever * d * (1 - np.tanh(u) ** 2)
    bound = remainder_bound(gate, x, 4 / (3 * math.sqrt(3)), 2.0)
    assert abs(output(np.tanh, pair, x) - value) <= bound + 1e-9


@pytest.mark.claim("later-gated-pair")
@given(st.floats(1e-6, 1e-2))
def test_merging_a_pair_of_cosine_one_loses_the_gate(epsilon):
    w, v, x = np.array([1.0, 2.0]), np.array([3.0, -1.0]), np.array([1.0, 1.0])
    pair = pair_of(w, v, epsilon)
    a, b = pair.incoming
    gate = gate_of(pair)
    merged = gate.total * np.tanh(gate.mean @ x)
    assert a @ b / math.sqrt((a @ a) * (b @ b)) > 1 - 4 * epsilon**2
    assert abs(output(np.tanh, pair, x) - merged) == pytest.approx(2 * (1 - math.tanh(3) ** 2), rel=0.05)


@pytest.mark.claim("later-gated-pair")
def test_relu_needs_the_hypothesis():
    """At its kink the pair's error is ε/2, not O(ε²), from slope ½ — and ½ from PyTorch's slope 0."""
    relu = lambda t: max(t, 0)  # noqa: E731
    for epsilon in (Fraction(1, 10), Fraction(1, 1000)):
        pair = pair_of(np.array([Fraction(0)]), np.array([Fraction(1)]), epsilon)
        assert output(relu, pair, np.array([1])) == Fraction(1, 2) + epsilon / 2


fractions = st.fractions(-3, 3, max_denominator=4)


@pytest.mark.claim("later-gated-pair")
@given(st.lists(fractions, min_size=8, max_size=8))
def test_identity_has_no_remainder_and_the_square_has_one_term(numbers):
    """R = 0 for σ = id and R = (a₁ + a₂)d² for σ = t², exactly; two targets have a gate each."""
    first, second, x, outgoing = (np.array(numbers[k : k + 2], dtype=object) for k in (0, 2, 4, 6))
    gate = gate_of(Pair(np.stack([first, second]), outgoing))
    u, d = gate.mean @ x, gate.half @ x
    assert (u + d, u - d) == (first @ x, second @ x)
    assert output(lambda t: t, Pair(np.stack([first, second]), outgoing), x) == gate.total * u + gate.lever * d
    square = output(lambda t: t**2, Pair(np.stack([first, second]), outgoing), x)
    rest = square - gate.total * u**2 - gate.lever * d * 2 * u
    assert rest == gate.total * d**2
    assert abs(rest) == remainder_bound(gate, x, Fraction(2), Fraction(0))
    both = gate_of(Pair(np.stack([first, second]), np.stack([outgoing, 2 * outgoing], axis=1)))
    assert both.total.tolist() == [gate.total, 2 * gate.total]
    assert both.lever.tolist() == [gate.lever, 2 * gate.lever]


@pytest.mark.claim("later-gated-pair")
@given(st.lists(fractions, min_size=8, max_size=8))
def test_the_cube_of_opposite_units_attains_the_third_term(numbers):
    """R = (a₁ − a₂)d³ for σ = t³ and a₁ + a₂ = 0, exactly."""
    first, second, x, (lever, _) = (np.array(numbers[k : k + 2], dtype=object) for k in (0, 2, 4, 6))
    pair = Pair(np.stack([first, second]), np.array([lever, -lever]))
    gate = gate_of(pair)
    u, d = gate.mean @ x, gate.half @ x
    rest = output(lambda t: t**3, pair, x) - gate.lever * d * 3 * u**2
    assert rest == gate.lever * d**3
    assert abs(rest) == remainder_bound(gate, x, Fraction(5), Fraction(6))


@pytest.mark.claim("later-gated-pair")
@given(st.lists(fractions, min_size=4, max_size=4), st.fractions("1/50", 1))
def test_the_gate_of_a_built_pair_is_what_it_was_built_from(numbers, epsilon):
    w, v = (np.array(n, dtype=object) for n in (numbers[:2], numbers[2:]))
    gate = gate_of(pair_of(w, v, epsilon))
    assert gate.mean.tolist() == w.tolist()
    assert gate.half.tolist() == (epsilon * v).tolist()
    assert (gate.total, gate.lever) == (1, 1 / epsilon)
