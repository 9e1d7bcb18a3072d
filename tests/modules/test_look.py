"""What a look at one pass keeps: distances of clones and of the base, gradients, numbers that are not finite."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lop_theory.modules import survey  # noqa: E402
from lop_theory.trace import state_of, trace  # noqa: E402
from tests.modules.nets import Model  # noqa: E402


def look(base=None, wanted=(), rescaled=(), *, entries=False, **partitions):
    """A look at a program of one bias ``b`` that ``h`` adds, after its forward pass."""
    model = Model(lambda s, x: s.o(torch.tanh(s.a(x)))).double()
    program, state = trace(model, X_ROWS), state_of(model)
    names = {"h": next(n.name for n in program.graph.nodes if "linear" in n.name)}
    partitions = {names.get(name, name): index for name, index in partitions.items()}
    found = survey._Look(program, state, {"a.bias": (PAIRS,), "a.weight": (PAIRS, np.arange(5))}, base, entries)
    given = SimpleNamespace(
        partitions=partitions, wanted={(names["h"], d) for d in wanted}, rescaled={names[n] for n in rescaled}
    )
    for node in program.graph.nodes:
        if node.name == names["h"]:
            found.value(node, torch.tensor([[1.0, 1.5, 4.0, 4.0]]).double().repeat(3, 1))
        elif node.name in program.state:
            found.value(node, state[program.state[node.name]])
    found.turn(lambda passed: given if names["h"] in passed.tensors else None)
    return found, names["h"], state


PAIRS, X_ROWS = np.array([0, 0, 1, 1]), torch.randn(3, 5, dtype=torch.float64)


LINES = np.arange(3)


def test_a_look_keeps_the_largest_distance_of_all_values_and_no_value():
    found, name, _ = look(h=(LINES, PAIRS))
    assert found.clones == pytest.approx(0.5 / 1.5)
    assert (found.finite, found.apart, found.ties) == (True, 0.0, [])
    assert found.values == found.tensors == {}
    assert found.sizes[name] == (3, 4)
    assert look(h=(LINES, np.arange(4)))[0].clones == look()[0].clones == 0.0
    adjoint = torch.tensor([[1.0, 4.0, 1.0, 1.0]]).double().repeat(3, 1)
    found.adjoint(name, adjoint)
    assert found.clones == pytest.approx(3 / 4)
    found.adjoint(name, torch.ones_like(adjoint))
    assert found.clones == pytest.approx(3 / 4)
    assert found.magnitudes == {}


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_an_adjoint_or_a_gradient_that_is_not_finite_is_seen(wrong):
    for what in ("adjoint", "gradient"):
        found, name, state = look()
        if what == "adjoint":
            found.adjoint(name, torch.full((3, 4), wrong).double())
        else:
            found.gradient(id(state["a.bias"]), torch.full((4,), wrong).double())
        assert not found.finite
        found.adjoint(name, torch.ones(3, 4))
        assert not found.finite


def test_single_entries_that_are_rounding_are_told_where_they_are_asked_for():
    """Of clones in the same place, those that differ by more than a tenth: the largest difference of all batches."""
    weight = torch.ones(4, 5).double()
    weight[1, 2], weight[3, 0] = 1.09, 0.85
    for entries, right in ((False, {}), (True, {"a.bias": pytest.approx(3e-9), "a.weight": pytest.approx(0.15)})):
        found, _, state = look(entries=entries)
        found.gradient(id(state["a.bias"]), torch.tensor([1e-9, -2e-9, 1.0, 1.0]).double())
        found.gradient(id(state["a.bias"]), torch.tensor([1e-9, 2e-9, 1.0, 1.0]).double())
        found.gradient(id(state["a.weight"]), weight)
        assert found.loose == right


def test_gradients_of_biases_are_told_from_the_terms_that_they_add_up():
    found, name, state = look()
    gradient = torch.tensor([1e-9, 2e-9, 1.0, 1.0]).double()
    found.gradient(id(state["a.bias"]), gradient)
    assert found.clones == pytest.approx(0.5)  # of the smaller block, the median one of two
    found, name, state = look()
    found.adjoint(name, torch.full((3, 4), 10.0).double())
    found.adjoint(name, torch.ones(3, 4).double())
    found.gradient(id(state["a.bias"]), gradient)
    assert found.clones == pytest.approx(1e-9 / (10 * 3**0.5))
    found.gradient(id(state["a.weight"]), torch.tensor([[1.0], [3.0], [1.0], [1.0]]).double().repeat(1, 5))
    assert found.clones == pytest.approx(2 / 3)
    found.gradient(id(state["o.weight"]), torch.randn(3, 4))  # no partition of it is known
    assert found.clones == pytest.approx(2 / 3)


def test_adjoints_are_measured_where_weights_ask_for_it_and_compared_where_they_must_be_the_bases():
    adjoint = torch.tensor([[1.0, 2.0, -3.0, 0.5], [0.0, -4.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]).double()
    total = adjoint[:, ::2] + adjoint[:, 1::2]
    for rescaled, apart in (((), 0.5 / 4), (("h",), 0.0)):
        off = total.clone()
        off[0, 0] += 0.5
        base = survey.Base((), {"b": off}, {"linear": "b"}, {"b": (LINES, PAIRS)})
        found, name, _ = look(base, wanted=(0, 1), rescaled=rescaled)
        found.adjoint(name, adjoint)
        assert found.apart == pytest.approx(apart)
        assert {d: m.tolist() for (_, d), m in found.magnitudes.items()} == {
            0: [3.0, 4.0, 0.0],
            1: [1.0, 4.0, 3.0, 0.5],
        }
        found.adjoint("tanh", adjoint)
        assert len(found.magnitudes) == 2
