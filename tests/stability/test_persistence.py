"""Escape times, and their check along gradient descent near a clone manifold; rank-deficient linear networks."""

import math

import pytest
import torch
from torch.func import functional_call, grad

from lop_theory.errors import InvalidInput
from lop_theory.stability import (
    Regression,
    balance,
    check_growth,
    dead_directions,
    deficient,
    dense,
    descend_linear,
    escape_time,
    growth_factor,
    least_loss,
    normal,
    normal_extremes,
    steps_to_escape,
)
from lop_theory.verdict import Fails
from tests.stability.nets import Case, cloned


@pytest.mark.claim("persistence")
def test_escape_times() -> None:
    assert escape_time(1e-6, 1e-2, 0.5) == pytest.approx(math.log(1e4) / 0.5)
    assert escape_time(1e-6, 1e-2, -0.5) == escape_time(0.0, 1.0, 2.0) == math.inf
    assert escape_time(1.0, 0.5, 1.0) == steps_to_escape(1.0, 0.5, 2.0) == 0.0
    assert growth_factor(-2.0, 5.0, 0.1) == pytest.approx(1.2)
    assert growth_factor(1.0, 30.0, 0.1) == pytest.approx(2.0)
    assert steps_to_escape(1e-3, 1.0, 1.2) == math.ceil(math.log(1e3) / math.log(1.2))
    assert steps_to_escape(1e-3, 1.0, 0.9) == math.inf
    for start, radius in ((1.0, 1.0), (2.0, 1.0)):  # there already, whatever the rate
        assert escape_time(start, radius, -1.0) == steps_to_escape(start, radius, 0.5) == 0.0
    assert escape_time(1e-3, 1.0, 0.0) == steps_to_escape(1e-3, 1.0, 1.0) == math.inf
    assert steps_to_escape(0.0, 1.0, 2.0) == escape_time(0.0, 1.0, 1.0) == math.inf
    assert steps_to_escape(1.0, 8.0, 2.0) == 3
    for start, radius in ((-1.0, 1.0), (1.0, 0.0), (0.0, -1.0), (math.nan, 1.0)):
        with pytest.raises(InvalidInput):
            steps_to_escape(start, radius, 2.0)
    with pytest.raises(InvalidInput):
        escape_time(-1.0, 1.0, 1.0)


def descend(case: Case, displacement: torch.Tensor, rate: float, steps: int) -> tuple[list[float], list[float]]:
    """Distances to the manifold and predicted factors along full-batch gradient descent."""
    space = normal(case.clones, case.where)
    point = case.where.flatten(dict(case.model.named_parameters())).detach() + displacement

    def loss(vector: torch.Tensor) -> torch.Tensor:
        return case.loss(functional_call(case.model, case.where.unflatten(vector), (case.inputs,)))

    start = case.where.flatten(dict(case.model.named_parameters())).detach()
    distances, factors = [], []
    for _ in range(steps):
        distances.append(float(space.project(point - start).norm()))
        with torch.no_grad():
            for name, value in case.where.unflatten(point).items():
                case.model.get_parameter(name).copy_(value)
        values = torch.linalg.eigvalsh(dense(case.at.product, space))
        factors.append(growth_factor(float(values[0]), float(values[-1]), rate))
        point = point - rate * grad(loss)(point)
    return distances, factors


@pytest.mark.claim("persistence")
def test_descent_beside_a_clone_manifold_keeps_the_predicted_pace() -> None:
    case = cloned()
    lowest = normal_extremes(case.at, normal(case.clones, case.where), steps=60).lowest
    assert lowest.value < 0
    distances, factors = descend(case, 1e-7 * lowest.vector, 0.05, 30)
    assert distances[-1] > 1.05 * distances[0]
    assert check_growth(range(30), distances, factors, slack=1e-5)
    shrunk = [1 + (f - 1) / 2 for f in factors]
    found = check_growth(range(30), distances, shrunk, slack=1e-5)
    assert isinstance(found, Fails)
    assert found.witness.factor > found.witness.bound


def test_growth_is_judged_between_measurements_and_above_the_floor() -> None:
    steps, distances, factors = (0, 2, 3), (1.0, 4.0, 4.0), (1.5, 2.0, 1.0)
    assert check_growth(steps, distances, factors)  # 2² between steps 0 and 2, 2 between 2 and 3
    too_fast = check_growth(steps, (1.0, 4.5, 4.0), factors)
    assert isinstance(too_fast, Fails)
    assert too_fast.witness == ((0, 2), 4.5, 4.0)
    assert check_growth(steps, (1.0, 4.5, 4.0), factors, slack=0.125)
    assert check_growth(steps, (1.0, 4.5, 4.0), factors, floor=4.5)
    assert not check_growth(steps, (1.0, 4.5, 4.0), factors, floor=4.4)
    later = check_growth((7, 10), (1.0, 8.5), (2.0, 1.0))
    assert isinstance(later, Fails)
    assert later.witness == ((7, 10), 8.5, 8.0)
    assert check_growth((7, 10), (1.0, 8.0), (2.0, 1.0))
    last = check_growth((0, 1, 2), (1.0, 1.0, 1.1), (1.0, 1.0, 1.0))
    assert isinstance(last, Fails)
    assert last.witness.steps == (1, 2)
    from_nothing = check_growth((0, 1), (0.0, 1e-3), (9.0, 9.0))
    assert isinstance(from_nothing, Fails)
    assert from_nothing.witness.factor == math.inf
    assert check_growth((0, 1), (0.0, 0.0), (0.5, 0.5))


@pytest.mark.claim("persistence")
def test_descent_on_the_manifold_stays() -> None:
    case = cloned(redistribute=None)
    distances, _ = descend(case, torch.zeros(case.where.dimension).double(), 0.05, 10)
    assert max(distances) < 1e-14


def linear_stack() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(3)
    return tuple(torch.randn(*s, generator=draw, dtype=torch.float64) for s in ((4, 3), (2, 4), (3, 9), (2, 9)))


def step(w1: torch.Tensor, w2: torch.Tensor, x: torch.Tensor, y: torch.Tensor, rate: float):
    error = (w2 @ w1 @ x - y) / x.shape[1]
    return w1 - rate * w2.T @ error @ x.T, w2 - rate * error @ (w1 @ x).T


@pytest.mark.claim("low-rank")
def test_the_balance_moves_at_second_order_in_the_step_only() -> None:
    w1, w2, x, y = linear_stack()
    moved = []
    for rate in (1e-3, 5e-4):
        after = step(w1, w2, x, y, rate)
        moved.append(float((balance(*after) - balance(w1, w2)).norm()))
    assert moved[0] / moved[1] == pytest.approx(4, rel=1e-6)
    assert moved[0] < 1e-3


def deep(seed: int) -> tuple[list[torch.Tensor], list[Regression]]:
    """Four layers 5 → 4 → 4 → 3 and two tasks of 12 samples."""
    draw = torch.Generator().manual_seed(seed)
    weights = [torch.randn(*s, generator=draw, dtype=torch.float64) / 2 for s in ((4, 5), (4, 4), (3, 4))]
    pairs = [[torch.randn(d, 12, generator=draw, dtype=torch.float64) for d in (5, 3)] for _ in range(2)]
    return weights, [Regression(*pair) for pair in pairs]


@pytest.mark.claim("low-rank-run")
@pytest.mark.parametrize("seed", range(3))
def test_the_balance_drifts_by_the_identity_on_a_run_with_changing_data(seed: int) -> None:
    weights, tasks = deep(seed)
    coarse, fine = (descend_linear(weights, tasks, rate, round(0.5 / rate)) for rate in (2e-3, 1e-3))
    for k in range(2):
        assert coarse.unexplained[k] < 1e-13
        assert coarse.drift[k] > 1e-6
        assert coarse.drift[k] / fine.drift[k] == pytest.approx(2, rel=0.02)
    leaves = [w.clone().requires_grad_() for w in weights]
    task = tasks[0]
    loss = (leaves[2] @ leaves[1] @ leaves[0] @ task.inputs - task.targets).square().sum() / 24
    slopes = torch.autograd.grad(loss, leaves)
    one = descend_linear(weights, tasks[:1], 0.1, 1)
    assert one.losses == pytest.approx((float(loss.detach()),))
    assert all(torch.allclose(w - 0.1 * g, v) for w, g, v in zip(weights, slopes, one.weights, strict=True))


@pytest.mark.claim("low-rank-run")
def test_a_missing_direction_bounds_the_loss_and_the_whole_network_goes_below() -> None:
    weights, (task, _) = deep(0)
    axes = torch.eye(4).double()
    lacking = deficient(deficient(weights, 0, axes[0]), 0, axes[1])  # along axes zeros stay exact
    assert dead_directions(*lacking[:2]).shape[1] == 2
    bound = least_loss(task, 2)
    free, held = (descend_linear(start, [task], 0.1, 1500) for start in (weights, lacking))
    assert min(held.losses) >= bound * (1 - 1e-12)
    assert bound > least_loss(task, 3)
    assert held.losses[-1] == pytest.approx(bound, rel=1e-2)
    oblique = deficient(deficient(weights, 0, axes[0] + axes[1]), 0, axes[2] - axes[3])
    assert dead_directions(*oblique[:2]).shape[1] == 2
    assert min(descend_linear(oblique, [task], 0.1, 1500).losses) < bound  # a saddle: rounding grows, and leaves
    assert free.losses[-1] < bound
    whole = torch.linalg.lstsq(task.inputs.T, task.targets.T).solution.T
    assert least_loss(task, 3) == pytest.approx(task.loss(whole))


@pytest.mark.claim("low-rank")
@pytest.mark.parametrize("shapes", [((4, 1), (2, 4)), ((3, 5), (1, 3)), ((2, 2), (2, 2))])
def test_dead_directions_are_the_common_kernel(shapes) -> None:
    """By the rank of the stacked matrix, and by what both layers do to the directions found."""
    draw = torch.Generator().manual_seed(5)
    w1, w2 = (torch.randn(*s, generator=draw, dtype=torch.float64) for s in shapes)
    if shapes[0] == (2, 2):
        w1, w2 = torch.outer(w1[0], w1[1]), torch.outer(w2[:, 0], torch.stack([-w1[0, 1], w1[0, 0]]))
    found = dead_directions(w1, w2)
    assert found.shape == (len(w1), len(w1) - int(torch.linalg.matrix_rank(torch.cat([w1.T, w2]))))
    for scale in (1e8, 1e-8):
        assert dead_directions(scale * w1, scale * w2).shape == found.shape
    assert float((found.T @ w1).norm() + (w2 @ found).norm()) < 1e-12
    torch.testing.assert_close(found.T @ found, torch.eye(found.shape[1]).double())


@pytest.mark.claim("low-rank")
def test_dead_directions_are_found_and_stay() -> None:
    w1, w2, x, y = linear_stack()
    u = torch.tensor([0.5, 0.5, -0.5, 0.5]).double()
    w1, w2 = w1 - torch.outer(u, u @ w1), w2 - torch.outer(w2 @ u, u)
    found = dead_directions(w1, w2)
    assert found.shape == (4, 1)
    assert float((found[:, 0] @ u).abs()) == pytest.approx(1)
    for _ in range(200):
        w1, w2 = step(w1, w2, x, y, 0.05)
    assert float((u @ w1).abs().max()) < 1e-13
    assert float((w2 @ u).abs().max()) < 1e-13
    assert dead_directions(*linear_stack()[:2]).shape == (4, 0)
