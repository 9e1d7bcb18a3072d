"""When the claims about cloning hold: conditions on every seed of the saved records."""

from empirical.cloning import claims
from empirical.cloning.claims import SENTENCES, at_the_end, curve, dropped, rank, strongest
from empirical.cloning.options import Setting
from empirical.cloning.records import Cells, shared, telling
from empirical.runs.control import too_few
from empirical.runs.measured import Condition, Measured
from empirical.training.options import MODELS


def stays(cells: Cells) -> bool:
    """Under SGD, Adam and matched step sizes defect and distance are exactly 0, always."""
    copies = [group for key, group in cells.items() if key.arm in ("sgd", "adam", "matched")]
    return len(copies) > 0 and all(curve(g, name).max() == 0 for g in copies for name in ("defect", "spread"))


def normalisation_breaks_nothing(cells: Cells) -> bool | None:
    """All networks are normalised; they stay exactly, and leave under noise, without which nothing was tested."""
    if not leaves(cells):
        return None
    return stays(cells) and all(g.config["model"]["normalisation"] != "none" for g in cells.values())


def leaves(cells: Cells) -> bool:
    """The strongest noise, and dropout, leave by more than 1e-5 in every seed of every model."""
    models = claims.models(cells)
    return all(at_the_end(way(cells, m), "defect").min() > 1e-5 for m in models for way in (strongest, dropped))


def one_step_grows(cells: Cells) -> bool:
    """After one noisy step the MLP's defect is positive and more than doubles."""
    defect = curve(cells[Setting("mlp", "noisy_sgd", 0.05, 0.0)], "defect")
    return bool((defect[:, 1] > 0).all() and (defect[:, -1] > 2 * defect[:, 1]).all())


def rank_rises(cells: Cells) -> bool:
    """Of all but the ViT, under the strongest noise and under dropout."""
    ways = [way(cells, model) for model in claims.models(cells) if model != "vit" for way in (strongest, dropped)]
    return all((rank(group, "clone") > rank(group, "base")).all() for group in ways)


def loss_does_not_fall(cells: Cells) -> bool:
    """The MLP that left has a higher training loss than the one that stayed, in every seed."""
    left, stayed = strongest(cells, "mlp"), cells[Setting("mlp", "sgd")]
    return bool((at_the_end(left, "clone_train_loss") > at_the_end(stayed, "clone_train_loss")).all())


def cannot_tell(_: Cells) -> None:
    """Step sizes, steps and widths of the two models differ."""


def matched_follows_at_first(cells: Cells) -> bool:
    """Every seed begins within rounding and is, at any time, there still or far away (it has leapt); at the first
    measurement most are there."""
    gap = curve(cells[Setting("mlp", "matched")], "function_gap")
    there, far = gap < 1e-5, gap > 1e-2
    return bool(there[:, 0].all() and (there | far).all() and there[:, 1].mean() > 0.5)


def one_step_size_does_not(cells: Cells) -> bool:
    return bool(curve(cells[Setting("mlp", "sgd")], "function_gap")[:, 1].min() > 1e-2)


def rounding_stays_in_float64(cells: Cells) -> bool:
    double = cells[Setting("mlp", "redistributed64")]
    return bool(curve(double, "defect").max() < 1e-12 and curve(double, "distance").max() < 1e-14)


def rounding_leaves_in_float32(cells: Cells) -> bool:
    """From below 1e-12 to above 1e-3, with a rank a tenth above the base's, in most seeds."""
    single = cells[Setting("mlp", "redistributed")]
    left = (at_the_end(single, "defect") > 1e-3) & (rank(single, "clone") > 1.1 * rank(single, "base"))
    return bool(curve(single, "defect")[:, 0].max() < 1e-12 and left.mean() > 0.5)


def lacks(cells: Cells, needs: tuple[str, ...] = ("mlp",)) -> str | None:
    """Seeds: no claim here says of a network that it did not lose what a fresh one learns."""
    found = {key.model: len(group.seeds) for key, group in cells.items()}
    reasons = [f"{MODELS[model]}: {why}" for model in needs if (why := too_few(found[model]))]
    return "; ".join(reasons) or None


def _measured(
    name: str, held: Condition, refuted: Condition | None = None, needs: tuple[str, ...] = ("mlp",)
) -> Measured:
    """A claim about the models that have seeds enough, among which must be those that it ``needs``."""

    def told(cells: Cells) -> Cells:
        return shared(cells) if lacks(cells, needs) else telling(cells)

    def sentence(cells: Cells) -> str:
        left = [MODELS[model] for model in claims.models(cells) if model not in claims.models(told(cells))]
        return SENTENCES[name](told(cells)) + (f" Left out, with too few seeds: {', '.join(left)}." if left else "")

    return Measured(
        sentence,
        lambda cells: held(told(cells)),
        None if refuted is None else lambda cells: refuted(told(cells)),
        lacks=lambda cells: lacks(cells, needs),
    )


VERDICTS = {
    "cloning-stays": _measured("cloning-stays", stays),
    "cloning-normalisation": _measured("cloning-normalisation", normalisation_breaks_nothing),
    "cloning-leaves": _measured("cloning-leaves", leaves),
    "cloning-one-step": _measured("cloning-one-step", one_step_grows),
    "cloning-capacity": _measured("cloning-capacity", rank_rises, loss_does_not_fall),
    "cloning-vit": _measured("cloning-vit", cannot_tell, needs=("mlp", "vit")),
    "cloning-rates": _measured("cloning-rates", matched_follows_at_first, one_step_size_does_not),
    "cloning-rounding": _measured("cloning-rounding", rounding_stays_in_float64, rounding_leaves_in_float32),
}
