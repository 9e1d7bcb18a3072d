"""Run a model over its data and gather statistics of every layer; nothing of the layers is kept."""

from collections.abc import Callable, Mapping
from functools import partial, reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput
from lop_theory.metrics import flatten_units
from lop_theory.metrics.passes import anchored, floating, watched
from lop_theory.metrics.units import SATURATED_SHARE, small_gradients
from lop_theory.metrics.watch import Layer
from lop_theory.modules.batches import Batches, Mask, kept_rows, mask_of
from lop_theory.modules.certified import (
    Call,
    Place,
    Recorded,
    agreed,
    certified_call,
    in_training_mode,
    nodes_of,
    training_call,
)
from lop_theory.modules.detection import Criteria
from lop_theory.modules.frozen import Interval
from lop_theory.modules.gathered import Gathered
from lop_theory.modules.outputs import weights_of_outputs

WIDEST = 12288
"""Units up to which a layer is judged: its second moments are a square of them (1.2 GB in float64)."""


class Observed(NamedTuple):
    """``seen``: layers in order of computation; ``ends``: sources of the outputs; ``example``: the first batch's
    inputs. ``samples`` are those of the first dimension. ``certified``: by layer, units that every
    call that was differentiated, and one in training mode, certifies as frozen for ever. ``beyond``: the loss reads
    more of the model than its outputs."""

    seen: tuple[Layer, ...]
    gathered: dict[str, Gathered]
    small: dict[str, tuple[Tensor, int]]
    ends: frozenset[int]
    example: Any
    samples: int
    batches: int
    wide: frozenset[str]
    certified: Mapping[str, Mapping[int, Interval]]
    beyond: bool

    def trouble(self, name: str) -> str:
        """Why a layer cannot be judged."""
        m = self.gathered[name].columns
        if m is None:
            wide = name in self.wide
            return f"has more than {WIDEST} units" if wide else "has no sample that the mask keeps"
        return "" if m.finite else "has NaN or infinite activations"

    def saturated(self, name: str) -> Tensor:
        """Units whose gradient is small on more than 99 % of the samples (mask); none where no gradient came."""
        m = self.gathered[name].columns
        assert m is not None
        if name not in self.small:
            return torch.zeros(len(m.mean), dtype=torch.bool)
        count, seen = self.small[name]
        return count > SATURATED_SHARE * seen


class _Gatherer:
    """What happens when a layer is seen."""

    def __init__(self, criteria: Criteria, *, several: bool) -> None:
        self.slope = criteria.slope
        self.alike = None if several else criteria.near
        self.mask: Tensor | None = None
        self.seen: dict[str, Layer] = {}
        self.gathered: dict[str, Gathered] = {}
        self.small: dict[str, tuple[Tensor, int]] = {}
        self.slopes: dict[int, Tensor] = {}
        self.ends: list[Tensor] = []
        self.places: dict[str, Place] = {}
        self.wide: set[str] = set()
        self.forward, self.backward, self.masked = True, True, False

    def see(self, layer: Layer, values: Tensor) -> None:
        name = layer.name
        self.seen.setdefault(name, layer)
        rows = kept_rows(self.mask, values, layer.dim)
        self.masked |= rows is not None
        gathered = self.gathered.setdefault(name, Gathered(self.alike))
        if values.shape[layer.dim] > WIDEST:
            self.wide.add(name)
        elif self.forward:
            gathered.add(values, layer.dim, rows)
            slope = self.slopes.pop(layer.source, None) if layer.kind == "activation" and layer.plainly else None
            if slope is not None and slope.shape == values.shape:
                gathered.add_slopes(slope, layer.dim, self.slope, rows)
        if self.backward and torch.is_grad_enabled():
            last = layer.dim % values.dim() == values.dim() - 1
            self.places[name] = Place(values.grad_fn, -1 if last else layer.dim)
            if layer.operator == "embedding" or (layer.kind == "sum" and not self.ends):
                self.ends.append(values if values.requires_grad else values.requires_grad_())
            if values.requires_grad:
                values.register_hook(lambda gradient: self._count(name, gradient, layer.dim, rows))

    def _count(self, name: str, gradient: Tensor | None, dim: int, rows: Tensor | None) -> None:
        """|∂L/∂H_ij| < 1e-4 · mean_i|H_ij|, the mean over all data."""
        if gradient is None:
            raise InvalidInput(
                "model", name, "gets no gradient: a layer that reads it has no derivative", "pass it unquantised"
            )
        m = self.gathered[name].columns
        if m is None:
            return
        kept, where = (gradient, dim) if rows is None else (flatten_units(gradient, dim)[rows], 1)
        count, seen = self.small.get(name, (torch.zeros_like(m.mean_abs), 0))
        small = small_gradients(kept, m.mean_abs, where)
        self.small[name] = count + small, seen + kept.numel() // len(small)

    def before(self, source: int, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The derivative of a named activation at its input, before it runs (it may overwrite its input)."""
        if not self.forward or not args[0].is_floating_point():
            return
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            z = args[0].detach().clone().requires_grad_()
            try:
                with saved_tensors_hooks(_itself, _itself):  # a checkpoint around the call counts what is saved
                    h = call(z * 1, *args[1:], **kwargs)
                    self.slopes[source] = torch.autograd.grad(h.sum(), z)[0]
            except (RuntimeError, TypeError):  # an activation without a derivative of its own is not judged by it
                self.slopes.pop(source, None)


def _itself(value: Tensor) -> Tensor:
    return value


def observe(
    model: nn.Module, batches: Batches, *, loss: Callable[..., Tensor] | None, mask: Mask, criteria: Criteria
) -> Observed:
    """One pass forward and back; over several batches one forward pass more, so that gradients are compared with the
    means over all data."""
    gatherer = _Gatherer(criteria, several=batches.several)
    sources: frozenset[int] = frozenset()
    example: Any = None
    calls: list[Call] = []
    last: Any = None
    count = samples = 0
    with watched(model, gatherer.see, gatherer.before) as (run, watch):
        for forward, backward in ((True, not batches.several), (False, True))[: 1 + batches.several]:
            gatherer.forward, gatherer.backward = forward, backward
            for batch in batches:
                inputs = batches.inputs_of(batch)
                gatherer.mask = mask_of(mask, batch)
                watch.restart()
                with torch.set_grad_enabled(backward):
                    fed = anchored(inputs) if backward else inputs
                    _require_inside(criteria.input_range, floating(fed))
                    gatherer.ends, gatherer.places, nodes = floating(fed), {}, nodes_of(fed)
                    output = _called(run, fed)
                    sources |= watch.outputs(floating(output))
                    if backward:
                        call = Recorded(nodes, output, _loss(loss, output, None if batches.single else batch))
                        calls.append(certified_call(model, call, criteria.input_range, gatherer.ends, gatherer.places))
                        last = inputs, batch
                if forward:
                    example = inputs if example is None else example
                    count, samples = count + 1, samples + _size(inputs)
    if not count:
        raise InvalidInput("data", "a loader", "has no batch", "give at least one")
    if mask is not None and gatherer.seen and not gatherer.masked:
        raise InvalidInput("mask", mask, "fits the samples of no layer", "give one number a sample, or a position")
    if agreed(calls) and not in_training_mode(model):
        inputs, batch = last
        again = partial(_loss, loss, batch=None if batches.single else batch)
        calls.append(training_call(model, inputs, again, criteria.input_range))
    return Observed(
        tuple(gatherer.seen.values()),
        gatherer.gathered,
        gatherer.small,
        sources,
        example,
        samples,
        count,
        frozenset(gatherer.wide),
        agreed(calls),
        any(call.beyond for call in calls),
    )


def _require_inside(input_range: tuple[float, float] | None, values: list[Tensor]) -> None:
    if input_range is None:
        return
    low, high = input_range
    for least, most in (torch.aminmax(tensor.detach()) for tensor in values if tensor.numel()):
        if not low <= float(least) <= float(most) <= high:
            found = f"the data has values from {float(least):.6g} to {float(most):.6g}"
            raise InvalidInput("input_range", input_range, found, "give a range that holds all inputs")


def _called(run: Callable[[Any], Any], inputs: Any) -> Any:
    try:
        return run(inputs)
    except (TypeError, RuntimeError, IndexError, KeyError, ValueError, AttributeError) as error:
        if isinstance(error, InvalidInput):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InvalidInput(
            "data", type(inputs).__name__, f"the model cannot be called with it: {type(error).__name__}: {reason}"
        ) from error


def _size(inputs: Any) -> int:
    sizes = [t.shape[0] for t in pytree.tree_leaves(inputs) if isinstance(t, Tensor) and t.dim()]
    return max(sizes, default=1)


def _loss(loss: Callable[..., object] | None, output: Any, batch: Any) -> Tensor | None:
    if loss is not None:
        total = loss(output) if batch is None else loss(output, batch)
        if not isinstance(total, Tensor) or total.numel() != 1:
            raise InvalidInput("loss", total, "must return a tensor of one number")
        return total
    parts = tuple(t for t in floating(output) if t.requires_grad)
    terms = [(t * r).sum() for t, r in zip(parts, weights_of_outputs(parts, 0), strict=True)]
    return reduce(torch.add, terms) if terms else None
