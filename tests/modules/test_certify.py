"""Certificates: planted violations are found and named, RA.4's list has a verdict per row, near-ties decide nothing."""

import copy
from functools import lru_cache

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules import Profile, certificate, certify, expand  # noqa: E402
from lop_theory.modules.growth import profile_of_clone  # noqa: E402
from lop_theory.trace import state_of  # noqa: E402
from lop_theory.verdict import Fails, Holds, Undecided  # noqa: E402
from tests.modules.nets import Model, X, restored  # noqa: E402

ROWS = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(3, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def network():
    return nn.Sequential(
        nn.Linear(4, 3), nn.LayerNorm(3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)
    ).double()


def images(normalisation):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), normalisation, nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ).double()


@pytest.fixture(scope="module")
def pair():
    """A base and its clone, traced once; put back by those who change them."""
    torch.manual_seed(0)
    base = network()
    return base, expand(base, 2, example_input=ROWS)


VIOLATIONS = {  # parameter, index of the entries to move -> module named, condition
    "0.weight": ((0, 0), "0", "MC1"),
    "0.bias": ((1,), "0", "MC1"),
    "1.weight": ((1,), "1", "MC1"),
    "3.weight": ((0, 0), "3", "MC1"),
    "3.bias": ((5,), "3", "MC1"),
    "5.weight": ((0, 2), "5", "MC2"),
}


@pytest.mark.claim("module-certificate")
@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_planted_violation_is_named_with_module_condition_and_units(name, pair):
    index, module, condition = VIOLATIONS[name]
    with restored(pair[1]) as clone:
        with torch.no_grad():
            state_of(clone)[name][index] += 1e-6
        verdict = certify(clone, example_input=ROWS)
    assert isinstance(verdict, Fails)
    assert (verdict.witness.module, verdict.witness.condition) == (module, condition)
    assert index[-1 if condition == "MC2" else 0] in verdict.witness.units
    assert verdict.witness.units[0] // 2 == verdict.witness.units[1] // 2


def test_outgoing_sums_alone_break_the_backward_half_only(pair):
    """In-equitable but not out-equitable: forward values stay cloned, adjoints do not."""
    with restored(pair[1]) as clone:
        with torch.no_grad():
            state_of(clone)["3.weight"][:, 0] += 0.1
            state_of(clone)["3.weight"][:, 1] -= 0.1
        result = certificate(clone, example_input=ROWS)
    assert not result
    conditions = {offence.condition for offence in (*result.symbolic, *result.numeric)}
    assert conditions == {"MC2", "MC3"}
    row = next(row for row in result.rows if row.module == "3")
    assert row.conditions["MC1"]
    assert not row.conditions["MC2"]


def test_weights_of_one_output_are_read_backwards_too():
    """y = h·v: the adjoint of h is v δ, so clones of h need equal weights, not only equal sums of them."""
    base = Model(lambda s, x: torch.tanh(s.a(x)) @ s.v).double()
    base.v = nn.Parameter(torch.randn(4).double())
    clone = expand(base, 2, example_input=X)
    assert not certificate(clone, base, example_input=X).symbolic
    with torch.no_grad():
        clone.v[2] += 0.1
        clone.v[3] -= 0.1
    (found,) = certificate(clone, example_input=X).symbolic
    assert (found.condition, sorted(found.units)) == ("MC2", [2, 3])
    assert "outgoing block sums" in found.reason


def test_numeric_half_agrees_with_the_symbolic_one_on_random_perturbations():
    """Within the equitable space the certificate holds, at a random distance from it both halves fail."""
    base = network()
    for seed, size in enumerate([0.0, 1e-6, 1e-3, 1.0]):
        clone = expand(base, 3, example_input=ROWS, redistribute=seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            weight = state_of(clone)["3.weight"]
            weight += size * torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        result = certificate(clone, example_input=ROWS)
        assert bool(result) == (not result.symbolic) == (not result.numeric) == (size == 0.0)


def test_a_model_that_expand_did_not_make_needs_a_profile_or_a_base(pair):
    base, clone = pair
    wide = nn.Sequential(
        nn.Linear(4, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2)
    ).double()
    with pytest.raises(InvalidInput, match="was not made by expand"):
        certify(wide, example_input=ROWS)
    assert isinstance(certify(wide, base=base, example_input=ROWS), Fails)  # random weights of the right sizes
    wide.load_state_dict(clone.state_dict())
    assert certify(wide, base=base, example_input=ROWS)
    assert certify(wide, example_input=ROWS, profile=profile_of_clone(clone))
    with pytest.raises(InvalidInput, match="base"):
        certify(nn.Linear(4, 2).double(), base=base, example_input=ROWS)


def laid_by_hand(base, origin):
    """Sequential(Conv, Tanh, Flatten, Linear) widened by hand: wide unit i is ``origin[i]`` of the base."""
    wide = nn.Sequential(nn.Conv2d(2, len(origin), 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * len(origin), 2)).double()
    (kernels, bias), (weight, last) = base[0].parameters(), base[3].parameters()
    readers = weight.reshape(2, 3, 4)[:, origin] / torch.bincount(torch.tensor(origin))[origin][:, None]
    with torch.no_grad():
        for mine, theirs in zip(
            wide.parameters(), (kernels[origin], bias[origin], readers.flatten(1), last), strict=True
        ):
            mine.copy_(theirs)
    return wide


@lru_cache
def one_unit_twice():
    torch.default_generator.manual_seed(0)
    base = nn.Sequential(nn.Linear(4, 4), nn.Softplus(), nn.Linear(4, 2)).double()
    return base, expand(base, {"0": (2, 1, 1, 1)}, example_input=ROWS)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e200])
@pytest.mark.parametrize("place", ["0.weight", "0.bias", "2.weight"])
def test_what_is_not_finite_in_a_unit_without_a_clone_fails_as_such(value, place):
    """The unit is alone in its block; beside it are blocks of clones."""
    base, clone = one_unit_twice()
    with restored(clone) as wide:
        with torch.no_grad():
            wide.get_parameter(place)[(0, 3) if place == "2.weight" else 3] = value
        verdict = certify(wide, base=base, example_input=ROWS)
        assert isinstance(verdict, Fails)
        assert verdict.witness.condition in ("finite", "base")
        with torch.no_grad():
            wide[0].bias[1] += 0.5  # and one that differs from its clone
        assert isinstance(certify(wide, base=base, example_input=ROWS), Fails)


def test_a_certificate_does_not_depend_on_what_memory_held():
    base = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    wide = expand(base, 2, example_input=ROWS)
    torch.use_deterministic_algorithms(True)  # fills what is not initialised with NaN
    try:
        with torch.autograd.detect_anomaly(check_nan=True):
            assert isinstance(certify(wide, base=base, example_input=ROWS), Holds)
    finally:
        torch.use_deterministic_algorithms(False)


def test_clones_are_found_next_to_one_another_and_copy_after_copy():
    torch.manual_seed(0)
    base = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2)).double()
    example = torch.randn(4, 2, 4, 4, dtype=torch.float64)
    supposed = "(clones supposed next to one another, or copy after copy: see profile=)"
    for origin, broken in (([0, 0, 1, 1, 2, 2], (2, 3)), ([0, 1, 2, 0, 1, 2], (0, 3)), ([0, 1, 2] * 3, (0, 3))):
        wide = laid_by_hand(base, origin)
        assert isinstance(certify(wide, base=base, example_input=example), Holds)
        with torch.no_grad():
            wide[0].bias[3] += 1e-3
        offence = certify(wide, base=base, example_input=example).witness
        assert (offence.module, offence.condition, sorted(offence.units)) == ("0", "MC1", list(broken))
        assert offence.reason.endswith(supposed)
    with torch.no_grad():
        wide[0].bias[3] = float("nan")  # nothing that another order would mend
    assert "supposed" not in str(certify(wide, base=base, example_input=example))
    assert "supposed" not in str(certify(laid_by_hand(base, [0, 2, 1]), base=base, example_input=example))
    other = laid_by_hand(base, [0, 0, 0, 1, 1, 2])  # another order: not seen, and said
    assert certify(other, base=base, example_input=example).witness.reason.endswith(supposed)
    assert "supposed" not in str(
        certify(wide, example_input=example, profile=profile_of_clone(expand(base, {"0": 3}, example_input=example)))
    )


@pytest.mark.parametrize("name", ["0.weight", "0.bias", "1.weight", "3.weight", "5.bias"])
def test_clones_of_another_network_are_no_clones_of_this_one(name, pair):
    """The clone is in order by itself: only the comparison with the base can tell."""
    base, clone = pair
    profile = profile_of_clone(clone)
    assert certify(clone, base=base, example_input=ROWS, profile=profile)
    with restored(base) as other:
        with torch.no_grad():
            other.get_parameter(name).view(-1)[1] += 1e-6
        verdict = certify(clone, base=other, example_input=ROWS, profile=profile)
        assert isinstance(verdict, Fails)
        assert certify(clone, example_input=ROWS, profile=profile)
        assert certify(expand(other, 2, example_input=ROWS), base=other, example_input=ROWS)


def test_an_example_without_samples_shows_nothing(pair):
    """It would be equal to every base."""
    base, clone = pair
    profile = profile_of_clone(clone)
    with pytest.raises(InvalidInput, match=r"example_input=\[\(0, 4\)\]: has no entries.*at least one sample"):
        certify(clone, base=network(), example_input=ROWS[:0], profile=profile)
    with pytest.raises(InvalidInput, match="has no entries"):
        expand(base, 2, example_input=ROWS[:0])


WRONG = {  # what is given instead of the partitions of a weight of 6 × 4
    "rows": ((np.arange(5), np.arange(4)), r"has partitions of \(5, 4\) coordinates, the tensor is \(6, 4\)"),
    "one axis": ((np.arange(6),), r"has partitions of \(6,\) coordinates"),
}


@pytest.mark.parametrize("what", WRONG)
def test_profiles_of_other_sizes_and_names_are_refused(what, pair):
    _, clone = pair
    (maps, message), profile = WRONG[what], profile_of_clone(clone)
    for state, said in (
        ({"0.weight": maps}, f"profile='0.weight': {message}"),
        ({"9.weight": maps}, "is no parameter"),
    ):
        with pytest.raises(InvalidInput, match=said):
            certify(clone, example_input=ROWS, profile=profile._replace(state={**profile.state, **state}))


def test_blocks_may_have_any_numbers(pair):
    """Gradients of clones are compared, too, where their numbers leave gaps."""
    base, clone = pair
    profile = profile_of_clone(clone)
    numbered = {name: [[9 - 3 * k for k in index] for index in maps] for name, maps in profile.state.items()}
    other = profile._replace(state=numbered)
    assert certify(clone, base, example_input=ROWS, profile=other)
    with restored(clone):
        with torch.no_grad():
            clone[5].weight[:, 0] += 1e-3
        mine, theirs = (certificate(clone, example_input=ROWS, profile=p) for p in (profile, other))
    assert mine.numeric == theirs.numeric
    assert {o.condition for o in theirs.numeric} == {"MC2", "MC3"}


def test_constants_among_the_outputs_are_not_numbers_left_out():
    base = Model(lambda s, x: (s.o(torch.tanh(s.a(x))), 3, None)).double()
    said = str(certify(expand(base, 2, example_input=X), base=base, example_input=X))
    assert "equal to the base within rounding" in said
    assert "whole numbers" not in said
    counted = Model(lambda s, x: (s.o(torch.tanh(s.a(x))), x.shape[0] * torch.ones(1).long())).double()
    assert "whole numbers not compared" in str(
        certify(expand(counted, 2, example_input=X), base=counted, example_input=X)
    )


@pytest.mark.filterwarnings("ignore:dropout option adds dropout")
def test_dropout_behind_the_last_recurrent_layer_does_not_exist():
    base, steps = Model(lambda s, x: s.o(s.r(x[None])[0][0])).double().train(), X[:3]
    base.r = nn.GRU(base.a.in_features, base.o.in_features, 1, dropout=0.5, batch_first=True).double()
    clone = expand(base, 2, example_input=steps)
    assert certify(clone, base=base, example_input=steps)
    base.r = nn.GRU(base.a.in_features, base.o.in_features, 2, dropout=0.5, batch_first=True).double()
    assert not certify(expand(base, 2, example_input=steps), example_input=steps)


def test_profiles_that_do_not_match_at_an_interface_are_refused(pair):
    _, clone = pair
    state = {
        **profile_of_clone(clone).state,
        "3.weight": (profile_of_clone(clone).state["3.weight"][0], np.array([0, 1, 0, 1, 2, 2])),
    }
    verdict = certify(clone, example_input=ROWS, profile=Profile(state, profile_of_clone(clone).values))
    assert not verdict
    assert "3" in str(verdict)
    assert "profiles that meet here differ" in str(verdict)


def test_single_precision_models_are_certified_to_their_precision():
    base = network().float()
    rows = ROWS.float()
    clone = expand(base, 2, example_input=rows)
    assert certify(clone, base=base, example_input=rows)
    with torch.no_grad():
        state_of(clone)["3.weight"][0, 0] += 1e-2
    assert not certify(clone, example_input=rows)


def test_certify_disturbs_nothing():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2)).double()
    clone = expand(model, 2, example_input=ROWS).train()
    before = {k: v.clone() for k, v in clone.state_dict().items()}
    random = torch.get_rng_state()
    assert certify(clone, base=model, example_input=ROWS)
    assert all(torch.equal(v, before[k]) for k, v in clone.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in (*clone.parameters(), *model.parameters()))


def test_a_batch_within_rounding_of_a_kink_is_undecided():
    """Clones that are equal in exact arithmetic but round differently sit on both sides of the kink of relu."""
    base = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    x = torch.randn(40, 3, dtype=torch.float64)
    clone = expand(base, 3, example_input=x, redistribute=3)
    first, second = ((state_of(clone)[f"{k}.weight"], state_of(clone)[f"{k}.bias"]) for k in (0, 2))
    hidden = torch.tanh(F.linear(x, *first))

    def disagrees(threshold):
        z = F.linear(hidden, second[0], torch.full_like(second[1], threshold))
        return bool(((z > 0).any(1) & (z < 0).any(1)).any())

    candidates = [-float(v) for v in F.linear(hidden, second[0]).flatten()]
    threshold = next(value for value in candidates if disagrees(value))
    with torch.no_grad():
        second[1].fill_(threshold)
    verdict = certify(clone, example_input=x)
    assert isinstance(verdict, Undecided)
    assert "rounding of a kink at 3:relu" in verdict.reason


# --- Remark A.4, row by row -------------------------------------------------------------------------------------------


@pytest.mark.claim("coverage")
def test_row_normalisation_group_norm_holds_for_adjacent_clones_and_fails_when_clones_cross_groups():
    base = images(nn.GroupNorm(2, 4))
    clone = expand(base, 2, example_input=IMAGES)
    assert isinstance(certify(clone, base=base, example_input=IMAGES), Holds)
    cyclic, crossing = np.tile(np.arange(4), 2), np.array([0, 1, 2, 0, 1, 2, 3, 3])
    for order in (cyclic, crossing):
        moved = copy.deepcopy(clone)
        state = {
            name: tuple(order if len(m) == 8 else m for m in maps)
            for name, maps in profile_of_clone(clone).state.items()
        }
        with torch.no_grad():
            for tensor in state_of(moved).values():
                for dim in [d for d, size in enumerate(tensor.shape) if size == 8]:
                    tensor.copy_(tensor.index_select(dim, torch.as_tensor(2 * order)))
        verdict = certify(moved, example_input=IMAGES, profile=Profile(state, profile_of_clone(clone).values))
        assert bool(verdict) == (order is cyclic)  # every group holds every channel once: clones, but of another base
    assert not certify(moved, base=base, example_input=IMAGES, profile=Profile(state, profile_of_clone(clone).values))
    assert isinstance(verdict, Fails)
    assert verdict.witness.module == "1"
    assert "not aligned" in verdict.witness.reason


@pytest.mark.claim("coverage")
def test_row_normalisation_layer_norm_with_unequal_multiplicities_clones_but_leaves_the_base():
    base = network()
    with torch.no_grad():
        base[0].bias.copy_(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    clone = expand(base, {"0": [1, 2, 3], "3": 2}, example_input=ROWS)
    assert isinstance(certify(clone, example_input=ROWS), Holds)
    verdict = certify(clone, base=base, example_input=ROWS)
    assert isinstance(verdict, Fails)
    assert (verdict.witness.module, verdict.witness.condition) == ("1", "base")
    batch_norm = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 2)).double()
    clone = expand(batch_norm, {"0": [1, 2, 3]}, example_input=ROWS)
    assert certify(clone, base=batch_norm, example_input=ROWS)


@pytest.mark.claim("coverage")
def test_row_activations_softmax_over_units_is_not_elementwise():
    """A softmax over cloned units sums each clone: the rule refuses to widen it, so the paper's 'no particular
    treatment' fails."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(-1), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    clone = expand(model, 2, example_input=ROWS)
    assert state_of(clone)["0.weight"].shape == (3, 4)
    assert state_of(clone)["2.weight"].shape == (6, 3)
    assert certify(clone, base=model, example_input=ROWS)


@pytest.mark.claim("coverage")
def test_row_residual_addition_needs_equal_profiles():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.c(self.a(x) + self.b(x))

    base = Residual().double()
    clone = expand(base, 2, example_input=ROWS)
    assert certify(clone, base=base, example_input=ROWS)
    state = dict(profile_of_clone(clone).state)
    shifted = np.array([0, 1, 0, 1, 2, 3, 2, 3])
    state["b.weight"], state["b.bias"] = (shifted, state["b.weight"][1]), (shifted,)
    verdict = certify(clone, example_input=ROWS, profile=Profile(state, profile_of_clone(clone).values))
    assert not verdict
    assert (verdict.witness.module, verdict.witness.units) == ("b", (0, 2))  # called clones, and are none


@pytest.mark.claim("coverage")
def test_row_pooling_ties_between_pixels_are_broken_alike_in_all_clones():
    """Maxima that are exactly equal (a constant image) send the gradient to the same pixel in every clone."""
    base = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2)
    ).double()
    clone = expand(base, 3, example_input=IMAGES)
    assert certify(clone, base=base, example_input=torch.zeros_like(IMAGES))


@pytest.mark.claim("coverage")
def test_row_linear_needs_scaling_and_duplicated_biases(pair):
    base, clone = pair
    with restored(clone):
        with torch.no_grad():
            state_of(clone)["3.weight"].mul_(2)  # tiling without the scaling: still equitable, so still a clone ...
        assert certify(clone, example_input=ROWS)
        verdict = certify(clone, base=base, example_input=ROWS)
    assert isinstance(verdict, Fails)  # ... of another base
    assert verdict.witness.condition == "base"


@pytest.mark.parametrize("equation", ["bd,dhz->bh", "bd,zdh->bh", "dhz,bd->bh", "bd,dzhy->bh"])
def test_a_weight_that_is_also_summed_over_alone(equation):
    sizes = {"d": 4, "h": 4, "z": 3, "y": 2}
    terms = equation.partition("->")[0].split(",")
    first = "b" not in terms[0]

    def forward(s, x):
        h = torch.tanh(s.a(x))
        return s.o(torch.tanh(torch.einsum(s.equation, *((s.w, h) if s.first else (h, s.w)))))

    base = Model(forward)
    base.equation, base.first = equation, first  # no closure: its trace is kept
    term = terms[0] if first else terms[1]
    base.w = nn.Parameter(torch.randn([sizes[letter] for letter in term], generator=torch.Generator().manual_seed(0)))
    base = base.double()
    clone = expand(base, 3, example_input=X, redistribute=1)
    assert clone.w.shape == tuple(3 * sizes[c] if c in "dh" else sizes[c] for c in term)
    assert isinstance(certify(clone, base=base, example_input=X), Holds)
    with torch.no_grad():
        clone.w.view(-1)[0] += 0.01
    assert isinstance(certify(clone, example_input=X), Fails)


def test_one_number_written_into_some_rows():
    def forward(s, x):
        h = torch.tanh(s.a(x))
        return s.o(h.index_put((torch.tensor([0, 2]),), torch.tensor(0.5, dtype=h.dtype)))

    base = Model(forward).double()
    clone = expand(base, 2, example_input=X)
    assert clone.a.out_features == 8
    assert isinstance(certify(clone, base=base, example_input=X), Holds)
