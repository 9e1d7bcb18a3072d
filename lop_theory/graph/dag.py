"""Feed-forward networks on arbitrary DAGs: structure in arrays, nodes ordered by level, edges in CSR order."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lop_theory.activations.catalogue import Activation
from lop_theory.errors import InvalidInput
from lop_theory.graph.levels import find_cycle, longest_path_levels, row_pointers, stable_order
from lop_theory.graph.names import shown
from lop_theory.graph.scalars import IntArray, Values, exact, is_exact, rational, to_float

NO_ACTIVATION = -1


class LevelGroup(NamedTuple):
    """Nodes of one level that share an activation."""

    activation: Activation
    nodes: IntArray | slice


class LevelEdges(NamedTuple):
    """Edges into one level; ``sources`` spans their source nodes, ``pattern`` is their CSR matrix without weights,
    ``turned`` its transpose (both are kept: SciPy checks what it builds, which takes as long as a product)."""

    nodes: slice
    edges: slice
    sources: slice
    pattern: Any
    turned: Any

    def matrix(self, weight: Values) -> Any:
        """The matrix (nodes × sources) with these edges' weights, sharing the index arrays."""
        return self._with_weights(self.pattern, weight)

    def transposed(self, weight: Values) -> Any:
        """The same, sources × nodes."""
        return self._with_weights(self.turned, weight)

    def _with_weights(self, pattern: Any, weight: Values) -> Any:
        matrix = copy(pattern)
        matrix.data = weight[self.edges]
        return matrix


@dataclass(frozen=True, eq=False)
class Dag:
    """Structure of a network. z(v) = b_v + Σ_u w_uv h(u), h(v) = φ_v(z(v)); edge u→v carries w_uv (theory.md §0).

    Nodes are numbered by level (longest path from a source), so that every level is a slice; edges are sorted by
    (target, source), so that the edges into a level are a slice too. Input nodes have no activation and no bias.
    """

    ids: tuple[Hashable, ...]
    source: IntArray
    target: IntArray
    inputs: IntArray
    outputs: IntArray
    activations: tuple[Activation, ...]
    activation_of: IntArray
    level_start: IntArray

    @property
    def nodes(self) -> int:
        return len(self.ids)

    @property
    def edges(self) -> int:
        return len(self.source)

    @property
    def levels(self) -> int:
        return len(self.level_start) - 1

    @cached_property
    def number_of(self) -> dict[Hashable, int]:
        """Node number by id."""
        return {name: number for number, name in enumerate(self.ids)}

    @cached_property
    def is_input(self) -> NDArray[np.bool_]:
        mask = np.zeros(self.nodes, dtype=bool)
        mask[self.inputs] = True
        return mask

    @cached_property
    def in_pointers(self) -> IntArray:
        """Edges into node v are in_pointers[v]:in_pointers[v+1]."""
        return row_pointers(self.target, self.nodes)

    @cached_property
    def level_edges(self) -> tuple["LevelEdges", ...]:
        """The edges into each level."""
        bounds = zip(self.level_start[:-1], self.level_start[1:], strict=True)
        return tuple(self._level_edges(int(a), int(b)) for a, b in bounds)

    def _level_edges(self, start: int, stop: int) -> "LevelEdges":
        a, b = int(self.in_pointers[start]), int(self.in_pointers[stop])
        source = self.source[a:b]
        low, high = (int(source.min()), int(source.max()) + 1) if a < b else (0, 1)
        rows = self.in_pointers[start : stop + 1] - a
        from scipy.sparse import csr_matrix

        pattern = csr_matrix((np.empty(b - a), source - low, rows), shape=(stop - start, high - low))
        return LevelEdges(slice(start, stop), slice(a, b), slice(low, high), pattern, pattern.T)

    @cached_property
    def out_order(self) -> IntArray:
        """Permutation of the edges that sorts them by (source, target)."""
        return stable_order(self.source)

    @cached_property
    def out_pointers(self) -> IntArray:
        return row_pointers(self.source[self.out_order], self.nodes)

    @cached_property
    def target_by_source(self) -> IntArray:
        """Targets in the order of ``out_order``."""
        return self.target[self.out_order]

    @cached_property
    def level_groups(self) -> tuple[tuple[LevelGroup, ...], ...]:
        """For each level, its non-input nodes grouped by activation."""
        bounds = zip(self.level_start[:-1], self.level_start[1:], strict=True)
        return tuple(tuple(self._groups(int(a), int(b))) for a, b in bounds)

    def _groups(self, start: int, stop: int) -> Iterable[LevelGroup]:
        kinds = self.activation_of[start:stop]
        for kind in np.unique(kinds):
            if kind == NO_ACTIVATION:
                continue
            whole = bool((kinds == kind).all())
            nodes = slice(start, stop) if whole else start + np.flatnonzero(kinds == kind)
            yield LevelGroup(self.activations[int(kind)], nodes)


class Network(NamedTuple):
    """A DAG with its parameters: one weight an edge (in edge order), one bias a node (zero at inputs)."""

    dag: Dag
    weight: Values
    bias: Values

    def with_parameters(self, weight: Values, bias: Values) -> "Network":
        return Network(self.dag, weight, bias)


class Node(NamedTuple):
    """A non-input node as a user writes it."""

    id: Hashable
    activation: Activation
    bias: object = 0.0


Edge = tuple[Hashable, Hashable, object]


class EdgeColumns(NamedTuple):
    """Many edges: ``source`` and ``target`` are indices into ``names``; weights are numbers, or float64."""

    names: Sequence[Hashable]
    source: IntArray
    target: IntArray
    weight: Sequence[Any] | Values


def edge_columns(edges: Sequence[Edge]) -> EdgeColumns:
    number: dict[Hashable, int] = {}
    ends = [[number.setdefault(e[side], len(number)) for e in edges] for side in (0, 1)]
    source, target = (np.array(side, dtype=np.int64) for side in ends)
    return EdgeColumns(list(number), source, target, [e[2] for e in edges])


def build_network(
    inputs: Sequence[Hashable],
    nodes: Sequence[Node],
    edges: Sequence[Edge] | EdgeColumns,
    outputs: Sequence[Hashable],
    *,
    rationals: bool = False,
) -> Network:
    """A network from ids, nodes and edges ``(source, target, weight)`` or their columns.

    ``rationals=True`` keeps every number exact. Raises ``InvalidInput`` that names the offender: a cycle, an unknown or
    repeated node, a duplicate edge, an edge into an input, a number that is not finite.
    """
    names = [*inputs, *(node.id for node in nodes)]
    number = _number_names(names)
    _known_outputs(outputs, number)
    columns = edges if isinstance(edges, EdgeColumns) else edge_columns(edges)
    place = _places(columns, number)
    weights = _numbers(columns.weight, _ends(columns), "edge", rationals=rationals)
    biases = _numbers([0] * len(inputs) + [n.bias for n in nodes], names, "bias of node", rationals=rationals)
    table, kinds = _activation_table(nodes)
    kinds = np.array([NO_ACTIVATION] * len(inputs) + kinds, dtype=np.int64)
    ends = (place[columns.source], place[columns.target])
    raw = RawGraph(names, *ends, len(inputs), [number[o] for o in outputs], table, kinds)
    return assemble(raw, weights, biases)


def _activation_table(nodes: Sequence[Node]) -> tuple[tuple[Activation, ...], list[int]]:
    """The distinct activations, and which each node has. An object that nodes share is hashed once."""
    rank: dict[Activation, int] = {}
    seen: dict[int, int] = {}
    for node in nodes:
        if id(node.activation) not in seen:
            seen[id(node.activation)] = rank.setdefault(node.activation, len(rank))
    return tuple(rank), [seen[id(node.activation)] for node in nodes]


def _ends(columns: EdgeColumns) -> Iterator[tuple[Hashable, Hashable]]:
    """The two names of each edge."""
    names = columns.names
    return ((names[int(u)], names[int(v)]) for u, v in zip(columns.source, columns.target, strict=True))


def _places(columns: EdgeColumns, number: Mapping[Hashable, int]) -> IntArray:
    """The node number of each name that edges mention. Raises ``InvalidInput`` for an unknown one."""
    found = np.array([number.get(name, -1) for name in columns.names], dtype=np.int64)
    unknown = np.flatnonzero((found[columns.source] < 0) | (found[columns.target] < 0))
    if unknown.size:
        u, v = (columns.names[int(end[unknown[0]])] for end in (columns.source, columns.target))
        name = u if u not in number else v
        raise InvalidInput("edge", f"{shown(u)} -> {shown(v)}", f"has the unknown node {name!r}", "list it under nodes")
    return found


class RawGraph(NamedTuple):
    """Nodes in the user's order (inputs first) and edges in any order, as numbers."""

    names: Sequence[Hashable]
    source: IntArray
    target: IntArray
    inputs: int
    outputs: Sequence[int]
    activations: tuple[Activation, ...]
    activation_of: IntArray


def assemble(raw: RawGraph, weight: Values, bias: Values) -> Network:
    """Sort nodes by level and edges by (target, source). Raises ``InvalidInput`` on a cycle or a duplicate edge."""
    _no_edges_into_inputs(raw)
    level = longest_path_levels(raw.source, raw.target, len(raw.names))
    if level is None:
        cycle = find_cycle(raw.source, raw.target, len(raw.names))
        path = " -> ".join(shown(raw.names[v]) for v in cycle)
        raise InvalidInput("edges", path, "form a cycle, but a feed-forward network has none", "remove one of them")
    order = stable_order(level)
    new = np.empty_like(order)
    new[order] = np.arange(len(order))
    source, target = new[raw.source], new[raw.target]
    by_source = stable_order(source)
    by_target = by_source[stable_order(target[by_source])]
    source, target = source[by_target], target[by_target]
    names = tuple(raw.names[v] for v in order)
    _no_duplicates(source, target, names)
    counts = np.bincount(level, minlength=1)
    dag = Dag(
        ids=names,
        source=source,
        target=target,
        inputs=new[: raw.inputs],
        outputs=new[np.asarray(raw.outputs, dtype=np.int64)],
        activations=raw.activations,
        activation_of=np.asarray(raw.activation_of, dtype=np.int64)[order],
        level_start=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
    )
    return Network(dag, weight[by_target], bias[order])


def edge_weights(network: Network) -> Mapping[tuple[Hashable, Hashable], object]:
    """Weights by ``(source id, target id)``."""
    ids = network.dag.ids
    pairs = zip(network.dag.source, network.dag.target, network.weight, strict=True)
    return {(ids[u], ids[v]): w for u, v, w in pairs}


def exact_network(network: Network) -> Network:
    """The same network in exact rationals (every float is a dyadic rational)."""
    if is_exact(network.weight):
        return network
    return network.with_parameters(exact(network.weight), exact(network.bias))


def _number_names(names: Sequence[Hashable]) -> dict[Hashable, int]:
    number: dict[Hashable, int] = {}
    for name in names:
        if name in number:
            raise InvalidInput("node", name, "appears twice", "give every node its own id")
        number[name] = len(number)
    return number


def _known_outputs(outputs: Sequence[Hashable], number: Mapping[Hashable, int]) -> None:
    if not outputs:
        raise InvalidInput("outputs", [], "must name at least one node", "list the output ids")
    for k, name in enumerate(outputs):
        if name not in number:
            raise InvalidInput("outputs", name, "is an unknown node", "list it under inputs or nodes")
        if name in outputs[:k]:
            raise InvalidInput("outputs", name, "appears twice", "list it once")


def _numbers(values: Sequence[Any] | Values, owners: Iterable[object], what: str, *, rationals: bool) -> Values:
    if isinstance(values, np.ndarray) and not rationals and np.isfinite(values).all():
        return values
    numbers = list[Any]()
    for value, owner in zip(values, owners, strict=True):
        try:
            number = rational(value) if rationals or isinstance(value, str) else value
            numbers.append(number if rationals else to_float(number))
            finite = isfinite(to_float(number))
        except (InvalidInput, ValueError, TypeError, OverflowError):
            finite = False
        if not finite:
            label = " -> ".join(map(shown, owner)) if isinstance(owner, tuple) else shown(owner)
            raise InvalidInput(f"{what} {label}", value, "must be a finite number", 'write 0.25 or "1/4"')
    return exact(numbers) if rationals else np.array(numbers, dtype=np.float64)


def _no_edges_into_inputs(raw: RawGraph) -> None:
    bad = np.flatnonzero(raw.target < raw.inputs)
    if bad.size:
        u, v = raw.names[int(raw.source[bad[0]])], raw.names[int(raw.target[bad[0]])]
        raise InvalidInput(
            "edge",
            f"{shown(u)} -> {shown(v)}",
            f"enters the input {shown(v)}",
            "an input takes its value from the data only",
        )


def _no_duplicates(source: IntArray, target: IntArray, names: Sequence[Hashable]) -> None:
    same = np.flatnonzero((source[1:] == source[:-1]) & (target[1:] == target[:-1]))
    if same.size:
        u, v = names[int(source[same[0]])], names[int(target[same[0]])]
        raise InvalidInput(
            "edge", f"{shown(u)} -> {shown(v)}", "is a duplicate edge", "add the two weights into one edge"
        )
