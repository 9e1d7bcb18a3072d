"""The monitor's report: one HTML page that opens from disk, with no program in it and no request."""

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from lop_theory.report.page import asset
from lop_theory.watch.alarms import MEANINGS
from lop_theory.watch.control import Control
from lop_theory.watch.glossary import LAYER, WHOLE
from lop_theory.watch.live_table import COLUMNS, alarm_counts, cells
from lop_theory.watch.plots import Curve, plot
from lop_theory.watch.record import KINDS, Alarm, Record

STYLE = Path(__file__).with_name("report.css")


class Chart(NamedTuple):
    """Numbers that are drawn together."""

    title: str
    names: tuple[str, ...]
    logarithmic: bool = False


LAYER_CHARTS = (
    Chart("lost units, share", ("dead", "dormant", "dormant_gradient", "saturated", "duplicate")),
    Chart("certified, share", ("trapped", "frozen")),
    Chart("ranks", ("effective_rank", "stable_rank", "participation_ratio", "rank_limit")),
    Chart("distance to the nearest clone manifold", ("clone_distance",), True),
    Chart("rate of that distance a step", ("clone_rate",)),
    Chart("norms", ("weight_norm", "update_norm"), True),
)
WHOLE_CHARTS = (
    Chart("loss on the probe", ("loss",)),
    Chart("tangent kernel", ("ntk_rank", "ntk_limit")),
    Chart("one-step gain bound", ("gain_bound",), True),
    Chart("churn of a step", ("churn",)),
    Chart("norms", ("weight_norm", "update_norm", "gradient_norm"), True),
    Chart("curvature normal to the clones", ("normal_lowest", "normal_highest")),
    Chart("smoothness", ("smoothness",), True),
)


class History(NamedTuple):
    """What the report tells: the model's name and size, the steps, what was logged, the controls."""

    model: str
    parameters: int
    steps: int
    every: int
    records: Sequence[Record]
    controls: Sequence[Control]


def report_page(history: History) -> str:
    """The whole page."""
    title = f"Plasticity of {history.model}"
    body = _body(history) if history.records else "<p>No step was logged.</p>"
    style = asset("page.css") + STYLE.read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{escape(title)}</title>'
        f'<link rel="icon" href="data:,"><style>{style}</style></head><body>'
        f"<header><h1>{escape(title)}</h1><p>{_summary(history)}</p></header><main>{body}</main></body></html>\n"
    )


def _summary(history: History) -> str:
    logged = len(history.records)
    return f"{history.parameters:,} parameters, {history.steps} steps, {logged} of them logged (every {history.every})."


def _body(history: History) -> str:
    records, last = history.records, history.records[-1]
    alarmed = {alarm.layer for record in records for alarm in record.alarms}
    parts = [
        _section("alarms", "Alarms at the last logged step", _alarms(last)),
        _section("when", "When they came", _history(records)),
        _section("table", f"Layers at step {last.step}", _table(last)),
        _section("whole", "The whole model", _charts(WHOLE_CHARTS, WHOLE, records, _whole)),
        _section("control", "Fresh network as control", _controls(history.controls)) if history.controls else "",
        _section("layers", "Layers over time", "".join(_layer(name, records, name in alarmed) for name in last.layers)),
        _section("notes", "What to know before believing it", _notes(records)),
        _section("formulas", "What the numbers are", _glossary()),
    ]
    return "".join(parts)


def _section(name: str, title: str, content: str) -> str:
    heading = f'<h2 id="{name}-title">{escape(title)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-title">{heading}{content}</section>'


def _alarms(record: Record) -> str:
    unjudged = _unjudged(record)
    if not record.alarms and not unjudged:
        return "<p>None: no dormant, frozen, trapped or silent unit on the probe.</p>"
    ordered = sorted(record.alarms, key=lambda alarm: KINDS.index(alarm.kind))
    return unjudged + "".join(_alarm(alarm) for alarm in ordered)


def _unjudged(record: Record) -> str:
    """Layers without a verdict, so that no alarm does not look like none needed."""
    names = [name for name, numbers in record.layers.items() if math.isnan(numbers.trapped)]
    if record.layers and not names:
        return ""
    return f"<p>Not judged (the notes say why): {escape(', '.join(names)) or 'any layer'}.</p>"


def _alarm(alarm: Alarm) -> str:
    kind = "undecided-kind" if alarm.kind == "undecided" else alarm.kind
    units = " ".join(map(str, alarm.units[:24])) + (" …" if len(alarm.units) > 24 else "")
    many = f"{len(alarm.units)} unit{'s' if len(alarm.units) != 1 else ''}"
    remedies = "".join(f"<li>{_remedy(line)}</li>" for line in alarm.remedies)
    advice = f"<details open><summary>What can leave it</summary><ul>{remedies}</ul></details>" if remedies else ""
    return (
        f'<article class="card"><h3>{escape(alarm.layer)} <span class="verdict {kind}">{alarm.kind}</span></h3>'
        f'<p class="place">{many} {escape(alarm.found)}: {units}</p><p>{escape(alarm.reason)} '
        f"({escape(MEANINGS[alarm.kind])}).</p>{advice}</article>"
    )


def _remedy(line: str) -> str:
    name, _, call = line.partition(": ")
    return f"<strong>{escape(name)}</strong>: {escape(call)}"


def _history(records: Sequence[Record]) -> str:
    """Units by kind of alarm over steps."""
    steps = [record.step for record in records]

    def count(record: Record, kind: str) -> float:
        return float(sum(len(a.units) for a in record.alarms if a.kind == kind))

    curves = [Curve(kind, steps, [count(r, kind) for r in records]) for kind in KINDS]
    curves = [c for c in curves if any(c.values)]
    return f'<div class="plots">{plot("units under an alarm", curves)}</div>' if curves else "<p>Never.</p>"


def _table(record: Record, label: str = "Layers") -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("layer", *COLUMNS))
    rows = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{escape(c)}</td>' for c in cells(numbers))}"
        f"<td>{escape(alarm_counts(record, name))}</td></tr>"
        for name, numbers in record.layers.items()
    )
    table = f"<table><tr>{head}</tr>{rows}</table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{table}</div>'


def _charts(
    charts: Iterable[Chart],
    glossary: dict[str, tuple[str, str]],
    records: Sequence[Record],
    value: Callable[[Record, str], float],
) -> str:
    steps = [record.step for record in records]
    drawn = [
        plot(
            chart.title,
            [Curve(glossary[n][0], steps, [value(r, n) for r in records]) for n in chart.names],
            note=glossary[chart.names[0]][1] if len(chart.names) == 1 else "",
            logarithmic=chart.logarithmic,
        )
        for chart in charts
    ]
    return f'<div class="plots">{"".join(drawn)}</div>'


def _whole(record: Record, name: str) -> float:
    """NaN where it was not measured: the largest rank of no predictions is none."""
    return float(getattr(record.whole, name)) or (math.nan if name == "ntk_limit" else 0.0)


def _layer(name: str, records: Sequence[Record], opened: bool) -> str:
    def value(record: Record, number: str) -> float:
        numbers = record.layers.get(name)
        return math.nan if numbers is None else float(getattr(numbers, number))

    content = _charts(LAYER_CHARTS, LAYER, records, value)
    return f"<details{' open' if opened else ''}><summary>{escape(name)}</summary>{content}</details>"


def _controls(controls: Sequence[Control]) -> str:
    return "".join(_control(control) for control in controls)


def _control(control: Control) -> str:
    fitted = ""
    if math.isfinite(control.fit_trained) and math.isfinite(control.fit_fresh):
        fitted = (
            f"<p>Trained anew: the watched model {control.fit_trained:.4g}, the fresh one {control.fit_fresh:.4g}.</p>"
        )
    table = f"<p>The fresh network's numbers on the same probe:</p>{_table(control.fresh, 'Fresh layers')}"
    return f"<h3>step {control.step}</h3>{fitted}{table}"


def _notes(records: Sequence[Record]) -> str:
    """Each note once, with the steps that it was made at."""
    steps: dict[str, list[int]] = {}
    for record in records:
        for note in record.notes:
            steps.setdefault(note, []).append(record.step)
    items = "".join(
        f"<li>{escape(note)} ({'step' if len(at) == 1 else f'{len(at)} times, last at step'} {at[-1]})</li>"
        for note, at in steps.items()
    )
    return f"<ul>{items}</ul>" if items else "<p>Nothing.</p>"


def _glossary() -> str:
    numbers = {title: formula for title, formula in (*LAYER.values(), *WHOLE.values())}
    terms = "".join(f"<dt>{escape(title)}</dt><dd>{escape(formula)}</dd>" for title, formula in numbers.items())
    kinds = "".join(f"<dt>{kind}</dt><dd>{escape(MEANINGS[kind])}</dd>" for kind in KINDS)
    return f"<dl>{terms}{kinds}</dl>"
