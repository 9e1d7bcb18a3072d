"""How far a replacement moves the outputs, against replacements carried out."""

import copy

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import ContinualBackprop, ReDo  # noqa: E402
from lop_theory.optim.continual_backprop import Settings  # noqa: E402
from lop_theory.optim.movement import movements  # noqa: E402
from tests.optim.nets import still  # noqa: E402

torch.set_num_threads(1)


def seen(model, x, passes=1):
    """Continual backprop that has seen the inputs, and replaced nothing."""
    method = ContinualBackprop(still(model), model, example_input=x, settings=Settings(rate=0.0))
    for _ in range(passes):
        model(x)
        method.step()
    return method


def test_the_movement_is_that_of_a_replacement():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 4)).double()
    x = torch.randn(64, 8, dtype=torch.float64)
    method = seen(model, x)
    before, state = model(x).detach(), copy.deepcopy(model.state_dict())
    (found,) = movements(method, model, x, units=3)
    expected = []
    for unit in range(3):
        other = copy.deepcopy(model)
        h = torch.relu(model[0](x))[:, unit].detach()
        with torch.no_grad():
            other[2].bias += other[2].weight[:, unit] * h.mean()
            other[2].weight[:, unit] = 0
        change = (other(x) - before).detach()
        expected.append(float(change.square().mean().sqrt() / before.square().mean().sqrt()))
    assert found.single == pytest.approx(max(expected), rel=1e-9)
    assert found.mean < 1e-12
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


class Shapes(nn.Module):
    def forward(self, x):
        return x.shape[0]


def test_the_movement_says_where_the_mean_is_not_taken_over():
    torch.manual_seed(0)
    x = torch.randn(64, 8, dtype=torch.float64)
    coupled = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 4)).double()
    silent = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4, bias=False)).double()
    whole = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).double()
    moved = [movements(seen(model, x), model, x)[0].mean for model in (coupled, silent, whole)]
    assert moved[0] > 1e-3
    assert moved[1] > 1e-3
    assert moved[2] < 1e-12
    dormant = ReDo(still(whole), whole, example_input=x)
    assert movements(dormant, whole, x)[0].mean > 1e-3  # ReDo takes nothing over
    assert "single outputs" in dormant.describe(whole, x)
    assert whole.training
    with pytest.raises(InvalidInput, match="floating-point"):
        movements(dormant, Shapes(), x)


class Two(nn.Module):
    """Two results of a mapping, and a number."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b, self.c = nn.Linear(8, 9), nn.BatchNorm1d(9), nn.Linear(9, 2), nn.Linear(9, 3)

    def forward(self, x, shift):
        h = torch.relu(self.norm(self.a(x)))
        return {"one": self.b(h), "other": self.c(h) + shift, "number": x.shape[1], "scalar": x.sum()}


@pytest.mark.parametrize("form", ["tuple", "mapping"])
def test_the_movement_is_the_largest_over_units_evenly_spread_and_all_outputs(form):
    torch.manual_seed(0)
    model, x = Two().double(), torch.randn(32, 8, dtype=torch.float64)
    with torch.no_grad():
        model.b.weight *= torch.linspace(0, 3, 9) ** 4  # the last unit matters most, units 7, 6, … are not tried
        model.norm.running_mean.normal_()
    shift = torch.zeros(32, 1, dtype=torch.float64)
    given = (x, shift) if form == "tuple" else {"x": x, "shift": shift}
    method = ReDo(still(model), model, example_input=given)
    state = copy.deepcopy(model.state_dict())
    expected = []
    for unit in (0, 3, 5, 8):
        other = copy.deepcopy(model).eval()
        before = torch.cat([other(x, shift)[name] for name in ("one", "other")], 1).detach()
        with torch.no_grad():
            other.b.weight[:, unit] = other.c.weight[:, unit] = 0
            after = torch.cat([other(x, shift)[name] for name in ("one", "other")], 1)
        size, change = before.square().mean().sqrt(), after - before
        expected.append(
            (float(change.mean(0).square().mean().sqrt() / size), float(change.square().mean().sqrt() / size))
        )
    (found,) = movements(method, model, given)
    assert found == pytest.approx(tuple(max(column) for column in zip(*expected, strict=True)), rel=1e-9)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert f"single outputs {found.single:.1%}" in method.describe(model, given)
