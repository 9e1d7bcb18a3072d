"""What a model returns: which numbers are compared, and the random linear function of them that has gradients."""

from collections.abc import Sequence
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


def differentiate(outputs: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
    """Backward from Σ output · weight, through what has a gradient."""
    roots = [(t, w) for t, w in zip(outputs, weights, strict=True) if t.requires_grad]
    torch.autograd.backward([t for t, _ in roots], [w for _, w in roots])


def compared_outputs(program: Program) -> list[str]:
    """Nodes of the outputs that are compared with the base's, in the order of :func:`outputs_of`."""
    return [leaf.name for leaf in _leaves(program) if _is_compared(leaf)]


def all_compared(program: Program) -> bool:
    """Whether nothing that is computed is left out: whole numbers are."""
    return all(_is_compared(leaf) for leaf in _leaves(program) if isinstance(leaf, fx.Node))


def layout_offences(program: Program, base: Program) -> list[Offence]:
    """Outputs of which the base has others, or the same under other names, of another kind, or whose gradient goes to
    other parameters and inputs."""
    if program.out_spec != base.out_spec:
        mine, theirs = (" ".join(str(p.out_spec).split()) for p in (program, base))
        return [_offence(f"what is returned is not laid out as the base's: {mine} against {theirs}")]
    found: list[Offence] = []
    for place, (leaf, other) in enumerate(zip(_leaves(program), _leaves(base), strict=True)):
        mine, theirs = _kind(leaf), _kind(other)
        if mine != theirs:
            found.append(_offence(f"output {place} is {mine}, the base's is {theirs}"))
        elif alone := sorted(_sources(leaf, program) ^ _sources(other, base)):
            found.append(_offence(f"output {place} has a gradient to {alone[0]} in one of the models alone"))
    return found


def _offence(reason: str) -> Offence:
    return Offence("", "output", "base", reason)


def _leaves(program: Program) -> tuple[Any, ...]:
    node: Node = next(n for n in program.graph.nodes if n.op == "output")
    return tuple(node.args[0])


def _kind(leaf: Any) -> str:
    """What an output is, but for its numbers and its precision."""
    if not isinstance(leaf, fx.Node):
        return f"the constant {leaf!r}"
    value = leaf.meta.get("val")
    if not isinstance(value, Tensor):
        return "computed"
    if not _differentiable(leaf):
        return f"a tensor of {value.dtype}"
    return f"a tensor of {'complex' if value.is_complex() else 'real'} numbers"


def _sources(leaf: Any, program: Program) -> set[str]:
    """Parameters, buffers and inputs from which an output is computed without being detached."""
    reached, behind = set[Node](), [leaf] if isinstance(leaf, fx.Node) else []
    while behind:
        node = behind.pop()
        if node not in reached and operator_name(node) != "detach" and _differentiable(node):
            reached.add(node)
            behind += node.all_input_nodes
    return {program.state.get(n.name, n.name) for n in reached if n.op == "placeholder"} - program.constants.keys()


def _differentiable(node: Node) -> bool:
    value = node.meta.get("val")
    return not isinstance(value, Tensor) or value.is_floating_point() or value.is_complex()


def _is_compared(leaf: Any) -> bool:
    """A real or complex tensor (a rewrite's own node says nothing of its value)."""
    if not isinstance(leaf, fx.Node):
        return False
    value = leaf.meta.get("val")
    return value is None or (isinstance(value, Tensor) and _differentiable(leaf))
