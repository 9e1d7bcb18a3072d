"""The coarsest equitable partition of a model against refinement by loops."""

import copy
from functools import lru_cache

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from lop_theory.modules.equitable import (  # noqa: E402
    _Collector,
    _run_once,
    _slack,
    block_constant,
    same_values,
    structure,
)
from lop_theory.modules.plan import carried, state_axes  # noqa: E402
from lop_theory.modules.propagation import Recording, learned  # noqa: E402
from lop_theory.trace import state_of, trace  # noqa: E402
from tests.zoo.plain import Function  # noqa: E402

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


@lru_cache
def perceptron(shapes, biased):
    """Of these sizes; it is traced once, and every example gives it its weights."""
    first, second, third = (nn.Linear(b, a, bias=biased) for a, b in shapes)
    return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), third).double()


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
    model = perceptron(tuple(shapes), biased)
    with torch.no_grad():
        for layer, weight, bias in zip(model[::2], weights, biases, strict=True):
            layer.weight.copy_(torch.as_tensor(weight))
            if biased:
                layer.bias.copy_(torch.as_tensor(bias))
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


@pytest.mark.parametrize(("apart", "equal"), [(2e-7, True), (4e-7, False)])
def test_a_bias_may_be_off_by_its_tolerance_of_the_terms_that_it_is_added_to(apart, equal):
    """1e-9 of |b| + Σ|w| = 301, be the layer's others as small as they are."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
        model[0].weight[:2] = 100.0
        model[0].bias[1] += apart
    assert structure(model, X).blocks["0.bias"][0].tolist() == ([0, 0, 1, 1] if equal else [0, 1, 2, 2])


@pytest.mark.parametrize(("apart", "equal"), [(1.5e-9, True), (2.5e-9, False)])
def test_a_scale_may_be_off_by_its_tolerance_of_itself_and_the_median(apart, equal):
    model = Function(lambda m, x: m.o(torch.tanh(m.a(x)) * m.s), a=nn.Linear(3, 4), o=nn.Linear(4, 2)).double()
    model.s = nn.Parameter(torch.ones(4, dtype=torch.float64))
    with torch.no_grad():
        for p in (*model.a.parameters(), *model.o.parameters()):
            p.fill_(0.5)
        model.s[1] += apart
    assert structure(model, X).blocks["s"][0].tolist() == ([0, 0, 0, 0] if equal else [0, 1, 0, 0])


def test_three_parts_of_a_row():
    def forward(m, x):
        first, second, third = torch.tanh(m.a(x)).split([1, 2, 2], -1)
        return m.b(first) + m.c(second) + m.d(third)

    model = Function(forward, a=nn.Linear(3, 5), b=nn.Linear(1, 2), c=nn.Linear(2, 2), d=nn.Linear(2, 2)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(0.5)
        model.a.bias[4] = 1.0
    assert structure(model, X).blocks["a.bias"][0].tolist() == [0, 1, 1, 2, 3]


def test_biases_of_groups():
    model = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Tanh(), nn.Conv2d(4, 6, 1, groups=2), nn.Flatten(), nn.Linear(54, 2))
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(0.5)
        model[2].bias[4] = 1.0
    found = structure(model.double(), torch.randn(2, 2, 3, 3, dtype=torch.float64))
    assert found.skipped == {}
    assert found.blocks["2.bias"][0].tolist() == [0, 1, 0, 2, 3, 2]


READ_BY_A_VECTOR = {
    "matmul": lambda h, v: h @ v,
    "einsum": lambda h, v: torch.einsum("bi,i->b", h, v),
    "linear": nn.functional.linear,
}


@pytest.mark.parametrize("read", READ_BY_A_VECTOR.values(), ids=READ_BY_A_VECTOR)
def test_a_weight_of_one_output_is_equal_for_equal_units(read):
    """∂y/∂h_i = v_i: two units that are equal on all data part where v is not."""
    model = Function(lambda m, x: read(torch.tanh(m.a(x)), m.v), a=nn.Linear(3, 3), v=nn.Parameter(torch.ones(3)))
    model.double()
    with torch.no_grad():
        model.a.weight[1], model.a.bias[1] = model.a.weight[0], model.a.bias[0]
    found = structure(model, X)
    for blocks in (found.blocks, found.forward):
        assert blocks["a.weight"][0].tolist() == blocks["v"][0].tolist() == [0, 0, 1]
    with torch.no_grad():
        model.v[1] = 2.0
    found = structure(model, X)
    assert found.blocks["a.weight"][0].tolist() == [0, 1, 2]
    assert found.forward["a.weight"][0].tolist() == [0, 0, 1]


def test_weights_of_complex_numbers_stay_apart_and_stop_nothing():
    """Their sums are looked at in both parts; nothing that meets them is taken for clones."""

    def spectrum(m, x):
        y = nn.functional.linear(x.to(torch.complex128), m.v)
        return m.o(torch.tanh(m.a(x))) + torch.view_as_real(y).sum((1, 2))[:, None]

    model = Function(spectrum, a=nn.Linear(3, 4), o=nn.Linear(4, 2)).double()
    model.v = nn.Parameter(torch.ones(2, 3, dtype=torch.complex128))
    with torch.no_grad():
        for layer in (model.a, model.o):
            layer.weight.fill_(0.5)
            layer.bias.fill_(0.5)
    found = structure(model, X)
    assert found.blocks["a.weight"][0].tolist() == [0, 0, 0, 0]
    assert found.blocks["v"][0].tolist() == [0, 1]
    assert _slack(torch.complex64) == 2e-5
    value, both = torch.tensor([[1 + 1j, 1 + 2j], [1 + 2j, 1 + 1j]]), (np.zeros(2, int), np.zeros(2, int))
    assert not block_constant(value, both, 0.0)
    assert same_values(value, both, 0.0)
    assert block_constant(value[:1], (np.zeros(1, int), np.arange(2)), 0.0)
    assert not same_values(value[:1].conj(), (np.zeros(1, int), np.zeros(2, int)), 0.0)
    assert not same_values(torch.tensor([1 + 2j, 2 + 1j]), (np.zeros(2, int),), 0.0)  # the parts are not exchanged


def test_values_that_no_input_reaches_and_what_enters_as_it_is():
    """A size of an input is not its content; a weight that is only moved on its way to a sum does not enter."""

    def forward(m, x):
        places = torch.arange(x.shape[1], device=x.device) * m.scale
        return x @ m.w.exp().T.contiguous() + m.b + places.sum() * x.new_ones(2)

    model = Function(forward, w=nn.Parameter(torch.ones(2, 3)), b=nn.Parameter(torch.ones(2)))
    model.register_buffer("scale", torch.ones(3))
    program, state = trace(model, X.float()), state_of(model)
    sizes, values = _run_once(program, state, [X.float()])
    kinds = {node.name: str(node.target).split(".")[1] for node in program.graph.nodes if node.op == "call_function"}
    assert {kinds.get(name, program.state.get(name)) for name in values} == {
        *("w", "b", "scale", "exp", "permute", "clone", "arange", "mul", "sum")
    }
    plan = _Collector()
    carried(plan, program, Recording(sizes, learned(program, sizes)), state_axes(plan, state), {})
    assert sorted((kinds[n.name], kinds.get(name, program.state.get(name))) for n, name, _ in plan.entering) == [
        ("add", "b"), ("exp", "w"), ("mul", "scale"), ("mul", "sum"), ("sum", "mul"),
    ]  # fmt: skip


def test_a_table_cut_to_the_number_of_samples_is_learned():
    """The number of rows is no content of the input."""
    model = Function(lambda m, x: m.table[: x.shape[0]].exp() + x, table=nn.Parameter(torch.ones(20, 3)))
    program, state = trace(model, X.float()), state_of(model)
    sizes, values = _run_once(program, state, [X.float()])
    kinds = {node.name: str(node.target).split(".")[1] for node in program.graph.nodes if node.op == "call_function"}
    assert {kinds.get(name, "table") for name in learned(program, sizes)} == {"table", "slice", "exp"}
    assert {kinds.get(name, "table") for name in values} == {"table", "slice", "exp"}


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
        assert check(1e-9 * off, both, 0.0026)
        assert not check(1e-9 * off, both, 0.0024)
        assert check(constant[:, 0], (INDEX,), 0.0)


def test_block_constants_of_any_size_and_of_none():
    both = (INDEX[:2], INDEX[:2])
    for scale in (1e-9, 1.0, 1e9):
        value = torch.tensor([[1.0, 1.0 + 1e-6], [1.0, 1.0]]).double() * scale
        for check in (block_constant, same_values):
            assert check(value, both, 1.1e-6)
            assert not check(value, both, 0.9e-6)
    for shape in ((0, 2), (2, 0), (0, 0)):
        blocks = tuple(np.zeros(n, int) for n in shape)
        assert block_constant(torch.zeros(shape), blocks, 0.0)
        assert same_values(torch.zeros(shape), blocks, 0.0)


def test_layers_without_units_and_sums_that_differ_by_less_than_rounding():
    model = Function(
        lambda m, x: m.o(torch.cat([torch.tanh(m.a(x)), nn.functional.linear(x, m.none, m.nothing)], -1)),
        **{"a": nn.Linear(3, 2), "o": nn.Linear(2, 2), "none": nn.Parameter(torch.zeros(0, 3))},
        nothing=nn.Parameter(torch.zeros(0)),
    ).double()
    with torch.no_grad():
        for layer in (model.a, model.o):
            layer.weight.fill_(0.5)
            layer.bias.fill_(0.0)
    found = structure(model, X)
    assert found.blocks["a.weight"][0].tolist() == [0, 0]
    assert found.blocks["none"][0].tolist() == []
    assert found.skipped == {}


@pytest.mark.parametrize(("cut", "blocks"), [(1, [0, 1, 1, 2, 2]), (2, [0, 0, 1, 1, 1]), (4, [0, 0, 0, 0, 1])])
def test_parts_of_a_row_are_refined_each_by_its_own(cut, blocks):
    """Two slices of five equal units are read by two layers: units of one slice are equal, of both not, if the second
    reader's weights differ from the first's."""

    def forward(m, x):
        h = torch.tanh(m.a(x))
        return m.b(h[:, :cut]) + m.c(h[:, cut:])

    model = Function(forward, a=nn.Linear(3, 5), b=nn.Linear(cut, 2), c=nn.Linear(5 - cut, 2)).double()
    with torch.no_grad():
        for value, p in enumerate(model.parameters(), 1):
            p.fill_(value)
        if cut == 1:
            model.c.weight[:, 2:] = 7.0
    assert structure(model, X).blocks["a.bias"][0].tolist() == blocks


def test_rows_and_columns_of_a_grid_are_refined_each_by_its_own():
    """Weights to units (row, column): 2·row sums to the rows, bias by column."""
    model = Function(
        lambda m, x: m.o(torch.tanh(m.a(x)).unflatten(1, (2, 3)).sum(1)), a=nn.Linear(3, 6), o=nn.Linear(3, 2)
    ).double()
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
        model.a.bias.copy_(torch.tensor([1.0, 1.0, 5.0, 1.0, 1.0, 5.0]))
    assert structure(model, X).blocks["a.bias"][0].tolist() == [0, 0, 1, 0, 0, 1]
    with torch.no_grad():
        model.a.bias[3:] += 1.0
    assert structure(model, X).blocks["a.bias"][0].tolist() == [0, 0, 1, 2, 2, 3]
