"""ReDo: dormant units are reset on schedule, in the layer that is dormant."""

import copy

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import ReDo  # noqa: E402
from tests.optim.nets import ROWS, found, network, still  # noqa: E402

torch.set_num_threads(1)


def test_redo_resets_dormant_units_on_schedule():
    model = network()
    with torch.no_grad():
        model[0].bias[2] = -100.0
    redo = ReDo(still(model), model, example_input=found(model), tau=0.0, period=3)
    history = []
    for _ in range(3):
        model(ROWS)
        redo.step()
        history.append(redo.replaced)
    assert history[:2] == [[[], []], [[], []]]
    assert history[2] == [[2], []]
    assert float(model[0].bias[2].detach()) == 0
    assert float(model[2].weight[:, 2].detach().abs().max()) == 0
    state = copy.deepcopy(redo.state_dict())
    other = network()
    fresh = ReDo(still(other), other, example_input=found(other), period=3)
    fresh.load_state_dict(state)
    assert fresh.steps == 3
    with pytest.raises(InvalidInput):
        ReDo(still(other), other, example_input=found(other), period=0)


def test_redo_behind_one_reused_activation_finds_the_layer_that_is_dead():
    torch.manual_seed(0)
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(8, 16), shared, nn.Linear(16, 16), shared, nn.Linear(16, 2))
    with torch.no_grad():
        model[2].bias[:8] = -100
    x = torch.randn(64, 8)
    redo = ReDo(still(model), model, example_input=x, tau=0.0, period=1)
    model(x)
    redo.step()
    assert redo.replaced == [[], list(range(8))]


def test_units_that_feed_each_other_are_joined_by_fresh_weights():
    model = network()
    with torch.no_grad():
        model[0].bias[2] = model[2].bias[1] = -100.0
        model[3] = nn.ReLU()
    redo = ReDo(still(model), model, example_input=ROWS, tau=0.0, period=1)
    model(ROWS)
    redo.step()
    assert 2 in redo.replaced[0]
    assert 1 in redo.replaced[1]
    kept = [unit for unit in range(5) if unit not in redo.replaced[1]]
    column = model[2].weight[:, 2].detach()
    assert float(column[1].abs()) > 0
    assert float(column[kept].abs().max()) == 0
    assert float(model[4].weight[:, 1].detach().abs().max()) == 0


def test_a_step_without_a_training_pass_says_nothing_of_any_unit():
    model = network()
    redo = ReDo(still(model), model, example_input=found(model), tau=5.0, period=1)
    redo.step()
    assert redo.replaced == [[], []]
    model.eval()(ROWS)
    redo.step()
    assert redo.replaced == [[], []]
    model.train()(ROWS)
    redo.step()
    assert redo.replaced == [list(range(6)), list(range(5))]  # every size is below five times the mean


def test_units_at_the_threshold_are_dormant():
    """Sizes 1, 1 and 4 over their mean 2: τ = ½ takes the first two."""
    model = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    x = torch.ones(4, 1, dtype=torch.float64)
    for tau, expected in ((0.5, [0, 1]), (0.499, [])):
        with torch.no_grad():
            model[0].weight.copy_(torch.tensor([[1.0], [1.0], [4.0]]))
            model[0].bias.zero_()
        redo = ReDo(still(model), model, example_input=x, tau=tau, period=1)
        model(x)
        redo.step()
        assert redo.replaced == [expected]
        redo.detach()


def test_an_optimiser_that_forgets_as_a_whole_forgets_nothing_while_no_unit_is_reset():
    """The memory of LBFGS mixes all weights: it is cleared where units of a layer are replaced, and only then."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2)).double()
    inner = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=2)
    redo = ReDo(inner, model, example_input=ROWS, tau=0.0, period=1)

    def closure():
        redo.zero_grad()
        loss = model(ROWS).square().mean()
        loss.backward()
        return loss

    redo.step(closure)
    assert redo.replaced == [[]]
    assert inner.state[model[0].weight]["n_iter"] > 0
    redo.tau = 5.0
    redo.step(closure)
    assert redo.replaced == [[0, 1, 2]]
    assert not inner.state[model[0].weight]
