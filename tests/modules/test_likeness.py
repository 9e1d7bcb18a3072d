"""Which units are constant, equal, twins or alike, by numbers at the ends of what is allowed; distances of weights."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.modules import Criteria, detect  # noqa: E402
from lop_theory.modules import likeness as alike  # noqa: E402
from lop_theory.modules.finder import _not_finite, _weight_distance  # noqa: E402
from lop_theory.modules.gathered import Gathered  # noqa: E402
from lop_theory.modules.likeness import (  # noqa: E402
    _blocks,
    alike_blocks,
    constant,
    equal_blocks,
    groups,
    led,
    one_nonzero_value,
    twin_blocks,
)
from tests.modules.planted import ROWS, layer, network  # noqa: E402


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_a_unit_is_constant_within_a_tolerance_of_its_largest_value_or_eight_roundings():
    low, high = double(1.0, 1.0, -2.0, -2.0, 0.0, -1.0), double(1.25, 1.3, -1.5, -1.4, 0.0, 0.25)
    right = [True, False, False, False, True, False]
    assert constant(SimpleNamespace(extremes=(low, high), eps=0.0), 0.2).tolist() == right
    assert constant(SimpleNamespace(extremes=(low, high), eps=2.0**-5), 0.0).tolist() == [
        True, True, True, False, True, False
    ]  # fmt: skip
    assert constant(SimpleNamespace(extremes=(low, high), eps=2.0**-6), 0.0).tolist() == [False] * 4 + [True, False]
    assert constant(SimpleNamespace(extremes=(low, high), eps=2.0**-6), 0.25).tolist() == [
        True, True, True, False, True, False
    ]  # fmt: skip


def sums(columns, near_zero):
    h = torch.stack(columns, 1)
    return SimpleNamespace(samples=len(h), mean=h.mean(0), squares=h.square().sum(0), near_zero=near_zero)


def test_units_of_one_nonzero_value():
    one, some = double(0, 0, 3, 3, 0, 3, 0, 3), double(0, 0, 3, 3, 0, 3, 0, 4)
    zero, single, small = torch.zeros(8).double(), double(0, 5, 0, 0, 0, 0, 0, 0), double(0, 0, 0, 1e-9, 0, 0, 0, 0)
    signs = double(0, 0, -3, 3, 0, -3, 0, 3)
    found = one_nonzero_value(
        sums([one, -one, some, zero, single, small, signs], double(0.5, 0.5, 0.5, 1, 0.875, 1, 0.5))
    )
    assert found.tolist() == [True, True, False, True, True, True, False]


ALL = torch.ones(9, dtype=torch.bool)


def blocks(rows, limit, eligible=ALL):
    points = torch.tensor(rows, dtype=torch.float64)
    return _blocks(points, torch.tensor(limit).double().expand(points.shape[1]), eligible[: points.shape[1]])


def test_units_join_the_first_that_is_within_the_smaller_of_two_limits():
    assert blocks([[0.0, 1.0, 2.0, 5.0]], 1.0) == (0, 0, 1, 2)  # at the limit, of the first and not of the second
    assert blocks([[5.0, 2.0, 1.0, 0.0]], 1.0) == (0, 1, 2, 2)
    assert blocks([[-3.0, -2.5, 3.0, 2.5]], 1.0) == (0, 0, 1, 1)
    assert blocks([[0.0, 1.0]], [2.0, 0.5]) == (0, 1)
    assert blocks([[0.0, 1.0]], [0.5, 2.0]) == (0, 1)
    assert blocks([[0.0, 1.0]], [1.0, 2.0]) == (0, 0)
    assert blocks([[0.0, 3.0], [0.0, 4.0]], 5.0) == (0, 0)
    assert blocks([[0.0, 3.0], [0.0, 4.0]], 4.9) == (0, 1)
    assert blocks([[0.0, 0.0, 1.0], [9.0, 0.0, 0.0]], 1.0) == (0, 1, 1)
    assert blocks([[2.0, 1.0, 0.0, 9.0], [0.0, 7.0, 0.0, 0.0]], 2.0) == (0, 1, 0, 2)
    assert blocks([[0.0, 0.0, 0.0]], 1.0, torch.tensor([True, False, True])) == (0, 1, 0)
    assert blocks([[0.0, 0.0, 0.0]], 1.0, torch.zeros(3, dtype=torch.bool)) == (0, 1, 2)


def sketched(monkeypatch, sketch, spread, eps=0.0, unit=1.0):
    sketch = torch.tensor(sketch).double()
    like = SimpleNamespace(
        sketch=sketch, spread=torch.tensor(spread).double(), size=sketch.norm(dim=0) * unit, unit=unit
    )
    monkeypatch.setattr(alike, "likeness", lambda _: like)
    return SimpleNamespace(eps=eps)


def test_equal_units_differ_by_a_tolerance_of_their_spread_and_two_roundings_of_their_size(monkeypatch):
    gathered = sketched(monkeypatch, [[4.0, 4.5, 5.1]], [2.0, 2.0, 2.0])
    assert equal_blocks(gathered, 0.25, ALL[:3]) == (0, 0, 1)
    assert equal_blocks(gathered, 0.24, ALL[:3]) == (0, 1, 2)
    gathered = sketched(monkeypatch, [[4.0, 4.5, 5.1]], [2.0, 2.0, 2.0], unit=0.5)
    assert equal_blocks(gathered, 0.125, ALL[:3]) == (0, 0, 1)
    gathered = sketched(monkeypatch, [[4.0, 4.5, 5.1]], [0.0, 0.0, 0.0], eps=2.0**-4)
    assert equal_blocks(gathered, 0.25, ALL[:3]) == (0, 0, 1)  # 2 · 4 / 16
    gathered = sketched(monkeypatch, [[4.0, 4.51, 5.1]], [0.0, 0.0, 0.0], eps=2.0**-4)
    assert equal_blocks(gathered, 0.25, ALL[:3]) == (0, 1, 2)


def test_twins_are_compared_over_their_signed_size(monkeypatch):
    gathered = sketched(monkeypatch, [[1.0, -2.0, 3.0, 0.0], [-2.0, 4.0, 1.0, 0.0]], [1.0, 2.0, 3.0, 1.0])
    found, factor = twin_blocks(gathered, 1e-3, ALL[:4])
    assert found == (0, 0, 1, 2)
    assert factor.tolist() == pytest.approx([-(5**0.5), 20**0.5, 10**0.5, 1e-300])
    gathered = sketched(monkeypatch, [[1.0, 2.0], [0.0, 0.0]], [1.0, 2.0], unit=3.0)
    assert twin_blocks(gathered, 1e-3, ALL[:2])[1].tolist() == pytest.approx([3.0, 6.0])
    for off, tolerance, eps, twins in (
        (0.3, 0.4, 0.0, True), (0.3, 0.2, 0.0, False), (0.3, 0.0, 0.09, True), (0.3, 0.0, 0.065, False),
        (0.3, 0.1, 0.055, True),
    ):  # fmt: skip
        gathered = sketched(monkeypatch, [[1.0, 4.0], [0.0, 4.0 * off]], [1.0, 4.0], eps)
        assert (twin_blocks(gathered, tolerance, ALL[:2])[0] == (0, 0)) == twins


def seen(values):
    found = Gathered()
    found.add(values, 1)
    return found


def test_alike_units_are_those_whose_cosine_and_correlation_say_so():
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(400, 6, generator=generator, dtype=torch.float64)
    h[:, 3] = h[:, 1] + 0.01 * h[:, 0]
    h[:, 5] = h[:, 1] - 0.01 * h[:, 2]
    h[:, 4] = -h[:, 0]
    assert alike_blocks(seen(h), 0.95, ALL[:6]) == (0, 1, 2, 1, 3, 1)
    assert alike_blocks(seen(h), 0.9999999, ALL[:6]) == (0, 1, 2, 3, 4, 5)
    multiples = torch.stack([h[:, 0], 2 * h[:, 0], 4 * h[:, 0]], 1)
    assert alike_blocks(seen(multiples), 0.95, ALL[:3]) == (0, 0, 0)
    eligible = torch.tensor([True, True, True, False, True, True])
    assert alike_blocks(seen(h), 0.95, eligible) == (0, 1, 2, 3, 4, 1)
    assert alike_blocks(seen(h), 0.95, ~ALL[:6]) == (0, 1, 2, 3, 4, 5)
    assert alike_blocks(seen(h[:3]), 0.95, ALL[:6]) == (0, 1, 2, 3, 4, 5)  # too few samples
    assert alike_blocks(seen(h + 100), 0.95, ALL[:6]) == (0, 1, 2, 1, 3, 1)  # a cosine near 1 is no correlation
    assert alike_blocks(seen(h[:, :1]), 0.95, ALL[:1]) == (0,)
    one = Gathered(0.95)
    one.add(h[:, [0, 2, 1]], 1)
    assert alike_blocks(one, 0.95, ALL[:3]) == (0, 1, 2)  # none of which products are known


def test_units_join_the_first_leader_that_they_resemble():
    chain = np.eye(5, dtype=bool)
    chain[0, 1] = chain[1, 0] = chain[1, 2] = chain[2, 1] = chain[3, 4] = chain[4, 3] = chain[4, 0] = True
    assert led(chain) == (0, 0, 1, 2, 2)
    assert led(~np.eye(3, dtype=bool)) == (0, 0, 0)
    assert led(np.zeros((3, 3), dtype=bool)) == (0, 1, 2)
    assert led(np.zeros((0, 0), dtype=bool)) == ()
    assert groups([]) == []
    assert groups([0, 1, 2]) == []
    assert groups((2, 0, 1, 0, 2, 2)) == [(1, 3), (0, 4, 5)]


# --- what the finder says of layers and weights -----------------------------------------------------------------------


def distance(weight, near, columns=(), kind="sum", side=0, name="a"):
    model = nn.Module()
    model.a = nn.Parameter(torch.tensor(weight).double())
    reader = SimpleNamespace(kind=kind, weight=(name, side) if name else None, operator="linear", reads="h")
    units = SimpleNamespace(near_blocks=near, units=len(near))
    return _weight_distance(model, units, reader, {"h": columns, "g": (0, 0)})


def test_the_distance_of_weights_is_that_of_their_block_sums_over_their_norm():
    weight = [[3.0, 1.0], [1.0, 1.0]]
    norm = 12**0.5
    assert distance(weight, (0, 1)) == 0.0
    assert distance(weight, (0, 0)) == pytest.approx(2**0.5 / norm)  # rows apart by (2, 0)
    assert distance(weight, (0, 1), (0, 0)) == pytest.approx(2**0.5 / norm)  # columns by (2, 0)
    assert distance([[1.0, 2.0], [2.0, 1.0]], (0, 0), (0, 0)) == pytest.approx(0.0, abs=1e-12)  # of equal sums
    assert distance([[0.0, 0.0], [0.0, 0.0]], (0, 0)) == 0.0
    for other in ({"kind": "activation"}, {"side": 1}, {"name": ""}):
        assert distance(weight, (0, 0), **other) is None
    assert distance([1.0, 2.0], (0, 0)) is None


def test_columns_of_flattened_images_and_pixels_of_kernels():
    """Two channels of two pixels each: clones are columns 0 and 2, 1 and 3."""
    weight = [[1.0, 2.0, 1.0, 2.0], [1.0, 2.0, 4.0, 2.0]]
    assert distance(weight, (0, 1), (0, 0)) == pytest.approx((9 / 2) ** 0.5 / 35**0.5)
    assert distance(weight, (0, 1), (0, 0, 0)) == 0.0  # four columns are not those of three units
    kernel = [[[1.0, 5.0], [2.0, 5.0]], [[3.0, 5.0], [2.0, 6.0]]]
    assert distance(kernel, (0, 0)) == pytest.approx((4 / 2 + 1 / 2) ** 0.5 / 129**0.5)


def test_weights_that_are_not_finite_are_named():
    model = nn.Linear(3, 2)
    assert _not_finite(model) == []
    for odd in (torch.inf, -torch.inf, torch.nan):
        with torch.no_grad():
            model.bias[1] = odd
        assert _not_finite(model) == ["bias"]


def test_a_layer_of_zeros_is_no_distance_from_its_clones():
    model = network()
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.zero_()
    found = layer(detect(model, ROWS), "1")
    assert (found.distance, found.dead, found.constant, found.cloned) == (0.0, tuple(range(8)), (), 0)


def test_of_one_sample_no_unit_is_equal_to_another_and_none_constant():
    model = network()
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = model[0].weight[0], model[0].bias[0]
    found = layer(detect(model, ROWS[:1], criteria=Criteria()), "0")
    assert found.blocks == tuple(range(8))
    assert found.constant == ()
