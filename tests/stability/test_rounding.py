"""Curvature on N that rounding alone makes is none: at exact minima, and where outputs are large beside errors."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lop_theory.stability import analyse, normal, rounding
from lop_theory.stability.analysis import Settings
from lop_theory.stability.inertia import ZERO
from lop_theory.stability.krylov import Operator
from lop_theory.stability.objective import Objective, objective_of
from lop_theory.stability.rounding import Roundings, _larger, _smaller, rounded, rounding_of
from lop_theory.stability.subspace import Subspace, complement
from tests.stability.nets import cloned

Loss = Callable[[Tensor], Tensor]
Asked = tuple[nn.Module, Tensor, Loss]


def copies(
    width: int, times: int, seed: int, *, outputs: int = 1, offset: float = 0.0
) -> tuple[nn.Module, nn.Module, Tensor]:
    """3 → width → outputs, the same with every unit ``times`` times, and inputs."""
    draw = torch.Generator().manual_seed(seed)
    small, large = (
        nn.Sequential(nn.Linear(3, units), nn.Tanh(), nn.Linear(units, outputs)).double()
        for units in (width, width * times)
    )
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
        small[2].bias += offset
        large[0].weight.copy_(small[0].weight.repeat(times, 1))
        large[0].bias.copy_(small[0].bias.repeat(times))
        large[2].weight.copy_(small[2].weight.repeat(1, times) / times)
        large[2].bias.copy_(small[2].bias)
    return small, large, torch.randn(20, 3, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
@pytest.mark.parametrize("offset", [0.0, 10.0, 1e5])
@pytest.mark.parametrize(("width", "times"), [(1, 2), (1, 8), (1, 16), (2, 5), (3, 3)])
def test_an_exact_minimum_is_flat(width, times, offset, precision) -> None:
    for seed in range(3):
        small, large, inputs = copies(width, times, seed, offset=offset)
        target = small.to(precision)(inputs.to(precision)).detach()
        found = analyse(
            large,
            inputs,
            lambda y, t=target: (y - t.to(y)).square().mean(),
            settings=Settings(seeds=(), precision=precision),
        )
        assert found.kind == "flat"
        assert found.inertia[:3] == (0, found.normal, 0)


@pytest.mark.parametrize("offset", [0.0, 10.0, 1e3, 1e5])
def test_float32_counts_no_curvature_that_is_not_there(offset) -> None:
    small, large, inputs = copies(2, 3, 0, offset=offset)
    target = small(inputs).detach() + 1e-3 * torch.randn(20, 1, generator=torch.Generator().manual_seed(5)).double()
    there, seen = (
        analyse(
            large,
            inputs,
            lambda y: (y - target.to(y)).square().mean(),
            settings=Settings(seeds=(), precision=precision),
        )
        for precision in (torch.float64, torch.float32)
    )
    assert there.inertia.negative > 0 < there.inertia.positive
    assert seen.inertia.negative <= there.inertia.negative
    assert seen.inertia.positive <= there.inertia.positive
    assert seen.kind == ("saddle" if offset <= 10 else "flat")


def mse(target: Tensor) -> Loss:
    return lambda y: (y - target.to(y)).square().mean()


def frozen_below(small: nn.Module, large: nn.Module, inputs: Tensor) -> Asked:
    """Of the last layer alone every squared error is convex, and flat along redistributions."""
    large[0].requires_grad_(False)
    return large, inputs, mse(small(inputs).detach() + 1)


def saturated(small: nn.Module, large: nn.Module, inputs: Tensor) -> Asked:
    large[0].bias.data.add_(50)
    return large, inputs, mse(small(inputs).detach())


def nothing(_: nn.Module, large: nn.Module, inputs: Tensor) -> Asked:
    nn.init.zeros_(large[2].weight)
    nn.init.zeros_(large[2].bias)
    return large, inputs, mse(torch.zeros(1))


class Shifted(nn.Module):
    """By a number that is not trained."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.shift = inner, nn.Parameter(torch.tensor(1e3).double(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.shift


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(nn.functional.layer_norm(x, x.shape[1:]))


def shifted(small: nn.Module, large: nn.Module, inputs: Tensor) -> Asked:
    return Shifted(large), inputs, mse(Shifted(small)(inputs).detach())


def residual(small: nn.Module, large: nn.Module, inputs: Tensor) -> Asked:
    inputs = 300 * inputs
    return Residual(large), inputs, mse(Residual(small)(inputs).detach())


def centred(small: nn.Module, large: nn.Module, inputs: Tensor) -> Asked:
    """What float32 rounds of the inputs is much of what is left after their mean is taken off."""
    inputs, norm = inputs + 1e4, nn.LayerNorm(3).double()
    return nn.Sequential(norm, large), inputs, mse(small(norm(inputs)).detach())


def distilled(small: nn.Module, large: nn.Module, inputs: Tensor) -> Asked:
    """p − q is as exact as q, though p hardly depends on the weights where it is nearly 0 or 1."""
    for model in (small, large):
        model[2].weight.data.mul_(100)
        model[2].bias.data.mul_(100)
    classes = small(inputs).softmax(1).detach()
    return large, inputs, lambda y: nn.functional.cross_entropy(y, classes.to(y))


@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", [frozen_below, saturated, nothing, shifted, residual, centred, distilled])
def test_what_rounding_alone_bends_is_flat(case, precision) -> None:
    for seed in range(4):
        outputs = {residual: 3, distilled: 4}.get(case, 1)
        model, inputs, loss = case(*copies(2, 2, seed, outputs=outputs))
        found = analyse(model, inputs, loss, settings=Settings(seeds=(), precision=precision))
        assert found.kind == "flat"
        assert found.inertia[:3] == (0, found.normal, 0)


def test_float32_takes_no_digit_of_a_saturated_class_for_curvature() -> None:
    """The loss rounds to 0: 1 − p is less than a unit of p, and so is every curvature."""
    small, large, inputs = copies(2, 2, 0, outputs=2)
    with torch.no_grad():
        for model in (small, large):
            model[2].weight.mul_(40)
    best = small(inputs).argmax(1)
    there, seen = (
        analyse(large, inputs, lambda y: nn.functional.cross_entropy(y, best), settings=Settings(seeds=(), precision=p))
        for p in (torch.float64, torch.float32)
    )
    assert there.kind == "saddle"
    assert seen.inertia.negative <= there.inertia.negative
    assert seen.inertia.positive <= there.inertia.positive


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_weights_are_rounded_along_the_manifold_each_in_proportion(dtype) -> None:
    case = cloned()
    space = normal(case.clones, case.where)
    weights = complement(space).project(objective_of(case.model, case.inputs, case.loss, dtype=dtype).start)
    weights[:3] = 0.0
    one, other = (rounded(weights, space, seed) for seed in (0, 1))
    unit = torch.finfo(dtype).eps * float(weights.norm())
    assert one.dtype == dtype
    for change in (one, other):
        assert float(change.norm()) == pytest.approx(unit)
        assert float(space.project(change).norm()) < 1e-6 * unit
    assert float((one - other).norm()) > 0.1 * unit
    everywhere = Subspace(torch.zeros_like, 0, len(weights))
    assert not rounded(weights, everywhere, 0)[:3].any()
    assert not rounded(torch.zeros_like(weights), space, 0).any()


def coins(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_what_is_computed_is_off_by_a_unit_up_or_down_and_nothing_else(dtype) -> None:
    x, w = torch.linspace(1, 2, 64, dtype=dtype), torch.full((64,), 0.3, dtype=dtype)
    exact = w * x
    with Roundings(coins()):
        product = w * x
        view, mask, text, half = product.reshape(8, 8).t(), w > 0, product.clone().add_(0.0), (w * x).half()
    errors = (product - exact) / exact / torch.finfo(dtype).eps
    assert errors.abs().min() > 0.4
    assert errors.abs().max() < 1.6
    assert errors.min() < 0 < errors.max()
    assert torch.equal(view, product.reshape(8, 8).t())
    assert mask.all()
    assert float((text - product).abs().max()) < 2 * torch.finfo(dtype).eps
    assert torch.equal(half, exact.half()) or float((half - exact.half()).abs().max()) < 2e-3
    with Roundings(coins()):
        again = w * x
    with Roundings(coins(1)):
        other = w * x
    assert torch.equal(product, again)
    assert not torch.equal(product, other)
    with Roundings(coins()):
        assert torch.isinf(torch.tensor([1.0, -1.0]) / 0).all()
        assert (torch.eye(3).to_sparse() * 2).layout == torch.sparse_coo


KERNELS = {
    "tanh": (torch.tanh, lambda z: z.tanh() ** 2),
    "sigmoid": (torch.sigmoid, lambda z: z.sigmoid() ** 2),
    "gelu": (nn.functional.gelu, torch.ones_like),
    "log_softmax": (lambda z: z.log_softmax(0), lambda z: 1 + len(z) * z.softmax(0)),
    "softmax": (lambda z: z.softmax(0), lambda z: 2 * z.softmax(0)),
}


@pytest.mark.parametrize("name", KERNELS)
def test_derivatives_are_off_by_the_digits_of_their_terms(name) -> None:
    """For a slope of 1; where there is no difference, by their own."""
    function, terms = KERNELS[name]
    z = torch.tensor([40.0, -40.0, -1.0, 0.5, 5.0]).double().requires_grad_()
    slope = torch.ones(5).double()
    (exact,) = torch.autograd.grad(function(z), z, slope)
    value = function(z)
    with Roundings(coins()):
        (found,) = torch.autograd.grad(value, z, slope, create_graph=True)
    expected = torch.maximum(terms(z.detach()), exact.abs()) * 2.2e-16
    off = (found - exact).abs().detach()
    assert (off <= 1.6 * expected + 1e-40).all()
    assert (off >= 0.4 * expected)[expected > 1e-16].all()


def test_inputs_grow_and_outputs_shrink_by_a_unit_and_small_whole_numbers_stay() -> None:
    given = torch.tensor([0.0, 1.0, -2.0, 0.5, -0.25, 3.0, torch.inf]).double().repeat(40, 1)
    larger, smaller = _larger(given, coins()), _smaller(given, coins())
    assert torch.equal(larger[:, [0, 1, 2, 6]], given[:, [0, 1, 2, 6]])
    assert (larger.abs() >= given.abs()).all()
    assert (smaller.abs() <= given.abs()).all()
    for moved, columns in ((larger, [3, 4, 5]), (smaller, [1, 2, 3, 4, 5])):
        units = (moved[:, columns] / given[:, columns] - 1).abs() / 2.2e-16
        assert {0.0, 1.0} <= set(units.round().flatten().tolist()) <= {0.0, 1.0, 2.0}
    for odd in (torch.tensor([1, 2]), torch.ones(2).half(), torch.eye(2).to_sparse(), torch.ones(2) > 0):
        assert _larger(odd, coins()) is odd
        assert _smaller(odd, coins()) is odd


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("signs", [(-4.0, 2.0), (4.0, -2.0)])
def test_the_change_of_a_form_is_its_largest(signs, dtype) -> None:
    """L = ½ x₀ (a x₁² + b x₂²) at x = (c, 0, 0): H|_N = c diag(a, b), and ε moves c by u |c|."""

    class Form(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x = nn.Parameter(torch.tensor([1.5, 0.0, 0.0]).double())

        def forward(self, values: Tensor) -> Tensor:
            return self.x[0] * (values * self.x**2).sum() / 2

    values = torch.tensor([0.0, *signs]).double()
    at = objective_of(Form(), values, lambda y: y, dtype=dtype)
    space = Subspace(lambda v: v * torch.tensor([0.0, 1.0, 1.0]).to(v), 2, 3)
    found = rounding_of(at, at.curvature(at.start).product, space)
    assert 4 * 1.5 * torch.finfo(dtype).eps < found < 24 * 1.5 * torch.finfo(dtype).eps


def test_the_largest_change_of_three_draws_counts(monkeypatch) -> None:
    case = cloned()
    space = normal(case.clones, case.where)
    at = objective_of(case.model, case.inputs, case.loss)
    here, seeds = at.curvature(at.start).product, list[int]()

    def otherwise(_: Objective, space: Subspace, seed: int) -> Operator:
        seeds.append(seed)
        return lambda v: here(v) + (1, -3, 2)[seed] * space.project(v)

    monkeypatch.setattr(rounding, "_otherwise", otherwise)
    assert rounding_of(at, here, space) == pytest.approx(3)
    assert seeds == [0, 1, 2]


def test_inputs_outputs_and_weights_are_rounded_and_the_model_is_not_touched() -> None:
    read, told = list[tuple[Tensor, ...]](), list[Tensor]()

    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x = nn.Parameter(torch.tensor([1.0, 0.0]).double())
            self.register_buffer("seen", torch.tensor([0.3, 2.0]).double())

        def forward(self, given: Tensor) -> dict[str, Tensor]:
            read.append((given, self.seen, self.x.detach()))
            return {"y": given * self.seen * self.x**2}

    def loss(output: dict[str, Tensor]) -> Tensor:
        told.append(output["y"].detach() / (read[-1][0] * read[-1][1] * read[-1][2] ** 2))
        return output["y"].sum()

    model, given = Read(), torch.tensor([0.7, 2.0]).double().repeat(30, 1)
    at = objective_of(model, given, loss)
    space = Subspace(lambda v: v * torch.tensor([0.0, 1.0]).to(v), 1, 2)
    here = at.curvature(at.start).product
    rounding_of(at, here, space)
    (inputs, buffers, weights), *others = read
    assert len(others) == 3
    for other in others:
        assert 0 < (other[0][:, 0] != inputs[:, 0]).sum() < 30
        assert torch.equal(other[0][:, 1], inputs[:, 1])
        assert torch.equal(other[1], buffers)
        assert 1e-16 < abs(float(other[2][0] - weights[0])) < 1e-15
        assert other[2][1] == 0
    assert (told[0][:, 0] == 1).all()
    assert all(0 < (ratio[:, 0] < 1).sum() < 30 for ratio in told[1:])
    assert torch.equal(given, inputs)
    assert torch.equal(model.seen, buffers)
    assert torch.equal(model.x, weights)


@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "choose",
    [
        lambda h: h * (h >= h.topk(1).values),
        lambda h: h * (h == h.amax(-1, keepdim=True)),
        lambda h: h * torch.tensor([0.5, 1.0, 2.0]).to(h)[(2 * h[:, 0]).round().long().clamp(-1, 1)][:, None],
        lambda h: torch.where(h <= h.median(0).values, h, h / 2),
        lambda h: (h @ h.T).masked_fill(torch.ones_like(h @ h.T).tril() != 1, -torch.inf).softmax(-1) @ h,
    ],
)
def test_models_that_choose_by_their_numbers_keep_their_choices(choose, precision) -> None:
    """Were a number rounded and not its copy, the model would be another one."""
    _, large, inputs = copies(3, 2, 0, outputs=2)

    class Choosing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = large

        def forward(self, x: Tensor) -> Tensor:
            return choose(self.inner(x))

    settings = Settings(seeds=(), precision=precision)
    found = analyse(Choosing(), inputs, lambda y: (y - 1).square().mean(), settings=settings)
    assert found.kind == "saddle"
    assert found.zero <= 1.01 * ZERO[precision] * found.spectrum.largest


@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("shift", "loss"),
    [
        (-12.0, lambda y: y.sigmoid().log().square().mean()),
        (0.0, lambda y: nn.functional.binary_cross_entropy(y.sigmoid(), torch.ones_like(y))),
        (12.0, lambda y: nn.functional.softplus(-y).mean()),
        (torch.tensor([25.0, -5.0]), lambda y: y.softmax(1).log()[:, 1].square().mean()),
    ],
)
def test_tails_that_kernels_compute_to_all_digits_are_curved(shift, loss, precision) -> None:
    _, large, inputs = copies(3, 2, 0, outputs=2)
    large[2].bias.data += shift
    found = analyse(large, inputs, loss, settings=Settings(seeds=(), precision=precision))
    assert found.kind == "saddle"
    assert found.zero <= 1.01 * ZERO[precision] * found.spectrum.largest


def test_saturated_probabilities_stay_probabilities() -> None:
    _, large, inputs = copies(3, 2, 0, outputs=2)
    large[2].bias.data += 40

    def loss(p: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy(p, torch.ones_like(p))

    found = analyse(nn.Sequential(large, nn.Sigmoid()), inputs, loss, settings=Settings(seeds=()))
    assert found.kind == "flat"


def test_whole_numbers_that_are_large_are_rounded() -> None:
    """A mean of 1e4 is not taken off exactly, whatever the inputs are."""
    small, large, inputs = copies(2, 2, 0)
    inputs = (3 * inputs).round() + 1e4

    def centred(model: nn.Module) -> nn.Module:
        class Centred(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = model

            def forward(self, x: Tensor) -> Tensor:
                return self.inner(x - x.mean(1, keepdim=True))

        return Centred()

    target = centred(small)(inputs).detach()
    found = analyse(centred(large), inputs, mse(target), settings=Settings(seeds=(), precision=torch.float32))
    assert found.kind == "flat"
