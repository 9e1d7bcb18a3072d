# ruff: noqa: E501
"""Tiny models in plain torch.nn, as people write them: layers, networks, agents, operators."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

GENERATOR = torch.Generator().manual_seed(0)
ROWS = torch.randn(6, 5, generator=GENERATOR)
TOKENS = torch.randn(3, 6, 5, generator=GENERATOR)
IMAGES = torch.randn(2, 3, 8, 8, generator=GENERATOR)
SIGNAL = torch.randn(2, 3, 12, generator=GENERATOR)
VOLUME = torch.randn(2, 3, 4, 4, 4, generator=GENERATOR)
WORDS = torch.randint(0, 20, (3, 6), generator=GENERATOR)


class Function(nn.Module):
    """A model whose forward is a function of itself and its inputs."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)


def lin(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs)


def table(*shape: int) -> nn.Parameter:
    return nn.Parameter(0.5 * torch.randn(*shape, generator=torch.Generator().manual_seed(2)))


def mlp(activation: nn.Module, norm: nn.Module | None = None) -> nn.Module:
    return nn.Sequential(lin(5, 4), norm or nn.Identity(), activation, lin(4, 4), nn.Tanh(), lin(4, 3))


def head(width: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), lin(width, 2))


def layers(**parts: int | tuple[int, int]) -> dict[str, nn.Module]:
    return {name: lin(*sizes) for name, sizes in parts.items()}  # type: ignore[misc]


def recurrence(m: Any, x: Any) -> Any:
    h = x.new_zeros(x.shape[0], 4)
    for t in range(x.shape[1]):
        h = torch.tanh(m.a(x[:, t]) + m.r(h))
    return m.o(h)


def gated_recurrence(m: Any, x: Any) -> Any:
    h = torch.zeros(x.shape[0], 4, dtype=x.dtype)
    outputs = []
    for t in range(x.shape[1]):
        z, r = torch.sigmoid(m.z(x[:, t]) + m.uz(h)), torch.sigmoid(m.r(x[:, t]) + m.ur(h))
        h = (1 - z) * h + z * torch.tanh(m.h(x[:, t]) + m.uh(r * h))
        outputs.append(h)
    return m.o(torch.stack(outputs, 1))


def filled_buffer(m: Any, x: Any) -> Any:
    out = x.new_zeros(x.shape[0], x.shape[1], 4)
    for t in range(x.shape[1]):
        out[:, t] = torch.sin(m.a(x[:, t]))
    return m.o(out)


def attention(m: Any, x: Any, bias: Any = None) -> Any:
    b, t, _ = x.shape
    q, k, v = (f(x).view(b, t, 2, 3).transpose(1, 2) for f in (m.q, m.k, m.v))
    weights = q @ k.transpose(-2, -1) / math.sqrt(3)
    if bias is not None:
        weights = weights + bias
    return m.o((weights.softmax(-1) @ v).transpose(1, 2).reshape(b, t, 6))


def causal(m: Any, x: Any) -> Any:
    t = x.shape[1]
    return attention(m, x, torch.full((t, t), float("-inf"), dtype=x.dtype).triu(1))


def alibi(m: Any, x: Any) -> Any:
    t = torch.arange(x.shape[1], dtype=x.dtype)
    return attention(m, x, -(t[:, None] - t[None, :]).abs())


def rotary(m: Any, x: Any) -> Any:
    b, t, _ = x.shape
    q, k, v = (f(x).view(b, t, 2, 4).transpose(1, 2) for f in (m.q, m.k, m.v))
    angles = torch.arange(t, dtype=x.dtype)[:, None] * torch.tensor([1.0, 0.1], dtype=x.dtype).repeat(2)

    def turned(h: Any) -> Any:
        a, b = h.chunk(2, -1)
        return h * angles.cos() + torch.cat([-b, a], -1) * angles.sin()

    out = F.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True)
    return m.o(out.transpose(1, 2).reshape(b, t, 8))


def linear_attention(m: Any, x: Any) -> Any:
    q, k, v = (F.elu(m.q(x)) + 1, F.elu(m.k(x)) + 1, m.v(x))
    state = torch.einsum("btd,bte->bde", k, v)
    return m.o(torch.einsum("btd,bde->bte", q, state) / torch.einsum("btd,bd->bt", q, k.sum(1))[..., None])


def mixture(m: Any, x: Any) -> Any:
    gate = m.gate(x).softmax(-1)
    experts = torch.stack([torch.relu(e(x)) for e in m.experts], -1)
    return m.o((experts * gate[..., None, :]).sum(-1))


def top_k(m: Any, x: Any) -> Any:
    weights, chosen = m.gate(x).softmax(-1).topk(2, -1)
    experts = torch.stack([torch.relu(e(x)) for e in m.experts], 1)
    index = chosen[..., None].expand(-1, -1, experts.shape[-1])
    return m.o((torch.gather(experts, 1, index) * weights[..., None]).sum(1))


def graph_convolution(m: Any, x: Any) -> Any:
    adjacency = torch.eye(6, dtype=x.dtype).roll(1, 0) + torch.eye(6, dtype=x.dtype)
    return m.o(adjacency @ torch.relu(adjacency @ m.a(x)))


def messages(m: Any, x: Any) -> Any:
    source, target = torch.tensor([0, 1, 2, 3, 4, 5, 0]), torch.tensor([1, 2, 3, 4, 5, 0, 3])
    h = torch.relu(m.a(x))
    return m.o(torch.zeros_like(h).index_add(0, target, h[source]))


def kan(m: Any, x: Any) -> Any:
    basis = torch.exp(-((x[..., None] - torch.linspace(-1, 1, 4, dtype=x.dtype)) ** 2))
    h = torch.einsum("bik,oik->bo", basis, m.w)
    return m.o(F.silu(h))


def unet(m: Any, x: Any) -> Any:
    a = torch.relu(m.down(x))
    b = torch.relu(m.mid(F.max_pool2d(a, 2)))
    return m.out(torch.cat([a, F.interpolate(b, scale_factor=2, mode="bilinear", align_corners=False)], 1))


def mixer(m: Any, x: Any) -> Any:
    h = m.e(x)
    h = h + m.t2(F.gelu(m.t1(h.transpose(1, 2)))).transpose(1, 2)
    return m.o((h + m.c2(F.gelu(m.c1(m.n(h))))).mean(1))


def vae(m: Any, x: Any) -> Any:
    mean, logvar = m.enc(x).tanh().split(2, -1)
    return m.dec2(torch.relu(m.dec1(mean))), mean, logvar


def actor_critic(m: Any, x: Any) -> Any:
    h = torch.tanh(m.b(torch.tanh(m.a(x))))
    return m.pi(h).log_softmax(-1), m.v(h).squeeze(-1)


def twin_critic(m: Any, state: Any, action: Any) -> Any:
    x = torch.cat([state, action], -1)
    return torch.min(m.q1(torch.relu(m.a1(x))), m.q2(torch.relu(m.a2(x))))


def squashed(m: Any, x: Any) -> Any:
    mean, log_std = m.o(torch.relu(m.a(x))).chunk(2, -1)
    return torch.tanh(mean), log_std.clamp(-5, 2).exp()


def dueling(m: Any, x: Any) -> Any:
    h = torch.relu(m.a(x))
    advantage = m.adv(torch.relu(m.h1(h)))
    return m.val(torch.relu(m.h2(h))) + advantage - advantage.mean(-1, keepdim=True)


def film(m: Any, x: Any, z: Any) -> Any:
    scale, shift = m.c(z).chunk(2, -1)
    return m.o(torch.relu(m.a(x) * (1 + scale) + shift))


def without_gradient(m: Any, x: Any) -> Any:
    with torch.no_grad():
        target = torch.tanh(m.a(x)).abs()
    return m.o(torch.tanh(m.a(x)) + target)


def half_norm(m: Any, x: Any) -> Any:
    h = m.a(x)
    h32 = h.to(torch.float32)
    return m.o((h32 * torch.rsqrt(h32.pow(2).mean(-1, keepdim=True) + 1e-6)).to(h.dtype))


def shared_activation() -> nn.Module:
    act = nn.ReLU()
    return nn.Sequential(lin(5, 4), act, lin(4, 4), act, lin(4, 3))


def tied_autoencoder(m: Any, x: Any) -> Any:
    return F.linear(torch.tanh(F.linear(x, m.w, m.b)), m.w.t())


def squeeze_excite(m: Any, x: Any) -> Any:
    h = m.a(x)
    gate = torch.sigmoid(m.s2(torch.relu(m.s1(h.mean((2, 3))))))
    return m.h(h * gate[:, :, None, None])


def norms() -> dict[str, Callable[[], Any]]:
    made: dict[str, Callable[[], nn.Module]] = {
        "batch": lambda: nn.BatchNorm2d(4), "group": lambda: nn.GroupNorm(2, 4), "instance": lambda: nn.InstanceNorm2d(4, affine=True),
        "layer": lambda: nn.GroupNorm(1, 4), "local": nn.Identity,
    }  # fmt: skip
    return {
        f"cnn {name}": lambda make=make: (
            nn.Sequential(nn.Conv2d(3, 4, 3), make(), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 6, 2), nn.GELU(), head(6)), IMAGES
        )
        for name, make in made.items()
    }  # fmt: skip


ACTIVATIONS = (
    "ReLU LeakyReLU ELU SELU CELU GELU SiLU Mish Softplus Hardswish Hardsigmoid Tanh Sigmoid Softsign ReLU6 PReLU Hardtanh Tanhshrink LogSigmoid"
).split()

ATTENTION = {"q": (5, 6), "k": (5, 6), "v": (5, 6), "o": (6, 2)}

PLAIN: dict[str, Callable[[], Any]] = {
    **{f"mlp {name}": lambda name=name: (mlp(getattr(nn, name)()), ROWS) for name in ACTIVATIONS},
    "mlp batch norm": lambda: (mlp(nn.ReLU(), nn.BatchNorm1d(4)), ROWS),
    "mlp layer norm": lambda: (mlp(nn.ReLU(), nn.LayerNorm(4)), ROWS),
    "mlp rms norm": lambda: (mlp(nn.ReLU(), nn.RMSNorm(4)), ROWS),
    "mlp weight norm": lambda: (nn.Sequential(nn.utils.parametrizations.weight_norm(lin(5, 4)), nn.Tanh(), lin(4, 3)), ROWS),
    "mlp spectral norm": lambda: (nn.Sequential(nn.utils.parametrizations.spectral_norm(lin(5, 4)), nn.Tanh(), lin(4, 4), nn.Tanh(), lin(4, 3)), ROWS),
    "shared activation": lambda: (shared_activation(), ROWS),
    "siren": lambda: (Function(lambda m, x: m.o(torch.sin(3 * m.b(torch.sin(3 * m.a(x))))), **layers(a=(5, 4), b=(4, 4), o=(4, 2))), ROWS),
    "kan": lambda: (Function(kan, w=table(4, 5, 4), o=lin(4, 2)), ROWS),
    "highway": lambda: (Function(lambda m, x: m.o((g := torch.sigmoid(m.t(h := m.e(x)))) * torch.relu(m.h(h)) + (1 - g) * h), **layers(e=(5, 4), t=(4, 4), h=(4, 4), o=(4, 2))), ROWS),
    "residual mlp": lambda: (Function(lambda m, x: m.o(m.b(torch.relu(m.a(h := m.e(x)))) + h), **layers(e=(5, 4), a=(4, 6), b=(6, 4), o=(4, 2))), ROWS),
    "dense net": lambda: (Function(lambda m, x: m.o(torch.cat([h := torch.relu(m.a(x)), torch.relu(m.b(h)), x], -1)), **layers(a=(5, 4), b=(4, 3), o=(12, 2))), ROWS),
    "swiglu": lambda: (Function(lambda m, x: m.d(F.silu(m.g(x)) * m.u(x)), **layers(g=(5, 4), u=(5, 4), d=(4, 2))), ROWS),
    "geglu": lambda: (Function(lambda m, x: m.d((h := m.u(x).chunk(2, -1))[0] * F.gelu(h[1])), **layers(u=(5, 8), d=(4, 2))), ROWS),
    "glu": lambda: (nn.Sequential(lin(5, 8), nn.GLU(), lin(4, 2)), ROWS),
    "maxout": lambda: (Function(lambda m, x: m.o(torch.max(m.a(x), m.b(x))), **layers(a=(5, 4), b=(5, 4), o=(4, 2))), ROWS),
    "bilinear": lambda: (Function(lambda m, x: m.o(torch.tanh(m.b(m.a(x), m.c(x)))), a=lin(5, 3), c=lin(5, 3), b=nn.Bilinear(3, 3, 4), o=lin(4, 2)), ROWS),
    "cosine similarity": lambda: (Function(lambda m, x: F.cosine_similarity(m.a(x), m.b(x), -1), **layers(a=(5, 4), b=(5, 4))), ROWS),
    "contrastive": lambda: (Function(lambda m, x: F.normalize(m.a(x), dim=-1) @ F.normalize(m.b(x), dim=-1).mT, **layers(a=(5, 4), b=(5, 4))), ROWS),
    "radial basis": lambda: (Function(lambda m, x: m.o(torch.exp(-torch.cdist(m.a(x), m.c).square())), a=lin(5, 3), c=table(4, 3), o=lin(4, 2)), ROWS),
    "hypernetwork": lambda: (Function(lambda m, x: torch.bmm(m.w(torch.tanh(m.a(x))).view(-1, 2, 5), x[:, :, None])[..., 0], **layers(a=(5, 4), w=(4, 10))), ROWS),
    "film": lambda: (Function(film, **layers(a=(5, 4), c=(5, 8), o=(4, 2))), (ROWS, 2 * ROWS)),
    "mixture": lambda: (Function(mixture, gate=lin(5, 3), experts=nn.ModuleList([lin(5, 4) for _ in range(3)]), o=lin(4, 2)), ROWS),
    "top-k mixture": lambda: (Function(top_k, gate=lin(5, 3), experts=nn.ModuleList([lin(5, 4) for _ in range(3)]), o=lin(4, 2)), ROWS),
    "low rank": lambda: (Function(lambda m, x: m.o(torch.tanh(m.w(x) + m.b(m.a(x)))), **layers(w=(5, 4), a=(5, 2), b=(2, 4), o=(4, 2))), ROWS),
    "tied autoencoder": lambda: (Function(tied_autoencoder, w=table(4, 5), b=table(4)), ROWS),
    "autoencoder": lambda: (nn.Sequential(lin(5, 4), nn.ReLU(), lin(4, 2), nn.ReLU(), lin(2, 4), nn.ReLU(), lin(4, 5)), ROWS),
    "variational": lambda: (Function(vae, **layers(enc=(5, 4), dec1=(2, 4), dec2=(4, 5))), ROWS),
    "no grad": lambda: (Function(without_gradient, **layers(a=(5, 4), o=(4, 2))), ROWS),
    "float32 norm": lambda: (Function(half_norm, **layers(a=(5, 4), o=(4, 2))), ROWS),
    "keywords": lambda: (Function(lambda m, image, meta: m.o(torch.tanh(m.a(image)) + torch.sin(m.a(meta))), **layers(a=(5, 4), o=(4, 2))), {"image": ROWS, "meta": 2 * ROWS}),
    "python arguments": lambda: (Function(lambda m, x, scale=1.0, double=False: m.o(torch.tanh(m.a(x)) * (2 if double else 1)) / scale, **layers(a=(5, 4), o=(4, 2))), {"x": ROWS, "scale": 2.0}),
    "ppo": lambda: (Function(actor_critic, **layers(a=(5, 4), b=(4, 4), pi=(4, 3), v=(4, 1))), ROWS),
    "dqn": lambda: (nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 4, 2), nn.ReLU(), nn.Flatten(), lin(16, 6), nn.ReLU(), lin(6, 3)), IMAGES),
    "dueling dqn": lambda: (Function(dueling, **layers(a=(5, 4), h1=(4, 4), h2=(4, 4), adv=(4, 3), val=(4, 1))), ROWS),
    "sac critic": lambda: (Function(twin_critic, **layers(a1=(8, 4), a2=(8, 4), q1=(4, 1), q2=(4, 1))), {"state": ROWS, "action": ROWS[:, :3]}),
    "sac actor": lambda: (Function(squashed, **layers(a=(5, 4), o=(4, 4))), ROWS),
    "graph convolution": lambda: (Function(graph_convolution, **layers(a=(5, 4), o=(4, 2))), ROWS),
    "message passing": lambda: (Function(messages, **layers(a=(5, 4), o=(4, 2))), ROWS),
    "deep sets": lambda: (Function(lambda m, x: m.o(torch.relu(m.b(torch.relu(m.a(x)).sum(1)))), **layers(a=(5, 4), b=(4, 4), o=(4, 2))), TOKENS),
    "text cnn": lambda: (Function(lambda m, w: m.o(torch.relu(m.c(m.e(w).transpose(1, 2))).amax(-1)), e=nn.Embedding(20, 4), c=nn.Conv1d(4, 6, 3), o=lin(6, 2)), WORDS),
    "bag of words": lambda: (Function(lambda m, w: m.o(torch.tanh(m.e(w))), e=nn.EmbeddingBag(20, 4), o=lin(4, 2)), WORDS),
    "mean of words": lambda: (Function(lambda m, w: m.o(torch.tanh(m.a(m.e(w).mean(1)))), e=nn.Embedding(20, 4), a=lin(4, 4), o=lin(4, 2)), WORDS),
    "recurrence": lambda: (Function(recurrence, **layers(a=(5, 4), r=(4, 4), o=(4, 2))), TOKENS),
    "gated recurrence": lambda: (Function(gated_recurrence, **layers(z=(5, 4), r=(5, 4), h=(5, 4), uz=(4, 4), ur=(4, 4), uh=(4, 4), o=(4, 2))), TOKENS),
    "rnn": lambda: (Function(lambda m, x: m.o(m.r(x)[0]), r=nn.RNN(5, 4, batch_first=True), o=lin(4, 2)), TOKENS),
    "lstm": lambda: (Function(lambda m, x: m.o(m.r(x)[0]), r=nn.LSTM(5, 4, batch_first=True), o=lin(4, 2)), TOKENS),
    "lstm of two layers": lambda: (Function(lambda m, x: m.o(m.r(m.e(x))[0][:, -1]), e=lin(5, 3), r=nn.LSTM(3, 4, 2, batch_first=True), o=lin(4, 2)), TOKENS),
    "bidirectional lstm": lambda: (Function(lambda m, x: m.o(m.r(x)[0]), r=nn.LSTM(5, 4, batch_first=True, bidirectional=True), o=lin(8, 2)), TOKENS),
    "gru": lambda: (Function(lambda m, x: m.o(m.r(x)[0]), r=nn.GRU(5, 4, batch_first=True), o=lin(4, 2)), TOKENS),
    "filled buffer": lambda: (Function(filled_buffer, **layers(a=(5, 4), o=(4, 2))), TOKENS),
    "attention": lambda: (Function(attention, **layers(**ATTENTION)), TOKENS),
    "causal attention": lambda: (Function(causal, **layers(**ATTENTION)), TOKENS),
    "alibi": lambda: (Function(alibi, **layers(**ATTENTION)), TOKENS),
    "rotary attention": lambda: (Function(rotary, **layers(q=(5, 8), k=(5, 8), v=(5, 8), o=(8, 2))), TOKENS),
    "linear attention": lambda: (Function(linear_attention, **layers(**ATTENTION)), TOKENS),
    "multi-head attention": lambda: (Function(lambda m, x: m.o(m.a(h := m.e(x), h, h, need_weights=False)[0]), e=lin(5, 6), a=nn.MultiheadAttention(6, 2, batch_first=True), o=lin(6, 2)), TOKENS),
    "cross attention": lambda: (Function(lambda m, x, y: m.o(m.a(m.e(x), y, y)[0]), e=lin(5, 6), a=nn.MultiheadAttention(6, 2, kdim=5, vdim=5, batch_first=True), o=lin(6, 2)), (TOKENS, 2 * TOKENS)),
    "encoder layer": lambda: (nn.Sequential(lin(5, 6), nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True), lin(6, 2)), TOKENS),
    "encoder layer, norm first": lambda: (nn.Sequential(lin(5, 6), nn.TransformerEncoderLayer(6, 2, 8, 0.0, activation="gelu", batch_first=True, norm_first=True), lin(6, 2)), TOKENS),
    "decoder layer": lambda: (Function(lambda m, x, y: m.o(m.d(m.a(x), m.a(y))), a=lin(5, 6), d=nn.TransformerDecoderLayer(6, 2, 8, 0.0, batch_first=True), o=lin(6, 2)), (TOKENS, 2 * TOKENS)),
    "mixer": lambda: (Function(mixer, e=lin(5, 4), t1=lin(6, 7), t2=lin(7, 6), n=nn.LayerNorm(4), c1=lin(4, 6), c2=lin(6, 4), o=lin(4, 2)), TOKENS),
    **norms(),
    "conv 1d": lambda: (nn.Sequential(nn.Conv1d(3, 4, 3, 2), nn.ReLU(), nn.Conv1d(4, 4, 3, dilation=2), nn.ReLU(), nn.Flatten(), lin(4, 2)), SIGNAL),
    "temporal convolution": lambda: (Function(lambda m, x: m.o(torch.relu(m.c(F.pad(x, (2, 0)))).mean(-1)), c=nn.Conv1d(3, 4, 3), o=lin(4, 2)), SIGNAL),
    "conv 3d": lambda: (nn.Sequential(nn.Conv3d(3, 4, 2), nn.BatchNorm3d(4), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), lin(4, 2)), VOLUME),
    "conv transpose": lambda: (nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.ReLU(), nn.ConvTranspose2d(4, 4, 2, 2), nn.ReLU(), nn.Conv2d(4, 2, 1)), IMAGES),
    "depthwise": lambda: (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU6(), nn.Conv2d(4, 6, 1), head(6)), IMAGES),
    "grouped": lambda: (nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), head(6)), IMAGES),
    "pixel shuffle": lambda: (nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.PixelShuffle(2), nn.ReLU(), nn.Conv2d(2, 3, 1)), IMAGES),
    "pixel unshuffle": lambda: (nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.PixelUnshuffle(2), nn.Conv2d(8, 3, 1), head(3)), IMAGES),
    "u-net": lambda: (Function(unet, down=nn.Conv2d(3, 4, 3, padding=1), mid=nn.Conv2d(4, 6, 3, padding=1), out=nn.Conv2d(10, 2, 1)), IMAGES),
    "squeeze-excite": lambda: (Function(squeeze_excite, a=nn.Conv2d(3, 4, 1), s1=lin(4, 2), s2=lin(2, 4), h=head(4)), IMAGES),
    "spectral convolution": lambda: (Function(lambda m, x: m.o(torch.relu(torch.fft.irfft(torch.fft.rfft(m.a(x), dim=1), n=6, dim=1))), **layers(a=(5, 4), o=(4, 2))), TOKENS),
}  # fmt: skip
