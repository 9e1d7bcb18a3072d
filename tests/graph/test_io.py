"""Hostile and careless network files: each is refused in one line that names the offender, and none hangs."""

import json

import pytest
import torch
from safetensors.torch import save_file

from lop_theory.balls import fmpq
from lop_theory.errors import InvalidInput
from lop_theory.graph.dag import edge_weights
from lop_theory.graph.io import read_network
from lop_theory.graph.scalars import is_exact

SMALL = {
    "inputs": ["x"],
    "outputs": ["y"],
    "nodes": [{"id": "a", "activation": "tanh"}, {"id": "y"}],
    "edges": [["x", "a", "1/2"], ["a", "y", 1]],
}
GRAPHML = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="w" for="edge" attr.name="weight" attr.type="{kind}"/>
<key id="r" for="node" attr.name="role" attr.type="string"/>
<key id="f" for="node" attr.name="activation" attr.type="string"/>
<key id="b" for="node" attr.name="bias" attr.type="double"/>
<graph edgedefault="directed">{body}</graph></graphml>"""
NODES = '<node id="x"/><node id="a"/><node id="y"/>'
EDGES = '<edge source="x" target="a"><data key="w">{weight}</data></edge><edge source="a" target="y"/>'
HUGE = ["1e999999999", "1e-999999999", "1e400", "1/0", "9" * 5000, "1" + "0" * 400, "nan", "1/1e-9999999"]


def graphml(folder, body, kind="string"):
    path = folder / "n.graphml"
    path.write_text(GRAPHML.format(kind=kind, body=body))
    return path


def assert_refused(path, *words):
    with pytest.raises(InvalidInput) as error:
        read_network(path)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def assert_refused_json(folder, text, *words):
    path = folder / "n.json"
    path.write_text(text, encoding="utf-8")
    assert_refused(path, *words)


@pytest.mark.parametrize("weight", HUGE, ids=lambda w: w[:14])
def test_numbers_out_of_range_are_refused_at_once(weight, tmp_path):
    assert_refused_json(tmp_path, json.dumps({**SMALL, "edges": [["x", "a", weight]]}), "x -> a")
    assert_refused_json(
        tmp_path, json.dumps({**SMALL, "nodes": [{"id": "a", "bias": weight}, {"id": "y"}]}), "bias of node a"
    )
    assert_refused(graphml(tmp_path, NODES + EDGES.format(weight=weight)), "x -> a")


def test_a_long_integer_is_no_traceback(tmp_path):
    assert_refused_json(
        tmp_path, json.dumps({**SMALL, "edges": [["x", "a", 0]]}).replace("0]", "1" * 5000 + "]"), "digits"
    )


def test_half_a_surrogate_pair_is_named(tmp_path):
    assert_refused_json(tmp_path, json.dumps({**SMALL, "inputs": ["\ud800"]}), r"\ud800", "inputs")


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "n.json"
    path.write_text(json.dumps(SMALL), encoding="utf-8-sig")
    assert edge_weights(read_network(path))["x", "a"] == edge_weights(read_network(path))["a", "y"] / 2


def test_defaults_of_graphml_are_exact(tmp_path):
    network = read_network(graphml(tmp_path, NODES + EDGES.format(weight="1/3")))
    assert edge_weights(network) == {("x", "a"): fmpq(1, 3), ("a", "y"): 1}
    assert is_exact(network.weight)


def test_defaults_that_the_file_declares_are_applied(tmp_path):
    path = graphml(tmp_path, NODES + EDGES.format(weight="1/3"))
    key = 'attr.name="weight" attr.type="string"'
    path.write_text(path.read_text().replace(f"{key}/>", f"{key}><default>5/7</default></key>"))
    assert edge_weights(read_network(path)) == {("x", "a"): fmpq(1, 3), ("a", "y"): fmpq(5, 7)}


ONE = '<edge source="x" target="a"/>'
BAD_GRAPHML = [
    (NODES + '<node id="a"/>' + ONE, "'a'", "twice"),
    (NODES + '<edge source="x" target="q"/>', "x -> q", "'q'"),
    (NODES + '<edge target="a"/>', "None -> a", "unknown"),
    ("<node/>", "node=None", "id"),
    ('<node id="x&#10;y"/>', "node=", "several lines"),
    (NODES + ONE + ONE, "x -> a", "duplicate"),
    (NODES + ONE + '<edge source="a" target="x"/>', "x -> a", "cycle"),
    (NODES + '<edge source="a" target="a"/>', "'a'", "cycle"),
    ('<node id="x"><data key="r">inptu</data></node>' + '<node id="a"/>' + ONE, "role of node x", "inptu"),
    ('<node id="x"><data key="f">tanh</data></node>' + '<node id="a"/>' + ONE, "'x'", "input"),
    ('<node id="x"><data key="b">2</data></node>' + '<node id="a"/>' + ONE, "'x'", "input"),
    (NODES + ONE + '<graph edgedefault="directed"/>', "graph", "one graph"),
    ("", "outputs", "at least one"),
]


@pytest.mark.parametrize(("body", "name", "word"), BAD_GRAPHML)
def test_bad_graphml_is_named(body, name, word, tmp_path):
    assert_refused(graphml(tmp_path, body), name, word)


def test_boolean_weights_are_refused(tmp_path):
    assert_refused(graphml(tmp_path, NODES + EDGES.format(weight="true"), "boolean"), "x -> a", "number")


def nodes(*entries):
    return {**SMALL, "nodes": [*SMALL["nodes"], *entries]}


BAD_JSON = [
    (json.dumps(nodes({"id": "b", "activaton": "tanh"})), "node b", "activaton"),
    (json.dumps({**SMALL, "edgs": []}), "network", "edgs"),
    (json.dumps(SMALL)[:-1] + ', "edges": []}', "edges", "twice"),
    (json.dumps(SMALL).replace('"tanh"', '"tanh", "activation": "relu"'), "activation", "twice"),
    (json.dumps({**SMALL, "inputs": ["x", "x"]}), "'x'", "twice"),
    (json.dumps(nodes({"id": "x"}, {"id": "x"})), "'x'", "twice"),
    (json.dumps(nodes({"id": "a"})), "'a'", "twice"),
    (json.dumps(nodes({"bias": 1})), "nodes", "object with an id"),
    (json.dumps(nodes({})), "nodes", "object with an id"),
    (json.dumps(nodes("id")), "nodes", "object with an id"),
    (json.dumps(nodes(["id"])), "nodes", "object with an id"),
    (json.dumps(nodes(7)), "nodes", "object with an id"),
    (json.dumps(nodes({"id": "x", "activation": "tanh"})), "'x'", "input"),
    (json.dumps(nodes({"id": "x", "bias": "1/2"})), "'x'", "input"),
    (json.dumps(nodes({"id": "x", "bias": False})), "bias of node x", "number"),
    (json.dumps({**nodes({"id": True}), "inputs": ["x", 1]}), "nodes=True", "id"),
    (json.dumps(nodes({"id": "b", "activation": ["tanh"]})), "activation of node b", "name"),
    (json.dumps({**SMALL, "inputs": ["x\ny"]}), "inputs", "several lines"),
    ("[" * 100_000, "file", "nested"),
]


@pytest.mark.parametrize(("text", "name", "word"), BAD_JSON, ids=lambda v: v[:20])
def test_bad_json_is_named(text, name, word, tmp_path):
    assert_refused_json(tmp_path, text, name, word)


def f32(*shape):
    return torch.zeros(*shape, dtype=torch.float32)


BAD_STATES = [
    ({"0.weight": f32(2, 2).to(torch.float8_e4m3fn)}, "tensor 0.weight", "F8_E4M3", ".float()"),
    ({"0.weight": f32(2, 2), "0.bias": f32(2).long()}, "tensor 0.bias", "I64", ".float()"),
    ({"0.weight": f32(2, 2), "0.bias": f32(3)}, "tensor 0.bias", "(3,)", "(2,)"),
    ({"0.weight": f32(2, 2), "0.bias": f32(2, 1)}, "tensor 0.bias", "(2, 1)", "(2,)"),
    ({"0.weight": f32(0, 2)}, "tensor 0.weight", "[0, 2]", "empty"),
    ({"0.weight": f32(3, 2), "1.weight": f32(2, 2)}, "0 1", "do not fit", "--order"),
    ({"head.weight": f32(2, 2), "body.weight": f32(2, 2)}, "body head", "several orders", "--order"),
    ({"0.weight": f32(2, 2), "1.running_mean": f32(2), "1.weight": f32(2)}, "state='1'", "BatchNorm", "fuse_linear_bn"),
    ({"0.weight": f32(2, 2), "1.weight": f32(2)}, "1.weight", "dense layer", "lop_theory.modules"),
    ({"0.bias": f32(2)}, "0.bias", "dense layer"),
    ({"0.weight": f32(2, 2) / 0}, "layer 0", "finite", "diverged"),
]


@pytest.mark.parametrize(
    ("state", "words"), [(state, words) for state, *words in BAD_STATES], ids=lambda v: str(v)[:30]
)
def test_bad_states_are_named(state, words, tmp_path):
    save_file(state, tmp_path / "n.safetensors")
    assert_refused(tmp_path / "n.safetensors", *words)
