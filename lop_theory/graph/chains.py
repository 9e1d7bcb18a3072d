"""A head start for refinement on long chains, where the general algorithm would need a round a link.

A node with one edge into it can be told from another such node by what that edge carries: (weight, label of the
source), and in topological order the label of the source is already known. So among blocks all of whose nodes have at
most one such edge, one pass finds what refinement would find link by link. It splits nothing that refinement would not:
of equal numbers. With a tolerance runs are cut of all weights at once, and not of a block's, which is as equitable and
may be finer.
"""

import numpy as np

from lop_theory.graph.dag import Dag
from lop_theory.graph.partition import Partition, partition_from_labels
from lop_theory.graph.scalars import IntArray

THIN = 16  # nodes a level, on average, below which the pass is worth its loop over the nodes


def is_thin(dag: Dag) -> bool:
    return dag.levels > THIN and dag.nodes < THIN * dag.levels


def by_chains(dag: Dag, seed: Partition, weight_class: IntArray, *, into: bool) -> Partition:
    """The seed refined along edges into (or out of) nodes of which a block's members have at most one each.

    ``weight_class`` numbers equal weights alike, and weights as good as zero as 0.
    """
    pointers = dag.in_pointers if into else dag.out_pointers
    ends, classes = (dag.source, weight_class) if into else (dag.target_by_source, weight_class[dag.out_order])
    degree = np.diff(pointers)
    single = np.zeros(seed.blocks, dtype=np.int64)
    np.maximum.at(single, seed.block_of, degree)
    walked = np.flatnonzero((single[seed.block_of] == 1) & (degree == 1))
    edges = pointers[walked]
    rows = zip(walked.tolist(), classes[edges].tolist(), ends[edges].tolist(), strict=True)
    label, known = seed.block_of.tolist(), dict[tuple[int, int, int], int]()
    for v, kind, end in rows if into else reversed(list(rows)):
        if kind:
            label[v] = known.setdefault((label[v], kind, label[end]), seed.blocks + len(known))
    return partition_from_labels(np.array(label))
