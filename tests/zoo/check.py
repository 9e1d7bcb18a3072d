"""What every model of the zoo must pass, in float32 and in float64."""

from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from lop_theory.modules import certify, expand, expansion
from lop_theory.verdict import Holds

KINDS = {torch.float32: "float32", torch.float64: "float64"}


def check(model: nn.Module, inputs: Any, dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)) -> None:
    """Expand, certify against the base, train a step, certify again; a weight that is 1 % off must not be certified."""
    torch.manual_seed(0)
    for dtype in dtypes:
        base, given = model.to(dtype).eval(), cast(inputs, dtype)
        clone = expand(base, 2, example_input=given)
        assert expansion(clone).widened
        verdict = certify(clone, base=base, example_input=given)
        assert isinstance(verdict, Holds), (KINDS[dtype], verdict)
        step(clone, given)
        verdict = certify(clone, example_input=given)
        assert isinstance(verdict, Holds), (KINDS[dtype], "after a step", verdict)
        spoil(clone)
        assert not isinstance(certify(clone, example_input=given), Holds), (KINDS[dtype], "spoiled")


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
    parameters, profile = dict(clone.named_parameters()), expansion(clone).profiles[clone.training].state
    for name, parameter in parameters.items():
        maps = profile[name]
        if parameter.dim() >= 2 and len(maps[0]) > maps[0].max() + 1 and parameter.grad is not None:
            with torch.no_grad():
                parameter[0] *= 1.01
            return
    raise AssertionError("no cloned weight")
