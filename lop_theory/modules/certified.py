"""Units that every call of a model certifies as frozen for ever (:mod:`~lop_theory.modules.frozen`): their gradients
were 0 in each."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils import _pytree as pytree

from lop_theory.metrics.passes import anchored, floating, gradients_to, undisturbed
from lop_theory.modules.backward_graph import HULLS, behind, in_order, reached, readers_of
from lop_theory.modules.frozen import Frozen, Interval, frozen_units

PLAIN = (Tensor, str, int, float, type(None))
"""Leaves of outputs that hide no tensor."""


class Place(NamedTuple):
    """Where a layer was seen: the node of its value, and the axis of its units (-1 is the last)."""

    node: Node | None
    axis: int


class Recorded(NamedTuple):
    """One call: nodes of what it was fed, what it gave, and what is differentiated."""

    fed: Collection[Node | None]
    output: Any
    total: Tensor | None


class Call(NamedTuple):
    """What one call says. Parameters are named by ``id``: ``touched`` are all that it differentiates, ``units`` the
    certified rows of weights, ``weights`` those of layers by name. ``beyond``: what is differentiated reads parameters,
    or values made of them, that are no outputs."""

    touched: frozenset[int]
    units: Mapping[int, Mapping[int, Interval]]
    weights: Mapping[str, int]
    beyond: bool = False


def certified_call(
    model: nn.Module,
    call: Recorded,
    input_range: tuple[float, float] | None,
    ends: Sequence[Tensor] = (),
    places: Mapping[str, Place] = MappingProxyType({}),
) -> Call:
    """Differentiate the call, to ``ends`` and to the weights of the units that it certifies."""
    leaves = pytree.tree_leaves(call.output)
    results = [t for t in (*leaves, call.total) if isinstance(t, Tensor)]
    readers = readers_of(results)
    seen = all(isinstance(leaf, PLAIN) for leaf in leaves)
    found = frozen_units(model, readers, call.fed, input_range) if seen else {}
    gradients = _gradients(call.total, ends, [frozen.weight for frozen in found.values()])
    beyond = set() if call.total is None else reached(call.total, {t.grad_fn for t in results if t is not call.total})
    own = {id(p) for p in model.parameters()}
    named = {name: _layer(place, found) for name, place in places.items()}
    return Call(
        frozenset(id(getattr(node, "variable", None)) for node in readers),
        {id(f.weight): _still(f, gradient) for f, gradient in zip(found.values(), gradients, strict=True)},
        {name: id(frozen.weight) for name, frozen in named.items() if frozen is not None},
        any(id(getattr(node, "variable", None)) in own for node in beyond),
    )


def _gradients(total: Tensor | None, ends: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor | None]:
    """To the weights; those to ``ends`` go to the hooks of what stands before them."""
    if total is None or not total.requires_grad or not (*ends, *weights):
        return [None for _ in weights]
    return list(gradients_to(total, (*ends, *weights))[len(ends) :])


def _still(frozen: Frozen, gradient: Tensor | None) -> dict[int, Interval]:
    """Units whose gradient is 0: something that no graph shows (a hook, a write to ``.data``) may have moved them. What
    such a write does on other data only is not seen."""
    if gradient is None:
        return frozen.units
    moved = gradient.flatten(1).ne(0).any(1)
    return {unit: interval for unit, interval in frozen.units.items() if not moved[unit]}


def _layer(place: Place, found: Mapping[Node, Frozen]) -> Frozen | None:
    """The activation whose units a layer's are, in their order."""
    path = behind(place.node, HULLS, found)
    frozen = found.get(path[-1]) if path else None
    return frozen if frozen is not None and frozen.axis == place.axis and in_order(path, place.axis) else None


def training_call(
    model: nn.Module, inputs: Any, loss: Callable[[Any], Tensor | None], input_range: tuple[float, float] | None
) -> Call:
    """The same inputs in training mode. Nothing is certified where that cannot be called, or of weights that it does
    not use."""
    every = frozenset(id(p) for p in model.parameters())
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.train()
        with undisturbed(model) as run, torch.enable_grad():
            fed = anchored(inputs)
            nodes = nodes_of(fed)
            output = run(fed)
            return certified_call(model, Recorded(nodes, output, loss(output)), input_range)._replace(touched=every)
    except Exception:
        return Call(every, {}, {})
    finally:
        for module, mode in modes:
            module.training = mode


def in_training_mode(model: nn.Module) -> bool:
    return all(module.training for module in model.modules())


def nodes_of(values: Any) -> list[Node | None]:
    return [t.grad_fn for t in floating(values)]


def agreed(calls: Iterable[Call]) -> dict[str, dict[int, Interval]]:
    """By layer: units that every call certifies which differentiates the weight."""
    calls = list(calls)
    names = {name for call in calls for name in call.weights}
    found = {name: _common(calls, {call.weights[name] for call in calls if name in call.weights}) for name in names}
    return {name: units for name, units in found.items() if units}


def _common(calls: Sequence[Call], weights: Collection[int]) -> dict[int, Interval]:
    if len(weights) != 1:
        return {}
    (weight,) = weights
    first, *others = [call.units.get(weight, {}) for call in calls if weight in call.touched]
    return {unit: interval for unit, interval in first.items() if all(unit in units for units in others)}
