"""A clone with matched step sizes is its base at every step: every model, SGD with momentum, Adam and AdamW."""

import copy
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules import expand, rates  # noqa: E402
from lop_theory.modules.growth import profile_of_clone  # noqa: E402
from lop_theory.modules.rates import Match, _copies, matched_groups, matched_rates, matches  # noqa: E402
from lop_theory.modules.zoo import Options, ViT, cnn, mlp, resnet18  # noqa: E402
from tests.modules.nets import restored  # noqa: E402

IMAGE = (2, 8, 8)
MODELS = {
    "mlp": lambda options: mlp(128, 4, hidden=(4, 5), options=options),
    "cnn": lambda options: cnn(IMAGE, 4, channels=(3, 4), fully_connected=5, options=options),
    "resnet": lambda options: resnet18(IMAGE, 4, base=2, blocks=(1, 1), options=options),
    "vit": lambda options: ViT(IMAGE, 4, patch=4, width=4, depth=1, heads=2, ratio=2, options=options),
}
OPTIMISERS = {
    "momentum": (lambda g, decay: torch.optim.SGD(g, 0.02, momentum=0.9, nesterov=True, weight_decay=decay), "sgd"),
    "adamw": (lambda g, decay: torch.optim.AdamW(g, 1e-2, weight_decay=decay, eps=1e-3), "adam"),
}


def batches(count):
    generator = torch.Generator().manual_seed(3)
    for _ in range(count):
        x = torch.randn(6, *IMAGE, generator=generator, dtype=torch.float64)
        yield x, torch.randint(0, 4, (6,), generator=generator)


def train(model, optimiser, count=8, rates=None):
    for x, y in batches(count):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        for name, p in model.named_parameters() if rates else ():
            p.grad *= rates[name]
        optimiser.step()


@lru_cache
def pair(name, normalisation):
    """A base and its clone; copied by those who train them."""
    torch.manual_seed(0)
    base = MODELS[name](Options(normalisation, nn.Tanh)).double()
    return base, expand(base, 3, example_input=next(batches(1))[0])


def difference(base, clone):
    x, _ = next(batches(1))
    return float((base(x) - clone(x)).abs().max().detach())


@pytest.mark.claim("clone-rates")
@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize(
    ("name", "normalisation"), [("mlp", "none"), ("cnn", "batch"), ("resnet", "batch"), ("vit", "layer")]
)
def test_the_clone_follows_its_base(name, optimiser, normalisation):
    start, _ = pair(name, normalisation)
    base, clone, plain = (copy.deepcopy(model) for model in (*pair(name, normalisation), pair(name, normalisation)[1]))
    make, kind = OPTIMISERS[optimiser]
    rate = {"sgd": 0.02, "adam": 1e-2}[kind]
    train(base, make(base.parameters(), 0.1))
    train(clone, make(matched_groups(clone, rate, kind, decay=0.1, epsilon=1e-3), 0.1))
    train(plain, make(plain.parameters(), 0.1))
    assert difference(base, start) > 1e-3
    assert difference(base, clone) < 1e-10
    assert difference(base, plain) > 1e-5  # one step size for all: another trajectory


@lru_cache
def without_normalisation():
    """Put back by those who train it, so that its traces are kept."""
    torch.manual_seed(0)
    return MODELS["vit"](Options("none", nn.GELU)).double()


@pytest.mark.claim("clone-rates")
@pytest.mark.parametrize("attention", ["heads", "width"])
def test_gradients_times_rates_where_a_parameter_needs_several(attention):
    """Unequal multiplicities, and queries that carry the folded scale of the attention logits."""
    factor = {"*": 2, "blocks.0.mlp.0": (1, 3, 2, 1, 4, 1, 1, 2)}
    with restored(without_normalisation()) as base:
        clone = expand(base, factor, example_input=next(batches(1))[0], attention=attention)
        rates = matched_rates(clone)
        with pytest.raises(InvalidInput, match="several step sizes"):
            matched_groups(clone, 0.1)
        train(base, torch.optim.SGD(base.parameters(), 0.02, momentum=0.9))
        train(clone, torch.optim.SGD(clone.parameters(), 0.02, momentum=0.9), rates=rates)
        assert difference(base, clone) < 1e-10


@pytest.mark.claim("clone-rates")
def test_redistributed_weights_follow_too():
    base = MODELS["mlp"](Options("none", nn.Tanh)).double()
    clone = expand(base, 3, example_input=next(batches(1))[0], redistribute=5)
    train(base, torch.optim.SGD(base.parameters(), 0.02))
    train(clone, torch.optim.SGD(matched_groups(clone, 0.02), 0.02))
    assert difference(base, clone) < 1e-10


@pytest.mark.claim("clone-rates")
def test_rates_of_dense_layers_are_target_over_source_multiplicity():
    base = MODELS["mlp"](Options("none", nn.Tanh))
    clone = expand(base, {"1": 2, "5": 3}, example_input=torch.zeros(2, *IMAGE))
    rates = {name: float(rate) for name, rate in matched_rates(clone).items()}
    assert rates == pytest.approx(
        {"1.weight": 2, "1.bias": 2, "5.weight": 3 / 2, "5.bias": 3, "9.weight": 1 / 3, "9.bias": 1}
    )


def test_factors_are_what_widening_did():
    """s·w, duplicated, is the clone's parameter: the definition, element by element."""
    base, _ = pair("vit", "layer")
    clone = expand(base, 2, example_input=next(batches(1))[0], attention="width")
    own = dict(base.named_parameters())
    for name, match in matches(clone).items():
        tensor = own[name]
        for dim, index in enumerate(profile_of_clone(clone).state[name]):
            tensor = tensor.index_select(dim, torch.as_tensor(index))
        torch.testing.assert_close(tensor * match.factor, clone.get_parameter(name), rtol=1e-14, atol=0)


def test_an_unknown_kind_is_refused():
    clone = expand(MODELS["mlp"](Options("none")), 2, example_input=torch.zeros(2, *IMAGE))
    with pytest.raises(InvalidInput, match="kind"):
        matched_groups(clone, 0.1, "rprop")


def given(monkeypatch, **matched):
    monkeypatch.setattr(rates, "matches", lambda _: matched)
    return SimpleNamespace(named_parameters=lambda: [(name, f"p {name}") for name in matched])


def test_groups_are_the_formula(monkeypatch):
    """N = 6 copies of w/3: N s = 2, N s² = 2/3."""
    two = Match(torch.tensor(6.0).double(), torch.tensor(1 / 3).double())
    clone = given(monkeypatch, w=two, b=Match(torch.full((3,), 2.0).double(), torch.ones(()).double()))
    first, second = matched_groups(clone, 0.5, decay=0.1)
    assert first == {"params": ["p w"], "lr": pytest.approx(1 / 3), "weight_decay": pytest.approx(0.15)}
    assert second == {"params": ["p b"], "lr": 1.0, "weight_decay": 0.05}
    first, second = matched_groups(clone, 0.5, "adam", decay=0.1, epsilon=1e-3)
    adam = {"lr": pytest.approx(0.5 / 3), "weight_decay": pytest.approx(0.3), "eps": pytest.approx(5e-4)}
    assert first == {"params": ["p w"], **adam}
    assert second == {"params": ["p b"], "lr": 0.5, "weight_decay": 0.1, "eps": 5e-4}
    assert matched_groups(clone, 0.5, "adam")[1]["eps"] == 5e-9
    assert matched_groups(clone, 0.5)[1]["weight_decay"] == 0.0


@pytest.mark.parametrize(
    ("copies", "factor"), [([1.0, 2.0], [1.0, 1.0]), ([4.0, 1.0], [0.5, 1.0]), ([2.0, 1.0], [0.5, 1.0])]
)
def test_what_is_not_one_number_needs_several_step_sizes(monkeypatch, copies, factor):
    """N s², s and N s: each alone may be one number."""
    clone = given(monkeypatch, w=Match(torch.tensor(copies), torch.tensor(factor)))
    for kind in ("sgd", "adam"):
        with pytest.raises(InvalidInput, match=r"^clone='w': needs several step sizes"):
            matched_groups(clone, 0.1, kind)


def test_copies_are_those_of_all_axes():
    assert _copies(()).item() == 1.0
    assert _copies((np.array([0, 0, 1, 1]), np.array([0, 0, 0]))).item() == 6.0
    assert _copies((np.array([0, 1, 1]), np.array([0, 0]))).tolist() == [[2.0], [4.0], [4.0]]
    assert _copies((np.array([0, 0]), np.array([0, 1, 1]))).tolist() == [[2.0, 4.0, 4.0]]
    assert _copies((np.array([0, 1, 1]), np.array([0, 0, 1]))).tolist() == [
        [2.0, 2.0, 1.0],
        [4.0, 4.0, 2.0],
        [4.0, 4.0, 2.0],
    ]
