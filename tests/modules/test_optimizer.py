"""Optimizers: state that differs between clones, state that nobody here can read, and steps that part clones."""

from functools import lru_cache
from types import MethodType

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.modules import Profile, certify, detect, expand  # noqa: E402
from lop_theory.modules.equitable import structure  # noqa: E402
from lop_theory.modules.optimizer import UNKNOWN, optimizer_offences  # noqa: E402
from lop_theory.modules.training import training_rule  # noqa: E402
from lop_theory.verdict import Fails, Holds, Undecided  # noqa: E402
from tests.modules.nets import Model, X, restored, stepped, tanh  # noqa: E402


@lru_cache
def widened(dtype):
    torch.default_generator.manual_seed(0)
    return expand(Model(tanh).to(dtype), 2, example_input=X.to(dtype))


@pytest.fixture
def clone():
    """One that is traced once, put back after every test; what gets hooks is not shared."""
    with restored(widened(torch.float64)) as model:
        yield model


def test_state_of_the_optimizer_that_differs_between_clones_is_an_offence(clone):
    optimizer = torch.optim.Adam(clone.parameters(), 1e-3)
    stepped(clone, optimizer, 3)
    assert isinstance(certify(clone, example_input=X, optimizer=optimizer), Holds)
    optimizer.state[clone.a.weight]["exp_avg_sq"][1] *= 1.1
    verdict = certify(clone, example_input=X, optimizer=optimizer)
    assert isinstance(verdict, Fails)
    assert "exp_avg_sq differs between clones" in str(verdict)
    assert "a.weight" in str(verdict)
    assert isinstance(certify(clone, example_input=X), Holds)


def trained(clone, optimizer):
    stepper = optimizer(clone.parameters())

    def closure():
        stepper.zero_grad()
        loss = clone(X).square().mean()
        loss.backward()
        return loss

    for _ in range(2):
        stepper.step(closure)
    return stepper


def test_factored_moments_are_looked_at(clone):
    optimizer = trained(clone, torch.optim.Adafactor)
    assert isinstance(certify(clone, example_input=X, optimizer=optimizer), Holds)
    optimizer.state[clone.a.weight]["row_var"][1] *= 1.5
    verdict = certify(clone, example_input=X, optimizer=optimizer)
    assert "row_var differs between clones" in verdict.witness.reason


def test_other_layouts_are_not_called_alike(clone):
    optimizer = trained(clone, lambda p: torch.optim.LBFGS(p, max_iter=2))
    verdict = certify(clone, example_input=X, optimizer=optimizer)
    assert isinstance(verdict, Undecided)
    assert "not known" in str(verdict)


def test_what_is_wrong_is_said_before_what_is_not_known(clone):
    base = Model(tanh).double()
    optimizer = trained(clone, lambda p: torch.optim.LBFGS(p, max_iter=2))
    assert isinstance(certify(clone, example_input=X, optimizer=optimizer), Undecided)
    assert "base" in str(certify(clone, base=base, example_input=X, optimizer=optimizer).witness)


def state_that_differs(kind, shape):
    """Of two clones."""
    value = torch.ones(shape, dtype=torch.uint8 if kind == "codes" else torch.float64)
    value[1] = 3
    kinds = {"list": [value], "complex": value * 1j, "codes": value, "own layout": {"q": value.flatten()}}
    return {**kinds, "array": value.numpy()}[kind]


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [("list", Fails), ("complex", Fails), ("array", Fails), ("codes", Undecided), ("own layout", Undecided)],
)
def test_no_tensor_of_the_state_is_passed_over(kind, verdict, clone):
    optimizer = trained(clone, torch.optim.Adam)
    weight = clone.a.weight
    optimizer.state[weight]["extra"] = state_that_differs(kind, weight.shape)
    found = certify(clone, example_input=X, optimizer=optimizer)
    assert isinstance(found, verdict)
    assert "extra" in str(found)
    optimizer.state[weight]["extra"] = [
        torch.ones_like(weight),
        torch.ones(weight.shape, dtype=torch.uint8),
        torch.ones(1),
    ]
    assert isinstance(certify(clone, example_input=X, optimizer=optimizer), Holds)


def test_a_parameter_without_entries_is_alike():
    base = Model(lambda s, x: s.o(torch.tanh(s.a(x)) + s.empty.sum(0)))
    base.empty = nn.Parameter(torch.zeros(0, 4))
    clone = expand(base.double(), 2, example_input=X)
    assert clone.empty.shape == (0, 8)
    optimizer = torch.optim.Adam(clone.parameters(), 1e-3, weight_decay=0.1)
    stepped(clone, optimizer, 2)
    assert isinstance(certify(clone, example_input=X, optimizer=optimizer), Holds)
    assert {v.kind for v in detect(clone, X, optimizer=optimizer).layers[0].verdicts} == {"trapped"}


def test_state_of_no_parameter_is_not_called_alike(clone):
    optimizer = trained(clone, torch.optim.Adam)
    optimizer.state["step"] = {"count": torch.tensor(2)}
    assert isinstance(certify(clone, example_input=X, optimizer=optimizer), Holds)
    optimizer.state["shared"] = {"moments": torch.randn(40)}
    verdict = certify(clone, example_input=X, optimizer=optimizer)
    assert isinstance(verdict, Undecided)
    assert "shared is state of no parameter" in str(verdict)


def test_a_small_second_moment_is_no_rounding_of_a_large_one_beside_it():
    """Adam divides entry by entry: one entry that is twice as large parts the clones at the next step."""
    x = X.float() * torch.tensor([1.0, 40, 40, 40, 40])
    clone = expand(Model(lambda s, x: tanh(s, x / 40)), 2, example_input=x)
    optimizer = torch.optim.Adam(clone.parameters(), 1e-2)
    stepped(clone, optimizer, 3, x, target=1)
    assert isinstance(certify(clone, example_input=x, optimizer=optimizer), Holds)
    optimizer.state[clone.a.weight]["exp_avg_sq"][1, 0] *= 2
    verdict = certify(clone, example_input=x, optimizer=optimizer)
    assert isinstance(verdict, Undecided)
    assert "single entries of exp_avg_sq" in str(verdict)
    stepped(clone, optimizer, 1, x, target=1)
    assert isinstance(certify(clone, example_input=x, optimizer=optimizer), Fails)


@lru_cache
def two_layers(redistribute):
    torch.default_generator.manual_seed(0)
    base = Model(lambda s, x: s.o(torch.tanh(s.b(torch.tanh(s.a(x))))))
    base.b = nn.Linear(4, 4)
    return expand(base.double(), 3, example_input=X, redistribute=redistribute)


@pytest.mark.parametrize(
    ("optimizer", "redistribute", "kept"),
    [
        (torch.optim.Adam, 1, False),
        (torch.optim.RMSprop, 1, False),
        (torch.optim.Adam, None, True),
        (torch.optim.AdamW, 1, True),
        (torch.optim.SGD, 1, True),
    ],
)
def test_weight_decay_that_parts_redistributed_clones_is_an_offence(optimizer, redistribute, kept):
    """And the steps are really run."""
    with restored(two_layers(redistribute)) as clone:
        stepper = optimizer(clone.parameters(), 1e-2, weight_decay=0.1)
        verdict = certify(clone, example_input=X, optimizer=stepper)
        assert isinstance(verdict, Holds if kept else Fails)
        assert kept or "divides the decay of" in str(verdict)
        stepped(clone, stepper, 20)
        values = clone.b(torch.tanh(clone.a(X))).unflatten(1, (4, 3))
    assert bool((values.amax(2) - values.amin(2) < 1e-9).all()) == kept


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
        lambda p: torch.optim.ASGD(p, 0.1, t0=1, weight_decay=0.1),
    ],
)
def test_sums_of_redistributed_weights_are_alike_as_the_weights_are(optimizer):
    """And the steps are really run."""
    with restored(two_layers(1)) as clone:
        stepper = optimizer(clone.parameters())
        stepped(clone, stepper, 3)
        assert isinstance(certify(clone, example_input=X, optimizer=stepper), Holds)
        stepped(clone, stepper, 10)
        assert isinstance(certify(clone, example_input=X, optimizer=stepper), Holds)
        state = stepper.state[clone.b.weight]
        state.get("momentum_buffer", state.get("ax"))[1, 2] += 0.1
        assert "differs between clones" in certify(clone, example_input=X, optimizer=stepper).witness.reason


def test_an_optimizer_that_nobody_here_knows_is_not_certified(clone):
    class Own(torch.optim.SGD):
        pass

    verdict = certify(clone, example_input=X, optimizer=Own(clone.parameters(), 0.1))
    assert isinstance(verdict, Undecided)
    assert "whether Own treats all units alike is not known" in str(verdict)


def own_step(_, optimizer):
    optimizer.step = MethodType(lambda *_: None, optimizer)


def own_step_under_a_scheduler(model, optimizer):
    own_step(model, optimizer)
    torch.optim.lr_scheduler.ConstantLR(optimizer)


STRANGE = {
    "before the step": lambda _, o: o.register_step_pre_hook(lambda *_: None),
    "after the step": lambda _, o: o.register_step_post_hook(lambda *_: None),
    "own step": own_step,
    "own step under a scheduler": own_step_under_a_scheduler,
    "gradient": lambda model, _: model.a.weight.register_hook(lambda g: g * torch.rand_like(g)),
    "accumulated gradient": lambda model, _: model.a.bias.register_post_accumulate_grad_hook(lambda _: None),
    "numbers for every unit": lambda _, o: o.param_groups[0].update(eps=torch.rand(8)),
    "decay for every unit": lambda _, o: o.param_groups[0].update(weight_decay=torch.rand(3)),
}


@pytest.mark.parametrize("change", STRANGE.values(), ids=STRANGE)
def test_a_step_that_is_not_the_optimizer_s_own_is_not_certified(change):
    clone = expand(Model(tanh).double(), 2, example_input=X)
    optimizer = torch.optim.Adam(clone.parameters(), 0.1)
    torch.optim.lr_scheduler.StepLR(optimizer, 3)
    assert isinstance(certify(clone, example_input=X, optimizer=optimizer), Holds)
    optimizer = torch.optim.Adam(clone.parameters(), 0.1)
    change(clone, optimizer)
    verdict = certify(clone, example_input=X, optimizer=optimizer)
    assert isinstance(verdict, Undecided)
    assert "is not known" in str(verdict)


@pytest.mark.parametrize(
    ("optimizer", "key"),
    [
        (torch.optim.Adam, "exp_avg"),
        (torch.optim.NAdam, "exp_avg"),
        (torch.optim.Adamax, "exp_avg"),
        (torch.optim.Rprop, "prev"),
        (lambda p, rate: torch.optim.RMSprop(p, rate, centered=True), "grad_avg"),
    ],
)
def test_a_small_moment_is_no_rounding_of_a_large_one_beside_it(optimizer, key):
    x = X.float() * torch.tensor([1e-3, 1, 1, 1, 1])
    with restored(widened(torch.float32)) as clone:
        stepper = optimizer(clone.parameters(), 1e-2)
        stepped(clone, stepper, 3, x, target=1)
        assert isinstance(certify(clone, example_input=x, optimizer=stepper), Holds)
        stepper.state[clone.a.weight][key][1, 0] *= -3
        verdict = certify(clone, example_input=x, optimizer=stepper)
    assert isinstance(verdict, Undecided)
    assert f"single entries of {key}" in str(verdict)


@pytest.mark.parametrize("factor", [-1, 0, 0.5, 3])
def test_moments_of_few_bits_are_not_alike_whatever_they_are(factor):
    """100 × the tolerance of a weight in bfloat16 would be three times the moment itself."""
    x = X.bfloat16()
    with restored(widened(torch.bfloat16)) as clone:
        optimizer = torch.optim.Adam(clone.parameters(), 1e-3)
        stepped(clone, optimizer, 1, x)
        assert isinstance(certify(clone, example_input=x, optimizer=optimizer), Holds)
        optimizer.state[clone.a.weight]["exp_avg"][1] *= factor
        assert "exp_avg differs" in str(certify(clone, example_input=x, optimizer=optimizer))


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.Adagrad, torch.optim.Rprop])
def test_moments_that_are_not_finite_are_an_offence_without_clones_too(optimizer, clone):
    stepper = trained(clone, optimizer)
    state = stepper.state[clone.o.bias]
    key = next(key for key, value in state.items() if value.dim())
    state[key][0] = torch.nan
    assert certify(clone, example_input=X, optimizer=stepper).witness.reason == f"{key} is NaN or infinite"


# --- what is said of each parameter -----------------------------------------------------------------------------------


ROWS = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
INDEX = np.array([0, 0, 1, 1])


def tied():
    """Two hidden units, each twice."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2))
    wide = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        wide[0].weight.copy_(model[0].weight.repeat_interleave(2, 0))
        wide[0].bias.copy_(model[0].bias.repeat_interleave(2))
        wide[2].weight.copy_(model[2].weight.repeat_interleave(2, 1) / 2)
        wide[2].bias.copy_(model[2].bias)
    return wide


PROFILE = Profile(
    {
        "0.weight": (INDEX, np.arange(3)),
        "0.bias": (INDEX,),
        "2.weight": (np.arange(2), INDEX),
        "2.bias": (np.arange(2),),
    },
    {},
)


def offences(kind, change, **options):
    model = tied()
    optimizer = kind(model.parameters(), **options)
    model(ROWS).square().sum().backward()
    optimizer.step()
    change(model, optimizer)
    return optimizer_offences(model, optimizer, PROFILE)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.Adafactor])
def test_state_of_clones_is_alike_after_a_step(kind):
    assert offences(kind, lambda *_: None) == []


@pytest.mark.parametrize(
    ("name", "place", "units"), [("0.weight", (1, 2), (0, 1)), ("0.bias", (2,), (2, 3)), ("2.weight", (0, 3), (2, 3))]
)
@pytest.mark.parametrize(("factor", "apart"), [(1 + 1e-8, False), (1 + 1e-5, True), (-1.0, True)])
def test_moments_may_differ_by_a_hundred_tolerances_of_a_weight(name, place, units, factor, apart):
    """1e-7 of the largest number that the unit holds, in float64."""

    def change(model, optimizer):
        state = optimizer.state[model.get_parameter(name)]["exp_avg"]
        state[place] = float(state.abs().max()) * (2 if factor == -1.0 else 1)
        other = (place[0] - 1, place[1]) if name == "0.weight" else (3,) if name == "0.bias" else (0, 2)
        state[other] = state[place] * factor

    found = offences(torch.optim.Adam, change)
    assert bool(found) == apart
    for offence in found:
        assert (offence.node, offence.module, offence.condition) == (name, name.rpartition(".")[0], "optimizer")
        assert sorted(offence.units) == list(units)
        assert offence.reason.startswith("exp_avg differs between clones by up to")


def test_layouts_that_are_not_the_parameters_are_not_known():
    def held(value):
        return lambda model, optimizer: optimizer.state[model[0].weight].update(extra=value)

    for value, reason in (
        (torch.ones(5), f"extra has a layout of its own: {UNKNOWN}"), (torch.ones(1), None), (torch.ones(()), None),
        ("text", None), (torch.ones(4, 1), None), (torch.ones(1, 3), None), (torch.ones(4, 3), None),
        (torch.ones(4), f"extra has a layout of its own: {UNKNOWN}"), (torch.arange(4)[:, None], "in whole numbers"),
        (torch.full((1,), torch.nan), "extra is NaN or infinite"), ([torch.full((4, 3), torch.inf)], "extra is NaN"),
        (torch.arange(4.0)[:, None] * 1j, "extra differs between clones by up to 5.00e-01"),
    ):  # fmt: skip
        found = offences(torch.optim.Adam, held(value))
        assert [reason in o.reason for o in found] == ([] if reason is None else [True])


def test_parameters_that_the_optimizer_does_not_hold():
    model, other = tied(), tied()
    assert optimizer_offences(model, torch.optim.SGD(model[0].parameters(), 0.1), PROFILE) == []  # a part is frozen
    (found,) = optimizer_offences(model, torch.optim.SGD(other.parameters(), 0.1), PROFILE)
    assert found.node == "0.weight"
    assert "parameters of another model" in found.reason
    everything = torch.optim.SGD([*model.parameters(), *other.parameters()], 0.1)
    assert optimizer_offences(model, everything, PROFILE) == []


@pytest.mark.parametrize(
    ("kind", "options", "uneven"),
    [
        (torch.optim.Adam, {}, True),
        (torch.optim.Adam, {"weight_decay": 0.0}, False),
        (torch.optim.Adam, {"decoupled_weight_decay": True}, False),
        (torch.optim.AdamW, {}, False),
        (torch.optim.NAdam, {}, True),
        (torch.optim.NAdam, {"decoupled_weight_decay": True}, False),
        (torch.optim.RAdam, {}, True),
        (torch.optim.Adamax, {}, True),
        (torch.optim.Adagrad, {}, True),
        (torch.optim.Adadelta, {}, True),
        (torch.optim.RMSprop, {}, True),
        (torch.optim.SGD, {"lr": 0.1}, False),
        (torch.optim.ASGD, {}, False),
    ],
)
def test_coupled_decay_is_uneven_where_an_update_is_divided_by_the_size_of_the_gradient(kind, options, uneven):
    """Three equal units that read three others with weights of one sum, which are not the same in other orders."""
    options = {"weight_decay": 0.1, **options}
    model = nn.Sequential(
        nn.Linear(3, 3, bias=False), nn.Tanh(), nn.Linear(3, 3, bias=False), nn.Tanh(), nn.Linear(3, 1)
    ).double()
    with torch.no_grad():
        model[0].weight.fill_(0.5)
        model[2].weight.copy_(torch.tensor([[1.0, 2.0, 3.0], [2.0, 2.0, 2.0], [3.0, 2.0, 1.0]]))
        model[4].weight.fill_(0.25)
    found = structure(model, ROWS)
    assert found.blocks["2.weight"][0].tolist() == [0, 0, 0]
    profile = Profile(found.blocks, {})
    rule = training_rule(model, kind(model.parameters(), **options), profile)
    assert rule.uneven == (("2.weight",) if uneven else ())
    assert (rule.name, rule.unknown, rule.untied) == (kind.__name__, "", ())
    groups = [{"params": [model[2].weight], "weight_decay": 0.0}, {"params": [model[0].weight, *model[4].parameters()]}]
    assert training_rule(model, kind(groups, **options), profile).uneven == ()


def test_an_optimizer_that_is_not_pytorchs_is_not_known():
    class Own(torch.optim.Adam):
        pass

    model = tied()
    rule = training_rule(model, Own(model.parameters()), PROFILE)
    assert rule.unknown == "whether Own treats all units alike is not known"
