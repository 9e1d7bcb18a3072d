"""When the claims about continual classification hold: conditions on every seed of the saved records."""

from empirical.continual import claims
from empirical.continual.claims import Cells, change, collapse, difference, net_change
from empirical.continual.records import Setting, accuracy, layers
from empirical.runs.measured import Measured

_MLP, _FRESH, _CBP = Setting("mlp"), Setting("mlp", arm="fresh"), Setting("mlp", arm="cbp")


def lost_and_its_last_layer_is_dead(cells: Cells) -> bool:
    lost = claims.loses_plasticity(cells, "mlp") and change(cells, _MLP, "accuracy").mean < -0.6
    dead = (layers(cells[_MLP], "dead")[:, -claims.SPAN :, -1] == 1).all()
    return bool(lost and dead and layers(cells[_FRESH], "dead")[:, :, -1].max() < 0.6)


def fresh_networks_look_the_same(cells: Cells) -> bool:
    """Duplicates do not rise, and a fresh network, which learns, has the same rank."""
    same_rank = abs(difference(cells, _MLP, _FRESH, "rank/units").mean) < 0.05
    return net_change(cells, _MLP, "duplicate").sign == -1 and bool(same_rank)


def normalisation_prevents(cells: Cells) -> bool:
    return all(_prevents(cells, Setting("mlp", norm)) for norm in ("batch", "layer"))


def _prevents(cells: Cells, setting: Setting) -> bool:
    kept = change(cells, setting, "accuracy").mean > 0 and accuracy(cells[setting])[:, -claims.SPAN :].min() > 0.98
    fewer_dead = difference(cells, setting, _MLP, "dead").sign == -1
    return bool(kept) and fewer_dead and difference(cells, setting, _MLP, "rank/units").sign == 1


def cbp_delays(cells: Cells) -> bool:
    better = difference(cells, _CBP, _MLP, "dead").sign == -1 and difference(cells, _CBP, _MLP, "rank/units").sign == 1
    return better and bool((collapse(cells, _CBP) >= collapse(cells, _MLP)).all())


def cbp_does_not_prevent(cells: Cells) -> bool:
    tasks = accuracy(cells[_CBP]).shape[1]
    return net_change(cells, _CBP, "loss").sign == 1 and bool((collapse(cells, _CBP) <= tasks).all())


VERDICTS = {
    "continual-lop": Measured(claims.symptoms, lost_and_its_last_layer_is_dead, fresh_networks_look_the_same),
    "continual-normalisation": Measured(claims.normalisation, normalisation_prevents),
    "continual-cbp": Measured(claims.continual_backprop, cbp_delays, cbp_does_not_prevent),
}
