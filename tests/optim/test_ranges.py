"""What is no number, NaN, a text or out of range is refused in one line that names the setting; so is another model's
optimiser."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import CCBP, SNR, UPGD, ContinualBackprop, L2Init, NoisySGD, ReDo, find_units  # noqa: E402
from lop_theory.optim.continual_backprop import Settings  # noqa: E402
from lop_theory.optim.partial_resets import Softness  # noqa: E402
from lop_theory.optim.ranges import require_between, require_count  # noqa: E402
from lop_theory.optim.snr import Silence  # noqa: E402
from lop_theory.optim.spectrum import parseval, spectral  # noqa: E402

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
