"""Traps seen in implementations of continual backprop, each on the compiled step itself."""

import numpy as np
import pytest

from empirical.bitflip.backprop import Rule, newborn, observe, replace_units, units_due
from empirical.bitflip.online import Learner
from empirical.bitflip.options import CbpOptions
from lop_theory.optim.continual_backprop import Settings
from tests.empirical.bitflip.reference import Setting, fresh_row, numpy_run
from tests.empirical.bitflip.test_online import compiled

INPUTS, HIDDEN, SEED, STEP = 21, 4, 5, 300
RULE = Rule(0, True, 0.01, 0, True, 0.25, 0.99, 100, True, 2**0.5 * (3 / INPUTS) ** 0.5)


def mature() -> Learner:
    """Four units of age 200, unit 2 the least useful; every weight and moment differs from zero."""
    rng = np.random.default_rng(0)
    weights, first, second = rng.uniform(0.1, 0.5, size=(3, (INPUTS + 2) * HIDDEN + 1))
    tracked = newborn(HIDDEN)._replace(
        age=np.full(HIDDEN, 200.0),
        mean=np.array([0.3, 0.7, 0.9, 0.4]),
        utility=np.array([3.0, 2.0, 1.0, 4.0]),
        fading=np.full(HIDDEN, 0.99**200),
    )
    return Learner(weights, first, second, np.full(HIDDEN + 1, 200.0), tracked)


def copy(learner: Learner) -> Learner:
    return Learner(*(a.copy() for a in learner[:4]), type(learner.tracked)(*(a.copy() for a in learner.tracked)))


def replace_due(learner: Learner, rule: Rule, step: int, log: np.ndarray) -> int:
    """What the engine does at the end of a step; how many were replaced."""
    due = units_due(learner.tracked.age, learner.tracked.carry, rule, (SEED, step))
    return replace_units(learner, rule, (SEED, step), due, log, 0)


@pytest.fixture
def replaced() -> tuple[Learner, Learner]:
    """Before and after replacing unit 2."""
    before = mature()
    after, log = copy(before), np.zeros((4, 2), np.int64)
    assert replace_due(after, RULE, STEP, log) == 1
    assert log[0].tolist() == [STEP, 2]
    return before, after


def rows(flat: np.ndarray) -> np.ndarray:
    return flat[:-1].reshape(INPUTS + 2, HIDDEN)


def test_output_bias_takes_over_the_mean_before_it_is_forgotten(replaced: tuple[Learner, Learner]) -> None:
    before, after = replaced
    taken = rows(before.weights)[-1, 2] * 0.9 / (1 - 0.99**200)
    assert taken > 0.05
    assert after.weights[-1] == pytest.approx(before.weights[-1] + taken, rel=1e-14)
    assert after.tracked.mean[2] == 0.0


def test_fresh_weights_arrive_in_the_learner_itself(replaced: tuple[Learner, Learner]) -> None:
    _, after = replaced
    fresh = rows(after.weights)[:INPUTS, 2]
    np.testing.assert_allclose(fresh, fresh_row(Setting(SEED, HIDDEN, 1), STEP, 2), rtol=1e-14)
    assert np.abs(fresh).max() <= RULE.bound
    assert rows(after.weights)[-1, 2] == 0.0


def test_only_the_bias_of_the_replaced_unit_is_zeroed(replaced: tuple[Learner, Learner]) -> None:
    before, after = replaced
    others = [0, 1, 3]
    assert rows(after.weights)[INPUTS, 2] == 0.0
    assert np.array_equal(rows(after.weights)[:, others], rows(before.weights)[:, others])


def test_optimiser_state_of_the_replaced_weights_alone_is_reset(replaced: tuple[Learner, Learner]) -> None:
    before, after = replaced
    for old, new in ((before.first, after.first), (before.second, after.second)):
        assert not rows(new)[:, 2].any()
        assert np.array_equal(np.delete(rows(new), 2, axis=1), np.delete(rows(old), 2, axis=1))
        assert new[-1] == old[-1]
    assert after.clock.tolist() == [200, 200, 0, 200, 200]  # the new unit's weights count their own steps


def test_replacements_come_at_the_rate_and_not_one_a_step() -> None:
    setting = Setting(3, 10, 10_000, rate=1e-3)
    mature_steps = 10_000 - setting.maturity
    for accumulate in (True, False):
        count = len(compiled(setting._replace(accumulate=accumulate)).replaced)
        expected = setting.rate * setting.hidden * mature_steps
        assert 0.5 * expected < count <= expected + 3 * expected**0.5
    assert compiled(setting._replace(rate=0.0)).replaced == []


def test_age_zero_divides_by_nothing() -> None:
    learner = mature()._replace(tracked=newborn(HIDDEN))
    rule = RULE._replace(maturity=0, rate=1.0)
    assert replace_due(learner, rule, 0, np.empty((0, 2), np.int64)) == 0
    with np.errstate(all="raise"):
        observe(learner.tracked, rule, rows(learner.weights), np.zeros(HIDDEN), np.empty(HIDDEN))
    assert replace_due(learner, rule, 1, np.empty((0, 2), np.int64)) == HIDDEN
    assert all(np.isfinite(array).all() for array in (learner.weights, *learner.tracked))
    assert not learner.tracked.age.any()


def test_zero_incoming_weights_give_a_finite_utility() -> None:
    learner = mature()
    learner.weights[:] = 0.0
    observe(learner.tracked, RULE, rows(learner.weights), np.ones(HIDDEN), np.empty(HIDDEN))
    assert np.isfinite(learner.tracked.utility).all()


def test_no_unit_is_replaced_before_maturity() -> None:
    setting = Setting(4, 3, 3_000, rate=0.5, maturity=40)
    born = dict.fromkeys(range(3), -1)
    sequence = compiled(setting).replaced
    assert sequence == numpy_run(setting).replaced
    assert len(sequence) > 100
    for step, unit in sequence:
        assert step - born[unit] > setting.maturity
        born[unit] = step


def test_defaults_are_those_of_the_library() -> None:
    ours, theirs = CbpOptions(), Settings()
    assert (ours.replacement_rate, ours.decay, ours.maturity) == (theirs.rate, theirs.decay, theirs.maturity)
    assert (ours.utility, ours.fraction == "accumulate") == (theirs.utility, theirs.accumulate)
