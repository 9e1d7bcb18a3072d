"""The batch engine against plain PyTorch: one module, one torch.optim, one seed at a time."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from empirical.engine.batch import Trainer, classifier
from empirical.engine.batch_gradients import masked_cross_entropy
from empirical.models import build
from empirical.options.shared import ModelOptions, OptimiserOptions, check_optimiser
from lop_theory.errors import InvalidInput
from lop_theory.metrics import measure
from lop_theory.optim import ContinualBackprop, L2Init, NoisySGD, ReDo
from lop_theory.optim.continual_backprop import Settings

IMAGE, CLASSES, BATCH, STEPS, SEEDS = (1, 8, 8), 7, 6, 5, (3, 11, 40)
MODELS = {
    "mlp": ModelOptions("mlp", scale=16),
    "cnn": ModelOptions("cnn", scale=32),
    "resnet18": ModelOptions("resnet18", scale=64),
    "vit": ModelOptions("vit", scale=32, patch=4),
}
OPTIMISERS = {
    "sgd": OptimiserOptions("sgd", 0.05),
    "adam": OptimiserOptions("adam", 0.003),
    "noisy_sgd": OptimiserOptions("noisy_sgd", 0.02, sigma=0.05, noise_decay=0.9),
    "l2_init": OptimiserOptions("adam", 0.003, repair="l2_init"),
    "cbp": OptimiserOptions("adam", 0.003, repair="cbp"),
    "redo": OptimiserOptions("sgd", 0.05, repair="redo"),
    "noisy l2": OptimiserOptions("noisy_sgd", 0.02, sigma=0.05, repair="l2_init"),
}
TOLERANCE = 1e-9  # float64, relative to weights of order 1; Adam divides by gradients that may be tiny


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def models(options: ModelOptions, seeds=SEEDS, dtype=torch.float64) -> list[nn.Module]:
    return [build(options, IMAGE, CLASSES, seed).to(dtype) for seed in seeds]


def batch(step: int, seeds=SEEDS, dtype=torch.float64):
    """Inputs, labels and masks as pure functions of (seed, step)."""
    inputs, labels, masks = [], [], []
    for seed in seeds:
        rng = np.random.default_rng((seed, step))
        inputs.append(rng.standard_normal((BATCH, *IMAGE)))
        allowed = (np.arange(4) + step // 3 * 2) % CLASSES
        labels.append(allowed[rng.integers(0, 4, BATCH)])
        masks.append(np.isin(np.arange(CLASSES), allowed))
    return torch.from_numpy(np.array(inputs)).to(dtype), torch.tensor(np.array(labels)), torch.tensor(np.array(masks))


def train(trainer: Trainer, start: int = 0, steps: int = STEPS, dtype=torch.float64) -> torch.Tensor:
    return torch.stack([trainer.step(*batch(t, trainer.seeds, dtype)) for t in range(start, start + steps)])


class Plain:
    """The oracle: what a script does, for one seed."""

    def __init__(self, model: nn.Module, options: OptimiserOptions, seed: int) -> None:
        self.model, self.companion = model, None
        parameters = list(model.parameters())
        make = {
            "sgd": lambda: torch.optim.SGD(parameters, lr=options.step_size),
            "adam": lambda: torch.optim.Adam(parameters, lr=options.step_size),
            "noisy_sgd": lambda: NoisySGD(
                parameters, options.step_size, sigma=options.sigma, decay=options.noise_decay, seed=seed
            ),
        }
        self.optimiser = make[options.name]()
        if options.repair == "cbp":
            self.companion = ContinualBackprop(model, self.optimiser, Settings(seed=seed))
        if options.repair == "redo":
            self.companion = ReDo(model, self.optimiser, seed=seed)
        if options.repair == "l2_init":
            self.optimiser = L2Init(self.optimiser)

    def step(self, inputs, labels, mask) -> float:
        self.optimiser.zero_grad()
        logits = self.model(inputs)
        allowed = torch.nonzero(mask).flatten()
        position = torch.zeros(len(mask), dtype=torch.long)
        position[allowed] = torch.arange(len(allowed))
        loss = nn.functional.cross_entropy(logits[:, allowed], position[labels])
        loss.backward()
        self.optimiser.step()
        if self.companion is not None:
            self.companion.step()
        return loss.item()


def assert_equal_models(left: nn.Module, right: nn.Module, tolerance: float) -> None:
    ours, theirs = left.state_dict(), right.state_dict()
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=tolerance, atol=tolerance, msg=name)


def assert_as_plain(options: ModelOptions, optimiser: OptimiserOptions, strategy, steps: int = STEPS) -> None:
    trainer = Trainer(models(options), optimiser, SEEDS, strategy=strategy)
    losses = train(trainer, steps=steps)
    for k, (seed, model) in enumerate(zip(SEEDS, models(options), strict=True)):
        plain = Plain(model, optimiser, seed)
        for t in range(steps):
            inputs, labels, mask = batch(t, (seed,))
            expected = plain.step(inputs[0], labels[0], mask[0])
            assert float(losses[t, k]) == pytest.approx(expected, rel=TOLERANCE)
        assert_equal_models(trainer.models[k], plain.model, TOLERANCE)


@pytest.mark.parametrize("strategy", ["each", "vmap"])
@pytest.mark.parametrize("normalisation", ["none", "batch", "layer"])
@pytest.mark.parametrize("name", MODELS)
def test_seeds_together_train_as_one_by_one(name: str, normalisation: str, strategy) -> None:
    base = MODELS[name]
    options = ModelOptions(name, normalisation, scale=base.scale, patch=base.patch)
    for optimiser in ("sgd", "adam", "noisy_sgd"):
        assert_as_plain(options, OPTIMISERS[optimiser], strategy)


@pytest.mark.parametrize(
    ("name", "repair", "strategy"),
    [*product(("mlp", "cnn"), ("cbp", "redo"), ("each",)), *product(MODELS, ("l2_init", "noisy l2"), ("each", "vmap"))],
)
def test_companions_together_as_one_by_one(name: str, repair: str, strategy, monkeypatch) -> None:
    # Companions that act within a few steps, here and in the oracle.
    monkeypatch.setattr(Settings.__new__, "__defaults__", (0.3, 0.9, 1, "adaptable", True, 0))
    monkeypatch.setattr(ReDo.__init__, "__kwdefaults__", {"tau": 0.8, "period": 2, "seed": 0})
    assert_as_plain(MODELS[name], OPTIMISERS[repair], strategy, steps=6)


