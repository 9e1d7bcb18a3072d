"""Run a model on random batches and look at every value and every adjoint: the numeric half of a certificate.

A cross-check, not a proof. Where a kink lies within rounding of an input (relu near 0, two nearly equal maxima),
clones may take
different branches although the certificate holds; such a batch decides nothing, and the verdict says so.
"""

import math
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx

from lop_theory.modules.axes import block_count, is_cloned
from lop_theory.modules.conditions import Offence, largest, pair_of
from lop_theory.modules.outputs import compared_outputs, differentiate, outputs_of, weights_of_outputs
from lop_theory.modules.propagation import sizes_of
from lop_theory.modules.redistribute import block_sums
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
    loss: Callable[[Any], Tensor] | None = None,
    rounding: float = 0.0,
) -> Signals:
    """One forward and backward pass in float64; the model is not touched. By default the loss is a random linear
    function of the outputs. ``rounding``: every value is off by a random relative error of about this size."""
    buffers = _leaves(state)
    values: dict[str, Tensor] = {}
    tensors: dict[str, Tensor] = {}
    sizes: dict[str, Any] = {}
    ties: list[str] = []

    errors = torch.Generator().manual_seed(seed)

    def observe(node: Node, value: Any) -> Any:
        sizes[node.name] = sizes_of(value)
        if not isinstance(value, Tensor):
            return value
        if value.is_floating_point():
            if rounding and node.name not in given_names:
                value = value * _off(value, rounding, errors)
            values[node.name] = value
            if not value.is_leaf:
                value.retain_grad()
            if near_tie(node, values, NEAR):
                ties.append(program.where(node))
        tensors[node.name] = value
        return value

    given_names = set(program.user_inputs)
    given = [x.detach() if isinstance(x, Tensor) else x for x in inputs]
    with torch.enable_grad(), random_state(seed):
        output = run(program, buffers, given, observe, precision=torch.float64)
        outputs = outputs_of(output)
        if loss is None:
            differentiate(outputs, weights_of_outputs(outputs, seed))
        else:
            loss(output).backward()
    adjoints = {name: t.grad for name, t in values.items() if not t.is_leaf and t.grad is not None}
    gradients = {name: t.grad for name, t in buffers.items() if t.grad is not None}
    return Signals(values, adjoints, gradients, tuple(ties), tuple(t.detach() for t in outputs), tensors, sizes)


def _off(value: Tensor, size: float, generator: torch.Generator) -> Tensor:
    """1 + error, the error between half and one and a half times ``size``, of random sign."""
    uniform = torch.rand(value.shape, generator=generator, dtype=torch.float64).to(value.device)
    return 1 + size * (2 * uniform - 1 + torch.sign(uniform - 0.5) * 0.5)


def _leaves(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state in float64 with parameters as leaves, tied ones still tied."""
    leaves = {id(tensor): _leaf(tensor) for tensor in state.values()}
    return {name: leaves[id(tensor)] for name, tensor in state.items()}


def _leaf(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.detach()
    return tensor.detach().double().requires_grad_(isinstance(tensor, torch.nn.Parameter))


def near_tie(node: Node, values: Mapping[str, Tensor], margin: float) -> bool:
    """A value within rounding of a kink, but not on it (on it, all clones take the same branch by convention)."""
    name = operator_name(node)
    source = node.args[0] if node.args else None
    x = values.get(source.name) if isinstance(source, fx.Node) else None
    if x is None:
        return False
    width = margin * largest(x)
    if name in KINKS:
        gap = [(x.detach() - kink).abs() for kink in KINKS[name]]
        return any(bool(((g > 0) & (g < width)).any()) for g in gap)
    return "max_pool" in name and _pooled_tie(x.detach(), width)


def _pooled_tie(x: Tensor, margin: float) -> bool:
    """Two different pixels of one channel that differ by rounding only; windows are not looked at (a superset is
    safe)."""
    ordered = x.flatten(-2).sort(-1).values if x.dim() > 2 else x.sort(-1).values
    gap = ordered.diff(dim=-1)
    return bool(((gap > 0) & (gap < margin)).any())


PERTURBATION = 1e-8
NEAR = 1e-11  # relative distance to a kink within which a batch decides nothing
ROUNDING = 2.0**-50  # a few roundings of float64
MARGIN = 64.0  # how many times the measured effect of rounding counts as rounding


class Sensitivity(NamedTuple):
    """By how much values, adjoints and gradients move per unit of relative error in weights and operators, measured by
    running the program a second time with such errors: a running error bound of every number."""

    values: Mapping[str, Tensor]
    adjoints: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    outputs: tuple[Tensor, ...]


def sensitivity(
    program: Program, state: Mapping[str, Tensor], inputs: list[Any], seen: Signals, seed: int
) -> Sensitivity:
    """Of the pass ``seen``, which took the same inputs and seed."""
    other = signals(program, state, inputs, seed, rounding=PERTURBATION)

    def moved(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: _gap(t.detach(), theirs[n].detach()).abs() / PERTURBATION for n, t in mine.items()}

    outputs = tuple(
        _gap(a, b).abs() / PERTURBATION for a, b in zip(seen.outputs, other.outputs, strict=True)
    )  # fmt: skip
    return Sensitivity(
        moved(seen.values, other.values),
        moved(seen.adjoints, other.adjoints),
        moved(seen.gradients, other.gradients),
        outputs,
    )


def _gap(a: Tensor, b: Tensor) -> Tensor:
    """a − b, zero where both are the same infinity (masks)."""
    return torch.where(a == b, torch.zeros((), dtype=a.dtype, device=a.device), a - b)


def _lines(tensor: Tensor, dim: int) -> Tensor:
    """One row a coordinate along the dimension."""
    return tensor.movedim(dim, 0).reshape(tensor.shape[dim], -1)


def _by_unit(moved: Tensor, dim: int) -> Tensor:
    """The largest movement of every unit; a unit that happened not to move counts as the median one."""
    flat = _lines(moved.nan_to_num(0.0, 0.0), dim).amax(1)
    return flat.clamp_min(float(flat.median()))


def spread_offence(program: Program, name: str, pair: tuple[Tensor, Tensor], axes: Any, rule: "Rule") -> Offence | None:
    """The clones that differ most along some axis, if by more than rounding explains; ``pair`` is a value and how it
    moves."""
    values, moved = pair[0].detach(), pair[1]
    for dim, index in enumerate(axes if values.numel() else ()):
        if not is_cloned(index):
            continue
        leaders = _leaders(index).to(values.device)
        apart = _gap(values, values.index_select(dim, leaders)).abs()
        worst = _lines(apart, dim).amax(1)
        bound = MARGIN * rule.level * _block_largest(_by_unit(moved, dim), index)
        excess = worst - bound
        if bool((excess > 0).any()) or bool(worst.isnan().any()):
            unit = int(excess.nan_to_num(float("inf")).argmax())
            column = int(_lines(apart, dim)[unit].argmax())
            line = _lines(values, dim)[:, column].cpu().numpy()
            reason = f"clones differ by {float(worst[unit]):.2e} (rounding explains {float(bound[unit]):.2e})"
            units = pair_of(np.flatnonzero(index == index[unit]), line)
            return Offence(program.modules.get(name, ""), name, rule.condition, reason, units)
    return None


class Rule(NamedTuple):
    """The condition that is looked at, and the relative error that weights and operators may have."""

    condition: str
    level: float


def _block_largest(values: Tensor, index: Any) -> Tensor:
    numbers = np.unique(index, return_inverse=True)[1]
    blocks = torch.as_tensor(numbers, device=values.device)
    best = torch.zeros(block_count(numbers), dtype=values.dtype, device=values.device)
    return best.scatter_reduce(0, blocks, values, "amax")[blocks]


def _leaders(index: Any) -> Tensor:
    """For every coordinate the first one of its block."""
    _, first, inverse = np.unique(index, return_index=True, return_inverse=True)
    return torch.as_tensor(first[inverse])


class Evidence(NamedTuple):
    """One batch: what was seen, and how it moves under rounding."""

    seen: Signals
    moved: Sensitivity


def cloned_offences(
    program: Program, evidence: Evidence, partitions: Mapping[str, Any], gradient_axes: Mapping[str, Any], slack: float
) -> list[Offence]:
    """MC1 on values, MC2 on adjoints (in backward order), MC3 on parameter gradients; ``slack``: the relative
    deviation of the weights from equitable ones."""
    seen, moved = evidence
    level = max(ROUNDING, 2 * slack)
    order = [node.name for node in program.graph.nodes if isinstance(partitions.get(node.name), tuple)]
    computed = [name for name in order if name not in program.state]
    wanted = [
        *((name, seen.values, moved.values, partitions, "MC1") for name in computed),
        *((name, seen.adjoints, moved.adjoints, partitions, "MC2") for name in reversed(computed)),
        *((name, seen.gradients, moved.gradients, gradient_axes, "MC3") for name in seen.gradients),
    ]
    found = [
        spread_offence(program, name, (values[name], moves[name]), axes[name], Rule(condition, level))
        for name, values, moves, axes, condition in wanted
        if name in values and name in moves and axes.get(name) is not None
    ]
    return [offence for offence in found if offence is not None]


def infinite_offences(program: Program, state: Mapping[str, Tensor], seen: Signals) -> list[Offence]:
    """NaN or infinite numbers. Only −∞ may stand, in buffers and inside (masks, which softmax removes)."""
    found: list[Offence] = []
    for name, tensor in state.items():
        parameter = isinstance(tensor, torch.nn.Parameter)
        if bad(tensor, masks=not parameter):
            what = "weight" if parameter else "buffer"
            module = name.rpartition(".")[0]
            found.append(Offence(module, name, "finite", f"the {what} {name} is NaN or infinite", _place(tensor)))
    last = set(compared_outputs(program))
    computed = {name: tensor for name, tensor in seen.values.items() if name not in program.state}
    for kind, values in (("value", computed), ("adjoint", seen.adjoints), ("gradient", seen.gradients)):
        for name, tensor in values.items():
            if bad(tensor, masks=kind == "value" and name not in last):
                module = program.modules.get(name, name.rpartition(".")[0])
                found.append(Offence(module, name, "finite", f"the {kind} is NaN or infinite", _place(tensor)))
    return found


def bad(tensor: Tensor, *, masks: bool) -> bool:
    """Whether a number is NaN or infinite; with ``masks`` −∞ may stand."""
    if not tensor.is_floating_point() or not tensor.numel():
        return False
    known = tensor.detach() if tensor.element_size() > 1 else tensor.detach().float()  # float8 has no such operator
    low, high = (float(x) for x in known.aminmax())
    return math.isnan(low) or high == math.inf or (not masks and low == -math.inf)


def _place(tensor: Tensor) -> tuple[int, ...]:
    return tuple(torch.nonzero(~tensor.detach().isfinite())[0].tolist())


class Comparison(NamedTuple):
    """A clone and its base on one batch; ``pairs`` maps nodes of the clone to those of the base, ``values`` the latter
    to base coordinates; ``rescaled`` nodes are left out.

    ``level``: the relative error of weights and operators (rounding of the coarsest weights that are used).
    """

    program: Program
    pairs: Mapping[str, str]
    clone: Signals
    base: Signals
    moved: Sensitivity  # of the base
    values: Mapping[str, Any]
    rescaled: frozenset[str]
    level: float


def base_offence(c: Comparison) -> Offence | None:
    """First value that is not the base's, then first adjoint with |S| δ ≠ δ̃ (block sums must be the base's adjoints).

    Values between a projection and a sum of activations (queries with a folded logit scale) may differ from the
    base's by a
    constant; the sum itself and the outputs must agree. Rearranged weights are divided by multiplicities and left
    out, too.
    """
    for name, mine, theirs, moved in zip(
        compared_outputs(c.program), c.clone.outputs, c.base.outputs, c.moved.outputs, strict=False
    ):
        offence = _differs(c, name, mine, theirs, moved)
        if offence is not None:
            return _first_difference(c) or offence
    return _adjoint_difference(c)


def _differs(c: Comparison, name: str, mine: Tensor, theirs: Tensor, moved: Tensor) -> Offence | None:
    module = c.program.modules.get(name, "")
    if mine.shape != theirs.shape:
        return Offence(module, name, "base", f"shape {tuple(mine.shape)} against {tuple(theirs.shape)}")
    if not mine.numel():
        return None
    bound = MARGIN * c.level * by_last(moved)
    gap = by_last(_gap(mine, theirs).abs(), middle=False)
    excess = gap - bound
    if not bool((excess > 0).any()):
        return None
    k = int(excess.argmax())
    worst, limit = float(gap.flatten()[k]), float(bound.expand_as(gap).flatten()[k])
    return Offence(module, name, "base", f"differs from the base by {worst:.2e} (rounding explains {limit:.2e})")


def by_last(tensor: Tensor, *, middle: bool = True) -> Tensor:
    """The largest entry along the last axis's coordinates, or of all where there are few samples of each."""
    if tensor.dim() < 2 or tensor.numel() < 16 * tensor.shape[-1]:
        return tensor.nan_to_num(posinf=0.0).amax().reshape(1) if middle else tensor.amax().reshape(1)
    flat = tensor.flatten(0, -2).amax(0)
    if not middle:
        return flat
    known = flat.nan_to_num(0.0, 0.0)
    return known.clamp_min(float(known.median()))


def aligned(program: Program, base: Program) -> dict[str, str]:
    """The base's node for each node of the clone: the same calls in the same order, but for inserted ones."""
    mine, theirs = ([n for n in p.graph.nodes if n.op == "call_function"] for p in (program, base))
    kinds = [[(str(n.target), p.modules.get(n.name, "")) for n in ns] for p, ns in ((program, mine), (base, theirs))]
    if kinds[0] == kinds[1]:
        return {a.name: b.name for a, b in zip(mine, theirs, strict=True)}
    found: dict[str, str] = {}
    for a, b, size in SequenceMatcher(None, *kinds, autojunk=False).get_matching_blocks():
        found |= {mine[a + k].name: theirs[b + k].name for k in range(size)}
    return found


def _comparable(c: Comparison, mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    return [
        (a, b)
        for a, b in c.pairs.items()
        if a in mine and b in theirs and a not in c.rescaled
        if _fits(c.values.get(b), mine[a], theirs[b])
    ]


def _fits(maps: Any, mine: Tensor, theirs: Tensor) -> bool:
    """Whether the partition of a value fits both sides: traces in other precisions have casts of their own."""
    if maps is None or not len(maps) == mine.dim() == theirs.dim():
        return False
    return all([len(i), block_count(i)] == sizes for i, *sizes in zip(maps, mine.shape, theirs.shape, strict=True))


def _first_difference(c: Comparison) -> Offence | None:
    for name, other in _comparable(c, c.clone.values, c.base.values):
        expected, moved = (_pulled(t.detach(), c.values[other]) for t in (c.base.values[other], c.moved.values[other]))
        offence = _differs(c, name, c.clone.values[name].detach(), expected, moved)
        if offence is not None:
            return offence
    return None


def _pulled(tensor: Tensor, maps: Any) -> Tensor:
    for dim, index in enumerate(maps):
        tensor = tensor.index_select(dim, torch.as_tensor(index, device=tensor.device))
    return tensor


def _adjoint_difference(c: Comparison) -> Offence | None:
    for name, other in reversed(_comparable(c, c.clone.adjoints, c.base.adjoints)):
        total = c.clone.adjoints[name].cpu().numpy()
        for dim, index in enumerate(c.values[other]):
            total = block_sums(total, index, dim)
        theirs = c.base.adjoints[other]
        offence = _differs(c, name, torch.as_tensor(total).to(theirs), theirs, c.moved.adjoints[other])
        if offence is not None:
            return offence._replace(condition="base (|S| δ = δ̃)")
    return None
