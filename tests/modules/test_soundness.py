"""False certificates that were once given: each case stands for its kind."""

from collections import namedtuple
from functools import partial

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.modules import certify, expand, expansion  # noqa: E402
from lop_theory.trace import NotTraceable  # noqa: E402
from lop_theory.verdict import Fails, Holds, Undecided  # noqa: E402
from tests.modules.nets import Model, X, gap, restored, tanh  # noqa: E402


class Lie(torch.autograd.Function):
    @staticmethod
    def forward(_, h):
        return torch.tanh(h)

    @staticmethod
    def backward(_, g):
        return g * torch.arange(1.0, g.shape[-1] + 1, dtype=g.dtype)


def test_a_gradient_of_its_own_is_not_certified():
    base, wide = (Model(lambda s, x: s.o(Lie.apply(s.a(x))), width).double() for width in (4, 8))
    for call in (lambda: expand(base, 2, example_input=X), lambda: certify(wide, base=base, example_input=X)):
        with pytest.raises(NotTraceable, match="Lie"):
            call()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_fail_with_the_name_of_the_weight(value):
    clone = expand(Model(tanh).double(), 2, example_input=X)
    with torch.no_grad():
        clone.a.weight[0, 0] = value
    verdict = certify(clone, example_input=X)
    assert isinstance(verdict, Fails)
    assert "a.weight is NaN or infinite" in str(verdict)


def test_activations_that_overflow_fail_and_masks_of_minus_infinity_do_not():
    def masked(s, x):
        h = s.a(x)
        mask = torch.full((16, 16), float("-inf"), dtype=x.dtype).triu(1)
        return s.o((h @ h.T + mask).softmax(-1) @ h)

    base = Model(masked).double()
    assert isinstance(certify(expand(base, 2, example_input=X), base=base, example_input=X), Holds)
    base = Model(lambda s, x: s.o(torch.exp(1e6 * s.a(x).abs()).reciprocal())).double()
    assert isinstance(certify(expand(base, 2, example_input=X), example_input=X), Fails)


def test_a_buffer_of_low_precision_does_not_loosen_other_weights():
    base = Model(tanh).double()
    base.register_buffer("unused", torch.zeros(1, dtype=torch.bfloat16))
    base.register_buffer("scale", torch.zeros(1, dtype=torch.float8_e4m3fn))
    clone = expand(base, 2, example_input=X)
    assert isinstance(certify(clone, base=base, example_input=X), Holds)
    with torch.no_grad():
        clone.a.weight[0] *= 1 + 1e-6
    assert isinstance(certify(clone, example_input=X), Fails)


@pytest.mark.parametrize("ratio", [1, 300, 3000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_large_unit_hides_no_other(ratio, dtype):
    base = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)).to(dtype)
    with torch.no_grad():
        base[0].weight[3] *= ratio
        base[2].weight[:, 3] /= ratio
    clone = expand(base, 2, example_input=X.to(dtype))
    for name in ("0.weight", "2.weight", "4.weight"):
        with restored(clone):
            with torch.no_grad():
                weight = clone.get_parameter(name)
                (weight[0] if name != "4.weight" else weight[:, 0]).mul_(1.02)
            assert isinstance(certify(clone, example_input=X.to(dtype)), Fails)


def test_minimum_and_maximum_of_two_tensors_are_elementwise():
    base = Model(lambda s, x: torch.min(s.o(torch.max(s.a(x), s.a(-x)))[:, :1], s.o(torch.tanh(s.a(x))))).double()
    clone = expand(base, 2, example_input=X, traced=True)
    assert clone(X).shape == base(X).shape
    assert gap(clone, base, X) < 1e-14


class RMS(nn.Module):
    def forward(self, h):
        wide = h.to(torch.float32)
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(h.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_normalisation_in_float32_does_not_fail_a_correct_clone(dtype):
    base = Model(lambda s, x: s.o(s.norm(s.a(x))))
    base.norm = RMS()
    base, x = base.to(dtype), X.to(dtype)
    clone = expand(base, 2, example_input=x)
    assert isinstance(certify(clone, base=base, example_input=x), Holds)
    with torch.no_grad():
        clone.a.weight[0] *= 1.01
    assert isinstance(certify(clone, example_input=x), Fails)


def test_an_operator_without_a_rule_costs_its_layer_not_the_model():
    base = Model(lambda s, x: s.o(torch.special.i0(s.a(x))) + s.d(torch.tanh(s.c(x)))).double()
    base.c, base.d = nn.Linear(5, 4).double(), nn.Linear(4, 3).double()
    clone = expand(base, 2, example_input=X)
    assert clone.c.weight.shape == (8, 5)
    assert "special_i0" in expansion(clone).narrow["a.weight"]
    assert not isinstance(certify(clone, base=base, example_input=X), (Fails, Undecided))


def test_every_kept_width_is_laid_to_its_own_operator():
    base = Model(lambda s, x: s.o(torch.special.i0(s.a(x))) + s.d(torch.special.i1(s.c(x))) + s.f(torch.tanh(s.e(x))))
    base.c, base.d, base.e, base.f = nn.Linear(5, 6), nn.Linear(6, 3), nn.Linear(5, 7), nn.Linear(7, 3)
    narrow = expansion(expand(base.double(), 2, example_input=X)).narrow
    for name, operator in (
        ("a.bias", "special_i0"),
        ("c.bias", "special_i1"),
        ("f.bias", "output"),
        ("o.bias", "output"),
    ):
        assert operator in narrow[name]
    assert "e.bias" not in narrow
    assert ("special_i0" in narrow["d.weight"], "special_i1" in narrow["c.weight"]) == (False, True)


Pair = namedtuple("Pair", "y z")
OUTPUTS = {
    "missing": (lambda *pair: pair, lambda *pair: pair[:1]),
    "added": (lambda *pair: pair, lambda *pair: (*pair, pair[1])),
    "called otherwise": (lambda y, z: {"y": y, "z": z}, lambda y, z: {"z": y, "y": z}),
    "nothing": (lambda y, _: Pair(y, None), Pair),
    "instead of nothing": (Pair, lambda y, _: Pair(y, None)),
    "another number": (lambda y, _: (y, 0.25), lambda y, _: (y, 0.5)),
    "another whole number": (lambda y, _: (y, 3), lambda y, _: (y, 4)),
    "another text": (lambda y, _: (y, "a"), lambda y, _: (y, "b")),
    "a constant": (lambda y, z: (y, z), lambda y, _: (y, 1.0)),
    "of another kind": (lambda y, z: (y, z > 1), lambda y, z: (y, z)),
}


@pytest.mark.parametrize(("theirs", "mine"), OUTPUTS.values(), ids=OUTPUTS)
def test_outputs_that_the_base_does_not_have_are_not_equal_to_it(theirs, mine):
    """The second one has no gradient, so nothing inside shows it."""
    base = Model(lambda s, x: s.answer(tanh(s, x), tanh(s, x).detach() + 1)).double()
    base.answer = theirs  # no closure: its trace is kept
    clone = expand(base, 2, example_input=X)
    assert isinstance(certify(clone, base=base, example_input=X), Holds)
    clone.answer = mine
    reason = certify(clone, base=base, example_input=X).witness.reason
    assert "laid out" in reason or "the base's is" in reason


def beside(function):
    return partial(pair_with, function)


def pair_with(function, s, x):
    return tanh(s, x), function(s, x)


GRADIENTS = {
    "none where there is one": (beside(tanh), beside(lambda s, x: tanh(s, x).detach())),
    "one where there is none": (beside(lambda s, x: tanh(s, x).detach()), beside(tanh)),
    "none to the input": (tanh, lambda s, x: tanh(s, x.detach())),
    "none to a weight": (tanh, lambda s, x: s.o(torch.tanh(nn.functional.linear(x, s.a.weight.detach(), s.a.bias)))),
}


@pytest.mark.parametrize(("theirs", "mine"), GRADIENTS.values(), ids=GRADIENTS)
def test_gradients_that_go_elsewhere_than_the_base_s_are_an_offence(theirs, mine):
    base = Model(theirs).double()
    clone = expand(base, 2, example_input=X)
    assert isinstance(certify(clone, base=base, example_input=X), Holds)
    clone.function = mine
    assert "in one of the models alone" in certify(clone, base=base, example_input=X).witness.reason


def test_a_coarse_clone_that_is_off_fails():
    clone = expand(Model(tanh).bfloat16(), 2, example_input=X.bfloat16())
    with torch.no_grad():
        clone.a.bias[0] *= 1.5
    assert isinstance(certify(clone, example_input=X.bfloat16()), Fails)


@pytest.mark.parametrize("change", ["tensor", "list", "table"])
def test_a_tensor_that_is_no_parameter_is_seen_when_it_is_another(change):
    def scaled(s, x):
        return s.o(torch.tanh(s.a(x) * s.c * s.cs[0] * s.get("k")))

    base, table = Model(scaled).double(), {"k": 1.0}
    base.c, base.cs, base.get = torch.ones((), dtype=torch.float64), [torch.ones((), dtype=torch.float64)], table.get
    clone = expand(base, 2, example_input=X)
    assert isinstance(certify(clone, base=base, example_input=X), Holds)
    if change == "tensor":
        clone.c = 3 * base.c
    elif change == "list":
        clone.cs = [3 * base.c]
    else:
        clone.get = {"k": 3.0}.get
    assert isinstance(certify(clone, base=base, example_input=X), Fails)


@pytest.mark.parametrize(
    "read", [lambda y: torch.complex(y[:, :1], y[:, 1:2]), torch.fft.fft], ids=["complex", "fourier"]
)
def test_complex_outputs_are_compared_with_the_base(read):
    base = Model(lambda s, x: read(tanh(s, x))).double()
    clone = expand(base, 2, example_input=X)
    assert "equal to the base" in str(certify(clone, base=base, example_input=X))
    with torch.no_grad():
        clone.o.bias[1] += 5.0
    assert isinstance(certify(clone, base=base, example_input=X), Fails)


def test_whole_numbers_are_not_said_to_equal_the_base():
    base = Model(lambda s, x: tanh(s, x).argmax(-1)).double()
    verdict = certify(expand(base, 2, example_input=X), base=base, example_input=X)
    assert isinstance(verdict, Holds)
    assert "not compared with the base" in verdict.evidence


def test_the_level_at_which_outputs_were_compared_is_said():
    base = Model(tanh).float()
    clone = expand(base, 2, example_input=X.float())
    with torch.no_grad():
        clone.o.weight[0, 0] *= 1 + 1.5e-4
    assert "to what the weights' deviation allows" in certify(clone, base=base, example_input=X.float()).evidence


def test_the_third_clone_counts_as_the_second_does():
    clone = expand(Model(tanh).double(), 3, example_input=X)
    with torch.no_grad():
        clone.a.bias[2] *= 1.02
    verdict = certify(clone, example_input=X)
    assert verdict.witness.module == "a"


def test_a_branch_that_another_batch_takes_is_no_reason_to_refuse():
    base = Model(lambda s, x: tanh(s, x) * (2.0 if x.shape[0] % 2 == 0 else 1.0)).double()
    assert isinstance(certify(expand(base, 2, example_input=X), base=base, example_input=X), Holds)
