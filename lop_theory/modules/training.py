"""The optimizer that a model is really trained with: does it keep trapped units together?  [clone-trajectory]

Theorem A.1 asks for an update that is equivariant under permutations within blocks and for state that is tied. The
optimizers of PyTorch are equivariant; their moments are looked at. Weight decay that is added to the gradient and then
divided by a size of the gradient (Adam with ``weight_decay``) is not linear in the weight: it keeps equal units equal
only where their weights are the same but for their order.
"""

from collections.abc import Container, Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.utils import _pytree as pytree

from lop_theory.modules.conditions import Offence
from lop_theory.modules.equitable import same_values
from lop_theory.modules.interface import Profile
from lop_theory.modules.optimizer import NOT_KNOWN, optimizer_offences, parted, undecided
from lop_theory.modules.steps import step_of
from lop_theory.modules.terms import tolerance_of

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
    """``unknown``: why nothing is known of it; ``untied``: state that differs within a block, or of which that is not
    known; ``uneven``: parameters under coupled decay with an adaptive update that does not keep RE∩CE."""

    name: str
    unknown: str
    untied: tuple[Offence, ...]
    uneven: tuple[str, ...]

    def parting(self, names: Container[str]) -> str:
        """What of the optimizer parts units with these parameters though their weights do not."""
        untied = next((o for o in self.untied if o.node in names and not undecided(o)), None)
        if untied is not None:
            return f"the state of {self.name} for {untied.node} is not tied: {untied.reason}"
        uneven = next((name for name in self.uneven if name in names), None)
        return f"{self.name} divides the decay of {uneven}, whose weights differ within the block" if uneven else ""

    def not_known(self) -> str:
        """Why it is not known whether it treats units alike."""
        found = next((o for o in self.untied if undecided(o)), None)
        return self.unknown or (f"{found.node}: {found.reason}" if found else "")


def training_rule(
    model: nn.Module, optimizer: torch.optim.Optimizer, profile: Profile, tolerance: float | None = None
) -> TrainingRule:
    """What the optimizer does to clones of the profile (``tolerance``: of equal weights, else of their precision)."""
    kind = type(optimizer)
    offences = optimizer_offences(model, optimizer, profile)
    coupled = {
        id(p)
        for group in optimizer.param_groups
        if isinstance(optimizer, ADAPTIVE) and _decays(group) and not group.get("decoupled_weight_decay")
        for p in group["params"]
    }
    uneven = tuple(
        name
        for name, p in model.named_parameters(remove_duplicate=False)
        if id(p) in coupled
        and name in profile.state
        and not same_values(p, profile.state[name], tolerance_of(p) if tolerance is None else tolerance)
    )
    return TrainingRule(kind.__name__, _why_unknown(model, optimizer), tuple(offences), uneven)


def _why_unknown(model: nn.Module, optimizer: torch.optim.Optimizer) -> str:
    """What of the step is not PyTorch's, or has a number of its own for every unit."""
    kind, hooked = type(optimizer), ("_backward_hooks", "_post_accumulate_grad_hooks")
    if not kind.__module__.startswith("torch.optim"):
        return f"whether {kind.__name__} treats all units alike {NOT_KNOWN}"
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks or _is_patched(optimizer):
        return f"a hook of the optimizer's, or a step of its own: what it does to clones {NOT_KNOWN}"
    hooks = [n for n, p in model.named_parameters() if any(getattr(p, attribute, None) for attribute in hooked)]
    if hooks:
        return f"{hooks[0]} has a hook on its gradient: what it does to clones {NOT_KNOWN}"
    odd = [key for group in optimizer.param_groups for key, value in group.items() if not _is_finite(value)]
    if odd:
        return f"{odd[0]} is NaN or infinite: what becomes of clones {NOT_KNOWN}"
    several = [key for group in optimizer.param_groups for key, v in group.items() if _is_several(v)]
    return f"{several[0]} has several values: which units have which {NOT_KNOWN}" if several else ""


def _is_patched(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the step is another one than its class's (schedulers wrap it to count)."""
    step = vars(optimizer).get("step")
    while getattr(step, "_wrapped_by_lr_sched", False):
        step = getattr(step, "__wrapped__", None)
    return step is not None and getattr(step, "__func__", step) is not type(optimizer).step


def _is_finite(option: object) -> bool:
    numbers = [x for x in pytree.tree_leaves(option) if isinstance(x, (float, torch.Tensor))]
    return all(bool(torch.as_tensor(x).isfinite().all()) for x in numbers)


def _is_several(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.numel() > 1


def step_offences(
    model: nn.Module, optimizer: torch.optim.Optimizer, profile: Profile, loose: Mapping[str, float]
) -> list[Offence]:
    """Why the optimizer's next steps may part the clones of the profile. ``loose``: by parameter, how far clones'
    gradients are apart where they are rounding."""
    rule = training_rule(model, optimizer, profile)
    found = [*rule.untied, *(parted(name, rule.parting([name])) for name in rule.uneven)]
    found += [parted("", rule.unknown)] if rule.unknown else []
    rounded = (name for name, apart in loose.items() if apart > step_of(model, name, optimizer).apart("gradient"))
    return [
        *found,
        *(parted(name, f"of its gradient, which is rounding, what {rule.name} makes {NOT_KNOWN}") for name in rounded),
    ]


def _decays(group: Mapping[str, object]) -> bool:
    return bool((torch.as_tensor(group.get("weight_decay", 0)) != 0).any())
