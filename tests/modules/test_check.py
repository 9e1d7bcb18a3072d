"""The domain that checks partitions, step by step: what is offended, by which units, with which numbers; what enters as
it is; sums in three dimensions; values that move."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.modules import expand  # noqa: E402
from lop_theory.modules.clone import program_of  # noqa: E402
from lop_theory.modules.conditions import (  # noqa: E402
    Anything,
    Bound,
    Check,
    Pass,
    Propagated,
    Weighing,
    _disagreement,
    copies,
    propagated,
)
from lop_theory.modules.growth import profile_of_clone  # noqa: E402
from lop_theory.modules.numeric import signals  # noqa: E402
from lop_theory.modules.terms import limits  # noqa: E402
from lop_theory.trace import state_of  # noqa: E402
from tests.modules.nets import Model, X  # noqa: E402

SINGLE, PAIRS, CROSSED = np.arange(3), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
PROGRAM = SimpleNamespace(modules={"h": "m"}, graph=SimpleNamespace(nodes=[SimpleNamespace(name=n) for n in "gh"]))


def domain(limits=None, **tensors):
    found = Check(PROGRAM, Pass(tensors, {}), limits or {})
    found.node = SimpleNamespace(name="h")
    return found


def said(found):
    return [(o.module, o.node, o.condition, o.reason, o.units) for o in found.offences]


def test_an_operator_without_a_rule_offends_by_the_clones_that_meet_it():
    for axes, units in (((SINGLE, PAIRS), (0, 1)), ((CROSSED,), (0, 2)), ((SINGLE,), None), ((), None)):
        found = domain()
        call = SimpleNamespace(node=SimpleNamespace(target="aten.x"), operands=lambda a=axes: [SimpleNamespace(axes=a)])
        found.uncovered(call, "")
        assert said(found) == ([] if units is None else [("m", "h", "MC1", "no cloning rule for aten.x", units)])


def test_offences_say_what_the_partitions_are_not():
    found = domain()
    found.rigid(SINGLE)
    found.rigid(CROSSED)
    assert found.tie(PAIRS, PAIRS) is PAIRS
    assert found.tie(PAIRS, CROSSED) is PAIRS
    assert [part.tolist() for part in found.split(np.array([0, 1, 1, 0]), [2, 2])] == [[0, 1], [0, 1]]
    assert [part.tolist() for part in found.parts(CROSSED, [2, 2])] == [[0, 1], [0, 1]]
    assert [part.tolist() for part in found.parts(PAIRS, [2, 2])] == [[0, 0], [0, 0]]
    assert [o[2:] for o in said(found)] == [
        ("MC1", "this axis must not be cloned here", (0, 2)),
        ("MC1", "the profiles that meet here differ", (0, 1)),
        ("MC1", "the partition is not aligned with the view (2, 2)", (0, 3)),
        ("MC2", "a split separates clones", (0, 2)),
    ]
    assert _disagreement(np.zeros(3), np.array([0, 0, 1])) == (0, 2)
    assert _disagreement(np.arange(3), np.array([0, 1, 1])) == (1, 2)
    assert _disagreement(PAIRS, PAIRS) == ()


def test_parts_of_what_is_constant_fit_every_partition_too():
    found = domain()
    pieces = [*found.split(found.constant(6), [2, 3]), *found.parts(found.constant(6), [2, 4])]
    assert [len(piece) for piece in pieces] == [2, 3, 2, 4]
    assert all(isinstance(piece, Anything) for piece in pieces)
    assert said(found) == []


def test_averages_are_over_equal_numbers_of_clones():
    for index, unequal in (([0, 1, 1], True), ([0, 0, 1, 1], False), ([0, 1], False), ([], False), ([0, 0, 0], False)):
        found = domain()
        found.average(np.array(index, dtype=int))
        assert found.unequal == (["h"] if unequal else [])


def test_totals_of_three_dimensions_are_told_by_their_worst():
    totals = np.ones((2, 4, 3))
    totals[1, 2, 2], totals[0, 1, 0], totals[1, 1, 2] = 1.4, 1.1, 7.0
    scale = np.full((2, 4, 3), 2.0)
    found = domain()
    found._constant(totals.copy(), PAIRS, 1, Bound("MC2", scale, 0.01))
    reason = "outgoing block sums differ by 3.00e+00 over clones (terms 2.00e+00, tolerance 0.01)"
    assert said(found) == [("m", "h", "MC2", reason, (0, 1))]
    assert found.slack == 0.0
    scale[1, :2, 2] = 1e3
    found = domain()
    found._constant(totals.copy(), PAIRS, 1, Bound("MC1", scale, 0.01))
    (one,) = said(found)
    assert one[3:] == ("incoming block sums differ by 2.00e-01 over clones (terms 2.00e+00, tolerance 0.01)", (3, 2))
    found = domain()
    found._constant(totals.copy(), PAIRS, 1, Bound("MC1: bias", np.array(2.0), 0.01))
    assert said(found)[0][2:4] == ("MC1", "bias differ by 3.00e+00 over clones (terms 2.00e+00, tolerance 0.01)")


def test_what_is_let_pass_is_kept_relative_to_the_terms():
    totals = np.array([[0.0, 0.0, 4.0, 4.0], [1.0, 1.5, 4.0, 4.0], [2.0, 2.0, 4.0, 4.5]])
    scale = np.array([[0.0, 0.0, 1.0, 1.0], [10.0, 10.0, 1.0, 1.0], [1.0, 1.0, 50.0, 50.0]])
    found = domain()
    found._constant(totals.copy(), PAIRS, 1, Bound("MC1", scale, 0.03))
    assert found.offences == []  # 0.25 of 10 terms; where there are no terms nothing differs
    assert found.slack == pytest.approx(0.025)
    found._constant(np.array([[1.0, 1.0, 1.0, 1.01]]), PAIRS, 1, Bound("MC1", np.array(1.0), 0.03))
    assert found.slack == pytest.approx(0.025)
    found._constant(np.array([[1.0, 1.0, 1.0, 1.06]]), PAIRS, 1, Bound("MC1", np.array(1.0), 0.03 + 1e-12))
    assert found.slack == pytest.approx(0.03)


def sums(weight, roles, tolerance=1e-9, inward=None, outward=None):
    found = domain({"w": tolerance}, w=torch.as_tensor(weight).double())
    found.weigh(Weighing(SimpleNamespace(name="g"), "w", roles, inward, ("g", 1)), outward)
    assert found.checked == ["g"]
    return [(o.node, o.condition, o.units) for o in found.offences], found.slack


def test_incoming_sums_agree_over_outputs_and_outgoing_ones_over_inputs():
    roles = [("kept", PAIRS), ("summed", CROSSED)]
    right = [[1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 1.0, 2.0], [0.0, 1.0, 2.0, 1.0], [2.0, 1.0, 0.0, 1.0]]
    assert sums(right, roles) == ([], 0.0)
    rows = [[1.0, 2.0, 3.0, 4.0], [3.0, 5.0, 1.0, 2.0], *right[2:]]
    assert sums(rows, roles) == ([("g", "MC1", (0, 1)), ("g", "MC2", (3, 1))], 0.0)
    assert sums(rows, roles, 1.0)[0] == []
    turned = np.array(rows).T
    assert sums(turned, [("summed", CROSSED), ("kept", PAIRS)])[0] == [("g", "MC1", (0, 1)), ("g", "MC2", (3, 1))]
    alone = sums(rows, [("kept", np.arange(4)), ("summed", np.arange(4))])
    assert alone == ([], 0.0)
    shared = np.stack([np.array(right), np.array(right) + 1.0])
    assert sums(shared, [("shared", np.array([0, 0])), *roles])[0] == [("g", "MC1", (0, 1)), ("g", "MC2", (0, 1))]
    assert sums(shared, [("shared", np.arange(2)), *roles]) == ([], 0.0)


def test_sums_are_weighed_by_what_they_multiply():
    """Unit 3 is 1000 times larger than it is read: a difference of the others counts by inputs, or by adjoints."""
    weight = np.array([[1.0, 1.0, 1000.0], [1.001, 1.0, 1000.0]])
    roles = [("kept", np.array([0, 0])), ("summed", np.arange(3))]
    inward = np.array([[1.0, 1.0, 1e-3]])
    assert sums(weight, roles, 1e-4)[0] == []  # 5e-4 of a thousand
    assert sums(weight, roles, 1e-4, inward=inward)[0] == [("g", "MC1", (0, 1))]  # 5e-4 of three
    turned, roles = weight.T, [("kept", np.arange(3)), ("summed", np.array([0, 0]))]
    assert sums(turned, roles, 1e-4)[0] == []
    assert sums(turned, roles, 1e-4, outward=inward[0])[0] == [("g", "MC2", (0, 1))]


def test_what_a_parameter_is_added_to_is_the_axis_of_the_result_that_is_its_own():
    value = torch.tensor([[1.0, -5.0], [2.0, 0.0], [3.0, 1.0]])
    call = SimpleNamespace(node=SimpleNamespace(name="h"))
    found, pair, other = domain(h=value), np.array([0, 0]), np.arange(3)
    assert found._enters(call, (other, pair), pair).tolist() == [3.0, 5.0]
    assert found._enters(call, (other, pair), other).tolist() == [5.0, 2.0, 3.0]
    assert found._enters(call, (other, pair), np.array([0, 1])) == 0.0
    assert domain(h=value[:2])._enters(call, (pair, pair), pair) == 0.0  # either could be meant
    assert found._enters(call, [(other, pair)], pair) == 0.0
    assert domain(h=value > 0)._enters(call, (other, pair), pair) == 0.0  # a comparison has no terms
    assert domain()._enters(call, (other, pair), pair) == 0.0


def test_a_bias_may_be_off_by_its_tolerance_of_the_larger_of_itself_and_its_sum():
    bias = torch.tensor([[1.0, 1.5, 4.0, 4.0]])
    for added, offends in (
        (0.0, True),
        (np.array([9.0, 9.0, 0.0, 0.0]), False),
        (np.array([0.0, 0.0, 9.0, 9.0]), True),
    ):
        found = domain({"b": 0.05}, b=bias)
        found._as_it_is(bias, PAIRS, 1, ("b", added))
        assert [o[2:] for o in said(found)] == (
            [("MC1", "b differ by 2.50e-01 over clones (terms 1.25e+00, tolerance 0.05)", (0, 1))] if offends else []
        )
    found = domain(b=bias)  # of no tolerance
    found._as_it_is(bias, PAIRS, 1, ("b", np.full(4, 1e6)))
    assert len(found.offences) == 1


def test_offences_are_told_in_the_order_of_the_program():
    found = domain({"w": 1.0}, w=torch.ones(2, 2))
    found.offend("MC1", "second")
    found.node = SimpleNamespace(name="unknown")
    found.offend("MC1", "last")
    found.node = SimpleNamespace(name="g")
    found.offend("MC1", "first")
    found.unequal += ["a", "b", "a"]
    found.rescaled.add("r")
    proof = Propagated(found, {}, frozenset({"l"})).weighed({})
    assert [o.reason for o in proof.offences] == ["first", "second", "last"]
    assert proof.unequal == ("a", "b")
    assert proof.rescaled == {"r", "l"}
    assert proof.checked == ()


def test_magnitudes_of_adjoints_reach_the_sum_that_asked_for_them():
    roles = [("kept", np.arange(3)), ("summed", np.array([0, 0]))]
    weight = torch.tensor([[1.0, 1.001], [1.0, 1.0], [1000.0, 1000.0]]).double()
    for adjoint, offends in ((("g", 1), True), (("g", 0), False), (None, False)):
        found = domain({"w": 1e-4}, w=weight)
        found.weighings.append(Weighing(SimpleNamespace(name="g"), "w", roles, None, adjoint))
        proof = Propagated(found, {}, frozenset()).weighed({("g", 1): np.array([1.0, 1.0, 1e-3])})
        assert bool(proof.offences) == offends


@pytest.mark.parametrize("index", [[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1], [0, 1, 2, 3], [0, 0, 0, 0]])
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_copies_along_any_dimension(index, dim):
    index = np.array(index)
    value = torch.randn(3, 4, 2).movedim(1, dim).index_select(dim, torch.as_tensor(index)).contiguous()
    assert copies(value, index, dim)
    members = np.flatnonzero(index == 0)
    value.movedim(dim, 0)[int(members[-1]), 1, 1] += 1.0
    assert copies(value, index, dim) == (len(members) == 1)


def looked_at(function, **options):
    base = Model(function)
    base.b, base.scale, base.hidden = nn.Linear(4, 4), nn.Parameter(torch.rand(4) + 0.5), nn.Buffer(torch.arange(4))
    clone = expand(base.double(), 2, example_input=X, **options)
    program, state = program_of(clone, X), state_of(clone)
    seen = signals(program, state, [X], 0)
    found = propagated(program, Pass(seen.tensors, seen.sizes), profile_of_clone(clone), limits(program, state))
    return program, found, found.weighed({})


def test_weights_that_are_turned_are_weighed_where_they_are_summed():
    """They are not equal on clones, only in their sums; what is computed of them is compared, what moves is not."""

    def function(s, x):
        h = torch.tanh(s.a(x)) * s.scale.exp()
        return s.o(torch.tanh(h @ s.b.weight.T + s.b.bias))

    program, found, proof = looked_at(function, redistribute=1)
    assert proof.offences == ()
    assert len(proof.checked) == 3
    names = {str(n.target).split(".")[-2]: n.name for n in program.graph.nodes if n.op == "call_function"}
    assert names["exp"] in found.partitions
    turned = [name for kind, name in names.items() if kind in ("t", "permute", "transpose", "numpy_T")]
    assert len(turned) == 1
    assert not set(turned) & set(found.partitions)
    assert set(program.state) <= set(found.partitions)
    assert names["exp"] in found.learned
