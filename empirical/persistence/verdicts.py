"""When the claims about persistence hold: conditions on every seed of the saved records."""

from empirical.persistence import claims
from empirical.persistence.claims import CONTROLLED, amplified, escapes
from empirical.persistence.options import Setting
from empirical.persistence.records import Cells, distances, exceeded, whole
from empirical.runs.control import LEAST_SEEDS, too_few
from empirical.runs.measured import Measured


def persists(cells: Cells) -> bool | None:
    """Copies never leave, nothing is above the bound, nothing is faster than it; ``None`` where the control keeps the
    bound as well, so that nothing was tested, seeds are too few, or numbers are missing (NaN is above no bound)."""
    groups = cells.values()
    if min(len(group.seeds) for group in groups) < LEAST_SEEDS or not all(map(whole, groups)):
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


def rounding_parts(cells: Cells) -> bool | None:
    """Clones that are no copies: in float64 they stay within 1e-10; in float32 they go 50 times as far as they began,
    in most seeds more than 10 times further than all rounding summed up; in bfloat16 as far, and no further than that
    sum."""
    if not all(map(whole, cells.values())):
        return None
    double, single, half = (cells[Setting("redistributed", a)] for a in ("float64", "float32", "bfloat16"))
    moved = all((distances(group)[:, -1] > 50 * distances(group)[:, 0]).all() for group in (single, half))
    escaped = (amplified(single) > 10).sum() > len(single.seeds) / 2
    return bool(distances(double).max() < 1e-10 and moved and escaped and (amplified(half) < 1).all())


def lacks(cells: Cells) -> str | None:
    """Seeds: no claim here says of a network that it did not lose what a fresh one learns."""
    return too_few(min(len(group.seeds) for group in cells.values()))


VERDICTS = {
    "persistence-run": Measured(claims.persists, persists, lacks=lacks),
    "persistence-rounding": Measured(claims.rounding, rounding_parts, lacks=lacks),
}
