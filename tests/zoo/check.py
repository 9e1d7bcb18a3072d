"""What every model of the zoo goes through, in float32 and in float64."""

import copy
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils import _pytree as pytree

from lop_theory.modules import certify, detect, expand, expansion
from lop_theory.modules.detection import Detection
from lop_theory.verdict import Verdict


class Seen(NamedTuple):
    """What was said of a model, of its clone in float64 and float32, after a step of training, and 1 % off."""

    base: Detection
    clone: Detection
    float64: Verdict
    float32: Verdict
    trained: Verdict
    spoiled: Verdict


def walk(model: nn.Module, inputs: Any) -> Seen:
    """Detect; expand, detect; certify against the base in both precisions, train a step, certify, spoil, certify."""
    base, given = model.double().eval(), cast(inputs, torch.float64)
    before = detect(base, given)
    clone = expand(base, 2, example_input=given)
    assert expansion(clone).widened
    after, double = detect(clone, given), certify(clone, base=base, example_input=given)
    single, narrow, coarse = copy.deepcopy(clone).float(), base.float(), cast(inputs, torch.float32)
    untrained = certify(single, base=narrow, example_input=coarse)
    step(single, coarse)
    trained = certify(single, example_input=coarse)
    spoil(single)
    return Seen(before, after, double, untrained, trained, certify(single, example_input=coarse))


def cast(inputs: Any, dtype: torch.dtype) -> Any:
    return pytree.tree_map(
        lambda t: t.to(dtype) if isinstance(t, torch.Tensor) and t.is_floating_point() else t, inputs
    )


def step(clone: nn.Module, inputs: Any) -> None:
    """One step of SGD on the squares of the outputs."""
    output = (
        clone(**inputs) if isinstance(inputs, dict) else clone(*inputs) if isinstance(inputs, tuple) else clone(inputs)
    )
    terms = [t.pow(2).mean() for t in pytree.tree_leaves(output) if isinstance(t, torch.Tensor) and t.requires_grad]
    sum(terms).backward()
    torch.optim.SGD(clone.parameters(), 1e-2).step()


def spoil(clone: nn.Module) -> None:
    """Move one unit of the first cloned weight by 1 %."""
    profile = expansion(clone).profiles[clone.training].state
    for name, parameter in clone.named_parameters():
        cloned = [d for d, index in enumerate(profile[name]) if len(index) > index.max(initial=-1) + 1]
        if parameter.dim() >= 2 and cloned and parameter.grad is not None and bool(parameter.grad.any()):
            with torch.no_grad():
                parameter.select(cloned[0], 0).mul_(1.01)
            return
    raise AssertionError("no cloned weight")
