"""Files of networks: states of every precision, the order of their layers, attributes of GraphML."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lop_theory.errors import InvalidInput
from lop_theory.graph.io import read_file, read_network
from lop_theory.graph.passes import forward
from lop_theory.graph.states import order_of
from tests.graph.nets import spoken_text, two_units, write

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
    with pytest.raises(InvalidInput, match=r"activation='tanh'.*leave it out"):
        read_network(write(tmp_path, two_units("a", "b")), "tanh")


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


def test_the_state_of_a_single_layer_has_bare_names(tmp_path):
    layer = nn.Linear(3, 2)
    save_file(layer.state_dict(), tmp_path / "n.safetensors")
    network = read_network(tmp_path / "n.safetensors")
    x = torch.randn(3, 1)
    assert np.allclose(forward(network, x.double().numpy()).h[network.dag.outputs].T, layer(x.T).detach(), atol=1e-6)
