"""Reductions. Averages keep the base's value under equal multiplicities; sums and norms over clones need a
correction."""

from collections.abc import Callable
from typing import Any

from lop_theory.modules.interface import Axes, Call
from lop_theory.modules.rules.rule_table import table


def _dims(call: Call) -> list[int]:
    n = len(call["self"].shape)
    dim = call.get("dim")
    dims = list(range(n)) if dim is None or dim == [] else dim if isinstance(dim, list) else [dim]
    return [d % n for d in dims]


def _reduced(call: Call, each: Callable[[int, Any], None]) -> Axes:
    x, dims = call["self"], _dims(call)
    for d in dims:
        each(d, x.axes[d])
    if call.get("keepdim"):
        return tuple(call.domain.new(1) if d in dims else axis for d, axis in enumerate(x.axes))
    return tuple(axis for d, axis in enumerate(x.axes) if d not in dims)


def mean(call: Call) -> Axes:
    return _reduced(call, lambda _, axis: call.domain.average(axis))


def total(call: Call) -> Axes:
    return _reduced(call, lambda dim, axis: call.correct("self", dim, axis))


def norm(call: Call) -> Axes:
    """The p-norm, of order 2 where none is given, grows by multiplicity^(1/p)."""
    order = call["ord"] if "ord" in call.arguments else call["p"]
    order = 2 if order is None else order
    if order in (0, float("inf"), float("-inf")):
        return extremum(call)  # type: ignore[return-value]
    return _reduced(call, lambda dim, axis: call.correct("self", dim, axis, power=1 / order))


def variance(call: Call) -> Axes:
    """Divided by n an average; divided by n − 1 the value depends on the number of clones, so they are not allowed."""
    biased = call.get("correction") == 0 or call.get("unbiased") is False
    return _reduced(call, lambda _, axis: call.domain.average(axis) if biased else call.domain.rigid(axis))


def extremum(call: Call) -> Axes | list[Axes]:
    """The gradient of a maximum goes to one of the tied clones, so the reduced axis must not be cloned."""
    axes = _reduced(call, lambda _, axis: call.domain.rigid(axis))
    return [axes] * len(call.output) if isinstance(call.output, list) else axes


RULES = {
    **table(mean, "mean"),
    **table(total, "sum"),
    **table(norm, "linalg_vector_norm norm"),
    **table(variance, "var std"),
    **table(extremum, "amax amin max.dim max.default min.dim min.default argmax argmin logsumexp prod any all"),
}
