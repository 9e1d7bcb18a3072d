"""How large the terms of a sum are, against loops over weights and blocks; the domain that checks partitions, against
what the partitions say coordinate by coordinate."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lop_theory.modules import certificate, expand  # noqa: E402
from lop_theory.modules.clone import program_of  # noqa: E402
from lop_theory.modules.conditions import (  # noqa: E402
    Check,
    Pass,
    _disagreement,
    canonical,
    clone_pair,
    largest,
    pair_of,
)
from lop_theory.modules.interface import Contraction, Operand  # noqa: E402
from lop_theory.modules.terms import allowed, amplitude, as_kept, inputs_of, kept_dim, limits, tolerance_of  # noqa: E402
from lop_theory.trace import state_of  # noqa: E402

labels = st.lists(st.integers(0, 2), min_size=1, max_size=5).map(lambda found: canonical(np.array(found)))


def positive(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 3, shape)


def blocks(index):
    return [np.flatnonzero(index == k) for k in range(index.max() + 1)]


@given(labels, labels, st.integers(0, 10**6), st.booleans())
def test_what_block_sums_may_differ_by(rows, columns, seed, scaled):
    """For row i and block J: the larger of J's own terms and of all terms, weighed by their inputs over J's largest but
    not above all terms as they are; then the mean over the clones of i."""
    weight = positive(len(rows), len(columns), seed=seed) * np.sign(
        positive(len(rows), len(columns), seed=seed + 1) - 1
    )
    factor = positive(1, len(columns), seed=seed + 2) if scaled else None
    found = allowed(weight, [("kept", rows), ("summed", columns)], "summed", factor)
    expected = np.zeros((len(rows), columns.max() + 1))
    for i in range(len(rows)):
        terms = np.abs(weight[i])
        for k, members in enumerate(blocks(columns)):
            everything = terms.sum()
            if scaled:
                everything = min(everything, (terms * factor[0]).sum() / factor[0][members].max())
            expected[i, k] = max(terms[members].sum(), everything)
    mean = np.stack([expected[rows == label].mean(0) for label in rows])
    np.testing.assert_allclose(found, mean, rtol=1e-12)


@given(labels, labels, st.integers(0, 10**6))
def test_outgoing_sums_are_weighed_by_adjoints(rows, columns, seed):
    weight, factor = positive(len(rows), len(columns), seed=seed), positive(len(rows), 1, seed=seed + 2)
    found = allowed(weight, [("kept", rows), ("summed", columns)], "kept", factor)
    turned = allowed(weight.T, [("kept", columns), ("summed", rows)], "summed", factor.T)
    np.testing.assert_allclose(found, turned.T, rtol=1e-12)


def test_an_input_that_is_zero_bounds_nothing():
    found = allowed(
        np.ones((1, 2)), [("kept", np.arange(1)), ("summed", np.arange(2))], "summed", np.array([[0.0, 5.0]])
    )
    assert found.tolist() == [[2, 1]]  # of the first all terms as they are, for 5/0 is no bound


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_amplitudes_are_the_largest_sizes_along_a_dimension(dim):
    values = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    values[0, 0, 0], values[1, 1, 1], values[2, 2, 2] = float("nan"), float("inf"), -float("inf")
    finite = torch.where(values.isfinite(), values, 0).abs().movedim(dim, 0)
    assert amplitude(values, dim).tolist() == [float(line.max()) for line in finite]
    assert amplitude(torch.tensor([-2.0, 1.0]), 0).tolist() == [2, 1]
    assert amplitude(None, dim) is None
    assert amplitude(torch.arange(3), 0) is None


def case(roles, shape, dim=-1):
    effect = Contraction("input", dim % len(shape), "weight", tuple(roles))
    return effect, Operand(None, tuple(shape), tuple(range(len(shape))), learned=False), list(roles)


def test_inputs_stand_where_the_summed_axis_is():
    value = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    sizes = value.abs().amax(0).numpy()
    kept, summed = ("kept", np.arange(3)), ("summed", np.arange(4))
    effect, data, roles = case([kept, summed], (6, 4))
    np.testing.assert_array_equal(inputs_of(effect, data, value, roles), sizes[None])
    effect, data, roles = case([summed, kept], (6, 4))
    np.testing.assert_array_equal(inputs_of(effect, data, value, roles), sizes[:, None])
    assert inputs_of(effect, data, None, roles) is None
    assert inputs_of(effect, data, value[:0], roles) is None
    for wrong in ([kept], [kept, summed, summed]):
        effect, data, roles = case(wrong, (6, 4))
        assert inputs_of(effect, data, value, roles) is None
    # a mask that picks some of the data: the sizes that are seen are not those of the sum
    effect, data, roles = case([kept, ("summed", np.arange(3))], (6, 4))
    assert inputs_of(effect, data, value, roles) is None
    effect, data, roles = case([kept, summed], (6, 3))
    assert inputs_of(effect, data, value, roles) is None
    effect, data, roles = case([("shared", np.arange(4)), ("summed", np.arange(2)), kept], (6, 4))
    assert inputs_of(effect, data, value, roles) is None  # four numbers are not those of four groups of two


def test_inputs_of_grouped_sums_stand_at_groups_times_channels():
    """A convolution in two groups of three channels each, whose weight is groups × outputs × inputs."""
    value = torch.randn(5, 6, 2, generator=torch.Generator().manual_seed(1))
    roles = [("shared", np.arange(2)), ("kept", np.arange(4)), ("summed", np.arange(3))]
    effect, data, roles = case(roles, (5, 6, 2), dim=1)
    sizes = value.abs().amax((0, 2)).numpy().reshape(2, 1, 3)
    np.testing.assert_array_equal(inputs_of(effect, data, value, roles), sizes)
    effect, data, roles = case([("shared", np.arange(3)), ("kept", np.arange(4)), ("summed", np.arange(2))], (5, 6, 2))
    alike = value.abs().amax((0, 1)).numpy().reshape(1, 1, 2)  # three sums of the same data
    np.testing.assert_array_equal(inputs_of(effect, data, value, roles), alike)


def test_adjoints_stand_where_the_kept_axis_is():
    adjoint = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    sizes = adjoint.abs().amax(0).numpy()
    batch, kept = np.arange(6), np.arange(3)
    roles = [("kept", kept), ("summed", np.arange(4))]
    for order, shown in ((roles, sizes[:, None]), (roles[::-1], sizes[None])):
        dim = kept_dim((batch, kept), order)
        assert dim == 1
        np.testing.assert_array_equal(as_kept(amplitude(adjoint, dim), order), shown)
    assert as_kept(None, roles) is None
    assert kept_dim([(batch, kept)], roles) is None
    assert kept_dim((batch, np.arange(3)), roles) is None  # equal, and another axis
    assert kept_dim((kept, kept), roles) is None
    assert kept_dim((batch, kept), [("kept", kept), ("kept", batch)]) is None


def test_largest_is_of_the_numbers_whatever_their_sign():
    for values, right in (([-3.0, 2.0], 3), ([1.0, 2.0], 2), ([-1.0, -0.5], 1)):
        assert largest(torch.tensor(values)) == right
    assert [largest(t) for t in (None, torch.zeros(0), torch.arange(4))] == [0, 0, 0]


class Mixed(nn.Module):
    """Weights of three precisions: one alone, one behind a cast, and one that the batch's size goes into."""

    def __init__(self):
        super().__init__()
        self.fine, self.coarse = nn.Linear(4, 3).double(), nn.Parameter(torch.randn(3, 3, dtype=torch.bfloat16))
        self.middle, self.token = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(1, 3).double())
        self.register_buffer("places", torch.arange(3))

    def forward(self, x):
        h = torch.tanh(self.fine(x)) @ self.coarse.double() + self.token.expand(x.shape[0], -1)
        return h[:, self.places] * (self.coarse.float().sum(0) * self.middle).double()


def test_tolerances_are_those_of_the_coarsest_tensor_behind_a_value():
    model, x = Mixed(), torch.randn(5, 4).double()
    program = program_of(model, x)
    found = limits(program, state_of(model))
    by_state = {program.state[name]: value for name, value in found.items() if name in program.state}
    assert by_state == {
        "fine.weight": 1e-9, "fine.bias": 1e-9, "coarse": 3e-2, "middle": 1e-4, "token": 1e-9, "places": 0.0
    }  # fmt: skip
    names = {node.name: [n.name for n in node.all_input_nodes] for node in program.graph.nodes}
    behind = {name: value for name, value in found.items() if name not in program.state}
    assert set(behind.values()) == {1e-9, 3e-2}
    assert [name for name in behind if behind[name] == 1e-9] == [
        name for name in behind if "expand" in name
    ]  # the token, repeated for every sample, is as exact as before
    assert all(max(found[n] for n in names[name] if n in found) == value for name, value in behind.items())
    assert not set(found) & {name for name, inputs in names.items() if set(inputs) & set(program.user_inputs)} - {
        name for name in found if "expand" in name
    }


# --- the domain that checks partitions -------------------------------------------------------------------------------


def domain():
    return Check(SimpleNamespace(modules={}), Pass({}, {}), {})


@given(labels, labels)
def test_a_partition_of_a_grid_is_split_if_it_is_a_product(first, second):
    here = domain()
    grid = canonical((first[:, None] * 3 + second[None, :]).ravel())
    np.testing.assert_array_equal(here.join([first, second]), grid)
    found = here.split(grid, [len(first), len(second)])
    assert not here.offences
    assert [part.tolist() for part in found] == [first.tolist(), second.tolist()]


@given(st.integers(1, 3), st.integers(1, 3), st.data())
def test_a_partition_of_a_grid_that_is_no_product_is_an_offence(m, n, data):
    index = canonical(np.array(data.draw(st.lists(st.integers(0, 2), min_size=m * n, max_size=m * n))))
    products = [
        np.array_equal(canonical((a[:, None] * 9 + b[None, :]).ravel()), index)
        for a in _partitions(m)
        for b in _partitions(n)
    ]
    here = domain()
    found = here.split(index, [m, n])
    assert bool(here.offences) != any(products)
    if here.offences:
        (one,) = here.offences
        assert "not aligned" in one.reason
        assert len({index[u] for u in one.units}) == 1
        assert [part.tolist() for part in found] == [list(range(m)), list(range(n))]


def _partitions(size):
    if size == 1:
        return [np.zeros(1, int)]
    two, three = [[0, 0], [0, 1]], [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [0, 1, 2]]
    return [np.array(p) for p in (two if size == 2 else three)]


@given(labels, labels)
def test_concatenations_are_cut_where_no_block_is(first, second):
    here = domain()
    whole = here.concat([first, second])
    assert whole.tolist() == [*first, *(second + first.max() + 1)]
    found = here.parts(whole, [len(first), len(second)])
    assert not here.offences
    assert [part.tolist() for part in found] == [first.tolist(), second.tolist()]
    here.parts(np.zeros(len(first) + len(second), int), [len(first), len(second)])
    (one,) = here.offences
    assert (one.condition, one.reason) == ("MC2", "a split separates clones")


@given(labels, st.data())
def test_partitions_that_meet_are_equal_or_two_coordinates_say_why_not(first, data):
    second = canonical(np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(first), max_size=len(first)))))
    here = domain()
    here.tie(first, second)
    together = [
        (i, j) for i in range(len(first)) for j in range(i) if (first[i] == first[j]) != (second[i] == second[j])
    ]
    assert bool(here.offences) == bool(together)
    if together:
        i, j = here.offences[0].units
        assert (first[i] == first[j]) != (second[i] == second[j])
    assert _disagreement(first, np.append(first, 0)) == ()


@given(labels, st.integers(0, 10**6))
def test_the_pair_that_is_named_is_of_one_block_and_differs_most(index, seed):
    values = np.random.default_rng(seed).standard_normal(len(index))
    members = [block for block in blocks(index) if len(block) > 1]
    pair = clone_pair(index)
    assert bool(pair) == bool(members)
    if members:
        assert index[pair[0]] == index[pair[1]]
        assert pair[0] != pair[1]
    for block in members:
        low, high = pair_of(block, values)
        assert values[high] - values[low] == np.ptp(values[block])
        assert {low, high} <= set(block)


def test_what_must_not_be_cloned_and_what_averages():
    here = domain()
    here.rigid(np.arange(3))
    here.average(np.array([0, 0, 1, 1]))
    assert (here.offences, here.unequal) == ([], [])
    here.rigid(np.array([0, 1, 1]))
    assert here.offences[0].units == (1, 2)

    here.node = SimpleNamespace(name="mean")
    here.average(np.array([0, 0, 1]))
    here.average(np.array([0, 0, 1, 1]))
    assert here.unequal == ["mean"]


# --- the rows of a certificate ----------------------------------------------------------------------------------------


def test_a_row_counts_the_operators_of_its_module_and_names_its_own_offences():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x):
            h = torch.sin(torch.tanh(self.a(x)))
            return self.c(F.gelu(self.b(h)) * self.b(-h))

    torch.manual_seed(0)
    x = torch.randn(6, 4, dtype=torch.float64)
    clone = expand(nn.Sequential(Block()).double(), 2, example_input=x)
    rows = {row.module: row for row in certificate(clone, example_input=x).rows}
    assert {name: row.operators for name, row in rows.items()} == {"0.a": 1, "0": 5, "0.b": 2, "0.c": 1}
    assert all(row.conditions == {"MC1": True, "MC2": True, "MC3": True} for row in rows.values())
    with torch.no_grad():
        clone[0].c.weight[:, 0] += 1e-3
    found = certificate(clone, example_input=x)
    rows = {row.module: row for row in found.rows}
    broken = {name for name, row in rows.items() if row.offences}
    assert "0.c" in broken
    assert not rows["0.c"].conditions["MC2"]
    assert rows["0.c"].conditions["MC1"]
    for name, row in rows.items():
        assert {o.module for o in row.offences} <= {name}
        assert row.conditions == {c: not any(o.condition.startswith(c) for o in row.offences) for c in row.conditions}
    assert sum(len(row.offences) for row in rows.values()) == len(
        [o for o in (*found.symbolic, *found.numeric) if o.module]
    )


MIDDLES = {
    "conv2d": lambda: nn.Conv2d(4, 4, 1),
    "conv_transpose2d": lambda: nn.ConvTranspose2d(4, 4, 1),
}


@pytest.mark.parametrize("kind", MIDDLES)
def test_a_large_unit_with_small_adjoints_hides_no_outgoing_sum_of_a_convolution(kind):
    """Unit 3 has weights 3000 times the others', is read by a 3000th: what the others pass back counts by adjoints."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Tanh(), MIDDLES[kind](), nn.Tanh(), nn.Conv2d(4, 2, 1))
    x = torch.randn(3, 3, 4, 4)
    rows = 1 if kind == "conv_transpose2d" else 0
    with torch.no_grad():
        model[2].weight.select(rows, 3).mul_(3000)
        model[4].weight[:, 3] /= 3000
    clone = expand(model, 2, example_input=x)
    assert not certificate(clone, example_input=x).symbolic
    with torch.no_grad():
        weight = clone[2].weight.transpose(0, 1) if rows else clone[2].weight
        weight[:2, 0] *= 1.02  # both clones of unit 0 read more of one clone: incoming sums agree, outgoing ones do not
    found = certificate(clone, example_input=x).symbolic
    assert {(o.module, o.condition) for o in found} == {("2", "MC2")}


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        (torch.float64, 1e-9), (torch.float32, 1e-4), (torch.float16, 4e-3), (torch.bfloat16, 3e-2),
        (torch.float8_e4m3fn, 0.25), (torch.float8_e5m2, 0.25), (torch.int64, 0.0), (torch.bool, 0.0),
    ],
)  # fmt: skip
def test_tolerances_of_equal_weights(dtype, tolerance):
    assert tolerance_of(torch.zeros(2).to(dtype)) == tolerance
