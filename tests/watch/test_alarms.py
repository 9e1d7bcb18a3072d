"""What is permanent, reversible, useful, undecided: planted losses, each with its kind and its remedies."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory import watch  # noqa: E402
from lop_theory.optim import CCBP, UPGD, ContinualBackprop, NoisySGD, ReDo  # noqa: E402
from lop_theory.watch.alarms import MEANINGS  # noqa: E402
from lop_theory.watch.optimiser_facts import UNKNOWN, facts_of  # noqa: E402
from lop_theory.watch.record import KINDS  # noqa: E402
from lop_theory.watch.remedies import able, unable  # noqa: E402
from tests.watch.nets import X, clone, freeze, losses, mlp, silence, train  # noqa: E402


def found(model, optimiser=None):
    monitor = watch(model, X, loss=losses, optimizer=optimiser, measures=())
    monitor.measure()
    return monitor.alarms()


def kinds(alarms):
    return {(a.layer, a.kind, a.found): a.units for a in alarms}


def adam(model, **options):
    return torch.optim.Adam(model.parameters(), **options)


def test_a_fresh_network_raises_none():
    assert found(mlp(width=32, activation=nn.Tanh)) == ()


def test_trapped_clones_are_permanent_under_what_cannot_part_them():
    model = clone(mlp(activation=nn.Tanh))
    assert kinds(found(model, adam(model))) == {("1", "permanent", "trapped"): (0, 1)}
    assert kinds(found(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))) == {
        ("1", "permanent", "trapped"): (0, 1)
    }
    assert kinds(found(model, NoisySGD(model.parameters(), sigma=0.1))) == {("1", "reversible", "trapped"): (0, 1)}
    assert kinds(found(model)) == {("1", "undecided", "trapped"): (0, 1)}  # no optimiser known: nothing is predicted


def test_blocks_of_a_layer_are_one_alarm():
    model = clone(clone(mlp(activation=nn.Tanh)), 4, 7)
    (alarm,) = found(model, adam(model))
    assert alarm.units == (0, 1, 4, 7)
    assert alarm.reason.startswith("2 blocks, each equal on all data")


def test_dropout_makes_them_reversible():
    model = clone(mlp())
    model.insert(2, nn.Dropout(0.2))
    (alarm,) = [a for a in found(model, torch.optim.SGD(model.parameters(), lr=0.1)) if a.found == "trapped"]
    assert alarm.kind == "reversible"
    assert "dropout" in alarm.reason


def test_redistributed_clones_of_three_leave_under_coupled_decay_and_adam():
    model = clone(clone(mlp(activation=nn.Tanh)), 0, 2)
    with torch.no_grad():  # three clones in the second layer as well; then RE∩CE, but not block-constant
        for j in (1, 2):
            model[2].weight[j], model[2].bias[j] = model[2].weight[0], model[2].bias[0]
            model[4].weight[:, j] = model[4].weight[:, 0]
    assert kinds(found(model, adam(model, weight_decay=0.1)))[("1", "permanent", "trapped")] == (0, 1, 2)
    with torch.no_grad():
        model[2].weight[:3, :3] += torch.tensor([[0.2, -0.2, 0.0], [-0.2, 0.3, -0.1], [0.0, -0.1, 0.1]])
    for options, kind in (({}, "permanent"), ({"weight_decay": 0.1}, "reversible")):
        assert kinds(found(model, adam(model, **options)))[("1", kind, "trapped")] == (0, 1, 2)


def test_redistributed_clones_of_two_stay_under_coupled_decay_and_adam():
    """Their weights [[p, q], [q, p]] are the same but for their order: 50 steps do not part them."""
    model = clone(mlp(activation=nn.Tanh, dtype=torch.float64))
    with torch.no_grad():
        model[2].weight[1], model[2].bias[1] = model[2].weight[0], model[2].bias[0]
        model[4].weight[:, 1] = model[4].weight[:, 0]
        model[2].weight[:2, :2] += torch.tensor([[0.2, -0.2], [-0.2, 0.2]], dtype=torch.float64)
    optimiser = adam(model, weight_decay=0.1)
    monitor = watch(model, X.double(), loss=losses, optimizer=optimiser, measures=())
    monitor.measure()
    assert kinds(monitor.alarms())[("1", "permanent", "trapped")] == (0, 1)
    for _ in range(50):
        optimiser.zero_grad()
        losses(model(X.double())).mean().backward()
        optimiser.step()
    assert (model[0].weight[0] - model[0].weight[1]).abs().max() < 1e-12
    assert (model[2].weight[0] - model[2].weight[1]).abs().max() > 0.01  # and they are no copies


def test_equal_activations_with_other_readers_part_by_themselves():
    model = clone(mlp())
    with torch.no_grad():
        model[2].weight[:, 1] += 0.3
    (alarm,) = [a for a in found(model, adam(model)) if "clones" in a.found]
    assert (alarm.layer, alarm.kind, alarm.units) == ("1", "reversible", (0, 1))


def test_certified_frozen_units_are_permanent_where_no_update_changes_the_sign_of_their_sums():
    model = freeze(mlp())
    assert kinds(found(model, adam(model)))[("3", "permanent", "frozen")] == (3,)
    assert ("3", "permanent", "frozen") in kinds(found(model, torch.optim.AdamW(model.parameters())))
    assert ("3", "undecided", "frozen") in kinds(found(model, adam(model, weight_decay=0.1)))
    assert ("3", "reversible", "frozen") in kinds(found(model, NoisySGD(model.parameters(), sigma=0.1)))
    assert ("3", "undecided", "frozen") in kinds(found(model))


def test_decay_can_move_a_unit_out_of_a_flat_region_that_does_not_end_at_zero():
    model = mlp(activation=nn.Hardsigmoid)
    with torch.no_grad():
        model[2].weight[3], model[2].bias[3] = 0.0, -4.0
    assert kinds(found(model, adam(model)))[("3", "permanent", "frozen")] == (3,)
    assert ("3", "undecided", "frozen") in kinds(found(model, torch.optim.AdamW(model.parameters())))


def test_silent_units_without_a_certificate_are_undecided():
    model = silence(mlp())
    assert kinds(found(model, adam(model)))[("1", "undecided", "silent")] == (4,)


def test_dormant_units_with_a_gradient_are_reversible():
    model = mlp(activation=nn.Tanh)
    with torch.no_grad():
        model[0].weight[5] *= 1e-4
        model[0].bias[5] = 0
    (alarm,) = found(model, adam(model))
    assert (alarm.layer, alarm.kind, alarm.found, alarm.units) == ("1", "reversible", "dormant", (5,))


def test_near_clones_that_compute_are_useful_and_have_no_remedy():
    model = mlp()
    with torch.no_grad():
        model[0].weight[1] = model[0].weight[0] + 0.02 * torch.randn(6)
        model[0].bias[1] = model[0].bias[0] = 1.0
        model[2].weight[:, 0] = 40 * torch.randn(12)
        model[2].weight[:, 1] = -model[2].weight[:, 0]
    (alarm,) = [a for a in found(model, adam(model)) if a.layer == "1"]
    assert (alarm.kind, alarm.units, alarm.remedies) == ("useful", (0, 1), ())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda m: torch.optim.SGD(m.parameters()), ("linear", "none")),
        (lambda m: torch.optim.SGD(m.parameters(), weight_decay=0.1), ("linear", "coupled")),
        (lambda m: torch.optim.AdamW(m.parameters()), ("elementwise", "decoupled")),
        (lambda m: torch.optim.Adam(m.parameters(), weight_decay=0.1), ("elementwise", "coupled")),
        (lambda m: torch.optim.Adafactor(m.parameters()), ("factored", "none")),
        (lambda m: NoisySGD(m.parameters(), sigma=0.0), ("linear", "none")),
        (lambda m: NoisySGD(m.parameters(), sigma=0.1), ("asymmetric", "none")),
        (lambda m: UPGD(m.parameters(), sigma=0.1), ("asymmetric", "none")),
        (lambda m: ReDo(torch.optim.AdamW(m.parameters()), m, example_input=X), ("elementwise", "decoupled")),
        (lambda m: CCBP(torch.optim.SGD(m.parameters()), m, example_input=X), ("asymmetric", "none")),
        (lambda m: ContinualBackprop(torch.optim.SGD(m.parameters()), m, example_input=X), ("asymmetric", "none")),
    ],
)
def test_what_the_table_knows_of_an_optimiser(make, expected):
    assert facts_of(make(mlp()))[1:3] == expected


def test_an_optimiser_that_the_table_does_not_know_predicts_nothing():
    class Own(torch.optim.SGD):
        pass

    assert facts_of(None) == UNKNOWN
    assert facts_of(Own(mlp().parameters())).keeps(True) is None


def test_kinds_have_meanings_and_no_remedy_is_both():
    assert set(MEANINGS) == set(KINDS)
    for finding in ("trapped", "frozen", "silent", "dormant"):
        assert able(finding)
        assert not {r.name for r in able(finding)} & {r.name for r in unable(finding)}


def gap(model, layer=0):
    return float((model[layer].weight[0] - model[layer].weight[1]).detach().norm())


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {}])
def test_clones_whose_optimiser_state_differs_part(options):
    model = mlp(activation=nn.Tanh)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, **options)
    train(model, optimiser, 3)
    clone(model)
    (kind,) = [k for _, k, f in kinds(found(model, optimiser)) if f == "trapped"]
    train(model, optimiser, 3)
    assert (kind, gap(model) > 1e-3) == (("reversible", True) if options else ("permanent", False))


@pytest.mark.parametrize(("place", "kind"), [(0, "permanent"), (2, "reversible"), (4, "permanent"), (5, "permanent")])
def test_dropout_parts_the_clones_that_it_acts_on_and_no_others(place, kind):
    model = clone(mlp(activation=nn.Tanh))
    model.insert(place, nn.Dropout(0.3))
    layer = 1 if place == 0 else 0
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    (said,) = [k for _, k, f in kinds(found(model, optimiser)) if f == "trapped"]
    train(model, optimiser, 20)
    assert (said, gap(model, layer) > 1e-3) == (kind, kind == "reversible")


def test_dropout_elsewhere_may_part_clones_that_are_no_copies():
    model = clone(mlp(activation=nn.Tanh))
    with torch.no_grad():
        model[2].weight[1], model[2].bias[1] = model[2].weight[0], model[2].bias[0]
        model[4].weight[:, 1] = model[4].weight[:, 0]
        model[2].weight[:2, :2] += torch.tensor([[0.3, -0.3], [-0.3, 0.3]])
    model.insert(4, nn.Dropout(0.3))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    assert ("1", "undecided", "trapped") in kinds(found(model, optimiser))


def test_weights_that_are_not_trained_are_not_reached():
    model = clone(mlp(activation=nn.Tanh))
    with torch.no_grad():
        model[0].weight[5] *= 1e-4
        model[0].bias[5] = 0
        model[2].weight[:, 1] += 0.3
    expected = {("1", "undecided", "dormant"): (5,), ("1", "undecided", "clones that part"): (0, 1)}
    assert kinds(found(model, torch.optim.SGD(model[2:].parameters(), lr=0.1))) == expected
    model[0].requires_grad_(requires_grad=False)
    assert kinds(found(model, torch.optim.SGD(model[2:].parameters(), lr=0.1))) == expected


def test_readers_that_differ_where_no_gradient_passes_part_nothing():
    model = freeze(clone(mlp()))
    with torch.no_grad():
        model[2].weight[3, 1] -= 0.3
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    assert ("1", "undecided", "clones that part") in kinds(found(model, optimiser))
    train(model, optimiser, 20)
    assert gap(model) < 1e-6


@pytest.mark.parametrize(("biases", "weights", "kind"), [(0.5, 0.0, "undecided"), (0.0, 0.5, "permanent")])
def test_decay_of_biases_alone_changes_the_sign_of_sums(biases, weights, kind):
    model = mlp(activation=nn.ReLU)
    model[1] = nn.Sigmoid()
    with torch.no_grad():
        model[2].weight[3], model[2].bias[3] = 0.5, -6.1
    split = [[p for p in model.parameters() if (p.dim() < 2) == small] for small in (True, False)]
    groups = [{"params": p, "weight_decay": d} for p, d in zip(split, (biases, weights), strict=True)]
    optimiser = torch.optim.AdamW(groups, lr=0.1)
    alarmed = {k for (_, k, f), units in kinds(found(model, optimiser)).items() if f == "frozen" and 3 in units}
    before = model[2].weight[3].clone()
    train(model, optimiser, 40)
    moved = not torch.allclose(model[2].weight[3] / model[2].weight[3, 0], before / before[0], atol=1e-4)
    assert (alarmed, moved) == ({kind}, kind == "undecided")


def test_a_class_of_elsewhere_is_not_what_its_name_says():
    class SGD(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            for p in self.param_groups[0]["params"]:
                p.data.add_(torch.randn_like(p))

    model = clone(mlp(activation=nn.Tanh))
    assert kinds(found(model, SGD(model.parameters()))) == {("1", "undecided", "trapped"): (0, 1)}


@pytest.mark.parametrize(("dropout", "state"), [(0.3, 0.0), (0.0, 0.1), (0.0, 0.0)])
def test_what_acts_on_flattened_channels_acts_on_their_clones(dropout, state):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(16, 3))
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = model[0].weight[0], model[0].bias[0]
        model[4].weight[:, 4:8] = model[4].weight[:, :4]
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    images = torch.randn(64, 1, 4, 4)
    losses(model.eval()(images)).mean().backward()
    optimiser.step()
    optimiser.state[model[4].weight]["momentum_buffer"][:, 4:8] += state
    monitor = watch(model.train(), images, loss=losses, optimizer=optimiser, measures=())
    monitor.measure()
    kind = "reversible" if dropout or state else "permanent"
    assert kinds(monitor.alarms()) == {("1", kind, "trapped"): (0, 1)}
