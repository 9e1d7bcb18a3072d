"""What the paper says beside its theorems, with oracles of their own, and mutants of each statement."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lop_theory.balls import fmpq
from lop_theory.gap.rank import gain_bound, polynomial_kernel, potential, rank_gain, renyi2_rank, shannon_rank
from lop_theory.report.ledger import load
from lop_theory.strategies import correlation_matrices
from lop_theory.verify import implications
from lop_theory.verify.finding import recomputed_verdict
from tests.verify.test_later import ROOT, checker

CLAIMS = [c for c in load(ROOT / "claims.toml") if any("verify.implications:" in link for link in c.checks)]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.id)
def test_the_checker_adds_up_to_the_registered_verdict(claim):
    findings = [f for link in claim.checks for f in checker(link)(6)]
    assert recomputed_verdict(findings) == claim.verdict
    assert {f.evidence for f in findings} == set(claim.evidence)


def test_every_checker_is_named_by_a_claim():
    assert len(CLAIMS) == 7


@pytest.mark.claim("effective-ranks")
@given(correlation_matrices())
def test_effective_ranks_are_ordered_and_extreme_where_said(matrix):
    eigenvalues = np.clip(np.linalg.eigvalsh(matrix), 0, None)
    n, renyi, shannon = len(matrix), renyi2_rank(matrix), shannon_rank(matrix)
    assert renyi == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())
    assert 1 - 1e-9 <= renyi <= shannon + 1e-9 <= n + 2e-9
    flat, one = np.ptp(eigenvalues) < 1e-9, np.sort(eigenvalues)[:-1].sum() < 1e-9
    if flat:
        assert renyi == pytest.approx(n)
        assert shannon == pytest.approx(n)
    if one:
        assert renyi == pytest.approx(1)
        assert shannon == pytest.approx(1, abs=1e-6)
    assert flat or renyi < n
    assert one or renyi > 1


@pytest.mark.claim("strength-order")
def test_a_weaker_kernel_may_gain_more():
    rho = Fraction(1, 2)
    weak, strong = (rho + rho**3) / 2, Fraction(2, 5) * rho + Fraction(3, 5) * rho**2
    assert weak < strong, "the kernel of smaller lambda takes more correlation away"
    matrix = [[1, rho], [rho, 1]]
    squares = ([fmpq(1, 2), fmpq(0), fmpq(1, 2)], [fmpq(2, 5), fmpq(3, 5)])
    gains = [rank_gain(matrix, polynomial_kernel(s)) for s in squares]
    assert [Fraction(str(g)) for g in gains] == [(1 + rho**2) / (1 + k**2) for k in (weak, strong)]
    assert gain_bound(matrix, fmpq(1, 2)) < gain_bound(matrix, fmpq(3, 5))


@pytest.mark.claim("collapse-correlations")
@pytest.mark.parametrize("classes", [2, 3, 5, 10, 200])
def test_class_means_of_a_simplex_have_potential(classes):
    means = np.eye(classes) - 1 / classes  # the simplex ETF itself, not its correlations
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    gram = np.clip(means @ means.T, -1, 1)
    np.fill_diagonal(gram, 1)
    assert gram[0, 1] == pytest.approx(-1 / (classes - 1))
    assert potential(gram) == pytest.approx((classes - 2) / (classes - 1) ** 2, abs=1e-12)
    assert renyi2_rank(gram) == pytest.approx(classes - 1)
    after = rank_gain(gram, lambda r: (r + r * r) / 2)
    assert after > 1 + 1e-6


@pytest.mark.claim("low-rank-clones")
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=6))
def test_clones_are_equal_units_not_low_rank(rows):
    assume(any(any(row) for row in rows))
    alike = any(a == b for a, b in combinations(rows, 2))
    assert implications._discrete(implications._plane_network(rows)) != alike
    assert np.linalg.matrix_rank(np.array(rows)) <= 2


@pytest.mark.claim("clone-generality")
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_extra_dimensions_by_linear_algebra(sizes):
    """dim{W: equal row sums and equal column sums} by numerical rank, against (m − 1)(n − 1) + 1."""
    for m, n in zip([1, *sizes], [*sizes, 1], strict=True):
        rows = [np.kron(np.eye(m)[i] - np.eye(m)[0], np.ones(n)) for i in range(1, m)]
        columns = [np.kron(np.ones(m), np.eye(n)[j] - np.eye(n)[0]) for j in range(1, n)]
        constraints = np.array(rows + columns).reshape(-1, m * n)
        rank = np.linalg.matrix_rank(constraints) if len(constraints) else 0
        assert m * n - rank == (m - 1) * (n - 1) + 1
    assert implications._extra(sizes) == implications._rectangles(sizes)


@pytest.mark.claim("saddle-perturbation")
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_almost_every_start_beside_a_saddle_leaves(seed, positive):
    from scipy.linalg import expm

    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(positive + 1, positive + 1)))[0]
    hessian = rotation @ np.diag([*rng.uniform(0, 2, positive), -1.0]) @ rotation.T
    start = rng.normal(size=positive + 1)
    assert np.linalg.norm(expm(-40 * hessian) @ start) > 1e6 * np.linalg.norm(start)
    inside = start - rotation[:, -1] * (rotation[:, -1] @ start)
    assert np.linalg.norm(expm(-10 * hessian) @ inside) < 1.001 * np.linalg.norm(inside) + 1e-9


@pytest.mark.claim("normal-convexity")
def test_convex_across_and_not_along():
    def loss(x, y):
        return x**2 + (y**2 - 1) ** 2

    h = 1e-4
    across = (loss(h, 0.3) - 2 * loss(0, 0.3) + loss(-h, 0.3)) / h**2
    assert across == pytest.approx(2, rel=1e-4)
    assert loss(h, 0.3) == loss(-h, 0.3), "the gradient is tangent to x = 0"
    assert loss(0.0, 0.0) > (loss(0.0, 1.0) + loss(0.0, -1.0)) / 2


MUTANTS = {
    "er2 without the square": (
        implications.effective_ranks,
        "_renyi2",
        lambda s: Fraction(sum(s), sum(v * v for v in s)),
    ),
    "gain is the bound": (
        implications.strength_order,
        "rank_gain",
        lambda matrix, kernel: gain_bound(matrix, 1 - kernel(fmpq(1, 1000)) * 1000),
    ),
    "simplex of orthogonal means": (
        implications.collapse_correlations,
        "_simplex",
        lambda c: [[fmpq(int(i == j)) for j in range(c)] for i in range(c)],
    ),
    "everything is a clone": (implications.low_rank_clones, "_discrete", lambda _: False),
    "no clone is ever found": (implications.low_rank_clones, "_discrete", lambda _: True),
    "equitable is block-constant": (implications.clone_generality, "_extra", lambda _: 0),
    "steps come back": (implications.saddle_perturbation, "_steps_away", lambda _: False),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_of_the_statement_is_caught(name, monkeypatch):
    check, target, mutant = MUTANTS[name]
    before = recomputed_verdict(check(6))
    monkeypatch.setattr(implications, target, mutant)
    assert recomputed_verdict(check(6)) != before
