"""What the optimiser table says of the optimiser in use: can it leave a clone manifold?  [optimiser-closure: Remarks
2.4, A.3]"""

from typing import Any, NamedTuple

from lop_theory.graph.closure import MEMBERS, Decay, Update, stays

_DECOUPLED = frozenset({"AdamW", "Muon", "Adafactor"})
_NOISY = {"NoisySGD": "sigma", "UPGD": "sigma"}
_REPLACING = frozenset({"ContinualBackprop", "CCBP"})
_CLASSES: dict[str, Update] = {
    **{name: update for update, names in MEMBERS.items() if update != "asymmetric" for name in names.split(", ")},
    "SparseAdam": "elementwise",
    "AdamGnT": "elementwise",
}


class Facts(NamedTuple):
    """The optimiser's name, the class of its update (``None``: not in the table) and the kind of its weight decay."""

    name: str
    update: Update | None
    decay: Decay = "none"

    def keeps(self, block_constant: bool) -> bool | None:
        """Whether clones stay clones under it; ``None``: the table does not say."""
        return None if self.update is None else stays(self.update, self.decay, block_constant=block_constant)[0]

    def sentence(self, block_constant: bool) -> str:
        """The prediction in words."""
        kept = self.keeps(block_constant)
        kind = f"{self.update}, {'no' if self.decay == 'none' else self.decay} decay"
        match kept:
            case None:
                return f"{self.name} is not in the optimiser table: whether it leaves was not predicted"
            case True:
                return f"{self.name} cannot leave ({kind})"
            case False:
                return f"{self.name} can leave ({kind})"


UNKNOWN = Facts("the optimiser", None)


def facts_of(optimiser: Any) -> Facts:
    """Of a ``torch.optim`` optimiser, one of ours or one wrapped in ours; :data:`UNKNOWN` for ``None``."""
    if optimiser is None:
        return UNKNOWN
    name = type(optimiser).__name__
    if name in _REPLACING:
        return Facts(name, "asymmetric")
    inner = getattr(optimiser, "optimiser", None) or getattr(optimiser, "optimizer", None)
    if inner is not None:
        return facts_of(inner)
    groups = getattr(optimiser, "param_groups", [])
    if name in _NOISY and any(group.get(_NOISY[name], 0) > 0 for group in groups):
        return Facts(name, "asymmetric")
    update = "linear" if name in _NOISY else _CLASSES.get(name)
    return Facts(name, update, _decay(name, groups))


def _decay(name: str, groups: Any) -> Decay:
    """Coupled L2 or decoupled decay, as the groups say."""
    decayed = [group for group in groups if group.get("weight_decay")]
    if not decayed:
        return "none"
    decoupled = name in _DECOUPLED or any(group.get("decoupled_weight_decay") for group in decayed)
    return "decoupled" if decoupled else "coupled"
