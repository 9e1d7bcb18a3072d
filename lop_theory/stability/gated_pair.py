"""Two near-clones with large opposite outgoing weights compute a gated unit.  [later-gated-pair]

With w̄ = (w₁ + w₂)/2, u = w̄·x, d = (w₁ − w₂)·x/2:

    a₁σ(w₁·x) + a₂σ(w₂·x) = (a₁ + a₂)σ(u) + (a₁ − a₂) d σ′(u) + R,
    |R| ≤ ½|a₁ + a₂| d² max|σ″| + ⅙|a₁ − a₂| |d|³ max|σ‴|        (σ ∈ C³, maxima between the two pre-activations).

For w ± εv and ½ ± 1/(2ε) this is σ(w·x) + (v·x)σ′(w·x) + O(ε²) while the cosine of the two weights tends to 1. Merging
the pair into w̄ with a₁ + a₂ loses the second term, of any size: near-clones are redundant only if their outgoing
weights stay bounded. (arXiv 2506.14951.)
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Pair(NamedTuple):
    """Two units of one layer: ``incoming`` (2, inputs) and ``outgoing`` (2,) or (2, targets)."""

    incoming: NDArray[Any]
    outgoing: NDArray[Any]


class Gate(NamedTuple):
    """What a pair computes to first order: ``total`` σ(mean·x) + ``lever`` (half·x) σ′(mean·x)."""

    mean: NDArray[Any]
    half: NDArray[Any]
    total: Any
    lever: Any


def pair_of(weight: NDArray[Any], direction: NDArray[Any], epsilon: Any) -> Pair:
    """Incoming w ± εv, outgoing ½ ± 1/(2ε)."""
    one = epsilon / epsilon  # keeps rationals rational
    incoming = np.stack([weight + epsilon * direction, weight - epsilon * direction])
    return Pair(incoming, np.array([one / 2 + one / (2 * epsilon), one / 2 - one / (2 * epsilon)]))


def gate_of(pair: Pair) -> Gate:
    """The gated unit of a pair; its second term is what merging into (mean, total) loses to first order."""
    (first, second), (a, b) = pair.incoming, pair.outgoing
    return Gate((first + second) / 2, (first - second) / 2, a + b, a - b)


def remainder_bound(gate: Gate, x: NDArray[Any], second: Any, third: Any) -> Any:
    """½|total| d²·``second`` + ⅙|lever| |d|³·``third`` with d = half·x, for max|σ″| and max|σ‴| on the way."""
    d = abs(x @ gate.half)
    return abs(gate.total) * d**2 * second / 2 + abs(gate.lever) * d**3 * third / 6
