"""When the claim about remedies holds: conditions on every seed of the saved records."""

from empirical.remedies import claims
from empirical.remedies.claims import Cells
from empirical.remedies.options import REMEDIES, Name
from empirical.remedies.records import late, share
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


VERDICTS = {"remedies": Measured(claims.comparison, remedies_surpass_fresh_networks)}
