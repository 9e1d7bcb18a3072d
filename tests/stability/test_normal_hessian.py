"""Hessian products, splitting, flat directions and Ritz pairs against dense matrices from another route."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lop_theory.stability import (
    Subspace,
    complement,
    curvature,
    dense,
    kind,
    lanczos,
    normal,
    normal_extremes,
    redistributions,
    spanned,
    tangent,
)
from lop_theory.stability.krylov import Extremes, Ritz, extreme_spectrum, krylov_space
from tests.stability.nets import Case, cloned, dense_hessian, indicator_basis, profile_labels


def off_the_manifold(case: Case) -> Case:
    with torch.no_grad():
        next(case.model.parameters())[0] += 0.3
    return case


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.GELU])
def test_products_and_gradient_are_those_of_the_dense_hessian(activation: type[nn.Module]) -> None:
    case = cloned(activation=activation)
    oracle, at = dense_hessian(case), case.at
    identity = torch.eye(case.where.dimension).double()
    assert torch.allclose(torch.stack([at.product(row) for row in identity], dim=1), oracle, atol=1e-12)
    case.loss(case.model(case.inputs)).backward()
    grads = {name: p.grad for name, p in case.model.named_parameters()}
    assert torch.equal(at.gradient, case.where.flatten({n: g for n, g in grads.items() if g is not None}))


def test_nothing_of_the_model_is_touched() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    at = curvature(model, torch.ones(4, 2), lambda output: output.square().mean(), dtype=torch.float64)
    assert at.gradient.dtype == torch.float64
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_linear_loss_has_no_curvature() -> None:
    model = nn.Linear(2, 1)
    at = curvature(model, torch.ones(3, 2), lambda output: output.sum())
    assert not at.product(torch.ones(3)).any()


@pytest.mark.claim("normal-splitting")
@pytest.mark.parametrize("redistribute", [None, 1])
def test_the_hessian_splits_on_the_manifold_and_not_beside_it(redistribute: int | None) -> None:
    case = cloned(redistribute=redistribute)
    basis = indicator_basis(case.where, profile_labels(case))
    H = dense_hessian(case)
    mixed = H @ basis - basis @ (basis.T @ H @ basis)
    assert mixed.abs().max() < 1e-13
    values = torch.cat(
        [torch.linalg.eigvalsh(dense(case.at.product, make(case.clones, case.where))) for make in (tangent, normal)]
    )
    assert torch.allclose(values.sort().values, torch.linalg.eigvalsh(H), atol=1e-11)
    H = dense_hessian(off_the_manifold(case))
    assert (H @ basis - basis @ (basis.T @ H @ basis)).abs().max() > 1e-3


@pytest.mark.claim("flat-directions")
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_redistributions_change_no_loss_and_the_curvature_on_them_is_zero(activation: type[nn.Module]) -> None:
    case = cloned(activation=activation)
    flat = redistributions(case.clones, case.where)
    basis = spanned(flat)
    assert flat.dimension > 0
    assert (basis.T @ dense_hessian(case) @ basis).abs().max() < 1e-13
    start = case.where.flatten(dict(case.model.named_parameters())).detach()
    for size in (0.1, 10.0):
        moved = case.where.unflatten(start + size * basis[:, 0])
        output = torch.func.functional_call(case.model, moved, (case.inputs,))
        assert float(case.loss(output).detach()) == pytest.approx(case.at.value, rel=1e-13)


symmetric = st.integers(0, 10_000).map(lambda seed: torch.randn(8, 8, generator=torch.Generator().manual_seed(seed)))


@given(symmetric, st.integers(1, 8), st.integers(0, 6))
def test_an_eigenvalue_lies_within_the_residual_of_every_ritz_value(draw: torch.Tensor, steps: int, cut: int) -> None:
    matrix = (draw + draw.T).double()
    keep = torch.ones(8).double()
    keep[:cut] = 0
    space = Subspace(lambda v: v * keep, 8 - cut, 8)
    values = torch.linalg.eigvalsh(matrix[cut:, cut:])
    found = lanczos(lambda v: matrix @ v, space, torch.ones(8).double(), steps)
    for pair in (found.lowest, found.highest):
        assert float((values - pair.value).abs().min()) <= pair.residual + 1e-12
        assert float(pair.vector.norm()) == pytest.approx(1)
        assert float(pair.vector @ matrix @ pair.vector) == pytest.approx(pair.value)
        assert not pair.vector[:cut].any()
    assert values[0] - 1e-12 <= found.lowest.value <= found.highest.value <= values[-1] + 1e-12
    if steps >= 8 - cut:
        assert found.lowest.value == pytest.approx(float(values[0]))
        assert found.highest.value == pytest.approx(float(values[-1]))


def test_a_closed_krylov_space_is_recognised() -> None:
    matrix = torch.diag(torch.tensor([1.0, 2.0, 3.0]).double())
    everything = complement(Subspace(torch.zeros_like, 0, 3))
    found = lanczos(lambda v: matrix @ v, everything, torch.tensor([0.0, 1.0, 0.0]).double(), 3)
    assert found.closed
    assert found.lowest.value == found.highest.value == 2.0


@pytest.mark.parametrize("scale", [1.0, 1e8, 1e-8])
def test_a_krylov_space_that_rounding_keeps_open_is_recognised_at_any_scale(scale: float) -> None:
    """Three of eight eigenvectors, turned at random: the fourth product is rounding, relative to the operator."""
    draw = torch.randn(8, 8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    turned = torch.linalg.qr(draw)[0]
    matrix = scale * turned @ torch.diag(torch.arange(1.0, 9).double()) @ turned.T
    everything = complement(Subspace(torch.zeros_like, 0, 8))
    start = turned[:, [1, 4, 6]].sum(1)
    found = krylov_space(lambda v: matrix @ v, everything, start, 8)
    assert found.closed
    assert (found.values / scale).tolist() == pytest.approx([2, 5, 7], rel=1e-9)
    assert not krylov_space(lambda v: matrix @ v, everything, start, 2).closed
    assert len(krylov_space(lambda v: matrix @ v, everything, start, 2).values) == 2


def test_residuals_are_looked_at_every_fifth_product() -> None:
    matrix = torch.diag(torch.linspace(1, 2, 40).double())
    everything, seen = complement(Subspace(torch.zeros_like, 0, 40)), []

    def enough(values: torch.Tensor, residuals: torch.Tensor) -> bool:
        assert len(values) == len(residuals)
        seen.append(len(values))
        return len(values) >= 12

    found = krylov_space(lambda v: matrix @ v, everything, torch.ones(40).double(), 30, enough=enough)
    assert seen == [5, 10, 15]
    assert len(found.values) == 15


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_eigenvalues_are_halved_between_both_ends(count: int) -> None:
    """Of five Ritz values at most three stand at an end; of two, one."""
    for size in (1, 2, 5):
        matrix = torch.diag(torch.arange(1.0, size + 1).double())
        everything = complement(Subspace(torch.zeros_like, 0, size))
        found = extreme_spectrum(lambda v, m=matrix: m @ v, everything, torch.ones(size).double(), count=count)
        most = min(count, (size + 1) // 2)
        assert [p.value for p in found.lowest] == pytest.approx([1 + k for k in range(most)])
        assert [p.value for p in found.highest] == pytest.approx([size - k for k in range(most)])
        assert (found.complete, found.converged, found.products) == (True, True, size)
        assert found.largest == pytest.approx(size)


def test_five_at_each_end_to_a_thousandth_unless_asked_otherwise() -> None:
    """After ten products the residuals are 1.5e-3 of the largest."""
    matrix = torch.cat([torch.arange(-5.0, 0), torch.linspace(-0.1, 0.1, 30), torch.arange(1.0, 6)]).double()
    everything, start = Subspace(lambda v: v, 40, 40), torch.ones(40).double()
    start[5:35] = 1.5e-3
    found = extreme_spectrum(lambda v: matrix * v, everything, start)
    assert (len(found.lowest), len(found.highest)) == (5, 5)
    assert (found.products, found.converged) == (15, True)
    assert extreme_spectrum(lambda v: matrix * v, everything, start, tolerance=2e-3).products == 10


def test_ten_eigenvalues_can_be_five_at_each_end() -> None:
    matrix = torch.cat([torch.arange(1.0, 11), torch.tensor([1e-9, 2e-9])]).double()
    start = torch.cat([torch.ones(10), torch.full((2,), 1e-6)]).double()
    found = extreme_spectrum(lambda v: matrix * v, Subspace(lambda v: v, 12, 12), start, count=5)
    assert (found.products, found.converged, found.complete) == (10, True, False)
    assert [p.value for p in found.lowest] == pytest.approx([1, 2, 3, 4, 5])


def test_five_values_are_not_ten() -> None:
    """Five steep directions are as good as all that the start has."""
    matrix = torch.cat([torch.arange(1.0, 6), torch.linspace(0.1, 0.2, 35)]).double()
    start = torch.cat([torch.ones(5), torch.full((35,), 1e-6)]).double()
    found = extreme_spectrum(lambda v: matrix * v, Subspace(lambda v: v, 40, 40), start, count=5)
    assert found.products >= 10
    assert len(found.lowest) == len(found.highest) == 5


def test_thirty_products_unless_asked_otherwise() -> None:
    case, vectors = cloned(), list[torch.Tensor]()
    at = case.at
    counted = at._replace(product=lambda v: (vectors.append(v), at.product(v))[1])
    normal_extremes(counted, normal(case.clones, case.where))
    assert len(vectors) == 30


def test_all_eigenvalues_have_converged_in_float32_too() -> None:
    """What is left behind the last one is rounding, more than that of float64."""
    basis, _ = torch.linalg.qr(torch.randn(7, 7, generator=torch.Generator().manual_seed(0)))
    matrix = basis @ torch.diag(torch.arange(1.0, 8.0)) @ basis.T
    everything = complement(Subspace(torch.zeros_like, 0, 7))
    found = extreme_spectrum(lambda v: matrix @ v, everything, torch.ones(7), count=4)
    assert found.values.tolist() == pytest.approx(list(range(1, 8)), rel=1e-5)
    assert (found.complete, found.converged) == (True, True)


def test_an_eigenvalue_of_two_copies_is_seen_once_and_is_not_the_whole_spectrum() -> None:
    matrix = torch.diag(torch.tensor([-3.0, 1.0, 1.0, 2.0]).double())
    everything = complement(Subspace(torch.zeros_like, 0, 4))
    found = extreme_spectrum(lambda v: matrix @ v, everything, torch.ones(4).double(), count=2, products=50)
    assert found.values.tolist() == pytest.approx([-3, 1, 2])
    assert (found.complete, found.converged, found.products) == (False, True, 3)
    assert found.largest == pytest.approx(3)


def test_extremes_on_the_normal_space_are_those_of_the_dense_matrix() -> None:
    case = cloned()
    space = normal(case.clones, case.where)
    values = torch.linalg.eigvalsh(dense(case.at.product, space))
    found = normal_extremes(case.at, space, steps=space.dimension)
    assert found.lowest.value == pytest.approx(float(values[0]), abs=1e-10)
    assert found.highest.value == pytest.approx(float(values[-1]), abs=1e-10)


@pytest.mark.parametrize(
    ("low", "high", "name"),
    [
        (-1.0, 1.0, "saddle"),
        (-1.0, 1e-12, "unstable"),
        (-1e-12, 1.0, "stable but for flat directions"),
        (0.0, 0.0, "flat"),
    ],
)
def test_kinds(low: float, high: float, name: str) -> None:
    pair = [Ritz(value, torch.zeros(1), 0.0) for value in (low, high)]
    assert kind(Extremes(pair[0], pair[1], False)) == name
