"""A clone's values and adjoints beside its base's: nodes in pairs, the first that differs, clones among themselves."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.modules import expand  # noqa: E402
from lop_theory.modules.clone import program_of  # noqa: E402
from lop_theory.modules.growth import profile_of_clone  # noqa: E402
from lop_theory.modules.numeric import (  # noqa: E402
    Comparison,
    Evidence,
    aligned,
    base_offence,
    cloned_offences,
    sensitivity,
    signals,
)
from lop_theory.trace import state_of, trace  # noqa: E402
from tests.modules.nets import Model, X  # noqa: E402


def test_nodes_of_two_programs_are_paired_in_order_but_for_inserted_ones():
    def one(s, x):
        return s.o(torch.tanh(s.a(x)))

    def more(s, x):
        return s.o(torch.tanh(s.a(x) * 0.5).abs())

    first, second = trace(Model(one), X.float()), trace(Model(more), X.float())
    names = {n.name: str(n.target) for n in (*first.graph.nodes, *second.graph.nodes)}
    same = aligned(first, first)
    assert same == {n.name: n.name for n in first.graph.nodes if n.op == "call_function"}
    pairs = aligned(second, first)
    assert len(pairs) == 3
    assert all(names[a] == names[b] for a, b in pairs.items())
    assert list(pairs.values()) == list(same)


def test_operators_that_come_often_are_paired_too():
    def chain(*targets):
        nodes = [SimpleNamespace(op="call_function", name=f"n{k}", target=t) for k, t in enumerate(targets)]
        return SimpleNamespace(graph=SimpleNamespace(nodes=nodes), modules={})

    first, second = chain(*["relu"] * 300), chain(*["relu"] * 200, "mul", *["relu"] * 100)
    assert aligned(second, first) == {f"n{k}": f"n{k - (k > 200)}" for k in range(301) if k != 200}


def comparison(base, clone, x=X, level=2.0**-50, rescaled=frozenset()):
    program, reference = (program_of(m, x) for m in (clone, base))
    mine = signals(program, state_of(clone), [x], 3)
    theirs = signals(reference, state_of(base), [x], 3)
    moved = sensitivity(reference, state_of(base), [x], theirs, 3)
    values = profile_of_clone(clone).values
    return Comparison(program, aligned(program, reference), mine, theirs, moved, values, rescaled, level)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    base = Model(lambda s, x: s.o(torch.sin(torch.tanh(s.a(x)) + s.shift)))
    base.shift = nn.Parameter(torch.randn(4))
    return base.double(), expand(base, 2, example_input=X)


def test_the_first_value_that_is_not_the_bases_is_named(pair):
    base, clone = pair
    assert base_offence(comparison(base, clone)) is None
    with torch.no_grad():
        clone.a.bias[2:4] += 1e-7  # still clones
    found = base_offence(comparison(base, clone))
    assert (found.module, found.condition) == ("a", "base")
    assert "differs from the base by 1.00e-07" in found.reason
    assert base_offence(comparison(base, clone, level=1e-6)) is None
    names = [n.name for n in trace(clone, X).graph.nodes if n.op == "call_function"]
    later = base_offence(comparison(base, clone, rescaled=frozenset(names[:1])))
    assert later.node == names[1]
    with torch.no_grad():
        clone.a.bias[2:4] -= 1e-7
        clone.shift[:2] += 1e-7
    found = base_offence(comparison(base, clone))
    assert found.node == names[2]
    unknown = comparison(base, clone)
    values = {name: t for name, t in unknown.base.values.items() if not name.startswith(names[2])}
    assert base_offence(unknown._replace(base=unknown.base._replace(values=values))).node == names[3]


def test_adjoints_are_summed_over_clones_before_they_are_compared(pair):
    """A function with the base's values and another gradient in one branch: the sum of both is right, its parts not."""
    base, clone = pair
    c = comparison(base, clone)
    last = [n.name for n in c.program.graph.nodes if n.op == "call_function"][-2]
    wrong = {**c.clone.adjoints, last: c.clone.adjoints[last] * (1 + 1e-6)}
    found = base_offence(c._replace(clone=c.clone._replace(adjoints=wrong)))
    assert (found.node, found.condition) == (last, "base (|S| δ = δ̃)")
    swapped = c.clone.adjoints[last].clone()
    swapped[:, 0] += 1.0
    swapped[:, 1] -= 1.0  # their sum is the base's: that they differ is an offence of another kind
    assert base_offence(c._replace(clone=c.clone._replace(adjoints={**c.clone.adjoints, last: swapped}))) is None


def test_outputs_of_another_shape_are_an_offence(pair):
    base, clone = pair
    c = comparison(base, clone)
    found = base_offence(c._replace(clone=c.clone._replace(outputs=(c.clone.outputs[0][:, :2],))))
    assert found.condition == "base"
    assert "(16, 2) against (16, 3)" in found.reason
    empty = c._replace(
        clone=c.clone._replace(outputs=(torch.zeros(0, 3),)), base=c.base._replace(outputs=(torch.zeros(0, 3),))
    )
    assert base_offence(empty._replace(moved=c.moved._replace(outputs=(torch.zeros(0, 3),)))) is None


def offences(clone, slack=0.0, without=()):
    program, state, maps = program_of(clone, X), state_of(clone), profile_of_clone(clone)
    seen = signals(program, state, [X], 3)
    moved = sensitivity(program, state, [X], seen, 3)
    kept = {name: t for name, t in moved.values.items() if name not in without}
    return cloned_offences(program, Evidence(seen, moved._replace(values=kept)), maps.values, maps.state, slack)


def test_values_forward_adjoints_backward_then_gradients(pair):
    _, clone = pair
    assert offences(clone) == []
    with torch.no_grad():
        clone.a.bias[0] += 1e-6
    found = offences(clone)
    conditions = [o.condition for o in found]
    assert conditions == sorted(conditions)
    assert set(conditions) == {"MC1", "MC2", "MC3"}
    names = [n.name for n in program_of(clone, X).graph.nodes if n.op == "call_function"]
    by_condition = {c: [o.node for o in found if o.condition == c] for c in conditions}
    assert by_condition["MC1"] == names[:-1]  # the sums over both clones are one number
    assert by_condition["MC2"] == [name for name in reversed(names) if name in by_condition["MC2"]]
    assert {"o.weight", "a.weight", "a.bias"} <= set(by_condition["MC3"])
    assert all(sorted(o.units) == [0, 1] for o in found)
    assert offences(clone, slack=1e-6) == []  # what the weights are off by explains it
    assert [o.node for o in offences(clone, without=names[:1]) if o.condition == "MC1"] == names[1:-1]
