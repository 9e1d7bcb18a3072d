"""Frozen units: rounding at the boundary of a flat region, regions on two sides, chains through layers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations import activation
from lop_theory.balls import fmpq
from lop_theory.errors import InvalidInput
from lop_theory.graph.certificate import SLACK, frozen_units
from lop_theory.graph.dag import Network, Node, build_network
from lop_theory.graph.passes import forward
from lop_theory.graph.scalars import exact, floats, to_float

SUM = -7.790857331842122  # a bias that cancels the sixteen weights below to -9.9e-17, exactly
WEIGHTS = [
    0.14302060167127723, 0.8489593995678604, 0.7661368727868479, 0.26251833548202747, 0.5004807362210215,
    0.45499615414085076, 0.6550770429955354, 0.7908361176241581, 0.10292099090649254, 0.038064001756786245,
    0.837407452880671, 0.43843939722600284, 0.7646572816333626, 0.012084992817599586, 0.4509333221142534,
    0.7243246320173747,
]  # fmt: skip


def saturated_sum(kind, bias, upstream=10.0):
    """x → sixteen saturated units → v → y, in floats."""
    units = [Node(f"u{k}", activation("hardsigmoid"), upstream) for k in range(16)]
    edges = [("x", f"u{k}", 1.0) for k in range(16)] + [(f"u{k}", "v", w) for k, w in enumerate(WEIGHTS)]
    nodes = [*units, Node("v", activation(kind), bias), Node("y", activation("identity"), 0.0)]
    return build_network(["x"], nodes, [*edges, ("v", "y", 1.0)], ["y"])


@pytest.mark.claim("frozen-unit")
def test_a_unit_within_rounding_of_its_boundary_is_not_certified_in_floats():
    network = saturated_sum("relu", SUM)
    z = forward(network, np.zeros((1, 1))).z[network.dag.number_of["v"]]
    assert z > 0  # though the exact sum is negative
    assert "v" not in {f.id for f in frozen_units(network, (-1, 1))}
    certified = {f.id: f for f in frozen_units(network, (-1, 1), "exact")}
    assert certified["v"].interval == (fmpq(-57, 2**59),) * 2
    assert {f.arithmetic for f in certified.values()} == {"exact"}


@pytest.mark.claim("frozen-unit")
@pytest.mark.parametrize(
    ("arithmetic", "margin", "frozen"),
    [
        ("float64", 1e-12, True),
        ("float64", 1e-15, False),
        ("float32", 1e-12, False),
        ("float32", 1e-4, True),
        ("bfloat16", 1e-4, False),
        ("bfloat16", 4.0, True),
    ],
)
def test_the_margin_is_that_of_the_arithmetic(arithmetic, margin, frozen):
    found = frozen_units(saturated_sum("relu", SUM - margin), (-1, 1), arithmetic)
    assert ("v" in {f.id for f in found}) == frozen


@pytest.mark.claim("frozen-unit")
@given(st.permutations(range(16)), st.sampled_from([1e-13, -1e-13, 1e-15, -1e-15, 0.0]), st.booleans())
def test_certified_intervals_hold_the_sum_in_every_order(order, offset, single):
    kind = np.float32 if single else np.float64
    network = saturated_sum("relu", SUM * (1 + 1e-3) + offset)
    (v,) = [f for f in frozen_units(network, (-1, 1), kind.__name__) if f.id == "v"]
    z = kind(network.bias[network.dag.number_of["v"]])
    for k in order:
        z = kind(z + kind(WEIGHTS[k]))
    assert v.interval[0] <= exact([float(z)])[0] <= v.interval[1]


@pytest.mark.claim("frozen-unit")
@pytest.mark.parametrize(
    ("kind", "bias", "frozen"),
    [
        ("hardtanh", "-5", True),  # below the lower end −1
        ("hardtanh", "-3", False),
        ("hardtanh", "-301/100", True),
        ("hardtanh", "5", True),
        ("hardtanh", "3", False),
        ("hardtanh", "0", False),
        ("softshrink", "0", False),
        ("relu6", "9", True),
        ("relu6", "8", False),
        ("step", "-3", True),
        ("step", "3", True),
        ("step", "2", False),  # 0 is a jump, and z may be 0
    ],
)
def test_flat_regions_on_two_sides(kind, bias, frozen):
    """z = bias + 2 tanh, so z ∈ [bias − 2, bias + 2]."""
    nodes = [Node("u", activation("tanh")), Node("v", activation(kind), bias), Node("y", activation("identity"))]
    network = build_network(["x"], nodes, [("x", "u", 5), ("u", "v", 2), ("v", "y", 1)], ["y"], rationals=True)
    found = {f.id: f for f in frozen_units(network)}
    assert ("v" in found) == frozen
    if frozen:
        assert found["v"].interval == tuple(exact([bias])[0] + 2 * side for side in (-1, 1))
        (low, high), (below, above) = found["v"].interval, found["v"].flat_region
        assert to_float(below) < to_float(low) <= to_float(high) < to_float(above)


@pytest.mark.claim("frozen-unit")
def test_inner_flat_regions_and_chains_through_layers():
    """Softshrink is flat in (−1/2, 1/2); its frozen value 0 freezes the two units after it in turn."""
    nodes = [
        Node("a", activation("softshrink"), "1/10"),
        Node("b", activation("hardtanh"), "2"),
        Node("c", activation("relu"), "-3"),
        Node("y", activation("identity")),
    ]
    edges = [("x", "a", "1/10"), ("a", "b", 100), ("b", "c", 2), ("c", "y", 1)]
    network = build_network(["x"], nodes, edges, ["y"], rationals=True)
    found = {f.id: f.interval for f in frozen_units(network, (-1, 1))}
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == (0, fmpq(1, 5))
    assert found["b"] == (2, 2)
    assert found["c"] == (-1, -1)
    rounded = Network(network.dag, floats(network.weight), floats(network.bias))
    for arithmetic in ("float64", "float32", "bfloat16"):
        assert [f.id for f in frozen_units(rounded, (-1, 1), arithmetic)] == ["a", "b", "c"]


@pytest.mark.claim("frozen-unit")
def test_in_floats_a_formula_that_may_cancel_bounds_nothing():
    from lop_theory.activations import from_formula

    cases = ((activation("tanh"), True), (from_formula("tanh(x)"), False), (activation("hermite", k="2"), False))
    for phi, frozen in cases:
        nodes = [Node("u", phi), Node("v", activation("relu"), -5.0), Node("y", activation("identity"))]
        network = build_network(["x"], nodes, [("x", "u", 1.0), ("u", "v", -1.0), ("v", "y", 1.0)], ["y"])
        assert bool(frozen_units(network, (-1, 1))) == frozen
        assert frozen_units(network, (-1, 1), arithmetic="exact")
    assert SLACK >= 4


def test_unknown_arithmetic_is_named():
    with pytest.raises(InvalidInput, match=r"float16.*float64"):
        frozen_units(saturated_sum("relu", 0.0), arithmetic="float16")
