"""How the norms of a unit's incoming and outgoing weights drift apart under gradient flow.  [later-norm-imbalance]

For every hidden unit v, with δ(v) = ∂L/∂h(v), sums over its edges, and the batch summed:

    outgoing(v) = Σ_u w_vu ∂L/∂w_vu + h(v)·(output adjoint)   = Σ δ(v) f(z)
    incoming(v) = Σ_u w_uv ∂L/∂w_uv + b_v ∂L/∂b_v             = Σ δ(v) z f′(z)

so outgoing − incoming = Σ δ(v)(f(z) − z f′(z)), which vanishes for a positively homogeneous activation (relu, leaky
relu, identity). Gradient flow has ½ d/dt(‖w_in‖² + b² − ‖w_out‖²) = outgoing − incoming if no output reads v. Every
reader counts and the bias counts with the incoming weights: without either the identity fails. A step of size η adds
½η²(‖∂in‖² − ‖∂out‖²).  (arXiv 2605.01288, stated there for layers.)
"""

from typing import NamedTuple

import numpy as np

from lop_theory.graph.dag import Network
from lop_theory.graph.passes import OutputAdjoint, Trace, activation_values, backward, forward
from lop_theory.graph.scalars import Values, group_sums


class Imbalance(NamedTuple):
    """By node (zero at inputs): both sides of outgoing − incoming = defect, and what the biases have in incoming."""

    outgoing: Values
    incoming: Values
    defect: Values
    of_biases: Values


def imbalance(network: Network, x: Values, output_adjoint: OutputAdjoint) -> Imbalance:
    """Both sides of the identity for inputs x (inputs, batch); exact for rationals. Raises ``InvalidInput``."""
    dag, trace = network.dag, forward(network, x)
    seed = output_adjoint(trace.h[dag.outputs])
    found = backward(network, trace, seed)
    power = network.weight * found.gradient.weight
    of_biases = network.bias * found.gradient.bias
    outgoing = group_sums(power, dag.source, dag.nodes)
    np.add.at(outgoing, dag.outputs, (trace.h[dag.outputs] * seed).sum(axis=1))
    outgoing[dag.inputs] = 0 * outgoing[dag.inputs]
    incoming = group_sums(power, dag.target, dag.nodes) + of_biases
    defect = (found.adjoint * homogeneity_defect(network, trace)).sum(axis=1)
    return Imbalance(outgoing, incoming, defect, of_biases)


def homogeneity_defect(network: Network, trace: Trace) -> Values:
    """f(z) − z f′(z) for every node and sample (zero at inputs): 0 iff f is homogeneous of degree 1 along its ray."""
    hidden = ~network.dag.is_input
    defect = trace.h - trace.z * activation_values(network, trace.z, slope=True)
    defect[~hidden] = 0 * defect[~hidden]
    return defect
