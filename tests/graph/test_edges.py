"""Inputs at the edges: rounding at a frozen boundary, other scales, cancellation, ids, orders of layers, terminals."""

import json
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from lop_theory.activations import activation
from lop_theory.balls import fmpq
from lop_theory.errors import InvalidInput
from lop_theory.graph.__main__ import main
from lop_theory.graph.certificate import SLACK, frozen_units
from lop_theory.graph.dag import Network, Node, build_network
from lop_theory.graph.dimensions import bases
from lop_theory.graph.error_free import deviations
from lop_theory.graph.io import network_from_json, read_file, read_network
from lop_theory.graph.manifold import distance
from lop_theory.graph.names import enclosing, shown, told_apart
from lop_theory.graph.nearest import nearest_pair
from lop_theory.graph.partition import partition_from_blocks
from lop_theory.graph.passes import forward, gradient
from lop_theory.graph.progress import silent, spoken
from lop_theory.graph.refinement import refine
from lop_theory.graph.scalars import exact, floats, to_float
from lop_theory.graph.states import order_of
from lop_theory.strategies import equitable_networks

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

    for phi, frozen in ((activation("tanh"), True), (from_formula("tanh(x)"), False)):
        nodes = [Node("u", phi), Node("v", activation("relu"), -5.0), Node("y", activation("identity"))]
        network = build_network(["x"], nodes, [("x", "u", 1.0), ("u", "v", 1.0), ("v", "y", 1.0)], ["y"])
        assert bool(frozen_units(network)) == frozen
        assert frozen_units(network, arithmetic="exact")
    assert SLACK >= 4


def test_unknown_arithmetic_is_named():
    with pytest.raises(InvalidInput, match=r"float16.*float64"):
        frozen_units(saturated_sum("relu", 0.0), arithmetic="float16")


def star(*into, out=1.0):
    """x → tanh units with these weights → y."""
    names = "abcdefgh"[: len(into)]
    outs = [out] * len(into) if np.isscalar(out) else out
    edges = [("x", n, w) for n, w in zip(names, into, strict=True)] + [
        (n, "y", w) for n, w in zip(names, outs, strict=True)
    ]
    nodes = [Node(n, activation("tanh"), 0.0) for n in names] + [Node("y", activation("identity"), 0.0)]
    return build_network(["x"], nodes, edges, ["y"])


def clones(network, **options):
    found = refine(network, tolerance=1e-9, **options)
    return [{network.dag.ids[v] for v in block} for block in found.members if len(block) > 1]


def test_the_scale_of_the_weights_does_not_matter():
    for scale in (1e-100, 1e-10, 1.0, 1e8, 1e100):
        apart = star(1.5 * scale, 1.5 * scale, -0.7 * scale, out=[0.3 * scale, 0.3 * scale, 2.1 * scale])
        assert clones(apart) == [{"a", "b"}]
    noisy = star(150000000.0, 150000000.00000003, -70000000.0, out=[3e7, 3e7, 2.1e8])
    assert clones(noisy) == [{"a", "b"}]


@given(equitable_networks(), st.sampled_from([2.0**-40, 2.0**30]), st.integers(0, 10**6))
def test_planted_clones_are_found_at_every_scale_and_relative_noise(cloned, scale, seed):
    network, partition = cloned
    noise = 1 + 1e-12 * np.random.default_rng(seed).uniform(-1, 1, network.dag.edges)
    number = Network(network.dag, scale * floats(network.weight) * noise, scale * floats(network.bias))
    found = refine(number, tolerance=1e-9)
    assert partition.refines(found)
    other = Network(network.dag, floats(network.weight) * noise, floats(network.bias))
    assert refine(other, tolerance=1e-9) == found


def test_large_terms_excuse_only_their_own_sums():
    """Block pair p → {a, b}: 1e8 − 1e8 + 1 against 1 is equal to rounding; 2e-10 against 1e-10 beside it is not."""
    nodes = [Node(n, activation("tanh"), 0.0) for n in ("p", "q", "a", "b", "y")]
    edges = [("x", "p", 1.0), ("x", "q", 1.0), ("p", "a", 1e8), ("q", "a", 1.0 - 1e8), ("p", "b", 0.5), ("q", "b", 0.5)]
    network = build_network(["x", "t"], nodes, [*edges, ("a", "y", 1.0), ("b", "y", 1.0)], ["y"])
    seed = partition_from_blocks(network.dag, [["x"], ["t"], ["p", "q"], ["a", "b"], ["y"]])
    assert {"a", "b"} in clones(network, seed=seed, mode="in")
    beside = build_network(
        ["x", "t"],
        nodes,
        [*edges, ("t", "a", 1e-10), ("t", "b", 2e-10), ("a", "y", 1.0), ("b", "y", 1.0)],
        ["y"],
    )
    assert {"a", "b"} not in clones(beside, seed=seed, mode="in")


def test_biases_are_compared_relative_to_themselves():
    network = star(1.0, 1.0, 1.0)
    bias = network.bias.copy()
    bias[[network.dag.number_of[n] for n in "abc"]] = 1e-12, 1e-12 * (1 + 1e-12), 2e-12
    assert clones(network.with_parameters(network.weight, bias)) == [{"a", "b"}]


def test_distances_do_not_cancel():
    network = star(1e8, 1e8 + 0.5, 1.0, 1.001)
    found = nearest_pair(network)
    assert found.units == ("c", "d")
    assert found.apart == pytest.approx(1e-3, rel=1e-9)
    assert found.distance == pytest.approx(1e-3 / 2**0.5, rel=1e-9)
    merged = partition_from_blocks(network.dag, [["x"], ["a", "b"], ["c"], ["d"], ["y"]])
    assert distance(network, merged) == pytest.approx(0.5 / 2**0.5, rel=1e-14)
    for manifold in ("in", "constant"):
        assert distance(network, merged, manifold) == pytest.approx(0.5 / 2**0.5, rel=1e-14)
    noisy = star(1.5, 1.500000000001, -0.7)
    assert nearest_pair(noisy).distance == pytest.approx((1.500000000001 - 1.5) / 2**0.5, rel=1e-3, abs=0)


def test_the_nearest_pair_is_nearest_among_pairs_that_the_screen_cannot_tell_apart():
    rng = np.random.default_rng(0)
    into = 1e6 + 1e-7 * rng.permutation(60).cumsum() * rng.uniform(0.5, 1.5, 60)
    nodes = [Node(f"n{k}", activation("tanh"), 0.0) for k in range(60)] + [Node("y", activation("identity"), 0.0)]
    edges = [("x", f"n{k}", w) for k, w in enumerate(into)] + [(f"n{k}", "y", 1.0) for k in range(60)]
    found = nearest_pair(build_network(["x"], nodes, edges, ["y"]))
    ordered = np.sort(into)
    assert found.apart == np.diff(ordered).min()
    assert found.apart == abs(into[int(found.units[0][1:])] - into[int(found.units[1][1:])])


def test_the_nearest_pair_of_rationals_is_exact():
    big = fmpq(10) ** 30
    edges = [("x", "a", big), ("x", "b", big + 1), ("x", "c", "1/3"), ("x", "d", "1/3")]
    nodes = [Node(n, activation("tanh")) for n in "abcd"] + [Node("y", activation("identity"))]
    edges += [("a", "y", 1), ("b", "y", 1), ("c", "y", 1), ("d", "y", fmpq(1) + fmpq(1, 10**40))]
    found = nearest_pair(build_network(["x"], nodes, edges, ["y"], rationals=True))
    assert found.units == ("c", "d")
    assert found.apart == pytest.approx(1e-40, rel=1e-12, abs=0)


@given(
    st.lists(st.tuples(st.floats(-1e9, 1e9), st.integers(0, 5)), min_size=1, max_size=30),
    st.lists(st.booleans(), min_size=2, max_size=2),
)
def test_deviations_are_the_rational_ones(entries, whole):
    values = np.array([v for v, _ in entries])
    cells, cell = np.unique([c for _, c in entries], return_inverse=True)
    group, whole = cells % 2, np.array(whole)
    groups, group = np.unique(group, return_inverse=True)
    sizes, whole = np.bincount(group) + 1, whole[: len(groups)]
    found = deviations(values, cell, group, sizes, whole)
    right = deviations(exact(values), cell, group, sizes, whole)
    assert np.allclose(found, floats(right), rtol=1e-14, atol=1e9 * 2.0**-90)


@given(
    st.lists(st.tuples(st.sampled_from([0.1, -0.3, 1e9, -1e9, 1e-7, 2.0]), st.integers(0, 4)), max_size=12),
    st.lists(st.integers(0, 2), min_size=5, max_size=5),
    st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=3, max_size=3),
)
def test_deviations_by_their_definition_where_cells_and_groups_may_be_empty(entries, group, groups):
    """s_c − T_g/n_g in plain fractions; without the T_g of a group that is not whole."""
    sums = [sum((Fraction(v) for v, c in entries if c == cell), Fraction(0)) for cell in range(5)]
    totals = [sum((s for s, g in zip(sums, group, strict=True) if g == k), Fraction(0)) for k in range(3)]
    right = [s - (totals[g] / groups[g][0] if groups[g][1] else 0) for s, g in zip(sums, group, strict=True)]
    sizes, whole = (np.array(column) for column in zip(*groups, strict=True))
    values, cell = np.array([v for v, _ in entries]), np.array([c for _, c in entries], dtype=int)
    found = deviations(values, cell, np.array(group), sizes, whole)
    assert found.shape == (5,)
    assert np.allclose(found, [float(x) for x in right], rtol=1e-14, atol=1e9 * 2.0**-90)
    rational = deviations(exact(values), cell, np.array(group), sizes, whole)
    assert [Fraction(int(x.p), int(x.q)) for x in rational] == right


def test_a_network_of_one_node_has_dimension_zero():
    network = network_from_json({"inputs": ["x"], "outputs": ["x"], "nodes": [], "edges": []})
    partition = refine(network)
    for manifold in ("in", "out", "both", "constant"):
        assert [b.shape for b in bases(network.dag, partition, manifold)] == [(0, 0)] * 2


def write(folder, data, name="n.json"):
    path = folder / name
    path.write_text(json.dumps(data))
    return str(path)


def spoken_text(capsys, *arguments):
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def two_units(first, second, weights=(1, 1)):
    edges = [["x", first, 1], ["x", second, 1], [first, "y", weights[0]], [second, "y", weights[1]]]
    return {"inputs": ["x"], "outputs": ["y"], "nodes": [{"id": first}, {"id": second}, {"id": "y"}], "edges": edges}


def test_without_clones_there_is_nothing_to_stay_on(tmp_path, capsys):
    text = spoken_text(capsys, write(tmp_path, two_units("a", "b", (1, 3))))
    assert "nothing to stay on" in text
    assert "leave, decay" not in text
    assert "for every data set" in spoken_text(capsys, write(tmp_path, two_units("a", "b")))


def test_ids_that_look_alike_are_told_apart(tmp_path, capsys):
    text = spoken_text(capsys, write(tmp_path, two_units(1, "1")))
    assert '\n  1 "1"\n' in text
    assert 'pair   1 and "1"' in text
    assert [shown(name) for name in (7, "7", "a b", "l1.0", 'q"', "")] == ["7", '"7"', '"a b"', "l1.0", '"q\\""', '""']


def test_numbers_for_people():
    tiny = fmpq(-57, 2**59)
    assert enclosing(tiny, tiny) == "[-9.88793e-17, -9.88792e-17]"
    assert enclosing(fmpq(-5), fmpq(1, 4)) == "[-5, 1/4]"
    assert enclosing(float("-inf"), fmpq(10**6 + 1, 10**6)) == "[-inf, 1.000001]"
    assert told_apart([0.1 + 0.2, 0.3]) == ["0.30000000000000004", "0.299999999999999989"]
    assert told_apart([fmpq(2), fmpq(3), "tanh"]) == ["2", "3", "tanh"]
    assert told_apart([1, 1]) == ["1", "1"]


@given(st.fractions(), st.fractions(), st.integers(2, 12))
def test_enclosures_enclose(a, b, digits):
    low, high = sorted((fmpq(a.numerator, a.denominator), fmpq(b.numerator, b.denominator)))
    ends = enclosing(low, high, digits)[1:-1].split(", ")
    below, above = (exact([end])[0] for end in ends)
    assert below <= low
    assert high <= above
    for end, near in ((below, low), (above, high)):
        assert abs(end - near) <= abs(near) * fmpq(10) ** (2 - digits)


def test_ascii_terminals_get_escapes(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    file = write(tmp_path, two_units("ä", "ß"))
    for arguments in ([file], [file, "--json"]):
        command = [sys.executable, "-m", "lop_theory.graph", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["partition"][1] == ["ä", "ß"]


def test_steps_are_told_to_a_terminal_only(monkeypatch, capsys):
    from lop_theory.graph import progress

    with spoken() as say:
        assert say is silent
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with spoken() as say:
        say("counting")
    assert "counting" in capsys.readouterr().err
    monkeypatch.setattr(progress, "PATIENCE", 1e9)
    with spoken() as say:
        say("counting")
    assert capsys.readouterr().err == ""


def test_a_clock_that_is_wound_is_stopped_whatever_happens(monkeypatch):
    from lop_theory.graph import progress

    heard = []
    clock = type("Clock", (), {"daemon": False, "start": lambda _: heard.append("start"),
                               "cancel": lambda _: heard.append("cancel")})  # fmt: skip
    monkeypatch.setattr(progress, "Timer", lambda *_: clock())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with pytest.raises(ZeroDivisionError), spoken():
        raise ZeroDivisionError
    assert heard == ["start", "cancel"]


MIXED = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))


def named(*names):
    layers = [layer for layer in MIXED if isinstance(layer, nn.Linear)]
    return {f"{name}.{k}": v for name, layer in zip(names, layers, strict=True) for k, v in layer.state_dict().items()}


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_states_of_every_precision_are_read(kind, tmp_path):
    state = {key: value.to(kind) for key, value in named("0", "2", "4").items()}
    save_file(state, tmp_path / "n.safetensors")
    found = read_file(tmp_path / "n.safetensors", "ReLU")
    network, assumed = found.network, found.assumed
    assert assumed.layers == ("0", "2", "4")
    expected = {float(v) for value in state.values() for v in value.double().ravel()}
    assert set(network.weight) | set(network.bias) == expected | {0.0}


def test_the_order_of_layers_comes_from_numbers_or_shapes_or_is_asked_for(tmp_path, capsys):
    file = tmp_path / "n.safetensors"
    orders = {("zeta", "mid", "alpha"): "the shapes", ("fc1", "fc2", "fc10"): "the numbers"}
    for names, decided in orders.items():
        save_file(named(*names), file)
        found = read_file(file).assumed
        assert found.layers == names
        assert decided in found.decided_by
    text = spoken_text(capsys, str(file), "--activation", "ReLU")
    assert "fc1 -> fc2 -> fc10" in text
    assert "ReLU between the layers" in text
    square = {f"{name}.weight": torch.randn(3, 3) for name in ("encoder", "hidden", "classifier")}
    save_file(square, file)
    with pytest.raises(InvalidInput, match=r"several orders.*--order"):
        read_network(file)
    found = read_file(file, order=["encoder", "hidden", "classifier"])
    network, assumed = found.network, found.assumed
    assert assumed.decided_by == "as given"
    assert np.allclose(network.weight[:9], square["encoder.weight"].ravel().double())
    with pytest.raises(InvalidInput, match="every layer once"):
        read_network(file, order=["encoder", "hidden"])
    with pytest.raises(InvalidInput, match="leave it out"):
        read_network(write(tmp_path, two_units("a", "b")), order=["a"])


def test_orders_are_all_orders_that_fit():
    shapes = {"a.weight": (4, 3), "b.weight": (3, 2), "c.weight": (5, 4)}
    assert order_of(shapes).names == ("b", "a", "c")
    with pytest.raises(InvalidInput, match="do not fit"):
        order_of({"a.weight": (2, 3), "b.weight": (4, 5)})


GRAPHML = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="w" for="edge" attr.name="{weight}" attr.type="double"/>
<key id="f" for="node" attr.name="{kind}" attr.type="string"/>
<key id="r" for="node" attr.name="role" attr.type="string"/>
<graph edgedefault="directed"><node id="x"><data key="r">Input</data></node>
<node id="a"><data key="f">{phi}</data><data key="r">hidden</data></node><node id="b"><data key="f">relu</data></node>
<node id="y"><data key="r">output</data></node>
<edge id="e0" source="x" target="a"><data key="w">1.5</data></edge>
<edge source="x" target="b"><data key="w">1.5</data></edge>
<edge source="a" target="y"/><edge source="b" target="y"/></graph></graphml>"""


def graphml(folder, weight="weight", kind="activation", phi="ReLU"):
    path = folder / "n.graphml"
    path.write_text(GRAPHML.format(weight=weight, kind=kind, phi=phi))
    return path


def test_capitals_hidden_roles_and_pytorch_names_are_read(tmp_path):
    for phi, name in (
        ("ReLU", "relu"),
        ("LeakyReLU", "leaky_relu"),
        ("SiLU", "silu"),
        ("Tanh", "tanh"),
        ("Swish", "silu"),
    ):
        dag = read_network(graphml(tmp_path, phi=phi)).dag
        assert dag.activations[dag.activation_of[dag.number_of["a"]]].name == name


@pytest.mark.parametrize(("attribute", "name"), [("weight", "w"), ("kind", "Activation")])
def test_unknown_attributes_are_refused_by_name(attribute, name, tmp_path):
    with pytest.raises(InvalidInput, match=rf"='{name}'.*unknown; rename or remove"):
        read_network(graphml(tmp_path, **{attribute: name}))


def test_long_fractions_are_printed():
    long = fmpq(10**5000 + 1, 3 * 10**5000)
    assert enclosing(long, long) == "[0.333333, 0.333334]"


@pytest.mark.parametrize(
    ("name", "slope"),
    [("elu", 1), ("celu", 1), ("selu", 1.7580993408473768), ("leaky_relu", 0.01), ("relu", 0), ("hardtanh", 1)],
)
def test_gradients_at_a_kink_are_those_of_pytorch(name, slope):
    nodes = [Node("a", activation(name)), Node("y", activation("identity"))]
    network = build_network(["x"], nodes, [("x", "a", 1.0), ("a", "y", 1.0)], ["y"])
    found = gradient(network, np.zeros((1, 1)), np.ones_like)
    assert found.bias[network.dag.number_of["a"]] == pytest.approx(slope, rel=1e-15)


@pytest.mark.parametrize("twice", [("x", "a"), ("x", "b"), ("a", "y"), ("b", "y")])
@pytest.mark.parametrize("rationals", [False, True])
def test_duplicate_edges_are_found_wherever_they_are_sorted_to(twice, rationals):
    nodes = [Node(name, activation("relu")) for name in ("a", "b", "y")]
    edges = [("x", "a", 1), ("x", "b", 1), ("a", "y", 1), ("b", "y", 1)]
    assert build_network(["x"], nodes, edges, ["y"], rationals=rationals).dag.edges == 4
    with pytest.raises(InvalidInput, match=f"{twice[0]} -> {twice[1]}.*duplicate"):
        build_network(["x"], nodes, [*edges, (*twice, 2)], ["y"], rationals=rationals)


def test_the_state_of_a_single_layer_has_bare_names(tmp_path):
    layer = nn.Linear(3, 2)
    save_file(layer.state_dict(), tmp_path / "n.safetensors")
    network = read_network(tmp_path / "n.safetensors")
    x = torch.randn(3, 1)
    assert np.allclose(forward(network, x.double().numpy()).h[network.dag.outputs].T, layer(x.T).detach(), atol=1e-6)


def test_tensors_of_one_sample_need_two_dimensions():
    from lop_theory.graph.tensors import forward_tensors

    dag = star(1.0, 2.0).dag
    with pytest.raises(InvalidInput, match=r"inputs.*\(1, batch\)"):
        forward_tensors(dag, torch.zeros(dag.edges), torch.zeros(dag.nodes), torch.zeros(1))


def test_zeros_before_the_decimal_point_stay():
    number = fmpq(1234560) + fmpq(1, 3)
    assert enclosing(number, number, 6) == "[1234560, 1234561]"
    assert enclosing(fmpq(100, 1) + fmpq(1, 3), fmpq(200, 1) + fmpq(1, 3), 2) == "[100, 201]"


def test_numbers_that_no_decimals_tell_apart_are_printed_whole():
    near = fmpq(1) + fmpq(1, 10**130)
    assert told_apart([near, fmpq(1), "tanh"]) == [str(near), "1", "tanh"]
