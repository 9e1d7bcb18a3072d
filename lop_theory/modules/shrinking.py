"""Narrow a copy of a model, width class by width class, and keep what computes the same.  [base-network: Remark A.2]

A step names the units of one width class that go. All steps are tried together, then one by one: the parameters are
narrowed, sizes that the code reads follow where they must (:mod:`lop_theory.modules.sizes`), and the smaller model must
give the outputs of the larger on the detection's example, and on other batch sizes and lengths where the model takes
them.
"""

import copy
from collections.abc import Mapping
from functools import partial
from itertools import accumulate
from math import inf
from operator import mul
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput
from lop_theory.metrics.passes import undisturbed
from lop_theory.modules.axes import Axis
from lop_theory.modules.equitable import Structure
from lop_theory.modules.growth import ATTRIBUTE
from lop_theory.modules.interface import Correction
from lop_theory.modules.narrowing import Step, Taken, fill, is_tied, reduced, rescalable
from lop_theory.modules.own_class import other_shapes
from lop_theory.modules.sizes import Growth, Within, anywhere, choices, options_of, places_of, put, put_back, sizes_read
from lop_theory.trace import as_arguments, random_state

CLOSE = {torch.float64: 1e-10, torch.float32: 1e-5}


class Shrunk(NamedTuple):
    """``taken`` steps by width class, ``kept`` layers with the reason, the largest relative ``difference``."""

    model: nn.Module
    taken: Taken
    kept: Mapping[str, str]
    difference: float


class _Base(NamedTuple):
    """The model, what it answers to several inputs, how far a smaller one may be from that, and sizes that it reads."""

    model: nn.Module
    answers: list[tuple[Any, list[Any]]]
    limit: float
    read: set[tuple[type, str]]


def shrunk(model: nn.Module, example: Any, known: Structure, steps: list[Step], *, exact: bool) -> Shrunk:
    """Take the steps that leave the model running and, of ``exact`` ones, the outputs as they were."""
    base, kept, allowed = _base(model, example, exact=exact), dict[str, str](), dict[Axis, Step]()
    for step in steps:
        if reason := _forbidden(model, known, step) if base.answers else "the model does not run on the example":
            kept[step.layer] = reason
        else:
            allowed.setdefault(step.leaf, step)  # another layer of the same width goes with it
    whole, change = _fitted(base, model, known, {}, allowed)
    if whole is not None:
        return Shrunk(whole, allowed, kept, change)
    current, taken, difference = _copied(model), dict[Axis, Step](), 0.0
    for leaf, step in allowed.items():
        more = {**taken, leaf: step}
        attempt, change = _fitted(base, current, known, taken, more, _owners(known, leaf))
        if attempt is None:
            kept[step.layer] = _why(change)
        else:
            current, taken, difference = attempt, more, change
    return Shrunk(current, taken, kept, difference)


def _base(model: nn.Module, example: Any, *, exact: bool) -> _Base:
    calls = [example, *(kwargs or args for args, kwargs in other_shapes(*as_arguments(example)))]
    answers = [(given, _outputs(model, given)) for given in calls]
    known = [(given, outputs) for given, outputs in answers if outputs is not None]
    if answers[0][1] is None:
        return _Base(model, [], inf, set())
    return _Base(model, known, _close(known[0][1]) if exact else inf, sizes_read(model, example) if exact else set())


def _close(outputs: list[Any]) -> float:
    """A relative tolerance by the precision of the outputs."""
    dtypes = [t.dtype for t in outputs if isinstance(t, Tensor) and (t.is_floating_point() or t.is_complex())]
    return max((CLOSE.get(dtype.to_real(), 5e-2) for dtype in dtypes), default=0.0)


def _copied(model: nn.Module) -> nn.Module:
    try:
        result = copy.deepcopy(model)
    except Exception as error:
        raise InvalidInput("model", type(model).__name__, f"cannot be copied: {error}") from error
    vars(result).pop(ATTRIBUTE, None)  # no longer what was widened
    return result


def _fitted(
    base: _Base, shell: nn.Module, known: Structure, before: Taken, taken: Taken, within: Within = anywhere
) -> tuple[nn.Module | None, float]:
    """A copy of ``shell`` (in which the steps ``before`` are taken) with the steps ``taken``, and its difference; or
    ``None`` and the least difference of any choice of its sizes."""
    attempt = _copied(shell)
    options = options_of(attempt, base.read, _shrinking(known, before, taken), within)
    places, least = places_of(attempt, options, within), inf
    fill(attempt, base.model, known, taken)
    for chosen in ({}, *choices(options)):
        put(places, chosen)
        change = _difference(base, attempt)
        if change <= base.limit and change < inf:
            now = base._replace(answers=[(given, _outputs(attempt, given)) for given, _ in base.answers])
            put_back(chosen, places, partial(_is_as, now, attempt))
            return attempt, change
        least = min(least, change)
    return None, least


def _why(change: float) -> str:
    return "its code has the width as a number" if change == inf else f"the outputs would change by {change:.1e}"


def _forbidden(model: nn.Module, known: Structure, step: Step) -> str:
    """Operators that see how many units there are, and parameters that enter twice."""
    plan = known.plan
    for effects in plan.effects.values():
        for effect in effects:
            if isinstance(effect, Correction) and step.leaf in plan.leaves(effect.axis):
                return "an operator sums over these units without weights"
    counts = np.bincount(step.target)
    sizes = set(counts[counts > 0].tolist())
    if len(sizes) > 1 and any(step.leaf in plan.leaves(axis) for axis in plan.averaged):
        return "a normalisation averages over these units, and its blocks differ in size"
    tied = [name for name in known.roles.summed if is_tied(known, name, step.leaf)]
    if tied and (len(sizes) > 1 or not all(rescalable(model, known, name, step.leaf) for name in tied)):
        return f"{tied[0]} is tied: it enters in two ways"
    return ""


# --- sizes that follow ------------------------------------------------------------------------------------------------


def _owners(known: Structure, leaf: Axis) -> Within:
    """Modules with a parameter of this width class, and those that hold them: no object that all layers share."""
    paths = {name for name, axes in known.axes.items() if any(leaf in known.plan.leaves(axis) for axis in axes)}
    within = {""} | {".".join(parts[:k]) for name in paths for parts in [name.split(".")] for k in range(len(parts))}
    return lambda path, thing: isinstance(thing, nn.Module) and path in within


def _shrinking(known: Structure, before: Taken, taken: Taken) -> set[Growth]:
    """Sizes of every parameter's axes, and of what they are products of, before and after."""
    return {
        Growth(name.rpartition(".")[0], old, new)
        for name, axes in known.axes.items()
        for axis in axes
        for old, new in zip(_sizes(known, axis, before), _sizes(known, axis, taken), strict=True)
    }


def _sizes(known: Structure, axis: Axis, taken: Taken) -> list[int]:
    """Of an axis, of its parts, and of neighbouring parts of a product together (groups × heads)."""
    root = known.plan.find(axis)
    parts = [_sizes(known, part, taken) for part in known.plan._parts[root]]
    runs = [accumulate((part[0] for part in parts[k:]), mul) for k in range(len(parts))]
    together = [size for run in runs for size in run] if known.plan._kind[root] == "product" else []
    return [int(reduced(known, axis, taken).stays.sum()), *together, *(size for part in parts for size in part)]


# --- what it computes -------------------------------------------------------------------------------------------------


def _difference(base: _Base, attempt: nn.Module) -> float:
    """The largest relative change of an output; the first beyond the limit ends the comparison."""
    worst = 0.0
    for given, expected in base.answers:
        found = _outputs(attempt, given)
        worst = max(worst, inf if found is None else _change(expected, found))
        if worst > base.limit:
            break
    return worst


def _is_as(base: _Base, attempt: nn.Module) -> bool:
    """Bit for bit."""
    return _difference(base, attempt) == 0


def _outputs(model: nn.Module, inputs: Any) -> list[Any] | None:
    """All outputs, or ``None`` if it does not run."""
    try:
        with undisturbed(model) as run, torch.no_grad(), random_state(0):
            return pytree.tree_leaves(run(inputs))
    except (RuntimeError, ValueError, IndexError, AssertionError, TypeError):
        return None


def _change(before: list[Any], after: list[Any]) -> float:
    """The largest of max|difference| over max|output|, output by output; infinite for other shapes, whole numbers that
    differ, and what is finite in one alone."""
    if len(before) != len(after):
        return inf
    return max((_apart(a, b) for a, b in zip(before, after, strict=True)), default=0.0)


def _apart(a: Any, b: Any) -> float:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        plain = all(isinstance(x, (int, float, str, type(None))) for x in (a, b))
        return 0.0 if not plain or a == b else inf
    if a.shape != b.shape or a.dtype != b.dtype:
        return inf
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    differ = (a != b) & ~(a.isnan() & b.isnan())
    if not bool(differ.any()):
        return 0.0
    if not a.is_floating_point() or not bool((a[differ].isfinite() & b[differ].isfinite()).all()):
        return inf
    gap = float((a[differ].double() - b[differ].double()).abs().max())
    return gap / max(float(a[a.isfinite()].double().abs().max()), 1e-300)
