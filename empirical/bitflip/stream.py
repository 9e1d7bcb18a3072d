"""The bit-flipping stream: slowly changing regression (paper §B.1.1; Dohare et al. 2024).

An input is ``bits`` bits and a constant bias bit, packed into an integer: bit j is input j, bit ``bits`` is the bias.
The first ``flipping`` bits are held during a task of ``flip_every`` steps and one of them, drawn at random, flips
between tasks; the others are drawn anew at each step. The target is a fixed network of linear threshold units with
weights ±1:

    y = c + Σ_i v_i [z_i ≥ θ_i],   z_i = Σ_j w_ij x_j + w_i,bias,
    θ_i = β(m + 1) − S_i,   S_i = #{j < m: w_ij < 0} − w_i,bias/2.

The paper's text loses the formula of θ; the authors' code and Dohare's both multiply β by all m + 1 inputs, so this
does too (experiments.md writes m β: with m = 20 that is 14 for 14.7). Everything is a pure function of (seed, step).
"""

from typing import NamedTuple

import numpy as np

from empirical.compilation import compiled
from empirical.streams.counter import FIRST_BITS, FLIPS, PROBE, RANDOM_BITS, TARGET, below, key, word


class Stream(NamedTuple):
    """Sizes of the stream and its target network (``weights`` target units × (bits + 1), ``signs`` and ``thresholds``
    per unit)."""

    seed: int
    bits: int
    flipping: int
    flip_every: int
    weights: np.ndarray
    signs: np.ndarray
    offset: float
    thresholds: np.ndarray


def bitflip_stream(seed: int, *, bits: int, flipping: int, flip_every: int, units: int, beta: float) -> Stream:
    """The stream of a seed."""
    signs = _signs(seed, units * (bits + 2) + 1)
    weights, outgoing, offset = (
        signs[: units * (bits + 1)].reshape(units, bits + 1),
        signs[units * (bits + 1) : -1],
        signs[-1],
    )
    negative = (weights[:, :-1] < 0).sum(1) - 0.5 * weights[:, -1]
    return Stream(seed, bits, flipping, flip_every, weights, outgoing, float(offset), beta * (bits + 1) - negative)


@compiled()
def _signs(seed: int, count: int) -> np.ndarray:
    """±1 by the top bit of each word."""
    out = np.empty(count)
    for k in range(count):
        out[k] = 1.0 if word(key(seed, TARGET), k) >> np.uint64(63) else -1.0
    return out


@compiled()
def flipped(seed: int, flipping: int, task: int) -> int:
    """The bit that flips when ``task`` ≥ 1 begins."""
    return below(key(seed, FLIPS), task, flipping)


@compiled()
def held_bits(seed: int, flipping: int, task: int) -> int:
    """The flipping bits during ``task``: the first ones and every flip since."""
    held = np.int64(word(key(seed, FIRST_BITS), 0) & np.uint64((1 << flipping) - 1))
    for k in range(1, task + 1):
        held ^= 1 << flipped(seed, flipping, k)
    return held


@compiled()
def random_bits(random_key: np.uint64, count: int, step: int) -> int:
    """The ``count`` bits drawn at ``step``; ``random_key`` is ``key(seed, RANDOM_BITS)``."""
    return np.int64(word(random_key, step) & np.uint64((1 << count) - 1))


@compiled()
def joined(source: Stream, held: int, drawn: int) -> int:
    """The packed input with held and drawn bits, and the bias bit."""
    return held | (drawn << source.flipping) | (1 << source.bits)


@compiled()
def packed_input(source: Stream, step: int) -> int:
    """The packed input at ``step``."""
    held = held_bits(source.seed, source.flipping, step // source.flip_every)
    return joined(source, held, random_bits(key(source.seed, RANDOM_BITS), source.bits - source.flipping, step))


@compiled()
def target_value(source: Stream, packed: int) -> float:
    """y of a packed input."""
    value = source.offset
    for i in range(source.signs.size):
        z = 0.0
        for j in range(source.bits + 1):
            if (packed >> j) & 1:
                z += source.weights[i, j]
        if z >= source.thresholds[i]:
            value += source.signs[i]
    return value


@compiled()
def task_targets(source: Stream, held: int) -> np.ndarray:
    """y of every input of a task, by its drawn bits: 2^(bits − flipping) values."""
    count = 1 << (source.bits - source.flipping)
    values = np.empty(count)
    for drawn in range(count):
        values[drawn] = target_value(source, joined(source, held, drawn))
    return values


def unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Samples × (bits + 1) matrix of zeros and ones, the last column the bias."""
    return ((np.asarray(packed, dtype=np.int64)[:, None] >> np.arange(bits + 1)) & 1).astype(np.float64)


def task_inputs(source: Stream, step: int) -> np.ndarray:
    """Every input of the task that ``step`` belongs to, each once: it is drawn with equal probability."""
    held = held_bits(source.seed, source.flipping, step // source.flip_every)
    return unpacked(_task_packed(source, held), source.bits)


@compiled()
def _task_packed(source: Stream, held: int) -> np.ndarray:
    out = np.empty(1 << (source.bits - source.flipping), np.int64)
    for drawn in range(out.size):
        out[drawn] = joined(source, held, drawn)
    return out


def stream_inputs(source: Stream, samples: int, count: int) -> np.ndarray:
    """``count`` inputs at steps drawn from the whole stream of ``samples`` (the authors' fixed batch for metrics)."""
    return unpacked(_stream_packed(source, samples, count), source.bits)


@compiled()
def _stream_packed(source: Stream, samples: int, count: int) -> np.ndarray:
    out = np.empty(count, np.int64)
    for k in range(count):
        out[k] = packed_input(source, below(key(source.seed, PROBE), k, samples))
    return out
