"""The coarsest equitable partition of a model against refinement by loops; what an optimizer does to its blocks."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from lop_theory.modules import Profile  # noqa: E402
from lop_theory.modules.equitable import _slack, block_constant, same_values, structure  # noqa: E402
from lop_theory.modules.optimizer import UNKNOWN, optimizer_offences  # noqa: E402
from lop_theory.modules.training import training_rule  # noqa: E402

X = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def blocks_of(labels):
    """Numbered by first appearance."""
    names = list(dict.fromkeys(labels))
    return [names.index(k) for k in labels]


def sums(rows, labels):
    """Of every row over every block, in the order of the blocks."""
    blocks = sorted(set(labels))
    return [tuple(sum(v for v, k in zip(row, labels, strict=True) if k == block) for block in blocks) for row in rows]


def refined(weights, biases, both):
    """Blocks of the hidden layers of a multilayer perceptron, split while sums over blocks of exact numbers differ;
    inputs and outputs are alone in their blocks."""
    sizes = [weights[0].shape[1], *(len(w) for w in weights)]
    colours = [list(range(n)) if k in (0, len(sizes) - 1) else [0] * n for k, n in enumerate(sizes)]
    while True:
        old = copy.deepcopy(colours)
        for k in range(1, len(sizes) - 1):
            outgoing = sums(weights[k].T.tolist(), old[k + 1]) if both else [0] * sizes[k]
            incoming = sums(weights[k - 1].tolist(), old[k - 1])
            colours[k] = blocks_of(list(zip(old[k], incoming, biases[k - 1].tolist(), outgoing, strict=True)))
        if colours == old:
            return colours


entries = st.integers(-1, 1)


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(2, 4), st.integers(2, 4), st.booleans())
def test_blocks_are_those_of_refinement_by_loops(data, first, second, biased):
    shapes = [(first, 3), (second, first), (2, second)]
    weights = [
        np.array(data.draw(st.lists(st.lists(entries, min_size=b, max_size=b), min_size=a, max_size=a)))
        for a, b in shapes
    ]
    if data.draw(st.booleans()):
        weights[0][1], weights[1][:, 1] = weights[0][0], weights[1][:, 0]
    biases = [
        np.array(data.draw(st.lists(entries, min_size=a, max_size=a))) if biased else np.zeros(a) for a, _ in shapes
    ]
    layers = [nn.Linear(b, a, bias=biased) for a, b in shapes]
    with torch.no_grad():
        for layer, weight, bias in zip(layers, weights, biases, strict=True):
            layer.weight.copy_(torch.as_tensor(weight))
            if biased:
                layer.bias.copy_(torch.as_tensor(bias))
    model = nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2]).double()
    found = structure(model, X)
    for both, maps in ((True, found.blocks), (False, found.forward)):
        colours = refined(weights, biases, both)
        for k, name in enumerate(("0", "2", "4")):
            rows, columns = maps[f"{name}.weight"]
            assert rows.tolist() == colours[k + 1]
            assert columns.tolist() == colours[k]
            if biased:
                assert maps[f"{name}.bias"][0].tolist() == colours[k + 1]
    assert found.noise == ()
    assert found.skipped == {}
    assert found.tolerance == 1e-9


def test_a_mask_a_scale_and_a_shared_weight_split_blocks_too():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.o = nn.Linear(3, 4), nn.Linear(4, 2)
            self.scale = nn.Parameter(torch.ones(4))
            self.register_buffer("mask", torch.tensor([1.0, 1.0, 1.0, 0.0]))

        def forward(self, x):
            return self.o(torch.tanh(self.a(x)) * self.scale * self.mask)

    model = Masked().double()
    with torch.no_grad():
        for p in (model.a.weight, model.a.bias, model.o.weight):
            p.fill_(0.5)
        model.scale[1] = 2.0
    assert structure(model, X).blocks["a.weight"][0].tolist() == [0, 1, 0, 2]
    assert structure(model, X).blocks["scale"][0].tolist() == [0, 1, 0, 2]
    with torch.no_grad():
        model.o.weight[0, 2] = 0.25
    assert structure(model, X).blocks["a.weight"][0].tolist() == [0, 1, 2, 3]
    assert structure(model, X).forward["a.weight"][0].tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize(("dtype", "slack"), [(torch.float64, 1e-9), (torch.float32, 2e-5), (torch.bfloat16, 2**-5)])
def test_units_are_equal_to_the_slack_of_their_precision(dtype, slack):
    assert _slack(dtype) == slack
    assert _slack(torch.int64) == 0.0
    for factor, equal in ((0.5, True), (4.0, False)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        with torch.no_grad():
            model[0].weight[1], model[0].bias[1] = model[0].weight[0], model[0].bias[0]
            model[2].weight[:, 1] = model[2].weight[:, 0]
            model = model.to(dtype)
            model[0].weight[1] = (model[0].weight[0].double() * (1 + factor * slack)).to(dtype)
        found = structure(model, X.to(dtype))
        assert found.tolerance == slack
        assert (found.blocks["0.weight"][0].tolist() == [0, 0, 1, 2]) == equal


def test_an_operator_without_a_rule_costs_what_it_touches():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.o = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.o(torch.tanh(self.a(x))) + torch.special.i0(self.b(x))[:, :2]

    model = Odd().double()
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(0.5)
    found = structure(model, X)
    assert found.blocks["a.weight"][0].tolist() == [0, 0, 0, 0]
    assert found.blocks["b.weight"][0].tolist() == [0, 1, 2, 3]
    assert {key.split(".")[1] for key in found.skipped} == {"special_i0"}
    assert next(iter(found.skipped.values())).endswith("has no rule")
    rules = {torch.ops.aten.special_i0: lambda call: call["none"]}
    assert next(iter(structure(model, X, rules).skipped.values())).endswith("its rule fails (KeyError)")


def test_noise_names_what_it_acts_on():
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 2)).double()
    found = structure(model.train(), X)
    assert found.noise == ("dropout p=0.5 draws independent masks for clones",)
    assert found.plan.find(found.axes["0.bias"][0]) in found.noisy
    assert found.plan.find(found.axes["3.bias"][0]) not in found.noisy
    assert structure(model.eval(), X).noise == ()


INDEX = np.array([0, 0, 1, 1])


def test_weights_that_are_constant_on_blocks_and_those_that_hold_the_same_numbers():
    constant = torch.tensor(
        [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0], [3.0, 3.0, 4.0, 4.0], [3.0, 3.0, 4.0, 4.0]]
    ).double()
    crossed = torch.tensor(
        [[1.0, 5.0, 2.0, 2.0], [5.0, 1.0, 2.0, 2.0], [3.0, 3.0, 4.0, 4.0], [3.0, 3.0, 4.0, 4.0]]
    ).double()
    turned = torch.tensor([[1.0, 2.0, 3.0], [2.0, 3.0, 1.0], [3.0, 1.0, 2.0]]).double()
    other = torch.tensor([[1.0, 2.0, 3.0], [2.0, 2.0, 2.0], [3.0, 2.0, 1.0]]).double()
    both, three = (INDEX, INDEX), (np.zeros(3, int), np.zeros(3, int))
    assert block_constant(constant, both, 0.0)
    assert same_values(constant, both, 0.0)
    assert not block_constant(crossed, both, 0.0)
    assert same_values(crossed, both, 0.0)
    assert same_values(turned, three, 0.0)
    assert not same_values(other, three, 0.0)  # sums agree, numbers do not
    assert not same_values(constant, (INDEX, np.array([0, 1, 0, 1])), 0.0)
    for check in (block_constant, same_values):
        off = constant.clone()
        off[1, 2] += 0.01  # of a largest entry of 4
        assert check(off, both, 0.0026)
        assert not check(off, both, 0.0024)
        assert not check(off.T.contiguous(), both, 0.0024)
        assert check(constant[:, 0], (INDEX,), 0.0)


# --- optimizers -------------------------------------------------------------------------------------------------------


def tied(factor=2, seed=1):
    """Two hidden units, each twice, and their partition; ``mixed``: the weights between are no copies."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2))
    wide = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        wide[0].weight.copy_(model[0].weight.repeat_interleave(2, 0))
        wide[0].bias.copy_(model[0].bias.repeat_interleave(2))
        wide[2].weight.copy_(model[2].weight.repeat_interleave(2, 1) / factor)
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
    model(X).square().sum().backward()
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
    found = structure(model, X)
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
