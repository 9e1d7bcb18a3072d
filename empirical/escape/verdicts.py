"""When the claims about escape hold: conditions on every seed of the saved records."""

from functools import partial

import numpy as np

from empirical.continual.options import REPAIRS
from empirical.escape import claims, records
from empirical.escape.options import STAGE_1, Stage
from empirical.runs.control import cannot_tell
from empirical.runs.measured import Measured
from empirical.runs.saved import Group


def does_not_come_back(group: Group) -> bool:
    behind = [claims.gain(group, Stage(start, "none"), "fresh") for start in ("half", "end")]
    return all(b.above == 0 and b.mean < -0.3 for b in behind)


def resets_and_shrinking_restore(group: Group) -> bool:
    """Shrink and perturb most of it, ReDo and continual backprop a part, in every seed."""
    back = {name: records.recovered(group, Stage("half", name)) for name in (*REPAIRS, "shrink_perturb")}
    parts = all(back[name].min() > 0.1 and back[name].max() < 0.8 for name in REPAIRS)
    return bool(parts and back["shrink_perturb"].min() > 0.5)


def noise_restores_little(group: Group) -> bool:
    return all(records.recovered(group, Stage("half", name)).mean() < 0.2 for name in ("noise", "escape"))


def _collapsed(group: Group) -> np.ndarray:
    """Which seeds have a wholly silent layer at the end of stage 1."""
    return records.silent_units(group, STAGE_1).whole_layers[:, -1].any(1)


def redo_alone_comes_back_always(group: Group) -> bool:
    """Nothing by noise and dropout, next to nothing by the escape direction; half or more by ReDo, in every seed."""
    back = {name: np.abs(records.recovered(group, Stage("end", name))) for name in claims.perturbed(group)}
    idle = max(back["noise"].max(), back["dropout"].max()) < 0.02 and back["escape"].max() < 0.05
    return bool(idle and back["redo"].min() > 0.5 and back["cbp"].min() < 0.1)


def nor_by_noise(group: Group) -> bool:
    return bool(np.abs(records.recovered(group, Stage("end", "noise"))[_collapsed(group)]).max() < 0.02)


def silent_units_stay(group: Group) -> bool:
    """None revives where theory says so, but where units are replaced; elsewhere some do."""
    ruled = {n: claims.ruled(group, s) for n, s in claims.stages_by_branch(group).items()}
    replaced = {records.NAMES[name] for name in REPAIRS}
    return all(
        elsewhere[1] > 0 and (here[1] > 0 if name in replaced else here[1] == 0)
        for name, (here, elsewhere) in ruled.items()
    )


def saddles_elsewhere(group: Group) -> bool:
    _, others = claims.landscapes(group)
    return others.saddles > 0.9 * others.networks > 0


def a_plateau_where_a_layer_is_dead(group: Group) -> bool:
    collapsed, _ = claims.landscapes(group)
    return collapsed.networks > 0 and collapsed.saddles == 0 and collapsed.largest == 0


def shrunk_networks_generalise(group: Group) -> bool:
    """Shrink and perturb from half-lost plasticity, all seeds: as well as fresh networks, on average."""
    held = claims.held_out(group, Stage("half", "shrink_perturb"))
    return len(held.probe) == len(group.seeds) and abs(held.behind.mean) < 0.05


def replaced_units_do_not(group: Group) -> bool:
    """ReDo regains the training accuracy in every seed and from both starts, and not the held-out accuracy."""
    held = [claims.held_out(group, Stage(start, "redo")) for start in ("half", "end")]
    return all(len(h.probe) == len(group.seeds) and h.behind.above == 0 and h.behind.mean < -0.1 for h in held)


def lacks(group: Group) -> str | None:
    return cannot_tell(records.control(group))


VERDICTS = {
    "escape-lop": Measured(claims.loss_of_plasticity, does_not_come_back, lacks=lacks),
    "escape-half": Measured(
        partial(claims.recovery, start="half"), resets_and_shrinking_restore, noise_restores_little, lacks=lacks
    ),
    "escape-collapse": Measured(
        partial(claims.recovery, start="end"), redo_alone_comes_back_always, nor_by_noise, lacks=lacks
    ),
    "escape-generalisation": Measured(
        claims.generalisation, shrunk_networks_generalise, replaced_units_do_not, lacks=lacks
    ),
    "escape-silent": Measured(claims.silence, silent_units_stay, lacks=lacks),
    "escape-curvature": Measured(claims.curvatures, saddles_elsewhere, a_plateau_where_a_layer_is_dead, lacks=lacks),
}
