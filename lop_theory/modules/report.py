"""Detection as text and as one self-contained HTML page."""

from html import escape
from typing import Any

from lop_theory.modules.verdicts import KINDS, MEANINGS

Detection = Any  # of lop_theory.modules.detection, which stands above
Layer = Any

CLONED = "cloned: units equal to another on every sample"
NEAR = "near: units with a cosine and a correlation above the threshold to another, beyond chance."
FROZEN = "frozen: derivative exactly 0 on all of this data; for ever only where a verdict below the table says so."
LEGEND = f"""{CLONED}; blocks: what they fall into (dead and constant units alone).
{NEAR} d(H), d(W): relative distance to the
manifold on which the near blocks (not the cloned ones) were exact clones; large where near-clones differ in length.
{FROZEN}"""
SHOWN = 5
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%;margin:1rem 0;display:block;overflow-x:auto}th,td{text-align:left;
padding:.25rem .6rem;border-bottom:1px solid #ddd}
td.n{text-align:right;font-variant-numeric:tabular-nums}code{font-size:.9em}.k{font-weight:600}
.trapped,.frozen{color:#a40000}.separating,.cloned,.twin{color:#8a5a00}.near,.saturated,.dead,.constant{color:#444}
.note{background:#fff6dd;padding:.4rem .8rem;margin:.3rem 0}"""


def table(found: Detection) -> str:
    """One line a layer, then notes, verdicts and what was skipped."""
    head = f"{'layer':44} {'units':>6} {'cloned':>7} {'blocks':>7} {'near':>6} {'near d(H)':>9} {'near d(W)':>9}"
    lines = [head + f" {'dead':>5} {'dorm.':>5} {'sat.':>5} {'frozen':>6}"]
    for x in found.layers:
        weight = "-" if x.weight_distance is None else f"{x.weight_distance:.2e}"
        lines.append(
            f"{f'{x.module} [{x.operator}]'[-44:]:44} {x.units:6d} {x.cloned:7d} {len(set(x.blocks)):7d} "
            f"{x.near:6d} {x.distance:9.2e} {weight:>9} {len(x.dead):5d} {len(x.dormant):5d} "
            f"{len(x.saturated):5d} {len(x.frozen):6d}"
        )
    return "\n".join([*lines, "", *_notes(found), *_verdicts(found), LEGEND])


def _notes(found: Detection) -> list[str]:
    lines = [f"note: {note}" for note in found.notes]
    lines += [f"skipped: {s.layer}: {s.reason}" for s in found.skipped]
    return [*lines, ""] if lines else []


def _verdicts(found: Detection) -> list[str]:
    lines: list[str] = []
    for layer in found.layers:
        shown = layer.verdicts[:SHOWN]
        lines += [f"{layer.module}: {block}" for block in shown]
        if len(layer.verdicts) > SHOWN:
            lines.append(f"{layer.module}: and {len(layer.verdicts) - SHOWN} blocks more ({_counted(layer)})")
    return [*lines, ""] if lines else []


def _counted(layer: Layer) -> str:
    counts = {kind: sum(block.kind == kind for block in layer.verdicts) for kind in KINDS}
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)


def html(found: Detection) -> str:
    """Everything in one page without references to anything outside."""
    notes = "".join(f'<p class="note">{escape(text)}</p>' for text in found.notes)
    notes += "".join(f'<p class="note">skipped: {escape(s.layer)}: {escape(s.reason)}</p>' for s in found.skipped)
    present = [kind for kind in KINDS if any(b.kind == kind for x in found.layers for b in x.verdicts)]
    legend = "".join(f'<li><span class="k {k}">{k}</span>: {escape(MEANINGS[k])}</li>' for k in present)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Clones and frozen units</title>'
        f"<style>{STYLE}</style><h1>Clones and frozen units</h1>"
        f"<p>{found.samples} samples in {found.batches} batch{'es' if found.batches != 1 else ''}, "
        f"{len(found.layers)} layers.</p>{notes}{_html_layers(found)}<p>{CLONED}. {NEAR} {FROZEN}</p>"
        f"{_html_verdicts(found)}<ul>{legend}</ul></html>\n"
    )


def _html_layers(found: Detection) -> str:
    names = ("layer", "operator", "units", "cloned", "near", "dead", "dormant", "saturated", "frozen", "verdicts")
    rows = []
    for x in found.layers:
        counts = (x.units, x.cloned, x.near, len(x.dead), len(x.dormant), len(x.saturated), len(x.frozen))
        cells = f"<td><code>{escape(x.module)}</code></td><td>{escape(x.operator)}</td>"
        cells += "".join(f'<td class="n">{count}</td>' for count in counts)
        rows.append(f"<tr>{cells}<td>{escape(_counted(x))}</td></tr>")
    head = "".join(f"<th>{name}</th>" for name in names)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _html_verdicts(found: Detection) -> str:
    rows = [
        f"<tr><td><code>{escape(x.module)}</code></td><td class='k {b.kind}'>{b.kind}</td>"
        f"<td>{escape(' '.join(map(str, b.units)))}</td><td>{escape(b.reason)}</td></tr>"
        for x in found.layers
        for b in x.verdicts
    ]
    if not rows:
        return "<p>No block of equal, alike or inert units.</p>"
    return f"<table><tr><th>layer</th><th>verdict</th><th>units</th><th>reason</th></tr>{''.join(rows)}</table>"
