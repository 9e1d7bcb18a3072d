"""The compiled online engine against plain NumPy and PyTorch learners, and independence of how runs are carried out."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from empirical.bitflip import online, units
from empirical.bitflip.backprop import Rule
from empirical.bitflip.stream import bitflip_stream
from lop_theory.optim import ContinualBackprop
from lop_theory.optim.continual_backprop import Settings
from lop_theory.optim.layer import Layer, bound
from tests.empirical.bitflip import reference
from tests.empirical.bitflip.reference import Setting, Trained

STEPS = 5_000


def compiled(s: Setting, *, pieces: int = 1) -> Trained:
    """The engine on a reference setting; ``pieces`` calls instead of one."""
    source = bitflip_stream(s.seed, bits=20, flipping=15, flip_every=s.flip_every, units=100, beta=0.7)
    bound = units.kaiming_bound(s.activation, 21)
    learner = online.fresh_learner(s.seed, 21, s.hidden, bound)
    rule = Rule(
        units.ACTIVATIONS.index(s.activation), s.adam, s.step_size, s.start, s.adaptable, s.rate, s.decay, s.maturity,
        s.accumulate, bound, s.dropout,
    )  # fmt: skip
    errors, replaced = np.zeros(s.steps), []
    for k in range(pieces):
        start, stop = k * s.steps // pieces, (k + 1) * s.steps // pieces
        buffer = np.zeros((s.steps, 2), np.int64)
        done, count = online.advance(learner, rule, source, (start, stop, 1), errors[start:stop], buffer)
        assert done == stop
        replaced += [(int(step), int(unit)) for step, unit in buffer[:count]]
    rows = learner.weights[:-1].reshape(23, s.hidden)
    return Trained(errors, replaced, (rows[:21], rows[21], rows[22], learner.weights[-1:]))


def agree(found: Trained, expected: Trained) -> None:
    assert found.replaced == expected.replaced
    np.testing.assert_allclose(found.errors, expected.errors, rtol=1e-7, atol=1e-11)
    for a, b in zip(found.weights, expected.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-11)


CASES = [
    Setting(1, 10, STEPS, "relu", rate=1e-3),
    Setting(2, 5, STEPS, "tanh", rate=1e-3, start=STEPS // 2),
    Setting(3, 7, STEPS, "sigmoid", rate=2e-3, adaptable=False, flip_every=1000),
    Setting(4, 10, STEPS, "elu", adam=True, step_size=1e-3, rate=1e-3, flip_every=500),
    Setting(5, 10, STEPS, "leaky_relu", adam=True, rate=1e-3, step_size=1e-3, start=STEPS // 2),
    Setting(6, 12, STEPS, "relu", rate=0.02, accumulate=False, flip_every=100),
    Setting(7, 50, STEPS, "relu", start=STEPS),
    Setting(8, 3, STEPS, "relu", rate=0.5, maturity=3, flip_every=700),
    Setting(9, 12, STEPS, "relu", start=STEPS, flip_every=500, dropout=0.1),
    Setting(10, 6, STEPS, "sigmoid", adam=True, step_size=1e-3, start=STEPS, dropout=0.3),
]


@pytest.mark.claim("bitflip-dropout")
@pytest.mark.parametrize("setting", CASES, ids=lambda s: f"{s.activation}-{s.seed}")
def test_agrees_with_the_plain_learner_step_by_step(setting: Setting) -> None:
    expected = reference.numpy_run(setting)
    agree(compiled(setting), expected)
    assert bool(expected.replaced) == (setting.start < STEPS)


@pytest.mark.parametrize("adam", [False, True], ids=["sgd", "adam"])
def test_agrees_with_pytorch_and_its_continual_backprop(adam: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(11, 8, STEPS // 5, adam=adam, step_size=1e-3 if adam else 0.01, rate=5e-3)
    companions: list[ContinualBackprop] = []

    def fresh(_layer, weights, count, init, _generator) -> torch.Tensor:  # the same stream; all else is the library's
        ours = companions[0]
        (units,) = (torch.nonzero(ours.age[0] > setting.maturity).flatten(),)
        order = ours.corrected(ours.utility[0], 0)[units].argsort(stable=True)
        assert init == "kaiming"
        found = [reference.fresh_row(setting, ours.current, unit) for unit in units[order[:count]].tolist()]
        assert np.abs(found).max() <= bound(weights, init, ours.layers[0].units.activation)
        return torch.from_numpy(np.array(found))

    def continual(model, optimiser) -> ContinualBackprop:
        settings = Settings(rate=setting.rate, init="kaiming")
        example = torch.ones(2, 21, dtype=torch.float64)
        companions.append(ContinualBackprop(optimiser, model, example_input=example, settings=settings))
        return companions[0]

    monkeypatch.setattr(Layer, "fresh", fresh)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = reference.torch_run(setting, continual)
    torch.set_num_threads(threads)
    assert expected.replaced
    agree(compiled(setting), expected)


def test_does_not_depend_on_pieces_or_on_runs_beside_it() -> None:
    settings = [CASES[k] for k in (0, 3, 5, 7)]
    alone = [compiled(s) for s in settings]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(compiled, settings))
    in_pieces = [compiled(s, pieces=7) for s in settings]
    for a, b, c in zip(alone, together, in_pieces, strict=True):
        for other in (b, c):
            assert other.replaced == a.replaced
            assert np.array_equal(other.errors, a.errors)
            assert all(np.array_equal(x, y) for x, y in zip(other.weights, a.weights, strict=True))


def test_the_switch_is_sgd_until_it_happens() -> None:
    sgd, switch = compiled(CASES[1]._replace(start=STEPS)), compiled(CASES[1])
    half = STEPS // 2
    first = switch.replaced[0][0]
    assert first >= half + CASES[1].maturity
    assert np.array_equal(sgd.errors[:first], switch.errors[:first])
    assert not np.array_equal(sgd.errors[first:], switch.errors[first:])


def test_stops_before_an_error_that_is_not_finite() -> None:
    source = bitflip_stream(0, bits=20, flipping=15, flip_every=100, units=100, beta=0.7)
    bound = units.kaiming_bound("relu", 21)
    learner = online.fresh_learner(0, 21, 5, bound)
    errors = np.zeros(1000)
    rule = Rule(units.ACTIVATIONS.index("leaky_relu"), False, 3.0, 1000, True, 1e-4, 0.99, 100, True, bound)
    done, _ = online.advance(learner, rule, source, (0, 1000, 1), errors, np.empty((0, 2), np.int64))
    assert 0 < done < 1000
    assert not np.isfinite(learner.weights).all() or np.abs(learner.weights).max() > 1e100
    assert not errors[done:].any()
