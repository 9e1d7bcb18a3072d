"""A call as autograd recorded it: who reads a node, what is a layer's weighted sum, what stands between two layers.

This is what gradients follow. Writes in place, units in another order, functions of a parameter and second readers of
a value show here as nodes of their own, whatever names the operators had.
"""

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import Node

Readers = dict[Node, list[Node | None]]

SAME = "Clone|Alias"
RESHAPED = "View|UnsafeView|ReshapeAlias"
CHOSEN = "T|Transpose|Permute|Unsqueeze|Squeeze|Select|Slice|Expand|Index|Flip|Roll"
POOLED = r"MaxPool\dDWithIndices|AvgPool\dD|AdaptiveAvgPool\dD|AdaptiveMaxPool\dD"
VIEWS = re.compile(f"({SAME}|{RESHAPED}|{CHOSEN})Backward\\d")
"""What moves numbers and changes none."""
HULLS = re.compile(f"({SAME}|{RESHAPED}|{CHOSEN}|{POOLED}|Mean)Backward\\d")
"""What gives numbers between the smallest and the largest that it gets, or zero."""


class Sum(NamedTuple):
    """A linear layer or an ungrouped convolution of one weight (units × inputs × kernel). ``leaves``: where its
    gradient and the bias's are accumulated; ``axis``: that of the units in what it reads and gives."""

    leaves: tuple[Node, ...]
    weight: Tensor
    bias: Tensor
    reads: Node | None
    axis: int


def readers_of(results: Iterable[Tensor]) -> Readers:
    """Node → the nodes that read it, each as often as it does; ``None`` for what is a result itself."""
    readers: Readers = defaultdict(list)
    behind: list[Node] = []

    def read(node: Node | None, reader: Node | None) -> None:
        if node is not None:
            if node not in readers:
                behind.append(node)
            readers[node].append(reader)

    for tensor in results:
        read(tensor.grad_fn, None)
    while behind:
        reader = behind.pop()
        for node, _ in reader.next_functions:
            read(node, reader)
    return readers


def reached(result: Tensor, without: Container[Node]) -> set[Node]:
    """Nodes that ``result`` depends on by ways that go around those in ``without``."""
    found: set[Node] = set()
    behind = [result.grad_fn]
    while behind:
        node = behind.pop()
        if node is not None and node not in found and node not in without:
            found.add(node)
            behind += [edge for edge, _ in node.next_functions]
    return found


def read_through(node: Node, last: Node, readers: Readers) -> bool:
    """Whether all that becomes of ``node`` goes, one reader after the other, through ``last``."""
    while node is not last:
        if len(readers[node]) != 1 or readers[node][0] is None:
            return False
        (reader,) = readers[node]
        assert reader is not None
        node = reader
    return True


def behind(node: Node | None, passed: re.Pattern[str], stop: Container[Node] = ()) -> list[Node]:
    """From ``node`` backwards through what ``passed`` names to the first node that it does not name, or that is in
    ``stop``; empty if there is none."""
    path: list[Node] = []
    while node is not None:
        path.append(node)
        overridden = getattr(node, "_saved_divisor_override", None) is not None
        if node in stop or overridden or not passed.fullmatch(node.name()):
            return path
        node = node.next_functions[0][0]
    return []


def in_order(path: Sequence[Node], axis: int) -> bool:
    """Whether the units along ``axis`` are at the one end of the path what they are at the other."""
    return all(_keeps(node, below, axis) for node, below in pairwise(path))


def _keeps(node: Node, below: Node, axis: int) -> bool:
    """Views of numbers in rows keep the last index where they keep the last size."""
    name = node.name().rpartition("Backward")[0]
    if re.fullmatch(RESHAPED, name):
        return axis == -1 and shape(node)[-1:] == shape(below)[-1:]
    return bool(re.fullmatch(SAME, name) or (axis == 1 and re.fullmatch(POOLED, name)))


def shape(node: Node) -> torch.Size:
    """Of the value that the node gave."""
    return node._input_metadata[0].shape  # pyright: ignore[reportAttributeAccessIssue]


def weighted_sum(node: Node) -> Sum | None:
    """Of ``F.linear`` and ``F.conv1d`` to ``F.conv3d`` of parameters themselves, if the node is one. Without a bias the
    sum of nothing is 0, which is inside no flat region."""
    edges = [edge for edge, _ in node.next_functions]
    match node.name():
        case "AddmmBackward0" if saved(node, "alpha") == saved(node, "beta") == 1:
            bias, inputs, weight = edges
            return _sum(_transposed(weight), bias, inputs, -1)
        case "ConvolutionBackward0" if saved(node, "groups") == 1 and not saved(node, "transposed"):
            inputs, weight, bias = edges
            return _sum(weight, bias, inputs, 1)
        case _:
            return None


def saved(node: Node, name: str) -> Any:
    """What the node keeps of its call."""
    return getattr(node, f"_saved_{name}")


def _transposed(node: Node | None) -> Node | None:
    return node.next_functions[0][0] if node is not None and node.name() == "TBackward0" else None


def _sum(weight: Any, bias: Any, reads: Node | None, axis: int) -> Sum | None:
    rows, added = (getattr(node, "variable", None) for node in (weight, bias))
    if rows is None or added is None or added.shape != rows.shape[:1]:
        return None
    return Sum((weight, bias), rows, added, reads, axis)
