"""The online engine: one-hidden-layer learners at batch 1, compiled, in float64.

    y = b₂ + w₂ᵀ φ(Wᵀx + b₁),   loss (y − t)²,

by SGD or Adam, with continual backprop (CBP) from a given step on: never is SGD, 0 is CBP, half-way is the paper's
switch. Inputs are bits, so only the rows of W whose bit is set enter the forward pass and have a gradient. A learner
is a tuple of arrays that :func:`advance` changes in place; nothing is shared between learners and the compiled loop
holds no lock, so results do not depend on how many run together in threads.
"""

from typing import NamedTuple

import numpy as np

from empirical.bitflip.backprop import FAST, Rule, Tracked, newborn, observe, replace_units, units_due
from empirical.bitflip.stream import Stream, held_bits, joined, random_bits, task_targets
from empirical.bitflip.units import activate, derivative
from empirical.compilation import compiled
from empirical.streams.counter import DROPPED, INITIAL, RANDOM_BITS, key, symmetric, uniform

ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8
LARGEST = np.finfo(
    np.float64
).max  # a comparison with it finds NaN and infinities; np.isfinite does not when sums are fast


class Learner(NamedTuple):
    """``weights`` is flat: rows of ``hidden`` numbers, one per input, then b₁, then w₂; and b₂ last.

    ``first`` and ``second`` are Adam's moments of the weights, ``clock`` its step counts: of the weights of every
    hidden unit since it began, and of b₂.
    """

    weights: np.ndarray
    first: np.ndarray
    second: np.ndarray
    clock: np.ndarray
    tracked: Tracked


def fresh_learner(seed: int, inputs: int, hidden: int, bound: float) -> Learner:
    """Kaiming-uniform: incoming weights in ±``bound``, outgoing in ±√(3/hidden), biases zero (as in the authors'
    code)."""
    weights = _initial(seed, inputs, hidden, bound)
    return Learner(weights, np.zeros_like(weights), np.zeros_like(weights), np.zeros(hidden + 1), newborn(hidden))


@compiled()
def _initial(seed: int, inputs: int, hidden: int, bound: float) -> np.ndarray:
    size = inputs * hidden
    draws = symmetric(key(seed, INITIAL), size + hidden, 1.0)
    weights = np.zeros(size + 2 * hidden + 1)
    outgoing_bound = np.sqrt(3.0 / hidden)
    for k in range(size):  # number by number: to assign a slice, Numba compiles an error message for seconds
        weights[k] = bound * draws[k]
    for k in range(hidden):
        weights[size + hidden + k] = outgoing_bound * draws[size + k]
    return weights


@compiled(nogil=True, error_model="numpy", fastmath=FAST)
def advance(
    learner: Learner, rule: Rule, source: Stream, span: tuple[int, int, int], errors: np.ndarray, replaced: np.ndarray
) -> tuple[int, int]:
    """Train in place over ``span`` = (start, stop, bin); returns the steps finished and the units replaced.

    ``errors[k]`` receives the sum of squared errors of bin k counted from ``start``; ``replaced`` (rows × 2) the step
    and unit of each replacement, in order, as far as it has room. Stops early, before using it, at an error that is
    not finite. Errors are of the whole network, with dropout too.
    """
    start, stop, bin_size = span
    hidden, inputs = learner.tracked.age.size, source.bits + 1
    rows, output_bias = learner.weights[:-1].reshape(inputs + 2, hidden), learner.weights[-1:]
    outgoing, gradient = rows[inputs + 1], np.zeros_like(learner.weights)
    h, delta, scratch, active = np.empty(hidden), np.empty(hidden), np.empty(hidden), np.empty(inputs + 1, np.int64)
    random_key, drawn_bits = key(source.seed, RANDOM_BITS), source.bits - source.flipping
    dropped_key = key(source.seed, DROPPED)
    task, count = -1, 0
    held, targets = 0, np.empty(0)
    for step in range(start, stop):
        if step // source.flip_every != task:
            task = step // source.flip_every
            held = held_bits(source.seed, source.flipping, task)
            targets = task_targets(source, held)
        drawn = random_bits(random_key, drawn_bits, step)
        ones = _ones(joined(source, held, drawn), inputs, active)
        _sum_rows(rows, active, ones, scratch)
        activate(rule.activation, scratch, h)
        error = output_bias[0] - targets[drawn] + _dot(outgoing, h)
        square = error * error
        if not square <= LARGEST:
            return step, count
        errors[(step - start) // bin_size] += square
        derivative(rule.activation, scratch, h, delta)
        if rule.dropout > 0.0:
            _drop(h, delta, rule.dropout, (dropped_key, step))
            error = output_bias[0] - targets[drawn] + _dot(outgoing, h)
        slope = 2.0 * error
        if rule.adam:
            _gradient(gradient, active[:ones], (outgoing, delta, h), slope)
            _adam(learner, gradient, rule.step_size)
        else:
            _sgd(rows, active[:ones], delta, h, rule.step_size * slope)
            output_bias[0] -= rule.step_size * slope
        if step >= rule.start:
            observe(learner.tracked, rule, rows, h, scratch)
            due = units_due(learner.tracked.age, learner.tracked.carry, rule, (source.seed, step))
            if due > 0:
                count = replace_units(learner, rule, (source.seed, step), due, replaced, count)
    return stop, count


@compiled()
def _ones(packed: int, inputs: int, active: np.ndarray) -> int:
    """Write to ``active`` the rows that enter a unit's sum: set bits, then the bias; how many. Branch-free."""
    count = 0
    for j in range(inputs):
        active[count] = j
        count += (packed >> j) & 1
    active[count] = inputs
    return count + 1


@compiled(fastmath=FAST)
def _sum_rows(rows: np.ndarray, active: np.ndarray, count: int, out: np.ndarray) -> None:
    """out = Σ_a rows[active[a]]; four at a time, so that ``out`` is read a quarter as often."""
    out[:] = 0.0
    k = 0
    while k + 4 <= count:
        r0, r1, r2, r3 = rows[active[k]], rows[active[k + 1]], rows[active[k + 2]], rows[active[k + 3]]
        for i in range(out.size):
            out[i] += (r0[i] + r1[i]) + (r2[i] + r3[i])
        k += 4
    while k < count:
        row = rows[active[k]]
        for i in range(out.size):
            out[i] += row[i]
        k += 1


@compiled()
def _drop(h: np.ndarray, slope: np.ndarray, share: float, moment: tuple[np.uint64, int]) -> None:
    """Inverted dropout of the units of a step: h and φ′ become 0, or as many times larger as keeps their mean."""
    kept = 1.0 / (1.0 - share)
    for i in range(h.size):
        scale = 0.0 if uniform(moment[0], moment[1] * h.size + i) < share else kept
        h[i] *= scale
        slope[i] *= scale


@compiled(fastmath=FAST)
def _dot(a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@compiled(fastmath=FAST)
def _sgd(rows: np.ndarray, active: np.ndarray, delta: np.ndarray, h: np.ndarray, scale: float) -> None:
    """``delta`` holds φ′; ``scale`` is step size × ∂L/∂y."""
    outgoing = rows[rows.shape[0] - 1]
    for i in range(h.size):
        delta[i] *= scale * outgoing[i]
        outgoing[i] -= scale * h[i]
    for a in range(active.size):
        row = rows[active[a]]
        for i in range(h.size):
            row[i] -= delta[i]


@compiled(fastmath=FAST)
def _gradient(
    gradient: np.ndarray, active: np.ndarray, layer: tuple[np.ndarray, np.ndarray, np.ndarray], slope: float
) -> None:
    """The gradient of every weight; ``layer`` = (w₂, φ′, h), ``slope`` = ∂L/∂y."""
    outgoing, delta, h = layer
    gradient[:] = 0.0
    rows = gradient[:-1].reshape(gradient.size // h.size, h.size)
    for i in range(h.size):
        delta[i] *= slope * outgoing[i]
        rows[rows.shape[0] - 1, i] = slope * h[i]
    for a in range(active.size):
        row = rows[active[a]]
        for i in range(h.size):
            row[i] = delta[i]
    gradient[-1] = slope


@compiled(fastmath=FAST, error_model="numpy")
def _adam(learner: Learner, gradient: np.ndarray, step_size: float) -> None:
    hidden = learner.clock.size - 1
    rate, root = np.empty(hidden + 1), np.empty(hidden + 1)
    for i in range(hidden + 1):
        learner.clock[i] += 1.0
        rate[i] = step_size / (1.0 - ADAM_BETA1 ** learner.clock[i])
        root[i] = np.sqrt(1.0 - ADAM_BETA2 ** learner.clock[i])
    weights, first, second = learner.weights, learner.first, learner.second
    for start in range(0, weights.size, hidden):
        own = hidden if start < weights.size - 1 else 1
        shift = 0 if start < weights.size - 1 else hidden
        for i in range(own):
            k, unit = start + i, shift + i
            g = gradient[k]
            m = ADAM_BETA1 * first[k] + (1.0 - ADAM_BETA1) * g
            v = ADAM_BETA2 * second[k] + (1.0 - ADAM_BETA2) * g * g
            first[k], second[k] = m, v
            weights[k] -= rate[unit] * m / (np.sqrt(v) / root[unit] + ADAM_EPSILON)
