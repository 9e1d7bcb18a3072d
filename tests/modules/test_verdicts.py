"""Verdicts on blocks of equal, near, dead and frozen units, against planted ones and training."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.modules import Criteria, detect, expand  # noqa: E402
from tests.modules.nets import stepped  # noqa: E402
from tests.modules.planted import ROWS, kinds, layer, network, tanh_network  # noqa: E402


@pytest.mark.claim("clone-trajectory")
@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam])
def test_trapped_units_stay_equal_under_training_and_separating_ones_part(optimiser):
    for tied, kind in ((True, "trapped"), (False, "separating")):
        model = tanh_network(tied=tied)
        assert {k: b.units for k, b in kinds(detect(model, ROWS), "1").items()} == {kind: (0, 1)}
        stepped(model, optimiser(model.parameters(), 1e-2), 20, ROWS)
        gap = float((model[0].weight[0] - model[0].weight[1]).detach().abs().max())
        assert (gap < 1e-15) == tied


def test_trapped_says_in_which_mode():
    """Dropout parts clones in training mode: in evaluation mode it is not there to be seen."""
    model = nn.Sequential(tanh_network(tied=True), nn.Identity())
    model[1] = nn.Dropout(0.0)
    for training, said in ((False, 1), (True, 0)):
        found = detect(model.train(training), ROWS)
        assert "trapped" in kinds(found, "0.1")
        assert sum("in evaluation mode, as the model is" in note for note in found.notes) == said


class Unknown(torch.optim.Optimizer):
    """Not one of PyTorch's."""


def test_the_optimizer_at_hand_decides_whether_units_are_trapped():
    model = tanh_network(tied=True)
    parameters = list(model.parameters())
    found = {}
    for name, optimizer in {
        "fresh": torch.optim.Adam(parameters),
        "untied": torch.optim.SGD(parameters, 1e-2, momentum=0.9),
        "unknown": Unknown(parameters, {}),
    }.items():
        if name == "untied":
            model(ROWS).square().mean().backward()
            optimizer.step()
            optimizer.state[model[0].weight]["momentum_buffer"][1] *= 1.5
        found[name] = kinds(detect(model, ROWS, optimizer=optimizer), "1")
    assert "this Adam, whose state is tied" in found["fresh"]["trapped"].reason
    assert "SGD for 0.weight is not tied: momentum_buffer" in found["untied"]["separating"].reason
    assert "Unknown treats all units alike is not known" in found["unknown"]["cloned"].reason
    optimizer = torch.optim.SGD(parameters, 1e-2, momentum=0.9)
    optimizer.state[model[0].weight]["momentum_buffer"] = torch.randn(8, 4, dtype=torch.float64)
    for _ in range(2):
        model(ROWS).square().mean().backward()
        optimizer.step()
    assert "trapped" not in kinds(detect(model, ROWS), "1")  # they did part


@pytest.mark.parametrize(("kind", "factor", "verdict", "below"), [
    (torch.optim.Adam, 3, "separating", "cloned"),
    (torch.optim.AdamW, 3, "trapped", "trapped"),
    (torch.optim.Adam, 2, "trapped", "trapped"),  # blocks [[p, q], [q, p]]: whatever an entry becomes, sums agree
])  # fmt: skip
def test_coupled_decay_under_adaptive_updates_parts_weights_that_differ(kind, factor, verdict, below):
    mixed = expand(network(), factor, example_input=ROWS, redistribute=1)
    optimizer = kind(mixed.parameters(), 1e-3, weight_decay=0.1)
    found = detect(mixed, ROWS, optimizer=optimizer)
    assert set(kinds(found, "2")) == {verdict}
    assert set(kinds(found, "0")) == {below}
    stepped(mixed, optimizer, 50, ROWS)
    gaps = [float((p[::factor] - p[1::factor]).detach().abs().max()) for p in (mixed[0].weight, mixed[2].bias)]
    assert max(gaps) < 1e-12 if verdict == "trapped" else min(gaps) > 1e-5


def test_units_with_one_nonzero_value_are_no_twins():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        model[0].bias.fill_(-1.0)
        model[0].weight.abs_().add_(0.1)
    data = torch.cat([torch.zeros(7, 4), torch.full((1, 4), 9.0)]).double()
    assert not detect(model, data).verdicts("twin")


def test_two_per_cent_are_not_hidden_by_large_neighbours():
    model = tanh_network(tied=True, scaled=True)
    with torch.no_grad():
        model[2].weight[:, 5] *= 1e4
    found = kinds(detect(model, ROWS), "1")
    assert set(found) == {"separating"}
    assert "read them differ" in found["separating"].reason


def test_units_equal_on_this_data_only_are_told_apart_from_units_equal_on_all():
    model = tanh_network()
    with torch.no_grad():
        model[0].weight[1, 3] += 1.0
    data = ROWS.clone()
    data[:, 3] = 0.0
    assert "samples only" in kinds(detect(model, data), "1")["separating"].reason
    assert not kinds(detect(model, ROWS), "1")


def test_the_verdict_names_what_keeps_and_what_parts_clones():
    plain = expand(network(), 2, example_input=ROWS)
    mixed = expand(network(), 3, example_input=ROWS, redistribute=1)
    assert "weight decay keeps it" in kinds(detect(plain, ROWS), "2")["trapped"].reason
    assert "coupled L2 with an adaptive update parts them" in kinds(detect(mixed, ROWS), "2")["trapped"].reason
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        for row in (0, 2, 4, 6):
            model[0].weight[row + 1], model[0].bias[row + 1] = model[0].weight[row], model[0].bias[row]
            model[3].weight[:, row + 1] = model[3].weight[:, row]
    assert any("dropout" in note for note in detect(model.train(), ROWS).notes)
    assert not any("dropout" in note for note in detect(model.eval(), ROWS).notes)


def test_untouched_layers_show_no_clones_whatever_the_size_of_a_unit():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    with torch.no_grad():
        model[0].weight[7] *= 1e7
    assert [x.cloned for x in detect(model, ROWS).layers] == [0, 0]
    with torch.no_grad():
        model[0].bias[:4] = 40.0
    found = detect(model, ROWS)
    assert [x.cloned for x in found.layers] == [0, 0]
    assert kinds(found, "1")["constant"].units == (0, 1, 2, 3)


def test_dead_units_are_no_clones_and_one_sample_tells_nothing():
    model = network()
    with torch.no_grad():
        model[0].bias[:2] = -50.0
    found = detect(model, ROWS)
    assert layer(found, "1").cloned == 0
    assert kinds(found, "1")["dead"].units == (0, 1)
    one = detect(network(), ROWS[:1])
    assert all(x.near == x.cloned == len(x.constant) == 0 for x in one.layers)
    assert "one sample" in one.notes[0]


def test_twins_up_to_scale_and_sign():
    model = network()
    with torch.no_grad():
        model[0].weight[3], model[0].bias[3] = 2.5 * model[0].weight[1], 2.5 * model[0].bias[1]
        model[2].weight[4], model[2].bias[4] = -model[2].weight[2], -model[2].bias[2]
    found = detect(model, ROWS)
    assert kinds(found, "1")["twin"].units == (1, 3)
    assert kinds(found, "1")["twin"].factors == pytest.approx((1.0, 2.5))
    assert kinds(found, "3")["twin"].units == (2, 4)
    assert kinds(found, "3")["twin"].factors == pytest.approx((1.0, -1.0))
    assert not [x for x in found.verdicts("twin") if x[0].kind == "sum"]


def test_near_clones_with_diverging_opposite_readers_are_a_gated_unit():
    model = network()
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = model[0].weight[0] + 1e-3, model[0].bias[0]
        model[2].weight[:, 0] = 100 * model[2].weight[:, 0]
        model[2].weight[:, 1] = -model[2].weight[:, 0]
    near = kinds(detect(model, ROWS), "1")["near"]
    assert near.units == (0, 1)
    assert near.outgoing[0] == pytest.approx(-1.0)
    assert "gated unit" in near.reason
    assert 0 < near.distance < 0.1


@pytest.mark.claim("frozen-unit")
def test_frozen_for_ever_needs_a_bounded_input_or_a_bounded_layer_below():
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        model[2].bias[5] = -float(model[2].weight[5].clamp_min(0).sum()) - 1e-3
        model[2].bias[6] = -float(model[2].weight[6].clamp_min(0).sum()) + 1e-2
        model[2].weight[6].clamp_min_(0.1)
    found = detect(model, ROWS)
    assert kinds(found, "3")["frozen"].units == (5,)
    interval = kinds(found, "3")["frozen"].interval
    assert -1e-3 < interval.high < -0.9e-3  # widened outwards
    for _ in range(5):  # whatever the first layer does
        nn.init.normal_(model[0].weight, std=100.0)
        assert float(model[:3](ROWS)[:, 5].detach().max()) < 0
    relu = network()
    with torch.no_grad():
        relu[0].bias[2] = -20.0
    assert "frozen" not in kinds(detect(relu, ROWS), "1")
    bounded = detect(relu, ROWS, criteria=Criteria(input_range=(-4.0, 4.0)))
    assert kinds(bounded, "1")["frozen"].units == (2,)


def test_no_certificate_where_the_activation_sees_something_else_than_the_sum():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.b(torch.relu(200.0 - self.a(torch.sigmoid(x))))

    model = Shifted().double()
    with torch.no_grad():
        model.a.bias[:] = -100.0
    assert not detect(model, ROWS, criteria=Criteria(input_range=(-9, 9))).verdicts("frozen")


APART = {
    "a second use of one row": lambda m, h: m[2](h) + m[0].weight[0].sum(),
    "a part without gradient": lambda m, h: m[2](torch.cat([h[:, :1].detach(), h[:, 1:]], 1)),
    "a mask": lambda m, h: m[2](h * torch.tensor([1.0, *[1.0] * (h.shape[1] - 1)]).to(h).cumsum(0).clamp_max(1.0)),
    "the largest": lambda m, h: m[2](h) + h.amax(-1, keepdim=True),
}


@pytest.mark.parametrize("read", APART.values(), ids=APART)
def test_units_of_equal_rows_are_not_told_that_their_rows_differ(read):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = tanh_network(tied=True)

        def forward(self, x):
            return read(self.layers, torch.tanh(self.layers[0](x)))

    model = Net()
    blocks = [b for _, b in detect(model, ROWS).verdicts() if {0, 1} <= {*b.units}]
    assert {b.kind for b in blocks} <= {"cloned", "trapped"}
    for block in (b for b in blocks if b.kind == "cloned"):
        assert "their incoming weights are equal, too, but something else tells them apart" in block.reason
    with torch.no_grad():
        model.layers[0].bias[1] += 1e-3
    assert not [b for _, b in detect(model, ROWS).verdicts() if b.kind == "cloned" and {0, 1} <= {*b.units}]
