"""A trace is the model or is refused by name: writes on views, buffers, hooks, custom gradients, spelling of calls."""

import copy
import functools
import random

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch._subclasses.fake_tensor import is_fake  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.trace import (  # noqa: E402
    NotTraceable,
    flat_inputs,
    random_state,
    run,
    state_of,
    trace,
    tracing,
)
from lop_theory.trace.comparison import compare, difference, model_pass  # noqa: E402
from lop_theory.trace.passes import passes_kept  # noqa: E402
from tests.trace.nets import Lie, Model, X, buffers_in_a_chain  # noqa: E402


def hidden_view_before_the_write(s, x):
    """Which einsum does not declare, so that PyTorch's functionalisation loses the write."""
    h = s.a(x)
    turned = torch.einsum("ij->ji", h)
    h.mul_(3)
    return s.o(h), turned


@pytest.mark.parametrize("gathered", [True, False])
def test_a_call_by_keywords_leaves_the_batch_size_free(gathered):
    """Also where forward takes them as ``**kwargs``, and after a positional input."""
    model = Model(lambda s, image, meta: s.o(torch.sin(s.a(image)) + s.a(meta)))
    if not gathered:
        model.forward = lambda image, meta: model.function(model, image, meta)
    for example in ({"meta": 2 * X, "image": X}, {"image": X, "meta": -X}):
        program = trace(model, example)
        assert all(isinstance(i.shape[0], str) for i in program.inputs)
        found = run(program, state_of(model), program.flat((), {"image": X[:4], "meta": 3 * X[:4]}))
        assert difference(found, model(image=X[:4], meta=3 * X[:4])) is None


def test_recurrences_and_parametrized_layers_keep_their_trace():
    layers = nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), nn.GRU(5, 4, batch_first=True)
    for model, x in zip(layers, (X, X[None]), strict=True):
        assert trace(model.double(), x) is trace(model, x)
    model = Model(lambda s, x: s.o(s.act(s.a(x))))
    model.act = functools.partial(F.softplus, beta=2.0)
    first = trace(model, X)
    assert trace(model, X) is first
    model.act = functools.partial(F.softplus, beta=3.0)
    assert trace(model, X) is not first


def test_calls_are_named_by_operator_and_number():
    """Whatever export has counted beside them: a batch size of one is no symbol, and its arithmetic is none."""

    def reshaped(s, x):
        return s.o(s.a(x.reshape(x.shape[0] * 1, -1)).sin() + s.a(x).sin())

    names = [[n.name for n in trace(Model(reshaped), x).graph.nodes if n.op != "placeholder"] for x in (X, X[:1])]
    calls = [[n for n in found if not n.startswith(("sym_size", "mul"))] for found in names]
    assert calls[0] == calls[1] == ["reshape", "linear", "sin", "linear_1", "sin_1", "add", "linear_2", "output"]


def lying_gradient(s, x):
    return s.o(Lie.apply(s.a(x)))


def random_of_python(s, x):
    return s.o(s.a(x)) * random.random()


def hook_on_a_tensor(s, x):
    h = s.a(x)
    h.register_hook(lambda g: 2 * g)
    return s.o(h)


def memory(s, x):
    s.calls = getattr(s, "calls", 0) + 1
    return s.o(s.a(x)) * s.calls


def branch_on_data(s, x):
    return s.o(s.a(x)) if float(x.sum()) > 0 else s.o(-s.a(x))


def spoiled_gradient(s, x):
    h = torch.tanh(s.a(x))
    h[:, 0] = 0.0
    return s.o(h)


def cached(s, x):
    """A table that is computed once, with its graph: a second backward pass through it would fail."""
    if not hasattr(s, "table"):
        s.table = torch.tanh(s.a.bias)
        s.tables["bias"] = s.table
    return s.o(torch.tanh(s.a(x)) + s.table + s.tables["bias"])


def test_what_a_pass_caches_in_attributes_is_of_that_pass_alone():
    from lop_theory.metrics import measure
    from lop_theory.modules import certify, detect, expand

    model = Model(cached).eval()
    model.tables = {}
    program = trace(model, X)
    assert (
        difference(run(program, state_of(model), flat_inputs(program, X)), Model.forward(copy.deepcopy(model), X))
        is None
    )
    measure(model, X, lambda output: output.sum())
    detect(model, X)
    assert not hasattr(model, "table")
    assert model.tables == {}
    clone = expand(model, 2, example_input=X)
    assert certify(clone, base=model, example_input=X)
    assert not hasattr(clone, "table")
    assert clone.tables == {}


REFUSED = {
    lying_gradient: "Function Lie",
    random_of_python: "random numbers of Python",
    hook_on_a_tensor: "registers a hook",
    memory: "earlier calls",
    branch_on_data: "torch.export cannot trace it",
    spoiled_gradient: "the model itself raises",
    hidden_view_before_the_write: "'a'.*the trace is not the model",
}


@pytest.mark.parametrize("function", REFUSED)
def test_what_no_trace_shows_is_refused_by_name(function, capsys):
    with pytest.raises(NotTraceable, match=REFUSED[function]) as error:
        trace(Model(function), X)
    assert len(str(error.value).splitlines()) == 1
    assert not capsys.readouterr().out


def test_hooks_on_gradients_are_refused_and_forward_hooks_are_traced():
    model = Model(lambda s, x: s.o(s.a(x)))
    model.a.register_forward_hook(lambda _m, _i, o: 2 * o)
    model.register_forward_pre_hook(lambda _m, i: (3 * i[0],))
    program = trace(model, X)
    assert difference(run(program, state_of(model), flat_inputs(program, X)), model(X)) is None
    handle = model.a.register_full_backward_hook(lambda *_: None)
    with pytest.raises(NotTraceable, match="backward hook"):
        trace(model, X)
    handle.remove()
    model.a.weight.register_hook(lambda g: 0 * g)
    with pytest.raises(NotTraceable, match=r"a\.weight.*hook on this parameter"):
        trace(model, X)


def test_what_torch_made_of_a_module_is_refused_where_it_cannot_be_traced():
    plain = nn.Sequential(nn.Linear(5, 3), nn.ReLU()).double()
    for script in (torch.jit.script(plain), nn.Sequential(torch.jit.trace(plain, X))):
        with pytest.raises(NotTraceable, match="TorchScript"):
            trace(script, X)
    exported = torch.export.export(plain.train(), (X,)).module()
    assert trace(exported, X)
    with pytest.raises(NotTraceable, match="has no other mode"):
        trace(exported, X, training=not exported.training)


def test_a_model_that_cannot_change_its_mode_keeps_the_one_it_has():
    class Half(nn.Sequential):
        def train(self, mode=True):
            self[0].train(mode)
            raise NotImplementedError("not this one")

    model = Half(nn.Linear(5, 3), nn.ReLU()).double()
    with pytest.raises(NotTraceable, match=r"has no other mode \(not this one\)"):
        trace(model, X, training=False)
    assert all(module.training for module in model.modules())


def test_a_planted_difference_names_the_first_module():
    model = Model(lambda s, x: s.o(torch.tanh(s.a(x))))
    program = trace(model, X)
    tanh = next(n for n in program.graph.nodes if n.name == "tanh")
    tanh.target = torch.ops.aten.sin.default
    with pytest.raises(NotTraceable, match=r"'o'.*output 0 differs"):
        compare(model, program, (X,), {})


def test_calls_are_bound_by_name_and_other_calls_are_refused():
    model = Model(lambda s, image, meta, t=1.0: s.o(s.a(image) + torch.sin(s.a(meta))) / t)
    model.forward = lambda image, meta, t=1.0: model.function(model, image, meta, t)
    program = trace(model, {"image": X, "meta": 2 * X, "t": 2.0})
    state, expected = state_of(model), model(X, 2 * X, 2.0)
    for args, kwargs in (((), {"meta": 2 * X, "t": 2.0, "image": X}), ((X,), {"t": 2.0, "meta": 2 * X})):
        assert difference(run(program, state, program.flat(args, kwargs)), expected) is None
    for args in ((X, X), (X, X, 3.0), (X[:, :4], X[:, :4], 2.0), (X, X[:3], 2.0), (X.long(), X, 2.0)):
        with pytest.raises(InvalidInput, match="does not describe the call"):
            program.flat(args, {})
    with pytest.raises(InvalidInput, match="does not fit the model's forward"):
        program.flat((X,), {"picture": X})


def test_tracing_disturbs_nothing():
    model = Model(buffers_in_a_chain).train()
    model.norm.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate()
    trace(model, X, training=False)
    assert model.training
    assert not model.norm.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", ["a.weight", "a.bias", "norm.weight", "o.weight"])
@pytest.mark.parametrize("lie", [lambda g: g * (1 + 1e-6), lambda g: g.index_fill(0, torch.tensor([1]), torch.nan)])
def test_every_gradient_is_compared_as_it_comes(name, lie):
    """Values agree, one parameter's gradient does not."""
    model = Model(lambda s, x: s.o(s.norm(s.a(x)).sin()))
    program = trace(model, X)
    compare(model, program, (X,), {})
    parameter = model.get_parameter(name)
    handle = parameter.register_hook(lie)  # of the model alone: the program has leaves of its own
    with pytest.raises(NotTraceable, match=f"gradient of {name}"):
        compare(model, program, (X,), {})
    handle.remove()
    parameter.requires_grad_(False)
    compare(model, program, (X,), {})


def test_a_gradient_that_only_one_of_them_has_is_a_difference():
    model = Model(lambda s, x: s.o(s.a(x).sin()))
    detached = Model(lambda s, x: s.o(nn.functional.linear(x, s.a.weight.detach(), s.a.bias).sin()))
    detached.load_state_dict(model.state_dict())
    with pytest.raises(NotTraceable, match=r"gradient of a\.weight is there for one of them only"):
        compare(model, trace(detached, X), (X,), {})
    with pytest.raises(NotTraceable, match=r"gradient of a\.weight is there for one of them only"):
        compare(detached, trace(model, X), (X,), {})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_of_several_blocks_are_compared_whole(dtype):
    size = 3 * (1 << 18) + 5
    mine = torch.linspace(-1, 1, size, dtype=dtype)
    for place in (0, (1 << 18), size - 1):
        theirs = mine.clone()
        theirs[place] += 1e-3
        assert "differs by 1.00e-03" in difference(mine, theirs)
        theirs[place] = torch.nan
        assert difference(mine, theirs) == "is not finite in the same places"
        assert difference(theirs, theirs.clone()) is None
    assert difference(mine, mine * (1 + torch.finfo(dtype).eps)) is None


def test_a_pass_is_taken_once_and_another_mode_call_or_seed_is_another_pass():
    model, other = (Model(lambda s, x: s.o(s.norm(s.a(x)))).eval() for _ in range(2))
    call = ((X,), {})
    with passes_kept():
        first = model_pass(model, call)
        assert first.gradients
        again = model_pass(model, ((X.clone(),), {}), parameters=False)
        assert again.outputs[0].data_ptr() == first.outputs[0].data_ptr()
        assert not again.gradients
        others = [
            model_pass(other, call, parameters=False),
            model_pass(model, ((X + 1e-9,), {}), parameters=False),
            model_pass(model, ((X.float().double(),), {}), parameters=False),
            model_pass(model, call, 1, parameters=False),
            model_pass(model.train(), call, parameters=False),
        ]
        with passes_kept():
            others.append(model_pass(model.eval(), call, parameters=False))
        assert all(found.outputs[0].data_ptr() != first.outputs[0].data_ptr() for found in others)
        assert difference(others[-1].input_gradients[0], first.input_gradients[0]) is None
        assert difference(others[-2].outputs[0], first.outputs[0]) is not None
    assert model_pass(model, call, parameters=False).outputs[0].data_ptr() != first.outputs[0].data_ptr()


@pytest.mark.parametrize("used", [False, True])
def test_random_numbers_start_from_the_seed_on_the_devices_that_are_in_use_alone(used, monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    before = torch.get_rng_state()
    with random_state(7):
        drawn = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(7)))
    assert seeded == [7] * used


def test_a_trace_is_the_same_with_the_cache_of_fake_tensors_and_without(monkeypatch):
    config = pytest.importorskip("torch._dynamo").config
    seen = []

    def forward(s, x):
        if is_fake(x):
            seen.append(config.fake_tensor_cache_enabled)
        return s.o(torch.tanh(s.norm(s.a(x))))

    graphs = []
    for limit in (tracing.REPEATED, 0):
        monkeypatch.setattr(tracing, "REPEATED", limit)
        model = Model(forward)
        seen.clear()
        graphs.append(str(trace(model, X).graph))
        assert seen[0] is (not limit)
    assert graphs[0] == graphs[1]
    assert config.fake_tensor_cache_enabled
