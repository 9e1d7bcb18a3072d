"""Which parameters reach the outputs through one activation alone: read off the graph that autograd made of a call.

A certificate that an activation passes no gradient on says nothing of a parameter, or of a pre-activation, that
something else reads, too.
"""

import re
from collections import defaultdict
from collections.abc import Iterable

from torch import Tensor, nn
from torch.autograd.graph import Node

PASSED = re.compile(
    "(T|View|UnsafeView|ReshapeAlias|Transpose|Permute|Unsqueeze|Squeeze|Clone|Alias|Add|Addmm|Mm|Bmm|Linear|"
    r"Convolution|\w*Pool\w*)Backward\d*"
)
"""Weighted sums, their biases, pooling and views: what may stand between a weight and the activation of its units
(no cast: it rounds)."""


def read_alone(model: nn.Module, outputs: Iterable[Tensor]) -> dict[str, str]:
    """By parameter: the first node but :data:`PASSED` on its way to the outputs (``ReluBackward0``), if the parameter
    and everything on that way is read once; others are left out."""
    readers = _readers(outputs)
    leaves = {id(getattr(node, "variable", None)): node for node in readers}  # of a parameter: what accumulates
    paths = {name: _first(leaves[id(p)], readers) for name, p in model.named_parameters() if id(p) in leaves}
    return {name: path for name, path in paths.items() if path}


def _readers(outputs: Iterable[Tensor]) -> dict[Node, list[Node | None]]:
    """Node → the nodes that read it, each as often as it does; ``None`` for what is an output itself."""
    readers = defaultdict[Node, list[Node | None]](list)
    behind = list[Node]()

    def read(node: Node | None, reader: Node | None) -> None:
        if node is not None:
            if node not in readers:
                behind.append(node)
            readers[node].append(reader)

    for tensor in outputs:
        read(tensor.grad_fn, None)
    while behind:
        reader = behind.pop()
        for node, _ in reader.next_functions:
            read(node, reader)
    return readers


def _first(node: Node, readers: dict[Node, list[Node | None]]) -> str:
    while len(readers[node]) == 1:
        (reader,) = readers[node]
        if reader is None:
            return ""
        if not PASSED.fullmatch(reader.name()):
            return reader.name()
        node = reader
    return ""
