"""The escape plane: exact rational example, dense oracle, what the loss does along it, and when there is none."""

import pytest
import sympy
import torch
from torch import nn

from lop_theory.stability import (
    clones_of_layers,
    coordinates,
    curvature,
    escape_direction,
    kind,
    normal,
    normal_extremes,
    redistributions,
)
from tests.stability.nets import cloned, dense_hessian


class Square(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x


def exact_example() -> tuple[sympy.Matrix, sympy.Matrix]:
    """y = a₁(w₁x)² + a₂(w₂x)², loss ½(y − 3)² at w = (1, 1), a = (½, ½), x = 2: Hessian over (w₁, w₂, a₁, a₂), exactly,
    and v = a₁ → a₂."""
    w1, w2, a1, a2 = variables = sympy.symbols("w1 w2 a1 a2")
    loss = (a1 * (2 * w1) ** 2 + a2 * (2 * w2) ** 2 - 3) ** 2 / 2
    half = sympy.Rational(1, 2)
    return sympy.hessian(loss, variables).subs({w1: 1, w2: 1, a1: half, a2: half}), sympy.Matrix([0, 0, 1, -1])


def torch_example() -> tuple[nn.Sequential, torch.Tensor]:
    model = nn.Sequential(nn.Linear(1, 2, bias=False), Square(), nn.Linear(2, 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight[:] = 1.0
        model[2].weight[:] = 0.5
    return model, torch.tensor([[2.0]]).double()


@pytest.mark.claim("saddle")
def test_the_exact_example_and_the_explicit_directions_of_the_theorem() -> None:
    H, v = exact_example()
    model, x = torch_example()
    at = curvature(model, x, lambda y: (y - 3).square().sum() / 2)
    product = torch.stack([at.product(row) for row in torch.eye(4).double()])
    assert product.tolist() == [[float(e) for e in row] for row in H.tolist()]
    k = H * v
    assert (v.T * H * v)[0] == 0
    assert k != sympy.zeros(4, 1)
    for value in (-1, 1):
        a = (value - (k.T * H * k)[0]) / (2 * (k.T * H * v)[0])
        assert ((k + a * v).T * H * (k + a * v))[0] == value
    found = escape_direction(at, clones_of_layers(model, {"0": [0, 0]}))
    assert found is not None
    unit, q = k / k.norm(), (k.T * H * k)[0] / (k.T * k)[0]
    mixing = (v / sympy.sqrt(2)).dot(H * unit)
    assert found.mixing == pytest.approx(float(abs(mixing)), rel=1e-14)
    assert found.curvature == pytest.approx(float(q / 2 - sympy.sqrt(q**2 / 4 + mixing**2)), rel=1e-14)


@pytest.mark.claim("saddle")
@pytest.mark.parametrize("seed", range(6))
def test_the_direction_is_normal_negative_and_the_loss_falls_both_ways(seed: int) -> None:
    case = cloned(seed=seed)
    at, H = case.at, dense_hessian(case)
    found = escape_direction(at, case.clones, seed=seed)
    assert found is not None
    d = found.direction
    assert torch.allclose(normal(case.clones, case.where).project(d), d, atol=1e-12)
    assert float(d.norm()) == pytest.approx(1)
    assert float(d @ H @ d) == pytest.approx(found.curvature, abs=1e-12)
    assert found.curvature < 0
    v = found.redistribution
    assert float((H @ v).norm()) == pytest.approx(found.mixing)
    assert torch.allclose(redistributions(case.clones, case.where).project(v), v, atol=1e-12)
    start, size = case.where.flatten(dict(case.model.named_parameters())).detach(), 1e-3
    for sign in (-1, 1):
        moved = case.where.unflatten(start + sign * size * d)
        after = float(case.loss(torch.func.functional_call(case.model, moved, (case.inputs,))).detach())
        assert (after - at.value) / (size**2 / 2) == pytest.approx(found.curvature, rel=0.1, abs=1e-4)
        assert after < at.value


def test_a_clone_manifold_is_a_saddle() -> None:
    case = cloned()
    assert kind(normal_extremes(case.at, normal(case.clones, case.where))) == "saddle"


def fitted(outputs: int) -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    """Two clones of one tanh unit at a critical point of the base: descent, then Newton's method."""
    x = torch.linspace(-1, 2, 6).double()[:, None]
    y = torch.cat([torch.sin(2 * x), x**2][:outputs], dim=1)
    base = nn.Sequential(nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, outputs)).double()
    where = coordinates(base)
    point = torch.full((where.dimension,), 0.7).double()

    def loss(vector: torch.Tensor) -> torch.Tensor:
        return (torch.func.functional_call(base, where.unflatten(vector), (x,)) - y).square().mean()

    for _ in range(300):
        point = point - 0.1 * torch.func.grad(loss)(point)
    for _ in range(20):
        point = point - torch.linalg.solve(torch.func.hessian(loss)(point), torch.func.grad(loss)(point))
    found = where.unflatten(point)
    clone = nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, outputs)).double()
    with torch.no_grad():
        clone[0].weight[:], clone[0].bias[:] = found["0.weight"], found["0.bias"]
        clone[2].weight[:], clone[2].bias[:] = found["2.weight"] / 2, found["2.bias"]
    return clone, x, y


@pytest.mark.claim("saddle")
def test_at_a_critical_base_the_cross_term_vanishes_with_one_output_and_not_with_two() -> None:
    mixing = []
    for outputs in (1, 2):
        model, x, y = fitted(outputs)
        at = curvature(model, x, lambda out, y=y: (out - y).square().mean())
        assert float(at.gradient.norm()) < 1e-7
        assert at.value > 1e-2
        found = escape_direction(at, clones_of_layers(model, {"0": [0, 0]}))
        assert found is not None
        mixing.append(found.mixing)
    assert mixing[0] < 1e-6
    assert mixing[1] > 1e-2


def test_without_clones_there_is_no_direction() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    at = curvature(model, torch.ones(3, 2), lambda y: y.square().mean())
    assert escape_direction(at, clones_of_layers(model, {"0": [0, 1]})) is None
    assert coordinates(model) == at.coordinates


def planted(build) -> nn.Module:
    """``build(width)`` at twice the width, a clone of itself at the width."""
    from lop_theory.modules import expand

    torch.manual_seed(0)
    base, inputs = build(1)
    wide, _ = build(2)
    wide.load_state_dict(expand(base, 2, example_input=inputs).state_dict())
    return wide, inputs


def residual(times: int):
    from lop_theory.modules.zoo import resnet18

    model = resnet18((3, 8, 8), 5, base=3 * times, blocks=(1, 1)).double().eval()
    return model, torch.randn(6, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Attention(nn.Module):
    def __init__(self, times: int) -> None:
        super().__init__()
        self.embed, self.up, self.down = (
            nn.Linear(4, 8 * times),
            nn.Linear(8 * times, 6 * times),
            nn.Linear(6 * times, 3),
        )
        self.heads = 2 * times

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        h = self.embed(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        h = nn.functional.scaled_dot_product_attention(h, h, h).transpose(1, 2).flatten(2)
        return self.down(torch.tanh(self.up(h))).mean(1)


def attention(times: int):
    return Attention(times).double(), {"tokens": torch.randn(6, 5, 4, dtype=torch.float64)}


@pytest.mark.claim("saddle")
@pytest.mark.parametrize("build", [residual, attention])
def test_any_traced_model_leaves_its_manifold_downhill_and_keeps_its_class(build) -> None:
    from lop_theory.modules import detect
    from lop_theory.stability import escaped

    model, inputs = planted(build)
    target = torch.arange(6) % 3

    def loss(output: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(output, target)

    found = detect(model, inputs)
    assert found.verdicts("trapped")
    away = escaped(model, found, loss, size=1e-3)
    assert type(away.model) is type(model)
    pairs = [(p.detach(), q.detach()) for p, q in zip(away.model.parameters(), model.parameters(), strict=True)]
    moved, norm = (
        torch.cat([t.flatten() for t in ts]).norm() for ts in zip(*((p - q, q) for p, q in pairs), strict=True)
    )
    assert float(moved / norm) == pytest.approx(1e-3, rel=1e-9)
    assert away.escape.curvature < 0
    again = detect(away.model, inputs)
    assert len(again.verdicts("trapped")) < len(found.verdicts("trapped")) / 2
    call = (lambda m: m(**inputs)) if isinstance(inputs, dict) else (lambda m: m(inputs))
    assert float(loss(call(away.model)).detach()) < float(loss(call(model)).detach())


def test_without_trapped_units_there_is_nothing_to_escape_from() -> None:
    from lop_theory.errors import InvalidInput
    from lop_theory.modules import detect
    from lop_theory.stability import escaped

    model, inputs = residual(1)
    with pytest.raises(InvalidInput, match="no trapped units"):
        escaped(model, detect(model, inputs), torch.sum)
    model, inputs = planted(attention)
    found = detect(model, inputs)
    for lacking in (found._replace(structure=None), found._replace(layers=())):
        with pytest.raises(InvalidInput, match="has no trapped units"):
            escaped(model, lacking, torch.sum)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("apart", [(1.02, 0.97), (0.97, 1.02), (1.05, 1.0), (1.0, 1.05)])
def test_beside_the_manifold_the_direction_is_that_in_which_the_loss_falls(
    apart: tuple[float, float], seed: int
) -> None:
    model, x = torch_example()
    with torch.no_grad():
        model[0].weight[:, 0] = torch.tensor(apart)

    def loss(y: torch.Tensor) -> torch.Tensor:
        return (y - 3).square().sum() / 2

    at = curvature(model, x, loss)
    found = escape_direction(at, clones_of_layers(model, {"0": [0, 0]}), seed=seed)
    assert found is not None
    moved = at.coordinates.unflatten(1e-6 * found.direction)
    before = loss(model(x)).item()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(moved[name])
    assert loss(model(x)).item() < before
