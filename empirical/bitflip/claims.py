"""The empirical claims about bit-flipping: their statistics from saved records, as numbers and as sentences.

Effect sizes are geometric means over seeds of a ratio within a seed, with Cohen's d of its logarithm (mean / standard
deviation over seeds, n − 1) and the number of seeds in which it exceeds 1. claims.toml holds the sentences; a test
computes them anew.
"""

from collections.abc import Mapping

import numpy as np

from empirical.bitflip.records import Cell
from empirical.runs.statistics import effect, last

Cells = Mapping[tuple[int, str], Cell]
EARLY = (50_000, 250_000)
RANK = "stream_effective_rank"


def widths(cells: Cells) -> list[int]:
    """The widths, in order."""
    return sorted({width for width, _ in cells})


def early_error(cell: Cell) -> np.ndarray:
    """Per seed, mean squared error over samples 50,000–250,000."""
    steps, errors = cell.bins()
    return errors[:, (steps > EARLY[0]) & (steps <= EARLY[1])].mean(1)


def before_switch(cell: Cell, name: str | None = None) -> np.ndarray:
    """Per seed, the error (or a metric) over the tenth of the run that ends at its middle."""
    steps, values = cell.bins() if name is None else cell.metric(name)
    half = cell.records[0].config["samples"] / 2
    return values[:, (steps > 0.8 * half) & (steps <= half)].mean(1)


def errors_at_the_end(cell: Cell) -> np.ndarray:
    """Per seed, mean squared error over the last tenth of the run."""
    return last(cell.bins()[1])


def at_the_end(cell: Cell, name: str) -> np.ndarray:
    """Per seed, a metric over the last tenth of the run."""
    return last(cell.metric(name)[1])


def loss_of_plasticity(cells: Cells) -> str:
    """SGD: error late / early, rank late / at initialisation, dead units late."""
    parts = []
    for width in widths(cells):
        cell = cells[width, "sgd"]
        error = effect(errors_at_the_end(cell), early_error(cell))
        rank = effect(np.maximum(at_the_end(cell, RANK), 1.0), cell.metric(RANK)[1][:, 0])
        dead = at_the_end(cell, "stream_dead").mean()
        parts.append(f"width {width}: error {error}, rank {rank}, dead {dead:.2f}")
    return _measured("SGD, last tenth against samples 50,000-250,000 (rank: against initialisation)", parts, cells)


def recovery(cells: Cells) -> str:
    """Switch: error and rank at the end / before the switch; error at the end / that of CBP from the start."""
    parts = []
    for width in widths(cells):
        cell, throughout = cells[width, "switch"], cells[width, "cbp"]
        error = effect(errors_at_the_end(cell), before_switch(cell))
        rank = effect(at_the_end(cell, RANK), np.maximum(before_switch(cell, RANK), 1.0))
        against = effect(errors_at_the_end(cell), errors_at_the_end(throughout))
        parts.append(f"width {width}: error {error}, rank {rank}, error / CBP throughout {against}")
    return _measured("switch, last tenth against the tenth before the switch", parts, cells)


def width_disparity(cells: Cells) -> str:
    """SGD against CBP at the end: ratio and difference of errors, difference of ranks; then widest over narrowest."""
    parts, ratios = [], {}
    for width in widths(cells):
        sgd, cbp = cells[width, "sgd"], cells[width, "cbp"]
        worse, better = errors_at_the_end(sgd), errors_at_the_end(cbp)
        ratios[width] = worse / better
        rank = (at_the_end(cbp, RANK) - at_the_end(sgd, RANK)).mean()
        parts.append(
            f"width {width}: error {effect(worse, better)}, error difference {(worse - better).mean():.2f} ± "
            f"{(worse - better).std():.2f}, rank lower by {rank:.1f}, SGD's error {worse.mean():.2f}"
        )
    narrow, wide = min(ratios), max(ratios)
    parts.append(f"ratio of errors at width {wide} / at width {narrow}: {effect(ratios[wide], ratios[narrow])}")
    own = effect(errors_at_the_end(cells[wide, "sgd"]), errors_at_the_end(cells[narrow, "sgd"]))
    parts.append(f"SGD's own error, the same: {own}")
    return _measured("SGD against CBP, last tenth", parts, cells)


def duplicates(cells: Cells) -> str:
    """Shares of duplicate units at the end, before and after the activation, and of certified frozen units."""
    parts = []
    for width in widths(cells):
        sgd, cbp = cells[width, "sgd"], cells[width, "cbp"]
        names = ("stream_duplicate_before", "stream_duplicate")
        shown = ["/".join(f"{at_the_end(cell, name).mean():.2f}" for name in names) for cell in (sgd, cbp)]
        frozen = at_the_end(sgd, "frozen_certified").mean()
        parts.append(f"width {width}: SGD {shown[0]}, CBP {shown[1]}, SGD certified frozen {frozen:.3f}")
    return _measured("duplicate share before/after ReLU, last tenth", parts, cells)


def dropout(cells: Cells) -> str:
    """SGD with a tenth of the hidden units dropped against SGD, at the beginning and at the end, and ranks."""
    parts = []
    for width in widths(cells):
        sgd, dropped = cells[width, "sgd"], cells[width, "dropout"]
        early, late = (effect(f(dropped), f(sgd)) for f in (early_error, errors_at_the_end))
        rank = effect(*(np.maximum(at_the_end(cell, RANK), 1.0) for cell in (dropped, sgd)))
        dead = at_the_end(dropped, "stream_dead").mean()
        against = effect(errors_at_the_end(dropped), errors_at_the_end(cells[width, "cbp"]))
        parts.append(
            f"width {width}: error, samples 50,000-250,000, {early}; last tenth {late}, rank {rank}, dead {dead:.2f}, "
            f"error / CBP {against}"
        )
    return _measured("dropout 0.1 against SGD (errors are of the whole network)", parts, cells)


def _measured(what: str, parts: list[str], cells: Cells) -> str:
    cell = next(iter(cells.values()))
    samples, seeds = cell.records[0].config["samples"], cell.seeds
    return (
        f"Measured on the synthetic bit-flipping stream ({samples:,} samples, seeds {min(seeds)}-{max(seeds)}, ratios: "
        f"geometric mean, Cohen's d of the logarithm, seeds above 1), {what}: {'; '.join(parts)}."
    )
