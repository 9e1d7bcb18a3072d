"""What happens when a layer is seen, by itself: slopes before a call, places, ends, small gradients; ranges, losses and
sizes of data."""

import math
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.metrics.watch import Layer  # noqa: E402
from lop_theory.modules import Criteria, Loader, observation  # noqa: E402
from lop_theory.modules.batches import Batches  # noqa: E402
from lop_theory.modules.observation import Observed, _called, _Gatherer, _loss, _require_inside, _size, observe  # noqa: E402
from tests.modules.planted import ROWS, network  # noqa: E402

SUM = Layer("0", "linear", "sum", -1, ("0.weight", 0), 1, "input")
ACTIVATION = Layer("1", "relu", "activation", -1, None, 1, plainly=True)
VALUES = torch.tensor([[1.0, 0.0, -3.0], [2.0, 4.0, 5.0]], dtype=torch.float64)


def gatherer(*, several=True, **criteria):
    return _Gatherer(Criteria(**criteria), several=several)


def observed(**fields):
    empty = {"seen": (), "gathered": {}, "small": {}, "ends": frozenset(), "example": None, "samples": 0, "batches": 0}
    return Observed(**{**empty, "wide": frozenset(), "certified": {}, "beyond": False, **fields})


def test_a_unit_is_saturated_above_99_per_cent_of_the_samples_that_were_seen():
    columns = SimpleNamespace(columns=SimpleNamespace(mean=torch.zeros(4)))
    found = observed(gathered={"a": columns}, small={"a": (torch.tensor([99.0, 100.0, 0.0, 99.5]), 100)})
    assert found.saturated("a").tolist() == [False, True, False, True]
    assert observed(gathered={"a": columns}).saturated("a").tolist() == [False] * 4


def test_why_a_layer_is_not_judged():
    def trouble(columns, wide=()):
        gathered = {"a": SimpleNamespace(columns=columns)}
        return observed(gathered=gathered, wide=frozenset(wide)).trouble("a")

    assert trouble(None) == "has no sample that the mask keeps"
    assert trouble(None, "a") == "has more than 12288 units"
    assert trouble(SimpleNamespace(finite=False)) == "has NaN or infinite activations"
    assert trouble(SimpleNamespace(finite=True)) == ""


def test_layers_up_to_a_width_are_gathered(monkeypatch):
    monkeypatch.setattr(observation, "WIDEST", 3)
    found = gatherer()
    for name, width in (("a", 3), ("b", 4)):
        found.see(SUM._replace(name=name), torch.ones(2, width).double())
    assert found.wide == {"b"}
    assert found.gathered["a"].columns is not None
    assert found.gathered["b"].columns is None
    assert list(found.seen) == ["a", "b"]
    found.see(SUM._replace(name="a", source=9), VALUES.clone())
    assert found.seen["a"].source == 1  # the first time counts
    assert found.gathered["a"].summed().samples == 4


def test_one_batch_is_compared_as_it_is_and_several_by_their_products():
    assert (gatherer(several=True).alike, gatherer(several=False, near=0.9).alike) == (None, 0.9)
    assert gatherer(slope=0.5).slope == 0.5
    assert gatherer().masked is False


def test_slopes_are_those_of_the_call_right_before():
    relu = (1, F.relu, (VALUES,), {})
    slopes = [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    found = gatherer()
    found.before(*relu)
    assert found.slopes[1].tolist() == slopes
    found.see(ACTIVATION, VALUES.relu())
    assert found.gathered["1"].slopes.largest.tolist() == [1.0, 1.0, 1.0]
    assert found.slopes == {}
    for layer, values in (
        (ACTIVATION._replace(plainly=False), VALUES), (SUM._replace(plainly=True), VALUES),
        (ACTIVATION, VALUES[:1]), (ACTIVATION._replace(source=2), VALUES),
    ):  # fmt: skip
        found = gatherer()
        found.before(*relu)
        found.see(layer, values.clone())
        assert found.gathered[layer.name].slopes is None
    found = gatherer()
    found.forward = False
    found.before(*relu)
    assert found.slopes == {}
    found.see(ACTIVATION, VALUES.clone())
    assert found.gathered["1"].columns is None


def test_slopes_of_calls_with_numbers_tensors_and_keywords():
    steep = nn.Parameter(torch.tensor([0.5], dtype=torch.float64))
    right = torch.where(VALUES > 0, 1.0, 0.5).tolist()
    for call, rest, options in (
        (F.leaky_relu, (0.5,), {}), (F.leaky_relu, (), {"negative_slope": 0.5}), (F.prelu, (steep,), {}),
        (F.leaky_relu_, (0.5,), {}),
    ):  # fmt: skip
        found, z = gatherer(), VALUES.clone()
        with torch.no_grad():
            found.before(7, call, (z, *rest), options)
        assert found.slopes[7].tolist() == right
        assert torch.equal(z, VALUES)
    assert steep.grad is None


def test_a_call_without_a_derivative_leaves_none():
    for call in (lambda x: x.detach() + 0, lambda x: x.argmax(-1), F.gelu):
        found = gatherer()
        found.slopes[3] = VALUES
        found.before(3, call, (VALUES,) if call is not F.gelu else (VALUES, "no such kind"), {})
        assert found.slopes == {}
    found = gatherer()
    found.before(3, F.relu, (torch.arange(3),), {})
    assert found.slopes == {}


def test_random_streams_are_as_before():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    gatherer().before(1, F.rrelu, (VALUES,), {"training": True})
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(("dim", "place"), [(1, 1), (0, 0), (-2, -2), (2, -1), (-1, -1)])
def test_places_count_the_last_dimension_from_the_end(dim, place):
    found, values = gatherer(), torch.ones(2, 3, 4, dtype=torch.float64, requires_grad=True) * 2
    found.see(SUM._replace(dim=dim), values)
    assert found.places["0"][1] == place
    assert found.places["0"][0] is values.grad_fn


def test_the_first_sum_and_every_embedding_end_a_backward_pass():
    found = gatherer()
    table = SUM._replace(operator="embedding")
    one, two, three = (VALUES.clone() for _ in range(3))
    found.see(ACTIVATION, VALUES.clone())
    assert found.ends == []
    for layer, values in ((SUM, one), (SUM._replace(name="2"), two), (table, three), (ACTIVATION, VALUES.clone())):
        found.see(layer, values)
    assert [t is v for t, v in zip(found.ends, (one, three), strict=True)] == [True, True]
    assert all(t.requires_grad for t in found.ends)
    assert not two.requires_grad
    found = gatherer()
    found.backward = False
    found.see(SUM, VALUES.clone())
    assert (found.ends, found.places) == ([], {})
    found = gatherer()
    with torch.no_grad():
        found.see(SUM, VALUES.clone())
    assert (found.ends, found.places) == ([], {})


def test_small_gradients_are_counted_over_all_batches_and_kept_rows():
    found = gatherer()
    found.see(ACTIVATION, VALUES.clone())  # of mean sizes 1.5, 2, 4
    found._count("1", torch.tensor([[1e-5, 1e-3, 1e-5], [1e-3, 1e-3, -1e-5]]).double(), -1, None)
    count, seen = found.small["1"]
    assert (count.tolist(), seen) == ([1.0, 0.0, 2.0], 2)
    found._count("1", torch.zeros(3, 3).double(), -1, torch.tensor([True, False, True]))
    count, seen = found.small["1"]
    assert (count.tolist(), seen) == ([3.0, 2.0, 4.0], 4)
    found._count("1", torch.zeros(2, 3, 5).double(), 1, None)
    assert found.small["1"][1] == 14
    found.gathered["2"] = SimpleNamespace(columns=None)
    found._count("2", VALUES, -1, None)
    assert "2" not in found.small


def test_gradients_of_what_is_seen_are_counted():
    found, z = gatherer(), VALUES.clone().requires_grad_()
    h = z.relu()
    found.see(ACTIVATION, h)
    (h * 1e-5).sum().backward()
    assert found.small["1"][0].tolist() == [2.0, 2.0, 2.0]


def test_data_lie_in_the_range_ends_included():
    t = torch.tensor
    _require_inside(None, [t([5.0])])
    _require_inside((0.0, 1.0), [t([0.0, 1.0]), t([0.5]), t([0.5, 0.5]), torch.zeros(0)])
    for values in ([t([0.5]), t([-0.1, 0.5])], [t([0.5, 1.1])], [t([math.nan])], [t([0.5, math.nan])]):
        with pytest.raises(InvalidInput, match=r"^input_range=\(0.0, 1.0\): the data has values from"):
            _require_inside((0.0, 1.0), values)


def test_a_call_that_fails_is_one_line_and_a_refusal_stays_one():
    def refuse(_):
        raise InvalidInput("width", 3, "is odd")

    def fail(_):
        raise ValueError("a  b\n" + "x" * 300)

    with pytest.raises(InvalidInput, match=r"^width=3: is odd"):
        _called(refuse, ROWS)
    with pytest.raises(InvalidInput) as told:
        _called(fail, ROWS)
    reason = "a b " + "x" * 196
    assert str(told.value) == f"data='Tensor': the model cannot be called with it: ValueError: {reason}"
    assert _called(lambda x: x, 3) == 3


def test_samples_are_those_of_the_first_dimension():
    assert _size((torch.zeros(3, 9), {"a": torch.zeros(5)}, torch.zeros(()), 7)) == 5
    assert _size((torch.zeros(()), "x")) == 1


def test_losses_are_one_number_of_the_output_and_the_batch():
    output, batch = VALUES.clone().requires_grad_(), (VALUES, 2.0)
    assert _loss(lambda y: y.sum(), output, None).item() == 9.0
    assert _loss(lambda y, b: y.sum() * b[1], output, batch).item() == 18.0
    assert _loss(lambda y: y.sum()[None], output, None).shape == (1,)
    for wrong in (lambda y: y[0], lambda _: 3.0, lambda y: y[:0], lambda y: y[0, :2]):
        with pytest.raises(InvalidInput, match=r"loss=.*must return a tensor of one number"):
            _loss(wrong, output, None)
    assert _loss(None, output.detach(), None) is None
    assert _loss(None, torch.arange(3), None) is None
    total = _loss(None, [output, output.detach(), output.float() * 2, torch.arange(2)], None)
    (gradient,) = torch.autograd.grad(total, output)
    assert bool((gradient != 0).all())
    assert total.shape == ()


def test_a_loader_is_gone_through_twice_and_its_first_batch_is_the_example():
    model, loader = network(), Loader([ROWS[:7], ROWS[7:30], ROWS[30:]], lambda batch: batch)
    seen = []

    def loss(y, batch):
        seen.append(len(batch))
        weight = model[0].weight.square().sum() if len(batch) == 23 else 0.0
        return y.square().sum() + weight

    found = observe(model, Batches(model, loader), loss=loss, mask=None, criteria=Criteria())
    assert torch.equal(found.example, ROWS[:7])
    assert (found.samples, found.batches) == (40, 3)
    assert seen[:3] == [7, 23, 10]
    assert found.beyond  # of one batch of three
    assert found.small["1"][1] == 40


def test_a_mask_of_a_model_without_layers_fits():
    found = observe(nn.Identity(), Batches(nn.Identity(), ROWS), loss=None, mask=torch.ones(40), criteria=Criteria())
    assert found.seen == ()
    model = network()
    with pytest.raises(InvalidInput, match=r"mask=.*fits the samples of no layer"):
        observe(model, Batches(model, ROWS), loss=None, mask=torch.ones(39), criteria=Criteria())


@pytest.mark.parametrize("training", [False, True])
def test_a_loss_of_a_loader_reaches_the_call_in_training_mode_too(training):
    model = network().train(training)
    with torch.no_grad():
        model[0].weight[4], model[0].bias[4] = 0.1, -9.0
    given = []

    def loss(y, batch):
        given.append((model.training, len(batch)))
        return y.square().sum()

    loader = Loader([ROWS[:7], ROWS[7:]], lambda batch: batch)
    found = observe(model, Batches(model, loader), loss=loss, mask=None, criteria=Criteria(input_range=(-4.0, 4.0)))
    assert set(found.certified["1"]) == {4}
    assert not found.beyond
    assert [n for mode, n in given if mode] == ([7, 33] if training else [33])
    assert model.training == training
