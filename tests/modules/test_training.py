"""Every model × normalisation × activation × factor × optimiser: a clone trained for 50 steps is still a clone."""

import copy
import os
from functools import lru_cache
from itertools import product

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.metrics import cloning_r2, flatten_units  # noqa: E402
from lop_theory.modules import certify, expand  # noqa: E402
from lop_theory.modules.growth import profile_of_clone  # noqa: E402
from lop_theory.modules.numeric import signals  # noqa: E402
from lop_theory.modules.zoo import Options, ViT, cnn, mlp, resnet18  # noqa: E402
from lop_theory.optim import NoisySGD  # noqa: E402
from lop_theory.verdict import Fails  # noqa: E402
from tests.modules.nets import restored  # noqa: E402

IMAGE = (2, 8, 8)
STEPS = 50
# With it the full cross of eight activations and both factors, else two of them in turn.
HEAVY = os.environ.get("LOP_HEAVY_TESTS") == "1"

OPTIMISERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.05),
    "momentum": lambda p: torch.optim.SGD(p, 0.02, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, 1e-3),
    "AdamW": lambda p: torch.optim.AdamW(p, 1e-3, weight_decay=0.1),
}
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}
if HEAVY:
    ACTIVATIONS |= {
        "tanh": nn.Tanh,
        "silu": nn.SiLU,
        "elu": nn.ELU,
        "leaky": nn.LeakyReLU,
        "prelu": nn.PReLU,
        "mish": nn.Mish,
    }
MODELS = {
    "mlp": lambda options: mlp(128, 4, hidden=(4, 4), options=options),
    "cnn": lambda options: cnn(IMAGE, 4, channels=(3, 4), fully_connected=5, options=options),
    "resnet": lambda options: resnet18(IMAGE, 4, base=2, blocks=(1, 1), options=options),
    "vit": lambda options: ViT(IMAGE, 4, patch=4, width=4, depth=1, heads=2, ratio=2, options=options),
}


NORMALISATIONS = "none", "batch", "layer"
PAIRS = list(product(MODELS, NORMALISATIONS))
EVERY = [(*pair, name, k) for pair in PAIRS for name in ACTIVATIONS for k in (2, 3)]
IN_TURN = {pair: (("relu", 2), ("gelu", 3))[place % 2] for place, pair in enumerate(PAIRS)}
CELLS = EVERY if HEAVY else [(*pair, *chosen) for pair, chosen in IN_TURN.items()]


def batches(count=STEPS, size=6):
    generator = torch.Generator().manual_seed(3)
    for _ in range(count):
        x = torch.randn(size, *IMAGE, generator=generator, dtype=torch.float64)
        yield x, torch.randint(0, 4, (size,), generator=generator)


@lru_cache
def base_of(name, normalisation, activation):
    """Shared by those who leave it as it is: it is traced once."""
    torch.manual_seed(0)
    return MODELS[name](Options(normalisation, ACTIVATIONS[activation])).double()


@lru_cache
def clone_of(name, normalisation, activation, factor):
    """Put back by those who train it."""
    return expand(base_of(name, normalisation, activation), factor, example_input=next(batches())[0])


def train(model, optimiser, count=STEPS):
    for x, y in batches(count):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()


@pytest.mark.claim("composition")
@pytest.mark.parametrize(("name", "normalisation", "activation", "factor"), CELLS)
def test_certificate_survives_training(name, normalisation, activation, factor):
    base, clone = base_of(name, normalisation, activation), clone_of(name, normalisation, activation, factor)
    x, _ = next(batches())
    assert certify(clone, base=base, example_input=x)
    start = copy.deepcopy(clone.state_dict())
    for optimiser in OPTIMISERS.values():
        with restored(clone):
            train(clone, optimiser(clone.parameters()))
            assert any(not torch.equal(p, start[name]) for name, p in clone.named_parameters())
            verdict = certify(clone, example_input=x)
            assert verdict, verdict


@pytest.mark.claim("composition")
@pytest.mark.parametrize("name", MODELS)
def test_redistributed_clones_survive_every_optimiser_without_coupled_decay(name):
    x, _ = next(batches())
    clone = expand(base_of(name, "layer", IN_TURN[name, "layer"][0]), 3, example_input=x, redistribute=5)
    for optimiser in OPTIMISERS.values():
        with restored(clone):
            train(clone, optimiser(clone.parameters()), 3)  # the manifold is unstable: rounding grows tenfold a step
            assert certify(clone, example_input=x)


@pytest.mark.claim("composition")
def test_coupled_decay_under_adam_breaks_redistributed_clones_but_not_copies():
    """theory.md §6: Adam with coupled L2 is not linear in w, so blocks of weights that differ drift apart."""
    base = base_of("mlp", "none", "gelu")
    x, _ = next(batches())
    for seed, survives in ((None, True), (5, False)):
        clone = expand(base, 3, example_input=x, redistribute=seed)
        train(clone, torch.optim.Adam(clone.parameters(), 1e-3, weight_decay=0.1))
        assert bool(certify(clone, example_input=x)) == survives


@pytest.mark.claim("module-certificate")
@pytest.mark.parametrize("name", MODELS)
def test_noise_breaks_the_certificate_with_a_witness(name):
    clone, (x, _) = clone_of(name, "layer", *IN_TURN[name, "layer"]), next(batches())
    with restored(clone):
        train(clone, NoisySGD(clone.parameters(), 0.01, sigma=0.01), 3)
        verdict = certify(clone, example_input=x)
    assert isinstance(verdict, Fails)
    assert verdict.witness.module in dict(clone.named_modules())
    assert len(verdict.witness.units) == 2


@pytest.mark.claim("coverage")
@pytest.mark.parametrize("name", MODELS)
def test_dropout_is_the_identity_in_evaluation_and_breaks_the_certificate_in_training(name):
    base = MODELS[name](Options("layer", nn.ReLU, dropout=0.2)).double()
    x, _ = next(batches())
    clone = expand(base, 2, example_input=x)
    assert certify(clone.eval(), base=base.eval(), example_input=x)
    verdict = certify(clone.train(), example_input=x)
    assert isinstance(verdict, Fails)
    assert "dropout" in verdict.witness.reason
    train(clone, torch.optim.SGD(clone.parameters(), 0.05), 3)
    assert isinstance(certify(clone.eval(), example_input=x), Fails)  # the weights have left the manifold as well


@pytest.mark.claim("base-network")
@pytest.mark.parametrize("name", MODELS)
def test_every_layer_forward_and_backward(name):
    """The paper's test_activation_cloning, layer by layer: h = h̃, R² = 1 exactly up to rounding, and |S| δ = δ̃."""
    base, (x, _) = base_of(name, "layer", IN_TURN[name, "layer"][0]), next(batches())
    clone = expand(base, 3, example_input=x, traced=True)
    others = (clone, expand(base, 1, example_input=x, traced=True))
    wide, narrow = (signals(m.program, m.state(), [x], seed=0) for m in others)
    checked = 0
    for node, maps in profile_of_clone(clone).values.items():
        if node not in wide.adjoints or any(node == n for n in clone.program.state) or wide.values[node].dim() < 2:
            continue
        cloned = [d for d, index in enumerate(maps) if len(index) > index.max() + 1]
        if len(cloned) != 1 or wide.values[node].shape[0] != len(x):
            continue
        dim, blocks = cloned[0], torch.as_tensor(maps[cloned[0]])
        h, delta = wide.values[node].detach(), wide.adjoints[node]
        torch.testing.assert_close(h, narrow.values[node].detach().index_select(dim, blocks), rtol=1e-11, atol=1e-12)
        summed = torch.zeros_like(narrow.adjoints[node]).index_add_(dim, blocks, delta)
        torch.testing.assert_close(summed, narrow.adjoints[node], rtol=1e-9, atol=1e-12)
        assert cloning_r2(flatten_units(h, dim), blocks) == pytest.approx(1, abs=1e-14)
        checked += 1
    assert checked >= 5
