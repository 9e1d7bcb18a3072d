"""Dense layers as arrays say what the graph of the same layers says; where only the graph can decide, they say so."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix

from lop_theory.activations.catalogue import activation
from lop_theory.graph import dense, dimensions, equitable, manifold
from lop_theory.graph.certificate import (
    ROUNDINGS,
    Incoming,
    frozen_among,
    frozen_units,
    pre_activation,
    units_of_layers,
)
from lop_theory.graph.cloning import hypotheses
from lop_theory.graph.convert import mlp_of, network_of
from lop_theory.graph.dense import Layer, Mlp, coarsest
from lop_theory.graph.diagnosis import diagnose, diagnose_layers
from lop_theory.graph.enclosures import Level, Roundoff, of_level
from lop_theory.graph.refinement import refine
from lop_theory.graph.scalars import rational, to_float

TOLERANCE = 1e-9


def cloned(rng, sizes, copies, *, biased=True, spread=0.0):
    """Random layers of which every hidden unit has ``copies`` clones with random shares of its outgoing weights."""
    layers = []
    for k in range(len(sizes) - 1):
        into, out = (1 if k == 0 else copies), (1 if k == len(sizes) - 2 else copies)
        base = rng.normal(size=(sizes[k + 1], sizes[k]))
        shares = rng.random((sizes[k + 1], sizes[k], out, into)) + 0.1
        shares = (
            shares - shares.mean(3, keepdims=True) - shares.mean(2, keepdims=True) + shares.mean((2, 3), keepdims=True)
        )
        whole = base[:, :, None, None] / into + shares
        weight = whole.transpose(0, 2, 1, 3).reshape(sizes[k + 1] * out, sizes[k] * into)
        weight = weight + spread * rng.normal(size=weight.shape)
        bias = np.repeat(rng.normal(size=sizes[k + 1]) if biased else np.zeros(sizes[k + 1]), out)
        layers.append(Layer(weight, bias))
    return mlp_of(layers, "relu")


def shuffled(rng, mlp):
    """The same network with its hidden units in another order."""
    orders = [np.arange(mlp.sizes[0]), *(rng.permutation(n) for n in mlp.sizes[1:-1]), np.arange(mlp.sizes[-1])]
    layers = [Layer(w[np.ix_(orders[k + 1], orders[k])], b[orders[k + 1]]) for k, (w, b) in enumerate(mlp.layers)]
    return Mlp(tuple(layers), mlp.hidden, mlp.last)


networks = st.builds(
    lambda seed, sizes, copies, biased, spread: shuffled(
        np.random.default_rng(seed), cloned(np.random.default_rng(seed), sizes, copies, biased=biased, spread=spread)
    ),
    st.integers(0, 10**6),
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([0.0, 1e-12, 1e-3]),
)


@given(networks)
def test_dense_and_graph_agree(mlp):
    network = network_of(mlp)
    for mode in ("both", "in"):
        found = coarsest(mlp, TOLERANCE, mode)
        assert found == refine(network, mode=mode, tolerance=TOLERANCE)
    found = coarsest(mlp, TOLERANCE)
    assert dense.codimension(mlp, found) == dimensions.codimension(network.dag, found, "both")
    assert dense.distance(mlp, found) == pytest.approx(manifold.distance(network, found, "both"), rel=1e-12, abs=1e-300)
    assert dense.block_constant(mlp, found, TOLERANCE) == bool(equitable.block_constant(network, found, TOLERANCE))


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("near", [0.0, 4e-10, 1e-9])
def test_blocks_are_equitable_where_sums_are_equal_within_the_tolerance_or_hardly(depth, near):
    """A part that is split off never meets another block of its layer."""
    rng = np.random.default_rng(depth)
    for _ in range(40):
        sizes = [2, *rng.integers(2, 9, size=depth - 1), 2]
        layers = [Layer(rng.choice([-1.0, 1.0], (b, a)) * (1 + near * rng.integers(0, 3, (b, a))),
                        rng.integers(0, 3, b).astype(float)) for a, b in pairwise(sizes)]  # fmt: skip
        mlp = mlp_of(layers, "relu")
        found = coarsest(mlp, TOLERANCE)
        assert found is not None or near
        if found is not None:
            assert [v for v in hypotheses(network_of(mlp), found, TOLERANCE) if not v] == []
            if not near:
                assert found == refine(network_of(mlp), tolerance=TOLERANCE)


@given(networks, st.data())
def test_distance_and_dimension_of_any_layered_partition(mlp, data):
    labels = [np.arange(mlp.sizes[0])]
    for size in mlp.sizes[1:-1]:
        labels.append(np.array(data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))))
    labels.append(np.arange(mlp.sizes[-1]))
    partition = dense.partition_from_labels(np.concatenate([100 * k + own for k, own in enumerate(labels)]))
    network = network_of(mlp)
    assert dense.codimension(mlp, partition) == dimensions.codimension(network.dag, partition, "both")
    right = manifold.distance(network, partition, "both")
    assert dense.distance(mlp, partition) == pytest.approx(right, rel=1e-12, abs=1e-300)
    for tolerance in (TOLERANCE, 10.0):
        right = bool(equitable.block_constant(network, partition, tolerance))
        assert dense.block_constant(mlp, partition, tolerance) == right


@pytest.mark.parametrize("width", [5, 40, 130])
def test_many_splitters_come_in_several_chunks(width, monkeypatch):
    monkeypatch.setattr(dense, "NUMBERS", 4 * width)
    rng = np.random.default_rng(width)
    mlp = shuffled(rng, cloned(rng, [width, width, width, 2], 2, biased=False))
    found = coarsest(mlp, TOLERANCE)
    assert sorted(found.sizes) == [1] * (width + 2) + [2] * (2 * width)
    assert found == refine(network_of(mlp), tolerance=TOLERANCE)


def test_the_graph_s_numbers_are_those_of_the_arrays():
    mlp = cloned(np.random.default_rng(0), [2, 3, 2], 2)
    network = network_of(mlp)
    assert network.dag.ids == mlp.names
    assert_array_equal(network.bias, mlp.bias)
    assert_array_equal(network.dag.activation_of, mlp.activation_of)
    assert network.dag.activations == mlp.activations == (activation("relu"), activation("identity"))
    assert network.dag.edges == mlp.edges


@given(
    networks,
    st.sampled_from([None, (-1, 1), (0, "1/2")]),
    st.sampled_from(["relu", "tanh", "hardtanh"]),
    st.sampled_from(sorted(ROUNDINGS)),
)
def test_the_same_units_are_frozen(mlp, inputs, name, arithmetic):
    dying = [Layer(w, b - 5 * (k % 2)) for k, (w, b) in enumerate(mlp.layers)]
    mlp = Mlp(tuple(dying), activation(name), mlp.last)
    found = frozen_among(units_of_layers(mlp), inputs, arithmetic)
    right = frozen_units(network_of(mlp), inputs, arithmetic)
    assert [(f.id, f.flat_region) for f in found] == [(f.id, f.flat_region) for f in right]
    for f, exact in zip(found, right, strict=True):  # floats around exact sums, and close
        (low, high), (a, b) = f.interval, exact.interval
        assert low <= a
        assert b <= high
        near = 1e-12 + 2.0**-8 * to_float(ROUNDINGS[arithmetic].unit)  # the rounding spoken of is known to 2⁻²⁰ of it
        assert_allclose([*map(to_float, f.interval)], [*map(to_float, exact.interval)], rtol=near, atol=near)


@pytest.mark.parametrize("arithmetic", sorted(ROUNDINGS))
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([1e-310, 1e-160, 1.0, 1e120]))
def test_float_enclosures_lie_on_both_sides_of_the_exact_corners(arithmetic, seed, columns, scale):
    """And close: what underflows is counted for both ends of every source, where one is used."""
    rng = np.random.default_rng(seed)
    weight = scale * rng.normal(size=(4, columns)) * rng.integers(0, 3, size=(4, columns))
    bias = scale * rng.normal(size=4)
    ends = np.sort(rng.normal(size=(columns, 2)), axis=1)
    ends[rng.random(columns) < 0.2, 0] = -math.inf
    ends[rng.random(columns) < 0.2, 1] = math.inf
    ranges = [tuple(e if math.isinf(e) else rational(e) for e in pair) for pair in ends.tolist()]
    edges = (weight.ravel(), np.tile(np.arange(columns), 4), np.arange(0, 4 * columns + 1, columns))  # zeros, too
    for matrix in (weight, csr_matrix(edges, shape=weight.shape)):
        level = Level(slice(0, 4), slice(0, columns), matrix)
        found = of_level(level, bias, tuple(ends.T), Roundoff(*map(to_float, ROUNDINGS[arithmetic])))
        for row in range(4):
            into = Incoming(range(columns), weight[row])
            low, high = map(compared, pre_activation(bias[row], into, ranges, ROUNDINGS[arithmetic]))
            (above, below), (least, largest) = ([end[row] for end in pair] for pair in found)
            assert least <= low <= above
            assert below <= high <= largest
            unused = 4 * to_float(ROUNDINGS[arithmetic].tiny) * abs(ends[np.isfinite(ends)]).sum()
            assert math.isinf(high) or largest - below <= 1e-12 * scale + 1e-306 + 2 * float(high - below) + unused


def test_sums_that_overflow_are_left_to_exact_arithmetic():
    layers = [
        Layer(np.array([[1e300, -1e300], [0.0, 0.0]]), np.array([-1.0, -1.0])),
        Layer(np.ones((1, 2)), np.zeros(1)),
    ]
    mlp = mlp_of(layers, "relu")
    found = frozen_among(units_of_layers(mlp), (-1e300, 1e300), "float64")
    assert [f.id for f in found] == [f.id for f in frozen_units(network_of(mlp), (-1e300, 1e300))] == ["l1.1"]


def compared(end):
    """A number that compares exactly with floats."""
    return end if isinstance(end, float) else Fraction(int(end.p), int(end.q))


def test_the_whole_diagnosis_is_that_of_the_graph_but_for_the_nearest_pair():
    for spread in (0.0, 1e-12, 1e-3):
        mlp = cloned(np.random.default_rng(3), [3, 2, 2, 2], 2, spread=spread)
        found = diagnose_layers(mlp, tolerance=TOLERANCE)
        right = diagnose(network_of(mlp), tolerance=TOLERANCE)
        assert found.hypotheses == right.hypotheses
        assert found.distance == pytest.approx(right.distance, rel=1e-12, abs=1e-300)
        assert found._replace(nearest=None, distance=0) == right._replace(nearest=None, distance=0)


def test_units_of_two_layers_may_share_a_block_only_in_the_graph():
    """A dead unit in each of two layers: no weight in, none out."""
    mlp = mlp_of([Layer(np.array([[1.0], [0.0]]), np.zeros(2)), Layer(np.array([[2.0, 0.0], [0.0, 0.0]]), np.zeros(2)),
                  Layer(np.array([[3.0, 0.0]]), np.zeros(1))], "relu")  # fmt: skip
    found = refine(network_of(mlp), tolerance=TOLERANCE)
    assert [len(b) for b in found.members] == [1, 1, 2, 1, 1]
    assert coarsest(mlp, TOLERANCE) is None
    assert coarsest(mlp, TOLERANCE, "in") is None
    assert diagnose_layers(mlp, tolerance=TOLERANCE) is None


@pytest.mark.parametrize("side", ["in", "out"])
def test_one_side_that_shows_that_layers_cannot_mix_is_enough(side):
    first, last = np.array([[1.0], [2.0]]), np.array([[1.0, 2.0]])
    (first if side == "out" else last.T)[1] = 0  # unit 1 has no sum on the other side
    mlp = mlp_of([Layer(first, np.zeros(2)), Layer(last, np.zeros(1))], "relu")
    assert coarsest(mlp, TOLERANCE) == refine(network_of(mlp), tolerance=TOLERANCE)
    assert (coarsest(mlp, TOLERANCE, "in") is None) == (side == "out")


@pytest.mark.parametrize("limit", ["MAX_PAIR_SEARCH", "MAX_PAIR_EDGES"])
def test_the_command_reads_wide_layers_as_arrays(limit, tmp_path, monkeypatch, capsys):
    from safetensors.numpy import save_file

    from lop_theory.graph import __main__ as command

    mlp = cloned(np.random.default_rng(0), [3, 2, 2], 2)
    state = {f"net.{k}.{part}": np.ascontiguousarray(getattr(layer, part), dtype=np.float64)
             for k, layer in enumerate(mlp.layers) for part in ("weight", "bias")}  # fmt: skip
    save_file(state, tmp_path / "m.safetensors")
    assert command.main([str(tmp_path / "m.safetensors")]) == 0
    graph = capsys.readouterr().out
    monkeypatch.setattr(command, limit, 6 if limit == "MAX_PAIR_SEARCH" else 19)
    monkeypatch.setattr(command, "diagnose", lambda *_: pytest.fail("the graph was built"))
    assert command.main([str(tmp_path / "m.safetensors")]) == 0
    arrays = capsys.readouterr().out
    assert [line for line in graph.splitlines() if "nearest" not in line] == arrays.splitlines()
    assert "l1.0 l1.1" in arrays


def test_forward_classes_alone_may_need_the_graph():
    """Every hidden unit is read, so layers cannot mix; by incoming sums alone, two units of sum 0 of two layers may."""
    first, second, last = np.array([[1.0], [0.0]]), np.array([[2.0, 1.0], [0.0, 0.0]]), np.array([[3.0, 1.0]])
    mlp = mlp_of([Layer(w, np.zeros(len(w))) for w in (first, second, last)], "relu")
    assert coarsest(mlp, TOLERANCE) is not None
    assert [len(b) for b in refine(network_of(mlp), mode="in", tolerance=TOLERANCE).members] == [1, 1, 2, 1, 1]
    assert diagnose_layers(mlp, tolerance=TOLERANCE) is None


@pytest.mark.parametrize("scale", [2.0**-40, 2.0**30])
def test_the_scale_of_dense_weights_does_not_matter(scale):
    rng = np.random.default_rng(7)
    for spread in (0.0, 1e-12, 1e-3):
        mlp = shuffled(rng, cloned(rng, [3, 3, 2, 2], 3, spread=spread))
        scaled = Mlp(tuple(Layer(scale * w, b) for w, b in mlp.layers), mlp.hidden, mlp.last)
        assert coarsest(scaled, TOLERANCE) == coarsest(mlp, TOLERANCE)
        assert coarsest(mlp, TOLERANCE).blocks == (10 if spread < 1e-6 else len(mlp.names))


def test_chunks_of_splitters_that_are_cut_by_the_budget(monkeypatch):
    rng = np.random.default_rng(5)
    mlp = shuffled(rng, cloned(rng, [90, 3, 2], 2))
    whole = coarsest(mlp, TOLERANCE)
    monkeypatch.setattr(dense, "NUMBERS", 21 * 6)  # 21 columns of the 6 crowded rows, which is more than 16
    assert coarsest(mlp, TOLERANCE) == whole
    assert whole.blocks == 90 + 3 + 2
