"""When the claims about persistence hold: conditions on every seed of the saved records."""

from empirical.persistence import claims
from empirical.persistence.claims import CONTROLLED, amplified, escapes
from empirical.persistence.options import Setting
from empirical.persistence.records import Cells, distances, exceeded
from empirical.runs.measured import Measured

LEAST_SEEDS = 5


def persists(cells: Cells) -> bool | None:
    """Copies never leave, nothing is above the bound, nothing is faster than it; ``None`` where the control keeps the
    bound as well, so that nothing was tested, or seeds are too few."""
    groups = cells.values()
    if min(len(group.seeds) for group in groups) < LEAST_SEEDS:
        return None
    if not all(exceeded(cells[Setting("noise", a)]).any(1).all() for a in CONTROLLED):
        return None
    copies = [group for key, group in cells.items() if key.arm == "copies"]
    held = [group for key, group in cells.items() if key.arm in ("copies", "redistributed", "beside")]
    slower = [measured >= least for measured, least in map(escapes, held)]
    return (
        all(distances(group).max() == 0 for group in copies)
        and not any(exceeded(group).any() for group in held)
        and all(each.all() for each in slower)
    )


def rounding_drifts(cells: Cells) -> bool:
    """In float64 clones that are no copies stay within 1e-12; in float32 and bfloat16 they go further than they began,
    and no further than rounding summed up: nothing is amplified."""
    double, single, half = (cells[Setting("redistributed", a)] for a in ("float64", "float32", "bfloat16"))
    moved = all((distances(group)[:, -1] > distances(group)[:, 0]).all() for group in (single, half))
    return bool(distances(double).max() < 1e-12 and moved and all((amplified(g) <= 1).all() for g in (single, half)))


VERDICTS = {
    "persistence-run": Measured(claims.persists, persists),
    "persistence-rounding": Measured(claims.rounding, rounding_drifts),
}
