"""Theorem 2.1.2 (= A.1) as executable mathematics: its corrected hypotheses and the residuals of its conclusions.

Corrected theorem. Let every block hold nodes of one activation and one bias, all inputs or no input.
  [clone-forward]   In-equitable weights, data equal within input blocks  ⇒  h is constant on blocks.
  [clone-backward]  Also out-equitable weights, output adjoints equal within blocks  ⇒  δ is constant on blocks.
  [clone-gradient]  Then ∂L/∂w is constant on the existing edges of each block pair, ∂L/∂b on blocks.
  [clone-trajectory] If also the 0/1 edge mask is equitable (biregular support), every SGD step stays in w0 + BC,
                    inside RE∩CE, for every data set and loss when inputs and outputs are alone in their blocks.
The paper omits the last hypothesis: without it the gradient is block-constant on edges only, so its sums differ
[clone-support]. The paper's assumption that blocks can be ordered follows from biregular support [clone-ordering]:
walking a cycle of blocks backwards, every node would have a predecessor forever. Without it, forward and backward
cloning still hold: take two nodes v, v' of a block and induct on the larger of their levels for all pairs at once;
z(v) − z(v') sums blockwise equal values times equal sums. (Formally: the synchronous sweep h ↦ φ(b + Wᵀh) keeps the
block-constant vectors, and after as many sweeps as there are levels it has reached the network's values.)
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from lop_theory.graph.dag import Network
from lop_theory.graph.equitable import (
    acyclic_quotient,
    biregular_support,
    equal_activations,
    equal_biases,
    in_equitable,
    out_equitable,
    singleton_ends,
)
from lop_theory.graph.manifold import hidden_nodes
from lop_theory.graph.partition import Partition, block_pairs
from lop_theory.graph.passes import Gradient, OutputAdjoint, backward, forward, gradient
from lop_theory.graph.scalars import IntArray, Values, exact, group_sums, is_exact, zeros_like_kind
from lop_theory.verdict import Fails, Verdict


class Hypotheses(NamedTuple):
    """Each hypothesis of functional trajectory invariance, with its verdict, in the order in which they are used."""

    equal_activations: Verdict
    singleton_ends: Verdict
    equal_biases: Verdict
    in_equitable: Verdict
    out_equitable: Verdict
    biregular_support: Verdict
    quotient_acyclic: Verdict


def hypotheses(network: Network, partition: Partition, tolerance: float = 0.0) -> Hypotheses:
    """All hypotheses of the corrected theorem (the last follows from the one before it, and is reported anyway)."""
    return Hypotheses(
        equal_activations(network.dag, partition),
        singleton_ends(network.dag, partition),
        equal_biases(network, partition, tolerance),
        in_equitable(network, partition, tolerance),
        out_equitable(network, partition, tolerance),
        biregular_support(network.dag, partition),
        acyclic_quotient(network.dag, partition),
    )


def trajectory_invariant(network: Network, partition: Partition, tolerance: float = 0.0) -> Verdict:
    """Does SGD from here stay in w0 + BC, whatever the data and the loss? The first failing hypothesis if not."""
    found = hypotheses(network, partition, tolerance)
    return next((verdict for verdict in found if isinstance(verdict, Fails)), found.in_equitable)


class Residuals(NamedTuple):
    """Largest spread within a block of h and δ, and within a block pair (or block, for biases) of the gradient."""

    forward: Any
    backward: Any
    gradient: Any


def residuals(network: Network, partition: Partition, x: Values, output_adjoint: OutputAdjoint) -> Residuals:
    """Exactly zero in rational arithmetic when the hypotheses hold. Batch columns are compared one by one."""
    trace = forward(network, x)
    back = backward(network, trace, output_adjoint(trace.h[network.dag.outputs]))
    blocks = partition.block_of
    return Residuals(
        spread(trace.h, blocks), spread(back.adjoint, blocks), gradient_spread(network, partition, back.gradient)
    )


def gradient_spread(network: Network, partition: Partition, found: Gradient) -> Any:
    """How far a gradient (or a parameter change) is from BC."""
    hidden = hidden_nodes(network.dag)
    pairs = block_pairs(network.dag, partition)
    return max(spread(found.weight, pairs.of_edge), spread(found.bias[hidden], partition.block_of[hidden]))


def sum_spread(network: Network, partition: Partition) -> Any:
    """How far the weights are from RE∩CE: the largest difference of in- or out-sums within a block."""
    pairs = block_pairs(network.dag, partition)
    found: list[Any] = [spread(network.bias, partition.block_of)]
    for cells, near in ((pairs.into, pairs.target_block), (pairs.outof, pairs.source_block)):
        bare = np.flatnonzero(np.bincount(cells.pair, minlength=pairs.total) < partition.sizes[near])
        sums = group_sums(network.weight, cells.of_edge, len(cells.node))
        padded = np.concatenate([sums, zeros_like_kind(bare.shape, sums)])
        found.append(spread(padded, np.concatenate([cells.pair, bare])))
    return max(found)


def spread(values: Values, group: IntArray) -> Any:
    """Largest max − min within a group, over all columns."""
    if not len(values):
        return 0
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(group[order]) > 0))
    v = values[order]
    return (np.maximum.reduceat(v, starts, axis=0) - np.minimum.reduceat(v, starts, axis=0)).max()


Batch = tuple[Values, OutputAdjoint]


def sgd_step(network: Network, batch: Batch, rate: Any, weight_rate: Any = 1, bias_rate: Any = 1) -> Network:
    """w − η · weight_rate · ∂L/∂w, likewise b. The factors are numbers or arrays (see ``quotient``)."""
    found = gradient(network, *batch)
    scale = _same_kind(rate, network)
    return network.with_parameters(
        network.weight - scale * _same_kind(weight_rate, network) * found.weight,
        network.bias - scale * _same_kind(bias_rate, network) * found.bias,
    )


def trajectory(network: Network, batches: Iterable[Batch], rate: Any, **rates: Any) -> list[Network]:
    """The networks after 0, 1, 2, … steps of SGD, one a batch."""
    path = [network]
    for batch in batches:
        path.append(sgd_step(path[-1], batch, rate, **rates))
    return path


def _same_kind(value: Any, network: Network) -> Any:
    return exact(np.asarray(value, dtype=object))[()] if is_exact(network.weight) else value
