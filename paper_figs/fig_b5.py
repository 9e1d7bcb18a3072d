"""Figure B.5: duplicate units layer by layer, for every architecture without normalisation."""

from pathlib import Path

from empirical.continual.records import cells
from empirical.runs.saved import COMMITTED, Chosen
from paper_figs.continual_panels import layer_panels, provenance
from paper_figs.style import save

NAMES = (("duplicate_as_paper", "duplicate units (as the paper)"), ("duplicate_as_coded", "duplicate units (as coded)"))


def draw(stem: Path, chosen: Chosen = COMMITTED) -> str:
    found = cells(*chosen)
    figure = layer_panels(found, NAMES)
    data = provenance(figure, found, chosen)
    save(figure, stem)
    return (
        "Share of duplicate units in each hidden layer at the end of each task (on its held-out probe), without "
        "normalisation; dark to light: first to last layer. Top: units with a cosine above 0.95 to another unit; "
        f"bottom: to a later unit, as in the authors' code, which leaves out one of each cluster. {data}"
    )
