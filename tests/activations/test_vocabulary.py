"""Every word of the formula language against NumPy, SciPy or its definition; the limits of powers."""

import math

import numpy as np
import pytest
from numpy.polynomial.hermite_e import HermiteE
from numpy.testing import assert_allclose
from scipy import special, stats

from lop_theory.activations.arrays import numpy_function
from lop_theory.activations.expression import ONE, X, num
from lop_theory.activations.formula import parse
from lop_theory.activations.vocabulary import (
    CONSTANTS,
    WORDS,
    above,
    at_least,
    bits,
    hermite,
    is_condition,
    opposite,
    raised,
    where,
)
from lop_theory.balls import fmpq

INSIDE = np.array([-0.9, -0.4, -0.15, 0.2, 0.5, 0.85])
WIDE = np.array([-3.1, -1.7, -1.0 / 3, 0.4, 1.3, 2.6])
POSITIVE, ABOVE_ONE = np.array([0.1, 0.7, 1.6, 4.0]), np.array([1.1, 1.9, 5.0])
WORD_BY_WORD = [
    ("asin(x)", np.arcsin, INSIDE), ("acos(x)", np.arccos, INSIDE), ("atanh(x)", np.arctanh, INSIDE),
    ("acosh(x)", np.arccosh, ABOVE_ONE), ("arctan(x)", np.arctan, WIDE), ("arcsinh(x)", np.arcsinh, WIDE),
    ("log(x)", np.log, POSITIVE), ("log(x, 3)", lambda x: np.log(x) / np.log(3), POSITIVE),
    ("log2(x)", np.log2, POSITIVE), ("log10(x)", np.log10, POSITIVE), ("log1p(x)", np.log1p, INSIDE),
    ("expm1(x)", np.expm1, WIDE), ("exp2(x)", np.exp2, WIDE), ("erfc(x)", special.erfc, WIDE),
    ("sec(x)", lambda x: 1 / np.cos(x), INSIDE), ("sech(x)", lambda x: 1 / np.cosh(x), WIDE),
    ("csch(x)", lambda x: 1 / np.sinh(x), WIDE), ("coth(x)", lambda x: 1 / np.tanh(x), WIDE),
    ("sinc(x)", np.sinc, WIDE), ("cbrt(x)", np.cbrt, WIDE), ("square(x)", np.square, WIDE),
    ("reciprocal(x)", np.reciprocal, WIDE), ("rsqrt(x)", lambda x: x**-0.5, POSITIVE),
    ("hypot(x, 2)", lambda x: np.hypot(x, 2), WIDE), ("logaddexp(x, 2*x)", lambda x: np.logaddexp(x, 2 * x), WIDE),
    ("Phi(x)", stats.norm.cdf, WIDE), ("normpdf(x)", stats.norm.pdf, WIDE),
    ("heaviside(x, 1)", lambda x: np.heaviside(x, 1), WIDE),
    ("where(x > 1, x**2, -x)", lambda x: np.where(x > 1, x**2, -x), WIDE),
    ("where(~(x >= 1), x**2, -x)", lambda x: np.where(x < 1, x**2, -x), WIDE),
    ("clip(x, -1, 2)", lambda x: np.clip(x, -1, 2), WIDE), ("clamp(x, max=1)", lambda x: np.minimum(x, 1), WIDE),
    ("clip(x, a_min=-1, a_max=1)", lambda x: np.clip(x, -1, 1), WIDE),
    ("clip(x, 2, 1)", lambda x: np.clip(x, 2, 1), WIDE), ("clamp_min(x, 1)", lambda x: np.maximum(x, 1), WIDE),
    ("clamp_max(x, 1)", lambda x: np.minimum(x, 1), WIDE), ("fabs(x)", np.fabs, WIDE), ("sgn(x)", np.sign, WIDE),
    ("max(x, 1, 2*x)", lambda x: np.maximum(np.maximum(x, 1), 2 * x), WIDE),
    ("min(x, 1, 2*x)", lambda x: np.minimum(np.minimum(x, 1), 2 * x), WIDE),
    ("add(x, 2, alpha=3)", lambda x: x + 6, WIDE), ("subtract(x, 2, alpha=3)", lambda x: x - 6, WIDE),
    ("rsub(x, 2, alpha=3)", lambda x: 2 - 3 * x, WIDE), ("multiply(x, 3)", lambda x: 3 * x, WIDE),
    ("divide(x, 4)", lambda x: x / 4, WIDE), ("negative(x)", lambda x: -x, WIDE), ("positive(x)", lambda x: x, WIDE),
    ("greater(x, 1)", lambda x: x > 1, WIDE), ("less(x, 1)", lambda x: x < 1, WIDE),
    ("greater_equal(x, 1)", lambda x: x >= 1, WIDE), ("less_equal(x, 1)", lambda x: x <= 1, WIDE),
    ("logical_and(x > -1, x < 1)", lambda x: abs(x) < 1, WIDE),
    ("logical_or(x > 1, x < -1)", lambda x: abs(x) > 1, WIDE), ("logical_not(x > 1)", lambda x: x <= 1, WIDE),
    ("threshold(x, 1, 5)", lambda x: np.where(x > 1, x, 5), WIDE), ("hardtanh(x)", lambda x: np.clip(x, -1, 1), WIDE),
    ("hardtanh(x, -2, 1/2)", lambda x: np.clip(x, -2, 0.5), WIDE),
    ("prelu(x)", lambda x: np.where(x > 0, x, x / 4), WIDE),
    ("prelu(x, 1/2)", lambda x: np.where(x > 0, x, x / 2), WIDE),
    ("rrelu(x)", lambda x: np.where(x > 0, x, x * 11 / 48), WIDE),
    ("rrelu(x, 1/4, 1/2)", lambda x: np.where(x > 0, x, x * 3 / 8), WIDE),
    ("gelu(x)", lambda x: x * stats.norm.cdf(x), WIDE),
    ("gelu(x, approximate='tanh')",
     lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), WIDE),
    ("softplus(x, beta=2)", lambda x: np.log1p(np.exp(2 * x)) / 2, WIDE),
    ("2**x", np.exp2, WIDE), ("pi**x", lambda x: np.pi**x, WIDE), ("e**x", np.exp, WIDE), ("(1/3)**x",
     lambda x: 3.0**-x, WIDE), ("x**(-2)", lambda x: x**-2.0, WIDE), ("ones_like(x) + x", lambda x: 1 + x, WIDE),
    ("zeros_like(x) + x", lambda x: x, WIDE), ("tau*x", lambda x: 2 * np.pi * x, WIDE),
    *((f"hermite(x, {k})", HermiteE.basis(k), WIDE) for k in (1, 2, 5, 12)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "right", "points"), WORD_BY_WORD, ids=[text for text, *_ in WORD_BY_WORD])
def test_words(text, right, points):
    found = np.broadcast_to(numpy_function(parse(text))(points), points.shape)
    assert_allclose(found, np.asarray(right(points), dtype=float), rtol=1e-12, atol=1e-14)


def test_no_word_is_forgotten():
    basic = set("exp log sqrt sin cos tan sinh cosh tanh atan asinh erf abs sign step sigmoid relu absolute".split())
    tried = " ".join(text for text, *_ in WORD_BY_WORD)
    spelled = {"pow", "ln", "maximum", "fmax", "minimum", "fmin"}  # the same table entries as **, log, max and min
    assert [w for w in WORDS if f"{w}(" not in tried and w not in basic | spelled] == []
    assert all(WORDS[a] is WORDS[b] for a, b in [("ln", "log"), ("fmax", "max"), ("maximum", "max"), ("fmin", "min")])


def test_limits_of_powers():
    for good in (fmpq(64), fmpq(-64), fmpq(1, 64), fmpq(63, 64), fmpq(127, 2)):
        assert raised(X, num(good)).number == good
    for bad in (fmpq(65), fmpq(-65), fmpq(1, 65), fmpq(129, 2)):
        with pytest.raises(ValueError, match="limited to ±64 with denominators up to 64"):
            raised(X, num(bad))
    assert raised(num(2**63), num(64)).number == 2 ** (63 * 64)  # 64 bits: 4096 in all
    with pytest.raises(ValueError, match="more than 4096 bits"):
        raised(num(2**64), num(64))
    with pytest.raises(ValueError, match="division by zero"):
        raised(num(0), num(-1))
    assert raised(num(0), num(2)).number == 0
    for base in (num(-2), num(0), X):
        with pytest.raises(ValueError, match="constant rational exponent or a positive constant base"):
            raised(base, X)
    assert raised(CONSTANTS["e"], X).op == "exp"


def test_bits_and_conditions():
    assert [bits(fmpq(*pq)) for pq in [(1, 1), (7, 2), (2, 9), (-8, 3)]] == [1, 3, 4, 4]
    for text, right in [
        ("x > 0", True), ("~(x > 0)", True), ("(x > 0) & (x < 1)", True), ("(x > 2) | (x < 1)", True), ("x", False),
        ("(x > 0) + (x < 1)", False), ("(x > 0) * x", False), ("(x >= 0) + (x <= 1)", False), ("x + (x > 0)", False),
    ]:  # fmt: skip
        assert is_condition(parse(text)) == right, text


@pytest.mark.parametrize("k", [num(0), num(41), num(fmpq(3, 2)), X])
def test_degrees_of_hermite_polynomials(k):
    with pytest.raises(ValueError, match="whole number from 1 to 40"):
        hermite(X, k)
    assert hermite(X, num(40))


def test_conditions_and_their_opposites():
    c = above(X, ONE)
    assert opposite(opposite(c)) == c
    assert opposite(at_least(X, ONE)) != at_least(X, ONE)
    for condition in (c, at_least(X, ONE)):
        values = [numpy_function(e)(np.array([0.0, 1.0, 2.0])) for e in (condition, opposite(condition))]
        assert np.array_equal(values[0] + values[1], np.ones(3))
    swapped = where(opposite(c), X, ONE)
    assert swapped == where(c, ONE, X)
