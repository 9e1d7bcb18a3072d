"""What is no number, NaN, a text or out of range is refused in one line that names the setting; so is another model's
optimiser."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import (  # noqa: E402
    CCBP,
    SNR,
    UPGD,
    AdamGnT,
    ContinualBackprop,
    L2Init,
    NoisySGD,
    ReDo,
    ReGraMa,
    SmoothLeakyReLU,
    dash,
    find_units,
    parseval,
    shrink_and_perturb,
    spectral,
)
from lop_theory.optim.continual_backprop import Settings  # noqa: E402
from lop_theory.optim.partial_resets import Softness  # noqa: E402
from lop_theory.optim.ranges import require_between, require_count  # noqa: E402
from lop_theory.optim.snr import Silence  # noqa: E402

NAN = float("nan")
X = torch.linspace(-1, 1, 12).view(2, 6)


def network():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))


UNITS = find_units(network(), X)


def around(kind, **options):
    model = network()
    return kind(torch.optim.SGD(model.parameters(), 0.1), model, example_input=UNITS, **options)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("tau", lambda: around(ReDo, tau=NAN)),
        ("tau", lambda: around(ReDo, tau="a")),
        ("period", lambda: around(ReDo, period=2.5)),
        ("seed", lambda: around(ReDo, seed="x")),
        ("expansion", lambda: around(SNR, silence=Silence(expansion=0.5))),
        ("percentile", lambda: around(SNR, silence=Silence(percentile=NAN))),
        ("update", lambda: around(SNR, silence=Silence(update=2.5))),
        ("threshold", lambda: around(SNR, silence=Silence(threshold=30, longest=20))),
        ("sharpness", lambda: around(CCBP, softness=Softness(sharpness=NAN))),
        ("period", lambda: around(CCBP, period=0)),
        ("rate", lambda: around(ContinualBackprop, settings=Settings(rate=NAN))),
        ("maturity", lambda: around(ContinualBackprop, settings=Settings(maturity=-1))),
        ("strength", lambda: L2Init(torch.optim.SGD(network().parameters(), 0.1), strength=NAN)),
        ("sigma", lambda: NoisySGD(network().parameters(), lr=0.1, sigma=NAN)),
        ("lr", lambda: UPGD(network().parameters(), lr=NAN)),
        ("lr", lambda: UPGD(network().parameters(), lr=float("inf"))),
        ("weights", lambda: parseval([torch.ones(3)])),
        ("weights", lambda: parseval([])),
        ("power", lambda: spectral([torch.eye(2)], power=0)),
    ],
)
def test_bad_settings_are_refused_by_name(name, make):
    with pytest.raises(InvalidInput) as refused:
        make()
    assert refused.value.parameter == name
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "ends", "fits"),
    [(0, "[]", True), (0, "(]", False), (1, "[]", True), (1, "[)", False), (0.5, "()", True), (True, "[]", False)],
)
def test_ends_belong_to_an_interval_by_its_brackets(value, ends, fits):
    if fits:
        require_between("x", value, 0, 1, ends=ends)
        require_between("x", torch.tensor(float(value)), 0, 1, ends=ends)
    else:
        with pytest.raises(InvalidInput):
            require_between("x", value, 0, 1, ends=ends)


def test_counts_are_whole_numbers():
    require_count("n", 3, 3)
    for bad in (2, 3.0, True, "3", None):
        with pytest.raises(InvalidInput, match="whole number from 3"):
            require_count("n", bad, 3)


def test_the_optimiser_of_another_model_is_refused():
    model = network()
    with pytest.raises(InvalidInput, match="weights of the model's units"):
        ReDo(torch.optim.SGD(network().parameters(), 0.1), model, example_input=UNITS)
    deep = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 2))
    ReDo(torch.optim.SGD(deep[0].parameters(), 0.1), deep, example_input=X)  # one that holds a part is not


def dashed(**options):
    dash(network(), [(X, torch.zeros(2, 2))], nn.functional.mse_loss, **options)


LIMITS = [  # what is made, the setting, values that are taken, values that are refused
    (lambda **o: around(CCBP, softness=Softness(**o)), "rate", (0, 1), (-0.01, 1.01)),
    (lambda **o: around(CCBP, softness=Softness(**o)), "decay", (0, 0.999), (-0.01, 1, 1.5)),
    (lambda **o: around(CCBP, softness=Softness(**o)), "sharpness", (0, 1e3), (-0.01,)),
    (lambda **o: around(CCBP, softness=Softness(**o)), "threshold", (0, 5), (-0.01,)),
    (lambda **o: around(CCBP, **o), "period", (1,), (0,)),
    (lambda **o: around(CCBP, **o), "init", ("own", "lecun"), ("odd",)),
    (lambda **o: around(ReDo, **o), "tau", (0, 2), (-0.01,)),
    (lambda **o: around(ReDo, **o), "period", (1,), (0,)),
    (lambda **o: around(ReDo, **o), "init", ("xavier",), ("odd",)),
    (lambda **o: around(ReDo, **o), "seed", (0, 7), (-1,)),
    (lambda **o: around(ReGraMa, **o), "tau", (0, 2), (-0.01,)),
    (lambda **o: around(SNR, silence=Silence(**o)), "percentile", (0.01, 0.99), (0, 1, -0.5, 1.5)),
    (lambda **o: around(SNR, silence=Silence(**o)), "expansion", (1, 3), (0.99,)),
    (lambda **o: around(SNR, silence=Silence(**o)), "threshold", (1, 20_000), (0, 20_001)),
    (lambda **o: around(SNR, silence=Silence(**o)), "update", (1,), (0,)),
    (lambda **o: around(SNR, **o), "init", ("kaiming",), ("odd",)),
    (lambda **o: around(ContinualBackprop, settings=Settings(**o)), "rate", (0, 1), (-0.01, 1.01)),
    (lambda **o: around(ContinualBackprop, settings=Settings(**o)), "decay", (0, 0.999), (-0.01, 1)),
    (lambda **o: around(ContinualBackprop, settings=Settings(**o)), "maturity", (0, 5), (-1, 0.5)),
    (lambda **o: around(ContinualBackprop, settings=Settings(**o)), "seed", (0,), (-1,)),
    (lambda **o: NoisySGD(network().parameters(), **o), "lr", (0, 2), (-0.01,)),
    (lambda **o: NoisySGD(network().parameters(), **o), "sigma", (0, 2), (-0.01,)),
    (lambda **o: NoisySGD(network().parameters(), **o), "decay", (0, 1), (-0.01, 1.01)),
    (lambda **o: NoisySGD(network().parameters(), **o), "momentum", (0, 0.9), (-0.01,)),
    (lambda **o: NoisySGD(network().parameters(), momentum=0.5, **o), "dampening", (0, 0.9), (-0.01, 1)),
    (lambda **o: UPGD(network().parameters(), **o), "beta_utility", (0, 0.99), (-0.01, 1)),
    (lambda **o: UPGD(network().parameters(), **o), "weight_decay", (0, 2), (-0.01,)),
    (lambda **o: UPGD(network().parameters(), **o), "scope", ("global", "local"), ("odd",)),
    (lambda **o: AdamGnT(network().parameters(), **o), "lr", (0, 2), (-0.01,)),
    (lambda **o: AdamGnT(network().parameters(), **o), "betas", ((0.1, 0.5),), ((1, 0.5), (0.5, 1), (0, 0.5))),
    (lambda **o: L2Init(torch.optim.SGD(network().parameters(), 0.1), **o), "strength", (0, 2), (-0.01,)),
    (SmoothLeakyReLU, "alpha", (0, 0.99), (-0.01, 1)),
    (SmoothLeakyReLU, "beta", (0.01, 50), (0, -1)),
    (lambda **o: shrink_and_perturb(network(), **o), "shrink", (0, 1), (-0.01, 1.01)),
    (lambda **o: shrink_and_perturb(network(), **o), "perturb", (0, 2), (-0.01,)),
    (lambda **o: parseval([torch.eye(2)], **o), "scale", (0, 2), (-0.01,)),
    (lambda **o: spectral([torch.eye(2)], **o), "power", (1, 2), (0, 0.5)),
    (dashed, "alpha", (0.01, 1), (0, 1.01)),
    (dashed, "floor", (0, 1), (-0.01, 1.01)),
]  # fmt: skip


@pytest.mark.parametrize(("make", "name", "taken", "refused"), LIMITS)
def test_settings_at_their_limits(make, name, taken, refused):
    for value in taken:
        make(**{name: value})
    for value in refused:
        with pytest.raises(InvalidInput):
            make(**{name: value})


@pytest.mark.parametrize(
    ("low", "high", "ends", "said"),
    [
        (0, float("inf"), "[)", "must be a number, not negative"),
        (1, float("inf"), "[)", "must be a number from 1 on"),
        (0, float("inf"), "()", "must be a number above 0"), (0, 1, "[)", "must be a number in [0, 1)"),
        (0.5, 2, "(]", "must be a number in (0.5, 2]"),
    ],
)  # fmt: skip
def test_what_was_asked_for_is_said(low, high, ends, said):
    with pytest.raises(InvalidInput) as refused:
        require_between("x", -7, low, high, ends=ends)
    assert said in str(refused.value)
    with pytest.raises(InvalidInput):
        require_between("x", torch.ones(2), low, high, ends=ends)
