"""Which widths grow, by how much, and what keeps the others: factors by name, averages, tied and shared weights."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules import certify, expand, expansion  # noqa: E402
from lop_theory.modules.growth import profile_of_clone  # noqa: E402
from lop_theory.modules.infer import inferred_profile  # noqa: E402
from lop_theory.modules.plan import Plan, _equalised, widths  # noqa: E402
from lop_theory.verdict import Fails  # noqa: E402
from tests.modules.nets import Model, X, gap  # noqa: E402

IMAGES = torch.randn(3, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def chain(*sizes):
    torch.manual_seed(0)
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*layers[:-1]).double()


def shapes(model):
    return [tuple(p.shape) for p in model.parameters() if p.dim() > 1]


def test_widths_double_by_default():
    assert shapes(expand(chain(5, 4, 3, 2), example_input=X)) == [(8, 5), (6, 8), (2, 6)]


@pytest.mark.parametrize(
    ("factors", "units"),
    [
        (3, (12, 9)), (1, (4, 3)), ({"0": 3}, (12, 3)), ({"2": 2}, (4, 6)), ({"*": 2}, (8, 6)),
        ({"0.weight": 5}, (20, 3)),
        ({"*": 2, "0": 3}, (12, 6)), ({"0": 3, "*": 2}, (12, 6)), ({"[02]": 2, "2*": 4, "2": 3}, (8, 9)),
        ({"?": 3, "[0]": 2}, (8, 9)), ({"0": [1, 2, 1, 3]}, (7, 3)), ({"0": (2, 1, 1, 1), "2": 2}, (5, 6)),
    ],
)  # fmt: skip
def test_factors_by_name_the_most_specific_last(factors, units):
    base = chain(5, 4, 3, 2)
    clone = expand(base, factors, example_input=X)
    assert (clone[0].out_features, clone[2].out_features) == units
    assert (clone[2].in_features, clone[4].in_features) == units
    assert bool(certify(clone, base=base, example_input=X)) == (factors != 1)  # nothing is a clone of itself
    assert gap(clone, base, X) < 1e-13


def test_multiplicities_are_those_of_the_units():
    clone = expand(chain(5, 4, 3, 2), {"0": [1, 2, 1, 3]}, example_input=X)
    (rows, columns) = profile_of_clone(clone).state["2.weight"]
    assert columns.tolist() == [0, 1, 1, 2, 3, 3, 3]
    assert rows.tolist() == [0, 1, 2]
    assert profile_of_clone(clone).widths() == {"0.weight": (1, 2, 3), "0.bias": (1, 2, 3)}


@pytest.fixture(scope="module")
def narrow():
    return chain(5, 4, 3, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        [], (), "2", None, 0, -1, True, 1.5, {"9": 2}, {"4": 2}, {"nowhere": 2},
        *({"0": times} for times in (0, [], [1, 0], [True] * 4, [1.0] * 4, [2, 2])),
    ],
)  # fmt: skip
def test_factors_that_mean_nothing_are_refused(narrow, wrong):
    with pytest.raises(InvalidInput, match="factor"):
        expand(narrow, wrong, example_input=X)


def test_a_widening_of_attention_that_nobody_knows_is_refused(narrow):
    with pytest.raises(InvalidInput, match=r"attention.*heads, width, uncorrected"):
        expand(narrow, 2, example_input=X, attention="keys")


def test_what_keeps_a_width_is_named():
    base = Model(lambda s, x: s.o(torch.tanh(s.a(x)).cumsum(-1)) + s.d(s.c(x).tanh())).double()
    base.c, base.d = nn.Linear(5, 3).double(), nn.Linear(3, 3).double()
    record = expansion(expand(base, 2, example_input=X))
    assert sorted(record.widened) == ["c.bias", "c.weight", "d.weight"]
    assert record.widened["d.weight"] == ((3, 3), (3, 6))
    assert "cumsum" in record.narrow["a.weight"]
    assert "cumsum" in record.narrow["a.bias"]
    assert "the output" in record.narrow["o.weight"]
    assert "the output" in record.narrow["d.bias"]
    assert "c.bias" not in record.narrow
    text = str(record)
    assert "3 parameters and buffers widened" in text
    assert "  d.weight: (3, 3) -> (3, 6)" in text
    assert "  d.bias keeps a size: the output" in text
    with pytest.raises(InvalidInput, match=r"no width.*cumsum"):
        expand(Model(lambda s, x: torch.tanh(s.a(x)).cumsum(-1)).double(), 2, example_input=X)
    with pytest.raises(InvalidInput, match="no width"):
        expand(nn.Linear(5, 3).double(), 2, example_input=X)


def test_four_of_the_operators_that_keep_all_widths_are_named():
    operators = torch.softmax, torch.log_softmax, torch.cumsum, torch.cumprod, torch.logcumsumexp
    base = Model(lambda s, x: s.o(sum(f(layer(x), -1) for f, layer in zip(operators, s.layers, strict=True))))
    base.layers = nn.ModuleList(nn.Linear(5, 4) for _ in operators)
    del base.a
    kept = r"kept by \(top\):cumprod, \(top\):cumsum, \(top\):log_softmax, \(top\):logcumsumexp$"
    with pytest.raises(InvalidInput, match=kept):
        expand(base.double(), 2, example_input=X)


def test_a_width_that_no_weight_sums_over_grows_too():
    words = Model(lambda s, ids: s.t(ids).tanh().square().sum(-1))
    words.t = nn.Embedding(7, 4)
    ids = torch.arange(6).reshape(2, 3)
    clone = expand(words.double(), 2, example_input=ids, traced=True)
    assert clone.state()["t.weight"].shape == (7, 8)
    assert gap(clone, words, ids) < 1e-14


def test_the_first_operator_that_forbids_clones_is_the_one_that_is_named():
    plan = Plan()
    first, second, other, fixed = plan.free(2), plan.free(2), plan.free(2), plan.new(2)
    for name, axes in (("a", [first]), ("b", [first, second, fixed])):
        plan.enter(SimpleNamespace(node=name))
        for axis in axes:
            plan.rigid(axis)
    assert [plan.kept_by(axis) for axis in (first, second, other, fixed)] == ["a", "b", None, None]
    assert plan.kept_by(plan.concat([other, second])) == "b"


def test_one_output_keeps_no_width():
    base = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    assert expansion(expand(base, 2, example_input=X)).narrow == {"0.weight": "0:linear"}


def test_parameters_that_no_mode_uses_stay():
    base = Model(lambda s, x: s.o(s.a(x)) if s.training else s.o(s.b(x))).double()
    base.b, base.c = nn.Linear(5, 4).double(), nn.Linear(5, 4).double()
    for traced in (False, True):
        clone = expand(base, 2, example_input=X, traced=traced)
        sizes = {name: tuple(p.shape) for name, p in clone.named_parameters()}
        assert sizes["a.weight"] == sizes["b.weight"] == (8, 5)  # each in one mode
        assert sizes["c.weight"] == (4, 5)
        for mode in (True, False):
            assert gap(clone.train(mode), base.train(mode), X) < 1e-14
    found = widths(base.eval(), X, both_modes=False)
    assert list(found.modes) == [False]
    assert set(widths(base, X).modes) == {True, False}


def test_a_mean_over_what_cannot_grow_keeps_the_rest():
    """The layer norm runs over four units and two inputs: unequal multiplicities would change its mean."""
    base = Model(lambda s, x: s.o(s.n(torch.cat([s.a(x), x[:, :2]], -1)))).double()
    base.n, base.o = nn.LayerNorm(6).double(), nn.Linear(6, 3).double()
    base.c, function = nn.Linear(5, 4).double(), base.function
    base.function = lambda s, x: function(s, x) + s.o(F.pad(torch.tanh(s.c(x)), (1, 1)))
    with pytest.raises(InvalidInput, match="no width"):
        expand(base, 2, example_input=X)
    norm = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3)).double()
    clone = expand(norm, {"0": [2, 2, 2, 1]}, example_input=X)  # explicitly asked for
    assert clone.state()["0.weight"].shape == (7, 5)
    assert certify(clone, example_input=X)
    assert not certify(clone, base=norm, example_input=X)


def test_parts_of_an_average_grow_alike_or_not_at_all():
    plan = Plan()
    free, other, fixed = plan.free(4), plan.free(3), plan.new(2)
    for axis in (plan.concat([free, fixed]), plan.concat([other, free])):
        plan.average(axis)
    alone, nothing = plan.free(2), plan.new(0)
    plan.average(alone)
    plan.average(nothing)
    assert _equalised(plan, {free: 2, other: 2, alone: 3}) == {alone: 3}  # the second average loses a part to the first
    assert _equalised(plan, {other: 2}) == {}
    assert _equalised(plan, {alone: (1, 2), free: (2, 2, 2, 1)}) == {alone: (1, 2), free: (2, 2, 2, 1)}  # asked for
    both = Plan()
    first, second = both.free(4), both.free(3)
    both.average(both.concat([first, second]))
    assert _equalised(both, {first: 2, second: 2}) == {first: 2, second: 2}
    assert _equalised(both, {first: 2, second: 3}) == _equalised(both, {}) == {}


def test_tied_weights_stay_tied_and_shared_ones_are_divided_once():
    base = Model(lambda s, x: F.linear(torch.tanh(s.a(x)), s.a.weight.T) @ s.p + s.o(s.b(x))).double()
    base.p, base.b = nn.Parameter(torch.randn(5, 3).double()), nn.Linear(5, 4).double()
    base.b.weight = base.a.weight
    clone = expand(base, 2, example_input=X)
    assert clone.b.weight is clone.a.weight
    assert certify(clone, base=base, example_input=X)
    assert gap(clone, base, X) < 1e-13
    words = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)).double()
    words[1].weight = words[0].weight
    ids = torch.randint(0, 7, (3, 5))
    wide = expand(words, 3, example_input=ids)
    assert wide[1].weight is wide[0].weight
    assert expansion(wide).scaled == {"1": pytest.approx(1 / 3)}
    assert gap(wide, words, ids) < 1e-13
    assert "input of 1 × 0.333333 (its weight is shared)" in str(expansion(wide))
    assert certify(wide, base=words, example_input=ids)
    assert wide[0].weight.requires_grad
    words[0].weight.requires_grad_(False)
    assert not expand(words, 2, example_input=ids)[0].weight.requires_grad


def test_a_weight_that_is_summed_and_multiplied_is_corrected_unit_by_unit():
    base = Model(lambda s, x: F.linear(h := torch.tanh(s.a(x)), s.w) + (h[:, None] * s.w).sum(-1))
    base.w = nn.Parameter(torch.randn(3, 4))
    base.double()
    for factor in (3, {"a": [1, 3, 2, 1]}):
        clone = expand(base, factor, example_input=X)
        assert gap(clone, base, X) < 1e-13
        assert not isinstance(certify(clone, base=base, example_input=X), Fails)  # no rule knows the inserted numbers
    base.function = lambda s, x: F.linear(h := torch.tanh(s.a(x)), s.w) + (h[:, None] * s.w).sum(-1).square()
    assert gap(expand(base, {"a": [1, 3, 2, 1]}, example_input=X), base, X) < 1e-12


def attention(s, x):
    q, k, v = (layer(x).unflatten(-1, (2, 3)).transpose(1, 2) for layer in (s.q, s.k, s.v))
    return s.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


@pytest.fixture
def heads():
    torch.manual_seed(0)
    base = Model(attention)
    base.q, base.k, base.v = (nn.Linear(4, 6) for _ in range(3))
    base.a, base.o = nn.Identity(), nn.Linear(6, 2)
    return base.double()


def test_heads_are_duplicated_widened_or_widened_without_their_scale(heads):
    found = {}
    for kind in ("heads", "width", "uncorrected"):
        clone = expand(heads, 2, example_input=TOKENS, attention=kind, traced=True)
        assert clone.state()["q.weight"].shape == (12, 4)
        assert certify(clone, example_input=TOKENS)
        found[kind] = clone
    for kind in ("heads", "width"):
        assert certify(found[kind], base=heads, example_input=TOKENS)
        assert gap(found[kind], heads, TOKENS) < 1e-13
    assert gap(found["uncorrected"], heads, TOKENS) > 1e-4
    rows = heads.q.weight.detach()
    wide = found["width"].state()["q.weight"].detach()
    torch.testing.assert_close(wide, rows.repeat_interleave(2, 0) / 2**0.5, rtol=1e-14, atol=0)  # sums of two, 1/√2
    for name, plain in (("k", heads.k), ("v", heads.v)):
        wide = found["width"].state()[f"{name}.weight"].detach()
        torch.testing.assert_close(wide, plain.weight.detach().repeat_interleave(2, 0), rtol=1e-14, atol=0)
    assert not any("mul" in n.name for n in found["width"].program.graph.nodes)  # in the weights, not in the graph
    doubled = found["heads"].state()["q.weight"].detach()
    torch.testing.assert_close(doubled, rows.unflatten(0, (2, 3)).repeat_interleave(2, 0).flatten(0, 1))


def test_queries_that_are_read_elsewhere_are_scaled_where_they_are_used(heads):
    def both(s, x):
        z = s.q(x)
        h = [t.unflatten(-1, (2, 3)).transpose(1, 2) for t in (z, s.k(x), s.v(x))]
        return s.o(F.scaled_dot_product_attention(*h).transpose(1, 2).flatten(2)) + s.o(torch.tanh(z))

    heads.function = both
    clone = expand(heads, 2, example_input=TOKENS, attention="width")
    assert certify(clone, base=heads, example_input=TOKENS)
    assert gap(clone, heads, TOKENS) < 1e-13


def test_queries_of_a_computed_weight_are_scaled_where_they_are_used(heads):
    """Half of the scale in the bias, which is a parameter, would be another function."""
    q = heads.q

    def computed(s, x):
        rows = F.linear(x, q.weight.exp(), q.bias), s.k(x), s.v(x)
        h = [t.unflatten(-1, (2, 3)).transpose(1, 2) for t in rows]
        return s.o(F.scaled_dot_product_attention(*h).transpose(1, 2).flatten(2))

    heads.function = computed
    clone = expand(heads, 2, example_input=TOKENS, attention="width", traced=True)
    assert gap(clone, heads, TOKENS) < 1e-13


def test_sums_of_activations_are_corrected_where_no_weight_can_be():
    base = Model(lambda s, x: s.o(s.a(x).tanh()) * s.a(x).tanh().square().sum(-1, keepdim=True)).double()
    for factor in (3, {"a": [1, 3, 2, 1]}):
        clone = expand(base, factor, example_input=X)
        assert gap(clone, base, X) < 1e-13
        assert not isinstance(certify(clone, base=base, example_input=X), Fails)
    norm = Model(lambda s, x: s.o(s.a(x)) * torch.linalg.vector_norm(s.a(x), dim=-1, keepdim=True)).double()
    clone = expand(norm, 3, example_input=X)
    assert gap(clone, norm, X) < 1e-13
    with pytest.raises(InvalidInput, match="unequal multiplicities"):
        expand(norm, {"a": [1, 3, 2, 1]}, example_input=X)


def test_random_weights_have_the_spread_of_the_others_and_no_block_sum():
    base = chain(5, 4, 3, 2)
    plain, spread, other = (expand(base, 3, example_input=X, redistribute=seed) for seed in (None, 4, 5))
    noise = (spread[2].weight - plain[2].weight).detach()
    assert 0.2 < float(noise.std() / plain[2].weight.detach().std()) < 3
    grid = noise.reshape(3, 3, 4, 3)
    assert float(grid.sum(3).abs().max()) < 1e-14
    assert float(grid.sum(1).abs().max()) < 1e-14
    assert not torch.allclose(other[2].weight, spread[2].weight)
    assert torch.equal(expand(base, 3, example_input=X, redistribute=4)[2].weight, spread[2].weight)
    # with one clone on a side nothing can move
    for name in ("0.weight", "4.weight"):
        assert torch.allclose(spread.get_parameter(name), plain.get_parameter(name), atol=1e-14)
    assert gap(spread, base, X) < 1e-13


def test_random_weights_of_a_part_leave_the_rest_as_it_was():
    base = Model(lambda s, x: s.o(F.linear(torch.tanh(s.a(x)), s.w[:3])))
    base.w, base.o = nn.Parameter(torch.randn(5, 4)), nn.Linear(3, 2)
    base.double()
    plain, spread = (expand(base, 2, example_input=X, redistribute=seed, traced=True) for seed in (None, 4))
    noise = (spread.state()["w"] - plain.state()["w"]).detach()
    assert noise.shape == plain.state()["w"].shape
    assert gap(spread, base, X) < 1e-13
    rows = noise.abs().amax(1)
    assert float(noise.sum(1).abs().max()) < 1e-13
    assert float(rows[-2:].max()) == 0.0
    factors = expansion(plain).factors["w"].expand(plain.state()["w"].shape)
    assert factors.amin(1).tolist() == factors.amax(1).tolist() == [0.5] * (len(rows) - 2) + [1.0] * 2


# --- profiles that are read off shapes --------------------------------------------------------------------------------


def test_profiles_of_channels_times_pixels_are_read_off_the_shapes():
    def net(k):
        return nn.Sequential(
            nn.Conv2d(2, 3 * k, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48 * k, 2 * k), nn.Linear(2 * k, 2)
        )

    torch.manual_seed(0)
    base, wide = net(1).double(), net(2).double()
    wide.load_state_dict(expand(base, 2, example_input=IMAGES).state_dict())
    found = inferred_profile(wide, base, IMAGES).state
    assert found["0.weight"][0].tolist() == [0, 0, 1, 1, 2, 2]
    pixels = np.arange(16)
    assert found["3.weight"][1].tolist() == [16 * c + p for c in (0, 0, 1, 1, 2, 2) for p in pixels]
    assert found["3.weight"][0].tolist() == [0, 0, 1, 1]
    assert certify(wide, base=base, example_input=IMAGES)


def test_names_and_sizes_that_do_not_fit_are_refused():
    base = chain(5, 4, 3, 2)
    other = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3), nn.Tanh(), nn.Linear(3, 2, bias=False)).double()
    with pytest.raises(InvalidInput, match=r"parameter names; 4\.bias is in one only"):
        inferred_profile(other, base, X)
    with pytest.raises(InvalidInput, match="no multiples"):
        inferred_profile(chain(5, 6, 3, 2), base, X)
    part = inferred_profile(chain(5, 8, 3, 2), base, X)
    assert part.state["2.weight"][1].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert part.state["2.weight"][0].tolist() == [0, 1, 2]


def test_parameters_without_entries_have_no_multiples():
    def model(width, empty):
        found = Model(lambda s, x: s.o(torch.tanh(s.a(x))) + s.none.sum(), width)
        found.none = nn.Parameter(torch.zeros(empty, 2))
        return found.double()

    base = model(4, 0)
    clone = expand(base, 2, example_input=X)
    wide = model(8, 0)
    wide.load_state_dict(clone.state_dict())
    assert certify(wide, base=base, example_input=X)
    with pytest.raises(InvalidInput, match="no multiples"):
        inferred_profile(model(8, 3), base, X)


@pytest.mark.parametrize("kind", ["heads", "width"])
def test_head_widths_are_tried_after_heads(heads, kind):
    clone = expand(heads, 2, example_input=TOKENS, attention=kind)
    wide = Model(lambda s, x: attention_of(s, x, 4 if kind == "heads" else 2))
    wide.q, wide.k, wide.v = (nn.Linear(4, 12) for _ in range(3))
    wide.a, wide.o = nn.Identity(), nn.Linear(12, 2)
    wide.double().load_state_dict({name: t for name, t in clone.state_dict().items() if not name.startswith("a.")})
    verdict = certify(wide, base=heads, example_input=TOKENS)
    assert bool(verdict) == (kind == "heads")  # by the shapes alone the first reading fits


def attention_of(s, x, count):
    q, k, v = (layer(x).unflatten(-1, (count, -1)).transpose(1, 2) for layer in (s.q, s.k, s.v))
    return s.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def test_the_last_samples_of_a_larger_batch_are_its_last():
    base = Model(lambda s, x: s.o(s.a(x).tanh()[-2:])).double()
    clone = expand(base, 2, example_input=X, traced=True)
    assert gap(clone, base, torch.cat([X, X.flip(1)])) < 1e-13


def test_a_type_is_taken_of_a_tensor_whose_widths_do_not_matter():
    base = Model(lambda s, x: s.o(torch.tanh(s.a(x)).type_as(x[:, :4]))).double()
    clone = expand(base, 2, example_input=X)
    assert clone.a.out_features == 8
    assert certify(clone, base=base, example_input=X)


def test_distances_of_uneven_clones():
    """Σ_i |x_i − z_i| counts every unit once, however many clones it has; other powers are refused."""
    powers = [1.0]

    def how(s, x):
        h = torch.tanh(s.a(x))
        return s.o(torch.tanh(s.b(x))) + torch.cdist(h, 0.5 * h[:2], powers[-1])

    base = Model(how).double()
    base.b = nn.Linear(base.a.in_features, base.o.in_features).double()
    base.o = nn.Linear(base.o.in_features, 2).double()
    uneven = {"a": [1, 3, 2, 1]}
    assert gap(expand(base, uneven, example_input=X), base, X) < 1e-12
    assert gap(expand(base, 2, example_input=X), base, X) < 1e-12
    powers.append(3.0)
    with pytest.raises(InvalidInput, match="unequal multiplicities cannot be corrected at cdist"):
        expand(base, uneven, example_input=X)
