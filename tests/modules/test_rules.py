# ruff: noqa: E501 - one model a line
"""Every operator family: expand, certify against the base in both modes, also with random weights inside RE∩CE."""

from math import prod

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lop_theory.modules import UnsupportedOperation, certificate, certify, expand  # noqa: E402
from lop_theory.modules.interface import Contraction  # noqa: E402
from lop_theory.modules.plan import widths  # noqa: E402
from lop_theory.modules.scale import argument_of  # noqa: E402
from tests.modules.nets import restored  # noqa: E402
from tests.zoo.plain import Function, lin  # noqa: E402

IMAGES = torch.randn(3, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
SIGNAL = torch.randn(3, 4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
STEPS = TOKENS[:, :3].contiguous()  # a recurrent layer is traced step by step


def parameter(*shape):
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(2)))


def head2d(width):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 2))


ACTIVATIONS = {
    "ELU": nn.ELU, "Hardsigmoid": nn.Hardsigmoid, "Hardtanh": nn.Hardtanh, "Hardswish": nn.Hardswish, "LeakyReLU": nn.LeakyReLU,
    "LogSigmoid": nn.LogSigmoid, "PReLU": nn.PReLU, "PReLU-units": lambda: nn.PReLU(4), "ReLU": nn.ReLU, "ReLU6": nn.ReLU6,
    "SELU": nn.SELU, "CELU": nn.CELU, "GELU": nn.GELU, "GELU-tanh": lambda: nn.GELU("tanh"), "Sigmoid": nn.Sigmoid,
    "SiLU": nn.SiLU, "Mish": nn.Mish, "Softplus": nn.Softplus, "Softshrink": nn.Softshrink, "Hardshrink": nn.Hardshrink,
    "Softsign": nn.Softsign, "Tanh": nn.Tanh, "Tanhshrink": nn.Tanhshrink, "Threshold": lambda: nn.Threshold(0.1, 0.2),
}  # fmt: skip


def several(inputs, outputs):
    return nn.ModuleList(lin(inputs, outputs) for _ in ACTIVATIONS)


def activated(m, x):
    """All of them side by side, each between two layers of its own; one trace for all."""
    return torch.stack([b(act(a(x))) for a, act, b in zip(m.a, m.acts, m.b, strict=True)])


def attention_by_einsum(m, x):
    q, k, v = (layer(x).unflatten(-1, (2, 3)) for layer in (m.q, m.k, m.v))
    weights = torch.einsum("bthd,bshd->bhts", q, k).div(3**0.5).softmax(-1)
    return m.o(torch.einsum("bhts,bshd->bthd", weights, v).flatten(2))


def attention_by_matmul(m, x):
    q, k, v = (t.reshape(3, 5, 2, 3).transpose(1, 2) for t in m.qkv(x).chunk(3, dim=-1))
    weights = torch.softmax(q @ k.transpose(-2, -1) * 3**-0.5, -1)
    return m.o((weights @ v).transpose(1, 2).reshape(3, 5, 6))


def grouped_query(m, x):
    q = m.q(x).view(-1, 5, 4, 2).transpose(1, 2)
    k, v = (layer(x).view(-1, 5, 2, 2).transpose(1, 2) for layer in (m.k, m.v))
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return m.o(out.transpose(1, 2).reshape(-1, 5, 8))


def rms(m, x):
    h = m.a(x)
    return m.b(m.gain * h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6))


def shuffle(m, x):
    h = m.a(x)
    return m.b(h.unflatten(1, (2, 3)).transpose(1, 2).flatten(1, 2).relu()).mean((2, 3))


MODELS = {
    "activations": (
        Function(activated, a=several(4, 4), acts=nn.ModuleList(make() for make in ACTIVATIONS.values()), b=several(4, 2)),
        ROWS,
    ),
    "glu": (nn.Sequential(nn.Linear(4, 6), nn.GLU(), nn.Linear(3, 2)), ROWS),
    "swiglu by hand": (Function(lambda m, x: m.d(F.silu(m.g(x)) * m.u(x)), g=lin(4, 3), u=lin(4, 3), d=lin(3, 2)), ROWS),
    "linear without bias": (nn.Sequential(nn.Linear(4, 3, bias=False), nn.Tanh(), nn.Linear(3, 2, bias=False)), ROWS),
    "width one": (nn.Sequential(nn.Linear(4, 1), nn.Tanh(), nn.Linear(1, 2)), ROWS),
    "conv1d": (nn.Sequential(nn.Conv1d(4, 3, 3, 2, 1), nn.ReLU(), nn.Conv1d(3, 2, 3, dilation=2), nn.Flatten(), nn.Linear(2, 2)), SIGNAL),
    "conv2d stride dilation": (nn.Sequential(nn.Conv2d(3, 4, 3, 2, 2, dilation=2), nn.Tanh(), nn.Conv2d(4, 3, 1), head2d(3)), IMAGES),
    "depthwise": (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.GELU(), head2d(4)), IMAGES),
    "depthwise multiplier": (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 3, groups=4), nn.GELU(), head2d(8)), IMAGES),
    "grouped": (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Tanh(), nn.Conv2d(4, 6, 3, groups=2), nn.Tanh(), head2d(6)), IMAGES),
    "transposed": (nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 3, 2, 2), nn.Tanh(), head2d(3)), IMAGES),
    "channel shuffle": (Function(shuffle, a=nn.Conv2d(3, 6, 1), b=nn.Conv2d(6, 2, 1)), IMAGES),
    "batch norm": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), head2d(4)), IMAGES),
    "instance norm": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.Tanh(), head2d(4)), IMAGES),
    "group norm": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Tanh(), head2d(4)), IMAGES),
    "group norm per channel": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(4, 4), nn.Tanh(), head2d(4)), IMAGES),
    "layer norm": (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2)), ROWS),
    "layer norm of images": (nn.Sequential(nn.Conv2d(3, 2, 3), nn.LayerNorm((2, 6, 6)), nn.Tanh(), head2d(2)), IMAGES),
    "rms norm": (nn.Sequential(nn.Linear(4, 4), nn.RMSNorm(4), nn.Tanh(), nn.Linear(4, 2)), ROWS),
    "rms norm by hand": (Function(rms, a=lin(4, 5), b=lin(5, 2), gain=parameter(5)), ROWS),
    "pooling": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.AvgPool2d(2, 1), nn.AdaptiveMaxPool2d(1), head2d(4)), IMAGES),
    "clone-aware flatten": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 2)), IMAGES),
    "flatten the other way": (
        Function(lambda m, x: m.b(m.a(x).tanh().permute(0, 2, 3, 1).flatten(1)), a=nn.Conv2d(3, 4, 3), b=lin(144, 2)),
        IMAGES,
    ),
    "residual and concat": (
        Function(lambda m, x: m.c(torch.cat([m.a(x) + m.b(x), m.b(x).tanh()], -1)), a=lin(4, 3), b=lin(4, 3), c=lin(6, 2)),
        ROWS,
    ),
    "concat with zeros": (Function(lambda m, x: m.b(torch.cat([m.a(x).tanh(), x.new_zeros(x.shape[0], 2)], -1)), a=lin(4, 3), b=lin(5, 2)), ROWS),
    "linear of one output": (Function(lambda m, x: m.b(m.a(x)) * (F.linear(m.a(x).tanh(), m.v) + m.c)[:, None], a=lin(4, 3), b=lin(3, 2), v=parameter(3), c=nn.Parameter(torch.tensor(0.3))), ROWS),
    "masked heads by hand": (
        Function(lambda m, x: m.o(((q := m.q(x).unflatten(-1, (2, 3)).transpose(1, 2)) @ q.mT).tril() @ q).mean((1, 2)), q=lin(4, 6), o=lin(3, 2)),
        TOKENS,
    ),
    "concat with the input": (Function(lambda m, x: m.b(torch.cat([x, m.a(x).tanh()], -1)), a=lin(4, 3), b=lin(7, 2)), ROWS),
    "split and narrow": (
        Function(lambda m, x: m.b(m.a(x)[:, :3] * m.a(x)[:, 3:]) + m.c(m.a(x).split([2, 4], 1)[1]), a=lin(4, 6), b=lin(3, 2), c=lin(4, 2)),
        ROWS,
    ),
    "stack and sum": (Function(lambda m, x: m.b(torch.stack([m.a(x), m.a(x).tanh()], 1).sum(1)), a=lin(4, 3), b=lin(3, 2)), ROWS),
    "sum over units": (Function(lambda m, x: m.b(m.a(x)) * m.a(x).sum(-1, keepdim=True), a=lin(4, 3), b=lin(3, 2)), ROWS),
    "cosine": (Function(lambda m, x: m.b(F.normalize(m.a(x), dim=-1)), a=lin(4, 3), b=lin(3, 2)), ROWS),
    "gate and squeeze": (
        Function(lambda m, x: m.h(m.a(x) * m.s(m.a(x).mean((2, 3))).sigmoid()[:, :, None, None]), a=nn.Conv2d(3, 4, 1), s=lin(4, 4), h=head2d(4)),
        IMAGES,
    ),
    "parameters outside modules": (
        Function(lambda m, x: F.linear(F.relu(x @ m.w + m.bias), m.v), w=parameter(4, 5), bias=parameter(5), v=parameter(2, 5)),
        ROWS,
    ),
    "tied weights": (Function(lambda m, x: F.linear(F.linear(x, m.w).tanh(), m.w.t()), w=parameter(3, 4)), ROWS),
    "low-rank adapter": (Function(lambda m, x: m.b(F.linear(m.a(x), m.w + m.u @ m.d)), a=lin(4, 4), w=parameter(3, 4), u=parameter(3, 2), d=parameter(2, 4), b=lin(3, 2)), ROWS),
    "class token": (
        Function(lambda m, x: m.b(torch.cat([m.cls.expand(x.shape[0], -1, -1), m.a(x)], 1) + m.pos)[:, 0], cls=parameter(1, 1, 3), pos=parameter(1, 6, 3), a=lin(4, 3), b=lin(3, 2)),
        TOKENS,
    ),
    "multi-head attention": (
        Function(lambda m, x: m.h(m.att(m.e(x), m.e(x), m.e(x), need_weights=False)[0]), e=lin(4, 6), att=nn.MultiheadAttention(6, 2, batch_first=True), h=lin(6, 2)),
        TOKENS,
    ),
    "cross attention with weights": (
        Function(lambda m, x: m.h(m.att(m.e(x), x, x)[0]), e=lin(4, 6), att=nn.MultiheadAttention(6, 2, kdim=4, vdim=4, batch_first=True), h=lin(6, 2)),
        TOKENS,
    ),
    "attention by einsum": (Function(attention_by_einsum, q=lin(4, 6), k=lin(4, 6), v=lin(4, 6), o=lin(6, 2)), TOKENS),
    "attention by matmul": (Function(attention_by_matmul, qkv=lin(4, 18), o=lin(6, 2)), TOKENS),
    "grouped-query attention": (Function(grouped_query, q=lin(4, 8), k=lin(4, 4), v=lin(4, 4), o=lin(8, 2)), TOKENS),
    "transformer layer": (nn.Sequential(nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=True), nn.Linear(4, 2)), TOKENS),
    "resampling": (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Upsample(scale_factor=2), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(392, 2)), IMAGES),
    "lstm": (Function(lambda m, x: m.o(m.r(x)[0][:, -1]), r=nn.LSTM(4, 3, batch_first=True), o=lin(3, 2)), STEPS),
    "gru both ways": (Function(lambda m, x: m.o(m.r(x)[0][1]), r=nn.GRU(4, 3, 2, bidirectional=True), o=lin(6, 2)), STEPS),
    "rnn without biases": (Function(lambda m, x: m.o(m.r(x)[1][0]), r=nn.RNN(4, 3, bias=False, nonlinearity="relu"), o=lin(3, 2)), STEPS),
    "lstm of one sequence": (Function(lambda m, x: m.o(m.r(m.e(x))[1][1][0] * m.r(x)[0]), e=lin(4, 4), r=nn.LSTM(4, 3), o=lin(3, 2)), ROWS[:3]),
    "lstm from a state": (Function(lambda m, x: m.o(m.r(x, (m.s(x[:, 0])[None], m.s(x[:, 1])[None]))[0]), r=nn.LSTM(4, 3, batch_first=True), s=lin(4, 3), o=lin(3, 2)), STEPS),
    "weight norm": (nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), nn.Tanh(), torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 2), dim=1)), ROWS),
    "weight norm of convolutions": (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Tanh(), torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 3, 3)), nn.Tanh(), head2d(3)), IMAGES),
    "bilinear of tokens": (Function(lambda m, x: m.o(m.b(m.a(x), m.c(x)).tanh()), a=lin(4, 3), c=lin(4, 4), b=nn.Bilinear(3, 4, 3), o=lin(3, 2)), TOKENS),
    "grouped transposed": (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Tanh(), nn.ConvTranspose2d(4, 6, 2, groups=2), nn.Tanh(), head2d(6)), IMAGES),
    "table in a bag": (Function(lambda m, x: m.o(m.t((x[:, :2] > 0).long()).tanh()), t=nn.EmbeddingBag(3, 4, mode="sum"), o=lin(4, 2)), ROWS),
    "last tokens": (Function(lambda m, x: m.o(m.a(x).tanh()[:, -2:].mean(1)), a=lin(4, 3), o=lin(3, 2)), TOKENS),
    "in-place": (nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)), ROWS),
}  # fmt: skip


@pytest.fixture(scope="module")
def tripled():
    """Clones, made once; put back by those who change them."""
    made = {}

    def clone_of(name, jitter):
        if name not in made:
            model, batch = MODELS[name]
            jitter(model, 0.1)
            made[name] = expand(model, 3, example_input=batch)
        return made[name]

    return clone_of


@pytest.mark.claim("module-certificate")
@pytest.mark.parametrize("name", MODELS)
def test_expanded_model_is_certified_against_its_base_in_both_modes(name, tripled, jitter):
    (model, batch), clone = MODELS[name], tripled(name, jitter)
    assert sum(p.numel() for p in clone.parameters()) > sum(p.numel() for p in model.parameters())
    for training in (True, False):
        verdict = certify(clone.train(training), base=model.train(training), example_input=batch)
        assert verdict, verdict
    with torch.no_grad():
        larger = torch.cat([batch, batch.flip(0), batch]) if "matmul" not in name else batch
        torch.testing.assert_close(clone(larger), model(larger), rtol=0, atol=1e-12)


def weighed(model, batch):
    """Every weighted sum of the traced model: its program, node, effect and the width classes."""
    found = widths(model, batch, both_modes=False)
    (mode,) = found.modes.values()
    for node, effects in found.plan.effects.items():
        for effect in effects:
            if isinstance(effect, Contraction):
                yield found.plan, mode, node, effect


@pytest.mark.parametrize(
    "name", [name for name in MODELS if not name.startswith(("activations", "lstm", "gru", "rnn"))]
)
def test_sums_name_their_axes_where_the_operator_has_them(name):
    """Sizes of the roles are the weight's shape; the data's axis is the first that is summed (times groups); what is
    kept is an axis of the result. (Recurrent layers sum hidden states that are no operand.)"""
    model, batch = MODELS[name]
    for plan, mode, node, effect in weighed(model.double().eval(), batch):
        data, weight = (argument_of(node, operand) for operand in (effect.data, effect.weight))
        sizes = [plan.size(axis) for _, axis in effect.roles]
        assert prod(sizes) == prod(mode.recording.sizes[weight.name])
        summed = [axis for role, axis in effect.roles if role == "summed"]
        shared = [plan.size(axis) for role, axis in effect.roles[:1] if role == "shared"]
        along = mode.axes[data.name][effect.data_dim]
        assert plan.size(along) in {plan.size(summed[0]), plan.size(summed[0]) * prod(shared)}
        assert set(plan.leaves(summed[0])) <= set(plan.leaves(along)) or plan.size(summed[0]) == 1
        result = {leaf for axis in mode.axes[node.name] for leaf in plan.leaves(axis)}
        for axis in [axis for role, axis in effect.roles if role == "kept"]:
            assert set(plan.leaves(axis)) <= result or plan.size(axis) == 1


@pytest.mark.claim("module-certificate")
def test_every_activation_lets_its_units_be_cloned_and_shows_one_that_is_off(tripled, jitter):
    (_, batch), clone = MODELS["activations"], tripled("activations", jitter)
    assert [(a.out_features, b.in_features) for a, b in zip(clone.a, clone.b, strict=True)] == [(12, 12)] * 24
    assert [tuple(p.shape) for p in clone.acts.parameters()] == [(1,), (12,)]  # of PReLU
    with restored(clone):
        with torch.no_grad():
            for layer in clone.a:
                layer.bias[1] += 1e-3
        found = {offence.module for offence in certificate(clone, example_input=batch).symbolic}
    assert found == {f"a.{k}" for k in range(24)}


@pytest.mark.claim("module-certificate")
@pytest.mark.parametrize("name", ["conv2d stride dilation", "grouped", "tied weights"])
def test_clones_may_be_redistributed_inside_the_equitable_space(name, jitter):
    model, batch = MODELS[name]
    jitter(model, 0.1)
    tiled, spread = (expand(model, 2, example_input=batch, redistribute=seed) for seed in (None, 7))
    changed = [k for k, v in spread.state_dict().items() if not torch.equal(v, tiled.state_dict()[k])]
    assert bool(changed) == (name != "tied weights")  # a weight with two uses would have to satisfy both
    assert certify(spread, base=model, example_input=batch)


def test_an_operator_without_a_rule_is_named_and_can_be_given_one():
    model = Function(lambda m, x: m.b(torch.special.i0(m.a(x))), a=lin(4, 3), b=lin(3, 2)).double()
    with pytest.raises(UnsupportedOperation, match=r"special_i0.*rules="):
        expand(model, 2, example_input=ROWS)
    rules = {torch.ops.aten.special_i0: lambda call: call["self"].axes}
    clone = expand(model, 2, example_input=ROWS, rules=rules)
    assert certify(clone, base=model, example_input=ROWS, rules=rules)


def test_a_model_without_hidden_width_is_refused():
    with pytest.raises(ValueError, match="no width"):
        expand(nn.Linear(4, 2).double(), 2, example_input=ROWS)
