"""A clone and its base, trained side by side, against the theory  [clone-trajectory] [clone-rates] [base-network].

Three predictions, each from the present parameters alone:

* ``clone-distance`` per layer: activations and adjoints of clones are equal, whatever the step sizes, if the update is
  equivariant and treats clones alike (:func:`lop_theory.graph.closure.stays`); measured is √(1 − R²), the relative
  distance from clones, of the worse of both directions;
* ``clone-equals-base``, layer ``gradients``: at the clone's own point, N s g′ = g for every parameter, so that the next
  matched step of both is the same; one step in float64, free of accumulated rounding;
* ``clone-equals-base``, layer ``outputs``: with matched step sizes all along, the two functions still coincide.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from empirical.theory.check import Check, judged
from empirical.theory.nearest import dropout_reason
from lop_theory.errors import InvalidInput
from lop_theory.graph.closure import Decay, Update, stays
from lop_theory.metrics import cloning_r2, flatten_units
from lop_theory.modules.clone import Clone
from lop_theory.modules.interface import Partition
from lop_theory.modules.numeric import Signals, signals
from lop_theory.modules.rates import matches
from lop_theory.modules.rules.entrywise import ACTIVATIONS
from lop_theory.modules.terms import TOLERANCE
from lop_theory.trace import operator_name

FLOOR = 1e-3  # of the largest gradient: below it a parameter's own gradient counts as zero
TWIN, CHAOS = 100.0, 0.1


class Dynamics(NamedTuple):
    """How base and clone were trained since they were equal.

    ``update`` is the class of the update map as in the optimiser table: ``linear`` (SGD, momentum), ``elementwise``
    (Adam) or ``asymmetric`` (gradient noise, dropout, renewed units). ``matched``: with the clone's own step sizes
    (:func:`lop_theory.modules.rates.matched_groups`). ``copies``: clones started as exact copies.

    Training amplifies rounding, along the manifold too, until the outputs of the two have nothing to do with each
    other. ``twin``, a base trained like the base from :func:`nudged` weights, shows by how much: a hundred times its
    distance is allowed, and where that is beyond a tenth the hypothesis of exact arithmetic is not met. Without a twin
    the tolerance alone has to cover rounding: for short runs (an MLP in float32 passes 1e-4 after some hundred steps).
    """

    update: Update = "linear"
    decay: Decay = "none"
    matched: bool = True
    copies: bool = True
    twin: nn.Module | None = None


def check_clone(
    base: nn.Module,
    clone: Clone,
    inputs: Tensor,
    labels: Tensor,
    *,
    dynamics: Dynamics = Dynamics(),  # noqa: B008 - an immutable value
    tolerance: float | None = None,
) -> list[Check]:
    """The three predictions in the models' present mode; no model is touched.

    ``clone`` is what ``expand(base, …)`` made; weights trained in a wide model of the same class are put into it by
    ``load_state_dict``. ``tolerance``: of all three, relative; by default that of certificates for the models'
    precision (1e-4 in float32).
    """
    if not isinstance(clone, Clone):
        raise InvalidInput("clone", type(clone).__name__, "must be what expand made", "load the weights into one")
    limit = tolerance or TOLERANCE[next(clone.parameters()).dtype]

    def loss(output: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, labels)

    seen = signals(clone.program, clone.state(), [inputs], seed=0, loss=loss)
    off = _off_manifold(base, dynamics)
    layers = [_layer(name, pair, limit, off) for name, pair in cloning(clone, seen).items()]
    apart = max((check.measured for check in layers), default=0.0)
    left = "" if apart <= limit else f"the clone is off its manifold by {apart:.1e}"
    unmatched = "" if dynamics.matched else "the step sizes are not the matched ones"
    gradients = _gradient_difference(base, clone, inputs, loss, seen)
    allowed = limit if dynamics.twin is None else max(limit, TWIN * _output_difference(base, dynamics.twin, inputs))
    rounded = "" if allowed <= CHAOS else f"rounding alone moves the base's outputs by {allowed / TWIN:.1e}"
    hypothesis = off or unmatched or left or rounded
    return [
        *layers,
        _difference("gradients", gradients, limit, left),
        _difference("outputs", _output_difference(base, clone, inputs), allowed, hypothesis),
    ]


def nudged(base: nn.Module) -> nn.Module:
    """A copy of ``base`` whose weights are one rounding away, in either direction."""
    twin, generator = copy.deepcopy(base), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in twin.parameters():
            up = torch.rand(p.shape, generator=generator).to(p.device) < 0.5
            p.copy_(torch.nextafter(p, torch.where(up, torch.inf, -torch.inf).to(p)))
    return twin


def cloning(clone: Clone, seen: Signals) -> dict[str, tuple[float, float]]:
    """(forward R², backward R²) of every cloned activation by module name, in order of computation."""
    found: dict[str, tuple[float, float]] = {}
    for node in clone.program.graph.nodes:
        maps = clone.profile.values.get(node.name, ())
        cloned = [dim for dim, index in enumerate(maps) if len(index) > index.max(initial=-1) + 1]
        if operator_name(node) not in ACTIVATIONS.split() or len(cloned) != 1 or node.name not in seen.adjoints:
            continue
        dim, blocks = cloned[0], torch.as_tensor(maps[cloned[0]])
        forward, backward = (flatten_units(t[node.name].detach(), dim) for t in (seen.values, seen.adjoints))
        found[_layer_name(clone, node.name)] = cloning_r2(forward, blocks), cloning_r2(backward, blocks)
    return found


def _layer_name(clone: Clone, node: str) -> str:
    return clone.program.modules.get(node, "") or node


def _off_manifold(base: nn.Module, dynamics: Dynamics) -> str:
    """Why the trajectory need not stay on the manifold, or nothing."""
    if not stays(dynamics.update, dynamics.decay, block_constant=dynamics.copies)[0]:
        return f"{dynamics.update} updates with {dynamics.decay} decay may leave the manifold"
    return dropout_reason(base)


def _layer(name: str, values: tuple[float, float], limit: float, off: str) -> Check:
    distance = max(0.0, 1 - min(values)) ** 0.5
    verdict = judged(hypothesis=off, holds=distance <= limit)
    reason = off or f"R² forward {values[0]:.9f}, backward {values[1]:.9f}"
    return Check("clone-distance", name, verdict, distance, limit, reason)


def _difference(layer: str, measured: float, limit: float, hypothesis: str) -> Check:
    verdict = judged(hypothesis=hypothesis, holds=measured <= limit)
    reason = hypothesis or f"{layer} of clone and base differ by {measured:.1e} of the largest"
    return Check("clone-equals-base", layer, verdict, measured, limit, reason)


def _output_difference(base: nn.Module, other: nn.Module, inputs: Tensor) -> float:
    with torch.no_grad():
        theirs, ours = (_untouched(model, inputs) for model in (base, other))
    return float((theirs - ours).abs().max() / theirs.abs().max().clamp_min(1e-300))


def _untouched(model: nn.Module, inputs: Tensor) -> Tensor:
    """The model's output; running statistics and random streams stay as they are."""
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    with torch.random.fork_rng(devices=[]):
        return functional_call(model, buffers, (inputs,))


def _gradient_difference(
    base: nn.Module, clone: Clone, inputs: Tensor, loss: Callable[[Tensor], Tensor], seen: Signals
) -> float:
    """max |N s g′ − g| over parameters, relative to the largest |g| of each; the base stands at the clone's point."""
    twin = copy.deepcopy(base).double()
    twin.load_state_dict(_collapsed_state(clone), strict=False)
    loss(twin(inputs.double())).backward()
    largest = max(float(p.grad.abs().max()) for p in twin.parameters() if p.grad is not None)
    worst = 0.0
    parameters = dict(twin.named_parameters())
    for name, match in matches(clone).items():
        expected = parameters[name].grad
        if expected is None or name not in seen.gradients:
            continue
        difference = seen.gradients[name] * match.gradient.to(expected) - _tiled(expected, clone.profile.state[name])
        worst = max(worst, float(difference.abs().max()) / max(float(expected.abs().max()), FLOOR * largest, 1e-300))
    return worst


def _collapsed_state(clone: Clone) -> dict[str, Tensor]:
    """The base's parameters and buffers that the clone stands for: means over copies of w′/s."""
    return {
        name: _means(tensor.detach().double() / clone.factors[name].to(tensor.device), clone.profile.state[name])
        for name, tensor in clone.state().items()
        if tensor.is_floating_point()
    }


def _means(tensor: Tensor, maps: tuple[Partition, ...]) -> Tensor:
    for dim, index in enumerate(maps):
        blocks = torch.as_tensor(index, device=tensor.device)
        if len(index) > int(blocks.max()) + 1:
            shape = [*tensor.shape[:dim], int(blocks.max()) + 1, *tensor.shape[dim + 1 :]]
            total = tensor.new_zeros(shape).index_add_(dim, blocks, tensor)
            count = torch.bincount(blocks).reshape([-1] + [1] * (tensor.dim() - dim - 1))
            tensor = total / count
    return tensor


def _tiled(tensor: Tensor, maps: tuple[Partition, ...]) -> Tensor:
    for dim, index in enumerate(maps):
        tensor = tensor.index_select(dim, torch.as_tensor(index, device=tensor.device))
    return tensor
