"""Figure B.6: dead and saturated units layer by layer, for every architecture without normalisation."""

from pathlib import Path

from empirical.continual.records import cells
from empirical.runs.saved import COMMITTED, Chosen
from paper_figs.continual_panels import layer_panels, provenance
from paper_figs.style import save

NAMES = (("dead", "dead units"), ("saturated", "saturated units"), ("saturated_as_coded", "saturated (as coded)"))


def draw(stem: Path, chosen: Chosen = COMMITTED) -> str:
    found = cells(*chosen)
    figure = layer_panels(found, NAMES)
    data = provenance(figure, found, chosen)
    save(figure, stem)
    group = next(iter(found.values()))
    probe = group.config["data"]["probe_per_class"] * group.config["classes_per_task"]
    return (
        "Share of dead and of saturated units in each hidden layer at the end of each task (on its held-out probe), "
        "without normalisation; dark to light: first to last layer. Saturated: the gradient of a sample's own loss is "
        "below 1e-4 of the unit's mean activation on over 99 % of samples; as coded: the gradient of the mean loss "
        f"over the probe's {probe} images, {probe} times smaller. {data}"
    )
