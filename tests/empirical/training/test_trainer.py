"""The batch engine against plain PyTorch: one module, one torch.optim, one seed at a time."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import gpu
from empirical.training import trainer as training
from empirical.training import update
from empirical.training.feed import Feed
from empirical.training.gradients import masked_cross_entropy
from empirical.training.models import build
from empirical.training.options import ModelOptions, OptimiserOptions, check_optimiser
from empirical.training.trainer import classifier
from lop_theory.errors import InvalidInput
from lop_theory.metrics import measure
from lop_theory.optim import ContinualBackprop, L2Init, NoisySGD, ReDo
from lop_theory.optim.continual_backprop import Settings
from tests.empirical.found import units

IMAGE, CLASSES, BATCH, STEPS, SEEDS = (1, 8, 8), 7, 6, 3, (3, 11, 40)
Trainer = partial(training.Trainer, image=IMAGE)
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
    "noisy_adam": OptimiserOptions("noisy_adam", 0.003, sigma=0.05, noise_decay=0.9),
    "l2_init": OptimiserOptions("adam", 0.003, repair="l2_init"),
    "cbp": OptimiserOptions("adam", 0.003, repair="cbp"),
    "redo": OptimiserOptions("adam", 0.003, repair="redo"),
    "noisy l2": OptimiserOptions("noisy_sgd", 0.02, sigma=0.05, repair="l2_init"),
}
TOLERANCE = 1e-9  # float64, relative to weights of order 1; Adam divides by gradients that may be tiny


def models(options: ModelOptions, seeds=SEEDS, dtype=torch.float64) -> list[nn.Module]:
    return [build(options, IMAGE, CLASSES, seed).to(dtype) for seed in seeds]


def batch(step: int, seeds=SEEDS, dtype=torch.float64):
    """Inputs, labels and masks as pure functions of (seed, step)."""
    inputs, labels, masks = [], [], []
    for seed in seeds:
        rng = np.random.default_rng((seed, step))
        inputs.append(rng.standard_normal((BATCH, *IMAGE)))
        allowed = (np.arange(4) + step // 2 * 2) % CLASSES
        labels.append(allowed[rng.integers(0, 4, BATCH)])
        masks.append(np.isin(np.arange(CLASSES), allowed))
    return torch.from_numpy(np.array(inputs)).to(dtype), torch.tensor(np.array(labels)), torch.tensor(np.array(masks))


def train(trainer: Trainer, start: int = 0, steps: int = STEPS, dtype=torch.float64) -> torch.Tensor:
    return torch.stack([trainer.step(*batch(t, trainer.seeds, dtype)) for t in range(start, start + steps)])


@pytest.fixture(autouse=True)
def _units_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "find_units", units)


class Plain:
    """The oracle: what a script does, for one seed."""

    def __init__(self, model: nn.Module, options: OptimiserOptions, seed: int) -> None:
        self.model = model
        parameters = list(model.parameters())
        make = {
            "sgd": lambda: torch.optim.SGD(parameters, lr=options.step_size),
            "adam": lambda: torch.optim.Adam(parameters, lr=options.step_size),
            "noisy_sgd": lambda: NoisySGD(
                parameters, options.step_size, sigma=options.sigma, decay=options.noise_decay, seed=seed
            ),
        }
        self.noise = None
        if options.name == "noisy_adam":
            self.noise = make["noisy_sgd"]()
        self.optimiser = make[options.name.replace("noisy_adam", "adam")]()
        found = units(model, torch.ones(2, *IMAGE, dtype=torch.float64)) if options.repair in ("cbp", "redo") else None
        if options.repair == "cbp":
            settings = Settings(seed=seed, init="kaiming")
            self.optimiser = ContinualBackprop(self.optimiser, model, example_input=found, settings=settings)
        if options.repair == "redo":
            self.optimiser = ReDo(self.optimiser, model, example_input=found, init="kaiming", seed=seed)
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
        if self.noise is not None:
            self.noise.add_noise()
        self.optimiser.step()
        return loss.item()


def assert_equal_models(left: nn.Module, right: nn.Module, tolerance: float) -> None:
    ours, theirs = left.state_dict(), right.state_dict()
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=tolerance, atol=tolerance, msg=name)


def assert_as_plain(
    options: ModelOptions,
    optimiser: OptimiserOptions,
    engines=("eager", "vmap", "graph"),
    steps=STEPS,
    seeds=SEEDS[:2],
) -> list[Trainer]:
    trainers = [Trainer(models(options, seeds), optimiser, seeds, engine=engine) for engine in engines]
    losses = [train(trainer, steps=steps) for trainer in trainers]
    for k, (seed, model) in enumerate(zip(seeds, models(options, seeds), strict=True)):
        plain = Plain(model, optimiser, seed)
        expected = [plain.step(*(part[0] for part in batch(t, (seed,)))) for t in range(steps)]
        for trainer, found in zip(trainers, losses, strict=True):
            assert found[:, k].tolist() == pytest.approx(expected, rel=TOLERANCE)
            assert_equal_models(trainer.models[k], plain.model, TOLERANCE)
    return trainers


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "noisy_sgd", "noisy_adam"])
@pytest.mark.parametrize("normalisation", ["none", "batch", "layer"])
@pytest.mark.parametrize("name", MODELS)
def test_seeds_together_train_as_one_by_one(name: str, normalisation: str, optimiser: str) -> None:
    base = MODELS[name]
    options = ModelOptions(name, normalisation, scale=base.scale, patch=base.patch)
    assert_as_plain(options, OPTIMISERS[optimiser])


@pytest.mark.parametrize("name", MODELS)
def test_l2_init_together_as_one_by_one(name: str) -> None:
    # Adam amplifies the rounding of gradients that are zero in theory (a ViT's key biases), and the pull feeds it back.
    repairs = ["noisy l2"] if name == "vit" else ["l2_init", "noisy l2"]
    for repair in repairs:
        assert_as_plain(MODELS[name], OPTIMISERS[repair])


@pytest.fixture
def busy_companions(monkeypatch) -> None:
    """CBP and ReDo that act within a few steps, in the engine and in the oracle."""
    monkeypatch.setattr(Settings.__new__, "__defaults__", (0.3, 0.9, 1, "adaptable", True, 0, "own", True))
    defaults = {"tau": 0.8, "period": 2, "init": "own", "seed": 0}
    monkeypatch.setattr(ReDo.__init__, "__kwdefaults__", defaults)


@pytest.mark.usefixtures("busy_companions")
@pytest.mark.parametrize("normalisation", ["none", "batch"])
@pytest.mark.parametrize("repair", ["cbp", "redo"])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_companions_together_as_one_by_one(name: str, repair: str, normalisation) -> None:
    options = ModelOptions(name, normalisation, scale=MODELS[name].scale)
    assert not any((classifier(m).weight == 0).any() for m in models(options))
    (trainer,) = assert_as_plain(options, OPTIMISERS[repair], ("auto",), 6, SEEDS[1:])
    assert trainer.choice.name == "eager"
    assert any((classifier(m).weight == 0).any() for m in trainer.models), "no unit was replaced"


@pytest.mark.parametrize("engine", ["eager", "vmap", "graph"])
def test_rates_are_step_sizes_under_sgd(engine) -> None:
    names = [name for name, _ in models(MODELS["cnn"])[0].named_parameters()]
    rates = {name: 0.5 + k / 10 for k, name in enumerate(names)}
    trainer = Trainer(models(MODELS["cnn"]), OPTIMISERS["sgd"], SEEDS, engine=engine, rates=rates)
    train(trainer)
    for k, (seed, model) in enumerate(zip(SEEDS, models(MODELS["cnn"]), strict=True)):
        plain = Plain(model, OPTIMISERS["sgd"], seed)
        step_size = OPTIMISERS["sgd"].step_size
        groups = [{"params": [p], "lr": step_size * rates[name]} for name, p in model.named_parameters()]
        plain.optimiser = torch.optim.SGD(groups)
        for t in range(STEPS):
            inputs, labels, mask = batch(t, (seed,))
            plain.step(inputs[0], labels[0], mask[0])
        assert_equal_models(trainer.models[k], model, TOLERANCE)


CASES = [
    ("mlp", "batch", "adam", 0.0),
    ("mlp", "none", "noisy_sgd", 0.2),
    ("mlp", "none", "noisy_adam", 0.0),
    ("mlp", "none", "cbp", 0.2),
    ("cnn", "batch", "redo", 0.0),
    ("cnn", "layer", "noisy l2", 0.0),
    ("resnet18", "batch", "l2_init", 0.0),
    ("vit", "layer", "adam", 0.1),
]


@pytest.mark.usefixtures("busy_companions")
@pytest.mark.parametrize(("name", "normalisation", "optimiser", "dropout"), CASES)
def test_resume_is_bitwise(name: str, normalisation, optimiser: str, dropout: float) -> None:
    """A checkpoint after 3 steps, loaded into another trainer in another place of the group, ends in the same bits."""
    base = MODELS[name]
    options = ModelOptions(name, normalisation, dropout=dropout, scale=base.scale, patch=base.patch)
    whole = Trainer(models(options, dtype=torch.float32), OPTIMISERS[optimiser], SEEDS)
    train(whole, steps=3, dtype=torch.float32)
    saved = [whole.state(k) for k in range(3)]
    train(whole, 3, 4, dtype=torch.float32)
    order = (2, 0)
    seeds = [SEEDS[k] for k in order]
    resumed = Trainer(models(options, [90, 91], torch.float32), OPTIMISERS[optimiser], seeds)
    for place, k in enumerate(order):
        resumed.load(place, saved[k])
    train(resumed, 3, 4, dtype=torch.float32)
    for place, k in enumerate(order):
        left, right = whole.state(k), resumed.state(place)
        assert left.keys() == right.keys()
        for key in left:
            np.testing.assert_array_equal(left[key], right[key], err_msg=key)


def test_a_checkpoint_of_another_configuration_is_refused() -> None:
    small, wide = MODELS["mlp"], ModelOptions("mlp", scale=8)
    saved = Trainer(models(small), OPTIMISERS["adam"], SEEDS).state(0)
    with pytest.raises(InvalidInput, match="same options"):
        Trainer(models(small), OPTIMISERS["sgd"], SEEDS).load(0, saved)
    with pytest.raises(InvalidInput, match="has shape"):
        Trainer(models(wide), OPTIMISERS["adam"], SEEDS).load(0, saved)


@pytest.mark.parametrize("name", ["mlp", "vit"])
def test_dropout_depends_on_seed_and_step_alone(name: str) -> None:
    base = MODELS[name]
    options = ModelOptions(name, dropout=0.3, scale=base.scale, patch=base.patch)
    together = Trainer(models(options), OPTIMISERS["sgd"], SEEDS)
    before = torch.get_rng_state()
    train(together)
    assert torch.equal(before, torch.get_rng_state())
    for k, seed in enumerate(SEEDS):
        alone = Trainer(models(options, (seed,)), OPTIMISERS["sgd"], (seed,))
        torch.rand(seed)
        train(alone)
        assert_equal_models(alone.models[0], together.models[k], 0.0)
    dry = Trainer(models(MODELS[name]), OPTIMISERS["sgd"], SEEDS)
    train(dry)
    assert not torch.equal(classifier(dry.models[0]).weight, classifier(together.models[0]).weight)


@pytest.mark.parametrize("engine", ["eager", "vmap", "graph"])
@pytest.mark.parametrize("name", MODELS)
def test_metrics_between_steps_change_nothing(name: str, engine) -> None:
    base = MODELS[name]
    options = ModelOptions(name, "batch", scale=base.scale, patch=base.patch)
    quiet, watched = (Trainer(models(options), OPTIMISERS["adam"], SEEDS, engine=engine) for _ in range(2))
    train(quiet, steps=2)
    for step in range(2):
        train(watched, step, 1)
        inputs, labels, _ = batch(100 + step)
        for k, model in enumerate(watched.models):
            found = measure(model, inputs[k], partial(nn.functional.cross_entropy, target=labels[k]))
            assert all(metrics.effective_rank > 0 for metrics in found.values())
    for k in range(3):
        for key, value in quiet.state(k).items():
            np.testing.assert_array_equal(value, watched.state(k)[key], err_msg=key)


@pytest.mark.parametrize("engine", ["eager", "vmap", "graph"])
@pytest.mark.parametrize("optimiser", ["sgd", "adam", "noisy_sgd", "l2_init"])
def test_a_nan_stays_with_its_seed(optimiser: str, engine) -> None:
    options = ModelOptions("mlp", "batch", scale=16)
    clean, ill = (Trainer(models(options), OPTIMISERS[optimiser], SEEDS, engine=engine) for _ in range(2))
    with torch.no_grad():
        next(ill.models[1].parameters())[0, 0] = torch.nan
    good, bad = train(clean), train(ill)
    assert bad[:, 1].isnan().all()
    assert torch.equal(good[:, ::2], bad[:, ::2])
    for k in (0, 2):
        assert_equal_models(clean.models[k], ill.models[k], 0.0)


@pytest.mark.parametrize("engine", ["eager", "vmap", "graph"])
def test_forbidden_classes_have_no_gradient(engine) -> None:
    trainer = Trainer(models(MODELS["cnn"]), OPTIMISERS["sgd"], SEEDS, engine=engine)
    _, _, masks = batch(0)
    train(trainer, steps=1)
    for model, mask in zip(trainer.models, masks, strict=True):
        gradient = classifier(model).weight.grad
        assert (gradient[~mask] == 0).all()
        assert (gradient[mask] != 0).any(1).all()


def test_no_mask_allows_every_class() -> None:
    logits, labels = torch.randn(5, CLASSES, dtype=torch.float64), torch.arange(5)
    expected = -(logits.exp() / logits.exp().sum(1, keepdim=True)).log()[torch.arange(5), labels].mean()
    assert float(masked_cross_entropy(logits, labels, None)) == pytest.approx(float(expected))
    everything = torch.ones(CLASSES, dtype=torch.bool)
    assert float(masked_cross_entropy(logits, labels, everything)) == pytest.approx(float(expected))


@pytest.mark.parametrize("name", MODELS)
def test_head_is_zeroed_and_nothing_else(name: str) -> None:
    trainer = Trainer(models(MODELS[name]), OPTIMISERS["adam"], SEEDS)
    before = [{n: p.detach().clone() for n, p in model.named_parameters()} for model in trainer.models]
    trainer.reset_head()
    for model, old in zip(trainer.models, before, strict=True):
        changed = {n for n, p in model.named_parameters() if not torch.equal(p, old[n])}
        head = {n for n, p in model.named_parameters() if len(p) == CLASSES}
        assert changed == head
        assert len(head) == 2
        assert all((model.get_parameter(n) == 0).all() for n in head)
    train(trainer, steps=1)


@pytest.mark.usefixtures("busy_companions")
@pytest.mark.parametrize("optimiser", ["adam", "l2_init", "cbp", "redo", "noisy_sgd"])
def test_a_fresh_network_trains_as_a_new_one(optimiser: str) -> None:
    options = ModelOptions("mlp", "batch", scale=16)
    trainer = Trainer(models(options), OPTIMISERS[optimiser], SEEDS)
    train(trainer, steps=3)
    neighbour = trainer.state(0)
    trainer.reinitialise(1, build(options, IMAGE, CLASSES, 77).double())
    np.testing.assert_array_equal(neighbour["model/values"], trainer.state(0)["model/values"])
    train(trainer, 3, 4)
    new = Trainer([build(options, IMAGE, CLASSES, 77).double()], OPTIMISERS[optimiser], SEEDS[1:2])
    if optimiser == "noisy_sgd":  # its generator goes on, so a second fresh network gets other noise
        train(new, 3, 4)
        assert not torch.equal(classifier(new.models[0]).weight, classifier(trainer.models[1]).weight)
        return
    if optimiser == "cbp":  # likewise; it draws for replaced units alone
        used = trainer.state(1)["optimiser/companion/generator"]
        assert not np.array_equal(used, new.state(0)["optimiser/companion/generator"])
        return
    if optimiser == "redo":
        return
    train(new, 3, 4)
    assert_equal_models(trainer.models[1], new.models[0], 0.0)


@pytest.mark.parametrize("normalisation", ["none", "batch", "layer"])
@pytest.mark.parametrize("name", MODELS)
def test_bf16_is_close(name: str, normalisation) -> None:
    base = MODELS[name]
    options = ModelOptions(name, normalisation, scale=base.scale, patch=base.patch)
    bf16 = replace(OPTIMISERS["sgd"], precision="bf16")
    exact, *coarsened = (
        train(
            Trainer(models(options, dtype=torch.float32), optimiser, SEEDS, engine=engine),
            steps=2, dtype=torch.float32,
        )
        for optimiser, engine in ((OPTIMISERS["sgd"], "auto"), (bf16, "eager"), (bf16, "vmap"), (bf16, "graph"))
    )  # fmt: skip
    for coarse in coarsened:
        assert coarse.dtype == torch.float32
        torch.testing.assert_close(coarse[0], exact[0], rtol=0.1, atol=0.05)
        assert not torch.equal(coarse, exact)


def test_compiled_is_the_same() -> None:
    """Traced and differentiated ahead of time as for the GPU; only the generation of machine code is left out."""
    plain, compiled = (
        Trainer(models(MODELS["mlp"]), OPTIMISERS["adam"], SEEDS, engine="graph", backend=backend)
        for backend in (None, "aot_eager")
    )
    torch.testing.assert_close(train(plain, steps=2), train(compiled, steps=2), rtol=TOLERANCE, atol=TOLERANCE)
    assert_equal_models(plain.models[1], compiled.models[1], TOLERANCE)


def test_what_cannot_be_combined_is_refused() -> None:
    for options in (ModelOptions("resnet18"), ModelOptions("vit")):
        for repair in ("cbp", "redo"):
            with pytest.raises(InvalidInput, match="plain stack"):
                check_optimiser(OptimiserOptions(repair=repair), options)
        check_optimiser(OptimiserOptions(repair="l2_init"), options)
    wet = ModelOptions("mlp", dropout=0.1, scale=16)
    for engine, options, optimiser, why in (
        ("vmap", wet, "sgd", "no dropout"),
        ("graph", MODELS["mlp"], "cbp", "decides on the host"),
        ("vmap", MODELS["mlp"], "redo", "decides on the host"),
        ("graph", replace(MODELS["vit"], dropout=0.1), "adam", "inside attention"),
        ("graph", MODELS["mlp"], "noisy l2", "the pull"),
    ):
        choice = Trainer(models(options), OPTIMISERS[optimiser], SEEDS, engine=engine).choice
        assert choice.name == "eager"
        assert choice.because.startswith(f"not {engine}: ")
        assert why in choice.because


def test_the_oracle_notices_a_planted_error(monkeypatch) -> None:
    """A gradient 0.1 % too large in one seed, or a neighbour's mask, fails the comparison."""
    from empirical.training.stack import Stack

    keep = Stack.keep
    monkeypatch.setattr(Stack, "keep", lambda s, g, k=None: keep(s, [x * (1.001 if k == 1 else 1) for x in g], k))
    with pytest.raises(AssertionError):
        assert_as_plain(MODELS["mlp"], OPTIMISERS["sgd"])
    monkeypatch.setattr(Stack, "keep", keep)
    assert_as_plain(MODELS["mlp"], OPTIMISERS["sgd"])


def test_feed_gathers_each_models_own_samples() -> None:
    samples = [(torch.arange(n * 2.0).reshape(n, 2) + 100 * k, torch.arange(n) + 100 * k) for k, n in enumerate((5, 3))]
    numbers = np.array([[[4, 0, 1], [2, 2, 0]], [[1, 1, 3], [0, 1, 2]]])
    for step, (inputs, labels) in enumerate(Feed(samples).batches(numbers)):
        for k, (own_inputs, own_labels) in enumerate(samples):
            assert torch.equal(inputs[k], own_inputs[numbers[step, k]])
            assert torch.equal(labels[k], own_labels[numbers[step, k]])
    alone = list(Feed(samples[1:]).batches(numbers[:, 1:]))
    assert torch.equal(alone[0][0][0], samples[1][0][numbers[0, 1]])


def test_gpu_benchmark_runs_on_the_cpu_at_tiny_size(capsys) -> None:
    """Its one difference is the device; the GPU's own run is made by hand."""
    setup = gpu.Setup(
        device="cpu", scale=64, side=16, batch=2, warm_up=1, steps=1, peak_size=32, shorter=250, per_class=5,
        models=("mlp", "vit"), precisions=("fp32", "bf16"),
    )  # fmt: skip
    rows = gpu.report(setup)
    assert [(row.model, row.precision) for row in rows] == [(m, d) for m in ("mlp", "vit") for d in ("fp32", "bf16")]
    assert all(row.rate > 0 and set(row.together) == {"eager", "vmap", "graph"} for row in rows)
    assert all(row.counted > row.taken == 0 for row in rows)
    shown = capsys.readouterr().out.splitlines()
    assert sum("GPU-hours" in line for line in shown) == 2
    wholes = [line.split() for line in shown[-2:]]
    assert [(row[0], row[1], row[-1]) for row in wholes] == [("mlp", "2", "eager"), ("vit", "1", "eager")]
    for row in wholes:
        everything, *parts = map(float, row[3:7])
        assert 0 < sum(parts) <= everything + 0.05
    layers = [768, *[2] * 5, 200]  # two operations a weight: forward and weight gradient, and but for the first, input
    weights = [a * b for a, b in pairwise(layers)]
    assert rows[0].flop == len(gpu.SEEDS) * 2 * 2 * (3 * sum(weights) - weights[0])


@pytest.mark.skipif(torch.cuda.is_available(), reason="is for machines without a GPU")
def test_gpu_benchmark_says_that_there_is_no_gpu() -> None:
    with pytest.raises(InvalidInput, match="with a GPU"):
        gpu.main()
