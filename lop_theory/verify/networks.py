"""Seeded random clones in exact rationals, so that a check needs no other package than the theory itself."""

from itertools import pairwise
from random import Random

from lop_theory.activations import from_formula
from lop_theory.balls import fmpq
from lop_theory.graph.cloning import Batch
from lop_theory.graph.dag import Network, Node, build_network
from lop_theory.graph.partition import Partition, partition_from_blocks
from lop_theory.graph.passes import squared_error
from lop_theory.graph.scalars import exact

_ACTIVATIONS = tuple(from_formula(text) for text in ("x", "x**2", "x - x**2/2", "relu(x)"))


def clone(random: Random) -> tuple[Network, Partition]:
    """A layered base network 1 → blocks → 1 blown up to complete blocks of 1–3 units, redistributed inside RE∩CE."""
    sizes = [1, *(random.randint(1, 3) for _ in range(random.randint(1, 2))), 1]
    blocks = [[f"{layer}.{unit}" for unit in range(size)] for layer, size in enumerate(sizes)]
    nodes: list[Node] = []
    edges: list[tuple[str, str, object]] = []
    for sources, targets in pairwise(blocks):
        phi, bias = random.choice(_ACTIVATIONS), _rational(random)
        nodes += [Node(name, phi, bias) for name in targets]
        edges += _equitable(random, sources, targets)
    network = build_network(blocks[0], nodes, edges, blocks[-1], rationals=True)
    return network, partition_from_blocks(network.dag, blocks)


def _equitable(random: Random, sources: list[str], targets: list[str]) -> list[tuple[str, str, object]]:
    """Equal incoming and outgoing sums: a constant, plus rectangle moves +q −q / −q +q."""
    constant = _rational(random)
    weight = {(u, v): constant for u in sources for v in targets}
    if len(sources) > 1 and len(targets) > 1:
        (a, b), (c, d), q = random.sample(sources, 2), random.sample(targets, 2), _rational(random)
        for edge, sign in (((a, c), 1), ((a, d), -1), ((b, c), -1), ((b, d), 1)):
            weight[edge] += sign * q
    return [(u, v, w) for (u, v), w in weight.items()]


def batch(random: Random, samples: int = 2) -> Batch:
    """Inputs (1 × samples) and the adjoint of a squared error."""
    x, t = ([str(_rational(random)) for _ in range(samples)] for _ in range(2))
    return exact(x)[None, :], squared_error(exact(t)[None, :])


def _rational(random: Random) -> fmpq:
    return fmpq(random.choice([n for n in range(-3, 4) if n]), random.randint(1, 3))
