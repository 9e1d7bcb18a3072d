"""The last record as a table that stays in place in the terminal."""

import math
from typing import Any

from lop_theory.watch.record import KINDS, LayerNumbers, Record

COLOURS = {"permanent": "red", "reversible": "yellow", "useful": "green", "undecided": "cyan"}
COLUMNS = ("units", "dead", "dormant", "GraMa", "saturated", "duplicate", "rank", "clone distance", "alarms")


class LiveTable:
    """A rich table, redrawn with every record; a line below for the whole model and one for every alarm."""

    def __init__(self, console: Any = None) -> None:
        from rich.live import Live

        self._live = Live(console=console, auto_refresh=False)
        self._started = False

    def log(self, found: Record) -> None:
        if not self._started:
            self._live.start()
            self._started = True
        self._live.update(drawn(found), refresh=True)

    def close(self) -> None:
        if self._started:
            self._live.stop()


def drawn(found: Record) -> Any:
    """The record as something that rich prints."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"step {found.step}")
    table.add_column("layer")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for name, numbers in found.layers.items():
        table.add_row(name, *cells(numbers), alarm_counts(found, name))
    whole = ", ".join(f"{name} {value:.3g}" for name, value in found.whole._asdict().items() if math.isfinite(value))
    lines = [Text(str(a), style=COLOURS[a.kind]) for a in found.alarms] + [Text(f"note: {n}") for n in found.notes]
    return Group(table, Text(whole), *lines)


def cells(numbers: LayerNumbers) -> list[str]:
    """One layer's numbers as texts, in the order of the columns."""
    shares = (numbers.dead, numbers.dormant, numbers.dormant_gradient, numbers.saturated, numbers.duplicate)
    rank = f"{shown(numbers.effective_rank, '.1f')}/{numbers.rank_limit}"
    direction = "" if math.isnan(numbers.clone_rate) else " ↓" if numbers.clone_rate < 0 else " ↑"
    distance = shown(numbers.clone_distance, ".2g") + direction
    return [str(numbers.units), *(shown(share, ".0%") for share in shares), rank, distance]


def shown(value: float, form: str) -> str:
    """The number, or a dash where nothing was measured."""
    return "–" if math.isnan(value) else format(value, form)


def alarm_counts(found: Record, layer: str) -> str:
    """Units by kind of alarm."""
    counts = {kind: sum(len(a.units) for a in found.alarms if (a.layer, a.kind) == (layer, kind)) for kind in KINDS}
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
