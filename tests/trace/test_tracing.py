"""What a trace is called, which sizes are free in it, when it is taken anew, and that taking it says nothing."""

import logging
import warnings
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
from torch import fx, nn  # noqa: E402
from torch.utils._sympy.numbers import int_oo  # noqa: E402
from torch.utils._sympy.value_ranges import ValueRanges  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.trace import NotTraceable, flat_inputs, run, state_of, trace, traces, tracing  # noqa: E402
from lop_theory.trace.comparison import difference  # noqa: E402
from tests.trace.nets import Model, X  # noqa: E402


def plain(s, x):
    return s.o(torch.tanh(s.a(x)))


def sizes(program):
    return [i.shape for i in program.inputs]


def calls(program):
    return [n for n in program.graph.nodes if n.op == "call_function"]


@pytest.fixture
def stand_in(monkeypatch):
    """Traces that cost nothing: a list of those taken; what they ask for, and whether they are the model in another
    mode, is set."""

    class StandIn:
        modal, describes = False, True

        def __init__(self):
            self.taken, self.compared = [], 0

        def take(self, model, _args, _kwargs, built):
            self.taken.append(f"{len(self.taken)}, {model.training}")
            return tracing._Kept(built, tracing.modes_of(model), self.taken[-1], self.modal)

        def compare(self, *_):
            self.compared += 1
            if not self.describes:
                raise NotTraceable("", "")

    found = StandIn()
    monkeypatch.setattr(tracing, "_taken", found.take)
    monkeypatch.setattr(tracing, "compare", found.compare)
    return found


class Nested(nn.Module):
    """Two modules deep, one tensor under two names, sizes computed, a buffer overwritten."""

    def __init__(self):
        super().__init__()
        torch.default_generator.manual_seed(0)
        self.inner = nn.Sequential(nn.Linear(5, 4), nn.Sequential(nn.Tanh()))
        self.tied = nn.Linear(5, 4)
        self.tied.weight = self.inner[0].weight
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("again", self.mean)
        self.table = torch.ones(4, dtype=torch.float64)
        self.double()

    def forward(self, x):
        h = self.inner(x) + self.tied(x)
        self.mean.copy_(h.detach().mean(0))
        return h.view(x.shape[0] * 2, 2).to(torch.float64), h + self.mean + self.table


@pytest.fixture(scope="module")
def nested():
    model = Nested()
    return model, trace(model, X)


def test_a_trace_of_nothing_calls_nothing():
    assert not calls(trace(nn.Identity(), X))


def test_a_graph_holds_what_is_used_named_by_operator_and_module(nested):
    model, program = nested
    assert program.modules.items() >= {
        "linear": "inner.0", "tanh": "inner.1.0", "linear_1": "tied", "add": "", "reshape": ""
    }.items()  # fmt: skip
    assert program.modules.keys() == {n.name for n in calls(program)}
    named = {n.name.rstrip("_0123456789") for n in calls(program)}
    assert not named & {"view", "copy", "_assert_tensor_metadata"}
    assert all(n.users or n.name in program.updates.values() for n in calls(program))
    assert set(program.state.values()) <= state_of(model).keys()
    assert len(program.constants) == 1
    assert list(program.graph.nodes)[-1].name == "output"
    other = torch.cat([X, X])[:9]
    with torch.random.fork_rng():
        expected, before = Nested()(other), model.mean.clone()
    for mine, theirs in zip(run(program, state_of(model), flat_inputs(program, other)), expected, strict=True):
        assert difference(mine, theirs) is None
    assert torch.equal(model.mean, before)


def test_sizes_are_free_from_two_on(nested):
    (ends,) = nested[1].ranges.values()
    assert ends == (2, 4611686018427387904)
    two = trace(Model(lambda _, x: x.sin()), X[:2])
    assert sizes(two) == [(*two.ranges, 5)]
    assert not any("stack_trace" in n.meta for n in calls(two))


def test_a_size_of_one_is_fixed():
    assert sizes(trace(Model(lambda _, x: x.sin()), X[:1])) == [(1, 5)]


@pytest.mark.parametrize("guards", [None, [], ["L['x'].size()[0] <= 100", "4 <= L['y'][0].size()[1]"]])
def test_a_trace_may_suppose_ranges(guards):
    assert tracing._require_ranges(SimpleNamespace(_guards_code=guards)) is None  # it raises of others
    assert tracing._require_ranges(SimpleNamespace()) is None  # versions that do not say


def test_a_trace_may_suppose_nothing_else():
    guards = ["L['x'].size()[0] <= 100", "(L['x'].size()[0] % 2) == 0"]
    with pytest.raises(ValueError, match=r"it supposes .* % 2"):
        tracing._require_ranges(SimpleNamespace(_guards_code=guards))


@pytest.mark.parametrize(
    ("says", "holds"),
    [((0, int_oo), (2, 2**62)), ((3, 7), (3, 7)), ((0, 2**63), (2, 4611686018427387904)), ((5, 200), (5, 200))],
)
def test_the_range_of_a_size(says, holds):
    found = tracing._range(ValueRanges(*says))
    assert found == holds
    assert [type(end) for end in found] == [int, int]


def between(s, x):
    return plain(s, x) if 4 <= x.shape[0] <= 100 else -plain(s, x)


def remainder(s, x):
    return plain(s, x) if x.shape[0] % 2 else -plain(s, x)


def fixed(s, x):
    return plain(s, x) + torch.arange(6)[:, None]


@pytest.mark.parametrize(("function", "ranges"), [(between, [(4, 100)]), (remainder, []), (fixed, [])])
def test_what_a_forward_supposes_of_a_size_is_a_range_or_the_size(function, ranges):
    program = trace(Model(function), X)
    assert list(program.ranges.values()) == ranges
    assert sizes(program) == [(*(program.ranges or [6]), 5)]


def test_inputs_without_a_batch_leave_that_of_the_others_free():
    model = Model(lambda _, x, scale, power: x * scale**power)
    program = trace(model, {"x": X, "scale": torch.ones((), dtype=torch.float64), "power": 2.0})
    assert sizes(program) == [(*program.ranges, 5), (), None]
    assert program.inputs[-1][2:] == (None, None, 2.0)


def test_a_view_of_another_input_has_a_size_of_its_own():
    model = Model(lambda _, x, y: x.sum() + y.sin())
    model.forward = lambda x, y: model.function(model, x, y)
    program = trace(model, (X[:3], X))
    one, other = program.ranges
    assert sizes(program) == [(one, 5), (other, 5)]


def test_calls_without_entries_are_refused():
    for given in (X[:0], (X[:0], X[:, :0]), (X[:0], 2.0)):
        with pytest.raises(InvalidInput, match="has no entries"):
            trace(Model(plain), given)


def test_calls_with_some_entries_or_without_tensors_are_not(stand_in):
    for given in ((X, X[:0]), (X[:0], X), {"n": 2}, X[:1]):
        assert trace(Model(plain), given)
    assert len(stand_in.taken) == 4


def test_a_model_may_be_called_with_numbers_alone():
    assert sizes(trace(Model(lambda s, n: s.o.weight * n), {"n": 2})) == [None]


@pytest.mark.usefixtures("stand_in")
def test_torchscript_is_refused_before_anything_is_traced():
    with pytest.raises(NotTraceable, match="model='1': is TorchScript"):
        trace(nn.Sequential(nn.Linear(5, 4), torch.jit.ScriptModule()), X)


def test_a_call_that_forward_does_not_take_is_said():
    model = Model(plain)
    model.forward = lambda x: model.function(model, x)
    with pytest.raises(InvalidInput, match="does not fit the model's forward"):
        trace(model, {"picture": X})


def test_both_modes_are_one_trace_where_nothing_asks(stand_in):
    model = Model(plain)
    assert traces(model, X) == {True: "0, True", False: "0, True"}
    assert stand_in.compared == 1
    assert trace(model, X) == trace(model, X, training=False) == trace(model.eval(), X) == "0, True"
    assert list(traces(model, X)) == [True, False]
    assert stand_in.compared == len(stand_in.taken) == 1
    model.a.bias = None
    assert trace(model, X) == "1, False"


def test_both_modes_are_two_traces_where_something_asks(stand_in):
    model, stand_in.modal = Model(plain), True
    for _ in range(2):
        assert traces(model, X) == {True: "0, True", False: "1, False"}
    assert trace(model.eval(), X) == trace(model, X, training=False) == "1, False"
    assert trace(model, X, training=True) == trace(model.train(), X) == "0, True"
    model.a.eval()
    assert trace(model, X) == "2, True"
    assert not stand_in.compared


def test_a_trace_that_is_not_the_model_in_the_other_mode_is_not_its(stand_in):
    """Whatever was thought of what it asks for."""
    model, stand_in.describes = Model(plain), False
    for _ in range(2):
        assert traces(model, X) == {True: "0, True", False: "1, False"}
    assert stand_in.compared == 1


@pytest.mark.usefixtures("stand_in")
def test_a_model_whose_making_is_not_known_is_traced_anew():
    model = Model(plain)
    model.what = object()
    assert traces(model, X) == {True: "0, True", False: "0, True"}  # in one call it is the same
    assert [trace(model, X) for _ in range(2)] == ["1, True", "2, True"]


@pytest.mark.parametrize(("asks", "only_asks"), [(True, True), (False, True), (False, False), (True, False)])
def test_a_trace_is_of_its_mode_if_that_was_asked_for_or_may_have_been(asks, only_asks, monkeypatch):
    monkeypatch.setattr(tracing, "_agreeing", lambda *_: "program")
    monkeypatch.setattr(tracing, "asks", lambda *_: asks)
    monkeypatch.setattr(tracing, "only_asks", lambda _: only_asks)
    taken = tracing._taken(nn.Linear(1, 1), (), {}, "built")
    assert taken == ("built", (True,), "program", asks or not only_asks)


def test_dropout_is_traced_in_each_mode():
    model = Model(lambda s, x: nn.functional.dropout(x, 0.5, s.training))
    both = traces(model, X)
    assert [calls(both[mode])[-1].args[1:] for mode in both] == [(0.5, True), (0.5, False)]


def test_a_call_that_overwrites_what_the_trace_cannot_follow_is_refused():
    graph = fx.Graph()
    graph.call_function(torch.ops.aten.add_.Tensor, (graph.placeholder("x"), 1))
    for stack, where in (({}, "Sequential"), ({"0": ("model.a.b", None)}, r"a\.b")):
        list(graph.nodes)[-1].meta = {"nn_module_stack": stack}
        with pytest.raises(NotTraceable, match=rf"model='{where}': aten\.add_\.Tensor overwrites"):
            tracing._refuse_impure(nn.Sequential(), graph)


@pytest.mark.parametrize(
    ("paths", "innermost"),
    [(None, ""), ([], ""), (["", "model"], ""), (["", "model", "model.a"], "a"), (["model", "model.a.b"], "a.b")],
)
def test_a_call_is_of_the_innermost_module(paths, innermost):
    """Below the one that export is given."""
    meta = {} if paths is None else {"nn_module_stack": {str(k): (path, object) for k, path in enumerate(paths)}}
    assert tracing._path(SimpleNamespace(meta=meta)) == innermost


def noisy(s, x):
    if torch.compiler.is_exporting():
        warnings.warn("beside the point", stacklevel=1)
        logging.getLogger("torch").critical("beside the point")
    return plain(s, x)


@pytest.mark.parametrize("function", [noisy, lambda s, x: noisy(s, x) if x.sum() > 0 else x])
def test_taking_a_trace_says_nothing_and_leaves_logs_as_they_were(function, caplog):
    structured, handler = logging.getLogger("torch.__trace"), logging.NullHandler()
    before = list(structured.handlers)
    structured.addHandler(handler)
    logging.disable(logging.DEBUG)
    try:
        with warnings.catch_warnings(), nullcontext() if function is noisy else pytest.raises(NotTraceable):
            warnings.simplefilter("error")
            trace(Model(function), X)
        assert logging.root.manager.disable == logging.DEBUG
        assert structured.handlers == [*before, handler]
    finally:
        logging.disable(logging.NOTSET)
        structured.removeHandler(handler)
    assert not caplog.records


def test_stacks_are_left_out_where_pytorch_has_no_setting_for_it(monkeypatch):
    name = "do_not_emit_stack_traces"
    plain_config = type("Config", (), {})()
    monkeypatch.setattr(tracing, "fx_config", plain_config)
    with tracing._without_stacks():
        assert getattr(plain_config, name) is True
    assert not hasattr(plain_config, name)


@pytest.mark.parametrize(("limit", "before", "within"), [(0, True, True), (0, False, False), (1, True, False)])
def test_the_cache_of_fake_tensors_is_on_for_large_models_if_it_was(limit, before, within, monkeypatch):
    config = pytest.importorskip("torch._dynamo").config
    monkeypatch.setattr(tracing, "REPEATED", limit)
    with config.patch(fake_tensor_cache_enabled=before):
        with tracing._cache_of_fake_tensors(nn.Linear(1, 1)):
            assert config.fake_tensor_cache_enabled is within
        assert config.fake_tensor_cache_enabled is before


class Small(nn.Module):
    """A function of an input, a buffer, and a view of its memory."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.register_buffer("held", torch.zeros(2, 5))
        self.seen = self.held[1]

    def forward(self, x):
        return self.function(self, x)


def traced(function):
    """As it is before it is compared, of this batch: what each part of the way does."""
    return tracing._traced(Small(function), (X[:2].float(),), {}, tracing._of_this_batch)


def test_views_become_shapes_and_calls_alone_have_modules():
    program = traced(lambda _, x: x.view(5, 2))
    assert program.modules == {"reshape": ""}
    assert calls(program)[0].target is torch.ops.aten.reshape.default


def test_copies_become_their_source():
    program = traced(lambda s, x: s.held.copy_(x) + 1)
    assert [n.name for n in calls(program)] == ["to", "expand_as", "add"]
    assert program.updates == {"b_model_held": "expand_as"}


def test_what_is_not_used_is_left_out_and_not_counted():
    assert [n.name for n in calls(traced(lambda _, x: (x.sin() + 1, x.sin())[1]))] == ["sin"]


def test_assertions_are_left_out():
    assert [n.name for n in calls(traced(lambda _, x: x.to(torch.float64)))] == ["to"]


def test_inputs_that_are_overwritten_are_updates():
    assert traced(lambda _, x: x.mul_(2)).updates == {"args_0": "mul"}


def test_memory_that_a_written_buffer_shares_is_refused():
    with pytest.raises(NotTraceable, match="shares its memory"):
        traced(lambda s, x: x + s.held.add_(1) + s.seen)


def test_writes_that_are_left_are_refused(monkeypatch):
    monkeypatch.setattr(tracing, "purified", lambda exported: exported)
    with pytest.raises(NotTraceable, match=r"model='Small': aten\.add_\.Tensor overwrites"):
        traced(lambda _, x: x.sin().add_(1))


def exported(function, *args):
    return tracing._of_any_batch(tracing._Whole(Model(function), args, {}), args, {})


def test_every_batch_that_there_is_is_exported_as_a_symbol():
    found = exported(lambda _, x, scale, t: x * scale * t, X, torch.ones(()), 2.0)
    assert [str(r) for r in found.range_constraints.values()] == ["VR[2, int_oo]"]


def test_an_export_that_supposes_a_remainder_is_none():
    with pytest.raises(ValueError, match=r"it supposes .*%"):
        exported(lambda _, x: x.sin() if x.shape[0] % 2 else x.cos(), X)
