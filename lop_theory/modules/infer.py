"""A profile that is given, or read off the shapes of a wide model and its narrow base of the same class."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.modules.axes import Axis, Laid, Multiplicity
from lop_theory.modules.conditions import canonical
from lop_theory.modules.interface import Profile
from lop_theory.modules.plan import Widths, profile_of, widths
from lop_theory.modules.propagation import Rules
from lop_theory.trace import state_of


def given_profile(profile: Profile, state: Mapping[str, Tensor]) -> Profile:
    """Its blocks numbered by first appearance. Raises ``InvalidInput`` where it is not one of this state."""
    for name, maps in profile.state.items():
        if name not in state:
            raise InvalidInput("profile", name, "is no parameter or buffer of the model")
        found, right = tuple(map(len, maps)), tuple(state[name].shape)
        if found != right:
            raise InvalidInput(
                "profile",
                name,
                f"has partitions of {found} coordinates, the tensor is {right}",
                "give every one a block",
            )
    return profile._replace(state={n: tuple(canonical(np.asarray(i)) for i in m) for n, m in profile.state.items()})


def inferred_profile(
    model: nn.Module, base: nn.Module, example_input: Any, rules: Rules | None = None, laid: Laid = np.repeat
) -> Profile:
    """Clones adjacent or ``laid`` as said, multiplicities the ratios of the sizes; heads are tried before head widths.

    Raises InvalidInput if names or sizes do not fit.
    """
    wide = state_of(model)
    found = widths(base, example_input, rules)
    if set(wide) != set(found.state):
        other = sorted(set(wide) ^ set(found.state))[0]
        raise InvalidInput(
            "base", type(base).__name__, f"must have the model's parameter names; {other} is in one only"
        )
    for avoid in ({"avoid", "width"}, {"avoid", "heads"}):
        chosen = _ratios(found, {name: tuple(t.shape) for name, t in wide.items()}, avoid)
        profile = profile_of(found, chosen, training=model.training, laid=laid)
        if all(tuple(map(len, maps)) == tuple(wide[name].shape) for name, maps in profile.state.items()):
            return profile
    raise InvalidInput("base", type(base).__name__, "the model's sizes are no multiples of its widths", "pass profile=")


def _ratios(found: Widths, shapes: dict[str, tuple[int, ...]], avoid: set[str]) -> dict[Axis, Multiplicity]:
    plan, chosen = found.plan, dict[Axis, Multiplicity]()
    for name, axes in found.state.items():
        for axis, size in zip(axes, shapes[name], strict=True):
            leaves = [leaf for leaf in plan.leaves(axis) if plan.cloned(leaf)]
            open_leaves = [leaf for leaf in leaves if not plan.marks(leaf) & avoid] or leaves
            narrow = plan.size(axis)
            for leaf in open_leaves if size > narrow > 0 and size % narrow == 0 else ():
                chosen[leaf] = size // narrow
    return chosen
