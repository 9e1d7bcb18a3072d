"""A graph as plain data, and back."""

import inspect
import operator

import pytest

torch = pytest.importorskip("torch")
from torch import fx  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.trace.packing import Reference, Step, packed, unpacked, without_annotations  # noqa: E402


def graph():
    made = fx.Graph()
    x = made.placeholder("x")
    x.meta["val"] = torch.ones(2, 3, dtype=torch.float64)
    size = made.call_function(torch.ops.aten.sym_size.int, (x, 0))
    size.meta["val"] = 2
    total = made.call_function(torch.ops.aten.cat.default, ([x, x],), {"dim": 1})
    made.output((made.call_function(operator.mul, (total, size)), None))
    return made


STEPS = (
    Step("placeholder", "x", "x", (), {}, torch.float64),
    Step("call_function", "sym_size_int", "aten.sym_size.int", (Reference("x"), 0), {}, None),
    Step("call_function", "cat_default", "aten.cat.default", ([Reference("x"), Reference("x")],), {"dim": 1}, None),
    Step("call_function", "mul", operator.mul, (Reference("cat_default"), Reference("sym_size_int")), {}, None),
    Step("output", "output", "output", ((Reference("mul"), None),), {}, None),
)


def test_a_graph_is_packed_and_unpacked():
    assert packed(graph()) == STEPS
    assert len({*STEPS[1].args[:1], Reference("x")}) == 1
    again = unpacked(STEPS)
    assert packed(again) == STEPS
    assert str(again) == str(graph())
    x, *rest = again.nodes
    assert (x.meta["val"].shape, x.meta["val"].dtype, x.meta["val"].device.type) == ((0,), torch.float64, "meta")
    assert not any("val" in node.meta for node in rest)


def test_a_graph_within_the_graph_cannot_be_saved():
    region, called = fx.Graph(), fx.Graph()
    region.create_node("get_attr", "submodule", name="part")
    called.call_function(torch.ops.higher_order.cond, (True, None, None, ()))
    for outer, said in ((region, "'part': cannot be saved: submodule runs"), (called, "cannot be saved: cond runs")):
        with pytest.raises(InvalidInput, match=said):
            packed(outer)


def test_annotations_and_nothing_else_of_a_signature_are_left_out():
    def forward(x: int, *, scale: float = 2.0) -> float:
        return x * scale

    assert str(without_annotations(inspect.signature(forward))) == "(x, *, scale=2.0)"
    assert without_annotations(None) is None
