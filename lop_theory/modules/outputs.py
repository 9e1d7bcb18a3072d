"""What a model returns: which numbers are compared, and the random linear function of them that has gradients."""

from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from lop_theory.modules.conditions import Offence
from lop_theory.trace import Node, Program, operator_name


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
    """Outputs of which the base has others, or the same under other names, of another kind or without a gradient."""
    mine, theirs = (" ".join(str(p.out_spec).split()) for p in (program, base))
    if program.out_spec != base.out_spec:
        return [_offence(f"what is returned is not laid out as the base's: {mine} against {theirs}")]
    kinds = [[_kind(leaf, p) for leaf in _leaves(p)] for p in (program, base)]
    pairs = enumerate(zip(*kinds, strict=True))
    return [
        _offence(f"output {place} is {one}, the base's is {other}") for place, (one, other) in pairs if one != other
    ]


def _offence(reason: str) -> Offence:
    return Offence("", "output", "base", reason)


def _leaves(program: Program) -> tuple[Any, ...]:
    node: Node = next(n for n in program.graph.nodes if n.op == "output")
    return tuple(node.args[0])


def _kind(leaf: Any, program: Program) -> str:
    """What an output is, but for its numbers and its precision."""
    if not isinstance(leaf, fx.Node):
        return f"the constant {leaf!r}"
    value = leaf.meta.get("val")
    if not isinstance(value, Tensor):
        return "computed"
    if not (value.is_floating_point() or value.is_complex()):
        return f"a tensor of {value.dtype}"
    number = "complex" if value.is_complex() else "real"
    return f"a tensor of {number} numbers with{'' if _has_gradient(leaf, program) else 'out'} a gradient"


def _has_gradient(leaf: Node, program: Program) -> bool:
    """Whether something that is learned, or given, reaches it without being detached."""
    reached, behind = {leaf}, [leaf]
    while behind:
        node = behind.pop()
        if node.op == "placeholder" and node.name not in program.constants:
            return True
        new = (
            set() if operator_name(node) == "detach" or not _differentiable(node) else {*node.all_input_nodes} - reached
        )
        reached |= new
        behind += new
    return False


def _differentiable(node: Node) -> bool:
    value = node.meta.get("val")
    return not isinstance(value, Tensor) or value.is_floating_point() or value.is_complex()


def _is_compared(leaf: Any) -> bool:
    """A real or complex tensor (a rewrite's own node says nothing of its value)."""
    if not isinstance(leaf, fx.Node):
        return False
    value = leaf.meta.get("val")
    return value is None or (isinstance(value, Tensor) and _differentiable(leaf))
