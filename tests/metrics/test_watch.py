"""Which layers are seen while a program runs: every expectation is what the program says to a reader."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lop_theory.metrics.passes import floating, watched  # noqa: E402

torch.set_num_threads(1)
X, I = torch.randn(5, 3), torch.randn(2, 2, 6, 6)
STRAY, SHIFT = nn.Parameter(torch.randn(8, 3)), nn.Parameter(torch.randn(5, 3))  # of no module
r = torch.relu
FC = "fc sum 1 fc.weight.0 of input plainly"
W = "linear sum 1 w.0 of input plainly"
RELU = "relu activation 1 fc.weight.0 of fc plainly"
OUT = "out sum 1 out.weight.0 of relu plainly"
CONV = "conv sum 1 conv.weight.0 of input plainly"
MAPS = "relu activation 1 conv.weight.0 of conv plainly"


class Program(nn.Module):
    def __init__(self, run):
        super().__init__()
        self.run = run
        self.fc, self.act, self.out = nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)
        self.conv, self.image = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 1)
        self.w = nn.Parameter(torch.randn(8, 3))
        self.register_buffer("table", torch.randn(8))

    def forward(self, x):
        return self.run(self, x)


def told(layers):
    """Name, kind, dimension, weight, and what is summed, or of which first layer it is a function."""
    first = {}
    for layer, _ in reversed(layers):
        first[layer.source] = layer.name
    for layer, _ in layers:
        weight = "-" if layer.weight is None else f"{layer.weight[0]}.{layer.weight[1]}"
        of = layer.reads or "?" if layer.kind == "sum" else first[layer.source]
        yield f"{layer.name} {layer.kind} {layer.dim} {weight} of {of}" + " plainly" * layer.plainly


PROGRAMS = [
    (lambda m, x: r(x @ torch.outer(torch.ones(3), m.table)), X, ["relu activation 1 - of relu"]),  # nothing is learned
    (
        lambda m, x: m.out(m.act(m.fc(x))),
        X,
        [FC, "act activation 1 fc.weight.0 of fc plainly", "out sum 1 out.weight.0 of act plainly"],
    ),
    (lambda m, x: F.linear(r(F.linear(x, m.w)), m.out.weight), X, [W, "relu activation 1 w.0 of linear plainly", OUT]),
    (lambda m, x: F.linear(x, m.w.double().float()), X, [W]),
    (lambda m, x: F.linear(x, m.w + m.fc.weight), X, ["linear sum 1 - of input plainly"]),
    (
        lambda m, x: m.out(m.act(m.act(m.fc(x)) - 1)),
        X,
        [
            FC,
            "act activation 1 fc.weight.0 of fc plainly",
            "act#2 activation 1 fc.weight.0 of fc",
            "out sum 1 out.weight.0 of act#2 plainly",
        ],
    ),
    (
        lambda m, x: m.out((h := m.fc(x)) * torch.sigmoid(h)),
        X,
        [FC, "mul activation 1 fc.weight.0 of fc", "out sum 1 out.weight.0 of mul plainly"],
    ),
    (
        lambda m, x: m.out(m.fc(x) * torch.sigmoid(F.linear(x, m.w))),
        X,
        [
            FC,
            W,
            "sigmoid activation 1 w.0 of linear plainly",
            "mul gate 1 fc.weight.0 of mul",
            "out sum 1 out.weight.0 of mul plainly",
        ],
    ),
    (
        lambda m, x: m.out(r(m.fc(x) + F.linear(x, m.w))),
        X,
        [FC, W, "add join 1 fc.weight.0 of add", "relu activation 1 fc.weight.0 of add plainly", OUT],
    ),
    (lambda m, x: m.out(2 * r(m.fc(x)) + 1), X, [FC, RELU, "out sum 1 out.weight.0 of relu"]),
    (lambda m, x: m.out(r(2 * m.fc(x) + m.table)), X, [FC, "relu activation 1 fc.weight.0 of fc", OUT]),
    (lambda m, x: r(m.fc(x)).mean(0), X, [FC, RELU]),
    (lambda m, x: r(m.fc(x)).mean(1), X, [FC]),
    (lambda m, x: torch.softmax(r(m.fc(x)), 1), X, [FC, RELU]),
    (lambda m, x: m.out(F.layer_norm(r(m.fc(x)), (8,))), X, [FC, RELU, "out sum 1 out.weight.0 of relu"]),
    (lambda m, x: m.out(r(F.layer_norm(m.fc(x), (8,)))), X, [FC, "relu activation 1 fc.weight.0 of relu", OUT]),
    (
        lambda m, x: m.out(r(m.fc(x)).view(1, 5, 8)),
        X,
        [FC, "relu activation 2 fc.weight.0 of fc plainly", "out sum 2 out.weight.0 of relu plainly"],
    ),
    (lambda m, x: r(m.fc(x)).view(5, 2, 4).sum(2), X, [FC, RELU]),
    (
        lambda m, x: F.linear(r(m.fc(x))[:, :4], m.out.weight[:, :4]),
        X,
        [FC, "relu activation 1 - of fc plainly", "linear sum 1 - of relu plainly"],
    ),
    (
        lambda m, x: F.linear(r(m.fc(x)).double(), m.out.weight.double()),
        X,
        [FC, RELU, "out sum 1 out.weight.0 of relu"],
    ),
    (
        lambda m, x: (parts := m.fc(x).chunk(2, 1))[0] * torch.sigmoid(parts[1]),
        X,
        [FC, "sigmoid activation 1 - of sigmoid plainly", "mul gate 1 - of mul"],
    ),
    (lambda m, x: F.glu(m.fc(x)), X, [FC, "glu gate 1 - of glu"]),
    (lambda m, x: m.image(r(m.conv(x))), I, [CONV, MAPS, "image sum 1 image.weight.0 of relu plainly"]),
    (
        lambda m, x: m.image(F.max_pool2d(r(m.conv(x)), 2)),
        I,
        [CONV, MAPS, "image sum 1 image.weight.0 of relu plainly"],
    ),
    (
        lambda m, x: m.image(F.avg_pool2d(r(m.conv(x)), 2, divisor_override=3)),
        I,
        [CONV, MAPS, "image sum 1 image.weight.0 of relu"],
    ),
    (
        lambda m, x: m.image(F.avg_pool2d(r(m.conv(x)), 2, 2, 0, False, True, 3)),
        I,
        [CONV, MAPS, "image sum 1 image.weight.0 of relu"],
    ),
    (
        lambda m, x: m.image(F.avg_pool2d(r(m.conv(x)), 2, 2, 0, False, True, None)),
        I,
        [CONV, MAPS, "image sum 1 image.weight.0 of relu plainly"],
    ),
    (
        lambda m, x: m.image(F.interpolate(r(m.conv(x)), scale_factor=2)),
        I,
        [CONV, MAPS, "image sum 1 image.weight.0 of relu"],
    ),
    (lambda m, x: r(m.conv(x)).mean((2, 3)), I, [CONV, MAPS]),
    (lambda m, x: r(m.conv(x)).mean(1), I, [CONV]),
    (lambda m, x: m.out(r(m.table) * r(m.fc(x))), X, [FC, RELU, "out sum 1 out.weight.0 of relu"]),
    (lambda m, x: m.fc(r(x)), X, ["relu activation 1 - of relu plainly", "fc sum 1 fc.weight.0 of relu plainly"]),
    (lambda m, x: m.fc(x * x), X, ["fc sum 1 fc.weight.0 of ? plainly"]),
    (lambda m, x: m.out(F.dropout(r(m.fc(x)), 0.5, True)), X, [FC, RELU, "out sum 1 out.weight.0 of relu"]),
    (lambda m, x: m.out(F.dropout(r(m.fc(x)), 0.0, True, True)), X, [FC, RELU, OUT]),
    (
        lambda m, x: (m.out(h := r(m.fc(x))), F.linear(h, m.out.weight)),
        X,
        [FC, RELU, OUT, "out#2 sum 1 out.weight.0 of relu plainly"],
    ),
    (lambda m, x: r(F.linear(x, m.w) + m.fc.bias), X, [W, "relu activation 1 w.0 of linear"]),
    (
        lambda m, x: r(m.fc(x)) * torch.sigmoid(m.fc(x).mean(1, keepdim=True)),
        X,
        [FC, "fc#2 sum 1 fc.weight.0 of input plainly", RELU],
    ),
    (
        lambda m, x: m.out(r(m.fc(x)) ** 2),
        X,
        [FC, "pow activation 1 fc.weight.0 of fc", "out sum 1 out.weight.0 of pow plainly"],
    ),
    (
        lambda m, x: m.out(torch.maximum(m.fc(x), F.linear(x, m.w))),
        X,
        [FC, W, "maximum gate 1 fc.weight.0 of maximum", "out sum 1 out.weight.0 of maximum plainly"],
    ),
    (lambda m, x: r(x @ m.w.T), X, ["matmul sum 1 - of input plainly", "relu activation 1 - of matmul plainly"]),
    (lambda m, x: r((h := m.fc(x)) @ h.T), X, [FC, "relu activation 1 - of relu"]),
    (
        lambda m, x: m.out(r(h := m.fc(x)) + h),
        X,
        [FC, "add activation 1 fc.weight.0 of fc", "out sum 1 out.weight.0 of add plainly"],
    ),
    (lambda m, x: m.out((h := m.fc(x)) + h), X, [FC, "out sum 1 out.weight.0 of ? plainly"]),
    (
        lambda m, x: m.out((h := m.fc(x)) / h),
        X,
        [FC, "div activation 1 fc.weight.0 of fc", "out sum 1 out.weight.0 of div plainly"],
    ),
    (
        lambda m, x: F.linear(torch.cat([r(m.fc(x)), r(F.linear(x, m.w))], 1), torch.randn(2, 16)),
        X,
        [FC, W, RELU, "relu#2 activation 1 w.0 of linear plainly", "linear#2 sum 1 - of ?"],
    ),
    (lambda m, x: r(m.fc(x[0])), X, []),
    (
        lambda m, x: m.image(F.avg_pool2d(r(m.conv(x)), 2, 2, 0, False, True)),
        I,
        [CONV, MAPS, "image sum 1 image.weight.0 of relu plainly"],
    ),
    (
        lambda _, x: r(F.linear(x, STRAY)),
        X,
        ["linear sum 1 - of input plainly", "relu activation 1 - of linear plainly"],
    ),
    (
        lambda m, x: F.embedding(r(m.fc(x).int()).clamp(max=7), m.w),  # whole numbers are no activations
        X,
        [FC, "embedding sum 2 w.1 of ? plainly"],
    ),
    (lambda _, x: r(x + SHIFT), X, ["relu activation 1 - of relu"]),
    (lambda m, x: r(m.fc(x) * STRAY[:, 0]), X, [FC, "relu activation 1 fc.weight.0 of fc"]),
    (lambda m, x: torch.relu((m.fc(x) * 10).int()), X, [FC]),
    (lambda m, x: m.out(nn.ReLU()(m.fc(x))), X, [FC, RELU, OUT]),  # a module that is made on the way
    (lambda m, x: m.fc(x * x.mean((0, 1), keepdim=True)), X, ["fc sum 1 fc.weight.0 of input"]),  # by one number
    (  # pooled and padded across units: what is summed is no unit of the layer
        lambda m, x: F.linear(F.avg_pool1d(r(m.fc(x)), 2), torch.randn(2, 4)),
        X,
        [FC, RELU, "linear sum 1 - of ? plainly"],
    ),
    (lambda m, x: F.linear(F.pad(r(m.fc(x)), (1, 1)), torch.randn(2, 10)), X, [FC, RELU, "linear sum 1 - of ?"]),
]


@pytest.mark.parametrize(("run", "x", "right"), PROGRAMS)
def test_layers_of_a_program(run, x, right):
    found = []
    with watched(Program(run), lambda layer, tensor: found.append((layer, tensor))) as (go, watch):
        watch.outputs(floating(go(x)))
    assert list(told(found)) == right
    assert all(tensor.shape[layer.dim] in (2, 3, 4, 5, 8) for layer, tensor in found)


def test_before_an_activation_runs_its_source_and_call_are_told():
    calls, found = [], []

    def before(source, call, args, kwargs):
        calls.append((source, call.__name__, args[0].shape[1], kwargs))

    def run(m, x):
        h = F.leaky_relu(m.fc(x), negative_slope=0.5)
        return m.out(torch.sigmoid(h) * F.softplus(F.linear(x, m.w)) + torch.exp(h))

    with watched(Program(run), lambda layer, _: found.append(layer), before) as (go, watch):
        outputs = watch.outputs(floating(go(X)))
    fc, linear = (layer for layer in found if layer.operator == "linear" and layer.name != "out")
    assert [c[:3] for c in calls] == [
        (fc.source, "leaky_relu", 8),
        (fc.source, "sigmoid", 8),
        (linear.source, "softplus", 8),
    ]
    assert calls[0][3]["negative_slope"] == 0.5
    assert outputs == {found[-1].source}


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_what_a_module_makes_on_its_way_is_no_layer(depth):
    found, inner = [], Swish()
    for _ in range(depth):
        inner = nn.Sequential(inner)
    model = nn.Sequential(nn.Linear(3, 8), inner, nn.Linear(8, 2))
    with watched(model, lambda layer, _: found.append(layer.name)) as (go, _):
        go(X)
    assert found == ["0", ".".join(["1"] + ["0"] * depth), "2"]


class Attended(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn, self.a, self.b = nn.MultiheadAttention(8, 2), nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x):
        h = r(self.a(x))
        return self.b(r(self.attn(h, h, h)[0]))


def test_attention_is_seen_from_the_inside():
    found = []
    with watched(Attended(), lambda layer, tensor: found.append((layer, tensor))) as (go, _):
        go(torch.randn(4, 5, 3))
    assert list(told(found)) == [
        "a sum 2 a.weight.0 of input plainly",
        "relu activation 2 a.weight.0 of a plainly",
        "attn:linear sum 2 attn.in_proj_weight.0 of relu plainly",
        "attn.out_proj sum 1 attn.out_proj.weight.0 of ?",  # of tokens in one row after the other
        "relu#2 activation 2 attn.out_proj.weight.0 of attn.out_proj plainly",
        "b sum 2 b.weight.0 of relu#2 plainly",
    ]


def test_a_second_pass_numbers_and_names_its_layers_anew():
    found = []
    model = Program(lambda m, x: m.out(r(m.fc(x))))
    with watched(model, lambda layer, _: found.append(layer)) as (go, watch):
        go(X)
        watch.restart()
        go(X)
    assert [layer.name for layer in found] == ["fc", "relu", "out"] * 2
    assert found[:3] == found[3:]
