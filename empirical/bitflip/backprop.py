"""Continual backprop of the online engine: track the utility of hidden units and replace the least useful mature ones.

With h of the forward pass and weights after the optimiser's step, β = ``decay`` and age counted from the unit's birth:

    ĥ ← βĥ + (1 − β)h,   y = |h|·|w_out|  or  |h − ĥ/(1 − β^age)|·|w_out| / mean|w_in|,
    u ← βu + (1 − β)y,   utility u/(1 − β^age).

Definitions and order are those of :class:`lop_theory.optim.ContinualBackprop` (there for any PyTorch model), and a
test runs both.
"""

from typing import Any, NamedTuple

import numpy as np

from empirical.compilation import compiled
from empirical.streams.counter import DRAWN, REPLACED, key, mix, symmetric, uniform

FAST = {"reassoc", "contract", "nsz"}  # sums may be reordered; NaN and infinities keep their meaning
UTILITIES = ("contribution", "adaptable")
SETTLED = 1e-30  # β^age is held there: 1 − β^age is 1 long before, and the product never becomes subnormal
TINY = 1e-12


class Rule(NamedTuple):
    """How a learner is trained. ``activation`` indexes ACTIVATIONS; CBP acts from step ``start`` on; ``bound`` is
    that of fresh weights. ``dropout`` is the share of hidden units that a step does without."""

    activation: int
    adam: bool
    step_size: float
    start: int
    adaptable: bool
    rate: float
    decay: float
    maturity: int
    accumulate: bool
    bound: float
    dropout: float = 0.0


class Tracked(NamedTuple):
    """Per hidden unit: age in steps under CBP, ĥ, u, and β^age; ``carry`` is the accumulated fraction of a
    replacement."""

    age: np.ndarray
    mean: np.ndarray
    utility: np.ndarray
    fading: np.ndarray
    carry: np.ndarray


def newborn(hidden: int) -> Tracked:
    """The state of units of age 0."""
    return Tracked(*np.zeros((3, hidden)), np.ones(hidden), np.zeros(1))


@compiled(error_model="numpy", fastmath=FAST)
def observe(tracked: Tracked, rule: Rule, rows: np.ndarray, h: np.ndarray, scratch: np.ndarray) -> None:
    """One step of age, running mean and utility; ``rows`` as in the online engine: incoming weights, b₁, w₂."""
    age, mean, utility, fading = tracked.age, tracked.mean, tracked.utility, tracked.fading
    beta, outgoing = rule.decay, rows[rows.shape[0] - 1]
    for i in range(h.size):
        age[i] += 1.0
        fading[i] = max(beta * fading[i], SETTLED)
        mean[i] = beta * mean[i] + (1.0 - beta) * h[i]
    if rule.adaptable:
        _mean_magnitude(rows, rows.shape[0] - 2, scratch)
        for i in range(h.size):
            c = 1.0 - fading[i]
            y = abs(h[i] * c - mean[i]) * abs(outgoing[i]) / (max(scratch[i], TINY) * c)
            utility[i] = beta * utility[i] + (1.0 - beta) * y
    else:
        for i in range(h.size):
            utility[i] = beta * utility[i] + (1.0 - beta) * abs(h[i]) * abs(outgoing[i])


@compiled(fastmath=FAST)
def _mean_magnitude(rows: np.ndarray, count: int, out: np.ndarray) -> None:
    """out = mean over the first ``count`` rows of |row|, four rows at a time."""
    out[:] = 0.0
    k = 0
    while k + 4 <= count:
        r0, r1, r2, r3 = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
        for i in range(out.size):
            out[i] += (abs(r0[i]) + abs(r1[i])) + (abs(r2[i]) + abs(r3[i]))
        k += 4
    while k < count:
        row = rows[k]
        for i in range(out.size):
            out[i] += abs(row[i])
        k += 1
    share = 1.0 / count
    for i in range(out.size):
        out[i] *= share


@compiled()
def replace_units(learner: Any, rule: Rule, moment: tuple[int, int], due: int, replaced: np.ndarray, count: int) -> int:
    """Replace ``due`` mature units at ``moment`` = (seed, step), lowest utility first; the new ``count`` of the log."""
    for _ in range(due):
        unit = _least_useful(learner.tracked, rule.maturity)
        _replace(learner, rule, unit, moment)
        if count < replaced.shape[0]:
            replaced[count, 0], replaced[count, 1] = moment[1], unit
        count += 1
    return count


@compiled(fastmath={"reassoc"})  # to count in vectors, exactly; the carry is not fused, so it rounds as written
def units_due(age: np.ndarray, carry: np.ndarray, rule: Rule, moment: tuple[int, int]) -> int:
    """rate × eligible units: the whole part, and the fraction carried over or drawn. A unit is eligible if older than
    ``maturity``."""
    maturity, eligible = float(rule.maturity), 0.0
    for i in range(age.size):
        eligible += 1.0 if age[i] > maturity else 0.0
    expected = rule.rate * eligible
    if not rule.accumulate:
        due = int(expected)
        return due + int(uniform(key(moment[0], DRAWN), moment[1]) < expected - due)
    carry[0] += expected
    due = min(int(carry[0]), int(eligible))
    carry[0] -= due
    return due


@compiled()
def _least_useful(tracked: Tracked, maturity: int) -> int:
    best, lowest = -1, np.inf
    for i in range(tracked.age.size):
        if tracked.age[i] > maturity:
            utility = tracked.utility[i] / (1.0 - tracked.fading[i])
            if best < 0 or utility < lowest:
                best, lowest = i, utility
    return best


@compiled()
def _replace(learner: Any, rule: Rule, unit: int, moment: tuple[int, int]) -> None:
    """Fresh incoming weights; the output bias takes over w_out·ĥ before ĥ is forgotten; everything else of the unit
    is zero, Adam's moments and step count included."""
    weights, tracked = learner.weights, learner.tracked
    hidden = tracked.age.size
    inputs = (weights.size - 2 * hidden - 1) // hidden
    bias, outgoing = inputs * hidden + unit, (inputs + 1) * hidden + unit
    weights[-1] += weights[outgoing] * tracked.mean[unit] / (1.0 - tracked.fading[unit])
    fresh = symmetric(mix(key(moment[0], REPLACED) + np.uint64(moment[1] * hidden + unit)), inputs, rule.bound)
    for j in range(inputs):
        place = j * hidden + unit
        weights[place] = fresh[j]
        learner.first[place] = learner.second[place] = 0.0
    for place in (bias, outgoing):
        weights[place] = learner.first[place] = learner.second[place] = 0.0
    tracked.age[unit] = tracked.mean[unit] = tracked.utility[unit] = 0.0
    tracked.fading[unit] = 1.0
    learner.clock[unit] = 0.0
