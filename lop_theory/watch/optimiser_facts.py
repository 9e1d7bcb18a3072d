"""What the optimiser table says of the optimiser in use: can it leave a clone manifold?  [optimiser-closure: Remarks
2.4, A.3]"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from lop_theory.graph.closure import MEMBERS, Decay, Update, stays
from lop_theory.modules.interface import Partition, Profile
from lop_theory.modules.optimizer import optimizer_offences

_DECOUPLED = frozenset({"AdamW", "Muon", "Adafactor"})
_NOISY = {"NoisySGD": "sigma", "UPGD": "sigma"}
_ROOTS = frozenset(
    {"torch", "lop_theory", "accelerate", "transformers", "lightning", "pytorch_lightning", "lion_pytorch", "timm"}
)
"""Packages whose optimisers are what their names say; another's ``Adam`` may do anything."""
_REPLACING = frozenset({"ContinualBackprop", "CCBP"})
_CLASSES: dict[str, Update] = {
    **{name: update for update, names in MEMBERS.items() if update != "asymmetric" for name in names.split(", ")},
    "SparseAdam": "elementwise",
    "AdamGnT": "elementwise",
}


class Facts(NamedTuple):
    """The optimiser's name, the class of its update (``None``: not in the table) and the kind of its weight decay.
    ``proportional``: decay shrinks no bias faster than a weight, so no sum changes its sign by it. ``optimiser``: the
    innermost one, whose state is looked at."""

    name: str
    update: Update | None
    decay: Decay = "none"
    proportional: bool = True
    optimiser: Any = None

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
    kind = type(optimiser)
    name = kind.__name__
    if kind.__module__.partition(".")[0] not in _ROOTS:
        return Facts(name, None, optimiser=optimiser)
    if name in _REPLACING:
        return Facts(name, "asymmetric")
    inner = getattr(optimiser, "optimiser", None) or getattr(optimiser, "optimizer", None)
    if inner is not None:
        return facts_of(inner)
    groups = getattr(optimiser, "param_groups", [])
    if name in _NOISY and any(group.get(_NOISY[name], 0) > 0 for group in groups):
        return Facts(name, "asymmetric", optimiser=optimiser)
    update = "linear" if name in _NOISY else _CLASSES.get(name)
    return Facts(name, update, _decay(name, groups), _proportional(groups), optimiser)


def _decay(name: str, groups: Any) -> Decay:
    """Coupled L2 or decoupled decay, as the groups say."""
    decayed = [group for group in groups if group.get("weight_decay")]
    if not decayed:
        return "none"
    decoupled = name in _DECOUPLED or any(group.get("decoupled_weight_decay") for group in decayed)
    return "decoupled" if decoupled else "coupled"


def _proportional(groups: Any) -> bool:
    """Of decay rates × step sizes: those of vectors (biases, scales) all one, and none above that of a matrix."""
    rates: dict[bool, set[float]] = {True: set(), False: set()}
    for group in groups:
        for p in group["params"]:
            rates[p.dim() < 2].add(float(group.get("lr", 1.0)) * float(group.get("weight_decay", 0)))
    vectors, matrices = rates[True], rates[False]
    return len(vectors) <= 1 and max(vectors, default=0.0) <= min(matrices, default=0.0)


def held(model: nn.Module, facts: Facts) -> frozenset[str]:
    """The parameters that the optimiser moves; all trained ones where it is not known, or holds copies."""
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    groups = getattr(facts.optimiser, "param_groups", [])
    found = frozenset(names[id(p)] for group in groups for p in group["params"] if id(p) in names)
    return found or frozenset(names.values())


def untied(model: nn.Module, facts: Facts, blocks: Mapping[str, tuple[Partition, ...]]) -> tuple[bool, str] | None:
    """Why the optimiser's state does not keep the blocks together, and whether that is sure; ``None`` if it does."""
    if facts.optimiser is None:
        return None
    found = optimizer_offences(model, facts.optimiser, Profile(blocks, {}))
    sure = next((o for o in found if o.units), None)
    if sure is not None:
        return True, f"the state of {facts.name} parts them: {sure.node}, {sure.reason}"
    return (False, f"the state of {facts.name} was not seen: {found[0].reason}") if found else None
