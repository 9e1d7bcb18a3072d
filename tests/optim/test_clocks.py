"""Weights that begin anew are updated as those of a newly made parameter, by every elementwise optimiser of torch."""

from copy import deepcopy

import pytest

torch = pytest.importorskip("torch")
from torch import nn, optim  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import AdamGnT, NoisySGD  # noqa: E402
from lop_theory.optim.clocks import Clocks, Place  # noqa: E402
from lop_theory.optim.rules import RULES, rule_of  # noqa: E402

ROWS, COLUMNS = torch.tensor([1, 3]), torch.tensor([0, 2])
ELEMENTWISE = [
    (optim.SGD, {"momentum": 0.9, "nesterov": True, "lr": 0.1}),
    (optim.SGD, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1, "lr": 0.1}),
    (optim.Adam, {}),
    (optim.Adam, {"amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    (optim.AdamW, {"weight_decay": 0.1}),
    (optim.NAdam, {"weight_decay": 0.1}),
    (optim.NAdam, {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    (optim.NAdam, {"lr": 0.1, "momentum_decay": 0.5, "betas": (0.5, 0.9)}),
    (optim.NAdam, {"betas": (0.0, 0.9)}),
    (optim.RAdam, {"lr": 0.01}),
    (optim.Adamax, {"weight_decay": 0.1}),
    (optim.Adagrad, {"lr_decay": 0.1, "initial_accumulator_value": 0.3}),
    (optim.ASGD, {"t0": 20, "lambd": 0.1, "lr": 0.1}),
    (optim.RMSprop, {"centered": True, "momentum": 0.9}),
    (optim.Adadelta, {}),
    (optim.Rprop, {"lr": 0.1}),
    (AdamGnT, {"weight_decay": 0.1}),
    (NoisySGD, {"sigma": 0.0, "momentum": 0.9}),
    (NoisySGD, {"sigma": 0.0, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
    (NoisySGD, {"sigma": 0.0, "momentum": 0.9, "nesterov": True}),
]
FLOAT32_SCALARS = (optim.NAdam, optim.ASGD)  # torch keeps their products and rates in float32


class Trial:
    """A parameter trained for a while on random gradients, rows and then columns of which begin anew."""

    def __init__(self, kind, options, *, corrected=True, dtype=torch.float64):
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(5, 7, dtype=dtype))
        self.optimiser = kind([self.weight], **options)
        self.clocks = Clocks(self.optimiser)
        self.corrected, self.fresh = corrected, []
        self.make = lambda values: kind([values], **options)

    def begin_anew(self, dim, index):
        values = torch.randn_like(self.weight.index_select(dim, index))
        with torch.no_grad():
            self.weight.index_copy_(dim, index, values)
        self.clocks.renew([Place(self.weight, dim, index)])
        new = nn.Parameter(values.clone())
        self.fresh.append((dim, index, new, self.make(new)))

    def step(self):
        gradient = torch.randn_like(self.weight)
        self.weight.grad = gradient.clone()
        if self.corrected:
            self.clocks.before()
        self.optimiser.step()
        if self.corrected:
            self.clocks.after()
        for dim, index, new, optimiser in self.fresh:
            new.grad = gradient.index_select(dim, index)
            optimiser.step()

    def difference(self) -> float:
        """Of the weights (and ASGD's average of them) from newly made parameters, where a column is younger than a row
        by the column's."""
        worst, younger = 0.0, torch.zeros(5, 7, dtype=torch.bool)
        for dim, index, new, optimiser in reversed(self.fresh):
            here = torch.zeros(5, 7, dtype=torch.bool).index_fill_(dim, index, True) & ~younger
            pairs = [(self.weight.detach(), new.detach())]
            pairs += [
                (s[self.weight]["ax"], t[new]["ax"])
                for s, t in [(self.optimiser.state, optimiser.state)]
                if "ax" in t[new]
            ]
            for own, others in pairs:
                expected = own.clone().index_copy_(dim, index, others)
                worst = max(worst, float((own - expected)[here].abs().max()))
            younger |= here
        return worst


@pytest.mark.parametrize(("kind", "options"), ELEMENTWISE, ids=lambda v: v.__name__ if isinstance(v, type) else None)
def test_replaced_weights_step_as_newly_made_parameters(kind, options):
    trial = Trial(kind, options)
    for _ in range(60):
        trial.step()
    trial.begin_anew(0, ROWS)
    for _ in range(30):
        trial.step()
        assert trial.difference() < (1e-6 if kind in FLOAT32_SCALARS else 1e-12)
    trial.begin_anew(1, COLUMNS)  # where both meet, the younger count rules
    for _ in range(30):
        trial.step()
        assert trial.difference() < (1e-6 if kind in FLOAT32_SCALARS else 1e-12)


@pytest.mark.parametrize("implementation", ["foreach", "fused"])
def test_fast_implementations_too(implementation):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        trial = Trial(optim.Adam, {implementation: True, "lr": 0.01}, dtype=dtype)
        for _ in range(40):
            trial.step()
        trial.begin_anew(0, ROWS)
        for _ in range(10):
            trial.step()
        assert trial.difference() < tolerance


def test_steps_that_a_gradient_scaler_skips_do_not_count():
    """A fused optimiser is told ``found_inf``: what it skips changes no weight and no count, what it takes is right."""
    trial = Trial(optim.Adam, {"fused": True, "lr": 0.01})
    for _ in range(20):
        trial.step()
    trial.begin_anew(0, ROWS)
    for found in (0.0, 1.0, 0.0, 1.0, 1.0, 0.0):
        before, fresh = trial.weight.detach().clone(), [(o, {g["lr"] for g in o.param_groups}) for *_, o in trial.fresh]
        for optimiser in (trial.optimiser, *(o for o, _ in fresh)):
            optimiser.found_inf = torch.tensor(found)
        trial.step()
        assert torch.equal(trial.weight, before) == bool(found)
        assert trial.difference() < 1e-12


def test_without_the_correction_a_new_weight_moves_several_learning_rates():
    """The fault that made continual backprop fail: the moments are zeroed and the tensor's count goes on."""
    trial = Trial(optim.Adam, {"lr": 1.0}, corrected=False)
    for _ in range(3000):
        trial.step()
    trial.begin_anew(0, ROWS)
    before = trial.weight.detach().clone()
    trial.step()
    assert float((trial.weight - before)[ROWS].detach().abs().min()) > 3
    assert trial.difference() > 2


def test_other_weights_are_stepped_as_if_nothing_had_happened():
    one, other = (Trial(optim.AdamW, {"lr": 0.1}) for _ in range(2))
    for trial in (one, other):
        torch.manual_seed(1)
        for _ in range(20):
            trial.step()
    one.clocks.renew([Place(one.weight, 0, ROWS)])
    for trial in (one, other):
        torch.manual_seed(2)
        for _ in range(5):
            trial.step()
    kept = [0, 2, 4]
    assert torch.equal(one.weight[kept], other.weight[kept])
    assert not torch.equal(one.weight[ROWS], other.weight[ROWS])


def test_adamgnt_right_and_as_published():
    """Right, it is torch's Adam; as published, w moves by (1 − β₂ᵗ)·m/(√v + ε): a warm-up of every new weight."""
    torch.manual_seed(0)
    ours, theirs, published = (nn.Parameter(torch.ones(6, dtype=torch.float64)) for _ in range(3))
    optimisers = AdamGnT([ours], 0.1), optim.Adam([theirs], 0.1), AdamGnT([published], 0.1, published=True)
    mean = square = torch.zeros(6, dtype=torch.float64)
    expected = torch.ones(6, dtype=torch.float64)
    for t in range(1, 200):
        gradient = torch.randn(6, dtype=torch.float64)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        expected = expected - 0.1 * (1 - 0.999**t) * mean / (square.sqrt() + 1e-8)
        for parameter, optimiser in zip((ours, theirs, published), optimisers, strict=True):
            parameter.grad = gradient.clone()
            optimiser.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    torch.testing.assert_close(published.detach(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [optim.Adafactor, optim.Muon])
def test_coupled_optimisers_have_a_measured_first_step(kind):
    """Their reset is documented, not exact: a new row's first step is of the order of the others' (0.1 to 10 times)."""
    trial = Trial(kind, {"lr": 0.01, "weight_decay": 0.0})
    for _ in range(60):
        trial.step()
    trial.begin_anew(0, ROWS)
    before = trial.weight.detach().clone()
    trial.step()
    moved = (trial.weight - before).detach().square().mean(1).sqrt()
    ratio = float(moved[ROWS].mean() / moved[[0, 2, 4]].mean())
    assert 0.1 < ratio < 10
    assert rule_of(kind).coupled


def test_lbfgs_begins_anew_as_a_whole():
    weight = nn.Parameter(torch.ones(3, 2, dtype=torch.float64))
    optimiser = optim.LBFGS([weight], lr=0.1)

    def closure():
        optimiser.zero_grad()
        loss = (weight - torch.arange(6.0).view(3, 2)).square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    assert optimiser.state[weight]["n_iter"] > 0
    Clocks(optimiser).renew([Place(weight, 0, torch.tensor([1]))])
    assert not optimiser.state[weight]


def test_an_optimiser_without_a_rule_is_refused_by_name():
    class Strange(optim.Adam):
        def step(self, closure=None):  # noqa: ARG002
            return None

    with pytest.raises(InvalidInput, match=r"Strange.*known rule.*RULES"):
        Clocks(Strange([nn.Parameter(torch.ones(1))]))

    class Renamed(optim.Adam):
        pass

    assert rule_of(Renamed) is RULES[optim.Adam]


def test_counts_survive_a_checkpoint():
    one, other = (Trial(optim.Adam, {"lr": 0.1}) for _ in range(2))
    for _ in range(20):
        one.step()
    one.begin_anew(0, ROWS)
    one.step()
    state = {
        "model": one.weight.detach().clone(),
        "inner": deepcopy(one.optimiser.state_dict()),
        "own": one.clocks.state_dict(),
    }
    with torch.no_grad():
        other.weight.copy_(state["model"])
    other.optimiser.load_state_dict(state["inner"])
    other.clocks.prepare([Place(other.weight, 0, ROWS)])
    other.clocks.check(state["own"])
    other.clocks.load_state_dict(state["own"])
    for trial in (one, other):
        torch.manual_seed(3)
        trial.fresh.clear()
        for _ in range(10):
            trial.step()
    assert torch.equal(one.weight, other.weight)
    with pytest.raises(InvalidInput, match="ages of 0/0"):
        Clocks(one.optimiser).check(state["own"])


@pytest.mark.parametrize("dim", range(3))
def test_a_weight_of_several_units_is_as_young_as_the_youngest(dim):
    """A bilinear weight has units along all three dimensions; each entry counts from when the last of them began."""
    weight = nn.Parameter(torch.zeros(2, 3, 4))
    clocks = Clocks(optim.Adam([weight]))
    ages = torch.tensor([7.0, 2.0]), torch.tensor([3.0, torch.inf, 5.0]), torch.tensor([4.0, 1.0, torch.inf, 6.0])
    clocks._ages[weight] = dict(enumerate(ages))
    found = clocks._of_age(Place(weight, dim, torch.arange(weight.shape[dim])), lambda t: 1 / t)
    for i, j, k in torch.cartesian_prod(*(torch.arange(n) for n in weight.shape)).tolist():
        assert found[i, j, k] == 1 / min(ages[0][i], ages[1][j], ages[2][k])
