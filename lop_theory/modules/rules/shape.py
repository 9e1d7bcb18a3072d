"""Reshapes, permutations, concatenation and splitting. Flattening is clone-aware: a product of partitions is a
partition."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

from lop_theory.modules.interface import Axes, Call, Cut, Domain, Offset
from lop_theory.modules.rules.rule_table import table


def reshape(call: Call) -> Axes:
    """view, reshape: axes of the row-major regrouping; literal sizes grow with their axes."""
    x = call["self"]
    axes = regroup(call.domain, x.axes, x.shape, call.shape)
    call.resize("shape" if "shape" in call.arguments else "size", axes)
    return axes


def flatten(call: Call) -> Axes:
    x = call["self"]
    return regroup(call.domain, x.axes, x.shape, call.shape)


def like(call: Call) -> Axes:
    """view_as, reshape_as: the sizes are the other operand's, so its axes grow alike."""
    return tuple(reduce(call.domain.tie, pair) for pair in zip(flatten(call), call["other"].axes, strict=True))


def unflatten(call: Call) -> Axes:
    axes = flatten(call)
    dim = call["dim"] % len(call["self"].shape)
    call.resize("sizes", axes[dim : dim + len(call["sizes"])])
    return axes


def regroup(domain: Domain, axes: Axes, old: Sequence[int], new: Sequence[int]) -> Axes:
    """Match old and new axes in groups of equal size; within a group, join and split."""
    result: list[Any] = []
    i = j = 0
    while i < len(old) and j < len(new):
        i0, j0 = i, j
        have, want = old[i], new[j]
        i, j = i + 1, j + 1
        while have != want:
            if have < want:
                have, i = have * old[i], i + 1
            else:
                want, j = want * new[j], j + 1
        result += _group(domain, axes[i0:i], new[j0:j])
    for axis in axes[i:]:
        domain.rigid(axis)
    return (*result, *(domain.new(1) for _ in new[j:]))


def _group(domain: Domain, axes: Axes, sizes: Sequence[int]) -> list[Any]:
    if len(axes) == 1 and len(sizes) == 1:
        return [axes[0]]
    return domain.split(domain.join(axes), sizes)


def permute(call: Call) -> Axes:
    x = call["self"]
    return tuple(x.axes[dim] for dim in call["dims"])


def transpose(call: Call) -> Axes:
    axes = list(call["self"].axes)
    if len(axes) > 1:
        a, b = call.get("dim0", 0), call.get("dim1", 1)
        axes[a], axes[b] = axes[b], axes[a]
    return tuple(axes)


def reverse(call: Call) -> Axes:
    return tuple(reversed(call["self"].axes))


def movedim(call: Call) -> Axes:
    axes = list(call["self"].axes)
    source, target = (_listed(call[name]) for name in ("source", "destination"))
    n = len(axes)
    order = [d for d in range(n) if d not in {s % n for s in source}]
    for to, frm in sorted((t % n, s % n) for t, s in zip(target, source, strict=True)):
        order.insert(to, frm)
    return tuple(axes[d] for d in order)


def _listed(value: int | list[int]) -> list[int]:
    return value if isinstance(value, list) else [value]


def squeeze(call: Call) -> Axes:
    x = call["self"]
    dims = {d % len(x.shape) for d in _listed(call.get("dim", list(range(len(x.shape)))))}
    gone = {d for d in dims if x.shape[d] == 1}
    for d in gone:
        call.domain.rigid(x.axes[d])
    return tuple(axis for d, axis in enumerate(x.axes) if d not in gone)


def unsqueeze(call: Call) -> Axes:
    axes = list(call["self"].axes)
    axes.insert(call["dim"] % (len(axes) + 1), call.domain.new(1))
    return tuple(axes)


def expand(call: Call) -> Axes:
    """A broadcast axis becomes a new one along which the value is constant; ``expand_as`` takes the other's."""
    x, shape = call["self"], call.shape
    lead = len(shape) - len(x.shape)
    axes = [*(call["other"].axes if "other" in call.arguments else map(call.domain.constant, shape))]
    for dim, (axis, size) in enumerate(zip(x.axes, x.shape, strict=True), start=lead):
        if size == shape[dim]:
            axes[dim] = call.domain.tie(axis, axes[dim])
        else:
            call.domain.rigid(axis)
    if "size" in call.arguments:
        call.resize("size", tuple(axes))
    return tuple(axes)


def select(call: Call) -> Axes:
    x = call["self"]
    dim = call["dim"] % len(x.shape)
    call.domain.rigid(x.axes[dim])
    return (*x.axes[:dim], *x.axes[dim + 1 :])


def unbind(call: Call) -> list[Axes]:
    return [select(call) for _ in call.output]


def narrow(call: Call, size: int | None = None) -> Axes:
    """slice: the part of a sum of axes; a stride other than 1 asks for an axis that is not cloned, and so
    does a part without entries."""
    x = call["self"]
    dim = call["dim"] % len(x.shape)
    n, size, start = x.shape[dim], call.shape[dim] if size is None else size, call["start"] or 0
    if size == n and call["step"] == 1:
        if start < 0:
            call.domain.rigid(x.axes[dim])
        call.domain.record(call, Offset("end", (x.axes[dim],)))
        return x.axes
    if not size or call["step"] != 1 or not call.domain.cloned(x.axes[dim]):
        call.domain.rigid(x.axes[dim])
        return (*x.axes[:dim], call.domain.new(size), *x.axes[dim + 1 :])
    first = max(start + n if start < 0 else start, 0)
    pieces = call.domain.parts(x.axes[dim], [s for s in (first, size, n - first - size) if s])
    before, part = (pieces[0],) if first else (), pieces[1 if first else 0]
    call.domain.record(call, Offset("start", before))
    call.domain.record(call, Offset("end", (*before, part)))
    return (*x.axes[:dim], part, *x.axes[dim + 1 :])


def split(call: Call) -> list[Axes]:
    x = call["self"]
    dim = call["dim"] % len(x.shape)
    sizes = [shape[dim] for shape in call.output]
    pieces = call.domain.parts(x.axes[dim], sizes)
    call.domain.record(call, Cut(dim, tuple(pieces)))
    return [(*x.axes[:dim], piece, *x.axes[dim + 1 :]) for piece in pieces]


def select_scatter(call: Call) -> Axes:
    """A tensor with one position overwritten: positions must not be cloned."""
    x = call["self"]
    dim = call["dim"] % len(x.shape)
    call.domain.rigid(x.axes[dim])
    rest = [call.domain.tie(a, b) for a, b in zip(_without(x.axes, dim), call["src"].axes, strict=True)]
    return (*rest[:dim], call.domain.new(x.shape[dim]), *rest[dim:])


def slice_scatter(call: Call) -> Axes:
    """A tensor with a part of one axis overwritten."""
    x, source = call["self"], call["src"]
    dim = call["dim"] % len(x.shape)
    axes = [call.domain.tie(a, b) for a, b in zip(narrow(call, source.shape[dim]), source.axes, strict=True)]
    if source.shape[dim] < x.shape[dim]:
        axes[dim : dim + 1] = call.varying(x.axes[dim])
    return tuple(axes)


def cat(call: Call) -> Axes:
    dim = call["dim"] % len(call.shape)
    tensors = [t for t in call["tensors"] if t.shape != (0,)]
    axes = [reduce(call.domain.tie, same) for same in zip(*(_without(t.axes, dim) for t in tensors), strict=True)]
    joined = [t.axes[dim] for t in tensors if t.shape[dim] or not call.shape[dim]]
    return (*axes[:dim], call.domain.concat(joined), *axes[dim:])


def _without(axes: Axes, dim: int) -> Axes:
    return (*axes[:dim], *axes[dim + 1 :])


def stack(call: Call) -> Axes:
    tensors = call["tensors"]
    axes = [reduce(call.domain.tie, same) for same in zip(*(t.axes for t in tensors), strict=True)]
    axes.insert(call["dim"] % (len(axes) + 1), call.domain.new(len(tensors)))
    return tuple(axes)


def repeat(call: Call) -> Axes:
    x, repeats = call["self"], call["repeats"]
    lead = len(repeats) - len(x.shape)
    axes = [*call.fresh(repeats[:lead]), *x.axes]
    return tuple(
        axis if times == 1 or d < lead else call.domain.join([call.domain.new(times), axis])
        for d, (axis, times) in enumerate(zip(axes, repeats, strict=True))
    )


def repeat_interleave(call: Call) -> Axes:
    x = call["self"]
    if call.get("dim") is None:  # the whole tensor in one row
        for axis in x.axes:
            call.domain.rigid(axis)
        return call.fresh()
    dim = call["dim"] % len(x.shape)
    times = call.shape[dim] // x.shape[dim]
    return (*x.axes[:dim], call.domain.join([x.axes[dim], call.domain.new(times)]), *x.axes[dim + 1 :])


def along(call: Call) -> Axes | list[Axes]:
    """Operators that mix the coordinates of some axes in an order: those axes must not be cloned."""
    x = call["self"]
    whole = list(range(len(x.shape)))
    dims = {d % len(x.shape) for d in _listed(call.get("dim", call.get("dims", whole)))}
    return _mixed(call, dims)


def roll(call: Call) -> Axes | list[Axes]:
    """Along its dimensions; without them all coordinates, in one row."""
    return along(call) if call["dims"] else _mixed(call, set(range(len(call.shape))))


def _mixed(call: Call, dims: set[int]) -> Axes | list[Axes]:
    x = call["self"]
    shapes = call.output if isinstance(call.output, list) else [call.output]
    for d in dims:
        call.domain.rigid(x.axes[d])
    results = [
        tuple(call.domain.new(shape[d]) if d in dims else axis for d, axis in enumerate(x.axes)) for shape in shapes
    ]
    return results if isinstance(call.output, list) else results[0]


def triangle(call: Call) -> Axes:
    """triu, tril of the last two axes."""
    x = call["self"]
    for axis in x.axes[-2:]:
        call.domain.rigid(axis)
    return (*x.axes[:-2], *call.fresh(call.shape[-2:]))


def pad(call: Call) -> Axes:
    x = call["self"]
    padded = {len(x.shape) - 1 - k // 2 for k, amount in enumerate(call["pad"]) if amount}
    for d in padded:
        call.domain.rigid(x.axes[d])
    return tuple(call.domain.new(call.shape[d]) if d in padded else axis for d, axis in enumerate(x.axes))


def filled(call: Call) -> Axes:
    """zeros, new_full and friends: one constant, along axes that fit every partition."""
    axes = tuple(call.domain.constant(size) for size in call.shape)
    call.resize("size", axes)
    return axes


RULES = {
    **table(reshape, "view reshape _unsafe_view"),
    **table(flatten, "flatten"),
    **table(like, "view_as reshape_as"),
    **table(unflatten, "unflatten"),
    **table(permute, "permute"),
    **table(transpose, "transpose t swapaxes swapdims"),
    **table(reverse, "numpy_T"),
    **table(movedim, "movedim moveaxis"),
    **table(squeeze, "squeeze"),
    **table(unsqueeze, "unsqueeze"),
    **table(expand, "expand expand_as"),
    **table(select, "select"),
    **table(unbind, "unbind"),
    **table(narrow, "slice"),
    **table(split, "split split_with_sizes chunk"),
    **table(select_scatter, "select_scatter"),
    **table(slice_scatter, "slice_scatter"),
    **table(cat, "cat concat"),
    **table(stack, "stack"),
    **table(repeat, "repeat"),
    **table(repeat_interleave, "repeat_interleave"),
    **table(
        along,
        "softmax log_softmax _softmax _log_softmax _safe_softmax cumsum cumprod logcumsumexp flip sort topk diff "
        "_fft_r2c _fft_c2r _fft_c2c fft_fft fft_ifft fft_rfft fft_irfft fft_hfft",
    ),
    **table(roll, "roll"),
    **table(triangle, "triu tril"),
    **table(pad, "pad constant_pad_nd"),
    **table(filled, "zeros ones full new_zeros new_ones new_full"),
}
