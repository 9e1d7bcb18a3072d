"""Public Hypothesis strategies: DAGs, partitions, equitable networks and correlation matrices.

``equitable_networks`` draws a base DAG, blows every base node up to a block, and redistributes the weights inside each
block pair by rectangle moves (+q −q / −q +q), which leave all in- and out-sums as they are. Supports are complete,
sparse biregular, or sparse and not biregular. Numbers are small rationals, so results are exact and shrink well.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from lop_theory.activations.catalogue import Activation, from_formula
from lop_theory.balls import fmpq
from lop_theory.graph.dag import Network, Node, build_network
from lop_theory.graph.partition import Partition, partition_from_blocks, partition_from_labels
from lop_theory.graph.scalars import Values, exact

Support = Literal["dense", "biregular", "irregular", "any"]
Draw = st.DrawFn

POLYNOMIALS: tuple[Activation, ...] = tuple(
    from_formula(text) for text in ("x", "x**2", "x - x**2/2", "x**3/6 + x", "relu(x)")
)


class Cloned(NamedTuple):
    """A network with a partition that is in- and out-equitable by construction, and its base weights."""

    network: Network
    partition: Partition


def rationals(limit: int = 3, denominators: tuple[int, ...] = (1, 2, 3)) -> st.SearchStrategy[fmpq]:
    """Small fractions; shrink towards 0."""
    return st.builds(fmpq, st.integers(-limit, limit), st.sampled_from(denominators))


@st.composite
def networks(
    draw: Draw, *, max_nodes: int = 7, activations: tuple[Activation, ...] = POLYNOMIALS, max_inputs: int = 2
) -> Network:
    """Arbitrary small DAGs with rational weights and biases; any node may feed any later one or be an output."""
    inputs = [f"x{k}" for k in range(draw(st.integers(1, max_inputs)))]
    hidden = [f"n{k}" for k in range(draw(st.integers(1, max_nodes)))]
    nodes = [Node(name, draw(st.sampled_from(activations)), draw(rationals())) for name in hidden]
    everyone = inputs + hidden
    pairs = [(u, v) for k, v in enumerate(hidden) for u in everyone[: len(inputs) + k]]
    edges = [(u, v, draw(rationals())) for u, v in pairs if draw(st.booleans())]
    outputs = draw(st.lists(st.sampled_from(everyone), min_size=1, max_size=2, unique=True))
    return build_network(inputs, nodes, edges, outputs, rationals=True)


@st.composite
def partitions(draw: Draw, nodes: int, *, max_blocks: int = 4) -> Partition:
    """Arbitrary partitions of ``nodes`` nodes."""
    labels = draw(st.lists(st.integers(0, max_blocks - 1), min_size=nodes, max_size=nodes))
    return partition_from_labels(np.array(labels, dtype=np.int64))


@st.composite
def equitable_networks(
    draw: Draw,
    *,
    support: Support = "any",
    zero_sums: bool = True,
    max_blocks: int = 3,
    max_size: int = 3,
    activations: tuple[Activation, ...] = POLYNOMIALS,
) -> Cloned:
    """Networks on RE∩CE, inputs and outputs alone in their blocks; ``zero_sums`` allows sums that vanish."""
    inputs = [[f"x{k}"] for k in range(draw(st.integers(1, 2)))]
    sizes = draw(st.lists(st.integers(1, max_size), min_size=1, max_size=max_blocks))
    hidden = [[f"h{b}.{i}" for i in range(size)] for b, size in enumerate(sizes)]
    outputs = [[f"y{k}"] for k in range(draw(st.integers(1, 2)))]
    blocks = [*inputs, *hidden, *outputs]
    nodes: list[Node] = []
    edges: list[tuple[str, str, object]] = []
    for k, block in enumerate(blocks[len(inputs) :], len(inputs)):
        kind, bias = draw(st.sampled_from(activations)), draw(rationals())
        nodes += [Node(name, kind, bias) for name in block]
        for source in blocks[:k]:
            skipped = source in outputs or not draw(st.booleans())
            edges += [] if skipped else draw(_pair_edges(source, block, support, zero_sums))
    ends = [name for (name,) in outputs]
    network = build_network([name for (name,) in inputs], nodes, edges, ends, rationals=True)
    return Cloned(network, partition_from_blocks(network.dag, blocks))


@st.composite
def _pair_edges(
    draw: Draw, source: list[str], target: list[str], support: Support, zero_sums: bool
) -> list[tuple[str, str, object]]:
    weights, mask = draw(equitable_blocks(len(source), len(target), support=support, zero_sums=zero_sums))
    return [(source[r], target[c], weights[r, c]) for r, c in zip(*np.nonzero(mask), strict=True)]


@st.composite
def equitable_blocks(
    draw: Draw, rows: int, columns: int, *, support: Support = "any", zero_sums: bool = True
) -> tuple[Values, NDArray[np.bool_]]:
    """(weights, mask) of a rows × columns block with equal row sums and equal column sums; no weight off the mask."""
    chosen = draw(st.sampled_from(("dense", "biregular", "irregular"))) if support == "any" else support
    mask = draw(biregular_masks(rows, columns)) if chosen == "biregular" else np.ones((rows, columns), dtype=bool)
    total = draw(rationals() if zero_sums else rationals().filter(lambda q: q != 0))
    degree = int(mask.sum(axis=1)[0])
    weights = exact(mask.astype(int)) * (total * columns / degree / rows)
    for r, s, c, d in _rectangles(mask):
        move = draw(rationals())
        weights[r, c] += move
        weights[s, d] += move
        weights[r, d] -= move
        weights[s, c] -= move
    return draw(_thinned(weights, mask)) if chosen == "irregular" else (weights, mask)


@st.composite
def _thinned(draw: Draw, weights: Values, mask: NDArray[np.bool_]) -> tuple[Values, NDArray[np.bool_]]:
    """Move weight so that one edge gets weight 0, and perhaps drop it: equitable sums on an irregular mask."""
    rectangles = _rectangles(mask)
    mask = mask.copy()
    if rectangles:
        r, s, c, d = draw(st.sampled_from(rectangles))
        move = weights[r, c]
        weights[r, c] -= move
        weights[s, d] -= move
        weights[r, d] += move
        weights[s, c] += move
        mask[r, c] = False
    return weights, mask


def _rectangles(mask: NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Neighbouring 2×2 minors whose four edges all exist."""
    rows, columns = mask.shape
    corners = [(r, r + 1, c, c + 1) for r in range(rows - 1) for c in range(columns - 1)]
    return [(r, s, c, d) for r, s, c, d in corners if mask[r, c] and mask[r, d] and mask[s, c] and mask[s, d]]


@st.composite
def biregular_masks(draw: Draw, rows: int, columns: int) -> NDArray[np.bool_]:
    """0/1 masks with equal row counts and equal column counts, no row empty."""
    step = columns // np.gcd(rows, columns)
    out_degree = int(step) * draw(st.integers(1, int(columns // step)))
    mask = np.zeros((rows, columns), dtype=bool)
    for slot in range(rows * out_degree):
        mask[slot // out_degree, slot % columns] = True
    order = (draw(st.permutations(range(rows))), draw(st.permutations(range(columns))))
    return mask[np.ix_(*order)]


@st.composite
def batches(draw: Draw, network: Network, *, max_batch: int = 3) -> tuple[Values, Values]:
    """(inputs, targets) with rational entries, one column a sample."""
    size = draw(st.integers(1, max_batch))
    shapes = ((len(network.dag.inputs), size), (len(network.dag.outputs), size))
    values: list[Any] = [draw(st.lists(rationals(), min_size=a * b, max_size=a * b)) for a, b in shapes]
    x, y = (exact(v).reshape(shape) for v, shape in zip(values, shapes, strict=True))
    return x, y


@st.composite
def correlation_matrices(draw: Draw, *, min_size: int = 1, max_size: int = 6) -> NDArray[np.float64]:
    """Positive semidefinite matrices with unit diagonal, degenerate ones (ρ = 0, ±1, rank one) included."""
    size, rank = draw(st.integers(min_size, max_size)), draw(st.integers(1, max_size))
    entries = draw(st.lists(st.integers(-4, 4), min_size=size * rank, max_size=size * rank))
    factors = np.array(entries, dtype=np.float64).reshape(size, rank)
    factors[~factors.any(axis=1), 0] = 1.0
    factors /= np.linalg.norm(factors, axis=1, keepdims=True)
    gram = np.clip(factors @ factors.T, -1.0, 1.0)
    np.fill_diagonal(gram, 1.0)
    return gram
