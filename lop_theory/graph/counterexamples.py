"""Named minimal networks: one for each hypothesis of the corrected theorem, on which dropping it breaks a conclusion.

All numbers are rational and every failure is exact (``tests/graph/test_counterexamples.py`` recomputes each of them and
checks that no smaller network of the same kind fails where that is a finite search).
"""

from collections.abc import Sequence
from typing import NamedTuple

from lop_theory.activations.catalogue import activation
from lop_theory.graph.cloning import Batch
from lop_theory.graph.dag import Edge, Network, Node, build_network
from lop_theory.graph.partition import Partition, partition_from_blocks
from lop_theory.graph.passes import squared_error
from lop_theory.graph.scalars import exact


class Counterexample(NamedTuple):
    """A network, a partition and one sample; without the hypothesis ``dropped`` the conclusion ``breaks`` fails."""

    name: str
    dropped: str
    breaks: str
    edges: str  # "source target weight, …"
    blocks: tuple[str, ...]  # blocks with several nodes, ids separated by spaces
    inputs: str = "x"
    outputs: str = "y"
    sample: tuple[str, ...] = ("1",)
    targets: tuple[str, ...] = ("0",)
    activations: tuple[tuple[str, str], ...] = ()  # default: identity
    biases: tuple[tuple[str, str], ...] = ()

    def network(self) -> Network:
        edges = _parse_edges(self.edges)
        inputs = self.inputs.split()
        names = dict.fromkeys(end for edge in edges for end in edge[:2])
        kinds, biases = dict(self.activations), dict(self.biases)
        hidden = [n for n in names if n not in inputs]
        nodes = [Node(n, activation(kinds.get(str(n), "identity")), biases.get(str(n), "0")) for n in hidden]
        return build_network(inputs, nodes, edges, self.outputs.split(), rationals=True)

    def partition(self) -> Partition:
        dag = self.network().dag
        several = [block.split() for block in self.blocks]
        taken = {name for block in several for name in block}
        return partition_from_blocks(dag, [*several, *([name] for name in dag.ids if name not in taken)])

    def batch(self) -> Batch:
        return exact(self.sample)[:, None], squared_error(exact(self.targets)[:, None])


def _parse_edges(text: str) -> Sequence[Edge]:
    return [(u, v, w) for u, v, w in (edge.split() for edge in text.split(","))]


SUPPORT_3X3 = Counterexample(
    name="support-3x3",
    dropped="biregular_support",
    breaks="trajectory",
    edges="x a1 1, x a2 1, x a3 1, a1 b1 1/4, a1 b2 1/4, a1 b3 1/2, a2 b1 1/4, a2 b2 1/4, a2 b3 1/2,"
    "a3 b1 1/2, a3 b2 1/2, b1 y 1, b2 y 1, b3 y 1",
    blocks=("a1 a2 a3", "b1 b2 b3"),
)

SUPPORT_2X3 = Counterexample(  # minimal with non-zero weights: 2×2 allows none
    name="support-2x3",
    dropped="biregular_support",
    breaks="trajectory",
    edges="x a1 1, x a2 1, a1 b1 1, a1 b2 1, a1 b3 4, a2 b1 3, a2 b2 3, b1 y 1, b2 y 1, b3 y 1",
    blocks=("a1 a2", "b1 b2 b3"),
)

SUPPORT_2X2 = Counterexample(  # minimal of all: the edge a1→b1 exists and has weight 0
    name="support-2x2-zero-edge",
    dropped="biregular_support",
    breaks="trajectory",
    edges="x a1 1, x a2 1, a1 b1 0, a1 b2 1, a2 b1 1, b1 y 1, b2 y 1",
    blocks=("a1 a2", "b1 b2"),
)

ACTIVATIONS = Counterexample(
    name="unequal-activations",
    dropped="equal_activations",
    breaks="forward",
    edges="x a 1, x b 1, a y 1, b y 1",
    blocks=("a b",),
    sample=("2",),
    activations=(("b", "square"),),
)

BIASES = Counterexample(
    name="unequal-biases",
    dropped="equal_biases",
    breaks="forward",
    edges="x a 1, x b 1, a y 1, b y 1",
    blocks=("a b",),
    biases=(("b", "1"),),
)

INPUTS = Counterexample(
    name="cloned-inputs",
    dropped="singleton_ends",
    breaks="forward",
    edges="x1 a 1, x2 b 1, a y 1, b y 1",
    inputs="x1 x2",
    blocks=("x1 x2", "a b"),
    sample=("0", "1"),
)

OUTPUTS = Counterexample(
    name="cloned-outputs",
    dropped="singleton_ends",
    breaks="backward",
    edges="x y1 1, x y2 1",
    outputs="y1 y2",
    blocks=("y1 y2",),
    targets=("0", "1"),
)

NOT_IN_EQUITABLE = Counterexample(
    name="not-in-equitable",
    dropped="in_equitable",
    breaks="forward",
    edges="x a 1, x b 2, a y 1, b y 1",
    blocks=("a b",),
)

NOT_OUT_EQUITABLE = Counterexample(
    name="not-out-equitable",
    dropped="out_equitable",
    breaks="backward",
    edges="x a 1, x b 1, a y 1, b y 2",
    blocks=("a b",),
)

CYCLIC_QUOTIENT = Counterexample(  # ±1 edges cancel, so the blocks A and B feed each other in a DAG
    name="cyclic-quotient",
    dropped="quotient_acyclic",
    breaks="trajectory",
    edges="x a1 1, x a2 1, x a3 1, x a4 1, a1 b1 1, a2 b1 -1, a1 b2 -1, a2 b2 1, b1 a3 1, b2 a3 -1, b1 a4 -1, b2 a4 1,"
    "a1 y 1, a2 y 1, a3 y 1, a4 y 1, b1 y 1, b2 y 1",
    blocks=("a1 a2 a3 a4", "b1 b2"),
)

EDGE_IN_BLOCK = Counterexample(  # the same with one block: edges inside it, a loop of the quotient
    name="edges-inside-a-block",
    dropped="quotient_acyclic",
    breaks="trajectory",
    edges="x a1 1, x a2 1, x a3 1, x a4 1, a1 a3 1, a2 a3 -1, a1 a4 -1, a2 a4 1, a1 y 1, a2 y 1, a3 y 1, a4 y 1",
    blocks=("a1 a2 a3 a4",),
)

COUNTEREXAMPLES = (
    SUPPORT_3X3,
    SUPPORT_2X3,
    SUPPORT_2X2,
    ACTIVATIONS,
    BIASES,
    INPUTS,
    OUTPUTS,
    NOT_IN_EQUITABLE,
    NOT_OUT_EQUITABLE,
    CYCLIC_QUOTIENT,
    EDGE_IN_BLOCK,
)

# For a positively homogeneous unit, c = w_in² + b² − w_out² is conserved by the flow for every data set and loss, so
# each level set with c ≠ 0 is a curved functional LoP manifold. A step of size η with gradient g changes c by exactly
# η² (g_in² + g_b² − g_out²): it leaves in general.
CURVED = Counterexample(
    name="curved-manifold",
    dropped="affine manifold",
    breaks="trajectory",
    edges="x a 2, a y 1",
    blocks=(),
)

# Elementwise maps of a 2×2 block with equal sums [[p, q], [q, p]] keep the sums equal; on a 2×3 block they do not:
# coupled L2 with an elementwise optimiser (Adam, RMSprop, …) breaks RE∩CE, and 2×2 blocks hide it.
TWO_BY_TWO = Counterexample(
    name="2x2-hides-elementwise",
    dropped="blocks of size >= 3",
    breaks="",
    edges="x a1 1, x a2 1, a1 b1 1, a1 b2 3, a2 b1 3, a2 b2 1, b1 y 1, b2 y 1",
    blocks=("a1 a2", "b1 b2"),
)
TWO_BY_THREE = Counterexample(
    name="2x3-shows-elementwise",
    dropped="",
    breaks="both",
    edges="x a1 1, x a2 1, a1 b1 1, a1 b2 1, a1 b3 4, a2 b1 3, a2 b2 3, a2 b3 0, b1 y 1, b2 y 1, b3 y 1",
    blocks=("a1 a2", "b1 b2 b3"),
)

# v is dead on the sample (zero gradient on its own weights); one step moves its upstream unit u and revives it.
REVIVED_BY_UPSTREAM = Counterexample(
    name="revived-by-upstream",
    dropped="bounded upstream values",
    breaks="frozen",
    edges="x u 1, u v 1, v y 1, u y 1",
    blocks=(),
    targets=("4",),
    activations=(("v", "relu"),),
    biases=(("v", "-2"),),
)

# A live step at x = 1/2 loads the momentum; the unit is then dead at x = −1, has zero gradient, and moves all the same.
REVIVED_BY_MOMENTUM = Counterexample(
    name="revived-by-momentum",
    dropped="stateless optimiser",
    breaks="frozen",
    edges="x v 2, v y 1",
    blocks=(),
    sample=("1/2",),
    targets=("4",),
    activations=(("v", "relu"),),
)
