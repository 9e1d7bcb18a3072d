"""The screen for units that may be alike misses none, and metrics from either side agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch.overrides import TorchFunctionMode  # noqa: E402
from torch.utils import _pytree as pytree  # noqa: E402

from lop_theory import metrics as M  # noqa: E402
from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.metrics import layers, rounding, screening  # noqa: E402
from lop_theory.metrics import units as units_of_layers  # noqa: E402
from lop_theory.metrics.screening import directions, resembling  # noqa: E402

SIZES = {"seed": st.integers(0, 999), "samples": st.sampled_from([4, 40, 128, 200, 515]), "units": st.integers(2, 40)}


def mixed(seed, samples, units, dtype=torch.float64):
    """Units at many angles to each other: random mixtures of few, some far from the origin."""
    g = torch.Generator().manual_seed(seed)
    few = torch.randn(samples, 3, generator=g, dtype=torch.float64)
    h = few @ torch.randn(3, units, generator=g, dtype=torch.float64)
    h = h + 0.3 * torch.randn(samples, units, generator=g, dtype=torch.float64)
    h[: samples // 4] *= 4  # angles on some samples are not those on all
    return (h + 3 * torch.rand(units, generator=g, dtype=torch.float64).round()).to(dtype)


def with_partner(cosine, limit):
    cosine.fill_diagonal_(-2)
    return set(torch.nonzero((cosine > limit).any(1)).flatten().tolist())


@given(**SIZES, limit=st.sampled_from([0.5, 0.9, 0.95, 0.99]), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_no_unit_with_a_partner_is_missed_and_few_others_are_kept(seed, samples, units, limit, dtype):
    h = mixed(seed, samples, units, dtype)
    for mean in (None, h.double().mean(0)):
        wide = h.double() if mean is None else h.double() - mean
        unit = wide / wide.norm(dim=0)
        kept = set(resembling(directions(h, 1, mean), limit).tolist())
        assert with_partner(unit.T @ unit, limit) <= kept
        assert kept <= with_partner(unit.T @ unit, limit - 1e-3)


def test_the_screen_knows_units_of_any_size_zeros_and_constants():
    h = mixed(0, 64, 6)
    h[:, 3], h[:, 4], h[:, 5] = 1e-150 * h[:, 0], 0.0, 1e150 * h[:, 1]
    assert resembling(directions(h, 1), 0.999).tolist() == [0, 1, 3, 5]
    h[:, 2] = 7.0
    centred = directions(h, 1, h.mean(0))
    assert centred[2].abs().max() == 0 == centred[4].abs().max()
    assert torch.isfinite(centred).all()


def test_what_varies_little_about_a_large_mean_is_screened():
    """Squares of 6e-17 of the whole are a unit's own in float64: far more than rounding, (2⁻⁵³)² = 1e-32."""
    h = mixed(0, 64, 6)
    h[:, 2] = 7.0 + 1e-8 * h[:, 0]
    assert resembling(directions(h, 1, h.mean(0)), 0.999).tolist() == [0, 2]


@pytest.mark.parametrize(("samples", "units"), [(3, 20), (30, 70), (20, 400)])
def test_metrics_are_the_same_from_either_side(samples, units):
    h = mixed(1, samples, units)
    h[:, 1], h[:, 2], h[:, 5] = 2 * h[:, 0], 0.0, 1.5
    few, sums = layers.measured(h, 1, 0.0)
    m = M.moments(h)
    many = layers._metrics(layers._from_units(h, m), m.columns, 0.0)
    assert sums.samples * 2 < units
    for name, a, b in zip(few._fields, few, many, strict=True):
        assert a == pytest.approx(b, rel=1e-8, nan_ok=True) or name == "effective_rank_error", name
    assert few.effective_rank_error < 1e-6


class Seen(TorchFunctionMode):
    """How many functions were called, and how many numbers the largest result has."""

    calls = numbers = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        self.calls += 1
        self.numbers = max([self.numbers, *(t.numel() for t in pytree.tree_leaves(found) if torch.is_tensor(t))])
        return found


@pytest.mark.parametrize("shape", [(40, 2000), (2000, 40)])
def test_no_matrix_has_the_larger_side_squared(shape):
    """As it would with 100,000 units, or samples: 80 GB."""
    h = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with Seen() as seen:
        layers.layer_metrics(h)
    assert seen.numbers < 2000**2 / 4


def test_equal_units_are_one_cluster_after_a_few_rounds():
    with Seen() as seen:
        assert units_of_layers._clusters(torch.ones(200, 200, dtype=torch.bool)) == 1
    assert seen.calls < 40  # a round takes three


def test_sums_over_no_samples_are_zero():
    for dim in (0, 1):
        found = M.moments(torch.zeros(3, 0) if dim == 0 else torch.zeros(0, 3), dim)
        assert (found.samples, found.gram.tolist()) == (0, [[0.0] * 3] * 3)


def test_activations_without_entries_are_refused():
    for shape, dim in [((0, 3), -1), ((3, 0), -1), ((0, 3, 4, 4), 1), ((2, 3, 0), 1)]:
        with pytest.raises(InvalidInput, match=r"activations=.* have no entries"):
            layers.layer_metrics(torch.zeros(shape), channel_dim=dim)


@pytest.mark.parametrize("units", [8, 40])
@pytest.mark.parametrize("scale", [1e-120, 1e-90, 1e80, 1e140])
def test_metrics_do_not_depend_on_the_unit_of_measurement(scale, units):
    h = mixed(2, 16, units)
    one, other = layers.layer_metrics(h), layers.layer_metrics(scale * h)
    for name in ("effective_rank", "stable_rank", "participation_ratio", "renyi2_rank", "duplicate_as_paper"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-6), name


@pytest.mark.parametrize("units", [8, 40])
def test_centred_ranks_do_not_depend_on_the_origin(units):
    h = mixed(2, 16, units)
    one, other = layers.layer_metrics(h), layers.layer_metrics(h + 1e4)
    for name in ("participation_ratio", "renyi2_rank"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-5), name


@pytest.mark.parametrize("units", [3, 40])
@pytest.mark.parametrize("value", [0.1, 0.3, 0.7, 1e-20, 1e20])
def test_centred_ranks_of_constants_are_zero_whatever_their_rounding(value, units):
    for samples in range(2, 9):
        found = layers.layer_metrics(torch.full((samples, units), value, dtype=torch.float64))
        assert (found.participation_ratio, found.renyi2_rank) == (0, 0)


def test_column_sums_are_those_of_the_moments():
    h = torch.randn(3, 5, 7, 2, dtype=torch.float64)
    for dim in (1, 3):
        for a, b in zip(M.moments(h, dim).columns, layers.column_sums(h, dim), strict=True):
            torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b))


def test_partners_in_other_tiles_are_found():
    h = torch.randn(200, 600, generator=torch.Generator().manual_seed(0))
    h[:, 590], h[:, 300] = 2 * h[:, 10], h[:, 299] + 0.01 * h[:, 0]
    assert resembling(directions(h, 1), 0.95).tolist() == [10, 299, 300, 590]


def at_cosine(cosine, samples, units=40, dtype=torch.float32):
    """Random units, of which 3 and 30 have one cosine."""
    g = torch.Generator().manual_seed(samples)
    h = torch.randn(samples, units, generator=g, dtype=torch.float64)
    first, other = torch.linalg.qr(torch.randn(samples, 2, generator=g, dtype=torch.float64))[0].T
    h[:, 3], h[:, 30] = first, cosine * first + (1 - cosine**2) ** 0.5 * other
    return h.to(dtype)


@pytest.mark.parametrize("samples", [12, 13, 14, 15, 127, 200, 1000])
@pytest.mark.parametrize("limit", [0.9, 0.95, 0.99])
def test_no_pair_is_lost_to_the_rounding_of_float32(samples, limit):
    h = at_cosine(limit + 1e-9, samples, dtype=torch.float64)
    assert {3, 30} <= set(resembling(directions(h, 1), limit).tolist())


@pytest.mark.parametrize("samples", range(12, 20))
def test_autocast_around_the_call_hides_no_duplicate(samples):
    for cosine, found in ((0.9501, True), (0.9499, False)):
        with torch.autocast("cpu", torch.bfloat16):
            seen = layers.layer_metrics(at_cosine(cosine, samples))
        assert (seen.duplicate_as_paper == 2 / 40) is found


def test_reduced_precision_of_products_widens_the_screen():
    unit = directions(at_cosine(0.95 - 2**-7, 200), 1)
    before = torch.get_float32_matmul_precision()
    assert before == "highest"
    assert len(resembling(unit, 0.95)) == 0
    try:
        torch.set_float32_matmul_precision("medium")
        assert resembling(unit, 0.95).tolist() == [3, 30]
    finally:
        torch.set_float32_matmul_precision(before)


def test_what_products_may_lose_is_that_of_their_number_formats(monkeypatch):
    """Products of numbers rounded to bfloat16 are off by (1 + u)² − 1; where PyTorch does not tell, as much."""
    coarse = torch.finfo(torch.bfloat16).eps / 2
    assert torch.finfo(torch.float32).eps / 2 == screening.ROUNDOFF
    assert (1 + coarse) ** 2 - 1 < rounding.REDUCED < 4 * coarse + 1e-9
    assert rounding.reduced(torch.device("cpu")) == 0.0
    assert rounding.reduced(torch.device("cuda")) == rounding.REDUCED

    def mixed():
        raise RuntimeError

    monkeypatch.setattr(torch, "get_float32_matmul_precision", mixed)
    assert rounding.reduced(torch.device("cpu")) == rounding.REDUCED


def test_directions_are_of_the_last_dimension_and_of_length_one():
    h = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = directions(h)
    right = (h / h.reshape(15, 4).norm(dim=0)).reshape(15, 4).T
    torch.testing.assert_close(found.double(), right, rtol=1e-6, atol=1e-7)


def test_convolutions_on_a_processor_have_a_setting_of_their_own():
    settings = torch.backends.mkldnn.conv
    before = settings.fp32_precision
    try:
        settings.fp32_precision = "bf16"
        assert rounding.reduced(torch.device("cpu")) == rounding.REDUCED
    finally:
        settings.fp32_precision = before
    assert rounding.reduced(torch.device("cpu")) == 0.0
