"""When the claim about remedies holds: conditions on every seed of the saved records."""

from empirical.remedies import claims
from empirical.remedies.claims import Cells
from empirical.remedies.options import REMEDIES, Name
from empirical.remedies.records import control, early, late, share
from empirical.runs.control import cannot_tell
from empirical.runs.measured import Measured

SURPASS: tuple[Name, ...] = (
    "smooth_leaky", "crelu", "parseval", "layer_norm", "spectral", "snr", "regrama", "redo", "l2_init", "cbp", "fire",
    "gradient_noise", "shrink_perturb",
)  # fmt: skip
"""With these the network learns the last tasks faster than a fresh one, in every seed."""
PART: tuple[Name, ...] = ("dropout",)
NOTHING: tuple[Name, ...] = ("upgd",)
"""Within this budget no better than plain training: its strength is the largest that was tried."""


def remedies_surpass_fresh_networks(cells: Cells) -> bool:
    """Plain training is near chance, these remedies and no others surpass; to take clones apart is neither needed nor
    enough."""
    chance = 1 / cells["plain"].group.config["classes_per_task"]
    lost = all(late(cells[name].group).max() < chance + 0.15 for name in ("plain", *NOTHING))
    surpass = {name for name in claims.compared(cells) if share(cells, name).min() > 1} == set(SURPASS)
    part = all(share(cells, name).min() > 0 and share(cells, name).max() < 1 for name in PART)
    needed = all(REMEDIES[name].unclones for name in SURPASS)
    enough = not any(REMEDIES[name].unclones for name in PART)
    return bool(lost and surpass and part and not needed and not enough)


def lacks(cells: Cells) -> str | None:
    return cannot_tell(control(cells))


def lazy_training_avoids_the_loss(cells: Cells) -> bool | None:
    """It learns the first tasks as fast, and of the last ones far more than plain training, in every seed; loses
    nothing itself in any of them, or something in all. ``None`` if seeds differ."""
    lost = claims.change(cells, "lazy") < 0
    as_fast = early(cells["lazy"].group).mean() > early(cells["plain"].group).mean() - 0.05
    ahead = late(cells["lazy"].group) - late(cells["plain"].group)
    if not as_fast:
        return None
    return bool((ahead > 0.3).all() and not lost.any()) if lost.any() == lost.all() else None


VERDICTS = {
    "remedies": Measured(claims.comparison, remedies_surpass_fresh_networks, lacks=lacks),
    "lazy-rich": Measured(claims.laziness, lazy_training_avoids_the_loss, lacks=lacks),
}
