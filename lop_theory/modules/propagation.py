"""Carry axes through a traced program, one rule an operator.  [composition: Theorem A.2]"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from lop_theory.errors import InvalidInput
from lop_theory.modules.interface import Axes, Call, Domain, Operand
from lop_theory.modules.rules import RULES, Rule, rule_of
from lop_theory.trace import Node, Program, random_state, run

Rules = Mapping[Any, Rule]


class UnsupportedOperation(InvalidInput):
    """No rule covers an operator that meets cloned axes."""

    def __init__(self, place: str, target: object) -> None:
        super().__init__(
            "model",
            str(target),
            f"no cloning rule for this operator (met at {place})",
            f"pass rules={{torch.ops.{target}: rule}} where rule(call) returns the output's axes; "
            "see lop_theory.modules.rules for examples",
        )


class Recording(NamedTuple):
    """What one run showed: sizes (a tuple a tensor, lists of them, plain ints) and which values depend on the input."""

    sizes: Mapping[str, Any]
    learned: frozenset[str]


def sizes_of(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, (list, tuple)):
        return [sizes_of(item) for item in value]
    return value


def record(program: Program, state: Mapping[str, Tensor], inputs: list[Any]) -> Recording:
    """Run the program once without gradients and note sizes."""
    sizes: dict[str, Any] = {}

    def observe(node: Node, value: Any) -> Any:
        sizes[node.name] = sizes_of(value)
        return value

    with torch.no_grad(), random_state():
        run(program, state, inputs, observe)
    return Recording(sizes, learned(program, sizes))


def learned(program: Program, sizes: Mapping[str, Any]) -> frozenset[str]:
    """Names of the values that depend on the model's state but on no input."""
    own, fed = set(program.state), set(program.user_inputs)
    for node in program.graph.nodes:
        if node.op == "call_function" and not isinstance(sizes[node.name], int):
            names = {source.name for source in node.all_input_nodes}
            if names & fed:
                fed.add(node.name)
            elif names & own:
                own.add(node.name)
    return frozenset(own)


def bind(node: Node) -> dict[str, Any]:
    """Arguments by schema name, defaults filled in."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {**dict(zip(("0", "1", "2", "3"), node.args, strict=False)), **node.kwargs}
    bound: dict[str, Any] = {}
    for position, argument in enumerate(schema.arguments):
        if position < len(node.args):
            bound[argument.name] = node.args[position]
        elif argument.name in node.kwargs:
            bound[argument.name] = node.kwargs[argument.name]
        elif argument.has_default_value():
            bound[argument.name] = argument.default_value
    return bound


def propagate(
    program: Program,
    recording: Recording,
    domain: Domain,
    source: Callable[[str, tuple[int, ...]], Axes],
    rules: Rules | None = None,
) -> dict[str, Any]:
    """Axes of every value. ``source(placeholder, shape)`` gives those of state and inputs.

    An operator without a rule takes and gives axes that must not be cloned.
    """
    axes: dict[str, Any] = {}
    for node in program.graph.nodes:
        size = recording.sizes.get(node.name)
        if node.op == "placeholder" and isinstance(size, tuple):
            axes[node.name] = source(node.name, size)
        elif node.op == "call_function":
            call = _call(node, recording, domain, axes)
            domain.enter(call)
            axes[node.name] = _apply(call, rules or {}, program)
            domain.leave(call, axes[node.name])
        elif node.op == "output":
            domain.finish(node)
            for leaf in node.all_input_nodes:
                for axis in flat(axes.get(leaf.name, ())):
                    domain.rigid(axis)
    return axes


def flat(axes: Any) -> list[Any]:
    if isinstance(axes, list):
        return [axis for part in axes for axis in flat(part)]
    return list(axes)


def _call(node: Node, recording: Recording, domain: Domain, axes: Mapping[str, Any]) -> Call:
    def operand(source: Node) -> Any:
        size = recording.sizes[source.name]
        if not isinstance(size, tuple):
            return size
        return Operand(source, size, axes[source.name], source.name in recording.learned)

    arguments = {name: _plain(fx.map_arg(value, operand)) for name, value in bind(node).items()}
    if node.target is operator.getitem:
        arguments["axes"] = axes[node.args[0].name]  # type: ignore[union-attr]
    return Call(node, arguments, recording.sizes[node.name], domain)


def _plain(value: Any) -> Any:
    """fx keeps lists as immutable lists and maps operands into tuples of their kind; rules want plain lists."""
    return list(value) if isinstance(value, list) else value


def _scalar(call: Call) -> bool:
    """Tensors without dimensions in and out: nothing to carry, whatever the rule."""
    shapes = call.output if isinstance(call.output, list) else [call.output]
    return not any(o.shape for o in call.operands()) and all(shape == () for shape in shapes)


def _apply(call: Call, own: Rules, program: Program) -> Any:
    target = call.node.target
    rule = rule_of(target, own) or rule_of(target, RULES)
    if rule is not None and not _scalar(call):
        return rule(call)
    if target is operator.getitem:
        return call["axes"][call["1"]]
    if isinstance(call.output, (tuple, list)):
        call.domain.uncovered(call, program.where(call.node))
    return unrelated(call)


def unrelated(call: Call) -> Any:
    """New axes for all tensors of the result."""
    if isinstance(call.output, list):
        return [call.fresh(size) if isinstance(size, tuple) else () for size in call.output]
    return call.fresh() if isinstance(call.output, tuple) else ()
