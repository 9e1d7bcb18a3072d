"""Forms in two inputs, reparametrised weights, and channels that become pixels."""

from lop_theory.modules.interface import Axes, Call
from lop_theory.modules.rules.entrywise import broadcast
from lop_theory.modules.rules.rule_table import table


def bilinear(call: Call) -> Axes:
    """y_o = Σ_ij W_oij x_i z_j + b_o."""
    x, z, weight, bias = call["input1"], call["input2"], call["weight"], call["bias"]
    call.domain.tie(x.axes[-1], weight.axes[1])
    call.domain.tie(z.axes[-1], weight.axes[2])
    axes = tuple(call.domain.tie(a, b) for a, b in zip(x.axes[:-1], z.axes[:-1], strict=True))
    out = weight.axes[0] if bias is None else call.domain.tie(weight.axes[0], bias.axes[0])
    roles = [("kept", weight.axes[0]), ("summed", weight.axes[1]), ("summed", weight.axes[2])]
    call.contract("input1", -1, "weight", roles)
    return (*axes, out)


def cosine_similarity(call: Call) -> Axes:
    """⟨x, z⟩ / (|x| |z|): sums over the same axis in both, so equal multiplicities cancel."""
    x, z = call["x1"], call["x2"]
    rank = max(len(x.shape), len(z.shape))
    shape = tuple(max(s) for s in zip(*((1,) * (rank - len(o.shape)) + o.shape for o in (x, z)), strict=True))
    axes = broadcast(call, [x, z], shape)
    dim = call["dim"] % rank
    call.domain.average(axes[dim])
    return (*axes[:dim], *axes[dim + 1 :])


def distance(call: Call) -> Axes:
    """cdist: |x_p − z_r| over the last axis, which grows by multiplicity^(1/p)."""
    x, z, order = call["x1"], call["x2"], call["p"]
    width = call.domain.tie(x.axes[-1], z.axes[-1])
    if not 0 < order < float("inf"):
        call.domain.rigid(width)
    else:
        call.correct("x1", -1, width, power=1 / order)
        call.correct("x2", -1, width, power=1 / order)
    lead = [o._replace(shape=o.shape[:-2], axes=o.axes[:-2]) for o in (x, z)]
    return (*broadcast(call, lead, call.shape[:-2]), x.axes[-2], z.axes[-2])


def weight_norm(call: Call) -> Axes:
    """g v / |v|, the norm over all axes but one: it grows by multiplicity^(1/2), so g must, too."""
    v, g, dim = call["v"], call["g"], call["dim"] % len(call["v"].shape)
    axes = list(v.axes)
    axes[dim] = call.domain.tie(v.axes[dim], g.axes[dim])
    for d in set(range(len(axes))) - {dim}:
        call.domain.rigid(g.axes[d])
        call.correct("g", d, axes[d], power=-0.5)
    return tuple(axes)


def pixel_shuffle(call: Call) -> Axes:
    """Channels C·r·r become C: only the C may be cloned."""
    x, r = call["self"], call["upscale_factor"]
    channel, *inner = call.domain.split(x.axes[-3], [x.shape[-3] // (r * r), r, r])
    for axis in (*inner, *x.axes[-2:]):
        call.domain.rigid(axis)
    return (*x.axes[:-3], channel, *call.fresh(call.shape[-2:]))


def pixel_unshuffle(call: Call) -> Axes:
    x, r = call["self"], call["downscale_factor"]
    for axis in x.axes[-2:]:
        call.domain.rigid(axis)
    channel = call.domain.join([x.axes[-3], call.domain.new(r), call.domain.new(r)])
    return (*x.axes[:-3], channel, *call.fresh(call.shape[-2:]))


RULES = {
    **table(bilinear, "bilinear"),
    **table(cosine_similarity, "cosine_similarity"),
    **table(distance, "cdist"),
    **table(weight_norm, "_weight_norm"),
    **table(pixel_shuffle, "pixel_shuffle"),
    **table(pixel_unshuffle, "pixel_unshuffle"),
}
