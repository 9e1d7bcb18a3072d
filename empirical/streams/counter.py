"""Random numbers by counter: every draw is a pure function of (seed, purpose, counter), in any order, on any machine.

SplitMix64 (Steele, Lea and Flood 2014): word(key, n) = mix(key + n·γ) with γ = 2⁶⁴/φ, key = mix(mix(seed + γ) +
purpose·γ). Keys are unsigned 64-bit and live in compiled code only: signed and unsigned must never meet, for Numba
makes that a float.
"""

import numpy as np

from empirical.compilation import compiled

GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST_BITS, FLIPS, RANDOM_BITS, TARGET, INITIAL, REPLACED, DRAWN, PROBE = (np.uint64(k) for k in range(1, 9))
GLYPHS, MIXTURES, CLASS_ORDER, IMAGE_CHOICE, PERMUTATION, BATCHES, DROPPED, SCENES = (
    np.uint64(k) for k in range(9, 17)
)
"""Purposes: one independent stream of numbers each."""


@compiled()
def mix(z: np.uint64) -> np.uint64:
    """SplitMix64's finaliser, a bijection of 64-bit words."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled()
def key(seed: int, purpose: np.uint64) -> np.uint64:
    """The key of a seed's numbers for one purpose."""
    return mix(mix(np.uint64(seed) + GAMMA) + purpose * GAMMA)


@compiled()
def word(stream_key: np.uint64, counter: int) -> np.uint64:
    """The 64-bit word at ``counter``; it can be the key of numbers of its own."""
    return mix(stream_key + np.uint64(counter) * GAMMA)


@compiled()
def uniform(stream_key: np.uint64, counter: int) -> float:
    """A number in [0, 1) with 53 random bits."""
    return np.float64(word(stream_key, counter) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled()
def fill(stream_key: np.uint64, out: np.ndarray) -> None:
    """The first numbers, in [0, 1)."""
    for k in range(len(out)):
        out[k] = uniform(stream_key, k)


@compiled()
def below(stream_key: np.uint64, counter: int, bound: int) -> int:
    """An integer in [0, bound); its bias is below bound/2⁵³."""
    return np.int64(uniform(stream_key, counter) * bound)


@compiled()
def symmetric(stream_key: np.uint64, count: int, half_width: float) -> np.ndarray:
    """The first ``count`` numbers, uniform in [−half_width, half_width)."""
    out = np.empty(count)
    for k in range(count):
        out[k] = half_width * (2.0 * uniform(stream_key, k) - 1.0)
    return out


@compiled(nogil=True)
def shuffled(seed: int, purpose: np.uint64, first: int, second: int, count: int) -> np.ndarray:
    """0…count − 1 in an order drawn for (seed, purpose, first, second), by Fisher and Yates."""
    order_key = word(word(key(seed, purpose), first), second)
    out = np.arange(count)
    for last in range(count - 1, 0, -1):
        other = below(order_key, last, last + 1)
        out[last], out[other] = out[other], out[last]
    return out
