"""What a model returns: which numbers are compared, and the random linear function of them that has gradients."""

from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from lop_theory.modules.conditions import Offence
from lop_theory.trace import Node, Program


def outputs_of(output: Any) -> tuple[Tensor, ...]:
    """The floating tensors among the leaves, complex ones as pairs of numbers."""
    leaves = [
        torch.view_as_real(t) if isinstance(t, Tensor) and t.is_complex() else t for t in pytree.tree_leaves(output)
    ]
    return tuple(t for t in leaves if isinstance(t, Tensor) and t.is_floating_point())


def weights_of_outputs(outputs: tuple[Tensor, ...], seed: int) -> list[Tensor]:
    """Those of the random linear function of the outputs whose gradients are looked at."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t) for t in outputs]


def compared_outputs(program: Program) -> list[str]:
    """Nodes of the outputs that are compared with the base's, in the order of :func:`outputs_of`."""
    return [leaf.name for leaf in _leaves(program) if _is_compared(leaf)]


def all_compared(program: Program) -> bool:
    """Whether no output is left out: whole numbers are."""
    return all(_is_compared(leaf) for leaf in _leaves(program) if leaf is not None)


def layout_offences(program: Program, base: Program) -> list[Offence]:
    """Outputs of which the base has others, or the same under other names."""
    if program.out_spec == base.out_spec:
        return []
    mine, theirs = (" ".join(str(p.out_spec).split()) for p in (program, base))
    return [Offence("", "output", "base", f"what is returned is not laid out as the base's: {mine} against {theirs}")]


def _leaves(program: Program) -> tuple[Any, ...]:
    node: Node = next(n for n in program.graph.nodes if n.op == "output")
    return tuple(node.args[0])


def _is_compared(leaf: Any) -> bool:
    """A real or complex tensor (a rewrite's own node says nothing of its value)."""
    if not isinstance(leaf, fx.Node):
        return False
    value = leaf.meta.get("val")
    return value is None or (isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()))
