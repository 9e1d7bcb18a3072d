"""The optimizer that a model is really trained with: does it keep trapped units together?  [clone-trajectory]

Theorem A.1 asks for an update that is equivariant under permutations within blocks and for state that is tied. The
optimizers of PyTorch are equivariant; their moments are looked at. Weight decay that is added to the gradient and then
divided by a size of the gradient (Adam with ``weight_decay``) is not linear in the weight: it keeps equal units equal
only where their weights are the same but for their order.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from lop_theory.modules.conditions import Offence
from lop_theory.modules.equitable import Structure, same_values
from lop_theory.modules.interface import Profile
from lop_theory.modules.optimizer import optimizer_offences

ADAPTIVE = (
    torch.optim.Adam,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.Adamax,
    torch.optim.Adagrad,
    torch.optim.Adadelta,
    torch.optim.RMSprop,
)


class TrainingRule(NamedTuple):
    """``unknown``: why nothing is known of it; ``untied``: parameters whose state differs within a block;
    ``uneven``: parameters under coupled decay with an adaptive update that does not keep RE∩CE."""

    name: str
    unknown: str
    untied: Mapping[str, Offence]
    uneven: tuple[str, ...]


def training_rule(model: nn.Module, optimizer: torch.optim.Optimizer, found: Structure) -> TrainingRule:
    """What the optimizer does to units that the weights do not tell apart."""
    kind = type(optimizer)
    known = kind.__module__.startswith("torch.optim")
    unknown = "" if known else f"whether {kind.__name__} treats all units alike is not known"
    offences = optimizer_offences(model, optimizer, Profile(found.blocks, {}))
    coupled = {
        id(p)
        for group in optimizer.param_groups
        if isinstance(optimizer, ADAPTIVE) and group.get("weight_decay") and not _decoupled(optimizer, group)
        for p in group["params"]
    }
    uneven = tuple(
        name
        for name, p in model.named_parameters(remove_duplicate=False)
        if id(p) in coupled and name in found.blocks and not same_values(p, found.blocks[name], found.tolerance)
    )
    return TrainingRule(kind.__name__, unknown, {o.node: o for o in offences}, uneven)


def _decoupled(optimizer: torch.optim.Optimizer, group: Mapping[str, object]) -> bool:
    return isinstance(optimizer, torch.optim.AdamW) or bool(group.get("decoupled_weight_decay"))
