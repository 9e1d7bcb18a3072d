"""What every model of the zoo must pass, in float32 and in float64."""

import copy
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from lop_theory.modules import certify, detect, expand, expansion
from lop_theory.verdict import Holds

CLONED = ("trapped", "separating", "cloned", "twin")


def check(model: nn.Module, inputs: Any) -> None:
    """No clone is found; expand, and some are; certify against the base in both precisions, train a step, certify
    again; 1 % off is not certified."""
    base, given = model.double().eval(), cast(inputs, torch.float64)
    assert not detect(base, given).verdicts(*CLONED), ("false clones", detect(base, given).table())
    clone = expand(base, 2, example_input=given)
    assert expansion(clone).widened
    assert detect(clone, given).verdicts(*CLONED), ("clones not found", detect(clone, given).table())
    verdict = certify(clone, base=base, example_input=given)
    assert isinstance(verdict, Holds), ("float64", verdict)
    single, narrow, coarse = copy.deepcopy(clone).float(), base.float(), cast(inputs, torch.float32)
    verdict = certify(single, base=narrow, example_input=coarse)
    assert isinstance(verdict, Holds), ("float32", verdict)
    step(single, coarse)
    verdict = certify(single, example_input=coarse)
    assert isinstance(verdict, Holds), ("after a step", verdict)
    spoil(single)
    assert not isinstance(certify(single, example_input=coarse), Holds), "spoiled"


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
