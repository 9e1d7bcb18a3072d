"""One pass of a model that leaves no trace: parameters, gradients, buffers, modes, random streams and the statistics
of companions are as before, bit for bit."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput
from lop_theory.metrics.watch import Before, See, Watch
from lop_theory.trace import as_arguments, random_state
from lop_theory.trace.caches import attributes_kept
from lop_theory.trace.eager import as_written
from lop_theory.trace.unseen import refuse_unmade

Run = Callable[[Any], Any]
OBSERVER = "lop_theory_observer"
"""A forward hook with this attribute set to true only gathers statistics (those of our interventions do): it is
switched off during a measurement."""


def floating(values: Any) -> list[Tensor]:
    """Floating tensors among nested outputs."""
    return [t for t in pytree.tree_leaves(values) if isinstance(t, Tensor) and t.is_floating_point()]


def anchored(inputs: Any) -> Any:
    """Copies of floating inputs that ask for a gradient: a backward pass to them goes through every layer, and only
    their own gradient is kept."""

    def copy(x: Any) -> Any:
        return x.detach().requires_grad_().clone() if isinstance(x, Tensor) and x.is_floating_point() else x

    with torch.enable_grad():
        return pytree.tree_map(copy, inputs)


def gradients_to(total: Tensor, ends: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """∂total/∂ends, ``None`` where it does not depend on one. ``InvalidInput`` if the model's backward pass fails."""
    try:
        return torch.autograd.grad(total, ends, allow_unused=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        remedy = "let it overwrite nothing that gradients need, and checkpoint with use_reentrant=False"
        raise InvalidInput("model", "its backward pass", f"fails: {reason}", remedy) from error


@contextmanager
def undisturbed(model: nn.Module, watch: Watch | None = None) -> Generator[Run]:
    """Yields ``run(inputs) -> output``, the model's own forward pass on copies of its buffers."""
    refuse_unmade(model)
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    if watch is not None:
        watch.constant(buffers.values())

    def run(inputs: Any) -> Any:
        args, kwargs = as_arguments(inputs)
        if watch is None:
            return functional_call(model, buffers, args, kwargs)
        watch.inputs(t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor))
        with watch:
            return functional_call(model, buffers, args, kwargs)

    with random_state(), attributes_kept(model), _observers_off(model), as_written():
        yield run


@contextmanager
def watched(model: nn.Module, see: See, before: Before | None = None) -> Generator[tuple[Run, Watch]]:
    """As :func:`undisturbed`; :class:`~lop_theory.metrics.watch.Watch` sees every layer that ``run`` computes."""
    names = {module: name for name, module in model.named_modules()}
    watch = Watch(model, see, before)

    def enter(module: nn.Module, _: Any) -> None:
        watch.path.append(names.get(module, watch.path[-1] if watch.path else ""))

    def leave(_module: nn.Module, _args: Any, _output: Any) -> None:
        watch.path.pop()

    handles = (register_module_forward_pre_hook(enter), register_module_forward_hook(leave))
    try:
        with undisturbed(model, watch) as run:
            yield run, watch
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _observers_off(model: nn.Module) -> Generator[None]:
    tables = [
        table for module in model.modules() for table in (module._forward_hooks, module._forward_pre_hooks) if table
    ]
    before = [(table, list(table.items())) for table in tables]
    for table, hooks in before:
        for key, hook in hooks:
            if getattr(hook, OBSERVER, False):
                del table[key]
    try:
        yield
    finally:
        for table, hooks in before:
            table.clear()
            table.update(hooks)
