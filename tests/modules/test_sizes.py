"""Sizes that code reads: what they may become, which choice comes first, what standard layers remember."""

import enum
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.modules.own_class import Scaled, _calls, _close, _longer, _near, _same_outputs, other_shapes  # noqa: E402
from lop_theory.modules.resizing import resize  # noqa: E402
from lop_theory.modules.sizes import (  # noqa: E402
    FIXED,
    TRIALS,
    Growth,
    Size,
    _become,
    _objects,
    choices,
    names_a_width,
    options_of,
    places_of,
    put,
    put_back,
    sizes_read,
)
from lop_theory.trace.comparison import Pass  # noqa: E402


class Config:
    def __init__(self, **values):
        self.__dict__.update(values)


class Net(nn.Module):
    """Reads a width of its own, one of its configuration, one of a configuration inside that, and sizes in lists."""

    def __init__(self):
        super().__init__()
        self.width, self.unread, self.flag, self.ratio = 4, 4, True, 4.0
        self.config = Config(
            hidden=4,
            inner=Config(heads=2, deeper=Config(size=4, deepest=Config(far=4, beyond=Config(lost=4)))),
            name="net",
        )
        self.sizes, self.mixed, self.empty = [2, 4], (4, "x"), []
        self.mode, self.function = enum.Enum("Mode", "A").A, len
        self.a = nn.Linear(3, 4)

    def forward(self, x):
        h = self.a(x).view(-1, self.width)
        assert self.flag
        assert self.ratio
        assert self.config.name
        assert self.mixed
        assert self.mode
        inner = self.config.inner
        assert inner.deeper.deepest.beyond.lost  # four objects deep: no configuration that we know is
        return h * self.config.hidden * inner.heads * inner.deeper.size * inner.deeper.deepest.far + sum(self.sizes)


def test_what_a_pass_reads_is_noted_by_class_and_name():
    net = Net()
    read = {(kind.__name__, name) for kind, name in sizes_read(net, torch.ones(2, 3))}
    assert read >= {
        ("Net", "width"),
        ("Config", "hidden"),
        ("Config", "heads"),
        ("Config", "size"),
        ("Config", "far"),
        ("Net", "sizes"),
    }
    assert not read & {
        ("Config", "lost"),
        ("Net", "unread"),
        ("Net", "flag"),
        ("Net", "ratio"),
        ("Net", "mixed"),
        ("Config", "name"),
        ("Net", "empty"),
    }
    assert type(net) is Net
    assert type(net.config) is Config
    found = [(path, type(thing).__name__) for path, thing in _objects(net) if isinstance(thing, nn.Module | Config)]
    assert found == [("", "Net"), *[("", "Config")] * 4, ("a", "Linear")]
    shared = nn.Sequential(Net(), Net())
    shared[1].config = shared[0].config
    assert sum(type(thing) is Config for _, thing in _objects(shared)) == 4


def test_a_pass_that_fails_leaves_the_classes_as_they_were():
    net = Net()
    with pytest.raises(RuntimeError):
        sizes_read(net, torch.ones(2, 5))
    assert (type(net), type(net.config), type(net.a)) == (Net, Config, nn.Linear)


@pytest.mark.parametrize(
    ("name", "value", "inside", "become"),
    [
        ("width", 4, {(4, 8)}, (8, 4)), ("width", 4, {(4, 12), (4, 8)}, (8, 12, 4)), ("width", 4, {(5, 10)}, (4,)),
        ("width", 4, {(4, 4)}, (4,)), ("width", 4, {(4, 4), (4, 8)}, (4, 8)), 
        ("num_heads", 4, {(4, 4), (4, 8)}, (8, 4)),
        ("hidden_size", 4, {(4, 4), (4, 8)}, (8, 4)), ("head_dim", 4, {(4, 8)}, (4, 8)), 
        ("kernel_size", 4, {(4, 8)}, (4, 8)),
        ("sizes", [2, 4], {(4, 8), (4, 4)}, ([2, 8], [2, 4])), ("sizes", (2, 4), {(4, 8), (2, 6)}, ((6, 8), (2, 4))),
        ("kernel_size", (4, 4), {(4, 8)}, ((4, 4), (8, 8))), ("sizes", (5,), {(4, 8)}, ((5,), (5,))),
    ],
)  # fmt: skip
def test_what_a_size_may_become_the_likeliest_first(name, value, inside, become):
    assert _become(name, value, inside) == become
    assert {"head_dim", "head_size", "attention_head_size", "kernel_size", "num_layers"} == FIXED


def test_sizes_follow_what_grew_inside_their_module():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.width, self.other = 4, 7
            self.config = Config(hidden=4)

    model = nn.Module()
    model.first, model.second = Two(), nn.Linear(2, 2)
    read = {(Two, "width"), (Two, "other"), (Two, "missing"), (Config, "hidden")}
    names = lambda found: {(s.owner.rpartition(".")[2], s.name): v for s, v in found.items()}  # noqa: E731
    inside = names(options_of(model, read, {Growth("first", 4, 8)}))
    assert inside == {("Two", "width"): (8, 4), ("Config", "hidden"): (8, 4)}
    assert names(options_of(model, read, {Growth("first.a", 4, 8)}))["Two", "width"] == (8, 4)
    assert names(options_of(model, read, {Growth("second", 4, 8)})) == {("Config", "hidden"): (8, 4)}
    assert names(options_of(model, read, {Growth("firstborn", 4, 8)})) == {("Config", "hidden"): (8, 4)}
    only = options_of(model, read, {Growth("first", 4, 8)}, lambda path, thing: isinstance(thing, nn.Module))  # noqa: ARG005
    assert list(names(only)) == [("Two", "width")]
    places = places_of(model, only)
    assert [thing for things in places.values() for thing in things] == [model.first]
    model.third, model.second.width = Two(), 4  # that of another class is another size
    assert list(places_of(model, only).values()) == [[model.first, model.third]]
    assert list(places_of(model, only, lambda path, _: path == "third").values()) == [[model.third]]
    model.third.width = None  # what another object of the class has is no size
    assert options_of(model, read, {Growth("first", 4, 8)}, lambda path, _: path == "first") == only
    assert options_of(model, {(Two, "width")}, {Growth("first", 4, 8)}) == only
    model.first.width = 5
    assert places_of(model, only) == {next(iter(only)): []}


def test_choices_differ_from_the_likeliest_in_one_two_or_three_sizes():
    sizes = [Size("C", name, 1) for name in "abcd"]
    options = {sizes[0]: (10, 1), sizes[1]: (20, 2, 3), sizes[2]: (30, 1), sizes[3]: (40, 1)}
    found = [tuple(choice[s] for s in sizes) for choice in choices(options)]
    assert found[0] == (10, 20, 30, 40)
    assert found[1:6] == [(1, 20, 30, 40), (10, 2, 30, 40), (10, 3, 30, 40), (10, 20, 1, 40), (10, 20, 30, 1)]
    changes = [sum(a != b for a, b in zip(one, found[0], strict=True)) for one in found]
    assert changes == sorted(changes)
    assert max(changes) == 3
    assert len(set(found)) == len(found) == 1 + 5 + 9 + 7
    many = {Size("C", str(k), 1): (2, 1) for k in range(12)}
    assert len(list(choices(many))) == TRIALS == 40
    assert list(choices({})) == [{}]


def test_a_size_that_need_not_change_is_put_back():
    things = [SimpleNamespace(n=8, several=[8, 2]), SimpleNamespace(n=8, several=[8, 2])]
    number, several = Size("S", "n", 4), Size("S", "several", (4, 2))
    places = {number: things, several: things}
    put(places, {number: 8})
    assert [t.n for t in things] == [8, 8]
    put_back([number], places, lambda: True)
    assert [t.n for t in things] == [4, 4]
    things[0].n = things[1].n = 8
    put_back([number], places, lambda: False)
    assert [t.n for t in things] == [8, 8]
    put_back([number, several], places, lambda: things[0].n == 8)
    assert [(t.n, t.several) for t in things] == [(8, [4, 2]), (8, [4, 2])]


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("hidden_size", True),
        ("d_model", False),
        ("Embed_Dim", True),
        ("out_channels", True),
        ("sliding_window", False),
        ("nf", False),
    ],
)
def test_names_that_say_that_they_are_widths(name, width):
    assert names_a_width(name) == width


# --- layers that remember their sizes ---------------------------------------------------------------------------------


def resized(layer, other):
    """The layer with the weights of another."""
    for table in (layer._parameters, layer._buffers):
        for key, value in list(table.items()):
            table[key] = getattr(other, key) if value is not None else None


LAYERS = [
    (lambda k: nn.Linear(3 * k, 2 * k), ("in_features", "out_features")),
    (lambda k: nn.Conv2d(3 * k, 2 * k, 2), ("in_channels", "out_channels", "groups")),
    (lambda k: nn.Conv1d(4 * k, 6 * k, 1, groups=2), ("in_channels", "out_channels", "groups")),
    (lambda k: nn.Conv1d(3 * k, 6 * k, 1, groups=3 * k), ("in_channels", "out_channels", "groups")),
    (lambda k: nn.ConvTranspose1d(3 * k, 4 * k, 2), ("in_channels", "out_channels", "groups")),
    (lambda k: nn.ConvTranspose2d(4 * k, 6 * k, 1, groups=2), ("in_channels", "out_channels", "groups")),
    (lambda k: nn.ConvTranspose1d(3 * k, 3 * k, 1, groups=3 * k), ("in_channels", "out_channels", "groups")),
    (lambda k: nn.Bilinear(3 * k, 5 * k, 2 * k), ("in1_features", "in2_features", "out_features")),
    (lambda k: nn.Embedding(7, 3 * k), ("num_embeddings", "embedding_dim")),
    (lambda k: nn.BatchNorm1d(3 * k), ("num_features",)),
    (lambda k: nn.BatchNorm2d(3 * k, affine=False), ("num_features",)),
    (lambda k: nn.InstanceNorm1d(3 * k, affine=True), ("num_features",)),
    (lambda k: nn.GroupNorm(1, 4 * k), ("num_groups", "num_channels")),
    (lambda k: nn.LayerNorm(3 * k), ("normalized_shape",)),
    (lambda k: nn.LayerNorm((3 * k, 2)), ()),
]


@pytest.mark.parametrize(("make", "names"), LAYERS)
@pytest.mark.parametrize(("old", "new"), [(1, 2), (2, 1), (1, 3)])
def test_layers_remember_the_sizes_of_their_new_weights(make, names, old, new):
    layer, before, after = make(old), make(old), make(new)
    resized(layer, after)
    resize(layer, before)
    assert {name: getattr(layer, name) for name in names} == {name: getattr(after, name) for name in names}


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_use_their_new_weights(kind):
    layer, before, after = kind(3, 4), kind(3, 4), kind(3, 8)
    resized(layer, after)
    resize(layer, before)
    assert all(a is b for a, b in zip(layer._flat_weights, after._flat_weights, strict=True))


def test_sizes_of_ones_own_stay_where_the_weight_did_not_change():
    layer, before = nn.Linear(3, 2), nn.Linear(3, 2)
    layer.in_features = 99
    resize(layer, before)
    assert layer.in_features == 99
    odd, before = nn.Linear(3, 2), nn.Linear(3, 2)
    odd.out_features = before.out_features = 77  # no side of the weight
    resized(odd, nn.Linear(6, 2))
    resize(odd, before)
    assert (odd.in_features, odd.out_features) == (6, 77)
    resize(nn.ReLU(), nn.ReLU())
    turned, before = nn.Linear(3, 2), nn.Linear(3, 2)  # a weight of inputs × outputs
    turned.weight, before.weight = nn.Parameter(torch.ones(6, 2)), nn.Parameter(torch.ones(3, 2))
    resize(turned, before)
    assert (turned.in_features, turned.out_features) == (6, 2)


# --- whether a clone answers as its base does -------------------------------------------------------------------------


def test_one_more_row_and_more_positions():
    x, y, flag = torch.arange(6.0).reshape(2, 3), torch.arange(4.0).reshape(2, 2), True
    (more, _), (longer, _), (double, _) = other_shapes((x, y, flag), {})
    assert [tuple(t.shape) for t in more[:2]] == [(3, 3), (3, 2)]
    assert torch.equal(more[0][2], x[0])
    assert [tuple(t.shape) for t in longer[:2]] == [(2, 5), (2, 2)]
    assert torch.equal(longer[0][:, 3:], x[:, :2])
    assert longer[2] is True
    assert [tuple(t.shape) for t in double[:2]] == [(2, 9), (2, 2)]
    assert torch.equal(double[0], torch.cat([x, x, x], 1))
    assert len(other_shapes((torch.ones(3),), {})) == 1
    assert other_shapes((3, torch.ones(())), {}) == []
    assert _longer(torch.ones(2), 1, 2, 3).shape == (2,)
    assert _longer(torch.ones(2), 0, 2, 3).shape == (3,)
    assert _longer(torch.ones(2), 0, 3, 4).shape == (2,)
    assert _longer("x", 0, 2, 3) == "x"


class Rows(nn.Module):
    """Takes so many rows, or all numbers of them; ``more`` is what it adds in training."""

    def __init__(self, rows, more=lambda y: 0 * y):
        super().__init__()
        self.rows, self.more = rows, more

    def forward(self, x):
        assert len(x) in self.rows
        return x + self.more(x) if self.training else x


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        (Rows([2]), {(False, 2), (True, 2)}),  # no other call: the example in both modes
        (Rows([2, 3]), {(False, 2), (False, 3), (True, 3)}),  # the same answer in both: the other call alone
        (Rows([2, 3], torch.exp), {(False, 2), (False, 3), (True, 2), (True, 3)}),
        (Rows([2, 3], lambda x: 1e-15 * x), {(False, 2), (False, 3), (True, 2), (True, 3)}),
        (Rows([2, 3], torch.rand_like), {(False, 2), (False, 3)}),  # a wider one draws other numbers
        (Rows([3]), {(False, 3), (True, 3)}),
        (Rows([]), set()),
    ],
)
def test_calls_that_a_model_takes_in_both_modes_or_in_one(model, asked):
    found = _calls(model, torch.ones(2, dtype=torch.float64), 1e-9)
    assert len(found) == len(asked)
    assert {(training, len(given[0][0])) for training, given, _ in found} == asked
    for training, ((x,), _), answered in found:
        assert torch.equal(answered.outputs[0], model.train(training)(x))


def test_the_longest_call_is_asked_in_evaluation_alone():
    found = _calls(nn.Identity(), torch.ones(2, 3), 1e-9)
    asked = [(training, tuple(given[0][0].shape)) for training, given, _ in found]
    assert asked == [(False, (2, 3)), (False, (3, 3)), (False, (2, 5)), (False, (2, 9)), (True, (3, 3)), (True, (2, 5))]


def test_what_is_close_and_what_is_near():
    t = torch.tensor
    assert _close(t([1.0, 100.0]), t([1.09, 100.0]), 1e-3)  # of the largest
    assert not _close(t([1.0, 100.0]), t([1.11, 100.0]), 1e-3)
    assert not _close(t([1.0]), t([1.0, 1.0]), 1.0)
    assert not _close(t([1]), t([2]), 1.0)
    assert _close(t([2, 3]), t([2, 3]), 0.0)
    nan, inf = float("nan"), float("inf")
    assert not _close(t([nan]), t([1.0]), 1.0)
    assert not _close(t([nan]), t([nan]), 1.0)
    assert _close(t([inf, 1.0]), t([inf, 1.0]), 0.0)
    assert not _close(t([inf, 1.0]), t([1.0, 1.0]), 1.0)
    assert _close(t([]), t([]), 0.0)
    for a, b, same in (
        (3, 3, True),
        (3, 4, False),
        ("x", "x", True),
        (None, None, True),
        (3, t([3]), False),
        (t([3]), 3, False),
    ):
        assert _close(a, b, 1.0) == same
    assert _near(t([3.0, 4.0]), t([3.0, 4.1]), 0.025)
    assert not _near(t([3.0, 4.0]), t([3.0, 4.2]), 0.025)
    assert not _near(t([1]), t([1]), 1.0)
    assert not _near(t([1.0]), t([1.0, 1.0]), 1.0)
    assert not _near(None, t([1.0]), 1.0)


def test_outputs_are_compared_one_by_one_and_gradients_later():
    base = Pass([torch.ones(2), 3], {}, {}, [torch.ones(2)])
    assert _same_outputs([torch.ones(2), 3], base, 1e-9)
    assert not _same_outputs([torch.ones(2), 4], base, 1e-9)
    assert not _same_outputs([torch.ones(2)], base, 1e-9)
    assert not _same_outputs([torch.ones(2), 3, 4], base, 1e-9)


def test_a_scaled_module_multiplies_its_first_input():
    layer = nn.Bilinear(2, 2, 1).double()
    layer.register_forward_pre_hook(Scaled(0.5))
    x, y = torch.randn(3, 2).double(), torch.randn(3, 2).double()
    torch.testing.assert_close(layer(x, y), nn.functional.bilinear(x / 2, y, layer.weight, layer.bias))
