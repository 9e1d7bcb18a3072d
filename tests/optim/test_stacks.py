"""Hidden layers of sequential stacks, and whose weights read which unit."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim.stacks import unit_layers  # noqa: E402


def test_layers_with_their_normalisation_activation_and_reader():
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout2d(), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 1),
        nn.Identity(), nn.Tanh(), nn.Flatten(),
        nn.Sequential(nn.Linear(16, 5), nn.LayerNorm(5), nn.Dropout(), nn.GELU(), nn.Linear(5, 6)), nn.Linear(6, 1),
    )  # fmt: skip
    first, second, third, last = unit_layers(model)
    assert [layer.name for layer in (first, second, third, last)] == ["0", "5", "9.0", "9.4"]
    assert [layer.units for layer in (first, second, third, last)] == [3, 4, 5, 6]
    assert [layer.span for layer in (first, second, third, last)] == [1, 4, 1, 1]
    assert (first.normalisation, first.observed, first.outgoing) == (model[1], model[3], model[5])
    assert (second.normalisation, second.observed, second.outgoing) == (None, model[7], model[9][0])
    assert (third.normalisation, third.observed, third.outgoing) == (model[9][1], model[9][3], model[9][4])
    assert (last.incoming, last.observed, last.outgoing) == (model[9][4], model[9][4], model[10])
    assert all(layer.incoming is model.get_submodule(layer.name) for layer in (first, second, third, last))


@pytest.mark.parametrize("pooling", [nn.AvgPool2d(2), nn.MaxPool2d(2), nn.Identity(), nn.Dropout(), nn.GroupNorm(1, 3)])
def test_what_only_passes_units_on_is_no_activation(pooling):
    (layer,) = unit_layers(nn.Sequential(nn.Conv2d(2, 3, 3), pooling, nn.ELU(), nn.Conv2d(3, 1, 1)))
    assert isinstance(layer.observed, nn.ELU)
    assert layer.normalisation is (pooling if isinstance(pooling, nn.GroupNorm) else None)


def test_a_unit_owns_the_inputs_that_move_with_it():
    model = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten(), nn.Linear(12, 2)).double()
    (layer,) = unit_layers(model)
    weights = layer.outgoing_weights()
    assert weights.shape == (2, 3, 4)
    x = torch.randn(1, 1, 3, 3, dtype=torch.float64)
    before = model(x)
    with torch.no_grad():
        model[0].bias[1] += 0.5
    assert (model(x) - before).allclose(0.5 * weights[:, 1].sum(1))


def test_what_has_no_outgoing_weights_by_unit_is_refused():
    with pytest.raises(InvalidInput, match="grouped"):
        unit_layers(nn.Sequential(nn.Conv1d(2, 4, 1), nn.ReLU(), nn.Conv1d(4, 4, 1, groups=2)))
    with pytest.raises(InvalidInput, match="grouped"):
        unit_layers(nn.Sequential(nn.Conv1d(4, 4, 1, groups=2), nn.ReLU(), nn.Conv1d(4, 4, 1)))
    with pytest.raises(InvalidInput, match="are not the inputs of the next layer"):
        unit_layers(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(6, 2)))
    assert unit_layers(nn.Sequential(nn.Linear(3, 4))) == []
