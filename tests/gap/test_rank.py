"""Effective ranks, the rank-gain theorem and its corrected equality condition."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations.catalogue import activation
from lop_theory.balls import arb, fmpq
from lop_theory.errors import InvalidInput
from lop_theory.gap.kernel import standard_kernel, value
from lop_theory.gap.rank import (
    apply_kernel,
    gain_bound,
    is_fixed_ratio,
    linear_step,
    polynomial_kernel,
    potential,
    rank_gain,
    renyi2_rank,
    shannon_rank,
)
from tests.oracles import random_correlation


@st.composite
def exact_kernels(draw) -> list[fmpq]:
    weights = draw(st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any))
    return [fmpq(w, sum(weights)) for w in weights]


@st.composite
def exact_matrices(draw) -> list[list[fmpq]]:
    """Unit diagonal and rational entries in [−1, 1], n from 1 to 5; singular and signed ones included, PSD not
    required.
    """
    n = draw(st.integers(1, 5))
    entry = st.one_of(st.sampled_from([-1, 0, 1]), st.fractions(-1, 1, max_denominator=12))
    upper = {(i, j): Fraction(draw(entry)) for i in range(n) for j in range(i)}
    rows = [[Fraction(1) if i == j else upper[max(i, j), min(i, j)] for j in range(n)] for i in range(n)]
    return [[fmpq(e.numerator, e.denominator) for e in row] for row in rows]


@pytest.mark.claim("rank-gain")
@given(exact_matrices(), exact_kernels())
def test_rank_gain_bound_is_exact_on_rationals(matrix, squares):
    gain = rank_gain(matrix, polynomial_kernel(squares))
    bound = gain_bound(matrix, 1 - squares[0])
    assert isinstance(gain, fmpq)
    assert gain >= bound >= 1


@pytest.mark.claim("rank-gain")
@given(
    st.integers(0, 10**6),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from(["relu", "tanh", "gelu", "sign", "silu"]),
)
def test_rank_gain_on_random_correlation_matrices(seed, n, rank, name):
    matrix = random_correlation(np.random.default_rng(seed), n, rank)
    kern = standard_kernel(activation(name).expr)
    gain = rank_gain(matrix, lambda rho: float(value(kern, arb(rho))))
    assert gain >= gain_bound(matrix, float(kern.strength)) - 1e-12


@pytest.mark.claim("rank-equality")
@given(exact_matrices(), exact_kernels())
def test_corrected_equality_condition(matrix, squares):
    """Ratio 1 ⟺ linear, or entries in {0, 1}, with −1 allowed for a purely odd or even kernel."""
    odd, even = sum(squares[0::2], fmpq(0)), sum(squares[1::2], fmpq(0))
    expected = is_fixed_ratio(matrix, linear=squares[0] == 1, pure_parity=0 in (odd, even))
    assert (rank_gain(matrix, polynomial_kernel(squares)) == 1) == expected


@pytest.mark.claim("rank-equality")
def test_the_papers_equality_condition_fails_at_minus_one():
    """Smallest counterexample: n = 2, ρ = −1, K = (ρ + ρ²)/2. The potential is 0, yet the rank doubles."""
    matrix = [[1, -1], [-1, 1]]
    assert potential(matrix) == 0
    assert rank_gain(matrix, polynomial_kernel([fmpq(1, 2), fmpq(1, 2)])) == 2


@pytest.mark.claim("rank-equality")
def test_relu_gains_rank_from_antipodal_features():
    kern = standard_kernel(activation("relu").expr)
    gain = rank_gain([[1, -1], [-1, 1]], lambda rho: float(value(kern, arb(rho))))
    assert gain == pytest.approx(2 / (1 + float(value(kern, arb(-1))) ** 2))
    assert gain > 1.6


@pytest.mark.claim("entrywise")
@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(1, 8))
def test_entrywise_kernel_of_a_correlation_matrix_is_psd(seed, n, rank):
    matrix = random_correlation(np.random.default_rng(seed), n, rank)
    image = np.array(apply_kernel(matrix, polynomial_kernel([0.5, 0.3, 0.2])))
    assert np.linalg.eigvalsh(image)[0] > -1e-10
    assert renyi2_rank(np.clip(image, -1, 1)) >= renyi2_rank(matrix) - 1e-12


@pytest.mark.claim("mehler")
def test_entrywise_kernel_is_the_correlation_of_features():
    """Monte Carlo: corr(tanh(z)) for z ~ N(0, C) against K(C), 400,000 samples, five standard errors."""
    rng = np.random.default_rng(7)
    matrix = random_correlation(rng, 4, 3)
    samples = rng.multivariate_normal(np.zeros(4), matrix, size=400_000, method="eigh")
    kern = standard_kernel(activation("tanh").expr)
    expected = np.array(apply_kernel(matrix, lambda rho: float(value(kern, arb(rho)))))
    assert np.abs(np.corrcoef(np.tanh(samples).T) - expected).max() < 5 / np.sqrt(400_000)


@pytest.mark.claim("linear-step")
def test_the_linear_arrow_may_lose_rank():
    """corr(W C Wᵀ) with W = [[1, 0], [1, 1/100]] takes er₂ = 2 down to almost 1; K(·) then gains."""
    before = np.eye(2)
    after = linear_step(np.array([[1.0, 0.0], [1.0, 0.01]]), before)
    assert renyi2_rank(before) == 2
    assert renyi2_rank(after) < 1.001
    assert rank_gain(after, polynomial_kernel([0.5, 0.5])) >= 1
    with pytest.raises(InvalidInput, match="zero variance"):
        linear_step(np.array([[0.0, 0.0]]), before)


def test_ranks_at_the_extremes():
    assert (renyi2_rank([[1]]), shannon_rank([[1]])) == (1, 1)
    assert renyi2_rank(np.eye(5)) == pytest.approx(5) == shannon_rank(np.eye(5))
    assert renyi2_rank(np.ones((4, 4))) == pytest.approx(1) == shannon_rank(np.ones((4, 4)))


@given(exact_matrices(), st.fractions(0, 1, max_denominator=9))
def test_potential_and_bound_by_their_formulas(matrix, strength):
    """Σ_{i≠j} ρ²(1 − ρ²)/Σ ρ² and 1 + λP, in plain fractions."""
    entries = {(i, j): Fraction(int(e.p), int(e.q)) for i, row in enumerate(matrix) for j, e in enumerate(row)}
    size = sum(e * e for e in entries.values())
    right = sum(e * e * (1 - e * e) for (i, j), e in entries.items() if i != j) / size
    found = potential(matrix)
    assert isinstance(found, fmpq)
    assert found == fmpq(right.numerator, right.denominator)
    bound = 1 + strength * right
    assert gain_bound(matrix, fmpq(strength.numerator, strength.denominator)) == fmpq(
        bound.numerator, bound.denominator
    )
    assert renyi2_rank(matrix) * fmpq(size.numerator, size.denominator) == len(matrix) ** 2
    assert potential([[float(e.p) / float(e.q) for e in row] for row in matrix]) == pytest.approx(float(right))


@pytest.mark.parametrize("rho", [0.0, 0.3, -0.8, 0.999])
def test_the_shannon_rank_of_two_units(rho):
    """exp of the entropy of ((1 + ρ)/2, (1 − ρ)/2)."""
    shares = np.array([(1 + rho) / 2, (1 - rho) / 2])
    right = np.exp(-(shares * np.log(shares)).sum())
    assert shannon_rank([[1, rho], [rho, 1]]) == pytest.approx(right, rel=1e-12)
    assert shannon_rank([[1, rho, 1], [rho, 1, rho], [1, rho, 1]]) < 2


def test_what_the_shannon_rank_takes_for_symmetric_and_psd():
    assert shannon_rank([[1, 0.5], [0.5 + 1e-13, 1]]) > 1
    with pytest.raises(InvalidInput, match="symmetric"):
        shannon_rank([[1, 0.5], [0.5 + 1e-4, 1]])
    with pytest.raises(InvalidInput, match="symmetric"):
        shannon_rank([[1, 0.0], [1e-9, 1]])
    edge = [[1, 0.5, -0.5], [0.5, 1, 0.5], [-0.5, 0.5, 1]]  # eigenvalues 0, 1.5, 1.5
    assert shannon_rank(edge) == pytest.approx(2)
    with pytest.raises(InvalidInput, match="negative eigenvalue"):
        shannon_rank([[1, 0.5 + 1e-8, -0.5], [0.5 + 1e-8, 1, 0.5], [-0.5, 0.5, 1]])


def test_the_types_of_entries():
    """Rational entries stay exact; one float, or numbers of NumPy, make all floats."""
    assert isinstance(potential([[1, Fraction(1, 2)], [fmpq(1, 2), 1]]), fmpq)
    assert isinstance(potential([[1, 0.5], [Fraction(1, 2), 1]]), float)
    assert isinstance(renyi2_rank(np.array([[1, 0], [0, 1]])), float)
    mixed = apply_kernel([[1, Fraction(1, 2)], [Fraction(1, 2), 1]], lambda _: 0.25)
    assert mixed == [[1.0, 0.25], [0.25, 1.0]]
    assert all(isinstance(e, float) for row in mixed for e in row)
    gain = rank_gain([[1, Fraction(1, 2)], [Fraction(1, 2), 1]], lambda _: 0.25)
    assert isinstance(gain, float)
    assert gain == pytest.approx(2.5 / 2.125)
    assert apply_kernel([[1, 0.5], [-0.25, 1]], lambda rho: rho / 2) == [[1, 0.25], [-0.125, 1]]


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5))
def test_the_linear_step_is_the_correlation_of_mixed_units(seed, m, n):
    rng = np.random.default_rng(seed)
    weights, matrix = rng.normal(size=(m, n)), random_correlation(rng, n, n)
    found = linear_step(weights, matrix)
    assert found.shape == (m, m)
    assert (np.diag(found) == 1).all()
    assert np.abs(found).max() <= 1
    for i in range(m):
        for j in range(m):
            product, sizes = weights[i] @ matrix @ weights[j], [weights[k] @ matrix @ weights[k] for k in (i, j)]
            assert found[i, j] == pytest.approx(product / np.sqrt(sizes[0] * sizes[1]), abs=1e-12)


@given(st.integers(0, 10**6), st.integers(2, 10))
def test_shannon_rank_is_at_least_renyi2(seed, n):
    matrix = random_correlation(np.random.default_rng(seed), n, n)
    assert shannon_rank(matrix) >= renyi2_rank(matrix) - 1e-9
    assert renyi2_rank(matrix) == pytest.approx(n**2 / (np.linalg.eigvalsh(matrix) ** 2).sum())


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([], "square"),
        ([[1, 0]], "square"),
        ([[2]], "diagonal"),
        ([[1, 2], [2, 1]], "matrix[0][1]"),
        ([[1, float("nan")], [0, 1]], "matrix[0][1]"),
    ],
)
def test_bad_matrices_name_the_entry(matrix, words):
    with pytest.raises(InvalidInput) as caught:
        potential(matrix)
    assert words in str(caught.value)


def test_bad_kernel_is_refused():
    with pytest.raises(InvalidInput, match="sum to 1"):
        polynomial_kernel([0.5, 0.6])
    with pytest.raises(InvalidInput, match="negative eigenvalue"):
        shannon_rank([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
