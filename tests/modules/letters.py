"""The axes of a call in letters: what a rule says of one operator, its tensors' sizes being all that is given.

A letter is an axis that may be cloned, and the same letter means the same partition; a number is the size of one that
may not; ``(ab)`` is a grid, ``a+b`` a row, ``a=`` constant along it.
"""

from typing import NamedTuple

import torch
from torch import fx

from lop_theory.modules import interface
from lop_theory.modules.conditions import Anything, Check, Pass
from lop_theory.modules.plan import Plan
from lop_theory.modules.propagation import Recording, propagate, sizes_of
from lop_theory.trace import Program


class Given(NamedTuple):
    """A tensor argument: its sizes, whether it is a parameter, the kind of its numbers, whether it may be cloned."""

    shape: tuple[int, ...]
    learned: bool = False
    dtype: torch.dtype = torch.float32
    free: bool = True
    same: bool = False  # constant along all its axes

    def tensor(self):
        return (torch.ones if self.dtype.is_floating_point else torch.zeros)(self.shape, dtype=self.dtype)


def x(*shape):
    return Given(shape)


def w(*shape):
    return Given(shape, learned=True)


def i(*shape):
    return Given(shape, dtype=torch.int64)


def b(*shape):
    return Given(shape, dtype=torch.bool)


def r(*shape):
    return Given(shape, free=False)


def c(*shape):
    return Given(shape, same=True)


class Letters:
    """Names of axes, in the order in which they are asked for."""

    def __init__(self, plan):
        self.plan, self.names = plan, {}

    def axis(self, axis):
        plan, root = self.plan, self.plan.find(axis)
        assert isinstance(plan.size(root), int)
        if not plan.cloned(root):
            return str(plan.size(root))
        if plan._kind[root] == "leaf":
            name = self.names.setdefault(root, "abcdefghijklmnopqrstuvwxyz"[len(self.names)])
            return name + ("=" if "constant" in plan.marks(root) else "")
        parts = [self.axis(part) for part in plan._parts[root]]
        return "+".join(parts) if plan._kind[root] == "sum" else f"({''.join(parts)})"

    def all(self, axes):
        if isinstance(axes, list):
            return " | ".join(self.all(part) for part in axes) + (" |" if len(axes) == 1 else "")
        return " ".join(map(self.axis, axes)) or "()"

    def effect(self, e):
        match e:
            case interface.Contraction():
                return f"{e.data}[{e.data_dim}]*{e.weight}: " + " ".join(
                    f"{role} {self.axis(a)}" for role, a in e.roles
                )
            case interface.Correction():
                return f"{e.operand}[{e.dim}] by {self.axis(e.axis)}^{e.power:g}"
            case interface.Rescale():
                return f"{e.argument} by {self.axis(e.axis)}^-0.5"
            case interface.Resize():
                return f"{e.argument} = {self.axis(e.axes) if isinstance(e.axes, int) else self.all(e.axes)}"
            case interface.Offset():
                return f"{e.argument} after {self.all(e.axes)}"
            case interface.Cut():
                return f"cut [{e.dim}]: {self.all(e.pieces)}"
            case interface.Breaks():
                return f"breaks {self.all(e.axes)}: {e.reason}"


class Traced(NamedTuple):
    """A graph of one call, what it was given by name, and its own node."""

    program: Program
    recording: Recording
    given: dict[str, Given]
    node: fx.Node


def traced(operator, args, kwargs):
    graph, given, sizes = fx.Graph(), {}, {}

    def entered(value):
        if isinstance(value, list):
            return [entered(item) for item in value]
        if not isinstance(value, Given):
            return value
        node = graph.placeholder(f"x{len(given)}")
        given[node.name], sizes[node.name] = value, value.shape
        node.meta["val"] = value.tensor()
        return node

    def real(value):
        if isinstance(value, list):
            return [real(item) for item in value]
        return value.tensor() if isinstance(value, Given) else value

    node = graph.call_function(operator, tuple(map(entered, args)), {k: entered(v) for k, v in kwargs.items()})
    graph.output(())
    node.meta["val"] = result = operator(*map(real, args), **{k: real(v) for k, v in kwargs.items()})
    sizes[node.name] = sizes_of(result)
    recording = Recording(sizes, frozenset(name for name, value in given.items() if value.learned))
    return Traced(Program(graph, {}, {}, (), None, {}, {}, None, {}), recording, given, node)


def told(operator, *args, rules=None, **kwargs):
    """The axes of a call's tensors, those of its result, and what its rule asks for, in letters."""
    program, recording, given, node = traced(operator, args, kwargs)
    plan = Plan()

    def source(name, shape):
        kind = given[name]
        return tuple((plan.constant if kind.same else plan.free if kind.free else plan.new)(n) for n in shape)

    axes = propagate(program, recording, plan, source, rules)
    letters = Letters(plan)
    said = [letters.all(axes[name]) for name in given]
    text = f"{', '.join(said)} -> {letters.all(axes[node.name])}"
    effects = [letters.effect(e) for e in plan.effects.get(node, [])]
    effects += [f"mean of {letters.axis(axis)}" for axis in plan.averaged]
    effects += [f"no rule at {place} for {target}" for place, target in plan.without_rule.items()]
    for mark in ("heads", "width", "avoid"):
        if marked := [letters.names[leaf] for leaf in letters.names if mark in plan.marks(leaf)]:
            effects.append(f"{mark} {' '.join(marked)}")
    return "; ".join([text, *effects])


def varying(operator, *args, **kwargs):
    """How many axes of a result the checking domain does not take for constant, of operands without clones."""
    program, recording, given, node = traced(operator, args, kwargs)
    tensors = {name: value.tensor() for name, value in given.items()}
    domain = Check(program, Pass(tensors, recording.sizes), {})

    def source(name, shape):
        return tuple((domain.constant if given[name].same else domain.new)(n) for n in shape)

    axes = propagate(program, recording, domain, source)[node.name]
    assert domain.offences == []
    return [[not isinstance(axis, Anything) for axis in part] for part in (axes if isinstance(axes, list) else [axes])]
