"""The static step: never asks the host, gives eager's numbers, and no seed sees its neighbours. What only a GPU can do
with it is in ``test_cuda.py``."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from empirical.runs.execution import Engine
from empirical.training import engines, memory, static_step, trial
from empirical.training.engines import ENGINES, Choice
from empirical.training.feed import Feed, normalised
from empirical.training.models import build
from empirical.training.options import ModelOptions, OptimiserOptions
from empirical.training.passes import Passes
from empirical.training.static_step import Parts, StaticStep
from empirical.training.trainer import Trainer
from lop_theory.errors import InvalidInput

IMAGE, CLASSES, SEEDS, SIZE, SAMPLES = (3, 8, 8), 5, (3, 11, 40), 6, 20
MODELS = {
    "mlp": ModelOptions("mlp", "batch", scale=16),
    "wet mlp": ModelOptions("mlp", "layer", dropout=0.3, scale=16),
    "cnn": ModelOptions("cnn", "batch", scale=32),
    "wet cnn": ModelOptions("cnn", dropout=0.3, scale=32),
    "wet resnet18": ModelOptions("resnet18", "batch", dropout=0.3, scale=64),
    "vit": ModelOptions("vit", "layer", scale=32, patch=4),
}
OPTIMISERS = {
    "sgd": OptimiserOptions("sgd", 0.05),
    "adam": OptimiserOptions("adam", 0.003),
    "noisy_sgd": OptimiserOptions("noisy_sgd", 0.02, sigma=0.05, noise_decay=0.9),
    "noisy_adam": OptimiserOptions("noisy_adam", 0.003, sigma=0.05, noise_decay=0.5, noise_scaling="norm"),
    "l2_init": OptimiserOptions("adam", 0.003, repair="l2_init"),
}


def trainer(model: str, optimiser: str, seeds=SEEDS, engine="graph", dtype=torch.float32, **how) -> Trainer:
    models = [build(MODELS[model], IMAGE, CLASSES, seed).to(dtype) for seed in seeds]
    return Trainer(models, OPTIMISERS[optimiser], seeds, engine=engine, **how)


def feed(seeds=SEEDS) -> Feed:
    """Bytes, a function of the seed."""
    rngs = [np.random.default_rng(seed) for seed in seeds]
    pairs = [(rng.integers(0, 256, (SAMPLES, *IMAGE), np.uint8), rng.integers(0, CLASSES, SAMPLES)) for rng in rngs]
    return Feed([(torch.from_numpy(images), torch.from_numpy(labels)) for images, labels in pairs])


def numbers(start: int, stop: int, seeds=SEEDS) -> np.ndarray:
    def drawn(seed: int, step: int) -> np.ndarray:
        return np.random.default_rng((seed, step)).integers(0, SAMPLES, SIZE)

    return np.array([[drawn(seed, step) for seed in seeds] for step in range(start, stop)])


def masks(seeds=SEEDS) -> torch.Tensor:
    return (torch.arange(CLASSES) < 4).expand(len(seeds), -1)


def trained(own: Trainer, start: int = 0, stop: int = 5, seeds=SEEDS) -> torch.Tensor:
    return own.steps(feed(seeds), numbers(start, stop, seeds), masks(seeds))


@pytest.mark.parametrize(
    ("model", "optimiser"),
    [*product(("mlp", "cnn", "vit"), ("sgd", "adam")), *product(("wet mlp",), OPTIMISERS),
     ("wet cnn", "adam"), ("wet resnet18", "adam")],
)  # fmt: skip
def test_one_step_from_equal_state_is_eagers_to_rounding(model: str, optimiser: str) -> None:
    """And so are five, and three at once: losses, weights, statistics of normalisation; dropout and noise included."""
    static, eager = (trainer(model, optimiser, engine=engine) for engine in ("graph", "eager"))
    assert static.choice == Choice("graph", "asked for")
    for start in range(5):
        torch.testing.assert_close(trained(static, start, start + 1), trained(eager, start, start + 1))
    torch.testing.assert_close(trained(static, 5, 8), trained(eager, 5, 8), rtol=1e-4, atol=1e-5)
    for k in range(len(SEEDS)):
        left, right = static.state(k), eager.state(k)
        assert left.keys() == right.keys()
        for name in left:
            if not name.endswith("generator"):  # beyond a noise of 0 eager draws none
                np.testing.assert_allclose(left[name], right[name], rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize(("model", "optimiser"), [("wet mlp", "noisy_adam"), ("cnn", "adam"), ("vit", "sgd")])
def test_a_seed_does_not_see_its_neighbours(model: str, optimiser: str) -> None:
    together = trainer(model, optimiser)
    losses = trained(together)
    for k, seed in enumerate(SEEDS):
        alone = trainer(model, optimiser, (seed,))
        assert torch.equal(trained(alone, seeds=(seed,))[:, 0], losses[:, k])
        for name, value in alone.state(0).items():
            np.testing.assert_array_equal(value, together.state(k)[name], err_msg=name)


@pytest.mark.parametrize(("model", "optimiser"), [("wet mlp", "noisy_sgd"), ("cnn", "l2_init")])
def test_resume_is_bitwise_and_windows_do_not_matter(model: str, optimiser: str, monkeypatch) -> None:
    whole = trainer(model, optimiser)
    trained(whole, 0, 3)
    saved = [whole.state(k) for k in range(3)]
    rest = trained(whole, 3, 9)
    monkeypatch.setattr(static_step, "WINDOW", 4)
    monkeypatch.setattr(engines, "WINDOW", 4)
    resumed = trainer(model, optimiser)
    for k in range(3):
        resumed.load(k, saved[k])
    assert torch.equal(trained(resumed, 3, 9), rest)
    for k in range(3):
        for name, value in whole.state(k).items():
            np.testing.assert_array_equal(value, resumed.state(k)[name], err_msg=name)


def test_data_of_another_shape_makes_another_step() -> None:
    own, eager = (trainer("mlp", "adam", engine=engine) for engine in ("graph", "eager"))
    for one in (own, eager):
        trained(one)
        one.steps(feed(), numbers(5, 7)[:, :, :3])
    torch.testing.assert_close(own._stack.values, eager._stack.values)


@pytest.mark.parametrize("seeds", [SEEDS, SEEDS[:1]])
def test_data_that_come_back_are_as_they_were(seeds) -> None:
    own, eager = (trainer("mlp", "sgd", seeds, engine=engine) for engine in ("graph", "eager"))
    first, second, floats = feed(seeds), feed(seeds), feed(seeds)
    second.inputs.neg_()
    floats.inputs = normalised(floats.inputs)
    for step, data in enumerate((first, second, first, second, floats)):
        found, expected = (one.steps(data, numbers(step, step + 1, seeds)) for one in (own, eager))
        torch.testing.assert_close(found, expected)
    assert torch.equal(first.inputs, feed(seeds).inputs)


class NoQuestions(TorchDispatchMode):
    """Refuses operations whose result the host would have to wait for."""

    ASKING = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique", "item")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in self.ASKING, f"the step asks the host: {name}"
        return func(*args, **(kwargs or {}))


def static(model: str, optimiser: str) -> StaticStep:
    own = trainer(model, optimiser)
    own._update.keep_static()
    parts = Parts(own._stack, own.models, own.seeds, own._update, None, Passes())
    step = StaticStep(parts, feed(), SIZE, masks(), None)
    step.begin(feed().places(numbers(0, 4)))
    step.seed([0, 0, 0])
    return step


ALL = [*product(MODELS, ("adam",)), *product(("wet mlp",), ("sgd", "noisy_sgd", "noisy_adam", "l2_init"))]


@pytest.mark.parametrize(("model", "optimiser"), ALL)
def test_a_step_asks_nothing(model: str, optimiser: str) -> None:
    step = static(model, optimiser)
    with NoQuestions():
        step()
        step()
    assert int(step.cursor) == 2
    assert (step.losses[:2] > 0).all()
    assert (step.losses[2:] == 0).all()


def test_the_mode_notices_a_question() -> None:
    for question in (lambda x: x.item(), lambda x: x.nonzero(), lambda x: 1 if x else 0, lambda x: float(x + 1)):
        with pytest.raises(AssertionError, match="asks the host"), NoQuestions():
            question(torch.ones(()))


@pytest.mark.parametrize(("model", "optimiser"), [("mlp", "adam"), ("cnn", "adam"), ("vit", "adam"), ("mlp", "sgd")])
def test_a_step_goes_through_without_data(model: str, optimiser: str) -> None:
    """On tensors that have shapes only, so that no branch can depend on a number; Adam's own step apart, which has no
    such form."""
    step = static(model, optimiser)
    before = step.parts.stack.values.clone()
    step.parts.update.advance_static = lambda: None  # type: ignore[method-assign]
    with FakeTensorMode(allow_non_fake_inputs=True):
        step()
        with pytest.raises(DataDependentOutputException):
            float(step.losses.sum() * torch.ones(()))
    assert torch.equal(before, step.parts.stack.values)


def test_trial_takes_the_fastest_and_says_so(monkeypatch) -> None:
    monkeypatch.setattr(trial, "MADE", {})
    monkeypatch.setattr(trial, "seconds", lambda step: step())

    def short_of_memory() -> float:
        raise torch.OutOfMemoryError

    choice = trial.fastest(
        "a", {"eager": lambda: lambda: 0.3, "vmap": lambda: short_of_memory, "graph": lambda: lambda: 0.1}
    )
    assert choice == Choice("graph", "fastest in a trial", {"eager": 300.0, "graph": 100.0})
    assert choice.facts()["trial_milliseconds"] == {"eager": 300.0, "graph": 100.0}
    assert trial.fastest("a", {"eager": lambda: lambda: 0.0}) == choice, "a trial is made once"
    with pytest.raises(torch.OutOfMemoryError):
        trial.fastest("b", {"eager": lambda: short_of_memory})


@pytest.mark.parametrize("quickest", ENGINES)
def test_a_trial_of_every_engine_changes_nothing(monkeypatch, quickest: Engine) -> None:
    """What a GPU does on its first batch, on the CPU: the engine is one that was tried, and the run goes on with it.
    Whichever is the quickest, as if it had been asked for (that engines agree to rounding is tested above)."""
    monkeypatch.setattr(trial, "MADE", {})
    monkeypatch.setattr(trial, "SECONDS", 0.0)
    clock, measured = iter(ENGINES), trial.seconds
    monkeypatch.setattr(trial, "seconds", lambda step: measured(step) + 1e3 * (next(clock) != quickest))
    own, plain = trainer("mlp", "sgd"), trainer("mlp", "sgd", engine=quickest)
    own.choice, own._tries = None, True
    torch.testing.assert_close(trained(own), trained(plain))
    assert set(own.choice.milliseconds) == set(ENGINES)
    assert own.choice.name == min(own.choice.milliseconds, key=own.choice.milliseconds.get) == quickest
    assert torch.equal(own._stack.values, plain._stack.values)
    later = trainer("mlp", "sgd")
    later.choice, later._tries = None, True
    later.load(0, own.state(0))
    assert later.choice == Choice(own.choice.name, "chosen by a trial before the checkpoint")
    assert str(later.state(0)["engine"]) == own.choice.name
    assert "engine" not in plain.state(0)


def test_memory_is_counted_as_by_hand() -> None:
    """An MLP keeps the input, and every layer's activation after ReLU (which is the next one's input), and the
    logits' logarithms; dropout and normalisation there are none."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    found = memory.need(model, OPTIMISERS["adam"], torch.zeros(1, *IMAGE), 100, 7.0)
    weights = 4 * (192 * 16 + 16 + 16 * CLASSES + CLASSES)
    assert found.weights == 5 * weights
    assert found.data == 7.0
    least = 4 * 100 * (192 + 16 + CLASSES)
    assert least <= found.activations <= 1.2 * least
    deep = build(ModelOptions("resnet18", "batch", scale=16), (3, 16, 16), 10, 0)
    exact, coarse = (
        memory.need(deep, replace(OPTIMISERS["adam"], precision=p), torch.zeros(1, 3, 16, 16), 8)
        for p in ("fp32", "bf16")
    )
    assert coarse.activations < exact.activations
    assert exact.fitting(exact.together(3)) == 3


def test_too_little_memory_is_said_with_what_fits(monkeypatch) -> None:
    need = memory.Need(2e9, 9e9, 1e9)
    assert str(memory.refusal(need, 5, 40e9)) == (
        "together=5: needs about 61.5 GB on a device with 40.0 GB; give --together 3"
    )
    assert "a smaller --batch" in str(memory.refusal(need, 1, 8e9))

    class Device:
        total_memory = 2e9

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Device)
    own = trainer("mlp", "adam")

    def exhausted(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError

    own._engine = exhausted
    with pytest.raises(InvalidInput, match=r"needs about 1\.5 GB on a device with 2\.0 GB; give --together 2"):
        trained(own)
