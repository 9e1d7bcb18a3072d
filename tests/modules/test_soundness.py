"""False certificates that were once given: each case stands for its kind."""

from collections import namedtuple
from types import MethodType

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.modules import certify, detect, expand, expansion  # noqa: E402
from lop_theory.trace import NotTraceable  # noqa: E402
from lop_theory.verdict import Fails, Holds, Undecided  # noqa: E402
from tests.modules.nets import Model, X, gap, tanh  # noqa: E402


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
    for name in ("0.weight", "2.weight", "4.weight"):
        clone = expand(base, 2, example_input=X.to(dtype))
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


def test_state_of_the_optimizer_that_differs_between_clones_is_an_offence():
    clone = expand(Model(tanh).double(), 2, example_input=X)
    optimizer = torch.optim.Adam(clone.parameters(), 1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        clone(X).square().mean().backward()
        optimizer.step()
    assert isinstance(certify(clone, example_input=X, optimizer=optimizer), Holds)
    optimizer.state[clone.a.weight]["exp_avg_sq"][1] *= 1.1
    verdict = certify(clone, example_input=X, optimizer=optimizer)
    assert isinstance(verdict, Fails)
    assert "exp_avg_sq differs between clones" in str(verdict)
    assert "a.weight" in str(verdict)
    assert isinstance(certify(clone, example_input=X), Holds)


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


def trained(optimizer):
    clone = expand(Model(tanh).double(), 2, example_input=X)
    stepper = optimizer(clone.parameters())

    def closure():
        stepper.zero_grad()
        loss = clone(X).square().mean()
        loss.backward()
        return loss

    for _ in range(2):
        stepper.step(closure)
    return clone, stepper


def test_factored_moments_are_looked_at_and_other_layouts_are_not_called_alike():
    clone, optimizer = trained(torch.optim.Adafactor)
    assert isinstance(certify(clone, example_input=X, optimizer=optimizer), Holds)
    optimizer.state[clone.a.weight]["row_var"][1] *= 1.5
    verdict = certify(clone, example_input=X, optimizer=optimizer)
    assert "row_var differs between clones" in verdict.witness.reason
    clone, optimizer = trained(lambda p: torch.optim.LBFGS(p, max_iter=2))
    verdict = certify(clone, example_input=X, optimizer=optimizer)
    assert isinstance(verdict, Undecided)
    assert "not known" in str(verdict)


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

    def both(answer):
        return lambda s, x: answer(tanh(s, x), tanh(s, x).detach() + 1)

    base = Model(both(theirs)).double()
    clone = expand(base, 2, example_input=X)
    assert isinstance(certify(clone, base=base, example_input=X), Holds)
    clone.function = both(mine)
    reason = certify(clone, base=base, example_input=X).witness.reason
    assert "laid out" in reason or "the base's is" in reason


def beside(function):
    return lambda s, x: (tanh(s, x), function(s, x))


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


def test_what_is_wrong_is_said_before_what_is_not_known():
    base = Model(tanh).double()
    clone, optimizer = trained(lambda p: torch.optim.LBFGS(p, max_iter=2))
    assert isinstance(certify(clone, example_input=X, optimizer=optimizer), Undecided)
    assert "base" in str(certify(clone, base=base, example_input=X, optimizer=optimizer).witness)


def state_that_differs(kind, shape):
    """Of two clones."""
    value = torch.ones(shape, dtype=torch.uint8 if kind == "codes" else torch.float64)
    value[1] = 3
    kinds = {"list": [value], "complex": value * 1j, "codes": value, "own layout": {"q": value.flatten()}}
    return {**kinds, "array": value.numpy()}[kind]


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [("list", Fails), ("complex", Fails), ("array", Fails), ("codes", Undecided), ("own layout", Undecided)],
)
def test_no_tensor_of_the_state_is_passed_over(kind, verdict):
    clone, optimizer = trained(torch.optim.Adam)
    weight = clone.a.weight
    optimizer.state[weight]["extra"] = state_that_differs(kind, weight.shape)
    found = certify(clone, example_input=X, optimizer=optimizer)
    assert isinstance(found, verdict)
    assert "extra" in str(found)
    optimizer.state[weight]["extra"] = [
        torch.ones_like(weight),
        torch.ones(weight.shape, dtype=torch.uint8),
        torch.ones(1),
    ]
    assert isinstance(certify(clone, example_input=X, optimizer=optimizer), Holds)


def test_a_parameter_without_entries_is_alike():
    base = Model(lambda s, x: s.o(torch.tanh(s.a(x)) + s.empty.sum(0)))
    base.empty = nn.Parameter(torch.zeros(0, 4))
    clone = expand(base.double(), 2, example_input=X)
    assert clone.empty.shape == (0, 8)
    optimizer = torch.optim.Adam(clone.parameters(), 1e-3, weight_decay=0.1)
    stepped(clone, optimizer, 2)
    assert isinstance(certify(clone, example_input=X, optimizer=optimizer), Holds)
    assert {v.kind for v in detect(clone, X, optimizer=optimizer).layers[0].verdicts} == {"trapped"}


def test_state_of_no_parameter_is_not_called_alike():
    clone, optimizer = trained(torch.optim.Adam)
    optimizer.state["step"] = {"count": torch.tensor(2)}
    assert isinstance(certify(clone, example_input=X, optimizer=optimizer), Holds)
    optimizer.state["shared"] = {"moments": torch.randn(40)}
    verdict = certify(clone, example_input=X, optimizer=optimizer)
    assert isinstance(verdict, Undecided)
    assert "shared is state of no parameter" in str(verdict)


def test_a_small_second_moment_is_no_rounding_of_a_large_one_beside_it():
    """Adam divides entry by entry: one entry that is twice as large parts the clones at the next step."""
    x = X.float() * torch.tensor([1.0, 40, 40, 40, 40])
    clone = expand(Model(lambda s, x: tanh(s, x / 40)), 2, example_input=x)
    optimizer = torch.optim.Adam(clone.parameters(), 1e-2)

    def step():
        optimizer.zero_grad()
        (clone(x) - 1).square().mean().backward()
        optimizer.step()

    for _ in range(3):
        step()
    assert isinstance(certify(clone, example_input=x, optimizer=optimizer), Holds)
    optimizer.state[clone.a.weight]["exp_avg_sq"][1, 0] *= 2
    verdict = certify(clone, example_input=x, optimizer=optimizer)
    assert isinstance(verdict, Undecided)
    assert "single entries of exp_avg_sq" in str(verdict)
    step()
    assert isinstance(certify(clone, example_input=x, optimizer=optimizer), Fails)


@pytest.mark.parametrize(
    ("optimizer", "redistribute", "kept"),
    [
        (torch.optim.Adam, 1, False),
        (torch.optim.RMSprop, 1, False),
        (torch.optim.Adam, None, True),
        (torch.optim.AdamW, 1, True),
        (torch.optim.SGD, 1, True),
    ],
)
def test_weight_decay_that_parts_redistributed_clones_is_an_offence(optimizer, redistribute, kept):
    """And the steps are really run."""
    clone = two_layers(redistribute)
    stepper = optimizer(clone.parameters(), 1e-2, weight_decay=0.1)
    verdict = certify(clone, example_input=X, optimizer=stepper)
    assert isinstance(verdict, Holds if kept else Fails)
    assert kept or "divides the decay of" in str(verdict)
    stepped(clone, stepper, 20)
    values = clone.b(torch.tanh(clone.a(X))).unflatten(1, (4, 3))
    assert bool((values.amax(2) - values.amin(2) < 1e-9).all()) == kept


def test_an_optimizer_that_nobody_here_knows_is_not_certified():
    class Own(torch.optim.SGD):
        pass

    clone = expand(Model(tanh).double(), 2, example_input=X)
    verdict = certify(clone, example_input=X, optimizer=Own(clone.parameters(), 0.1))
    assert isinstance(verdict, Undecided)
    assert "whether Own treats all units alike is not known" in str(verdict)


def own_step(_, optimizer):
    optimizer.step = MethodType(lambda *_: None, optimizer)


def own_step_under_a_scheduler(model, optimizer):
    own_step(model, optimizer)
    torch.optim.lr_scheduler.ConstantLR(optimizer)


STRANGE = {
    "before the step": lambda _, o: o.register_step_pre_hook(lambda *_: None),
    "after the step": lambda _, o: o.register_step_post_hook(lambda *_: None),
    "own step": own_step,
    "own step under a scheduler": own_step_under_a_scheduler,
    "gradient": lambda model, _: model.a.weight.register_hook(lambda g: g * torch.rand_like(g)),
    "accumulated gradient": lambda model, _: model.a.bias.register_post_accumulate_grad_hook(lambda _: None),
    "numbers for every unit": lambda _, o: o.param_groups[0].update(eps=torch.rand(8)),
    "decay for every unit": lambda _, o: o.param_groups[0].update(weight_decay=torch.rand(3)),
}


@pytest.mark.parametrize("change", STRANGE.values(), ids=STRANGE)
def test_a_step_that_is_not_the_optimizer_s_own_is_not_certified(change):
    clone = expand(Model(tanh).double(), 2, example_input=X)
    optimizer = torch.optim.Adam(clone.parameters(), 0.1)
    torch.optim.lr_scheduler.StepLR(optimizer, 3)
    assert isinstance(certify(clone, example_input=X, optimizer=optimizer), Holds)
    optimizer = torch.optim.Adam(clone.parameters(), 0.1)
    change(clone, optimizer)
    verdict = certify(clone, example_input=X, optimizer=optimizer)
    assert isinstance(verdict, Undecided)
    assert "is not known" in str(verdict)


def two_layers(redistribute):
    base = Model(lambda s, x: s.o(torch.tanh(s.b(torch.tanh(s.a(x))))))
    base.b = nn.Linear(4, 4)
    return expand(base.double(), 3, example_input=X, redistribute=redistribute)


def stepped(clone, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        clone(X).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
        lambda p: torch.optim.ASGD(p, 0.1, t0=1, weight_decay=0.1),
    ],
)
def test_sums_of_redistributed_weights_are_alike_as_the_weights_are(optimizer):
    """And the steps are really run."""
    clone = two_layers(1)
    stepper = optimizer(clone.parameters())
    stepped(clone, stepper, 3)
    assert isinstance(certify(clone, example_input=X, optimizer=stepper), Holds)
    stepped(clone, stepper, 10)
    assert isinstance(certify(clone, example_input=X, optimizer=stepper), Holds)
    state = stepper.state[clone.b.weight]
    state.get("momentum_buffer", state.get("ax"))[1, 2] += 0.1
    assert "differs between clones" in certify(clone, example_input=X, optimizer=stepper).witness.reason


@pytest.mark.parametrize(
    ("optimizer", "key"),
    [
        (torch.optim.Adam, "exp_avg"),
        (torch.optim.NAdam, "exp_avg"),
        (torch.optim.Adamax, "exp_avg"),
        (torch.optim.Rprop, "prev"),
        (lambda p, rate: torch.optim.RMSprop(p, rate, centered=True), "grad_avg"),
    ],
)
def test_a_small_moment_is_no_rounding_of_a_large_one_beside_it(optimizer, key):
    x = X.float() * torch.tensor([1e-3, 1, 1, 1, 1])
    clone = expand(Model(tanh), 2, example_input=x)
    stepper = optimizer(clone.parameters(), 1e-2)
    for _ in range(3):
        stepper.zero_grad()
        (clone(x) - 1).square().mean().backward()
        stepper.step()
    assert isinstance(certify(clone, example_input=x, optimizer=stepper), Holds)
    stepper.state[clone.a.weight][key][1, 0] *= -3
    verdict = certify(clone, example_input=x, optimizer=stepper)
    assert isinstance(verdict, Undecided)
    assert f"single entries of {key}" in str(verdict)


@pytest.mark.parametrize("factor", [-1, 0, 0.5, 3])
def test_moments_of_few_bits_are_not_alike_whatever_they_are(factor):
    """100 × the tolerance of a weight in bfloat16 would be three times the moment itself."""
    x = X.bfloat16()
    clone = expand(Model(tanh).bfloat16(), 2, example_input=x)
    optimizer = torch.optim.Adam(clone.parameters(), 1e-3)
    clone(x).square().mean().backward()
    optimizer.step()
    assert isinstance(certify(clone, example_input=x, optimizer=optimizer), Holds)
    optimizer.state[clone.a.weight]["exp_avg"][1] *= factor
    assert "exp_avg differs" in str(certify(clone, example_input=x, optimizer=optimizer))


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.Adagrad, torch.optim.Rprop])
def test_moments_that_are_not_finite_are_an_offence_without_clones_too(optimizer):
    clone, stepper = trained(optimizer)
    state = stepper.state[clone.o.bias]
    key = next(key for key, value in state.items() if value.dim())
    state[key][0] = torch.nan
    assert certify(clone, example_input=X, optimizer=stepper).witness.reason == f"{key} is NaN or infinite"


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
