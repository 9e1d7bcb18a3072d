"""What is returned: which numbers are compared, and whether outputs are laid out as the base's."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from torch import fx  # noqa: E402

from lop_theory.modules.outputs import (  # noqa: E402
    _is_compared,
    _kind,
    _sources,
    all_compared,
    compared_outputs,
    differentiate,
    layout_offences,
    outputs_of,
    weights_of_outputs,
)
from lop_theory.trace import trace  # noqa: E402
from tests.modules.nets import Model, Several, X  # noqa: E402


def test_outputs_are_the_real_and_complex_numbers():
    model = Several().double()
    given = {"y": torch.ones(2, 3), "k": torch.arange(3), "z": torch.tensor([1 + 2j]), "none": None, "n": 4.0}
    assert [t.tolist() for t in outputs_of(given)] == [[[1.0] * 3] * 2, [[1.0, 2.0]]]
    program = trace(model, X)
    targets = {n.name: str(n.target) for n in program.graph.nodes}
    assert [targets[name] for name in compared_outputs(program)] == ["aten.linear.default", "aten.complex.default"]
    first, again = (weights_of_outputs(outputs_of(given), seed) for seed in (3, 3))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert [w.shape for w in first] == [(2, 3), (1, 2)]
    assert not torch.equal(first[0], weights_of_outputs(outputs_of(given), 4)[0])


def named(s, x, y=lambda t: t, k=lambda t: t, n=3, h=lambda t: t):
    return {"y": y(s.o(s.a(x))), "k": k(x.argmax(-1)), "n": n, "h": h(s.a(x))}


def test_outputs_are_laid_out_as_the_bases_or_it_is_said_which_is_not():
    base = trace(Model(named), X.float())
    assert layout_offences(base, base) == []
    assert not all_compared(base)
    assert len(compared_outputs(base)) == 2
    traced = trace(
        Model(lambda s, x: named(s, x, torch.detach, torch.Tensor.int, 4, lambda t: t + s.o(t).sum())), X.float()
    )
    assert [o.reason for o in layout_offences(traced, base)] == [
        "output 0 has a gradient to a.bias in one of the models alone",
        "output 1 is a tensor of torch.int32, the base's is a tensor of torch.int64",
        "output 2 is the constant 4, the base's is the constant 3",
        "output 3 has a gradient to o.bias in one of the models alone",
    ]
    more = lambda s, t: t + s.o(t).argmax(-1, keepdim=True)  # noqa: E731 - whole numbers have no gradient
    traced = trace(
        Model(
            lambda s, x: named(s, x, lambda t: torch.complex(t, t), torch.Tensor.float, x.sum(), lambda t: more(s, t))
        ),
        X.float(),
    )
    assert [o.reason for o in layout_offences(traced, base)] == [
        "output 0 is a tensor of complex numbers, the base's is a tensor of real numbers",
        "output 1 is a tensor of real numbers, the base's is a tensor of torch.int64",
        "output 2 is a tensor of real numbers, the base's is the constant 3",
    ]
    assert all_compared(traced)
    assert len(compared_outputs(traced)) == 4
    traced = trace(Model(lambda s, x: {**named(s, x), "y": s.o(s.a(x.detach()))}), X.float())
    (one,) = layout_offences(traced, base)
    assert one.reason == "output 0 has a gradient to args_0 in one of the models alone"
    assert (one.module, one.node, one.condition) == ("", "output", "base")
    (one,) = layout_offences(trace(Model(lambda s, x: (s.o(x[:, :4]), x)), X.float()), base)
    assert one.reason.startswith(
        "what is returned is not laid out as the base's: TreeSpec(tuple, None, [*, *]) against TreeSpec(dict"
    )


def test_values_are_told_by_what_is_known_of_them():
    graph = fx.Graph()
    for value, kind, compared in (
        (torch.ones(2), "a tensor of real numbers", True), (torch.ones(2) * 1j, "a tensor of complex numbers", True),
        (torch.arange(2), "a tensor of torch.int64", False), (torch.ones(2) > 0, "a tensor of torch.bool", False),
        (7, "computed", False), (None, "computed", True),
    ):  # fmt: skip
        node = graph.placeholder(f"x{kind[-4:]}")
        node.meta = {} if value is None else {"val": value}
        assert (_kind(node), _is_compared(node)) == (kind, compared)
    assert (_kind(3), _is_compared(3), _kind("a")) == ("the constant 3", False, "the constant 'a'")


def test_sources_are_reached_once_whatever_the_number_of_ways():
    """2⁶⁴ ways lead from the output to x; none through whole numbers, or what is detached."""
    graph = fx.Graph()
    x, w, n, c, d = (graph.placeholder(name) for name in "xwncd")
    n.meta["val"] = torch.arange(2)
    y = graph.call_function(torch.add, (graph.call_function(torch.mul, (x, n)), graph.call_function(torch.mul, (w, c))))
    y = graph.call_function(torch.add, (y, graph.call_function(torch.detach, (d,))))
    for _ in range(64):
        y = graph.call_function(torch.add, (y, graph.call_function(torch.sin, (y,))))
    program = SimpleNamespace(state={"w": "a.weight"}, constants={"c": torch.ones(1)})
    assert _sources(y, program) == {"x", "a.weight"}
    assert _sources(3, program) == set()


def test_gradients_come_from_what_has_one():
    x = torch.ones(2, requires_grad=True)
    differentiate([2 * x, torch.ones(3), x.detach()], [torch.tensor([1.0, 5.0]), torch.ones(3), torch.ones(2)])
    assert x.grad.tolist() == [2.0, 10.0]
    differentiate([torch.ones(3)], [torch.ones(3)])
    differentiate([], [])
