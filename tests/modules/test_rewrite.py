"""Literal sizes and positions of a trace follow the axes that they belong to."""

import pytest

torch = pytest.importorskip("torch")
from torch import fx  # noqa: E402

from lop_theory.modules.interface import Correction, Cut, Offset, Profile, Rescale, Resize  # noqa: E402
from lop_theory.modules.plan import Plan, Traced  # noqa: E402
from lop_theory.modules.propagation import Recording  # noqa: E402
from lop_theory.modules.rewrite import Rewriter  # noqa: E402
from lop_theory.trace import Program  # noqa: E402

aten = torch.ops.aten
PLAN = Plan()
WIDE, STILL = PLAN.free(4), PLAN.free(3)
GROWN = {WIDE: 4}
X = object()
"""Stands for the tensor that a call is made with."""

CALLS = [
    (aten.view.default, (X, [3, 4, -1]), Resize("size", (STILL, WIDE, WIDE)), (X, [3, 16, -1])),
    (aten.new_ones.default, (X, [4, 4]), Resize("size", (None, WIDE)), (X, [4, 16])),
    (aten.new_ones.default, (X, [-1, 4]), Resize("size", (WIDE, STILL)), (X, [-1, 4])),
    (aten.group_norm.default, (X, 4), Resize("num_groups", WIDE), (X, 16)),
    (aten.slice.Tensor, (X, 1, 4), Offset("start", (WIDE,)), (X, 1, 16)),
    (aten.slice.Tensor, (X, 1, 0, 7), Offset("end", (STILL, WIDE)), (X, 1, 0, 19)),
    (aten.slice.Tensor, (X, 1, 0, 7, 1), Offset("end", (WIDE, STILL)), (X, 1, 0, 19, 1)),
    (aten.slice.Tensor, (X, 1, -3), Offset("start", (STILL,)), (X, 1, 3)),
    (aten.slice.Tensor, (X, 1, -1), Offset("start", (STILL,)), (X, 1, 3)),
    (aten.slice.Tensor, (X, 1, 1), Offset("start", (STILL,)), (X, 1, 1)),
    (aten.slice.Tensor, (X, 1, 0), Offset("start", (STILL,)), (X, 1, 0)),
    (aten.slice.Tensor, (X, 1, None), Offset("start", (WIDE,)), (X, 1, None)),
    (aten.slice.Tensor, (X, 1, X), Offset("start", (WIDE,)), (X, 1, X)),
    (aten.split.Tensor, (X, 4, 1), Cut(1, (WIDE, STILL)), (X, [16, 3], 1)),
    (aten.split.Tensor, (X, 3, 1), Cut(1, (STILL, STILL)), (X, 3, 1)),
    (aten.mm.default, (X, X), Correction("self", 1, WIDE, 1.0), (X, X)),
]


def rewritten(operator, args, effect, **kwargs):
    """The call's node and the node of its tensor, after the effect was carried out."""
    graph = fx.Graph()
    x = graph.placeholder("x")

    def entered(value):
        return [entered(v) for v in value] if isinstance(value, list) else x if value is X else value

    node = graph.call_function(operator, tuple(map(entered, args)), kwargs)
    PLAN.effects = {node: [effect]}
    traced = Traced(Program(graph, {}, {}, (), None, {}, {}, None, {}), Recording({}, frozenset()), {})
    found = Rewriter(traced, PLAN, GROWN, Profile({}, {}))
    return found.nodes[node.name], found.nodes["x"]


@pytest.mark.parametrize(("operator", "args", "effect", "right"), CALLS)
def test_literals_grow_with_their_axes(operator, args, effect, right):
    """Entry by entry; −1 and what is no number stays; positions from the end become positions from the front."""
    node, x = rewritten(operator, args, effect)
    assert node.args == tuple(x if value is X else value for value in right)
    assert node.kwargs == {}
    cut = isinstance(effect, Cut) and WIDE in effect.pieces
    assert node.target is (aten.split_with_sizes.default if cut else operator)


def test_sizes_that_are_read_off_a_tensor_are_multiplied():
    node, x = rewritten(aten.new_ones.default, (X, [X, 3]), Resize("size", (WIDE, STILL)))
    (times, rest) = node.args[1]
    assert (times.args, rest) == ((x, 4), 3)
    node, x = rewritten(aten.new_ones.default, (X, [X]), Resize("size", (STILL,)))
    assert node.args[1] == [x]


def test_keywords_and_the_scale_of_attention():
    """Four times as wide a head: 1/√4 of the scale."""
    attention = aten.scaled_dot_product_attention.default
    node, _ = rewritten(attention, (X, X, X), Rescale("scale", WIDE), scale=0.5)
    assert node.kwargs == {"scale": 0.25}
    assert len(node.args) == 3
    node, _ = rewritten(aten.group_norm.default, (X,), Resize("num_groups", WIDE), num_groups=4, eps=0.5)
    assert node.kwargs == {"num_groups": 16, "eps": 0.5}
