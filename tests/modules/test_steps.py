"""Differences that a step makes nothing of, and gradients that are rounding: PyTorch's optimizers are really run."""

import math

import pytest

torch = pytest.importorskip("torch")
from torch import nn, optim  # noqa: E402

from lop_theory.modules import certify, expand  # noqa: E402
from lop_theory.modules.steps import Step, step_of  # noqa: E402
from lop_theory.verdict import Fails, Holds, Undecided  # noqa: E402

NONE = 1e-6
OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9),
    "ASGD": lambda p: optim.ASGD(p, 0.1),
    "Adam": lambda p: optim.Adam(p, 0.02),
    "AdamW": lambda p: optim.AdamW(p, 0.02, weight_decay=0.0, eps=1e-3),
    "amsgrad": lambda p: optim.Adam(p, 0.02, amsgrad=True),
    "NAdam": lambda p: optim.NAdam(p, 0.02),
    "RAdam": lambda p: optim.RAdam(p, 0.02),
    "Adamax": lambda p: optim.Adamax(p, 0.02),
    "Adagrad": lambda p: optim.Adagrad(p, 0.02),
    "RMSprop": lambda p: optim.RMSprop(p, 0.02),
    "RMSprop, momentum": lambda p: optim.RMSprop(p, 0.02, momentum=0.9),
    "RMSprop, centred": lambda p: optim.RMSprop(p, 0.02, centered=True),
}


def parted(make, first, second, state=None):
    """How far two entries get apart whose first gradients, and state, differ; all later gradients are 0."""
    weight = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = make([weight])
    for gradients in ([first, second], *([0.0, 0.0] for _ in range(300))):
        weight.grad = torch.tensor(gradients, dtype=torch.float64)
        optimizer.step()
        if state is not None and gradients[0]:
            key, difference = state
            optimizer.state[weight][key][1] += difference
    return abs(float(weight[0].detach() - weight[1].detach()))


def step(make):
    optimizer = make([nn.Parameter(torch.zeros(2, dtype=torch.float64))])
    return Step(type(optimizer).__name__, optimizer.param_groups[0], NONE)


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_gradient_that_differs_by_so_little_parts_no_entries(make):
    least = step(make).apart("gradient")
    assert least > 0
    assert 1e-4 * NONE < parted(make, 0.0, least) <= NONE
    assert parted(make, 0.0, 1e6 * least) > 2 * NONE


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("momentum", "momentum_buffer"),
        ("Adam", "exp_avg"),
        ("Adam", "exp_avg_sq"),
        ("amsgrad", "max_exp_avg_sq"),
        ("Adamax", "exp_inf"),
        ("RMSprop", "square_avg"),
        ("RMSprop, momentum", "momentum_buffer"),
    ],
)
def test_state_that_differs_by_so_little_parts_no_entries(name, key):
    make = OPTIMIZERS[name]
    least = step(make).apart(key)
    assert least > 0
    assert parted(make, 1e-12, 1e-12, (key, least)) <= NONE


def test_what_is_not_known_is_nothing():
    group = {"lr": 0.1, "eps": 1e-8, "betas": (0.9, 0.99)}
    for name, key in (("Adam", "momentum_buffer"), ("Rprop", "gradient"), ("", "gradient"), ("SGD", "exp_avg_sq")):
        assert Step(name, group, NONE).apart(key) == 0.0
    small = [{"lr": 0.0}, {"lr": 1e-12}, {"lr": 1e-12, "initial_lr": 0.05}]
    assert [Step("SGD", g, NONE).apart("gradient") for g in small] == pytest.approx([NONE / 0.1] * 3)
    for name in ("initial_lr", "max_lr"):
        assert Step("SGD", {"lr": 1e-12, name: 2.0}, NONE).apart("gradient") == pytest.approx(NONE / 2)
    assert Step("SGD", {"lr": torch.tensor(0.5), "momentum": 0.9}, 1.0).apart("gradient") == pytest.approx(0.2)
    assert Step("Adafactor", {"lr": 0.1, "eps": (None, 1e-3)}, NONE).apart("gradient") == 0.0


class Foreign(optim.SGD):
    pass


def test_the_step_of_a_parameter():
    model = nn.Sequential(nn.Linear(2, 3).double(), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight[1, 1] = -7.0
    groups = [{"params": model[0].parameters(), "lr": 0.5}, {"params": model[1].parameters()}]
    optimizer = optim.SGD(groups, 0.25)
    found = [step_of(model, name, optimizer) for name in ("0.bias", "1.weight")]
    assert [s.group["lr"] for s in found] == [0.5, 0.25]
    assert found[0].none == pytest.approx(7e-9)
    assert found[1].none == pytest.approx(1e-4 * max(float(p.detach().abs().max()) for p in model[1].parameters()))
    assert step_of(model, "0.bias", Foreign(model.parameters(), 0.1)).apart("gradient") == 0.0
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
    assert step_of(model, "0.bias", optimizer).apart("gradient") == 0.0


def test_the_largest_entry_is_of_the_module_itself_and_may_be_of_nothing():
    model = nn.Sequential(nn.Linear(2, 2)).double()
    model.own, model.none = nn.Parameter(torch.full((2,), -3.0).double()), nn.Parameter(torch.zeros(0).double())
    with torch.no_grad():
        model[0].weight.fill_(50.0)
    optimizer = optim.SGD(model.parameters(), 0.1)
    assert step_of(model, "own", optimizer).none == pytest.approx(3e-9)
    assert step_of(model, "0.bias", optimizer).none == pytest.approx(50e-9)
    alone = nn.Module()
    alone.none = nn.Parameter(torch.zeros(0).double())
    assert step_of(alone, "none", optimizer) == Step("SGD", {}, 0.0)


def test_step_sizes_that_are_usual_and_powers_of_the_gradient():
    """0.1 of what is added, 1e-3 of what is divided by its size; squares but for Adamax."""
    small = {"lr": 1e-9, "eps": 1e-8, "betas": (0.9, 0.99)}
    assert Step("SGD", {"lr": 1e-9}, NONE).apart("gradient") == pytest.approx(NONE / 0.1)
    assert Step("Adam", small, NONE).apart("gradient") == pytest.approx(NONE * 0.1 / 1e-3 * 1e-8)
    for key in ("exp_avg_sq", "max_exp_avg_sq"):
        assert Step("Adam", small, NONE).apart(key) == pytest.approx((NONE * 1e-8) ** 2, rel=1e-9, abs=0)
    assert Step("RMSprop", small, NONE).apart("square_avg") == pytest.approx((NONE * 1e-8) ** 2, rel=1e-9, abs=0)
    assert Step("Adamax", small, NONE).apart("exp_inf") == pytest.approx(NONE * 1e-8, rel=1e-9, abs=0)
    assert Step("SGD", small, NONE).apart("exp_avg_sq") == Step("Adam", small, NONE).apart("other") == 0.0


class Attention(nn.Module):
    """The gradient of key biases is 0 but for rounding: softmax does not see a shift of all scores."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = nn.Linear(12, 15), nn.Linear(12, 15), nn.Linear(12, 15), nn.Linear(15, 12)
        self.norm, self.out = nn.LayerNorm(12), nn.Linear(12, 3)

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (3, 5)).transpose(1, 2) for f in (self.q, self.k, self.v))
        heads = torch.softmax(q @ k.transpose(-1, -2) / 5**0.5, -1) @ v
        return self.out(self.norm(x + self.o(heads.transpose(1, 2).flatten(2))))


def attention(make):
    torch.manual_seed(0)
    base = Attention().double()
    x = torch.randn(4, 7, 12, dtype=torch.float64)
    clone = expand(base, 2, example_input=x)
    return clone, make(list(clone.parameters())), x


def train(clone, optimizer, steps):
    torch.manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        (clone(torch.randn(4, 7, 12, dtype=torch.float64)) - 0.3).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["momentum", "RMSprop, momentum"])
def test_a_step_size_that_will_grow_forgives_no_moments(name):
    clone, optimizer, x = attention(OPTIMIZERS[name])
    optimizer.param_groups[0]["lr"] = 0.01
    warming = optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-12, total_iters=3)
    train(clone, optimizer, 2)
    optimizer.state[clone.v.weight]["momentum_buffer"][0] *= 3
    verdict = certify(clone, example_input=x, optimizer=optimizer)
    assert isinstance(verdict, Fails)
    assert "momentum_buffer differs" in str(verdict)
    for _ in range(4):
        train(clone, optimizer, 1)
        warming.step()
    assert isinstance(certify(clone, example_input=x), Fails)


@pytest.mark.parametrize("name", ["momentum", "Adam", "RMSprop, momentum"])
def test_moments_that_are_rounding_do_not_part_clones(name):
    clone, optimizer, x = attention(OPTIMIZERS[name])
    optimizer.param_groups[0]["lr"] = 1e-4
    for steps in (0, 1, 5):
        train(clone, optimizer, steps)
        assert isinstance(certify(clone, example_input=x, optimizer=optimizer), Holds), name
    moment = next(v for v in optimizer.state[clone.k.bias].values() if v.dim())
    moment[0] += 1e-3
    assert isinstance(certify(clone, example_input=x, optimizer=optimizer), Fails)


@pytest.mark.parametrize(
    "make",
    [lambda p: optim.Rprop(p, 1e-2), lambda p: optim.Adafactor(p, 1e-2), lambda p: optim.Adam(p, 1e-2, eps=1e-30)],
)
def test_steps_that_divide_rounding_by_its_size_are_undecided_and_part_clones(make):
    clone, optimizer, x = attention(make)
    verdict = certify(clone, example_input=x, optimizer=optimizer)
    assert isinstance(verdict, Undecided)
    assert "k.bias" in str(verdict)
    assert "its gradient, which is rounding" in str(verdict)
    assert isinstance(certify(clone, example_input=x), Holds)
    train(clone, optimizer, 5)
    assert isinstance(certify(clone, example_input=x), Fails)
