"""Certificates that a unit is frozen for ever, and the drift of a saturated one. [frozen-unit: Theorem 2.1.1]

A unit with φ'(z) = 0 on the data has zero gradient on its incoming weights. That alone does not keep it frozen:
upstream weights move its inputs, and momentum moves its own weights (``counterexamples.REVIVED_BY_*``). It does stay
frozen under every gradient method without state or decay if z stays in a flat region whatever the upstream units do:
  z(v) ∈ b_v + Σ_u w_uv · R_u ⊂ flat region of φ_v,
where R_u = φ_u(ℝ) bounds an upstream unit for every value of its parameters, and R_u = φ_u(z-interval) if u is
certified itself, for its own parameters never move. Inputs range over a given interval.

The interval is computed in exact rationals and then widened by what the arithmetic of the certificate may add
(``Arithmetic``): nothing for exact numbers; for floating point of unit roundoff u, whatever the order of the sum of n
products, at most γ (|b| + Σ |w r|) with γ = (n+4) u / (1 − (n+4) u) and r the end of R_u at that corner (floating sums
and products are monotone, so the corner bounds them all); what underflows, at most the smallest normal number of each
weight, value and product, times the other factor; and SLACK u relative at the ends of R_u for the activation's own
rounding (an end 0 stays 0: no catalogue activation of that range returns the other sign). So a float64 certificate
speaks of float64 (or any finer arithmetic) as long as all values stay finite. Most units are decided by float sums of
their whole level (``enclosures``); for dense layers these are the certificate wherever they suffice.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from lop_theory.activations.catalogue import CATALOGUE, Activation
from lop_theory.balls import fmpq
from lop_theory.errors import InvalidInput
from lop_theory.graph.dag import NO_ACTIVATION, Network
from lop_theory.graph.dense import Mlp, chunks
from lop_theory.graph.enclosures import Enclosures, Level, Roundoff, of_level
from lop_theory.graph.scalars import FloatArray, IntArray, Values, floats, is_exact, rational, to_float

End = fmpq | float  # a float end is infinite
Interval = tuple[End, End]
Arithmetic = Literal["exact", "float64", "float32", "bfloat16"]
EVERYTHING: Interval = (-math.inf, math.inf)


SLACK = 32  # roundoffs by which a library's activation may miss the true value


class Rounding(NamedTuple):
    """Unit roundoff, and the size below which numbers may underflow (or be flushed) to zero."""

    unit: fmpq
    tiny: fmpq


ROUNDINGS: dict[Arithmetic, Rounding] = {
    "exact": Rounding(fmpq(0), fmpq(0)),
    "float64": Rounding(fmpq(1, 2**53), fmpq(1, 2**1022)),
    "float32": Rounding(fmpq(1, 2**24), fmpq(1, 2**126)),
    "bfloat16": Rounding(fmpq(1, 2**8), fmpq(1, 2**126)),
}


class Frozen(NamedTuple):
    """Unit ``id`` is frozen for ever: z ∈ ``interval`` ⊂ ``flat_region`` for all upstream parameters and inputs.

    The interval includes the rounding of ``arithmetic``.
    """

    id: Hashable
    interval: Interval
    flat_region: Interval
    arithmetic: Arithmetic


def frozen_units(
    network: Network, input_range: tuple[object, object] | None = None, arithmetic: Arithmetic | None = None
) -> tuple[Frozen, ...]:
    """All units that the interval certificate proves frozen for ever; inputs lie in ``input_range`` (default: ℝ).

    ``arithmetic`` is the one in which the network is trained: by default exact if its numbers are, else float64.
    """
    return frozen_among(units_of(network), input_range, arithmetic_of(network.bias, arithmetic))


class Incoming(NamedTuple):
    """The edges into a node: where they come from, and their weights."""

    sources: Sequence[int] | IntArray
    weights: Values


class Units(NamedTuple):
    """What the certificate reads of a network, by node (inputs have activation −1); ``into`` are the edges into one,
    ``levels`` the float matrices of all, sources first. If ``floating``, what floats decide is not summed exactly.
    """

    ids: Sequence[Hashable]
    bias: Values
    activations: Sequence[Activation]
    activation_of: IntArray
    into: Callable[[int], Incoming]
    levels: Iterable[Level]
    floating: bool


def units_of(network: Network) -> Units:
    dag, pointers, weight = network.dag, network.dag.in_pointers, floats(network.weight)

    def into(v: int) -> Incoming:
        edges = slice(int(pointers[v]), int(pointers[v + 1]))
        return Incoming(dag.source[edges], network.weight[edges])

    levels = (Level(level.nodes, level.sources, level.matrix(weight)) for level in dag.level_edges)
    return Units(dag.ids, network.bias, dag.activations, dag.activation_of, into, levels, False)


def units_of_layers(mlp: Mlp) -> Units:
    places = mlp.places
    layer_of = np.repeat(np.arange(len(places)), mlp.sizes)

    def into(v: int) -> Incoming:
        k = int(layer_of[v])
        sources = places[k - 1]
        return Incoming(range(sources.start, sources.stop), mlp.layers[k - 1].weight[v - places[k].start])

    return Units(mlp.names, mlp.bias, mlp.activations, mlp.activation_of, into, _levels_of_layers(mlp), True)


def _levels_of_layers(mlp: Mlp) -> Iterator[Level]:
    for layer, sources, nodes in zip(mlp.layers, mlp.places, mlp.places[1:], strict=False):
        for rows in chunks(*layer.weight.shape):
            yield Level(slice(nodes.start + rows.start, nodes.start + rows.stop), sources, layer.weight[rows])


def frozen_among(units: Units, input_range: tuple[object, object] | None, spoken: Arithmetic) -> tuple[Frozen, ...]:
    """The certified units, in the order of the nodes."""
    rounding = ROUNDINGS[spoken]
    data = EVERYTHING if input_range is None else _input_interval(*input_range)
    if not any(phi.flat_regions() for phi in units.activations):
        return ()
    whole = [_computed(phi, _full_range(phi), rounding) for phi in units.activations]
    ranges = [whole[kind] if kind != NO_ACTIVATION else data for kind in units.activation_of.tolist()]
    ends = np.array([[to_float(low), to_float(high)] for low, high in ranges]).reshape(-1, 2).T
    found: list[Frozen] = []
    for level in units.levels:
        for v, z, flat in _flat_in(level, units, (ends, ranges), rounding):
            phi = units.activations[int(units.activation_of[v])]
            found.append(Frozen(units.ids[v], z, flat, spoken))
            ranges[v] = _computed(phi, _outward(phi.range_on(*_dyadic(z))), rounding)
            ends[:, v] = [to_float(end) for end in ranges[v]]
    return tuple(found)


def _flat_in(
    level: Level, units: Units, known: tuple[FloatArray, list[Interval]], rounding: Rounding
) -> Iterator[tuple[int, Interval, Interval]]:
    """The nodes of a level with z in a flat region, these intervals and regions; float sums decide most."""
    ends, ranges = known
    bias, kinds = floats(units.bias[level.nodes]), units.activation_of[level.nodes]
    near = of_level(level, bias, tuple(ends[:, level.sources]), Roundoff(*map(to_float, rounding)))
    may = np.zeros(len(kinds), dtype=bool)
    for kind in np.unique(kinds[kinds != NO_ACTIVATION]).tolist():
        for flat in units.activations[kind].flat_regions():
            may |= (kinds == kind) & ~near.outside(flat)
    for row in np.flatnonzero(may).tolist():
        v = level.nodes.start + row
        regions = units.activations[int(kinds[row])].flat_regions()
        found = _first(regions, _around(near, row)) if units.floating else None
        found = found or _first(regions, pre_activation(units.bias[v], units.into(v), ranges, rounding))
        if found:
            yield v, *found


def _around(near: Enclosures, row: int) -> Interval:
    low, high = (float(end[row]) for end in near.outer)
    return EVERYTHING if math.isnan(low) or math.isnan(high) else _outward((low, high))


def _first(regions: Sequence[Interval], z: Interval) -> tuple[Interval, Interval] | None:
    """z and the region that it lies in; nothing is known of the whole line."""
    return next(((z, flat) for flat in regions if z != EVERYTHING and _inside(z, flat)), None)


def arithmetic_of(numbers: Values, asked: str | None = None) -> Arithmetic:
    """The arithmetic that a certificate on such numbers speaks of. Raises ``InvalidInput`` if it is unknown."""
    chosen = asked or ("exact" if is_exact(numbers) else "float64")
    if chosen not in ROUNDINGS:
        raise InvalidInput("arithmetic", chosen, "is unknown", f"one of: {', '.join(get_args(Arithmetic))}")
    return chosen


def pre_activation(own: object, into: Incoming, ranges: list[Interval], rounding: Rounding) -> Interval:
    """The interval of z as computed from its own bias: exact sums at the two corners, then their rounding."""
    bias = rational(own)
    low: End = bias
    high: End = bias
    sizes = [abs(bias)] * 2
    factors = [fmpq(0)] * 2  # Σ |w| + |r|: what a factor that underflows is multiplied by
    for source, weight in zip(into.sources, into.weights, strict=True):
        w = rational(weight)
        at_low, at_high = ranges[source] if w > 0 else ranges[source][::-1]
        low, high = _add(low, w, at_low), _add(high, w, at_high)
        sizes = [
            size + (abs(w * end) if isinstance(end, fmpq) else 0)
            for size, end in zip(sizes, (at_low, at_high), strict=True)
        ]
        factors = [
            total + abs(w) + (abs(end) if isinstance(end, fmpq) else 0)
            for total, end in zip(factors, (at_low, at_high), strict=True)
        ]
        if _infinite(low) and _infinite(high):
            return EVERYTHING
    errors = [_sum_error(len(into.weights), *pair, rounding) for pair in zip(sizes, factors, strict=True)]
    return _widened((low, high), errors)


def _sum_error(terms: int, size: fmpq, factors: fmpq, rounding: Rounding) -> End:
    """Error of a floating sum of a bias and ``terms`` products, of absolute sum ``size``, in any order, where weights,
    values and products may underflow; ``factors`` is Σ |w| + |r|.
    """
    share = (terms + 4) * rounding.unit
    if 2 * share >= 1:
        return math.inf
    return share / (1 - share) * size + 2 * (terms + 1 + factors) * rounding.tiny


def _widened(z: Interval, errors: Sequence[End]) -> Interval:
    if any(map(_infinite, errors)):
        return EVERYTHING
    below, above = errors
    return _add(z[0], fmpq(-1), below), _add(z[1], fmpq(1), above)


def _computed(phi: Activation, true: Interval, rounding: Rounding) -> Interval:
    """What floating point may return for values in the ``true`` range: anything for a formula that may cancel."""
    if rounding.unit == 0:
        return true
    if phi.name not in CATALOGUE or phi.name == "hermite":
        return EVERYTHING
    return _widened(true, [SLACK * rounding.unit * abs(e) if isinstance(e, fmpq) else fmpq(0) for e in true])


def _add(total: End, w: fmpq, end: End) -> End:
    """total + w·end, with 0·∞ = 0."""
    if w == 0 or _infinite(total):
        return total
    if isinstance(end, fmpq):
        assert isinstance(total, fmpq)
        return total + w * end
    return end if w > 0 else -end


def _inside(z: Interval, flat: Interval) -> bool:
    """Strictly inside (at an end φ may have a kink); the infinite ends match."""
    below = isinstance(flat[0], float) or (isinstance(z[0], fmpq) and flat[0] < z[0])
    above = isinstance(flat[1], float) or (isinstance(z[1], fmpq) and z[1] < flat[1])
    return below and above


def _infinite(end: End) -> bool:
    return isinstance(end, float)


@lru_cache(maxsize=256)
def _full_range(phi: Activation) -> Interval:
    return _outward(phi.range_on(*EVERYTHING))


def _dyadic(z: Interval) -> Interval:
    """A slightly larger interval with dyadic ends, which balls hold exactly."""
    low, high = to_float(z[0]), to_float(z[1])
    return _outward((math.nextafter(low, -math.inf), math.nextafter(high, math.inf)))


def _outward(bounds: tuple[float, float]) -> Interval:
    low, high = (end if math.isinf(end) else rational(end) for end in bounds)
    return low, high


def _input_interval(low: object, high: object) -> Interval:
    ends: tuple[Any, ...] = tuple(
        end if isinstance(end, float) and math.isinf(end) else rational(end, "inputs") for end in (low, high)
    )
    if ends[0] == math.inf or ends[1] == -math.inf or (_finite(ends) and ends[0] > ends[1]):
        raise InvalidInput("inputs", (low, high), "must be an interval", "give the lower end first")
    return ends[0], ends[1]


def _finite(ends: tuple[Any, ...]) -> bool:
    return all(isinstance(end, fmpq) for end in ends)


def saturation_drift(name: str, margin: float, *, adjoint: float, value: float, rate: float) -> float:
    """Bound on how far one SGD step moves an incoming weight of a saturated tanh or sigmoid unit with |z| ≥ margin.

    |Δw| ≤ η |δ| sup|φ'| |h| with sup_{|z|≥m} |φ'| ≤ 4 e^{−2m} (tanh) or e^{−m} (sigmoid): small, never zero.
    """
    limits = {"tanh": lambda m: 4 * math.exp(-2 * m), "sigmoid": lambda m: math.exp(-m)}
    if name not in limits:
        raise InvalidInput("activation", name, "has no saturation bound", "use tanh or sigmoid")
    if margin < 0:
        raise InvalidInput("margin", margin, "must not be negative", "it is the least |z|")
    slope = min(1.0 if name == "tanh" else 0.25, limits[name](margin) * (1 + 1e-12))
    return abs(rate * adjoint * value) * slope * (1 + 1e-12)
