"""When the claims about continual classification hold: conditions on every seed of the saved records."""

from empirical.continual import claims, records
from empirical.continual.claims import Cells, change, difference, net_change
from empirical.continual.records import Setting, accuracy, layers
from empirical.runs.control import LEARNT
from empirical.runs.measured import Measured

_MLP, _FRESH, _CBP = Setting("mlp"), Setting("mlp", arm="fresh"), Setting("mlp", arm="cbp")


def lost_and_its_last_layer_is_dead(cells: Cells) -> bool:
    lost = claims.loses_plasticity(cells, "mlp") and change(cells, _MLP, "accuracy").mean < -0.6
    dead = (layers(cells[_MLP], "dead")[:, -claims.SPAN :, -1] == 1).all()
    return bool(lost and dead and layers(cells[_FRESH], "dead")[:, :, -1].max() < 0.6)


def both_lose(cells: Cells) -> bool | None:
    """``None`` where the CNN's records cannot tell (the MLP's are asked of every claim)."""
    if records.lacks(cells, "cnn"):
        return None
    return lost_and_its_last_layer_is_dead(cells) and claims.loses_part(cells, "cnn")


def fresh_networks_look_the_same(cells: Cells) -> bool:
    """Duplicates do not rise, and a fresh network, which learns, has the same rank."""
    same_rank = abs(difference(cells, _MLP, _FRESH, "rank/units").mean) < 0.05
    return net_change(cells, _MLP, "duplicate").sign == -1 and bool(same_rank)


def normalisation_prevents(cells: Cells) -> bool | None:
    """In the MLP and the CNN; ``None`` where the CNN's records cannot tell, or one of them loses nothing without it:
    where nothing is lost nothing is prevented."""
    if records.lacks(cells, "cnn") or not all(claims.loses_part(cells, model) for model in ("mlp", "cnn")):
        return None
    return all(_prevents(cells, Setting(model, norm)) for model in ("mlp", "cnn") for norm in ("batch", "layer"))


def _prevents(cells: Cells, setting: Setting) -> bool:
    """Nothing is lost over the run, every task is learnt to ``LEARNT`` and every late one nearly whole; against no
    normalisation, in every seed, accuracy and rank are higher late and fewer units are dead; on average fewer are
    duplicates, and in no seed more."""
    plain = Setting(setting.model)
    learnt = accuracy(cells[setting])
    kept = learnt.min() >= LEARNT and learnt[:, -claims.SPAN :].min() > 0.98
    kept = kept and change(cells, setting, "accuracy").mean >= 0
    more = difference(cells, setting, plain, "accuracy").sign == 1
    fewer_dead = difference(cells, setting, plain, "dead").sign == -1
    duplicates = difference(cells, setting, plain, "duplicate")
    fewer_units = fewer_dead and duplicates.mean < 0 and not duplicates.up
    return bool(kept) and more and fewer_units and difference(cells, setting, plain, "rank/units").sign == 1


def cbp_prevents_the_collapse(cells: Cells) -> bool:
    """Late, every seed learns far more than plain training, which has lost nearly all."""
    late = claims.late(accuracy(cells[_CBP]))
    fewer_dead = difference(cells, _CBP, _MLP, "dead").sign == -1
    return bool((late > 0.5).all() and (late > claims.late(accuracy(cells[_MLP])) + 0.3).all() and fewer_dead)


def cbp_is_no_fresh_network(cells: Cells) -> bool:
    return difference(cells, _CBP, _FRESH, "accuracy").sign == -1 and net_change(cells, _CBP, "loss").sign == 1


def rank_falls_first(cells: Cells) -> bool:
    """In every seed the rank has begun to fall before half of the accuracy is gone, and is not yet as low as that of a
    fresh network when the network still learns."""
    found = claims.fall(cells, "mlp")
    lost = (found.collapse <= cells[_MLP].config["tasks"]).all()
    return bool(lost and (found.lead > 0).all() and (found.rank > 1).all())


def compression_is_no_cause(cells: Cells) -> bool:
    """Fresh networks, which learn every task, are twice as compressed as the network that is about to fail."""
    return bool(claims.fall(cells, "mlp").rank.mean() > 2)


def lacks(cells: Cells) -> str | None:
    """Every claim here rests on the MLP: what its records lack."""
    return records.lacks(cells, "mlp")


VERDICTS = {
    "continual-lop": Measured(claims.symptoms, both_lose, fresh_networks_look_the_same, lacks=lacks),
    "continual-compression": Measured(claims.compression, rank_falls_first, compression_is_no_cause, lacks=lacks),
    "continual-normalisation": Measured(claims.normalisation, normalisation_prevents, lacks=lacks),
    "continual-cbp": Measured(
        claims.continual_backprop, cbp_prevents_the_collapse, cbp_is_no_fresh_network, lacks=lacks
    ),
}
