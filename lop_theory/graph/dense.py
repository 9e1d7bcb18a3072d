"""Dense layers as arrays: their coarsest equitable partition, distances and dimensions, without a list of edges.

Nodes are numbered layer by layer, inputs first, as ``convert.from_layers`` numbers them. Blocks found here lie within
one layer. That loses nothing if some side shows that layers cannot mix: let Q be the coarsest equitable partition of
the graph. Cut by layers it stays equitable, hence it is P, the one found here, and Q only joins blocks of P. Let j be
the lowest layer of which a unit u shares a block of Q with a unit of a higher layer. No block with a unit of layer
j − 1 reaches higher, so that the other unit has sum 0 from all of them, and so has u. If no hidden unit has all its
sums from P's blocks 0, then Q = P; the same holds for outgoing sums. Otherwise ``coarsest`` says ``None``, and the
graph decides.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lop_theory.activations.catalogue import Activation
from lop_theory.graph.error_free import deviations
from lop_theory.graph.partition import Partition, partition_from_labels
from lop_theory.graph.runs import cut_into_runs
from lop_theory.graph.scalars import FloatArray, IntArray

NUMBERS = 1 << 22  # sums that are compared at once


class Layer(NamedTuple):
    """A dense layer in PyTorch's orientation: ``weight[target, source]``, ``bias[target]``."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]


class Mlp(NamedTuple):
    """Dense layers from input to output, the activation between them and the one behind the last."""

    layers: tuple[Layer, ...]
    hidden: Activation
    last: Activation

    @property
    def sizes(self) -> list[int]:
        return [self.layers[0].weight.shape[1], *(len(layer.bias) for layer in self.layers)]

    @property
    def edges(self) -> int:
        return sum(layer.weight.size for layer in self.layers)

    @property
    def bias(self) -> FloatArray:
        """One a node, zero at inputs."""
        return np.concatenate([np.zeros(self.sizes[0]), *(layer.bias for layer in self.layers)])

    @property
    def activations(self) -> tuple[Activation, ...]:
        return tuple(dict.fromkeys((self.hidden, self.last)))

    @property
    def activation_of(self) -> IntArray:
        """Index into ``activations`` by node, −1 at inputs."""
        sizes = self.sizes
        return np.repeat([-1, 0, len(self.activations) - 1], [sizes[0], sum(sizes[1:-1]), sizes[-1]])

    @property
    def names(self) -> tuple[str, ...]:
        """``x.{i}`` for inputs, ``l{layer}.{i}`` behind them."""
        inputs = [f"x.{i}" for i in range(self.sizes[0])]
        return tuple(inputs + [f"l{k}.{i}" for k, size in enumerate(self.sizes[1:], 1) for i in range(size)])

    @property
    def places(self) -> list[slice]:
        """The nodes of each layer, inputs first."""
        ends = np.cumsum([0, *self.sizes]).tolist()
        return [slice(a, b) for a, b in pairwise(ends)]


def coarsest(mlp: Mlp, tolerance: float, mode: Literal["in", "both"] = "both") -> Partition | None:
    """The coarsest partition with inputs and outputs alone, equal biases in a block, in-equitable or also
    out-equitable, within the relative ``tolerance`` > 0 (``runs``); ``None`` if blocks might join layers.
    """
    labels, before = _seed(mlp, tolerance), -1
    while before != (before := sum(int(own.max()) for own in labels)):
        for k, layer in enumerate(mlp.layers):
            labels[k + 1] = _split(labels[k + 1], layer.weight, labels[k], tolerance)
        for k in reversed(range(len(mlp.layers)) if mode == "both" else ()):
            labels[k] = _split(labels[k], mlp.layers[k].weight.T, labels[k + 1], tolerance)
    if _may_mix(mlp, labels, tolerance, mode):
        return None
    first = np.cumsum([0, *(int(own.max()) + 1 for own in labels)])
    return partition_from_labels(np.concatenate([own + start for own, start in zip(labels, first[:-1], strict=True)]))


def _seed(mlp: Mlp, tolerance: float) -> list[IntArray]:
    """Labels 0, 1, … of each layer by bias; inputs and outputs alone."""
    bias = mlp.bias
    runs = cut_into_runs(bias, tolerance / 2 * abs(bias), mlp.activation_of)
    inner = [_numbered(runs[place]) for place in mlp.places[1:-1]]
    return [np.arange(mlp.sizes[0]), *inner, np.arange(mlp.sizes[-1])]


def _split(near: IntArray, weight: FloatArray, far: IntArray, tolerance: float) -> IntArray:
    """The labels ``near`` of the rows, split by the sums of each row over every block of columns."""
    columns, starts = _sorted(far)
    first, width = 0, 16
    while first < len(starts):
        crowded = np.flatnonzero(np.bincount(near)[near] > 1)
        if not len(crowded):
            break
        last = first + width
        stop = starts[last] if last < len(starts) else len(far)
        part = weight[np.ix_(crowded, columns[starts[first] : stop])]
        split = near.copy()
        parts = _split_by(near[crowded], part, starts[first:last] - starts[first], tolerance)
        split[crowded] = len(near) + parts  # above the labels of those that are alone
        near, first, width = _numbered(split), last, max(16, min(4 * width, NUMBERS // len(near)))
    return near


def _sorted(labels: IntArray) -> tuple[IntArray, IntArray]:
    """The order by label, and where each label begins in it."""
    order = np.argsort(labels, kind="stable")
    return order, np.flatnonzero(np.append(True, np.diff(labels[order]) > 0))


def _numbered(labels: IntArray) -> IntArray:
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _split_by(own: IntArray, part: FloatArray, starts: IntArray, tolerance: float) -> IntArray:
    """Labels ≥ 0 of the rows, one for each pair of own label and runs of sums over the columns from each start on."""
    order, blocks = _sorted(own)
    sums, radius = _sums(part[order], starts, tolerance)
    low, high = np.maximum.reduceat(sums - radius, blocks), np.minimum.reduceat(sums + radius, blocks)
    apart = low > high
    rows = np.repeat(apart.any(axis=1), np.diff(np.append(blocks, len(own))))
    keys = np.flatnonzero(apart.any(axis=0))
    labels = len(part) * own
    if rows.any():
        values, radii = sums[np.ix_(rows, keys)], radius[np.ix_(rows, keys)]
        group = own[order][rows][:, None] * len(keys) + np.arange(len(keys))
        runs = cut_into_runs(values.ravel(), radii.ravel(), group.ravel()).reshape(values.shape)
        fresh = np.unique(runs, axis=0, return_inverse=True)[1].ravel()
        labels[order[rows]] += fresh  # below len(part)
    return labels


def _sums(matrix: FloatArray, starts: IntArray, tolerance: float) -> tuple[FloatArray, FloatArray]:
    """Sums of each row from start to start, and the radius within which each is known."""
    if len(starts) == matrix.shape[1]:  # every column alone
        return matrix, tolerance / 2 * abs(matrix)
    return np.add.reduceat(matrix, starts, axis=1), tolerance / 2 * np.add.reduceat(abs(matrix), starts, axis=1)


def _may_mix(mlp: Mlp, labels: list[IntArray], tolerance: float, mode: str) -> bool:
    """Is there, on each side that is asked, a hidden unit all of whose sums are 0?"""
    inner = range(1, len(mlp.layers))
    into = ((mlp.layers[k - 1].weight, labels[k - 1]) for k in inner)
    outof = ((mlp.layers[k].weight.T, labels[k + 1]) for k in inner)
    sides = (into, outof) if mode == "both" else (into,)
    return all(any(_some_row_without_sums(*pair, tolerance) for pair in side) for side in sides)


def _some_row_without_sums(weight: FloatArray, far: IntArray, tolerance: float) -> bool:
    columns, starts = _sorted(far)
    for rows in chunks(len(weight), weight.shape[1]):
        sums, radius = _sums(weight[rows][:, columns], starts, tolerance)
        if (abs(sums) <= radius).all(axis=1).any():
            return True
    return False


def chunks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, NUMBERS // columns)
    return (slice(a, min(a + step, rows)) for a in range(0, rows, step))


def block_constant(mlp: Mlp, partition: Partition, tolerance: float) -> bool:
    """Are the weights between any two blocks the same, within the relative tolerance?"""
    return all(_constant(layer.weight, *own, tolerance) for layer, own in _with_blocks(mlp, partition))


def _constant(weight: FloatArray, near: IntArray, far: IntArray, tolerance: float) -> bool:
    (rows, row), (columns, column) = _sorted(near), _sorted(far)
    sorted_weight = weight[np.ix_(rows, columns)]
    radius = tolerance / 2 * abs(sorted_weight)
    low = np.maximum.reduceat(np.maximum.reduceat(sorted_weight - radius, row), column, axis=1)
    high = np.minimum.reduceat(np.minimum.reduceat(sorted_weight + radius, row), column, axis=1)
    return bool((low <= high).all())


def _with_blocks(mlp: Mlp, partition: Partition) -> Iterator[tuple[Layer, tuple[IntArray, IntArray]]]:
    """Each layer with the blocks of its targets and of its sources."""
    places, blocks = mlp.places, partition.block_of
    return ((layer, (blocks[places[k + 1]], blocks[places[k]])) for k, layer in enumerate(mlp.layers))


def codimension(mlp: Mlp, partition: Partition) -> int:
    """Of RE∩CE: (n − 1) + (m − 1) for each pair of blocks of m sources and n targets; h − 1 for h equal biases."""
    places, blocks = mlp.places, partition.block_of
    counts = [len(np.unique(blocks[place])) for place in places]
    spare = [size - count for size, count in zip(mlp.sizes, counts, strict=True)]
    pairs = range(len(mlp.layers))
    return sum(counts[k] * spare[k + 1] + counts[k + 1] * spare[k] for k in pairs) + sum(spare[1:])


def distance(mlp: Mlp, partition: Partition) -> float:
    """Distance to RE∩CE: for the deviations d of the n in-sums and e of the m out-sums of a pair of blocks from their
    means, the square is Σ d²/m + Σ e²/n; biases deviate from their means.
    """
    hidden = slice(mlp.sizes[0], None)
    parts = [_from_means(mlp.bias[hidden, None], partition.block_of[hidden], np.zeros(1, dtype=np.int64))]
    for layer, (near, far) in _with_blocks(mlp, partition):
        parts += [_from_means(layer.weight, near, far), _from_means(layer.weight.T, far, near)]
    return _norm(np.concatenate(parts))


def _from_means(weight: FloatArray, near: IntArray, far: IntArray) -> FloatArray:
    """d/√m for each row's sum over a block of m columns, in blocks of several rows; elsewhere d = 0."""
    near, far = _numbered(near), _numbered(far)
    rows = np.flatnonzero(np.bincount(near)[near] > 1)
    if not len(rows):
        return np.zeros(0)
    own, blocks = _numbered(near[rows]), int(far.max()) + 1
    cell = (np.arange(len(rows))[:, None] * blocks + far).ravel()
    group = (own[:, None] * blocks + np.arange(blocks)).ravel()
    sizes = np.repeat(np.bincount(own), blocks)
    found = deviations(weight[rows].ravel(), cell, group, sizes, np.ones(len(sizes), dtype=bool))
    return (found.reshape(len(rows), blocks) / np.sqrt(np.bincount(far))).ravel()


def _norm(vector: FloatArray) -> float:
    """Scaled by the largest entry first, so that squares neither overflow nor vanish."""
    largest = float(abs(vector).max(initial=0.0))
    return float(np.sqrt(((vector / largest) ** 2).sum())) * largest if largest else 0.0
