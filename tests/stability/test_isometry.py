"""The polar factor and Muon's polynomials on RE∩CE: exact in rationals, and against SciPy, search and PyTorch."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lop_theory.balls import fmpq
from lop_theory.errors import InvalidInput
from lop_theory.graph.scalars import exact, floats
from lop_theory.stability.isometry import (
    MUON_COEFFICIENTS,
    equitable_residual,
    newton_schulz,
    odd_polynomial,
    polar_factor,
)
from lop_theory.strategies import equitable_blocks

RATIONAL = [fmpq(round(10**4 * c), 10**4) for c in MUON_COEFFICIENTS]


@st.composite
def equitable(draw):
    """(weight, rows, columns), weight in RE∩CE with 1–2 blocks of 1–3 units on each side."""
    sizes = [draw(st.lists(st.integers(1, 3), min_size=1, max_size=2)) for _ in range(2)]
    grid = [[draw(equitable_blocks(a, b, support="dense"))[0] for b in sizes[1]] for a in sizes[0]]
    labels = [[k for k, size in enumerate(side) for _ in range(size)] for side in sizes]
    return np.block(grid), *labels


@pytest.mark.claim("later-muon")
@given(equitable())
def test_muons_polynomial_keeps_the_manifold_exactly(drawn):
    weight, rows, columns = drawn
    assert not equitable_residual(weight, rows, columns).any()
    assert not equitable_residual(odd_polynomial(weight, RATIONAL), rows, columns).any()


@pytest.mark.claim("later-muon")
@given(st.integers(0, 2**31))
def test_muons_polynomial_keeps_block_constant_weights_and_is_pytorchs(seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    rows, columns = [0, 0, 1, 1, 1], [0, 0, 0, 1]
    constant = rng.normal(size=(2, 2))[rows][:, columns]
    found = newton_schulz(constant / np.linalg.norm(constant))
    assert np.ptp(found[:2, :3]) < 1e-12 > np.ptp(found[2:, :3])
    weight = torch.tensor(rng.normal(size=(3, 4)))
    muon = pytest.importorskip("torch.optim._muon")  # bfloat16: agreement to its precision
    theirs = muon._zeropower_via_newtonschulz(weight, MUON_COEFFICIENTS, 5, 1e-7).double()
    assert torch.allclose(theirs, newton_schulz(weight / weight.norm()), atol=0.1)


@pytest.mark.claim("later-muon")
@given(equitable(), st.integers(1, 5))
def test_a_residual_is_seen(drawn, amount):
    """One changed entry leaves the manifold unless its row and its column are alone in their blocks."""
    weight, rows, columns = drawn
    changed = weight.copy()
    changed[0, 0] += amount
    alone = rows.count(rows[0]) == 1 == columns.count(columns[0])
    assert bool(equitable_residual(changed, rows, columns).any()) != alone


@pytest.mark.claim("later-polar-factor")
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 4))
def test_the_polar_factor_is_scipys_and_nearest(seed, m, n):
    from scipy.linalg import polar

    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(m, n))
    q = polar_factor(weight)
    assert np.allclose(q, polar(weight, side="right" if m >= n else "left")[0], atol=1e-8)
    for _ in range(5):
        other = np.linalg.qr(rng.normal(size=(max(m, n), min(m, n))))[0]
        other = other if m >= n else other.T
        assert np.linalg.norm(q - weight) <= np.linalg.norm(other - weight) + 1e-12
    if m <= n and m > 1:
        gaps = [np.linalg.norm(q[i] - q[j]) for i in range(m) for j in range(i)]
        assert min(gaps) == pytest.approx(np.sqrt(2)), "orthonormal rows"


def test_means_of_whole_numbers_are_exact():
    weight = np.array([[1], [0], [0]], dtype=object)
    found = equitable_residual(weight, [0, 0, 0], [0])
    assert found.ravel().tolist() == [fmpq(-2, 3), fmpq(1, 3), fmpq(1, 3)]


@pytest.mark.claim("later-polar-factor")
def test_nearby_isometries_are_farther_and_low_rank_has_no_nearest():
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(3, 3))
    q = polar_factor(weight)
    from scipy.linalg import expm

    for _ in range(20):
        a = 0.01 * rng.normal(size=(3, 3))
        assert np.linalg.norm(q @ expm(a - a.T) - weight) > np.linalg.norm(q - weight)
    for singular in (np.zeros((2, 2)), np.ones((2, 2)), np.ones((3, 2))):
        with pytest.raises(InvalidInput, match="full rank"):
            polar_factor(singular)
    with pytest.raises(InvalidInput, match="weight=3e-13"):
        polar_factor(np.diag([1.0, 3e-13]))  # the smallest singular value is said
    np.testing.assert_allclose(polar_factor(np.diag([1.0, 3e-12])), np.eye(2), atol=1e-12)
    with pytest.raises(InvalidInput, match="full rank"):
        polar_factor(np.diag([2.0, 2e-3]), tolerance=1e-3)


@pytest.mark.claim("later-polar-factor")
def test_a_tall_isometry_may_have_equal_rows():
    tall = exact([["2/3"], ["2/3"], ["1/3"]])
    assert (tall.T @ tall)[0, 0] == 1
    assert tall[0, 0] == tall[1, 0]


@pytest.mark.claim("later-isometry-remedy")
@given(equitable())
def test_projection_stays_on_the_manifold(drawn):
    weight, rows, columns = drawn
    weight = floats(weight)
    assume(np.linalg.cond(weight) < 1e5)
    assert np.abs(equitable_residual(polar_factor(weight), rows, columns)).max() < 1e-9


@pytest.mark.claim("later-isometry-remedy")
@given(st.integers(0, 2**31))
def test_any_nearest_isometry_of_copies_stays_if_the_base_has_full_rank(seed):
    """W = block-constant, square, rank = blocks: minimisers are polar on BC plus any isometry of the complement."""
    rng = np.random.default_rng(seed)
    blocks = [0, 0, 0, 1, 1]
    base = rng.normal(size=(2, 2)) + 2 * np.eye(2)
    assume(np.linalg.cond(base) < 100)
    weight = base[blocks][:, blocks]
    left, values, right = np.linalg.svd(weight)
    assert values[2] < 1e-12 < values[1]
    free = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    q = left[:, :2] @ right[:2] + left[:, 2:] @ free @ right[2:]
    assert np.linalg.norm(q - weight) == pytest.approx(np.sqrt(np.sum((values - 1) ** 2)))
    assert np.abs(equitable_residual(q, blocks, blocks)).max() < 1e-9
    assert np.linalg.norm(q[0] - q[1]) > 1, "the copies' rows are now orthogonal"


@pytest.mark.claim("later-isometry-remedy")
@given(st.integers(0, 2**31))
def test_clones_survive_the_projection_of_every_layer(seed):
    """Equal hidden values before and after, whatever the data."""
    rng = np.random.default_rng(seed)
    blocks = [0, 0, 1, 1]

    def layer():
        moves = np.kron(rng.normal(size=(2, 2)), np.array([[1.0, -1.0], [-1.0, 1.0]]))
        return rng.normal(size=(2, 2))[blocks][:, blocks] + moves

    layers = [layer() for _ in range(3)]
    assume(all(np.linalg.cond(w) < 1e4 for w in layers))
    h = rng.normal(size=(2, 7))[blocks]
    for w in layers:
        h = np.tanh(polar_factor(w) @ h)
        assert np.abs(h[[0, 2]] - h[[1, 3]]).max() < 1e-9


@pytest.mark.claim("later-isometry-remedy")
def test_newton_schulz_never_separates_copies():
    weight = exact([[1, 2, 1], [1, 2, 1], [0, 1, 3]])
    for _ in range(2):
        weight = odd_polynomial(weight, [fmpq(3, 2), fmpq(-1, 2)])
        assert (weight[0] == weight[1]).all()
    assert equitable_residual(exact([[1, 0], [0, -1]]), [0, 0], [0, 0]).any()
    with pytest.raises(InvalidInput, match="blocks"):
        equitable_residual(np.eye(2), [0], [0, 0])


@pytest.mark.claim("later-muon")
def test_newton_schulz_is_muons_direction():
    """Against torch.optim.Muon itself: one step from 0 without momentum or decay, up to its bfloat16."""
    import torch

    gradient = torch.randn(6, 9, generator=torch.Generator().manual_seed(3))
    weight = torch.nn.Parameter(torch.zeros(6, 9))
    weight.grad = gradient.clone()
    torch.optim.Muon([weight], lr=1.0, momentum=0.0, nesterov=False, weight_decay=0.0).step()
    found = newton_schulz(gradient.double() / gradient.double().norm())
    scale = float((weight.detach().double() * found).sum() / (found * found).sum())
    assert float((weight.detach().double() - scale * found).norm()) < 0.03 * float(weight.detach().norm())
    values = torch.linalg.svdvals(found)
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
    one = newton_schulz(gradient, steps=1)
    torch.testing.assert_close(one, odd_polynomial(gradient, MUON_COEFFICIENTS))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3)])
def test_nothing_has_no_nearest_isometry(shape):
    with pytest.raises(InvalidInput, match="weight=0"):
        polar_factor(np.zeros(shape))
