"""The widened model as an instance of the user's own class: its ``forward``, keywords, shapes, hooks, ``state_dict``.

The trace says which axes grow. A deep copy of the model gets the wide parameters and buffers; then the plain sizes that
its code reads must grow with them (:mod:`lop_theory.modules.sizes`). The result decides which: it must compute the
base's outputs, on other batch sizes and lengths, too. A model whose code has its widths as numbers stays with the
rewritten trace.
"""

import copy
from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput
from lop_theory.modules.axes import block_count
from lop_theory.modules.clone import Clone
from lop_theory.modules.resizing import resize
from lop_theory.modules.sizes import (
    Growth,
    Size,
    choices,
    names_a_width,
    options_of,
    places_of,
    put,
    put_back,
    sizes_read,
)
from lop_theory.trace import Program, as_arguments, trace
from lop_theory.trace.caches import attributes_kept
from lop_theory.trace.comparison import Pass, answer, model_pass
from lop_theory.trace.modes import mode
from lop_theory.trace.passes import passes_kept

CLOSE = {torch.float64: 1e-9, torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 1e-1}


class Scaled:
    """A forward pre-hook: the module's first input times a constant."""

    def __init__(self, gain: float) -> None:
        self.gain = gain

    def __call__(self, _module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0] * self.gain, *args[1:])


class NotNativeError(Exception):
    """Why the model's own class cannot hold the clone."""


def native(
    model: nn.Module, traced: Clone, base: Mapping[bool, Program], example_input: Any
) -> tuple[nn.Module, dict[str, float]]:
    """The clone in the model's own class, and its scaled modules. Raises :class:`NotNativeError`."""
    scaled = _scaled_modules(model, traced)
    options = options_of(model, sizes_read(model, example_input), _growth(base, traced))
    try:
        wide = copy.deepcopy(model)
    except Exception as error:
        raise NotNativeError(f"{type(model).__name__} cannot be copied: {error}") from error
    places = places_of(wide, options)
    _fill(wide, model, traced.state())
    for path, gain in scaled.items():
        wide.get_submodule(path).register_forward_pre_hook(Scaled(gain))
    slack = _slack(base)
    calls = _calls(model, example_input, slack)
    for chosen in choices(options):
        put(places, chosen)
        if _fits(wide, calls, example_input, slack):
            doubtful = [s for s, value in chosen.items() if value != s.value and _may_be_no_width(s, places[s])]
            now = [(t, given, Pass(_answered(wide, t, given), {}, {}, [])) for t, given, _ in calls if doubtful]
            put_back(doubtful, places, partial(_unchanged, wide, now, example_input))
            return wide, scaled
    raise NotNativeError(
        "no choice of the sizes that its code reads gives the base's function: it has widths as numbers"
    )


def _may_be_no_width(size: Size, things: list[Any]) -> bool:
    """All that modules read when they are called; of configurations, from which other code is built, what is not called
    a width."""
    return not names_a_width(size.name) or all(isinstance(thing, nn.Module) for thing in things)


def _scaled_modules(model: nn.Module, traced: Clone) -> dict[str, float]:
    """Modules whose input the rewritten graphs multiply by a constant."""
    found: dict[str, float] = {}
    for program in traced.programs.values():
        for node in program.graph.nodes:
            if "like" not in node.meta:
                continue
            user = next(iter(node.users))
            path = program.modules.get(user.name, "")
            weighted = bool(path) and getattr(model.get_submodule(path), "weight", None) is not None
            if not isinstance(node.args[1], float) or not weighted or user.args[0] is not node:
                raise NotNativeError(f"a sum of activations needs a correction at {program.where(user)}")
            found[path] = node.args[1]
    return found


def _fill(wide: nn.Module, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Wide parameters and buffers in place of the narrow ones, and the sizes that standard layers remember."""
    for path, module in wide.named_modules():
        for table in (module._parameters, module._buffers):
            for key in table:
                name = f"{path}.{key}" if path else key
                if name in state:
                    cast("dict[str, Any]", table)[key] = state[name]
        resize(module, model.get_submodule(path))


def _growth(base: Mapping[bool, Program], traced: Clone) -> set[Growth]:
    """Every literal size of the traces, and every parameter's, before and after."""
    found: set[Growth] = set()
    for training, program in base.items():
        wide = {node.name: node for node in traced.programs[training].graph.nodes}
        for node in program.graph.nodes:
            old, new = (pytree.tree_leaves((n.args, n.kwargs)) for n in (node, wide[node.name]))
            module = program.modules.get(node.name, "")
            found |= {Growth(module, a, b) for a, b in zip(old, new, strict=False) if type(a) is type(b) is int}
        axes = traced.profiles[training].values
        found |= {
            Growth(program.modules.get(name, ""), block_count(index), len(index))
            for name, maps in axes.items()
            for index in maps
        }
    for name, maps in traced.profiles[True].state.items():
        module = name.rpartition(".")[0]
        found |= {Growth(module, block_count(index), len(index)) for index in maps}
    return found


def _slack(base: Mapping[bool, Program]) -> float:
    """A coarse tolerance, that of the coarsest precision that flows through the trace."""
    values = [node.meta.get("val") for program in base.values() for node in program.graph.nodes]
    dtypes = {value.dtype for value in values if isinstance(value, Tensor) and value.is_floating_point()}
    return max((CLOSE.get(dtype, 1e-1) for dtype in dtypes), default=1e-9)


def _calls(model: nn.Module, example_input: Any, slack: float) -> list[tuple[bool, Any, Pass]]:
    """Calls that the base takes, in both modes, and what it answers: the example, another batch size and length. Where
    the base answers the example alike in both modes, the other calls alone are asked in training; the longest is asked
    in evaluation alone."""
    args, kwargs = as_arguments(example_input)
    found: dict[tuple[bool, int], tuple[bool, Any, Pass]] = {}
    asked = [(args, kwargs), *other_shapes(args, kwargs)]
    for training, (place, given) in [*product([False], enumerate(asked)), *product([True], enumerate(asked[:3]))]:
        with mode(model, training=training), attributes_kept(model):
            try:
                expected = model_pass(model, given, parameters=False)
                if training and not _same_outputs(answer(model, given, seed=1), expected, slack):
                    continue  # random masks: a wider layer draws others
            except Exception:
                continue
            found[training, place] = training, given, expected
    examples = [found[key][2] for key in ((False, 0), (True, 0)) if key in found]
    if (
        len(examples) == 2
        and any(training and place for training, place in found)
        and _same(examples[0], examples[1], 0.0)
    ):
        del found[True, 0]
    return list(found.values())


def other_shapes(*given: Any) -> list[Any]:
    """One more row of every tensor; two more positions of every sequence, and more than twice as many. (Were rows of a
    table doubled that the example does not reach, the first would still be right.)"""
    first = next((t for t in pytree.tree_leaves(given) if isinstance(t, Tensor) and t.dim()), None)
    if first is None:
        return []
    sizes = tuple(first.shape)
    longer = [(0, sizes[0], sizes[0] + 1)]
    longer += [(1, n, wanted) for n in sizes[1:2] for wanted in (n + 2, 2 * n + 3)]
    return [pytree.tree_map(lambda t, to=to: _longer(t, *to), given) for to in longer]


def _longer(value: Any, dim: int, size: int, wanted: int) -> Any:
    if not isinstance(value, Tensor) or value.dim() <= dim or value.shape[dim] != size:
        return value
    return value.index_select(dim, torch.arange(wanted, device=value.device) % size)


def _fits(wide: nn.Module, calls: list[tuple[bool, Any, Pass]], example_input: Any, slack: float) -> bool:
    """Whether the sizes are right: the cheapest question first, the trace's comparison before what it answers, too."""
    with passes_kept():
        return (
            _runs(wide, calls[0], slack)
            and _traceable(wide, example_input)
            and all(_agrees(wide, (training, given), expected, slack) for training, given, expected in calls)
        )


def _runs(wide: nn.Module, call: tuple[bool, Any, Pass], slack: float) -> bool:
    """Whether it takes a call at all, and answers it as expected."""
    training, given, expected = call
    try:
        return _same_outputs(_answered(wide, training, given), expected, slack)
    except Exception:
        return False


def _answered(wide: nn.Module, training: bool, given: Any) -> list[Any]:
    with mode(wide, training=training), attributes_kept(wide):
        return answer(wide, given)


def _unchanged(wide: nn.Module, calls: list[tuple[bool, Any, Pass]], example_input: Any) -> bool:
    """Whether all answers are the same, bit for bit: close would not do, where halves of a head have few to say."""
    return all(_runs(wide, call, 0.0) for call in calls) and _traceable(wide, example_input)


def _agrees(wide: nn.Module, call: tuple[bool, Any], expected: Pass, slack: float) -> bool:
    training, given = call
    try:
        with mode(wide, training=training):
            return _same(model_pass(wide, given, parameters=False), expected, slack)
    except Exception:
        return False


def _traceable(wide: nn.Module, example_input: Any) -> bool:
    """Whether ``certify`` will be able to look at it: eager kernels accept sizes that a trace does not."""
    try:
        trace(wide, example_input)
    except InvalidInput:
        return False
    return True


def _same_outputs(mine: list[Any], theirs: Pass, slack: float) -> bool:
    return _same(Pass(mine, {}, {}, []), theirs._replace(input_gradients=[]), slack)


def _same(mine: Pass, theirs: Pass, slack: float) -> bool:
    """Equal outputs and, as a whole, gradients of the inputs, within a coarse tolerance: ``certify`` has the last word.

    Rounding moves units of a deep network over the kink of their relu: few entries of a gradient then differ by much.
    """
    outputs = zip(mine.outputs, theirs.outputs, strict=False)
    gradients = zip(mine.input_gradients, theirs.input_gradients, strict=False)
    return (
        len(mine.outputs) == len(theirs.outputs)
        and all(_close(a, b, slack) for a, b in outputs)
        and all(_close(a, b, slack) or _near(a, b, 30 * slack) for a, b in gradients)
    )


def _near(a: Any, b: Any, slack: float) -> bool:
    """Close in the norm."""
    both = isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and a.is_floating_point()
    return both and float((a.double() - b.double()).norm()) <= slack * float(b.double().norm())


def _close(a: Any, b: Any, slack: float) -> bool:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return a is b or (not isinstance(a, Tensor) and not isinstance(b, Tensor) and bool(a == b))
    if a.shape != b.shape or not a.is_floating_point():
        return a.shape == b.shape and bool((a == b).all())
    a, b = a.detach().double(), b.detach().double()
    scale = float(b.nan_to_num(0.0, 0.0, 0.0).abs().max()) if b.numel() else 0.0
    return bool(((a - b).abs() <= slack * scale)[a != b].all())
