"""Rounding as an escape: how fast floating-point training drifts off a cloning manifold. [optimiser-closure]

Clones whose weights were redistributed compute equal sums from different terms, so they differ by rounding after one
step. On an unstable manifold (a saddle transverse to it) that difference grows exponentially; from a block-constant
start with sums in one order every clone does the same operations and nothing ever grows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lop_theory.activations.catalogue import activation
from lop_theory.graph.cloning import sgd_step
from lop_theory.graph.dag import Network, Node, build_network
from lop_theory.graph.manifold import distance
from lop_theory.graph.partition import Partition, partition_from_blocks
from lop_theory.graph.passes import squared_error
from lop_theory.graph.scalars import FloatArray


class Drift(NamedTuple):
    """Distance to RE∩CE after ``steps``, and the growth rate per step of its logarithm over the exponential phase."""

    steps: tuple[int, ...]
    distances: tuple[float, ...]
    rate: float


def xor_clones(*, redistributed: bool) -> tuple[Network, Partition]:
    """x₁, x₂ → three clones → three clones → y: a base with one unit a layer, which cannot fit a product."""
    first, second = ["a0", "a1", "a2"], ["b0", "b1", "b2"]
    pattern = np.array([[0.31, -0.12, -0.19], [-0.27, 0.08, 0.19], [-0.04, 0.04, 0.0]]) * float(redistributed)
    edges: list[tuple[str, str, object]] = [(x, a, w) for x, w in (("x0", 0.7), ("x1", 0.4)) for a in first]
    edges += [(a, b, 0.3 + pattern[i, j]) for i, a in enumerate(first) for j, b in enumerate(second)]
    edges += [(b, "y", 0.35) for b in second]
    nodes = [Node(name, activation("tanh"), 0.1) for name in first]
    nodes += [Node(name, activation("tanh"), -0.2) for name in second] + [Node("y", activation("identity"), 0.05)]
    network = build_network(["x0", "x1"], nodes, edges, ["y"])
    return network, partition_from_blocks(network.dag, [["x0"], ["x1"], first, second, ["y"]])


def xor_data(size: int = 5) -> tuple[FloatArray, FloatArray]:
    """A grid of inputs and the targets x₁·x₂, which no network with one unit a layer fits."""
    side = np.linspace(-1, 1, size)
    x = np.stack([axis.ravel() for axis in np.meshgrid(side, side)])
    return x, 2 * np.prod(x, axis=0, keepdims=True)


def measure_drift(
    network: Network,
    partition: Partition,
    data: tuple[FloatArray, FloatArray],
    *,
    rate: float = 0.01,
    checkpoints: Sequence[int] = tuple(range(0, 3001, 100)),
) -> Drift:
    """Train with SGD on the whole data and record the distance to RE∩CE at the checkpoints."""
    batch = data[0], squared_error(data[1])
    distances: list[float] = []
    for step in range(max(checkpoints) + 1):
        if step in checkpoints:
            distances.append(distance(network, partition))
        network = sgd_step(network, batch, rate)
    return Drift(tuple(checkpoints), tuple(distances), _growth_rate(checkpoints, distances))


def _growth_rate(steps: Sequence[int], distances: Sequence[float]) -> float:
    """Slope of log distance between 1e-14 and 1e-2; 0 if it never gets there."""
    inside = [(s, np.log(d)) for s, d in zip(steps, distances, strict=True) if 1e-14 < d < 1e-2]
    if len(inside) < 3:
        return 0.0
    s, logs = np.array(inside).T
    return float(np.polyfit(s, logs, 1)[0])
