"""What needs a CUDA device: the recorded graph. ``make gpu`` runs this first."""

import os

import numpy as np
import pytest
import torch

from empirical.training import trial
from empirical.training.engines import ENGINES
from empirical.training.feed import Feed
from empirical.training.options import OptimiserOptions
from empirical.training.trainer import Trainer
from tests.empirical.training import test_static_step as on_cpu
from tests.empirical.training.test_static_step import CLASSES, IMAGE, MODELS, OPTIMISERS, SEEDS, build, numbers

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA begins
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def trainer(model: str, optimiser: OptimiserOptions, seeds=SEEDS, engine="graph") -> Trainer:
    models = [build(MODELS[model], IMAGE, CLASSES, seed) for seed in seeds]
    return Trainer(models, optimiser, seeds, engine=engine, device="cuda")


def trained(own: Trainer, start: int = 0, stop: int = 5, seeds=SEEDS) -> torch.Tensor:
    there = on_cpu.feed(seeds)
    feed = Feed([(there.inputs.cuda(), there.labels.cuda())])
    feed._starts = there._starts
    return own.steps(feed, numbers(start, stop, seeds), on_cpu.masks(seeds).cuda()).cpu()


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "l2_init"])
@pytest.mark.parametrize("model", ["mlp", "cnn", "vit"])
def test_a_recorded_step_is_eagers_to_rounding(model: str, optimiser: str) -> None:
    recorded, eager = (trainer(model, OPTIMISERS[optimiser], engine=engine) for engine in ("graph", "eager"))
    for start in range(3):
        torch.testing.assert_close(
            trained(recorded, start, start + 1), trained(eager, start, start + 1), rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize(("model", "optimiser"), [("wet mlp", "noisy_adam"), ("wet cnn", "adam"), ("vit", "adam")])
def test_a_seed_does_not_see_its_neighbours(model: str, optimiser: str) -> None:
    losses = trained(trainer(model, OPTIMISERS[optimiser]))
    alone = trained(trainer(model, OPTIMISERS[optimiser], SEEDS[1:2]), seeds=SEEDS[1:2])
    torch.testing.assert_close(alone[:, 0], losses[:, 1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("model", "optimiser"), [("wet mlp", "noisy_sgd"), ("cnn", "adam")])
def test_resume_is_bitwise(model: str, optimiser: str) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        whole = trainer(model, OPTIMISERS[optimiser])
        trained(whole, 0, 3)
        saved = [whole.state(k) for k in range(3)]
        rest = trained(whole, 3, 6)
        resumed = trainer(model, OPTIMISERS[optimiser])
        for k in range(3):
            resumed.load(k, saved[k])
        assert torch.equal(trained(resumed, 3, 6), rest)
    finally:
        torch.use_deterministic_algorithms(False)


def test_dropout_and_noise_differ_from_step_to_step() -> None:
    """A graph that replayed one mask would learn the same from the same batch."""
    own = trainer("wet mlp", OptimiserOptions("sgd", 1e-12))
    feed = on_cpu.feed()
    same = Feed([(feed.inputs.cuda(), feed.labels.cuda())])
    same._starts = feed._starts
    losses = own.steps(same, np.repeat(numbers(0, 1), 6, 0), None)
    assert len(losses[:, 0].unique()) == 6


def test_a_trial_is_made_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MADE", {})
    own = trainer("cnn", OptimiserOptions(precision="bf16"), engine="auto")
    assert own.choice is None
    trained(own)
    assert set(own.choice.milliseconds) == set(ENGINES)
    assert str(own.state(0)["engine"]) == own.choice.name


def test_bf16_and_tf32_are_close() -> None:
    exact, *coarse = (
        trained(trainer("cnn", OptimiserOptions("sgd", 0.05, precision=p)), 0, 2) for p in ("fp32", "tf32", "bf16")
    )
    for one in coarse:
        torch.testing.assert_close(one, exact, rtol=0.1, atol=0.05)
