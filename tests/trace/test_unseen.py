"""What no trace sees is found by name: shared memory, hooks, flags, gradients of one's own."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.parameter import is_lazy  # noqa: E402

from lop_theory.trace import trace  # noqa: E402
from lop_theory.trace.unseen import (  # noqa: E402
    GradientFlags,
    HookWatch,
    NotTraceable,
    custom_function,
    floating,
    one_line,
    outputs_of_modules,
    refuse_hooks,
    refuse_scripts,
    refuse_shared_memory,
)
from tests.trace.nets import Model, X  # noqa: E402

BASE = torch.arange(24.0)
TABLE = BASE[:12].reshape(3, 4)


def made_late(kind):
    """A model whose first call makes a child, a parameter or a buffer."""

    def forward(s, x):
        if not hasattr(s, "late"):
            s.late = {"child": nn.Linear(5, 4), "parameter": nn.Parameter(torch.ones(5, 4)), "buffer": None}[kind]
        if kind == "buffer" and s.late is None:
            del s.late
            s.register_buffer("late", torch.ones(5, 4))
        return s.late(x.float()) if kind == "child" else x.float() @ s.late

    return Model(forward)


@pytest.mark.parametrize("kind", ["child", "parameter", "buffer"])
def test_what_the_first_call_makes_is_asked_for_and_not_left_in_the_model(kind):
    model = made_late(kind)
    names = [*model.state_dict()]
    with pytest.raises(
        NotTraceable, match=r"late.*is made by the call; make it in __init__, or call the model once before"
    ):
        trace(model, X)
    assert [*model.state_dict()] == names
    assert not hasattr(model, "late")
    model(X)
    assert trace(model, X)


@pytest.mark.parametrize("late", [lambda: nn.LazyLinear(4), nn.LazyBatchNorm1d])
def test_parameters_without_a_shape_are_asked_for(late):
    model = nn.Sequential(late(), nn.Tanh())
    with pytest.raises(NotTraceable, match=r"'0\.\w+': has no shape yet; call the model once before"):
        trace(model, X.float())
    assert all(is_lazy(parameter) for parameter in model.parameters())
    model(X.float())
    assert trace(model, X.float())


def test_a_generator_of_ones_own_is_refused_by_name_where_it_is_used():
    model = Model(lambda s, x: s.o(s.a(x)) + torch.rand(3, generator=s.own))
    model.own = torch.Generator()
    with pytest.raises(NotTraceable, match="'Model': computes with a Generator of its own"):
        trace(model, X)
    model.function = lambda s, x: s.o(s.a(x))
    assert trace(model, X)


def shares(written, other):
    try:
        refuse_shared_memory({"a": written, "b": other}, ["a"])
    except NotTraceable as error:
        return "'a': is written into and shares its memory with b" in str(error)
    return False


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        (TABLE[:2], True),
        (TABLE[2], True),
        (BASE[10:11], True),  # the last entry of the columns 1 and 2
        (BASE[11:], False),
        (BASE[1:2], True),
        (BASE[:1], False),
        (TABLE[:, 3], True),  # between: spans are compared, not entries
        (BASE.clone(), False),
        (BASE[3:3], False),
        (TABLE.to_sparse(), False),
        (torch.empty(3, 4, device="meta"), False),
    ],
)
def test_memory_is_shared_where_spans_of_addresses_meet(other, shared):
    columns = TABLE[:, 1:3]
    assert shares(columns, other) is shared
    assert shares(other, columns) is shared
    assert not shares(other, other)  # one tensor under two names


def test_nothing_lies_in_the_memory_of_what_has_none():
    nothing = [torch.empty(0), torch.empty(3, 0), torch.empty(2, device="meta"), torch.ones(1).to_sparse()]
    assert not any(shares(a, b) for a in nothing for b in nothing)
    assert not any(shares(a, BASE) or shares(BASE, a) for a in nothing)


def test_the_first_line_of_a_message_is_its_reason():
    assert one_line(ValueError("\n first\nsecond")) == "first"
    assert one_line(ValueError("x" * 300)) == "x" * 200
    assert one_line(ValueError()) == "ValueError"


def test_scripts_are_refused_where_they_are():
    script = torch.jit.script(nn.ReLU())
    for model, where in ((script, r"\(top\)"), (nn.Sequential(nn.ReLU(), script), "'1'")):
        with pytest.raises(NotTraceable, match=f"{where}.*TorchScript"):
            refuse_scripts(model)
    refuse_scripts(nn.Sequential(nn.ReLU()))


HOOKS = {
    r"'0\.weight'.*parameter": lambda m: m[0].weight.register_hook(lambda g: g),
    r"'0\.bias'.*parameter": lambda m: m[0].bias.register_post_accumulate_grad_hook(lambda _: None),
    r"'0'.*module": lambda m: m[0].register_full_backward_hook(lambda *_: None),
    r"'\(top\)'.*module": lambda m: m.register_full_backward_pre_hook(lambda *_: None),
}


@pytest.mark.parametrize("where", HOOKS)
def test_hooks_on_gradients_are_refused_where_they_are(where):
    model = nn.Sequential(nn.Linear(2, 2))
    refuse_hooks(model)
    HOOKS[where](model)
    with pytest.raises(NotTraceable, match=where):
        refuse_hooks(model)


def test_hooks_on_tensors_are_seen_and_calls_go_through():
    leaf = torch.ones(3, requires_grad=True)
    with HookWatch() as watch:
        total = torch.sum(input=leaf * 2, dim=0)
        assert not watch.seen
        total.register_hook(lambda g: g)
        assert torch.equal(leaf + 1, torch.full((3,), 2.0))
    assert watch.seen
    assert total == 6
    with HookWatch() as watch:
        leaf.register_post_accumulate_grad_hook(lambda _: None)
    assert watch.seen


def test_asking_for_the_gradient_of_a_computed_value_is_no_error():
    leaf, free = torch.ones(3, requires_grad=True), torch.zeros(2)
    computed = leaf * 2
    with GradientFlags():
        computed.requires_grad = True
        free.requires_grad = True
        assert computed.requires_grad
        assert torch.sum(input=computed, dim=0) == 6
        assert torch.std(computed, True) == 0
        with pytest.raises(RuntimeError, match="leaf"):
            computed.requires_grad = False
    assert free.requires_grad
    assert free.is_leaf


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(_, h):
        return 2 * h

    @staticmethod
    def backward(_, g):
        return g


class Known(Twice):
    __module__, __qualname__ = "transformers.models.bloom.modeling_bloom", "GeLUFunction"


def test_a_gradient_of_ones_own_is_found_wherever_it_is():
    leaf = torch.ones(3, requires_grad=True)
    assert custom_function([leaf, torch.ones(3)]) is None
    assert custom_function([leaf * 2, Known.apply(leaf) + 1]) is None
    assert custom_function([leaf * 2, Known.apply(Twice.apply(leaf) * 3) + leaf]) == "Twice"
    many = leaf
    for _ in range(60):
        many = many + many  # 2**60 ways to the leaf
    assert custom_function([many]) is None


def test_outputs_of_modules_are_the_floating_ones_and_no_hook_stays():
    class Pair(nn.Module):
        def forward(self, x):
            return {"y": x + 1, "sign": x > 0, "name": "pair"}

    model = nn.Sequential(nn.Identity(), Pair())
    x = torch.ones(2)
    found = list(outputs_of_modules(model, lambda: model(x)))
    assert [(path, [t.tolist() for t in tensors]) for path, tensors in found] == [
        ("0", [[1.0, 1.0]]), ("1", [[2.0, 2.0]]), ("", [[2.0, 2.0]]),
    ]  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        list(outputs_of_modules(model, lambda: 1 / 0))
    assert not any(module._forward_hooks for module in model.modules())
    assert floating([x, 3.0, torch.ones(1, dtype=torch.long), [x]]) == [x, x]
