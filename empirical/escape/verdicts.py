"""When the claims about escape hold: conditions on every seed of the saved records."""

from functools import partial

import numpy as np

from empirical.escape import claims, records
from empirical.escape.options import STAGE_1, Stage
from empirical.runs.measured import Measured
from empirical.runs.saved import Group


def does_not_come_back(group: Group) -> bool:
    behind = [claims.gain(group, Stage(start, "none"), "fresh") for start in ("half", "end")]
    return all(b.above == 0 and b.mean < -0.3 for b in behind)


def shrink_and_perturb_restores(group: Group) -> bool:
    return bool(records.recovered(group, Stage("half", "shrink_perturb")).min() > 0.5)


def noise_restores_little(group: Group) -> bool:
    return all(records.recovered(group, Stage("half", name)).mean() < 0.2 for name in ("noise", "escape"))


def _collapsed(group: Group) -> np.ndarray:
    """Which seeds have a wholly silent layer at the end of stage 1."""
    return records.silent_units(group, STAGE_1).whole_layers[:, -1].any(1)


def nothing_comes_back(group: Group) -> bool:
    back = [
        np.abs(records.recovered(group, Stage("end", name))[_collapsed(group)])
        for name in ("noise", "dropout", "escape")
    ]
    return all(values.max() < 0.02 for values in back)


def nor_by_noise(group: Group) -> bool:
    return bool(np.abs(records.recovered(group, Stage("end", "noise"))[_collapsed(group)]).max() < 0.02)


def silent_units_stay(group: Group) -> bool:
    """None revives where theory says so; elsewhere some do."""
    ruled = {n: claims.ruled(group, s) for n, s in claims.stages_by_branch(group).items()}
    return all(here[1] == 0 and elsewhere[1] > 0 for here, elsewhere in ruled.values())


def saddles_elsewhere(group: Group) -> bool:
    _, others = claims.landscapes(group)
    return others.saddles > 0.9 * others.networks > 0


def a_plateau_where_a_layer_is_dead(group: Group) -> bool:
    collapsed, _ = claims.landscapes(group)
    return collapsed.networks > 0 and collapsed.saddles == 0 and collapsed.largest == 0


VERDICTS = {
    "escape-lop": Measured(claims.loss_of_plasticity, does_not_come_back),
    "escape-half": Measured(partial(claims.recovery, start="half"), shrink_and_perturb_restores, noise_restores_little),
    "escape-collapse": Measured(partial(claims.recovery, start="end"), nothing_comes_back, nor_by_noise),
    "escape-silent": Measured(claims.silence, silent_units_stay),
    "escape-curvature": Measured(claims.curvatures, saddles_elsewhere, a_plateau_where_a_layer_is_dead),
}
