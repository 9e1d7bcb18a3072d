"""What ``expand`` did to a model: carried by the clone, through ``deepcopy`` and ``torch.save``, outside its state."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.modules.interface import Profile

ATTRIBUTE = "_expansion"


class Expansion(NamedTuple):
    """The record of one widening.

    ``own_class``: the clone is an instance of the model's own class, and runs its own ``forward``; else it runs the
    rewritten trace, and ``reason`` says why. ``profiles`` by mode map every coordinate to that of the base.
    ``factors``: what widening multiplied the elements of a parameter by. ``widened``: old and new shapes.
    ``narrow``: for every parameter with an axis that kept its size, the operators that keep it. ``scaled``: modules
    whose input is multiplied by a constant (a forward pre-hook), where a shared weight could not be divided.
    """

    own_class: bool
    reason: str
    profiles: Mapping[bool, Profile]
    factors: Mapping[str, Tensor]
    widened: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    narrow: Mapping[str, str]
    scaled: Mapping[str, float]

    def __str__(self) -> str:
        kind = "the model's own class" if self.own_class else f"the rewritten trace ({self.reason})"
        lines = [f"runs {kind}; {len(self.widened)} parameters and buffers widened"]
        lines += [f"  {name}: {old} -> {new}" for name, (old, new) in self.widened.items()]
        lines += [f"  input of {name} × {gain:g} (its weight is shared)" for name, gain in self.scaled.items()]
        lines += [f"  {name} keeps a size: {why}" for name, why in self.narrow.items()]
        return "\n".join(lines)


def expansion(clone: nn.Module) -> Expansion:
    """The record of the clone. Raises ``InvalidInput`` for a model that ``expand`` did not make."""
    found = vars(clone).get(ATTRIBUTE)
    if not isinstance(found, Expansion):
        raise InvalidInput("clone", type(clone).__name__, "was not made by expand")
    return found


def profile_of_clone(clone: nn.Module) -> Profile:
    """The profile of the clone's present mode."""
    return expansion(clone).profiles[clone.training]
