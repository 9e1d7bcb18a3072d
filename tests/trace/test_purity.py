"""Which calls of a graph are pure, which writes become so, and who gets their results: small graphs, call by call."""

import copy
import math
import operator
import re
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import fx, nn  # noqa: E402

from lop_theory.trace import operator_name, purity  # noqa: E402

OPS = torch.ops.aten
ALIASING = {
    OPS.view.default: True, OPS.einsum.default: True, OPS.dropout.default: True, OPS.reshape.default: True,
    OPS.relu_.default: True, OPS.split.Tensor: True, operator.getitem: True, OPS._foreach_add_.Scalar: True,
    OPS.linear.default: False, OPS.batch_norm.default: False, OPS.add.Tensor: False, OPS.var_mean.correction: False,
}  # fmt: skip


def test_what_may_alias_is_what_says_so_and_what_does_not_say_otherwise():
    graph = fx.Graph()
    x = graph.placeholder("x")
    assert purity._may_alias(x)
    assert {target: purity._may_alias(graph.call_function(target, (x,))) for target in ALIASING} == ALIASING


PURE = {
    OPS.add.Tensor: True, OPS.view.default: True, OPS.reshape.default: True, OPS.linear.default: True,
    operator.getitem: True, math.ceil: True, OPS._validate_sparse_coo_tensor_args.default: True,
    OPS._assert_tensor_metadata.default: True, OPS.split.Tensor: True,
    OPS.add_.Tensor: False, OPS.chunk.default: True, OPS.expand_as.default: False, OPS.lift_fresh_copy.default: False,
    torch.ops.higher_order.wrap_with_set_grad_enabled: False,
}  # fmt: skip


def test_what_is_pure_as_it_is():
    graph = fx.Graph()
    x = graph.placeholder("x")
    assert {target: purity._is_pure_call(graph.call_function(target, (x,))) for target in PURE} == PURE
    assert not purity._is_pure_call(graph.create_node("get_attr", "region"))
    for mean, training, pure in ((None, True, True), (x, True, False), (x, False, True), (None, False, True)):
        for norm in (OPS.batch_norm.default, OPS.instance_norm.default):
            call = graph.call_function(norm, (x, None, None, mean, mean, training, 0.1, 1e-5, False))
            assert purity._is_pure_call(call) is pure


@pytest.mark.parametrize("names", [["relu", "add"], ["relu", "relu_", "add"], ["relu_"]])
def test_a_graph_is_functionalised_where_a_call_is_not_pure(names, monkeypatch):
    for name in ("_write_elsewhere", "_cut_gradients"):
        monkeypatch.setattr(purity, name, lambda _: None)
    monkeypatch.setattr(purity, "_functionalised", lambda _: "another")
    graph = fx.Graph()
    value = graph.placeholder("x")
    for name in names:
        value = graph.call_function({"add": OPS.add.Tensor, "relu": OPS.relu.default, "relu_": OPS.relu_.default}[name])
    graph.output(value)
    exported = SimpleNamespace(graph=graph)
    assert purity.purified(exported) == ("another" if "relu_" in names else exported)


HELD = ("x", "mean", "var")


def rewritten(*calls):
    """A graph after ``_write_elsewhere``: of calls (operator, arguments), where a letter is an input or a buffer and
    ``[k]`` the result of call k; afterwards the names of what the buffers become."""
    graph, nodes = fx.Graph(), dict[Any, fx.Node]()
    for name, value in zip(HELD, (torch.ones(3, 3), torch.ones(3), torch.ones(3)), strict=True):
        nodes[name] = graph.placeholder(name)
        nodes[name].meta["val"] = value
    for k, (target, *given) in enumerate(calls):
        args = [nodes[a if isinstance(a, str) else a[0]] if isinstance(a, (str, list)) else a for a in given]
        nodes[k] = graph.call_function(target, tuple(args))
        nodes[k].meta["val"] = target(*fx.map_arg(args, lambda node: copy.deepcopy(node.meta["val"])))
    graph.output((nodes[len(calls) - 1],))
    signature = SimpleNamespace(inputs_to_buffers={"mean": "model.mean", "var": "model.var"}, output_specs=["result"])
    purity._write_elsewhere(SimpleNamespace(graph=graph, graph_signature=signature))
    graph.lint()
    for item in graph.find_nodes(op="call_function", target=operator.getitem):
        assert item.meta["val"].shape == item.args[0].meta["val"][item.args[1]].shape
    found = [f"{operator_name(n) or n.op}{n.args}" for n in graph.nodes if n.op != "placeholder"]
    found = [re.sub("_(default|tensor)", "", text) for text in found]
    *updated, result = signature.output_specs
    assert result == "result"
    return [*found, *(f"{spec.target} = {spec.arg.name}" for spec in updated)]


LINEAR, RELU, ADD, DROP = OPS.linear.default, OPS.relu_.default, OPS.add.Tensor, OPS.dropout_.default
VIEW, SORT, GT, ITEM, NORM = OPS.t.default, OPS.sort.default, OPS.gt_.Scalar, operator.getitem, OPS.batch_norm.default


def test_who_asks_after_a_write_gets_its_result():
    start = (LINEAR, "x", "x")
    assert rewritten(start, (ADD, [0], "x"), (RELU, [0]), (ADD, [0], [2])) == [
        "linear(x, x)",
        "add(linear, x)",
        "relu(linear,)",
        "add(relu_, relu_)",
        "output((add_1,),)",
    ]
    assert rewritten(start, (DROP, [0], 0.5, False), (ADD, [0], [1])) == [
        "linear(x, x)",
        "add(linear, linear)",
        "output((add,),)",
    ]
    assert rewritten(start, (DROP, [0], 0.5, True), (ADD, [0], [1])) == [
        "linear(x, x)",
        "dropout_(linear, 0.5, True)",
        "add(linear, dropout_)",
        "output((add,),)",
    ]
    assert rewritten(start, (VIEW, [0]), (RELU, [0]), (ADD, [0], [1])) == [
        "linear(x, x)",
        "t(linear,)",
        "relu_(linear,)",
        "add(linear, t)",
        "output((add,),)",
    ]
    assert rewritten(start, (RELU, [0]), (VIEW, [0])) == ["linear(x, x)", "relu(linear,)", "t(relu_,)", "output((t,),)"]
    assert rewritten((SORT, "x"), (ITEM, [0], 0), (RELU, [1])) == [
        "sort(x,)",
        "getitem(sort, 0)",
        "relu(getitem,)",
        "output((relu_,),)",
    ]
    assert rewritten((RELU, "x"), (ADD, "x", "x")) == ["relu_(x,)", "add(x, x)", "output((add,),)"]
    assert rewritten(start, (GT, [0], 0.5), (ADD, [0], [1])) == [
        "linear(x, x)",
        "gt_(linear, 0.5)",
        "add(linear, gt__scalar)",
        "output((add,),)",
    ]


def test_buffers_become_what_is_written_into_them():
    assert rewritten((RELU, "mean"), (ADD, "x", "mean")) == [
        "relu(mean,)",
        "add(x, relu_)",
        "output((relu_, add),)",
        "model.mean = relu__default",
    ]
    assert rewritten((ADD, "mean", "x"), (RELU, "var"), (RELU, "mean"), (RELU, "mean")) == [
        "add(mean, x)",
        "relu(var,)",
        "relu(mean,)",
        "relu(relu__1,)",
        "output((relu_, relu__2, relu__2),)",
        "model.var = relu__default",
        "model.mean = relu__default_2",
    ]
    assert rewritten((VIEW, "mean"), (RELU, "mean")) == ["t(mean,)", "relu_(mean,)", "output((relu_,),)"]
    norm = (NORM, "x", None, None, "mean", "var")
    assert rewritten((*norm, True, 0.1, 1e-5, False), (ADD, "mean", "var")) == [
        "_native_batch_norm_legit_functional(x, None, None, mean, var, True, 0.1, 1e-05)",
        "getitem(_native_batch_norm_legit_functional, 0)",
        "getitem(_native_batch_norm_legit_functional, 3)",
        "getitem(_native_batch_norm_legit_functional, 4)",
        "add(getitem_1, getitem_2)",
        "output((getitem_1, getitem_2, add),)",
        "model.mean = getitem_1",
        "model.var = getitem_2",
    ]
    assert rewritten((*norm, False, 0.1, 1e-5, False), (ADD, "mean", "var")) == [
        "batch_norm(x, None, None, mean, var, False, 0.1, 1e-05, False)",
        "add(mean, var)",
        "output((add,),)",
    ]
    assert rewritten((VIEW, "var"), (*norm, True, 0.1, 1e-5, False)) == [
        "t(var,)",
        "batch_norm(x, None, None, mean, var, True, 0.1, 1e-05, False)",
        "output((batch_norm,),)",
    ]
    assert rewritten((VIEW, "mean"), (*norm, True, 0.1, 1e-5, False)) == [
        "t(mean,)",
        "batch_norm(x, None, None, mean, var, True, 0.1, 1e-05, False)",
        "output((batch_norm,),)",
    ]


def test_operators_between_sizes_write_nothing():
    call = fx.Graph().call_function(operator.and_, (True, False))
    assert purity._pure_form(call) is None


def test_lists_are_written_into_by_no_pure_form():
    graph = fx.Graph()
    x = graph.placeholder("x")
    x.meta["val"] = torch.ones(2)
    assert purity._pure_form(graph.call_function(OPS._foreach_add_.Scalar, ([x], 1.0))) is None
    assert purity._pure_form(graph.call_function(OPS.add_.Tensor, (x, 1.0))) is OPS.add.Tensor


@pytest.mark.parametrize(("enabled", "cut"), [(False, ["detach"]), (True, [])])
def test_what_leaves_a_region_without_gradients_is_cut(enabled, cut):
    graph = fx.Graph()
    x = graph.placeholder("x")
    region = graph.call_function(torch.ops.higher_order.wrap_with_set_grad_enabled, (enabled, None, x))
    graph.output((graph.call_function(operator.getitem, (region, 0)),))
    compiled = fx.GraphModule(nn.Module(), graph)
    graph = compiled.graph
    signature = SimpleNamespace(replace_all_uses=lambda *_: None)
    purity._cut_gradients(SimpleNamespace(graph=graph, graph_module=compiled, graph_signature=signature))
    graph.lint()
    assert ("aten.detach" in compiled.code) == bool(cut)
    names = [operator_name(node) for node in graph.nodes if node.op == "call_function"]
    assert names == ["wrap_with_set_grad_enabled", "getitem", *cut]
    assert operator_name(next(n for n in graph.nodes if n.op == "output").args[0][0]) == [*names][-1]


def test_graphs_are_those_of_regions_too():
    inner, outer = (fx.GraphModule(nn.Module(), fx.Graph()) for _ in range(2))
    outer.add_module("region", inner)
    outer.add_module("other", nn.ReLU())
    assert purity._graphs(outer) == [outer.graph, inner.graph]
