"""From measurements to verdicts: what every sentence and number of a block rests on."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.metrics.watch import Layer as Seen  # noqa: E402
from lop_theory.modules import Criteria, detect  # noqa: E402
from lop_theory.modules.finder import near_blocks  # noqa: E402
from lop_theory.modules.gathered import Gathered  # noqa: E402
from lop_theory.modules.judge import _why_near  # noqa: E402
from lop_theory.modules.readers import opposition, outgoing  # noqa: E402
from tests.modules.planted import ROWS, kinds, layer, network, tanh_network  # noqa: E402

DATA = torch.randn(200, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def test_weights_that_read_a_layer_are_one_row_a_unit():
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {
            "dense": nn.Linear(3, 2),
            "flat": nn.Linear(6, 2),
            "map": nn.Conv2d(3, 4, 2),
            "other": nn.Linear(7, 2),
            "line": nn.LayerNorm(3),
        }
    )
    seen = [
        Seen("dense", "linear", "sum", -1, ("dense.weight", 0), 1, "h"),
        Seen("flat", "linear", "sum", -1, ("flat.weight", 0), 2, "h"),
        Seen("map", "conv2d", "sum", 1, ("map.weight", 0), 3, "h"),
        Seen("other", "linear", "sum", -1, ("other.weight", 0), 4, "h"),  # seven columns are not those of three units
        Seen("dense", "linear", "sum", -1, ("dense.weight", 0), 5, "g"),
        Seen("dense", "linear", "sum", -1, None, 6, "h"),
        Seen("line", "linear", "sum", -1, ("line.weight", 0), 8, "h"),  # of one output: no column for a unit
        Seen("act", "relu", "activation", -1, None, 7, "h"),
    ]
    found = outgoing(model, seen, "h", 3)
    assert [tuple(t.shape) for t in found] == [(3, 2), (3, 4), (3, 16)]
    assert all(t.dtype == torch.float64 for t in found)
    assert outgoing(model, seen[-2:], "h", 1) == []
    torch.testing.assert_close(found[0], model["dense"].weight.detach().double().T)
    flat = model["flat"].weight.detach().double()
    for unit in range(3):
        assert sorted(found[1][unit].tolist()) == sorted(flat[:, 2 * unit : 2 * unit + 2].flatten().tolist())
        kernel = model["map"].weight.detach().double()[:, unit]
        assert sorted(found[2][unit].tolist()) == sorted(kernel.flatten().tolist())


def test_the_cosine_of_outgoing_weights_and_their_size_over_the_median():
    first = torch.tensor([[3.0, 0.0], [-6.0, 0.0], [0.0, 1.0], [0.0, 2.0], [1.0, 1.0]]).double()
    second = torch.tensor([[4.0], [8.0], [0.0], [0.0], [1.0]]).double()
    assert opposition([], 0, 1) is None
    cosine, size = opposition([first, second], 0, 1)
    assert cosine == pytest.approx((-18 + 32) / (5 * 10))
    assert size == pytest.approx(10 / 2)
    assert opposition([first], 0, 1) == pytest.approx((-1.0, 6 / 2))
    assert opposition([torch.zeros(3, 2).double()], 0, 1) == (0.0, 0.0)


def test_what_is_said_of_near_units():
    assert _why_near(0.123456, None) == "0.12 of their spread apart"
    assert _why_near(0.5, (0.3, 9.0)) == "0.5 of their spread apart; outgoing weights of one sign (cosine 0.30)"
    assert _why_near(0.5, (-0.3, 9.0)) == "0.5 of their spread apart; outgoing weights opposite (cosine -0.30)"
    for sides, gated in (((-0.51, 3.1), True), ((-0.5, 3.1), False), ((-0.51, 3.0), False), ((-0.9, 100.0), True)):
        assert ("gated unit" in _why_near(0.5, sides)) == gated
    assert "3.1 × the median unit's" in _why_near(0.5, (-0.51, 3.1))
    assert "of one sign" in _why_near(0.5, (0.0, 1.0))


def near_network(noise=0.05):
    """Unit 3 of the relus is 1.5 times unit 1 and some noise."""
    model = network()
    with torch.no_grad():
        model[0].weight[3] = 1.5 * model[0].weight[1] + noise * torch.tensor([1.0, -1.0, 0.5, 0.0]).double()
        model[0].bias[3] = 1.5 * model[0].bias[1]
    return model


def test_near_units_have_least_squares_factors_and_what_they_leave():
    model = near_network()
    block = kinds(detect(model, DATA, criteria=Criteria(near=0.98)), "1")["near"]
    assert block.units == (1, 3)
    h = torch.relu(model[0](DATA)).detach()
    factor = float(h[:, 1] @ h[:, 3] / (h[:, 1] @ h[:, 1]))
    left = float((h[:, 3] - factor * h[:, 1]).square().mean().sqrt())
    assert block.factors == pytest.approx((1.0, factor), rel=1e-9)
    assert block.residuals == pytest.approx((0.0, left), rel=1e-6, abs=1e-9)
    apart = float((h[:, 3] - h[:, 1]).square().mean().sqrt() / (h[:, 1] - h[:, 1].mean()).square().mean().sqrt())
    assert 0.4 * apart < block.distance < 2.5 * apart  # from a sketch of sixteen numbers
    weights = model[2].weight.detach()
    cosine = float(weights[:, 1] @ weights[:, 3] / (weights[:, 1].norm() * weights[:, 3].norm()))
    assert block.outgoing[0] == pytest.approx(cosine)
    sizes = weights.norm(dim=0)
    assert block.outgoing[1] == pytest.approx(float(sizes[[1, 3]].max() / sizes.median()))


def test_a_near_block_is_as_wide_as_its_farthest_unit_is_from_the_first():
    """Over the spread of the first: of units 1, about 5½ and about 10 times as large."""
    found = []
    for factors in ({3: 5.5, 5: 10.0}, {5: 10.0}):
        model = network()
        with torch.no_grad():
            for unit, factor in factors.items():
                model[0].weight[unit] = factor * (
                    model[0].weight[1] + 0.02 * torch.tensor([1.0, -1.0, 0.5, unit / 5]).double()
                )
                model[0].bias[unit] = factor * model[0].bias[1]
        found.append(kinds(detect(model, DATA, criteria=Criteria(near=0.98)), "1")["near"])
    assert [block.units for block in found] == [(1, 3, 5), (1, 5)]
    h = torch.relu(model[0](DATA)).detach()
    apart = float((h[:, 5] - h[:, 1]).square().mean().sqrt() / (h[:, 1] - h[:, 1].mean()).square().mean().sqrt())
    assert apart > 8
    assert 0.4 * apart < found[1].distance < 2.5 * apart  # from a sketch of sixteen numbers
    assert found[0].distance == pytest.approx(found[1].distance, rel=1e-9)


@pytest.mark.parametrize("noise", [0.05, 1e-9])
def test_the_distance_from_the_manifold_is_that_of_the_data(noise):
    """‖H − block means‖/‖H‖ over near blocks."""
    model = near_network(noise)
    with torch.no_grad():
        model[0].weight[3] -= 0.5 * model[0].weight[1]
        model[0].bias[3] -= 0.5 * model[0].bias[1]
    found = layer(detect(model, DATA), "1")
    h = torch.relu(model[0](DATA)).detach()
    means = h.clone()
    blocks = torch.tensor(found.near_blocks)
    for k in blocks.unique():
        means[:, blocks == k] = h[:, blocks == k].mean(1, keepdim=True)
    exact = float((h - means).norm() / h.norm())
    assert exact > 0
    assert found.distance == pytest.approx(exact, rel=1e-6 if noise > 1e-6 else 0.6)


def test_the_distance_of_the_weights_is_that_of_an_orthogonal_projection():
    """To the weights that are constant in block sums over rows and columns of near blocks, over ‖W‖."""
    model = near_network(1e-3)
    with torch.no_grad():
        for p in (model[0].weight, model[0].bias):
            p[3] = p[1] * (1 + 1e-6)
    found = detect(model, DATA, criteria=Criteria(near=0.999))
    rows = layer(found, "0").near_blocks
    assert rows[1] == rows[3]
    weight = model[0].weight.detach()
    projected = weight.clone()
    projected[[1, 3]] = weight[[1, 3]].mean(0)  # inputs are alone in their blocks
    exact = float((weight - projected).norm() / weight.norm())
    assert layer(found, "0").weight_distance == pytest.approx(exact, rel=1e-6)
    weight, columns = model[2].weight.detach(), layer(found, "1").near_blocks
    assert len(set(layer(found, "2").near_blocks)) == 6
    assert columns[1] == columns[3]
    difference = (weight[:, 1] - weight[:, 3]) / 2**0.5  # outgoing weights of clones must be equal
    exact = float(difference.norm() / weight.norm())
    assert layer(found, "2").weight_distance == pytest.approx(exact, rel=1e-6)
    assert layer(found, "1").weight_distance is None


def test_constants_have_their_value_and_frozen_ones_are_named_once():
    model = network()
    with torch.no_grad():
        model[0].weight[2], model[0].bias[2] = 0.0, 1.25
        model[0].weight[4], model[0].bias[4] = 0.0, -3.0
    found = kinds(detect(model, ROWS), "1")
    assert found["constant"].units == (2,)
    assert found["constant"].values == (1.25,)
    assert found["constant"].reason == "one value on all of 40 samples"
    assert found["dead"].units == (4,)
    assert found["dead"].reason == "zero on more than 95 % of 40 samples"
    bounded = kinds(detect(model, ROWS, criteria=Criteria(input_range=(-9.0, 9.0))), "1")
    assert bounded["frozen"].units == (4,)
    assert bounded["frozen"].reason.startswith("pre-activation in [-3, -3] whatever")
    assert "dead" not in bounded


def test_saturated_units_are_those_that_are_nothing_else():
    model = network()
    with torch.no_grad():
        model[2].bias[:3] = torch.tensor([5.9, -5.9, 60.0])
        model[2].weight[:3] *= 0.1  # less than 1e-4, more than what a constant varies by
    found = kinds(detect(model, ROWS), "3")
    assert found["saturated"].units == (0, 1)
    assert found["saturated"].reason == "derivative below 1e-4 on more than 99 % of 40 samples"
    assert 2 not in found["saturated"].units  # it is constant in float64
    assert "saturated" not in kinds(detect(model, ROWS, criteria=Criteria(slope=1e-9)), "3")


def test_scale_twins_are_of_one_sign_and_sign_twins_of_one_size():
    for act, factor, twin in (
        (nn.ReLU, 2.0, True),
        (nn.Tanh, 2.0, False),
        (nn.Tanh, -1.0, True),
        (nn.GELU, 2.0, False),
    ):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 6), act(), nn.Linear(6, 2)).double()
        with torch.no_grad():
            model[0].weight[4], model[0].bias[4] = factor * model[0].weight[1], factor * model[0].bias[1]
        found = kinds(detect(model, DATA), "1")
        assert ("twin" in found) == twin
        if twin:
            block = found["twin"]
            assert block.units == (1, 4)
            assert block.factors == pytest.approx((1.0, factor))
            assert block.reason.startswith(f"one is {factor:.4g} × the other")
            assert 0 < max(block.residuals) < 1e-5
            weights = model[2].weight.detach()
            cosine = float(weights[:, 1] @ weights[:, 4] / (weights[:, 1].norm() * weights[:, 4].norm()))
            assert block.outgoing[0] == pytest.approx(cosine)
            assert "near" not in found


def test_three_equal_units_of_which_two_are_tied():
    model = tanh_network(tied=True)
    with torch.no_grad():
        model[0].weight[5], model[0].bias[5] = model[0].weight[0], model[0].bias[0]
    found = detect(model, ROWS)
    assert layer(found, "1").cloned == 3
    assert kinds(found, "1")["trapped"].units == (0, 1)
    assert kinds(found, "1")["separating"].units == (0, 5)
    assert "read them differ" in kinds(found, "1")["separating"].reason


def test_few_samples_one_batch_and_noise_are_noted():
    def notes(model, data):
        return detect(model, data).notes

    assert notes(network(), ROWS[:1]) == (
        "one sample: every unit is constant on it, and nothing can be told apart; give more data",
    )
    for n in (2, 15):
        assert notes(network(), DATA[:n])[0].startswith(f"{n} samples: units that differ elsewhere may look equal")
    assert notes(network(), DATA[:16]) == ("one batch: what is dead, constant or alike may be so on this batch only",)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(DATA[:16]), 8)
    assert notes(network(), loader) == ()


def test_near_blocks_by_cosine_alone():
    values = torch.randn(50, 4, dtype=torch.float64)
    values[:, 2] = 3 * values[:, 0] + 0.1 * values[:, 1]
    gathered = Gathered()
    gathered.add(values, 1)
    assert near_blocks(gathered.related()[1], 0.9) == (0, 1, 0, 2)


def test_a_loss_without_a_gradient_saturates_nothing():
    found = detect(network(), ROWS, loss=lambda output: output.detach().sum())
    assert all(x.saturated == () for x in found.layers)
    small = detect(network(), ROWS, loss=lambda output: 1e-9 * output.sum())
    assert layer(small, "1").saturated == tuple(range(8))
    assert detect(network(), ROWS, loss=lambda output: 1e3 * output.sum()).layers[1].saturated == ()
