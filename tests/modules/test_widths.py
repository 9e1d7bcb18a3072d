# ruff: noqa: E501 - one call a line
"""Which coordinates may be duplicated, call by call: where the mathematics allows it, not only where it must be refused.
What is duplicated gives the duplicated result, values and adjoints, of the real operator."""

import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from tests.modules.test_operators import captured, compared, program_of, widened  # noqa: E402

aten = torch.ops.aten
ROWS, PLACES = torch.tensor([0, 2]), torch.tensor([3, 1])
X, T, I = (6, 4), (3, 5, 4), (2, 6, 4, 4)  # rows, tokens, maps

# the call, shapes of its tensors, and the dimensions of the first whose coordinates may be duplicated
CALLS = {
    "index_put of rows": (lambda h, v, i: h.index_put((i,), v), [X, (2, 4), ROWS], {1}),
    "index_put of a vector": (lambda h, v, i: h.index_put((i,), v), [X, (4,), ROWS], {1}),
    "index_put of a number a row": (lambda h, v, i: h.index_put((i,), v), [X, (2, 1), ROWS], {1}),
    "index_put of tokens": (lambda h, v, i, j: h.index_put((i, j), v), [T, (2, 4), ROWS, PLACES], {2}),
    "index_put of all tokens": (lambda h, v, i: h.index_put((i,), v), [T, (2, 5, 4), ROWS], {1, 2}),
    "index_put of one token for all": (lambda h, v, i: h.index_put((i,), v), [T, (1, 4), ROWS], {1, 2}),
    "index_put behind a free dimension": (lambda h, v, i: aten.index_put(h, [None, i], v), [T, (3, 2, 4), PLACES], {2}),
    "index_put of units": (lambda h, v, i, j: h.index_put((i[:, None], j), v), [X, (2,), ROWS, PLACES], set()),
    "index of rows": (lambda h, i: h[i], [X, ROWS], {1}),
    "index of tokens": (lambda h, i: h[:, i], [T, PLACES], {0, 2}),
    "index of rows and tokens": (lambda h, i, j: h[i, j], [T, ROWS, PLACES], {2}),
    "index of rows and units": (lambda h, i, j: h[i[:, None], :, j], [T, ROWS, PLACES], {1}),
    "index of the last": (lambda h, i: h[..., i], [T, PLACES], {0, 1}),
    "index by a grid": (lambda h, i, j: h[:, torch.stack([i, j])], [T, ROWS, PLACES], {0, 2}),
    "index_select": (lambda h, i: h.index_select(1, i), [T, PLACES], {0, 2}),
    "index_add": (lambda h, v, i: h.index_add(0, i, v), [T, (2, 5, 4), ROWS], {1, 2}),
    "index_fill": (lambda h, i: h.index_fill(1, i, 0.5), [T, PLACES], {0, 2}),
    "index_copy": (lambda h, v, i: h.index_copy(-1, i, v), [T, (3, 5, 2), ROWS], {0, 1}),
    "gather": (lambda h, i: h.gather(0, i[:, None].expand(2, 4)), [X, ROWS], {1}),
    "gather of a part": (lambda h, i: h.gather(0, i[:, None].expand(2, 3)), [X, ROWS], set()),
    "scatter": (lambda h, v, i: h.scatter(0, i[:, None].expand(2, 4), v), [X, (2, 4), ROWS], {1}),
    "select_scatter": (lambda h, v: torch.select_scatter(h, v, 1, 2), [T, (3, 4)], {0, 2}),
    "slice_scatter": (lambda h, v: torch.slice_scatter(h, v, 1, 1, 3), [T, (3, 2, 4)], {0, 1, 2}),
    "bilinear": (F.bilinear, [X, (6, 3), (5, 4, 3), (5,)], {0, 1}),
    "cosine": (F.cosine_similarity, [T, T], {0, 1, 2}),
    "cosine, broadcast": (lambda h, v: F.cosine_similarity(h, v, 2), [T, (5, 4)], {0, 1, 2}),
    "distances": (lambda h, v: torch.cdist(h, v, 2.0, "donot_use_mm_for_euclid_dist"), [T, (3, 2, 4)], {0, 1, 2}),
    "distances, sum": (lambda h, v: torch.cdist(h, v, 1.0), [T, (3, 2, 4)], {0, 1, 2}),
    "distances, largest": (lambda h, v: torch.cdist(h, v, float("inf")), [T, (3, 2, 4)], {0, 1}),
    "distances, count": (lambda h, v: torch.cdist(h, v, 0.0), [T, (3, 2, 4)], {0, 1}),
    "pixel shuffle": (lambda h: F.pixel_shuffle(h, 2), [(2, 8, 3, 3)], {0, 1}),
    "pixel unshuffle": (lambda h: F.pixel_unshuffle(h, 2), [I], {0, 1}),
    "convolution": (F.conv2d, [I, (3, 6, 2, 2), (3,)], {0, 1}),
    "grouped convolution": (lambda h, w: F.conv2d(h, w, groups=2), [I, (4, 3, 2, 2)], {0, 1}),
    "depthwise convolution": (lambda h, w: F.conv2d(h, w, groups=6), [I, (12, 1, 2, 2)], {0, 1}),
    "transposed convolution": (F.conv_transpose2d, [I, (6, 3, 2, 2), (3,)], {0, 1}),
    "grouped transposed convolution": (lambda h, w: F.conv_transpose2d(h, w, groups=2), [I, (6, 2, 2, 2)], {0, 1}),
    "flip": (lambda h: h.flip(1), [T], {0, 2}),
    "flip of two": (lambda h: h.flip(0, -1), [T], {1}),
    "roll": (lambda h: h.roll(1, 1), [T], {0, 2}),
    "cumsum": (lambda h: h.cumsum(-1), [T], {0, 1}),
    "sort": (lambda h: h.sort(1)[0], [T], {0, 2}),
    "topk": (lambda h: h.topk(2, -1)[0], [T], {0, 1}),
    "softmax": (lambda h: h.softmax(1), [T], {0, 2}),
    "log softmax": (lambda h: h.log_softmax(-1), [T], {0, 1}),
    "triangle": (torch.tril, [T], {0}),
    "pad": (lambda h: F.pad(h, (0, 0, 1, 2)), [T], {0, 2}),
    "pad of two": (lambda h: F.pad(h, (1, 0, 0, 1)), [T], {0}),
    "reflected pad": (lambda h: F.pad(h, (1, 1, 1, 1), mode="reflect"), [I], {0, 1}),
    "repeat": (lambda h: h.repeat(1, 2, 1), [T], {0, 1, 2}),
    "repeat in front": (lambda h: h.repeat(2, 1, 3), [X], {0, 1}),
    "repeat_interleave": (lambda h: h.repeat_interleave(2, 1), [T], {0, 1, 2}),
    "repeat_interleave of all": (lambda h: h.repeat_interleave(2), [T], set()),
    "expand": (lambda h: h.unsqueeze(1).expand(-1, 3, -1), [X], {0, 1}),
    "expand_as": (lambda h, v: h.expand_as(v), [X, (3, 6, 4)], {0, 1}),
    "expand of one": (lambda h: h.expand(3, 6, 4), [(6, 1)], {0}),
    "view_as": (lambda h, v: h.view_as(v), [X, X], {0, 1}),
    "squeeze": (lambda h: h.squeeze(), [(6, 1, 4)], {0, 2}),
    "squeeze of one": (lambda h: h.squeeze(-2), [(6, 1, 4)], {0, 2}),
    "squeeze of none": (lambda h: h.squeeze(0), [(6, 1, 4)], {0, 1, 2}),
    "unsqueeze": (lambda h: h.unsqueeze(-1), [X], {0, 1}),
    "movedim": (lambda h: h.movedim((0, 2), (1, 0)), [T], {0, 1, 2}),
    "transpose": (lambda h: h.transpose(0, -1), [T], {0, 1, 2}),
    "permute": (lambda h: h.permute(-1, 0, 1), [T], {0, 1, 2}),
    "stack": (lambda h, v: torch.stack([h, v], -1), [X, X], {0, 1}),
    "stack in the middle": (lambda h, v: torch.stack([h, v], 1), [X, X], {0, 1}),
    "unbind": (lambda h: h.unbind(1)[2], [T], {0, 2}),
    "select": (lambda h: h.select(-1, 1), [T], {0, 1}),
    "part": (lambda h: h[:, 1:3], [X], {0, 1}),
    "part from the end": (lambda h: h[:, -2:], [X], {0, 1}),
    "every second": (lambda h: h[:, ::2], [X], {0}),
    "no part": (lambda h: h[:, 2:2].sum(1) + h[:, 0], [X], {0}),
    "chunks": (lambda h: (p := h.chunk(2, 1))[0] * p[1], [X], {0, 1}),
    "split": (lambda h: h.split([1, 3], 1)[1], [X], {0, 1}),
    "cat": (lambda h, v: torch.cat([v, h], 1), [X, (6, 2)], {0, 1}),
    "cat of other tokens": (lambda h, v: torch.cat([v, h], 1), [T, (3, 2, 4)], {0, 1, 2}),
    "cat with zeros": (lambda h: torch.cat([h, h.new_zeros(6, 2)], 1), [X], {0, 1}),
    "plus ones": (lambda h: h + torch.ones(4, dtype=h.dtype), [X], {0, 1}),
    "mean": (lambda h: h.mean(1), [T], {0, 1, 2}),
    "mean of two, kept": (lambda h: h - h.mean((0, 2), keepdim=True), [T], {0, 1, 2}),
    "sum": (lambda h: h.sum(-1), [T], {0, 1, 2}),
    "sum of all": (lambda h: h * h.sum(), [T], {0, 1, 2}),
    "norm": (lambda h: torch.linalg.vector_norm(h, 3, dim=-1), [T], {0, 1, 2}),
    "largest norm": (lambda h: torch.linalg.vector_norm(h, float("inf"), dim=-1), [T], {0, 1}),
    "count norm": (lambda h: torch.linalg.vector_norm(h, 0, dim=-1), [T], {0, 1}),
    "variance": (lambda h: h.var(1), [T], {0, 2}),
    "variance over n": (lambda h: h.var(1, correction=0), [T], {0, 1, 2}),
    "biased deviation": (lambda h: h.std(1, unbiased=False, keepdim=True), [T], {0, 1, 2}),
    "amax": (lambda h: h.amax(1), [T], {0, 2}),
    "max": (lambda h: h.max(-1, keepdim=True)[0], [T], {0, 1}),
    "product": (torch.mul, [T, T], {0, 1, 2}),
    "product with one": (torch.mul, [T, (3, 5, 1)], {0, 1, 2}),
    "product, broadcast": (torch.mul, [(3, 1, 4), T], {0, 2}),
    "product with a vector": (torch.mul, [T, (4,)], {0, 1, 2}),
    "where": (lambda h, v, w: torch.where(h > 0, v, w), [X, X, (4,)], {0, 1}),
    "masked_fill": (lambda h, v: h.masked_fill(v > 0, 0.5), [X, (6, 1)], {0, 1}),
    "prelu": (F.prelu, [T, (5,)], {0, 1, 2}),
    "prelu of one": (F.prelu, [T, (1,)], {0, 1, 2}),
    "glu": (lambda h: F.glu(h, 1), [X], {0, 1}),
    "linear": (F.linear, [T, (2, 4), (2,)], {0, 1, 2}),
    "linear of one output": (F.linear, [T, (4,)], {0, 1, 2}),
    "matmul": (torch.matmul, [T, (3, 4, 2)], {0, 1, 2}),
    "matmul of vectors": (torch.matmul, [(4,), (4,)], {0}),
    "matmul, broadcast": (torch.matmul, [(2, 1, 5, 4), (3, 4, 2)], {0, 2, 3}),
    "matrix times vector": (torch.matmul, [T, (4,)], {0, 1, 2}),
    "vector times matrix": (torch.matmul, [(5,), T], {0}),
    "baddbmm": (lambda h, v, w: torch.baddbmm(w, h, v), [T, (3, 4, 2), (5, 1)], {0, 1, 2}),
    "addmm": (lambda h, v, w: torch.addmm(w, h, v), [X, (4, 2), (2,)], {0, 1}),
    "outer product": (lambda h, v: torch.einsum("bi,bj->bij", h, v), [X, X], {0, 1}),
    "inner product": (lambda h, v: torch.einsum("bi,bi->b", h, v), [X, X], {0, 1}),
    "einsum of one": (lambda h: torch.einsum("bti->ib", h), [T], {0, 1, 2}),
    "einsum without an arrow": (lambda h, v: torch.einsum("...i,oi", h, v), [T, (2, 4)], {0, 1, 2}),
    "einsum of three": (lambda h, v, w: torch.einsum("bi,bi,i->bi", h, v, w), [X, X, (4,)], {0, 1}),
    "einsum of three, summed": (lambda h, v, w: torch.einsum("bi,bi,oi->bo", h, v, w), [X, X, (2, 4)], {0}),
    "einsum of a diagonal": (lambda h: torch.einsum("bii->bi", h), [(3, 4, 4)], set()),
    "layer norm": (lambda h, w, b: F.layer_norm(h, (5, 4), w, b), [T, (5, 4), (5, 4)], {0, 1, 2}),
    "rms norm": (lambda h, w: F.rms_norm(h, (4,), w), [T, (4,)], {0, 1, 2}),
    "group norm": (lambda h, w, b: F.group_norm(h, 2, w, b), [I, (6,), (6,)], {0, 1, 2, 3}),
    "group norm of one": (lambda h: F.group_norm(h, 1), [I], {0, 1, 2, 3}),
    "batch norm": (lambda h, w: F.batch_norm(h, None, None, w, training=True), [(6, 4), (4,)], {0, 1}),
    "attention": (F.scaled_dot_product_attention, [(2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 6, 2)], {0, 1, 3}),
    "max pool": (lambda h: F.max_pool2d(h, 2), [I], {0, 1}),
    "adaptive pool": (lambda h: F.adaptive_avg_pool2d(h, 2), [I], {0, 1}),
    "bicubic": (lambda h: F.interpolate(h, scale_factor=2, mode="bicubic"), [I], {0, 1}),
    "in a row": (lambda h: h.flatten(1), [I], {0, 1, 2, 3}),
    "in a grid": (lambda h: h.view(6, 2, 2).transpose(1, 2), [X], {0, 1}),
    "in a grid, and back": (lambda h: h.view(-1, 2, 2).transpose(1, 2).reshape(-1, 4), [X], {0, 1}),
    "two grids": (lambda h: h.view(2, 3).sum(1)[:, None] + h.view(3, 2).sum(1), [(6,)], set()),
    "unflatten": (lambda h: h.unflatten(1, (2, 2)).sum(1), [X], {0, 1}),
    "dropout": (lambda h: F.dropout(h, 0.5, training=False), [X], {0, 1}),
}  # fmt: skip


def drawn(shapes):
    generator = torch.Generator().manual_seed(0)
    return [
        s if isinstance(s, torch.Tensor) else torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes
    ]


@pytest.mark.parametrize("name", CALLS)
def test_coordinates_are_duplicated_where_they_can_be(name):
    function, shapes, dims = CALLS[name]
    tensors = drawn(shapes)
    graph = captured(function, tensors)
    assert graph is not None
    program = program_of(graph, tensors)
    made = widened(program, tensors, None)
    found = set()
    if made is not None:
        plan, axes, _ = made[2]
        found = {d for d, axis in enumerate(axes[program.inputs[0].placeholder]) if plan.cloned(axis)}
    assert found == dims
    for value, right, tolerance in compared(program, tensors):
        torch.testing.assert_close(value, right, **tolerance)
