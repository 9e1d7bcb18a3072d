"""Dormant units and units without a gradient are different things.  [later-dormancy]

A unit is silent if h(v) = 0 on every sample (dormancy score 0), unmoved if the gradient of all its incoming weights
and of its bias is 0. For relu silent implies unmoved (z < 0 has slope 0); for an activation with slope at its zero
(tanh, gelu, silu) it does not: zero weights give h = 0 and a gradient. Unmoved never implies silent: outgoing weights
may be 0, errors may cancel, the loss may be stationary. For relu with δ(v) ≠ 0 and z(v) ≠ 0 on every sample, silent
⟺ no error δ(v) f′(z) on any sample. (arXiv 2603.21173 states the equivalence.)
"""

import numpy as np
from numpy.typing import NDArray

from lop_theory.graph.dag import Network
from lop_theory.graph.passes import OutputAdjoint, forward, gradient
from lop_theory.graph.scalars import Values

Mask = NDArray[np.bool_]


def silent_units(network: Network, x: Values) -> Mask:
    """Hidden nodes with h = 0 on every sample (columns of x)."""
    return (forward(network, x).h == 0).all(axis=1) & ~network.dag.is_input


def unmoved_units(network: Network, x: Values, output_adjoint: OutputAdjoint) -> Mask:
    """Hidden nodes whose incoming weights and bias have gradient 0, summed over the samples."""
    found = gradient(network, x, output_adjoint)
    moved = found.bias != 0
    np.logical_or.at(moved, network.dag.target, found.weight != 0)
    return ~moved & ~network.dag.is_input
