"""The empirical neural tangent kernel on a few predictions of the probe, and its effective rank.

    K_ij = ⟨∇_w(r·f_i), ∇_w(r·f_j)⟩,   r fixed random signs,   rank = exp(−Σ p_k log p_k),  p = eigenvalues/trace.

Averaged over r, K is the kernel summed over outputs. Near w a gradient step moves the predictions by −ηK times the
slopes of the loss: where the rank falls, the network can fit few of these predictions independently (to first order).
At most n predictions give at most rank n. A column of K is one backward pass and one through its graph, so memory is
that of a few gradients, whatever n.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.metrics import effective_rank
from lop_theory.watch.probe import Probe, output_of, rows_of

PREDICTIONS = 16


class Tangents(NamedTuple):
    """The kernel (n × n, float64) and its effective rank."""

    kernel: Tensor
    rank: float

    @property
    def limit(self) -> int:
        """The largest rank that n predictions allow."""
        return len(self.kernel)


def tangents_of(model: nn.Module, probe: Probe, count: int = PREDICTIONS) -> Tangents:
    """The kernel of at most ``count`` predictions, spread evenly over the probe. Raises ``InvalidInput`` if it is not
    finite."""
    kernel = tangent_kernel(model, probe, count)
    if not bool(torch.isfinite(kernel).all()):
        raise InvalidInput("kernel", "NaN", "is not finite", "parameters or predictions are NaN or infinite")
    eigenvalues = torch.linalg.eigvalsh(kernel).clamp_min(0)
    return Tangents(kernel, effective_rank(eigenvalues)[0])


def tangent_kernel(model: nn.Module, probe: Probe, count: int = PREDICTIONS) -> Tensor:
    """K of at most ``count`` predictions (float64)."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    f = scalars(rows_of(output_of(model, probe)), count)
    v = torch.zeros_like(f, requires_grad=True)
    slopes = torch.autograd.grad(f, parameters, v, create_graph=True, materialize_grads=True)  # Jᵀv, linear in v
    used = [k for k, slope in enumerate(slopes) if slope.requires_grad]
    graph = [slopes[k] for k in used]
    columns = []
    for k in range(len(f)):
        unit = torch.zeros_like(f)
        unit[k] = 1.0
        column = torch.autograd.grad(f, parameters, unit, retain_graph=True, materialize_grads=True)
        along = [column[j] for j in used]
        columns.append(torch.autograd.grad(graph, v, along, retain_graph=True)[0].double())
    kernel = torch.stack(columns)
    return (kernel + kernel.T) / 2


def scalars(rows: Tensor, count: int) -> Tensor:
    """r·f_i of evenly spread predictions."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (rows.shape[1],), generator=generator).to(rows) * 2 - 1
    n = min(count, len(rows))
    chosen = [k * len(rows) // n for k in range(n)]
    return rows[chosen] @ signs
