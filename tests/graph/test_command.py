"""``python -m lop_theory.graph``: output, exit codes, formats, and one-line errors that name the offender."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from safetensors.torch import save_file
from torch import nn

from lop_theory.errors import InvalidInput
from lop_theory.graph.__main__ import main
from lop_theory.graph.convert import from_networkx, from_torch, to_dot, to_networkx
from lop_theory.graph.counterexamples import COUNTEREXAMPLES, CYCLIC_QUOTIENT, SUPPORT_3X3
from lop_theory.graph.dag import edge_weights
from lop_theory.graph.io import network_from_json, network_to_json, read_network
from lop_theory.graph.partition import block_ids
from lop_theory.graph.passes import forward
from lop_theory.graph.scalars import floats
from lop_theory.strategies import networks

KEYS = {
    "in_equitable",
    "out_equitable",
    "biregular_support",
    "quotient_acyclic",
    "trajectory_invariant",
    "partition",
    "forward_classes",
    "frozen",
    "distance",
    "witness",
}
CLONES = {
    "inputs": ["x"],
    "outputs": ["y"],
    "nodes": [
        {"id": "a", "activation": "tanh"},
        {"id": "b", "activation": "tanh"},
        {"id": "dead", "activation": "relu", "bias": -3},
        {"id": "y"},
    ],
    "edges": [["x", "a", "1/2"], ["x", "b", "1/2"], ["a", "y", 1], ["b", "y", 1], ["a", "dead", 1], ["b", "dead", 1]],
}


def write(folder, name, data):
    path = folder / name
    path.write_text(json.dumps(data))
    return str(path)


def answer(capsys, *arguments):
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_clones_and_frozen_units_are_found(tmp_path, capsys):
    code, found = answer(capsys, write(tmp_path, "n.json", CLONES))
    assert code == 0
    more = {"equal_biases", "singleton_ends", "trained_clones", "nearest", "evidence", "codimension", "assumed"}
    assert set(found) == KEYS | more
    assert sorted(map(sorted, found["partition"])) == [["a", "b"], ["dead"], ["x"], ["y"]]
    assert found["trajectory_invariant"]
    assert found["witness"] is None
    assert found["distance"] == 0
    under = "SGD without momentum or decay"
    ranges = {"interval": ["-5", "-1"], "flat_region": ["-inf", "0"]}
    assert found["frozen"] == [{"id": "dead", "under": under, "arithmetic": "exact", **ranges}]


def _two_units(a_weight, b_weight):
    nodes = [{"id": name, "activation": "tanh"} for name in ("a", "b")] + [{"id": "y"}]
    edges = [["x", "a", a_weight], ["x", "b", b_weight], ["a", "y", 1], ["b", "y", 1]]
    return {"inputs": ["x"], "outputs": ["y"], "nodes": nodes, "edges": edges}


PAIR = [["x"], ["a", "b"], ["y"]]


def test_distance_of_tiny_rationals_is_not_zero(tmp_path, capsys):
    file, part = write(tmp_path, "n.json", _two_units("1e-200", "2e-200")), write(tmp_path, "p.json", PAIR)
    code, found = answer(capsys, file, "--partition", part)
    assert code == 1
    assert found["distance"] == pytest.approx(1e-200 / 2**0.5)


def test_within_a_tolerance_nothing_is_promised_for_every_data_set(tmp_path, capsys):
    main([write(tmp_path, "n.json", _two_units(1e-10, 1.00000000001e-10))])
    text = capsys.readouterr().out
    assert "for every data set" not in text
    assert "tested within 1e-09" in text


def test_zero_tolerance_compares_floats_exactly(tmp_path, capsys):
    names = ["h0", "h1", "h2"]
    edges = [["x", h, 1] for h in names] + [[h, "c", w] for h, w in zip(names, (0.1, 0.2, 0.3), strict=True)]
    edges += [[h, "d", w] for h, w in zip(names, (0.3, 0.2, 0.1), strict=True)] + [["c", "y", 1], ["d", "y", 1]]
    nodes = [{"id": name, "activation": "relu"} for name in [*names, "c", "d"]] + [{"id": "y"}]
    network = {"inputs": ["x"], "outputs": ["y"], "nodes": nodes, "edges": edges}
    file = write(tmp_path, "n.json", network)
    part = write(tmp_path, "p.json", [["x"], names, ["c", "d"], ["y"]])
    found = answer(capsys, file, "--partition", part, "--tolerance", "0")[1]
    assert found["in_equitable"]
    assert ["c", "d"] in found["forward_classes"]
    assert found["evidence"] == "exact"


def test_float_weights_that_overflow_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"weight.*string"):
        main([write(tmp_path, "n.json", _two_units(1e200, 3.5))])


def test_a_sparse_pair_on_the_manifold_needs_no_solve(tmp_path, capsys):
    n = 400
    a, b = ([f"{side}{i}" for i in range(n)] for side in "ab")
    edges = [["x", u, 1] for u in a] + [[a[i], b[(i + k) % n], 1.5] for i in range(n) for k in range(3)]
    nodes = [{"id": name, "activation": "tanh"} for name in [*a, *b]] + [{"id": "y"}]
    network = {"inputs": ["x"], "outputs": ["y"], "nodes": nodes, "edges": edges + [[v, "y", 1] for v in b]}
    found = answer(capsys, write(tmp_path, "n.json", network))[1]
    assert found["distance"] == 0
    assert found["trajectory_invariant"]


def test_negative_input_ranges(tmp_path, capsys):
    assert answer(capsys, write(tmp_path, "n.json", CLONES), "--inputs", "-1/2", "1e-3")[0] == 0


@pytest.mark.parametrize("example", COUNTEREXAMPLES, ids=lambda e: e.name)
def test_counterexamples_as_files(example, tmp_path, capsys):
    network = example.network()
    file = write(tmp_path, "n.json", network_to_json(network))
    part = write(tmp_path, "p.json", block_ids(network.dag, example.partition()))
    if example.dropped == "equal_activations":
        with pytest.raises(InvalidInput, match=r"a and b.*identity and square"):
            main([file, "--partition", part])
        return
    code, found = answer(capsys, file, "--partition", part)
    assert code == 1
    assert not found["trajectory_invariant"]
    assert found["witness"]["nodes"]
    shown = {"in_equitable", "out_equitable", "biregular_support", "quotient_acyclic"}
    failing = {key for key in shown if not found[key]}
    allowed = {example.dropped} | ({"biregular_support"} if example.dropped == "quotient_acyclic" else set())
    assert failing == allowed & shown


@pytest.mark.parametrize("example", [SUPPORT_3X3, CYCLIC_QUOTIENT], ids=lambda e: e.name)
def test_the_computed_partition_shows_the_counterexample(example, tmp_path, capsys):
    code, found = answer(capsys, write(tmp_path, "n.json", network_to_json(example.network())))
    assert code == 0
    assert found["in_equitable"]
    assert found["out_equitable"]
    assert not found["biregular_support"]
    assert not found["trajectory_invariant"]
    assert "edge count" in found["witness"]["what"]


def test_floats_are_compared_within_the_tolerance(tmp_path, capsys):
    data = {**CLONES, "edges": [["x", "a", 0.3], ["x", "b", 0.30000001], ["a", "y", 1], ["b", "y", 1]]}
    file = write(tmp_path, "n.json", data)
    assert sorted(map(len, answer(capsys, file)[1]["partition"])) == [1] * 5
    code, found = answer(capsys, file, "--tolerance", "1e-6")
    assert max(map(len, found["partition"])) == 2
    assert 0 < found["distance"] < 1e-7
    assert code == 0


def test_inputs_may_be_listed_under_nodes(tmp_path, capsys):
    data = {**CLONES, "nodes": [{"id": "x", "activation": "identity", "bias": 0}, *CLONES["nodes"]]}
    assert answer(capsys, write(tmp_path, "n.json", data))[1] == answer(capsys, write(tmp_path, "m.json", CLONES))[1]


def test_text_output(tmp_path, capsys):
    assert main([write(tmp_path, "n.json", CLONES)]) == 0
    text = capsys.readouterr().out
    assert "a b" in text
    assert "dropout" in text
    assert "Adam" not in text  # the clones are block-constant, so no decay helps
    assert "frozen for ever      dead" in text


@given(networks())
def test_json_round_trip(network):
    again = network_from_json(json.loads(json.dumps(network_to_json(network)))) if _catalogued(network) else network
    assert edge_weights(again) == edge_weights(network)


def _catalogued(network):
    from lop_theory.activations.catalogue import CATALOGUE

    return all(a.name in CATALOGUE for a in network.dag.activations)


def rounded(network):
    return network.with_parameters(floats(network.weight), floats(network.bias))


def test_graphml_and_networkx_round_trip(tmp_path):
    import networkx as nx

    network = network_from_json(CLONES)
    path = tmp_path / "n.graphml"
    nx.write_graphml(to_networkx(network), path)
    x = np.array([[0.3, -1.0]])
    again = read_network(path)
    assert edge_weights(again) == edge_weights(from_networkx(to_networkx(network))) == edge_weights(network)
    assert np.allclose(forward(rounded(again), x).h, forward(rounded(network), x).h)
    assert to_dot(network).startswith("digraph")
    assert '"x" -> "a" [label="1/2"]' in to_dot(network)


def test_safetensors_and_torch_modules(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    path = tmp_path / "m.safetensors"
    save_file(model.state_dict(), path)
    x = torch.randn(5, 3)
    for network in (read_network(path, "tanh"), from_torch(model)):
        h = forward(network, x.double().numpy().T).h[network.dag.outputs]
        assert np.allclose(h, model(x).detach().numpy().T, atol=1e-6)
    with pytest.raises(InvalidInput, match="Conv1d"):
        from_torch(nn.Sequential(nn.Conv1d(1, 1, 1)))


BAD = [
    ({**CLONES, "edges": [["a", "b", 1], ["b", "a", 1]]}, "cycle"),
    ({**CLONES, "edges": [["x", "q", 1]]}, "'q'"),
    ({**CLONES, "edges": [["x", "a", 1], ["x", "a", 2]]}, "duplicate"),
    ({**CLONES, "edges": [["x", "a", float("nan")]]}, "x -> a"),
    ({**CLONES, "edges": [["x", "a", True]]}, "x -> a"),
    ({**CLONES, "edges": [["x", "a"]]}, "edges"),
    ({**CLONES, "edges": None}, "edges"),
    ({**CLONES, "outputs": []}, "outputs"),
    ({**CLONES, "nodes": [{"id": "a", "activation": "tanhh"}]}, "tanhh"),
    ({**CLONES, "nodes": [*CLONES["nodes"][:3], {"id": "y", "bias": "b"}]}, "bias of node y"),
    ({**CLONES, "nodes": [{"id": "x", "activation": "relu"}, *CLONES["nodes"]]}, "'x'"),
    ({**CLONES, "edges": [["x", "a", "1e400"]]}, "x -> a"),
    ([1], "network"),
]


@pytest.mark.parametrize(("data", "word"), BAD, ids=lambda v: v if isinstance(v, str) else "")
def test_bad_files_are_named_in_one_line(data, word, tmp_path):
    with pytest.raises(InvalidInput) as error:
        main([write(tmp_path, "n.json", data)])
    assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_errors_exit_with_2_and_one_line(tmp_path):
    command = [sys.executable, "-m", "lop_theory.graph", write(tmp_path, "n.json", BAD[0][0])]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.count("\n") == 1
    assert "a -> b -> a" in run.stderr or "b -> a -> b" in run.stderr


@pytest.mark.parametrize(
    ("partition", "word"),
    [([["x"], ["a", "b"]], "dead"), ([["x", "x"]], "'x'"), ([["zz"]], "'zz'"), ({"a": 1}, "list"), ([[["a"]]], "id")],
)
def test_bad_partitions(partition, word, tmp_path):
    file = write(tmp_path, "n.json", CLONES)
    with pytest.raises(InvalidInput, match=word):
        main([file, "--partition", write(tmp_path, "p.json", partition)])


def test_pickles_and_strangers_are_refused(tmp_path):
    torch.save({"w": torch.zeros(1)}, tmp_path / "state.json")
    (tmp_path / "text.json").write_text("no")
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 20)
    (tmp_path / "bad.graphml").write_text("<a")
    for name, word in (("state.json", "pickle"), ("text.json", "JSON"), ("none.json", "exist")):
        with pytest.raises(InvalidInput, match=word):
            read_network(tmp_path / name)
    for name in ("bad.safetensors", "bad.graphml"):
        with pytest.raises(InvalidInput, match="is not"):
            read_network(tmp_path / name)


def test_the_command_needs_neither_torch_nor_networkx(tmp_path):
    code = (
        "import sys; from lop_theory.graph.__main__ import main; main(sys.argv[1:]);"
        "assert not {'torch', 'networkx'} & set(sys.modules)"
    )
    file = write(tmp_path, "n.json", CLONES)
    run = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("example", "line"),
    [
        ("not-in-equitable", "no: incoming sum from the block x at a, b: 1, 2"),
        ("not-out-equitable", "no: outgoing sum to the block y at a, b: 1, 2"),
        ("support-2x2-zero-edge", "no: incoming edge count from the block a1 a2 at b2, b1: 1, 2"),
        ("cloned-inputs", "no: input in a block of several nodes at x1, x2"),
        ("edges-inside-a-block", "no: cycle of blocks at a1, a1"),
    ],
)
def test_a_hypothesis_that_fails_is_told_with_its_witness(example, line, tmp_path, capsys):
    (found,) = (e for e in COUNTEREXAMPLES if e.name == example)
    network = found.network()
    part = write(tmp_path, "p.json", block_ids(network.dag, found.partition()))
    assert main([write(tmp_path, "n.json", network_to_json(network)), "--partition", part]) == 1
    assert any(told.endswith(line) for told in capsys.readouterr().out.splitlines())
