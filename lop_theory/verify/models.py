"""Checkers of PyTorch modules and of the curvature around clone manifolds (theory.md §7, §8), in float64."""

from collections.abc import Iterator
from typing import Any

from lop_theory.verdict import Fails, Holds
from lop_theory.verify.finding import Finding, NotHere, refutes

try:
    import torch
    from torch import nn
except ImportError:
    raise NotHere("needs PyTorch", "pip install 'lop-theory[torch]'") from None

from lop_theory.stability import Regression, deficient, descend_linear, least_loss

_COUNTEREXAMPLE, _TESTED = "exact counterexample", "tested"


def _rows(count: int = 6) -> torch.Tensor:
    return torch.randn(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _seeded(make: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().double()


def _mlp() -> nn.Module:
    return _seeded(
        lambda: nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    )


def _images(normalisation: nn.Module) -> nn.Module:
    return _seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), normalisation, nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
        )
    )


def _parameter(model: nn.Module, name: str) -> torch.Tensor:
    """The parameter of that name, whatever stands before it in a wrapper's names."""
    return next(p for n, p in model.named_parameters() if n.endswith(name))


def module_certificate(_: int) -> Iterator[Finding]:
    """Block-constant biases are needed as well as RE∩CE; with them MC1–MC3 are certified   [module-certificate]."""
    from lop_theory.modules import certify, expand

    base, x = _mlp(), _rows()
    clone = expand(base, 2, example_input=x)
    found = certify(clone, base=base, example_input=x)
    yield Finding("corrected", isinstance(found, Holds), _TESTED, "a widened MLP with LayerNorm satisfies MC1-MC3")
    with torch.no_grad():
        _parameter(clone, "0.bias")[1] += 1e-3
    broken = certify(clone, example_input=x)
    yield refutes(isinstance(broken, Fails), _COUNTEREXAMPLE, "weights in RE∩CE with one unequal bias fail MC1")


def composition(_: int) -> Iterator[Finding]:
    """A certified network stays certified under SGD; Adam with coupled decay parts clones that are no copies
    [composition]."""
    from lop_theory.modules import certify, expand

    base, x = _mlp(), _rows()
    for name, redistribute, make in (
        ("SGD", None, lambda p: torch.optim.SGD(p, 0.05)),
        ("AdamW", None, lambda p: torch.optim.AdamW(p, 1e-3, weight_decay=0.1)),
    ):
        clone = expand(base, 2, example_input=x, redistribute=redistribute)
        _train(clone, make(clone.parameters()), x)
        yield Finding(
            "corrected",
            isinstance(certify(clone, example_input=x), Holds),
            _TESTED,
            f"certified after 10 steps of {name}",
        )
    clone = expand(base, 3, example_input=x, redistribute=5)
    _train(clone, torch.optim.Adam(clone.parameters(), 1e-2, weight_decay=0.1), x)
    yield refutes(
        isinstance(certify(clone, example_input=x), Fails),
        _TESTED,
        "Adam with coupled decay breaks redistributed clones",
    )


def _train(model: nn.Module, optimiser: torch.optim.Optimizer, x: torch.Tensor, steps: int = 10) -> None:
    for _ in range(steps):
        optimiser.zero_grad()
        (model(x) - 1).square().mean().backward()
        optimiser.step()


def coverage(_: int) -> Iterator[Finding]:
    """Row by row: BatchNorm and convolutions hold, dropout in training and a softmax over units do not   [coverage]."""
    from lop_theory.modules import certify, expand

    x = torch.randn(3, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for layer in (nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.ReLU()):
        base = _images(layer)
        found = certify(expand(base, 2, example_input=x), base=base, example_input=x)
        yield Finding("corrected", isinstance(found, Holds), _TESTED, f"a CNN with {type(layer).__name__} is certified")
    softmax = _seeded(
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Softmax(-1), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    )
    clone = expand(softmax, 2, example_input=_rows())
    yield refutes(
        _parameter(clone, "0.weight").shape == (3, 4),
        _COUNTEREXAMPLE,
        "a softmax over units is not widened: it is not elementwise",
    )
    dropout = _seeded(lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Dropout(0.5), nn.Linear(3, 2)))
    clone = expand(dropout.eval(), 2, example_input=_rows())
    yield refutes(
        isinstance(certify(clone.train(), example_input=_rows()), Fails), _COUNTEREXAMPLE, "dropout in training fails"
    )


# ---- curvature ----


class _Square(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x


def _two_clones(outputs: int = 1, activation: nn.Module | None = None) -> tuple[nn.Sequential, torch.Tensor]:
    """Two copies of one hidden unit, readers ½ each."""
    model = nn.Sequential(
        nn.Linear(1, 2, bias=False), activation or _Square(), nn.Linear(2, outputs, bias=False)
    ).double()
    with torch.no_grad():
        _parameter(model, "0.weight").fill_(1.0)
        _parameter(model, "2.weight").fill_(0.5)
    return model, torch.tensor([[2.0], [1.0]]).double()


def _at(model: nn.Sequential, x: torch.Tensor, target: float) -> tuple[Any, Any]:
    from lop_theory.stability import clones_of_layers, curvature

    return curvature(model, x, lambda y: (y - target).square().sum() / 2), clones_of_layers(model, {"0": [0, 0]})


def normal_splitting(examples: int) -> Iterator[Finding]:
    """H maps BC into BC on the manifold, and not beside it   [normal-splitting]."""
    from lop_theory.stability import spanned, tangent

    mixed = []
    for shift in (0.0, 0.1):
        for target in range(1, 1 + max(2, examples // 5)):
            model, x = _two_clones()
            with torch.no_grad():
                _parameter(model, "0.weight")[0] += shift
            at, clones = _at(model, x, float(target))
            basis = spanned(tangent(clones, at.coordinates))
            image = torch.stack([at.product(column) for column in basis.T], dim=1)
            mixed.append((shift, float((image - basis @ (basis.T @ image)).abs().max())))
    on, beside = (max(m for s, m in mixed if (s > 0) == off) for off in (False, True))
    yield Finding(
        "paper",
        on < 1e-12,
        _TESTED,
        f"H mixes BC with its normal space by {on:.1g} on the manifold, {beside:.1g} beside it",
    )
    yield Finding("paper", beside > 1e-3, _TESTED, "beside the manifold it does mix them: the check can fail")


def flat_directions(examples: int) -> Iterator[Finding]:
    """Redistributions change no loss, so the Hessian is never definite on the normal space   [flat-directions]."""
    from lop_theory.stability import redistributions, spanned

    for activation in (_Square(), nn.Tanh()):
        model, x = _two_clones(activation=activation)
        at, clones = _at(model, x, 3.0)
        flat = spanned(redistributions(clones, at.coordinates))
        curvature = float((flat.T @ at.product(flat[:, 0])).abs().max())
        name = type(activation).__name__.strip("_").lower()
        yield refutes(
            flat.shape[1] > 0 and curvature < 1e-12, _TESTED, f"{name}: a normal direction of curvature {curvature:.1g}"
        )
        losses = [_moved_loss(model, x, flat[:, 0], size, at) for size in (0.0, 0.1, 10.0)[: max(2, examples)]]
        yield Finding(
            "corrected",
            max(losses) - min(losses) < 1e-12 * (1 + losses[0]),
            _TESTED,
            f"{name}: the loss along it is constant",
        )


def _moved_loss(model: nn.Sequential, x: torch.Tensor, direction: torch.Tensor, size: float, at: Any) -> float:
    from torch.func import functional_call

    start = at.coordinates.flatten(dict(model.named_parameters())).detach()
    output = functional_call(model, at.coordinates.unflatten(start + size * direction), (x,))
    return float((output - 3.0).square().sum() / 2)


def saddle(_: int) -> Iterator[Finding]:
    """On the exact example vᵀHv = 0, Hv ≠ 0, and the loss falls both ways along the escape direction   [saddle]."""
    from lop_theory.stability import escape_direction

    model, x = _two_clones()
    at, clones = _at(model, x, 3.0)
    found = escape_direction(at, clones)
    if found is None:
        yield Finding("paper", None, _TESTED, "no escape direction on the exact example")
        return
    v = found.redistribution
    flat = abs(float(v @ at.product(v)))
    yield Finding(
        "paper", flat < 1e-12 and found.mixing > 1e-3, _TESTED, f"v^T H v = {flat:.1g}, |H v| = {found.mixing:.3g}"
    )
    yield Finding("paper", found.curvature < 0, _TESTED, f"curvature {found.curvature:.4g} along the escape direction")
    falls = [_moved_loss(model, x, found.direction, sign * 1e-3, at) for sign in (-1, 1)]
    yield Finding("paper", max(falls) < at.value, _TESTED, "the loss falls both ways")


def persistence(_: int) -> Iterator[Finding]:
    """Descent from the manifold stays on it; beside it the distance keeps within its factor   [persistence]."""
    from lop_theory.stability import check_growth, dense, growth_factor, normal

    distances, factors = [], []
    model, x = _two_clones(activation=nn.Tanh())
    with torch.no_grad():
        _parameter(model, "0.weight")[0] += 1e-7
    for step in range(20):
        at, clones = _at(model, x, 0.3 + 0.2 * (step % 2))  # the data change under way
        space = normal(clones, at.coordinates)
        point = at.coordinates.flatten(dict(model.named_parameters())).detach()
        values = torch.linalg.eigvalsh(dense(at.product, space))
        distances.append(float(space.project(point).norm()))
        factors.append(growth_factor(float(values[0]), float(values[-1]), 0.05))
        _set(model, at, point - 0.05 * at.gradient)
    found = check_growth(range(20), distances, factors, slack=1e-4)
    yield Finding(
        "paper",
        isinstance(found, Holds),
        _TESTED,
        f"20 steps under changing targets: distance {distances[0]:.2g} to {distances[-1]:.2g}",
    )
    model, x = _two_clones(activation=nn.Tanh())
    for step in range(20):
        at, clones = _at(model, x, 0.3 + 0.2 * (step % 2))
        _set(model, at, at.coordinates.flatten(dict(model.named_parameters())).detach() - 0.05 * at.gradient)
    first, second = _parameter(model, "0.weight").detach()
    left = float((first - second).abs())
    yield Finding("paper", left < 1e-14, _TESTED, f"from the manifold the clones differ by {left:.1g} after 20 steps")


def _set(model: nn.Sequential, at: Any, point: torch.Tensor) -> None:
    with torch.no_grad():
        for name, value in at.coordinates.unflatten(point).items():
            model.get_parameter(name).copy_(value)


def low_rank(_: int) -> Iterator[Finding]:
    """The balance moves at second order in the step; a dead direction stays dead   [low-rank]."""
    from lop_theory.stability import balance, dead_directions

    draw = torch.Generator().manual_seed(3)
    w1, w2, x, y = (torch.randn(*s, generator=draw, dtype=torch.float64) for s in ((4, 3), (2, 4), (3, 9), (2, 9)))
    moved = [float((balance(*_linear_step(w1, w2, x, y, rate)) - balance(w1, w2)).norm()) for rate in (1e-3, 5e-4)]
    yield Finding(
        "paper",
        abs(moved[0] / moved[1] - 4) < 1e-4,
        _TESTED,
        f"halving the step divides its drift by {moved[0] / moved[1]:.5f}",
    )
    u = torch.tensor([0.5, 0.5, -0.5, 0.5]).double()
    w1, w2 = w1 - torch.outer(u, u @ w1), w2 - torch.outer(w2 @ u, u)
    for _step in range(200):
        w1, w2 = _linear_step(w1, w2, x, y, 0.05)
    alive = float(torch.cat([u @ w1, w2 @ u]).abs().max())
    yield Finding(
        "paper",
        alive < 1e-12 and dead_directions(w1, w2).shape[1] == 1,
        _TESTED,
        f"a dead direction after 200 steps: {alive:.1g}",
    )


def _linear_step(
    w1: torch.Tensor, w2: torch.Tensor, x: torch.Tensor, y: torch.Tensor, rate: float
) -> tuple[torch.Tensor, torch.Tensor]:
    error = (w2 @ w1 @ x - y) / x.shape[1]
    return w1 - rate * w2.T @ error @ x.T, w2 - rate * error @ (w1 @ x).T


def low_rank_run(_: int) -> Iterator[Finding]:
    """On runs with changing data the balance drifts as the identity says, and a missing direction bounds the loss
    [low-rank-run]."""
    drifts, rests, ratios, above, below = [], [], [], [], []
    for seed in range(5):
        weights, tasks = _deep_linear(seed)
        coarse, fine = (descend_linear(weights, tasks, rate, round(0.5 / rate)) for rate in (2e-3, 1e-3))
        drifts.append(max(coarse.drift))
        rests.append(max(coarse.unexplained))
        ratios += [a / b for a, b in zip(coarse.drift, fine.drift, strict=True)]
        axes = torch.eye(4).double()
        lacking = deficient(deficient(weights, 0, axes[0]), 0, axes[1])
        bound = least_loss(tasks[0], 2)
        above.append(min(descend_linear(lacking, tasks[:1], 0.05, 1000).losses) / bound)
        below.append(descend_linear(weights, tasks[:1], 0.05, 1000).losses[-1] / bound)
    yield Finding(
        "paper",
        max(rests) < 1e-12 and min(drifts) > 1e-8,
        _TESTED,
        f"5 seeds: drift up to {max(drifts):.2g}, of which the identity leaves {max(rests):.1g}",
    )
    yield Finding(
        "paper",
        all(abs(ratio - 2) < 0.1 for ratio in ratios),
        _TESTED,
        f"half the step size over the same time: drift divided by {min(ratios):.3f} to {max(ratios):.3f}",
    )
    yield Finding(
        "paper",
        min(above) >= 1 - 1e-12 and max(below) < 1,
        _TESTED,
        f"two directions missing: loss never below {min(above):.6f} of the bound; else down to {max(below):.2g} of it",
    )


def _deep_linear(seed: int) -> tuple[list[torch.Tensor], list[Regression]]:
    draw = torch.Generator().manual_seed(seed)
    weights = [torch.randn(*s, generator=draw, dtype=torch.float64) / 2 for s in ((4, 5), (4, 4), (3, 4))]
    pairs = [[torch.randn(d, 12, generator=draw, dtype=torch.float64) for d in (5, 3)] for _ in range(2)]
    return weights, [Regression(*pair) for pair in pairs]
