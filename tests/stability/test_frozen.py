"""Frozen units: no curvature, the distance to life, and the certificate against the exact one of the graph."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lop_theory.errors import InvalidInput
from lop_theory.graph import certificate
from lop_theory.graph.convert import from_torch
from lop_theory.stability import (
    certified_frozen,
    coordinates,
    curvature,
    dense,
    frozen_coordinates,
    kind,
    normal_extremes,
    revival_distance,
)


def stack(seed: int, widths: tuple[int, ...] = (2, 3, 3, 1), *, shift: float = 0.0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        linears = [nn.Linear(a, b).double() for a, b in pairwise(widths)]
    with torch.no_grad():
        for linear in linears[:-1]:
            linear.bias -= shift
    modules = [m for linear in linears[:-1] for m in (linear, nn.ReLU())]
    return nn.Sequential(*modules, linears[-1])


def weights(model: nn.Sequential) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(m.weight, m.bias) for m in model if isinstance(m, nn.Linear)][:-1]


def test_a_frozen_unit_has_no_curvature_on_its_normal_space() -> None:
    model = stack(0)
    with torch.no_grad():
        model[0].bias[1] = -50.0
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at = curvature(model, x, lambda y: (y - 1).square().mean())
    space = frozen_coordinates(model, {"0": [1]}, coordinates(model))
    assert space.dimension == 3
    assert not dense(at.product, space).any()
    assert not space.project(at.gradient).any()
    assert kind(normal_extremes(at, space)) == "flat"
    assert dense(at.product, frozen_coordinates(model, {"0": [0, 2]}, coordinates(model))).any()


@given(st.integers(0, 500))
def test_the_distance_to_life_is_reached_and_not_undercut(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    x, w, b = (torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((6, 3), (4, 3), (4,)))
    b = b - 3
    found = revival_distance(x, w, b)
    z = x @ w.T + b
    assert torch.equal(found == 0, (z >= 0).any(0))
    for unit in torch.nonzero(found).flatten().tolist():
        push = torch.randn(4, generator=draw, dtype=torch.float64)
        push *= 0.999 * float(found[unit]) / push.norm()
        assert (x @ (w[unit] + push[:3]) + b[unit] + push[3] < 0).all()
        nearest = int((-z[:, unit] / (x.square().sum(1) + 1).sqrt()).argmin())
        best = torch.cat([x[nearest], torch.ones(1).double()])
        best *= 1.001 * float(found[unit]) / best.norm()
        assert (x @ (w[unit] + best[:3]) + b[unit] + best[3] > 0).any()


def test_inputs_of_one_value_and_weights_of_none_are_certified() -> None:
    first = torch.tensor([[1.0]]), torch.tensor([-3.0])
    assert certified_frozen([first], 2.0, 2.0)[0].tolist() == [True]
    assert certified_frozen([first], 2.0, 4.0)[0].tolist() == [False]
    assert certified_frozen([(-first[0], first[1])], -4.0, -2.0)[0].tolist() == [False]
    second = torch.tensor([[0.0, -1.0], [1e-9, -1.0]]), torch.tensor([-1.0, -1.0])
    active = torch.tensor([[1.0], [1.0]]), torch.tensor([0.0, 0.0])
    assert certified_frozen([active, second], 0.0, 1.0)[1].tolist() == [True, False]


def test_a_unit_without_weights_rests_on_its_kink_and_is_not_certified() -> None:
    (mask,) = certified_frozen([(torch.zeros(2, 3), torch.tensor([0.0, -1.0]))], -1.0, 1.0)
    assert mask.tolist() == [False, True]


@given(st.integers(0, 300), st.floats(0, 3))
def test_certificates_are_those_of_the_exact_graph(seed: int, shift: float) -> None:
    model = stack(seed, shift=shift)
    masks = certified_frozen(weights(model), -1.0, 1.0)
    network = from_torch(model)
    exact = {str(f.id) for f in certificate.frozen_units(network, (-1, 1))}
    assert sum(int(m.sum()) for m in masks) == len(exact)


@pytest.mark.claim("frozen-unit")
@given(st.integers(0, 300))
def test_certified_units_get_no_gradient_with_or_without_dropout_whatever_lies_upstream(seed: int) -> None:
    model = stack(seed, (2, 4, 4, 2), shift=0.5)
    with torch.no_grad():
        model[0].bias[0] = -5.0
        model[2].weight[1] = -model[2].weight[1].abs()
    first, second = certified_frozen(weights(model), -1.0, 1.0)
    assert first[0]
    assert second[1]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        with torch.no_grad():
            keep = model[0].weight[first].clone(), model[0].bias[first].clone()
            model[0].weight.normal_(0, 3)
            model[0].weight[first], model[0].bias[first] = keep
        x = torch.rand(50, 2).double() * 2 - 1
        dropped = nn.Sequential(*model[:2], nn.Dropout(0.5), *model[2:4], nn.Dropout(0.5), model[4])
        for net in (model, dropped):
            model.zero_grad()
            net(x).square().sum().backward()
            assert not model[0].weight.grad[first].any()
            assert not model[2].weight.grad[second].any()


@pytest.mark.parametrize(("dtype", "columns"), [(torch.float32, 12), (torch.float64, 12)])
def test_certificates_hold_in_the_arithmetic_of_the_weights(dtype: torch.dtype, columns: int) -> None:
    """Biases a last place below −Σw: the sums that PyTorch forms round above 0 for some, and none of those passes."""
    weight = torch.rand(4000, columns, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    bias = torch.nextafter((-weight.double().sum(1)).to(dtype), torch.tensor(-9e9, dtype=dtype))
    z = nn.functional.linear(torch.ones(1, columns, dtype=dtype), weight, bias)[0]
    assert bool((z > 0).any())
    (frozen,) = certified_frozen([(weight, bias)], 0.0, 1.0)
    assert not bool((frozen & (z > 0)).any())
    (frozen,) = certified_frozen([(weight, bias * 1.5)], 0.0, 1.0)
    assert bool(frozen.all())


def test_nothing_is_certified_of_what_bounds_nothing() -> None:
    ones, below = torch.ones(1, 300), torch.tensor([-1e9])
    assert certified_frozen([(ones, below)], 0.0, 1.0)[0].tolist() == [True]
    assert certified_frozen([(ones.bfloat16(), below.bfloat16())], 0.0, 1.0)[0].tolist() == [False]
    nan = torch.tensor([[torch.nan, -1.0]])
    for layers in ([(nan, below)], [(torch.ones(2, 1), torch.zeros(2)), (nan, below)]):
        assert certified_frozen(layers, 0.0, 1.0)[-1].tolist() == [False]
    for low, high in ((1.0, 0.0), (float("nan"), 1.0)):
        with pytest.raises(InvalidInput, match=r"^low="):
            certified_frozen([(ones, below)], low, high)
