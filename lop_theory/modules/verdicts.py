"""One verdict a block of units, and the theorem or the measurement that it rests on."""

import math
from typing import Any, NamedTuple

from lop_theory.modules.frozen import Interval

KINDS = ("trapped", "separating", "cloned", "twin", "near", "dead", "constant", "frozen", "saturated")

MEANINGS = {
    "trapped": "weights in RE∩CE on biregular support: SGD, momentum and every permutation-equivariant optimiser with "
    "tied state keep these units equal on every data set and loss of the outputs, in the mode that the model is in "
    "(Theorem A.1, corrected)",
    "separating": "equal on this data, but training will part them",
    "cloned": "equal on this data; whether training parts them was not checked",
    "twin": "equal up to a symmetry of the activation (scale or sign)",
    "near": "correlated beyond the threshold and beyond chance, not equal",
    "dead": "zero (below 1e-7) on more than 95 % of this data",
    "constant": "one value on all of this data",
    "frozen": "frozen for ever under SGD without momentum or decay: certified by intervals, whatever other units do",
    "saturated": "derivative below 1e-4 on more than 99 % of this data",
}


class Block(NamedTuple):
    """``units`` share a verdict. ``kind`` is one of :data:`KINDS`; ``reason`` says why in one line.

    ``distance`` (near): root mean square distance of the farthest member from the first, over the first's spread.
    ``factors`` (twin, near): every unit as a multiple of the first, and ``residuals`` the root mean square of what that
    leaves; ``values`` (constant): the value of every unit. ``outgoing`` (twin, near): cosine between the
    outgoing weights of the first two units, and their size over the layer's median.
    """

    kind: str
    units: tuple[int, ...]
    reason: str
    distance: float | None = None
    factors: tuple[float, ...] = ()
    outgoing: tuple[float, float] | None = None
    interval: Interval | None = None
    residuals: tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    def as_json(self) -> dict[str, Any]:
        found = {key: value for key, value in self._asdict().items() if value not in (None, ())}
        if self.interval is not None:  # JSON has no infinity: null
            low, high, region = self.interval
            ends = {"low": low, "high": high, "flat_region": region}
            found["interval"] = {key: _finite(value) for key, value in ends.items()}
        return found

    def __str__(self) -> str:
        shown = " ".join(map(str, self.units[:8])) + (" …" if len(self.units) > 8 else "")
        return f"{self.kind:10} {len(self.units)} unit{'s' if len(self.units) > 1 else ''} ({shown}): {self.reason}"


def _finite(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_finite(end) for end in value]
    return value if math.isfinite(value) else None


class Skipped(NamedTuple):
    """A layer that was not judged, and why."""

    layer: str
    reason: str
