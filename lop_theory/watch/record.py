"""What the monitor measured at one step: numbers of every layer, numbers of the whole, alarms, and what to know before
believing them."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from lop_theory.errors import InvalidInput

NAN = math.nan
KINDS = ("permanent", "reversible", "useful", "undecided")
"""Of alarms: what they mean is told in :mod:`lop_theory.watch.alarms`."""


class LayerNumbers(NamedTuple):
    """One hidden layer on the probe; shares are in [0, 1], what was not measured is NaN. The first ten are those of
    :mod:`lop_theory.metrics` under the same names (``duplicate`` is ``duplicate_as_paper``).

    ``rank_limit`` = min(units, samples), which no rank can exceed (``participation_ratio``, of centred activations:
    min(units, samples − 1)). ``dormant_gradient``: share of units with mean|∂L/∂w_in| ≤ τ × its mean over the layer
    (GraMa). ``weight_norm`` and ``update_norm``: Frobenius norms of the weights that the units are rows of, and of
    their change in the last step. ``clone_distance``: see :mod:`lop_theory.watch.pairs`; ``clone_rate`` is
    log(distance now/distance then)/steps of the pair that was nearest then: negative, and the pair drifts together.
    ``trapped``, ``frozen``: shares of units that are certified so.
    """

    units: int
    samples: int
    dead: float = NAN
    dormant: float = NAN
    saturated: float = NAN
    duplicate: float = NAN
    effective_rank: float = NAN
    effective_rank_error: float = NAN
    stable_rank: float = NAN
    participation_ratio: float = NAN
    rank_limit: int = 0
    dormant_gradient: float = NAN
    weight_norm: float = NAN
    update_norm: float = NAN
    clone_distance: float = NAN
    clone_rate: float = NAN
    trapped: float = NAN
    frozen: float = NAN


class WholeNumbers(NamedTuple):
    """Of the whole model; NaN where not measured. ``loss`` is that of the probe.

    ``churn`` = ‖f(x; w) − f(x; w')‖/‖f(x; w')‖ over the last step w' → w. ``ntk_rank``, ``ntk_limit``: see
    :mod:`lop_theory.watch.tangents`. ``gain_bound``, ``gain_step``, ``smoothness``: see :mod:`lop_theory.watch.gain`.
    ``normal_lowest``, ``normal_highest``: extreme curvatures on the normal space of the manifold of the trapped clones,
    ``normal_residual`` the larger of their residuals.
    """

    loss: float = NAN
    weight_norm: float = NAN
    update_norm: float = NAN
    gradient_norm: float = NAN
    churn: float = NAN
    ntk_rank: float = NAN
    ntk_limit: int = 0
    gain_bound: float = NAN
    gain_step: float = NAN
    smoothness: float = NAN
    normal_lowest: float = NAN
    normal_highest: float = NAN
    normal_residual: float = NAN


class Alarm(NamedTuple):
    """What is the matter with ``units`` of a layer. ``kind``: :data:`KINDS`; ``found``: the
    verdict behind it; ``remedies``: what can leave it, one line each."""

    layer: str
    kind: str
    found: str
    units: tuple[int, ...]
    reason: str
    remedies: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = " ".join(map(str, self.units[:8])) + (" …" if len(self.units) > 8 else "")
        many = f"{len(self.units)} unit{'s' if len(self.units) != 1 else ''} ({shown})"
        return f"{self.kind}: {self.layer}: {many} {self.found}: {self.reason}"


class Record(NamedTuple):
    """One logged step. ``pairs``: by layer, the nearest pair of units and its distance, for the next record's rates."""

    step: int
    layers: Mapping[str, LayerNumbers]
    whole: WholeNumbers
    alarms: tuple[Alarm, ...] = ()
    notes: tuple[str, ...] = ()
    pairs: Mapping[str, tuple[int, int, float]] = {}

    def numbers(self) -> dict[str, float]:
        """All that was measured, flat, as trackers want it: ``layer/name`` and ``name``; alarms are counted by kind."""
        found = {name: float(value) for name, value in self.whole._asdict().items()}
        for layer, numbers in self.layers.items():
            found |= {f"{layer}/{name}": float(value) for name, value in numbers._asdict().items()}
        for alarm in self.alarms:
            key = f"{alarm.layer}/alarm_{alarm.kind}"
            found[key] = found.get(key, 0.0) + len(alarm.units)
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def as_json(self) -> dict[str, Any]:
        """Plain lists, texts and numbers; NaN and infinity are ``None``."""
        return {
            "step": self.step,
            "whole": _plain(self.whole._asdict()),
            "layers": {name: _plain(numbers._asdict()) for name, numbers in self.layers.items()},
            "alarms": [{**a._asdict(), "units": list(a.units), "remedies": list(a.remedies)} for a in self.alarms],
            "notes": list(self.notes),
            "pairs": {name: list(pair) for name, pair in self.pairs.items()},
        }


def record_of(saved: Mapping[str, Any]) -> Record:
    """The inverse of :meth:`Record.as_json`. Raises ``InvalidInput`` for what :meth:`Record.as_json` cannot have
    written: a saved state may come from anyone."""
    try:
        return Record(
            _count(saved["step"]),
            {str(name): LayerNumbers(**_read(numbers)) for name, numbers in saved["layers"].items()},
            WholeNumbers(**_read(saved["whole"])),
            tuple(map(_alarm, saved["alarms"])),
            tuple(map(str, saved["notes"])),
            {str(name): (_count(i), _count(j), float(far)) for name, (i, j, far) in saved["pairs"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise invalid_state(error) from None


def invalid_state(error: Exception) -> InvalidInput:
    """For a state that no monitor saved."""
    reason = f"is not what state_dict() gives ({type(error).__name__}: {str(error)[:80]})"
    return InvalidInput("state", "record", reason, "give the state_dict() of a monitor")


def _alarm(saved: Mapping[str, Any]) -> Alarm:
    found = Alarm(**dict(saved))
    if found.kind not in KINDS:
        raise ValueError(f"an alarm of kind {found.kind!r}")
    texts = {name: str(getattr(found, name)) for name in ("layer", "found", "reason")}
    return found._replace(**texts, units=tuple(map(_count, found.units)), remedies=tuple(map(str, found.remedies)))


def _count(number: Any) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError(f"{number!r} is no count")
    return number


def _plain(numbers: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _read(numbers: Mapping[str, float | None]) -> dict[str, Any]:
    return {name: NAN if value is None else _number(value) for name, value in numbers.items()}


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is no number")
    return value
