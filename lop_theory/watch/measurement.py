"""One record: every measurement on the probe, each by itself. What fails is named in the notes and stops nothing."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from lop_theory.metrics import LayerMetrics, measure, weight_norm
from lop_theory.metrics.recording import NonFiniteActivations
from lop_theory.metrics.watch import Layer as Seen
from lop_theory.modules import Detection, detect
from lop_theory.modules.readers import parameter
from lop_theory.optim.layer import Layer as Units
from lop_theory.watch.alarms import Seen as Evidence
from lop_theory.watch.alarms import alarms_of
from lop_theory.watch.gain import Draws, best_gain, curvature_at, draws, normal_curvature
from lop_theory.watch.optimiser_facts import Facts, held
from lop_theory.watch.pairs import Pair, distance, nearest, parameters_of_units, rate
from lop_theory.watch.probe import Probe, measuring, output_of, rows_of
from lop_theory.watch.record import NAN, Alarm, LayerNumbers, Record, WholeNumbers
from lop_theory.watch.tangents import tangents_of

GROUPS = ("pairs", "churn", "tangents", "curvature")
"""What is measured beside the units and their verdicts: nearest clone manifolds; churn and the size of a step; the
tangent kernel; gain bound and normal curvature."""
SLOW = frozenset({"tangents", "curvature"})
"""Those that take many passes."""
DORMANT, QUIET = 0.025, 0.01
"""ReDo's τ and GraMa's."""

T = TypeVar("T")


class Before(NamedTuple):
    """The model one step earlier: its weights, and its predictions on the probe (``None`` where they failed)."""

    weights: Mapping[str, Tensor]
    predictions: Tensor | None


class Occasion(NamedTuple):
    """What a record is made of. ``units``: those of the traced graph (none where it could not be traced)."""

    model: nn.Module
    probe: Probe
    step: int
    facts: Facts
    groups: frozenset[str]
    units: tuple[Units, ...] = ()
    before: Before | None = None
    last: Record | None = None


class Sheet:
    """Notes as they come; a measurement that fails becomes one."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def attempt(self, name: str, action: Callable[[], T]) -> T | None:
        """The action's value, or ``None`` and a note."""
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found = action()
        except Exception as error:
            self.notes.append(f"{name} not measured: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            return None
        self.notes += [str(w.message) for w in caught if issubclass(w.category, NonFiniteActivations)]
        return found


def before(model: nn.Module, probe: Probe | None, groups: frozenset[str]) -> Before | None:
    """The model as it is, for what one step changes; without a probe no predictions."""
    if "churn" not in groups:
        return None
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    if probe is None:
        return Before(weights, None)
    with measuring(model):
        return Before(weights, Sheet().attempt("churn", lambda: rows_of(output_of(model, probe)).detach()))


def record(at: Occasion) -> Record:
    """Measure."""
    sheet = Sheet()
    model, probe = at.model, at.probe
    sheet.notes += broken(model)
    with measuring(model):
        metrics = sheet.attempt("units", lambda: measure(model, probe.inputs, probe.total, dormant_tau=DORMANT)) or {}
        detection = sheet.attempt("verdicts", lambda: detect(model, probe.inputs, loss=probe.total))
        drawn = sheet.attempt("gradients", lambda: draws(model, probe))
        whole = _whole(at, sheet, drawn, detection)
        pairs = _pairs(at, sheet) if "pairs" in at.groups else {}
    gradients = _gradients(detection, drawn)
    slopes = {name: rows.abs().mean(1).double() for name, rows in gradients.items()}
    found = _alarms(at, sheet, detection, gradients) if detection is not None else ()
    by_weight = {} if detection is None else {s.name: s.weight[0] for s in detection.seen if s.weight}
    layers = {
        name: _layer(name, numbers, at, detection, slopes)._replace(**_near(by_weight.get(name), at, pairs))
        for name, numbers in metrics.items()
    }
    notes = [*sheet.notes, *_notes(detection)]
    known = {name: (pair.i, pair.j, pair.distance) for name, (pair, _) in pairs.items()}
    return Record(at.step, layers, whole, found, tuple(dict.fromkeys(notes)), known)


def _alarms(at: Occasion, sheet: Sheet, detection: Detection, gradients: Mapping[str, Tensor]) -> tuple[Alarm, ...]:
    moved = held(at.model, at.facts)
    weights = {s.name: s.weight[0] for s in detection.seen if s.weight}
    known = {name: rows for name, rows in gradients.items() if weights[name] in moved}
    seen = Evidence(at.model, detection, known, at.facts)
    return sheet.attempt("alarms", lambda: alarms_of(seen)) or ()


def broken(model: nn.Module) -> list[str]:
    """Parameters and buffers that are not finite, by name."""
    state = [*model.named_parameters(), *model.named_buffers()]
    wrong = [name for name, t in state if t.is_floating_point() and not bool(torch.isfinite(t).all())]
    return [f"NaN or infinite: {name}" for name in wrong]


def _notes(detection: Detection | None) -> list[str]:
    if detection is None:
        return []
    return [*detection.notes, *(f"{s.layer}: {s.reason}" for s in detection.skipped)]


# ---- the whole model ----


def _whole(at: Occasion, sheet: Sheet, drawn: Draws | None, detection: Detection | None) -> WholeNumbers:
    numbers: dict[str, Any] = {"weight_norm": weight_norm(at.model)}
    if drawn is not None:
        numbers |= {"gradient_norm": drawn.square_of_mean**0.5, "loss": drawn.loss if at.probe.has_loss else NAN}
    if at.before is not None:
        numbers |= {"update_norm": _moved(at.model, at.before), "churn": sheet.attempt("churn", lambda: churn(at))}
    if "tangents" in at.groups:
        kernel = sheet.attempt("tangent kernel", lambda: tangents_of(at.model, at.probe))
        numbers |= {} if kernel is None else {"ntk_rank": kernel.rank, "ntk_limit": kernel.limit}
    if "curvature" in at.groups and drawn is not None and at.probe.has_loss:
        numbers |= sheet.attempt("curvature", lambda: _curved(at, drawn, detection)) or {}
    known: dict[str, Any] = {name: NAN if value is None else value for name, value in numbers.items()}
    return WholeNumbers(**known)


def churn(at: Occasion) -> float:
    """‖f − f'‖/‖f'‖ on the probe, f' one step before."""
    assert at.before is not None
    old = at.before.predictions
    if old is None:
        return NAN
    new = rows_of(output_of(at.model, at.probe)).detach()
    return float((new - old).double().norm()) / max(float(old.double().norm()), 1e-300)


def _moved(model: nn.Module, earlier: Before) -> float:
    return (
        float(sum(_change(p, earlier.weights[n]) ** 2 for n, p in model.named_parameters() if n in earlier.weights))
        ** 0.5
    )


def _change(now: Tensor, then: Tensor) -> float:
    return float((now.detach().double() - then.double()).norm())


def _curved(at: Occasion, drawn: Draws, detection: Detection | None) -> dict[str, float]:
    where = curvature_at(at.model, at.probe)
    best = best_gain(where, drawn)
    numbers = {"gain_bound": best.bound, "gain_step": best.step, "smoothness": best.smoothness}
    known = detection.structure if detection is not None else None
    found = normal_curvature(where, known) if known is not None else None
    if found is None:
        return numbers
    residual = max(found.lowest.residual, found.highest.residual)
    lowest, highest = found.lowest.value, found.highest.value
    return {**numbers, "normal_lowest": lowest, "normal_highest": highest, "normal_residual": residual}


# ---- layers ----


def _gradients(detection: Detection | None, drawn: Draws | None) -> dict[str, Tensor]:
    """By layer: ∂L/∂w_in of every unit, a row each, where its units are those of one trained parameter."""
    if detection is None or drawn is None:
        return {}
    return {
        s.name: _per_unit(drawn.mean[s.weight[0]], s) for s in detection.seen if s.weight and s.weight[0] in drawn.mean
    }


def _per_unit(gradient: Tensor, seen: Seen) -> Tensor:
    assert seen.weight is not None
    return gradient.detach().movedim(seen.weight[1], 0).reshape(gradient.shape[seen.weight[1]], -1)


def _layer(
    name: str, found: LayerMetrics, at: Occasion, detection: Detection | None, slopes: Mapping[str, Tensor]
) -> LayerNumbers:
    numbers = LayerNumbers(
        units=found.units,
        samples=found.batch,
        dead=found.dead,
        dormant=found.dormant,
        saturated=found.saturated,
        duplicate=found.duplicate_as_paper,
        effective_rank=found.effective_rank,
        effective_rank_error=found.effective_rank_error,
        stable_rank=found.stable_rank,
        participation_ratio=found.participation_ratio,
        rank_limit=min(found.units, found.batch),
    )
    if detection is None:
        return numbers
    if name in slopes:
        size = slopes[name]
        numbers = numbers._replace(dormant_gradient=float((size <= QUIET * size.mean()).double().mean()))
    return _with_weights(_with_verdicts(numbers, name, detection), name, at, detection)


def _with_verdicts(numbers: LayerNumbers, name: str, detection: Detection) -> LayerNumbers:
    layer = next((x for x in detection.layers if x.module == name), None)
    if layer is None:
        return numbers
    share = {
        kind: sum(len(b.units) for b in layer.verdicts if b.kind == kind) / layer.units
        for kind in ("trapped", "frozen")
    }
    return numbers._replace(**share)


def _with_weights(numbers: LayerNumbers, name: str, at: Occasion, detection: Detection) -> LayerNumbers:
    weight = next((s.weight[0] for s in detection.seen if s.name == name and s.weight), None)
    if weight is None:
        return numbers
    now = parameter(at.model, weight).detach()
    then = None if at.before is None else at.before.weights.get(weight)
    moved = NAN if then is None else _change(now, then)
    return numbers._replace(weight_norm=float(now.double().norm()), update_norm=moved)


Pairs = dict[str, tuple[Pair, float]]


def _pairs(at: Occasion, sheet: Sheet) -> Pairs:
    """By group of units: the nearest pair, and the rate of the pair that was nearest in the last record."""
    found: Pairs = {}
    for units in at.units:
        pair = sheet.attempt(f"clone distance of {units.name}", lambda units=units: _pair(units, at))
        found |= {units.name: pair} if pair is not None else {}
    return found


def _pair(units: Units, at: Occasion) -> tuple[Pair, float] | None:
    v = parameters_of_units(units)
    pair = nearest(v)
    then = None if at.last is None else at.last.pairs.get(units.name)
    if pair is None or at.last is None or then is None:
        return None if pair is None else (pair, NAN)
    i, j, far = then
    return pair, rate(far, distance(v, i, j), at.step - at.last.step)


def _near(weight: str | None, at: Occasion, pairs: Pairs) -> dict[str, float]:
    """Of the layer whose units are rows of the weight."""
    for units in at.units:
        if units.name in pairs and weight in {f"{p.module}.weight" for p in units.units.producers}:
            pair, drift = pairs[units.name]
            return {"clone_distance": pair.distance, "clone_rate": drift}
    return {}
