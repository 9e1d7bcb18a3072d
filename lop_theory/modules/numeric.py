"""Run a model on random batches and look at every value and every adjoint: the numeric half of a certificate.

A cross-check, not a proof. Where a kink lies within rounding of an input (relu near 0, two nearly equal maxima),
clones may take
different branches although the certificate holds; such a batch decides nothing, and the verdict says so.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from lop_theory.modules.check import Offence, clone_pair, largest
from lop_theory.modules.propagate import sizes_of
from lop_theory.modules.redistribute import adjacent, block_sums
from lop_theory.trace import Node, Program, operator_name, random_state, run

KINKS = {
    "relu": (0.0,), "leaky_relu": (0.0,), "prelu": (0.0,), "rrelu": (0.0,), "abs": (0.0,), "elu": (0.0,),
    "hardtanh": (-1.0, 0.0, 1.0, 6.0),
    "relu6": (0.0, 6.0), "hardsigmoid": (-3.0, 3.0), "hardswish": (-3.0, 3.0), "hardshrink": (-0.5, 0.5),
    "softshrink": (-0.5, 0.5), "selu": (0.0,), "celu": (0.0,), "threshold": (), "clamp": (0.0,), "clamp_min": (0.0,),
}  # fmt: skip


class Signals(NamedTuple):
    """Values and adjoints by node name, gradients by parameter name, and the kinks that the batch came too close to.

    ``values`` are floating; ``tensors`` and ``sizes`` are those of all nodes.
    """

    values: Mapping[str, Tensor]
    adjoints: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    near_ties: tuple[str, ...]
    outputs: tuple[Tensor, ...]
    tensors: Mapping[str, Tensor]
    sizes: Mapping[str, Any]


def signals(
    program: Program,
    state: Mapping[str, Tensor],
    inputs: list[Any],
    seed: int,
    *,
    margin: float = 1e-11,
    loss: Callable[[Any], Tensor] | None = None,
) -> Signals:
    """One forward and backward pass in float64; the model is not touched. By default the loss is a random linear
    function of the outputs."""
    buffers = _leaves(state)
    values: dict[str, Tensor] = {}
    tensors: dict[str, Tensor] = {}
    sizes: dict[str, Any] = {}
    ties: list[str] = []

    def observe(node: Node, value: Any) -> Any:
        sizes[node.name] = sizes_of(value)
        if isinstance(value, Tensor):
            tensors[node.name] = value
        if isinstance(value, Tensor) and value.is_floating_point():
            values[node.name] = value
            if value.requires_grad and not value.is_leaf:
                value.retain_grad()
            if node.op == "call_function" and _near_tie(node, values, margin):
                ties.append(program.where(node))
        return value

    given = [x.detach() if isinstance(x, Tensor) else x for x in inputs]
    with torch.enable_grad(), random_state(seed):
        output = run(program, buffers, given, observe, precision=torch.float64)
        outputs = tuple(t for t in pytree.tree_leaves(output) if _floating(t))
        total = _random_functional(outputs, seed) if loss is None else loss(output)
        if total.requires_grad:
            total.backward()
    adjoints = {name: t.grad for name, t in values.items() if t.requires_grad and not t.is_leaf and t.grad is not None}
    gradients = {name: t.grad for name, t in buffers.items() if t.grad is not None}
    return Signals(values, adjoints, gradients, tuple(ties), tuple(t.detach() for t in outputs), tensors, sizes)


def _leaves(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state in float64 with parameters as leaves, tied ones still tied."""
    leaves: dict[int, Tensor] = {}
    for tensor in state.values():
        if id(tensor) not in leaves:
            own = tensor.detach().double() if tensor.is_floating_point() else tensor.detach()
            leaves[id(tensor)] = (own.clone() if own is tensor else own).requires_grad_(_trainable(tensor))
    return {name: leaves[id(tensor)] for name, tensor in state.items()}


def _trainable(tensor: Tensor) -> bool:
    return isinstance(tensor, torch.nn.Parameter) and tensor.is_floating_point()


def _random_functional(outputs: tuple[Tensor, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros((), dtype=torch.float64)
    for t in outputs:
        total = total.to(t.device) + (t * torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t)).sum()
    return total


def _floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _near_tie(node: Node, values: Mapping[str, Tensor], margin: float) -> bool:
    """A value within rounding of a kink, but not on it (on it, all clones take the same branch by convention)."""
    name = operator_name(node)
    source = node.args[0] if node.args else None
    x = values.get(source.name) if isinstance(source, fx.Node) else None
    if x is None or not x.numel():
        return False
    if name not in KINKS and "max_pool" not in name:
        return False
    scale = largest(x) or 1.0
    if name in KINKS:
        gap = [(x.detach() - kink).abs() for kink in KINKS[name]]
        return any(bool(((g > 0) & (g < margin * scale)).any()) for g in gap)
    return _pooled_tie(x.detach(), margin * scale)


def _pooled_tie(x: Tensor, margin: float) -> bool:
    """Two different pixels of one channel that differ by rounding only; windows are not looked at (a superset is
    safe)."""
    ordered = x.flatten(-2).sort(-1).values if x.dim() > 2 else x.sort(-1).values
    gap = ordered.diff(dim=-1)
    return bool(((gap > 0) & (gap < margin)).any())


class Limit(NamedTuple):
    """Relative tolerance, and the magnitude below which a signal counts as zero."""

    relative: float
    floor: float


def _limit(tensors: Mapping[str, Tensor], tolerance: float) -> Limit:
    return Limit(tolerance, 1e-3 * max(map(largest, tensors.values()), default=0.0) or 1.0)


def spread_offence(
    program: Program, name: str, tensor: Tensor, axes: Any, condition: str, limit: Limit
) -> Offence | None:
    """The pair of clones that differ most along some axis of ``tensor``, if beyond the limit (relative to its
    maximum)."""
    values = tensor.detach()
    scale = max(largest(values), limit.floor)
    for dim, index in enumerate(axes):
        if len(index) <= index.max(initial=-1) + 1:
            continue
        worst = largest(_gaps(values, dim, index))
        if worst > limit.relative * scale:
            deviation = (values - values.index_select(dim, _leaders(index).to(values.device))).abs()
            column = int(deviation.movedim(dim, 0).reshape(len(index), -1).amax(0).argmax())
            line = values.movedim(dim, 0).reshape(len(index), -1)[:, column].cpu().numpy()
            reason = f"clones differ by {worst:.2e} (largest entry {scale:.2e})"
            units = clone_pair(index, differing=line)
            return Offence(program.modules.get(name, ""), name, condition, reason, units)
    return None


def _gaps(values: Tensor, dim: int, index: Any) -> Tensor:
    """Differences of all other clones from the first of their block; clones side by side need no gather."""
    width = adjacent(index)
    if width > 1:
        grid = values.unflatten(dim, (-1, width))
        return grid.narrow(dim + 1, 1, width - 1) - grid.narrow(dim + 1, 0, 1)
    return values - values.index_select(dim, _leaders(index).to(values.device))


def _leaders(index: Any) -> Tensor:
    """For every coordinate the first one of its block."""
    _, first, inverse = np.unique(index, return_index=True, return_inverse=True)
    return torch.as_tensor(first[inverse])


def cloned_offences(
    program: Program, seen: Signals, partitions: Mapping[str, Any], gradient_axes: Mapping[str, Any], tolerance: float
) -> list[Offence]:
    """MC1 on values, MC2 on adjoints (in backward order), MC3 on parameter gradients."""
    found: list[Offence | None] = []
    order = [node.name for node in program.graph.nodes if isinstance(partitions.get(node.name), tuple)]
    computed = [name for name in order if name not in program.state]
    limit = _limit({name: seen.values[name] for name in computed if name in seen.values}, tolerance)
    for name in computed:
        if name in seen.values:
            found.append(spread_offence(program, name, seen.values[name], partitions[name], "MC1", limit))
    limit = _limit(seen.adjoints, tolerance)
    for name in reversed(computed):
        if name in seen.adjoints:
            found.append(spread_offence(program, name, seen.adjoints[name], partitions[name], "MC2", limit))
    limit = _limit(seen.gradients, tolerance)
    for name, gradient in seen.gradients.items():
        if gradient_axes.get(name) is not None:
            found.append(spread_offence(program, name, gradient, gradient_axes[name], "MC3", limit))
    return [offence for offence in found if offence is not None]


class Comparison(NamedTuple):
    """A clone and its base on one batch; ``values`` maps nodes to base coordinates, ``rescaled`` nodes are left out."""

    program: Program
    clone: Signals
    base: Signals
    values: Mapping[str, Any]
    rescaled: frozenset[str]
    tolerance: float


def base_offence(c: Comparison) -> Offence | None:
    """First value that is not the base's, then first adjoint with |S| δ ≠ δ̃ (block sums must be the base's adjoints).

    Values between a projection and a sum of activations (queries with a folded logit scale) may differ from the
    base's by a
    constant; the sum itself and the outputs must agree. Rearranged weights are divided by multiplicities and left
    out, too.
    """
    for name, mine, theirs in zip(_outputs(c.program), c.clone.outputs, c.base.outputs, strict=True):
        offence = _differs(c.program, name, mine, theirs, Limit(c.tolerance, 1e-300))
        if offence is not None:
            return _first_difference(c) or offence
    return _adjoint_difference(c)


def _outputs(program: Program) -> list[str]:
    node = next(n for n in program.graph.nodes if n.op == "output")
    return [n.name for n in node.all_input_nodes]


def _differs(program: Program, name: str, mine: Tensor, theirs: Tensor, limit: Limit) -> Offence | None:
    module = program.modules.get(name, "")
    if mine.shape != theirs.shape:
        return Offence(module, name, "base", f"shape {tuple(mine.shape)} against {tuple(theirs.shape)}")
    gap = float((mine - theirs).abs().max()) if mine.numel() else 0.0
    scale = max(float(theirs.abs().max()) if theirs.numel() else 0.0, limit.floor)
    if gap <= limit.relative * scale:
        return None
    return Offence(module, name, "base", f"differs from the base by {gap:.2e} (largest entry {scale:.2e})")


def _comparable(c: Comparison, mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[str]:
    names = [node.name for node in c.program.graph.nodes if node.op == "call_function"]
    return [n for n in names if n in mine and n in theirs and n in c.values and n not in c.rescaled]


def _first_difference(c: Comparison) -> Offence | None:
    limit = _limit(c.base.values, c.tolerance)
    for name in _comparable(c, c.clone.values, c.base.values):
        expected = _pulled(c.base.values[name].detach(), c.values[name])
        offence = (
            None if expected is None else _differs(c.program, name, c.clone.values[name].detach(), expected, limit)
        )
        if offence is not None:
            return offence
    return None


def _pulled(tensor: Tensor, maps: Any) -> Tensor | None:
    result = tensor
    for dim, index in enumerate(maps):
        if tensor.shape[dim] != index.max(initial=-1) + 1:
            return None
        result = result.index_select(dim, torch.as_tensor(index, device=tensor.device))
    return result


def _adjoint_difference(c: Comparison) -> Offence | None:
    limit = _limit(c.base.adjoints, c.tolerance)
    for name in reversed(_comparable(c, c.clone.adjoints, c.base.adjoints)):
        total = c.clone.adjoints[name].cpu().numpy()
        for dim, index in enumerate(c.values[name]):
            if len(index) > index.max(initial=-1) + 1:
                total = block_sums(total, index, dim)
        offence = _differs(c.program, name, torch.as_tensor(total), c.base.adjoints[name].cpu(), limit)
        if offence is not None:
            return offence._replace(condition="base (|S| δ = δ̃)")
    return None
