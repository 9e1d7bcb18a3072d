"""Training and evaluation share a trace where nothing asks for the mode; where anything might, each has its own."""

import copy
import inspect
import logging
import pickle
import random
import threading
from functools import cache, partial, wraps
from operator import attrgetter
from types import ModuleType

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils import _pytree as pytree  # noqa: E402

from lop_theory.modules import certify, expand  # noqa: E402
from lop_theory.trace import NotTraceable, run, state_of, trace, traces, tracing  # noqa: E402
from lop_theory.trace.comparison import asks  # noqa: E402
from lop_theory.trace.modes import everyone, mode, modes_of, only_asks, watched_mode  # noqa: E402

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
FAR = torch.cat([X, 100 * X])


class Clip(nn.Module):
    """The mode shows on large inputs alone, so no comparison on the example finds it."""

    def forward(self, x):
        return x.clamp(-9, 9) if self.training else x * 1


class Outer(nn.Module):
    def __init__(self, function, **children):
        super().__init__()
        self.function = function
        for name, child in children.items():
            setattr(self, name, child)

    def forward(self, x):
        return self.function(self, x)


class Property(Clip):
    training = property(lambda self: vars(self).get("mode", True), lambda self, mode: vars(self).update(mode=mode))


class Switched(nn.Module):
    """What ``train`` sets is another attribute."""

    clipped = True

    def train(self, mode=True):
        self.clipped = mode
        return super().train(mode)

    def forward(self, x):
        return x.clamp(-9, 9) if self.clipped else x * 1


class Told(Clip):
    """What sets another attribute is that of the mode."""

    clipped = True

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "training":
            vars(self)["clipped"] = value

    def forward(self, x):
        return x.clamp(-9, 9) if self.clipped else x * 1


class Hidden(nn.Module):
    """A child that only ``train`` reaches."""

    def __init__(self):
        super().__init__()
        self.held = [Clip()]

    def children(self):
        return iter(self.held)

    def forward(self, x):
        return self.held[0](x)


class Inherited(Switched):
    pass


def looked_up(module):
    return vars(module)["training"]


def closed_over(look):
    return Outer(lambda s, x: x.clamp(-9, 9) if look(s) else x * 1)


def clipped_where(look, s, x):
    return x.clamp(-9, 9) if look(s) else x * 1


def looking(s, x):
    return clipped_where(looked_up, s, x)


STEPS = {"clip": (0, looking)}


def by_table(s, x):
    return STEPS["clip"][1](s, x)


def hooked():
    model = nn.Sequential(nn.Identity())
    model.register_forward_hook(lambda module, _given, output: output.clamp(-9, 9) if module.training else output * 1)
    return model


def with_plain_hook():
    model = nn.Sequential(nn.Identity())
    model.register_forward_hook(lambda module, _, y: y.clamp(-9, 9) if vars(module)["training"] else y * 1)
    return model


MODAL = {
    "its own": Clip,
    "a child": lambda: nn.Sequential(nn.Tanhshrink(), Clip()),
    "a copied child": lambda: Outer(lambda s, x: copy.deepcopy(s.c)(x), c=Clip()),
    "another module": lambda: Outer(lambda s, x: x.clamp(-9, 9) if s.c.training else x * 1, c=nn.Linear(2, 2)),
    "by name": lambda: Outer(lambda s, x: x.clamp(-9, 9) if object.__getattribute__(s, "training") else x * 1),
    "vars": lambda: Outer(lambda s, x: x.clamp(-9, 9) if vars(s)["training"] else x * 1),
    "dict": lambda: Outer(lambda s, x: x.clamp(-9, 9) if s.__dict__["training"] else x * 1),
    "a string": lambda: Outer(lambda s, x: x.clamp(-9, 9) if getattr(s, "__dict__")["training"] else x * 1),  # noqa: B009
    "statically": lambda: Outer(lambda s, x: x.clamp(-9, 9) if inspect.getattr_static(s, "training") else x * 1),
    "in a function": lambda: Outer(lambda s, x: x.clamp(-9, 9) if looked_up(s) else x * 1),
    "in a closure": lambda: closed_over(looked_up),
    "in a partial call": lambda: Outer(partial(clipped_where, looked_up)),
    "in a list": lambda: Outer(lambda s, x: s.steps[0](s, x), steps=[looking]),
    "in a table of pairs": lambda: Outer(lambda s, x: s.steps["clip"][1](s, x), steps={"clip": (0, looking)}),
    "in a global table": lambda: Outer(by_table),
    "a property": Property,
    "train": Switched,
    "set": Told,
    "children": Hidden,
    "a hook": hooked,
    "a hook that looks": with_plain_hook,
    "dropout": lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)),
}


@pytest.mark.parametrize("name", MODAL)
@pytest.mark.parametrize("first", [True, False])
def test_what_depends_on_the_mode_is_traced_in_both(name, first):
    model = MODAL[name]()
    one, other = trace(model, X, training=first), trace(model, X, training=not first)
    together = traces(model.train(first), X)
    assert one is not other
    assert together[True] is not together[False]
    for training, program in ((first, one), (not first, other), *together.items()):
        torch.manual_seed(0)
        mine = run(program, state_of(model), program.flat((FAR,), {}))
        torch.manual_seed(0)
        torch.testing.assert_close(mine, copy.deepcopy(model).train(training)(FAR))


SHARED = {
    "mlp": lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)),
    "layer norm": lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)),
    "no fingerprint": lambda: Outer(lambda s, x: s.l(x).tanh(), l=nn.Linear(3, 4), odd=threading.Lock()),
    "a write on a view": lambda: Outer(lambda s, x: s.l(x).t().mul_(2).t(), l=nn.Linear(3, 4)),  # copies its graph
}


@pytest.mark.parametrize("name", SHARED)
def test_what_does_not_is_traced_once(name, monkeypatch):
    model = SHARED[name]()
    found = traces(model, X)
    assert found[True] is found[False]
    assert not hasattr(nn.Module, "training")
    other = SHARED[name]()
    monkeypatch.setattr(tracing, "_describes", lambda *_: False)  # were it not the model in the other mode
    found = traces(other, X)
    assert found[True] is not found[False]


def test_certifying_in_both_modes_traces_no_base_again(monkeypatch):
    base = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.0), nn.Tanh(), nn.Linear(4, 2)).double()
    x = X.double()
    clone, taken = expand(base, 2, example_input=x), []
    agreeing = tracing._agreeing
    monkeypatch.setattr(tracing, "_agreeing", lambda model, *given: taken.append(model) or agreeing(model, *given))
    for training in (True, False):
        assert certify(clone.train(training), base=base.train(training), example_input=x)
    assert taken == [clone]  # in evaluation; expand has looked at it in training


def test_modules_in_other_modes_have_a_trace_of_their_own():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.BatchNorm1d(3))
    whole = trace(model, X)
    model[1].eval()
    mixed = trace(model, X)
    assert [len(p.updates) for p in (whole, mixed)] == [6, 3]
    assert trace(model, X) is mixed
    assert modes_of(model) == (True, True, False, True)
    with mode(model, training=False):
        assert not any(modes_of(model))
    assert modes_of(model) == (True, True, False, True)


def test_outputs_of_another_structure_are_another_model():
    model = Outer(lambda s, x: (x * 2,) if s.training else {"y": x * 2})
    found = traces(model, X)
    assert isinstance(run(found[True], {}, [X]), tuple)
    assert isinstance(run(found[False], {}, [X]), dict)
    with pytest.raises(NotTraceable, match="another structure"):
        tracing.compare(model, found[False], (X,), {})


def test_a_module_may_answer_for_its_mode_itself():
    class Proxy(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Clip()
            del self.training

        def __getattr__(self, name):
            return self.inner.training if name == "training" else super().__getattr__(name)

        def forward(self, x):
            return F.relu(self.inner(x)) if self.training else x * 1

    model = Proxy()
    program = trace(model, X)
    torch.testing.assert_close(run(program, {}, [FAR]), model(FAR))


class Helper:
    def __init__(self, inner=None):
        self.inner = inner

    def look(self, s, x):
        return clipped_where(looked_up, s, x)

    def walk(self, s, x):
        return self.look(s, x)


class Inheriting(Helper):
    pass


class Called:
    def __call__(self, s, x):
        return looking(s, x)


class Again(Called):
    pass


class Made:
    def __init__(self, module):
        self.clipped = looked_up(module)


class MadeAgain(Made):
    pass


class Answers(nn.Module):
    clipped = property(looked_up)
    on_instances = staticmethod(looked_up)
    on_classes = classmethod(lambda _, module: looked_up(module))


def only(name):
    """A class with one of the attributes, which its forward asks."""
    answer = (lambda s: s.clipped) if name == "clipped" else (lambda s: getattr(s, name)(s))
    forward = {"forward": lambda s, x: x.clamp(-9, 9) if answer(s) else x * 1}
    return type("Only", (nn.Module,), {name: vars(Answers)[name], **forward})()


def in_a_module():
    helpers = ModuleType("helpers")
    helpers.look_up = looked_up
    return Outer(lambda s, x: x.clamp(-9, 9) if helpers.look_up(s) else x * 1)


@wraps(torch.relu)
def wrapping(s, x):
    return looking(s, x)


LOOKS = {
    "what wraps a function of PyTorch's": lambda: Outer(wrapping),
    "a method": lambda: Outer(lambda s, x: s.h.look(s, x), h=Helper()),
    "an inherited method": lambda: Outer(lambda s, x: s.h.look(s, x), h=Inheriting()),
    "a method of a method": lambda: Outer(lambda s, x: s.h.walk(s, x), h=Helper()),
    "a method that is held": lambda: Outer(lambda s, x: s.h(s, x), h=Helper().look),
    "an object in an object": lambda: Outer(lambda s, x: s.h.inner.look(s, x), h=Helper(Helper())),
    "a call": lambda: Outer(lambda s, x: s.h(s, x), h=Called()),
    "an inherited call": lambda: Outer(lambda s, x: s.h(s, x), h=Again()),
    "an object that is made": lambda: Outer(lambda s, x: x.clamp(-9, 9) if MadeAgain(s).clipped else x * 1),
    "a function of a module": in_a_module,
    "a cached function": lambda: Outer(lambda s, x: x.clamp(-9, 9) if s.h(s) else x * 1, h=cache(looked_up)),
    "a keyword of a partial call": lambda: Outer(partial(lambda s, x, look: clipped_where(look, s, x), look=looked_up)),
    "the function of a partial call": lambda: Outer(partial(looking)),
    "a set": lambda: Outer(lambda s, x: next(iter(s.h))(s, x), h={looking}),
    "a frozen set": lambda: Outer(lambda s, x: next(iter(s.h))(s, x), h=frozenset({looking})),
    "many lists": lambda: Outer(lambda s, x: s.h[0][0][0][0][0][0](s, x), h=[[[[[[looking]]]]]]),
    "a property": lambda: only("clipped"),
    "a static method": lambda: only("on_instances"),
    "a class method": lambda: only("on_classes"),
    "a child": lambda: nn.Sequential(nn.ReLU(), nn.Sequential(Outer(looking))),
    "train": lambda: nn.Sequential(nn.ReLU(), Inherited()),
}


@pytest.mark.parametrize("name", LOOKS)
def test_whatever_code_may_run_is_asked_whether_it_looks_a_mode_up(name):
    found = traces(LOOKS[name](), X)
    assert found[True] is not found[False]


def test_a_module_may_have_a_train_of_its_own():
    model = nn.Sequential(Clip())
    assert only_asks(model)
    model[0].train = lambda *_: model[0]
    assert not only_asks(model)
    assert not only_asks(nn.Sequential(nn.ReLU(), Switched()))


def test_what_is_held_and_does_not_look_needs_no_second_trace():
    """Nobody reads code: what could look a mode up and does not is no reason."""
    held = {"helper": Helper(), "log": logging.getLogger("x")}
    model = Outer(
        lambda s, x: s.log.info("") or (torch.tanh(x), s.helper, vars(s)["helper"], vars(s).get("log"), looked_up)[0],
        **held,
    )
    found = traces(model, X)
    assert found[True] is found[False]


LOOKUPS = {
    "get": lambda s: vars(s).get("training"),
    "with a default": lambda s: vars(s).get("training", True),
    "taken out": lambda s: (vars(s).pop("training"), vars(s).update(training=s.inner.training))[0] is True,
    "taken out or not": lambda s: (vars(s).pop("training", 0), vars(s).update(training=s.inner.training))[0] is True,
    "put there if missing": lambda s: vars(s).setdefault("training", True),
    "items": lambda s: next(value for name, value in vars(s).items() if name == "training"),
    "names": lambda s: next(dict.get(vars(s), name) for name in vars(s) if name == "training"),
    "values": lambda s: True in [v for v in vars(s).values() if isinstance(v, bool)],
    "a dict": lambda s: dict(vars(s))["training"],
    "keywords": lambda s: dict(**vars(s))["training"],
    "unpacked": lambda s: {**vars(s)}["training"],
    "copied": lambda s: vars(s).copy()["training"],
    "state": lambda s: s.__getstate__()["training"],
    "pickled": lambda s: pickle.loads(pickle.dumps(nn.Sequential(*s.children()).train(s.inner.training)))[0].training,
    "a copy": lambda s: vars(copy.copy(s))["training"],
    "a reader": lambda s: attrgetter("__" + "dict__")(s)["training"],
    "whether": lambda s: vars(s)["training"] is True,
    "without asking": lambda s: dict.get(vars(s), "training"),
    "hashed": lambda s: hash(dict.get(vars(s), "training")) == hash(True),
    "printed": lambda s: "'training': True" in f"{vars(s)}",
    "compared": lambda s: vars(s) == {**dict.copy(vars(s)), "training": True},
    "run in": lambda s: eval("training", vars(s), {}),
    "for the user": lambda s: pytree.tree_map(vars(s).get, ["training"])[0],
    "of a replica": lambda s: vars(s._replicate_for_data_parallel())["training"],
    "what its class has": lambda s: inspect.getattr_static(s, "training") == True,  # noqa: E712
}


@pytest.mark.parametrize("name", LOOKUPS)
def test_a_mode_is_seen_to_be_looked_up_in_a_table(name):
    look = LOOKUPS[name]
    model = Outer(lambda s, x: x.clamp(-9, 9) if look(s) else x * 1, inner=nn.Identity())
    tables = {module: vars(module) for module in model.modules()}
    for training, program in traces(model, X).items():
        torch.testing.assert_close(run(program, {}, [FAR]), copy.deepcopy(model).train(training)(FAR))
    assert all(vars(module) is table and type(table) is dict for module, table in tables.items())


class Keeping(nn.Module):
    """Keeps its table from before."""

    def __init__(self):
        super().__init__()
        self.get = vars(self).get

    def forward(self, x):
        return x.clamp(-9, 9) if self.get("training") else x * 1


class Hiding(nn.Module):
    """Names no modules; equal to all of its kind."""

    def __init__(self, child):
        super().__init__()
        self.child = child

    def named_modules(self, *_, **__):
        yield "", self

    def __eq__(self, other):
        return type(self) is type(other)

    def __hash__(self):
        return 0

    def forward(self, x):
        return x.clamp(-9, 9) if vars(self.child)["training"] else x * 1


class Without(nn.Module):
    def forward(self, x):
        was = self.training
        del self.training
        self.training = was
        return x * 2


HIDDEN = [Keeping, lambda: Hiding(nn.ReLU()), lambda: nn.Sequential(nn.Identity(), Hiding(Hiding(nn.ReLU()))), Without]


@pytest.mark.parametrize("made", HIDDEN)
def test_a_mode_is_seen_to_be_looked_up_wherever_it_is(made):
    found = traces(made(), X)
    assert found[True] is not found[False]


def test_two_modules_may_have_one_table():
    model = nn.Sequential(nn.Identity(), nn.Identity())
    object.__setattr__(model[1], "__dict__", vars(model[0]))
    with watched_mode(model) as asked:
        model[0].gain = 20
        assert vars(model[1]).get("gain") == 20
        assert asked == []
    assert vars(model[0]) is vars(model[1])
    assert (model[1].gain, vars(model[1])["training"]) == (20, True)


def test_what_the_watch_would_change_is_no_part_of_a_trace():
    model = Outer(lambda s, x: x * 2 if hasattr(type(s), "training") or type(vars(s)) is not dict else x * 1)
    for program in traces(model, X).values():
        torch.testing.assert_close(run(program, {}, [FAR]), FAR)


def test_modes_are_put_back_where_they_were_alone():
    class Answering(nn.Module):
        def __getattr__(self, name):
            return True if name == "training" else super().__getattr__(name)

    model = Answering()
    del model.training
    with mode(model, training=True):
        pass
    assert "training" not in vars(model)


def test_after_a_watch_all_is_as_it_was_but_for_what_was_written():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    table, weight, mode = vars(model[0]), model[0].weight, model[0].training
    with watched_mode(model) as watch:
        assert (model[0].weight is weight, vars(model[0])["in_features"]) == (True, 2)
        model[0].written, vars(model[0])["another"] = 1, 2
        del model[0].in_features
        assert watch == []
    assert vars(model[0]) is table
    assert type(table) is dict
    assert (model[0].written, model[0].another, hasattr(model[0], "in_features")) == (1, 2, False)
    assert table["training"] is mode


TABLES = {
    "items": lambda table: [*table.items()],
    "values": lambda table: [*table.values()],
    "names": lambda table: [*table],
    "copy": lambda table: table.copy(),
    "get": lambda table: table.get("training"),
    "key": lambda table: table["training"],
    "pop": lambda table: table.pop("training"),
    "pop or": lambda table: table.pop("training", 3),
    "setdefault": lambda table: table.setdefault("training", 3),
    "truth": lambda table: not dict.get(table, "training"),
    "equality": lambda table: (dict.get(table, "training") == True, dict.get(table, "training") == 3),  # noqa: E712
    "hash": lambda table: hash(dict.get(table, "training")),
    "repr": lambda table: repr(dict.get(table, "training")),
    "static": lambda table: bool(inspect.getattr_static(table["self"], "training")),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_watched_table_says_what_is_in_it_and_notes_who_asks(name):
    model = nn.ReLU()
    vars(model)["self"] = model
    expected = TABLES[name](dict(vars(model)))
    with watched_mode(model) as asked:
        found = TABLES[name](vars(model))
        noted = [*asked]
    assert [*found] == [*expected] if isinstance(expected, list) else found == expected
    assert noted
    assert {*noted} <= {nn.ReLU, nn.Module}


@pytest.mark.parametrize("look", [lambda t: t["inplace"], lambda t: t.get("inplace"), lambda t: t.pop("extra", 0)])
def test_who_asks_a_watched_table_for_something_else_is_not_noted(look):
    model = nn.ReLU()
    with watched_mode(model) as asked:
        assert not look(vars(model))
    assert asked == []


def test_modules_are_listed_once_and_without_those_that_are_none():
    shared = nn.ReLU()
    model = nn.Sequential(shared, nn.Sequential(shared, nn.Tanh()), shared)
    model.register_module("nothing", None)
    model[1].around = Outer(None, again=shared)
    assert everyone(model) == [model, shared, model[1], model[1][1], model[1].around]
    assert len(modes_of(model)) == 5


def test_one_class_that_switches_is_enough():
    class Below(Switched):
        pass

    assert not only_asks(Below())
    assert not only_asks(nn.Sequential(nn.ReLU(), Below()))
    assert only_asks(nn.Sequential(nn.ReLU(), nn.Dropout()))


def test_a_mode_that_a_call_sets_stays_set():
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    with watched_mode(model):
        model[0].training = False
        vars(model[1])["training"] = False
    assert modes_of(model) == (True, False, False)


def test_a_mode_that_is_no_truth_value_is_what_it_is():
    model = nn.ReLU()
    model.training = 1
    with watched_mode(model) as asked:
        assert type(dict.get(vars(model), "training")) is int
        assert model.training == 1
    assert asked == [nn.ReLU]
    assert vars(model)["training"] == 1


def test_one_watch_at_a_time():
    begun, ended, seen = threading.Event(), threading.Event(), []

    def second():
        begun.wait()
        with watched_mode(nn.Identity()):
            seen.append(ended.is_set())

    thread = threading.Thread(target=second)
    thread.start()
    with watched_mode(nn.Identity()):
        begun.set()
        thread.join(0.3)
        assert thread.is_alive()
        ended.set()
    thread.join()
    assert seen == [True]


def test_whether_a_model_asks_leaves_no_trace():
    """Its inputs, its attributes and tables, and all random numbers are as before, also where it raises."""

    def function(s, x):
        x.mul_(2)
        s.count, s.drawn = s.count + 1, (random.random(), torch.rand(1))
        s.register_buffer("made", x), s.add_module("child", nn.ReLU())
        s.l.weight.grad = x
        raise ValueError(torch.is_grad_enabled()) if s.raises else ValueError

    for raises in (True, False):
        model = Outer(function, l=nn.Linear(3, 3), raises=raises, count=0)
        given, states = X.clone(), (random.getstate(), torch.get_rng_state())
        before = {name: value for name, value in vars(model).items() if not isinstance(value, dict)}
        tables = {name: list(value) for name, value in vars(model).items() if isinstance(value, dict)}
        assert asks(model, ((given,), {}))
        assert torch.equal(given, X)
        assert random.getstate() == states[0]
        assert torch.equal(torch.get_rng_state(), states[1])
        assert {name: value for name, value in vars(model).items() if not isinstance(value, dict)} == before
        assert {name: list(value) for name, value in vars(model).items() if isinstance(value, dict)} == tables


def test_the_pass_that_asks_is_a_pass_with_gradients_on_the_same_numbers():
    seen = []

    def function(s, x):
        seen.append((torch.is_grad_enabled(), random.random(), float(torch.rand(1)), x.requires_grad))
        return s.l(x)

    model = Outer(function, l=nn.Linear(3, 3))
    for seed in (1, 2):
        random.seed(seed)
        torch.manual_seed(seed)
        with torch.no_grad():
            assert not asks(model, ((X,), {}))
    assert seen[0] == seen[1]
    assert (seen[0][0], seen[0][3]) == (True, True)


def test_compiled_parts_are_asked_as_they_are_written(capfd):
    """Guards of a compiled call would look into the watched tables, and say on stderr that they cannot."""
    inner = torch.compile(Clip(), backend="eager")
    model = Outer(lambda s, x: s.inner(x), inner=inner)
    assert asks(model, ((X,), {}))
    found = capfd.readouterr()
    assert (found.out, found.err) == ("", "")


def test_modes_and_what_a_class_does_with_them_are_put_back():
    mixed = nn.Sequential(nn.ReLU(), nn.ReLU().eval())
    with mode(mixed, training=True):
        assert modes_of(mixed) == (True, True, False)
    model = Switched()
    with mode(model, training=False):
        assert not model.clipped
    assert model.clipped
    with pytest.raises(ZeroDivisionError), mode(model, training=False):
        1 / 0  # noqa: B018
    assert model.clipped
    assert model.training
    del model.training
    with pytest.raises(AttributeError, match="no attribute 'training'"):
        modes_of(model)
    assert modes_of(Property()) == (True,)


def test_threads_that_trace_leave_modules_as_they_are():
    failed = []

    def watched():
        for _ in range(200):
            with watched_mode(nn.Identity()) as asked:
                if not Clip().train().training or not asked:
                    failed.append(asked)

    threads = [threading.Thread(target=watched) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert not hasattr(nn.Module, "training")


def test_watches_within_one_another_end_in_order():
    without = nn.Identity()
    del without.training
    asking = Clip()
    with watched_mode(without) as outer:
        with watched_mode(nn.Identity()) as inner:
            assert asking.training
        assert asking.training
        assert only_asks(nn.Sequential(Clip()))  # whoever else is watching
        assert not hasattr(without, "training")
    assert (outer, inner) == ([Clip, nn.Identity], [Clip])
    with pytest.raises(ZeroDivisionError), watched_mode(asking):
        1 / 0  # noqa: B018
    assert not hasattr(nn.Module, "training")
    assert only_asks(nn.Sequential(Clip(), nn.BatchNorm1d(3)))
