"""What is returned: which numbers are compared, and whether outputs are laid out as the base's."""

import pytest

torch = pytest.importorskip("torch")

from lop_theory.modules.outputs import all_compared, compared_outputs, layout_offences, outputs_of, weights_of_outputs  # noqa: E402
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
