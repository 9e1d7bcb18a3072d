"""Certificates that a unit is frozen for ever, and the drift of a saturated one. [frozen-unit: Theorem 2.1.1]

A unit with φ'(z) = 0 on the data has zero gradient on its incoming weights. That alone does not keep it frozen:
upstream weights move its inputs, and momentum moves its own weights (``counterexamples.REVIVED_BY_*``). It does stay
frozen under every gradient method without state or decay if z stays in a flat region whatever the upstream units do:
  z(v) ∈ b_v + Σ_u w_uv · R_u ⊂ flat region of φ_v,
where R_u = φ_u(ℝ) bounds an upstream unit for every value of its parameters, and R_u = φ_u(z-interval) if u is
certified itself, for its own parameters never move. Inputs range over a given interval. The arithmetic is exact.
"""

import math
from collections.abc import Hashable
from functools import lru_cache
from typing import Any, NamedTuple

from lop_theory.activations.catalogue import Activation
from lop_theory.balls import fmpq
from lop_theory.errors import InvalidInput
from lop_theory.graph.dag import Network
from lop_theory.graph.scalars import rational, to_float

End = fmpq | float  # a float end is infinite
Interval = tuple[End, End]
EVERYTHING: Interval = (-math.inf, math.inf)


class Frozen(NamedTuple):
    """Unit ``id`` is frozen for ever: z ∈ ``interval`` ⊂ ``flat_region`` for all upstream parameters and inputs."""

    id: Hashable
    interval: Interval
    flat_region: Interval


def frozen_units(network: Network, input_range: tuple[object, object] | None = None) -> tuple[Frozen, ...]:
    """All units that the interval certificate proves frozen for ever; inputs lie in ``input_range`` (default: ℝ)."""
    dag = network.dag
    data = EVERYTHING if input_range is None else _input_interval(*input_range)
    ranges: list[Interval] = [data] * dag.nodes
    found: list[Frozen] = []
    for v in range(dag.nodes):
        if dag.is_input[v]:
            continue
        phi = dag.activations[int(dag.activation_of[v])]
        ranges[v] = _full_range(phi)
        flats = phi.flat_regions()
        z = _pre_activation(network, v, ranges) if flats else EVERYTHING
        flat = next((f for f in flats if _inside(z, f)), None)
        if flat is not None and z != EVERYTHING:
            found.append(Frozen(dag.ids[v], z, flat))
            ranges[v] = _outward(phi.range_on(*_dyadic(z)))
    return tuple(found)


def _pre_activation(network: Network, v: int, ranges: list[Interval]) -> Interval:
    dag = network.dag
    low: End = rational(network.bias[v])
    high: End = low
    for e in range(int(dag.in_pointers[v]), int(dag.in_pointers[v + 1])):
        w = rational(network.weight[e])
        lo, hi = ranges[int(dag.source[e])]
        low, high = _add(low, w, lo if w > 0 else hi), _add(high, w, hi if w > 0 else lo)
        if _infinite(low) and _infinite(high):
            return EVERYTHING
    return low, high


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
