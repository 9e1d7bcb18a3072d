"""Find the clones and the frozen units that a trained model has grown.  [clone-forward] [frozen-unit: Theorem 2.1.1]"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx, nn

from lop_theory.metrics import Moments, cosines, dead, distance_to_equitable, dormant, flatten_units, moments, saturated
from lop_theory.modules.check import canonical
from lop_theory.modules.numeric import Signals, signals
from lop_theory.modules.plan import Widths, widths
from lop_theory.modules.propagate import Rules, bind
from lop_theory.modules.rules.elementwise import ACTIVATIONS
from lop_theory.trace import Node, Program, flat_inputs, operator_name, state_of

SUMS = frozenset("linear addmm conv1d conv2d conv3d embedding".split())
UNIT_OPERATORS = SUMS | frozenset(ACTIVATIONS.split()) | {"prelu", "glu", "add"}


LEGEND = """cloned: units equal to another on every sample; blocks: what they fall into.
near: units with a cosine > 0.95 to another. d(H), d(W): relative distance to the manifold on which the near blocks
(not the cloned ones) were exact clones; large where near-clones point one way but differ in length."""


class Criteria(NamedTuple):
    """Clones: max difference ≤ ``clone`` × layer maximum. Near-clones: cosine > ``near``. Dormant: ReDo's τ."""

    clone: float = 1e-6
    near: float = 0.95
    dormant: float = 0.025


DEFAULT = Criteria()


class Layer(NamedTuple):
    """One value of the model as samples × units. ``blocks`` and ``near_blocks`` number the block of every unit.

    ``distance`` is ‖H − block means‖/‖H‖ for the near blocks: how far the activations are from the manifold on which
    those were clones. It says nothing about ``blocks``, whose units are equal, and is large where near-clones differ
    in length.
    ``weight_distance`` (weighted sums only) is the relative distance of the weights to RE∩CE for the near blocks of
    both sides.
    """

    module: str
    operator: str
    units: int
    blocks: tuple[int, ...]
    near_blocks: tuple[int, ...]
    distance: float
    weight_distance: float | None
    dead: tuple[int, ...]
    dormant: tuple[int, ...]
    saturated: tuple[int, ...]
    frozen: tuple[int, ...]

    @property
    def cloned(self) -> int:
        """Units that share their block with another."""
        return _shared(self.blocks)

    @property
    def near(self) -> int:
        return _shared(self.near_blocks)


def _shared(blocks: tuple[int, ...]) -> int:
    counts = np.bincount(blocks)
    return int(counts[counts > 1].sum())


class Detection(NamedTuple):
    """Layers in order of computation."""

    layers: tuple[Layer, ...]
    samples: int

    def as_json(self) -> dict[str, Any]:
        return {
            "samples": self.samples,
            "layers": [{**x._asdict(), "cloned": x.cloned, "near": x.near} for x in self.layers],
        }

    def table(self) -> str:
        head = f"{'layer':44} {'units':>6} {'cloned':>7} {'blocks':>7} {'near':>6} {'near d(H)':>9} {'near d(W)':>9}"
        lines = [head + f" {'dead':>5} {'dorm.':>5} {'sat.':>5} {'frozen':>6}"]
        for x in self.layers:
            weight = "-" if x.weight_distance is None else f"{x.weight_distance:.2e}"
            lines.append(
                f"{f'{x.module} [{x.operator}]'[-44:]:44} {x.units:6d} {x.cloned:7d} {len(set(x.blocks)):7d} "
                f"{x.near:6d} {x.distance:9.2e} {weight:>9} {len(x.dead):5d} {len(x.dormant):5d} "
                f"{len(x.saturated):5d} {len(x.frozen):6d}"
            )
        return "\n".join([*lines, "", LEGEND])


def detect(
    model: nn.Module,
    batch: Any,
    *,
    loss: Callable[[Any], Tensor] | None = None,
    criteria: Criteria = DEFAULT,
    rules: Rules | None = None,
) -> Detection:
    """Clones, near-clones, dead, dormant, saturated and frozen units of every hidden layer, measured on ``batch`` in
    float64.

    Adjoints come from ``loss(output)``, or from a random linear function of the outputs. The model is not touched.
    A unit is frozen if its derivative is 0 on all samples: ∂L/∂z = 0 although ∂L/∂h ≠ 0 for some sample.
    """
    found = widths(model, batch, rules, both_modes=False)
    traced = found.modes[model.training]
    seen = signals(traced.program, state_of(model), flat_inputs(traced.program, batch), seed=0, loss=loss)
    partitions: dict[int, tuple[int, ...]] = {}
    layers: list[Layer] = []
    samples = 0
    for node in traced.program.graph.nodes:
        dim = _unit_dim(found, traced.axes, node)
        if dim is None or node.name not in seen.values:
            continue
        h = flatten_units(seen.values[node.name].detach(), dim)
        samples = max(samples, len(h))
        layer = _layer(traced.program, node, h, seen, dim, criteria)
        layer = layer._replace(weight_distance=_weight_distance(found, traced.axes, node, seen, layer, partitions))
        partitions[found.plan.find(traced.axes[node.name][dim])] = layer.near_blocks
        layers.append(layer)
    return Detection(tuple(layers), samples)


def _unit_dim(found: Widths, axes: Mapping[str, Any], node: Node) -> int | None:
    """The one dimension of a layer's value that holds units: the one that could be widened."""
    if node.op != "call_function" or operator_name(node) not in UNIT_OPERATORS or isinstance(axes.get(node.name), list):
        return None
    free = [d for d, axis in enumerate(axes.get(node.name, ())) if found.plan.cloned(axis)]
    return free[0] if len(free) == 1 and len(axes[node.name]) > 1 else None


def _layer(program: Program, node: Node, h: Tensor, seen: Signals, dim: int, criteria: Criteria) -> Layer:
    m = moments(h)
    near = near_blocks(m, criteria.near)
    gradient = _flat(seen.adjoints.get(node.name), dim)
    return Layer(
        module=program.modules.get(node.name, "") or "(top)",
        operator=operator_name(node),
        units=h.shape[1],
        blocks=exact_blocks(h, criteria.clone),
        near_blocks=near,
        distance=_distance(h, near),
        weight_distance=None,
        dead=_indices(dead(m)),
        dormant=_indices(dormant(m, criteria.dormant)),
        saturated=() if gradient is None else _indices(saturated(h, gradient)),
        frozen=_frozen(node, gradient, seen, dim),
    )


def _flat(tensor: Tensor | None, dim: int) -> Tensor | None:
    return None if tensor is None else flatten_units(tensor, dim)


def _indices(mask: Tensor) -> tuple[int, ...]:
    return tuple(torch.nonzero(mask).flatten().tolist())


def exact_blocks(h: Tensor, tolerance: float) -> tuple[int, ...]:
    """Units within ``tolerance`` × max|H| of a block's first unit, on every sample.

    Sorting by one random projection leaves only neighbours to compare.
    """
    limit = tolerance * float(h.abs().max()) if h.numel() else 0.0
    weights = torch.randn(len(h), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(h.device)
    key = weights @ h.double()
    reach = limit * float(weights.abs().sum())
    order = key.argsort().tolist()
    block = np.full(h.shape[1], -1)
    leaders: list[int] = []
    keys = key.tolist()
    for unit in order:
        leaders = [leader for leader in leaders if keys[unit] - keys[leader] <= reach]
        match = next((u for u in leaders if float((h[:, u] - h[:, unit]).abs().max()) <= limit), None)
        if match is None:
            leaders.append(unit)
        block[unit] = unit if match is None else match
    return tuple(canonical(block).tolist())


def near_blocks(m: Moments, threshold: float) -> tuple[int, ...]:
    """Leader clustering by cosine similarity: every unit joins the first leader that it resembles."""
    similar = (cosines(m) > threshold).cpu().numpy()
    block = np.full(len(similar), -1)
    for unit in range(len(similar)):
        if block[unit] < 0:
            members = np.flatnonzero(similar[unit] & (block < 0))
            block[members] = unit
            block[unit] = unit
    return tuple(canonical(block).tolist())


def _distance(h: Tensor, blocks: tuple[int, ...]) -> float:
    one_hot = nn.functional.one_hot(torch.tensor(blocks, device=h.device)).to(h)
    means = (h @ one_hot) / one_hot.sum(0)
    norm = float(h.norm())
    return float((h - means @ one_hot.T).norm()) / norm if norm else 0.0


def _frozen(node: Node, gradient: Tensor | None, seen: Signals, dim: int) -> tuple[int, ...]:
    """For an activation: units whose input gets no gradient although their output does."""
    source = node.args[0] if node.args else None
    if operator_name(node) not in ACTIVATIONS.split() or gradient is None or not isinstance(source, fx.Node):
        return ()
    before = seen.adjoints.get(source.name)
    if before is None or len(source.users) > 1:
        return ()
    return _indices((flatten_units(before, dim) == 0).all(0) & (gradient != 0).any(0))


def _weight_distance(
    found: Widths,
    axes: Mapping[str, Any],
    node: Node,
    seen: Signals,
    layer: Layer,
    partitions: Mapping[int, tuple[int, ...]],
) -> float | None:
    if operator_name(node) not in ("linear", "conv1d", "conv2d", "conv3d"):
        return None
    arguments = bind(node)
    weight = seen.values.get(arguments["weight"].name)
    if weight is None or arguments.get("groups", 1) != 1:
        return None
    root = found.plan.find(axes[arguments["weight"].name][1])
    columns = partitions.get(root, tuple(range(weight.shape[1])))
    slices = weight.detach().reshape(*weight.shape[:2], -1).unbind(-1)
    norm = float(weight.detach().norm())
    square = sum(distance_to_equitable(piece, layer.near_blocks, columns) ** 2 for piece in slices)
    return square**0.5 / norm if norm else 0.0
