"""The graph theory of theory.md §5–§6 in plain fractions and dictionaries: a reference that shares no code with the
package. Every definition is written out as it stands there; nothing is fast."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from math import inf
from typing import NamedTuple

F = Fraction
Interval = tuple[F | float, F | float]


class Phi(NamedTuple):
    """φ, φ′ (PyTorch's at a kink), φ(ℝ), and the closed flat regions with the value there."""

    value: Callable[[F], F]
    slope: Callable[[F], F]
    range: Interval = (-inf, inf)
    flats: tuple[tuple[F | float, F | float, F], ...] = ()


def _clip(low, high):
    return Phi(
        lambda z: max(F(low), min(F(high), z)),
        lambda z: F(low < z < high),
        (F(low), F(high)),
        ((-inf, F(low), F(low)), (F(high), inf, F(high))),
    )


PHI: dict[str, Phi] = {
    "identity": Phi(lambda z: z, lambda _z: F(1)),
    "square": Phi(lambda z: z * z, lambda z: 2 * z, (F(0), inf)),
    "cube": Phi(lambda z: z**3, lambda z: 3 * z * z),
    "relu": Phi(lambda z: max(z, F(0)), lambda z: F(z > 0), (F(0), inf), ((-inf, F(0), F(0)),)),
    "leaky_relu": Phi(lambda z: z if z > 0 else z / 100, lambda z: F(1) if z > 0 else F(1, 100)),
    "hardtanh": _clip(-1, 1),
    "relu6": _clip(0, 6),
}


class Net(NamedTuple):
    """``nodes`` in topological order without the inputs: id ↦ (activation, bias); ``edges``: (source, target) ↦ w."""

    inputs: tuple[str, ...]
    nodes: Mapping[str, tuple[str, F]]
    edges: Mapping[tuple[str, str], F]
    outputs: tuple[str, ...]

    @property
    def everyone(self) -> list[str]:
        return [*self.inputs, *self.nodes]


Blocks = Sequence[Sequence[str]]
Sample = tuple[Mapping[str, F], Mapping[str, F]]  # inputs, targets of the outputs


def forward(net: Net, x: Mapping[str, F]) -> tuple[dict[str, F], dict[str, F]]:
    """z and h by node."""
    z, h = {}, dict(x)
    for v, (kind, bias) in net.nodes.items():
        z[v] = bias + sum((w * h[u] for (u, t), w in net.edges.items() if t == v), F(0))
        h[v] = PHI[kind].value(z[v])
    return z, h


def backward(net: Net, z: Mapping[str, F], seeds: Mapping[str, F]) -> dict[str, F]:
    """δ(u) = ∂L/∂h(u), summed over paths to the outputs."""
    delta = {v: seeds.get(v, F(0)) for v in net.everyone}
    for v in reversed(net.nodes):
        for (u, t), w in net.edges.items():
            if t == v:
                delta[u] += delta[v] * PHI[net.nodes[v][0]].slope(z[v]) * w
    return delta


def gradient(net: Net, samples: Iterable[Sample]) -> tuple[dict[tuple[str, str], F], dict[str, F]]:
    """∂L/∂w by edge and ∂L/∂b by node, L = ½ Σ (y − target)²."""
    edges, biases = dict.fromkeys(net.edges, F(0)), dict.fromkeys(net.nodes, F(0))
    for x, target in samples:
        z, h = forward(net, x)
        delta = backward(net, z, {v: h[v] - target[v] for v in net.outputs})
        error = {v: delta[v] * PHI[net.nodes[v][0]].slope(z[v]) for v in net.nodes}
        for u, v in net.edges:
            edges[u, v] += error[v] * h[u]
        for v in net.nodes:
            biases[v] += error[v]
    return edges, biases


def sgd(net: Net, samples: Iterable[Sample], rate: F) -> Net:
    edges, biases = gradient(net, samples)
    return net._replace(
        edges={e: w - rate * edges[e] for e, w in net.edges.items()},
        nodes={v: (kind, b - rate * biases[v]) for v, (kind, b) in net.nodes.items()},
    )


def block_sum(net: Net, block: Iterable[str], v: str, *, into: bool, count: bool = False) -> F:
    """Σ of the weights (or the number) of the edges between v and a block."""
    pairs = ((u, v) if into else (v, u) for u in block)
    return sum((F(1) if count else net.edges[e] for e in pairs if e in net.edges), F(0))


def equitable(net: Net, blocks: Blocks, *, into: bool, count: bool = False) -> bool:
    """For every ordered pair of blocks, are the sums into (out of) all nodes of one from (to) the other equal?"""
    return all(
        len({block_sum(net, far, v, into=into, count=count) for v in near}) == 1
        for far, near in product(blocks, blocks)
    )


def acyclic(net: Net, blocks: Blocks) -> bool:
    """Can blocks be removed one by one, each without an edge from a block that remains?"""
    block_of = {v: k for k, block in enumerate(blocks) for v in block}
    arrows = {(block_of[u], block_of[v]) for u, v in net.edges}
    left = set(range(len(blocks)))
    while free := {b for b in left if not any(t == b and s in left for s, t in arrows)}:
        left -= free
    return not left


def hypotheses(net: Net, blocks: Blocks) -> dict[str, bool]:
    kind = {**dict.fromkeys(net.inputs, "input"), **{v: k for v, (k, _) in net.nodes.items()}}
    bias = {**dict.fromkeys(net.inputs, F(0)), **{v: b for v, (_, b) in net.nodes.items()}}
    ends = {*net.inputs, *net.outputs}
    return {
        "equal_activations": all(len({kind[v] for v in block}) == 1 for block in blocks),
        "singleton_ends": all(len(block) == 1 or not ends & set(block) for block in blocks),
        "equal_biases": all(len({bias[v] for v in block}) == 1 for block in blocks),
        "in_equitable": equitable(net, blocks, into=True),
        "out_equitable": equitable(net, blocks, into=False),
        "biregular_support": all(equitable(net, blocks, into=into, count=True) for into in (True, False)),
        "quotient_acyclic": acyclic(net, blocks),
    }


def block_constant_change(before: Net, after: Net, blocks: Blocks) -> bool:
    """Is after − before the same on all edges of each block pair and on all biases of each block?"""
    block_of = {v: k for k, block in enumerate(blocks) for v in block}
    changes: dict[object, set[F]] = {}
    for u, v in before.edges:
        changes.setdefault((block_of[u], block_of[v]), set()).add(after.edges[u, v] - before.edges[u, v])
    for v in before.nodes:
        changes.setdefault(block_of[v], set()).add(after.nodes[v][1] - before.nodes[v][1])
    return all(len(found) == 1 for found in changes.values())


def coarsest(net: Net, *, into: bool, out: bool, count: bool) -> set[frozenset[str]]:
    """The coarsest partition with equal sums (and counts) that keeps ends alone, activations and biases apart."""
    alone = {*net.inputs, *net.outputs}
    colour: dict[str, object] = {v: v if v in alone else net.nodes[v] for v in net.everyone}
    while True:
        colours = set(colour.values())
        blocks = {c: [v for v in net.everyone if colour[v] == c] for c in colours}
        sides = [(side, kind) for side, used in ((True, into), (False, out)) if used for kind in {False, count}]
        new = {
            v: (
                colour[v],
                frozenset(
                    (c, side, kind, total)
                    for c in colours
                    for side, kind in sides
                    if (total := block_sum(net, blocks[c], v, into=side, count=kind))
                ),
            )
            for v in net.everyone
        }
        number = {c: k for k, c in enumerate(dict.fromkeys(new.values()))}
        colour = {v: number[new[v]] for v in net.everyone}
        if len(number) == len(colours):
            return {frozenset(v for v in net.everyone if colour[v] == k) for k in number.values()}


def constraints(net: Net, blocks: Blocks, manifold: str) -> list[list[F]]:
    """Rows that vanish on RE ("in"), CE ("out"), RE∩CE ("both") or BC ("constant"); columns: edges, then biases."""
    column = {name: k for k, name in enumerate([*net.edges, *net.nodes])}
    rows: list[list[F]] = []
    for groups in equal_groups(net, blocks, manifold):
        for other in groups[1:]:
            row = [F(0)] * len(column)
            for names, sign in ((groups[0], 1), (other, -1)):
                for name in names:
                    row[column[name]] += sign
            rows.append(row)
    return rows


def equal_groups(net: Net, blocks: Blocks, manifold: str) -> Iterator[list[list[object]]]:
    """Lists of parameters whose sums are equal on the manifold."""
    for far, near in product(blocks, blocks):
        if manifold in ("in", "both"):
            yield [[(u, v) for u in far if (u, v) in net.edges] for v in near]
        if manifold in ("out", "both"):
            yield [[(v, u) for u in far if (v, u) in net.edges] for v in near]
        if manifold == "constant":
            yield [[(u, v)] for u in far for v in near if (u, v) in net.edges]
    if manifold != "out":
        yield from ([[v] for v in block if v in net.nodes] for block in blocks)


def independent(rows: Sequence[Sequence[F]]) -> list[list[F]]:
    """The Gram–Schmidt orthogonal rows that span the same space, without the zero ones."""
    found: list[list[F]] = []
    for row in rows:
        rest = list(row)
        for base in found:
            factor = sum((a * b for a, b in zip(rest, base, strict=True)), F(0)) / sum(b * b for b in base)
            rest = [a - factor * b for a, b in zip(rest, base, strict=True)]
        if any(rest):
            found.append(rest)
    return found


def normal_part(net: Net, blocks: Blocks, manifold: str) -> tuple[list[F], int]:
    """(the part of (w, b) orthogonal to the manifold, its codimension)."""
    vector = [*net.edges.values(), *(b for _, b in net.nodes.values())]
    part = [F(0)] * len(vector)
    bases = independent(constraints(net, blocks, manifold))
    for base in bases:
        factor = sum((a * b for a, b in zip(vector, base, strict=True)), F(0)) / sum(b * b for b in base)
        part = [a + factor * b for a, b in zip(part, base, strict=True)]
    return part, len(bases)


def merge_distances(net: Net) -> dict[frozenset[str], F]:
    """Squared distance to the manifold of every pair of hidden units of one activation, all other nodes alone."""
    found = {}
    hidden = [v for v in net.nodes if v not in net.outputs]
    for k, u in enumerate(hidden):
        for v in hidden[k + 1 :]:
            if net.nodes[u][0] == net.nodes[v][0]:
                blocks = [[u, v], *([w] for w in net.everyone if w not in (u, v))]
                found[frozenset((u, v))] = sum((a * a for a in normal_part(net, blocks, "both")[0]), F(0))
    return found


def base_weights(net: Net, blocks: Blocks) -> dict[tuple[int, int], F]:
    """w̃_IJ = Σ_{u∈I, v∈J} w_uv / |J| for the block pairs with edges."""
    block_of = {v: k for k, block in enumerate(blocks) for v in block}
    total: dict[tuple[int, int], F] = {}
    for (u, v), w in net.edges.items():
        pair = block_of[u], block_of[v]
        total[pair] = total.get(pair, F(0)) + w / len(blocks[block_of[v]])
    return total


def frozen(net: Net, low: F | float, high: F | float) -> dict[str, Interval]:
    """Units certified frozen for ever, with intervals: z is strictly inside a flat region whatever is upstream."""
    ranges: dict[str, Interval] = {v: (low, high) for v in net.inputs}
    found = {}
    for v, (kind, bias) in net.nodes.items():
        ends: list[F | float] = [bias, bias]
        for (u, t), w in net.edges.items():
            if t == v and w != 0:
                products = [end * w if isinstance(end, F) else end * (1 if w > 0 else -1) for end in ranges[u]]
                ends = [a + b if isinstance(b, F) and isinstance(a, F) else (a if not isinstance(a, F) else b)
                        for a, b in zip(ends, sorted(products), strict=True)]  # fmt: skip
        ranges[v] = PHI[kind].range
        for a, b, value in PHI[kind].flats:
            if (a == -inf or a < ends[0]) and (b == inf or ends[1] < b) and ends != [-inf, inf]:
                found[v], ranges[v] = (ends[0], ends[1]), (value, value)
    return found
