"""What changes values or gradients where no trace can see it: found by name, and refused."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.function import BackwardCFunction
from torch.export.graph_signature import InputKind
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput

DERIVATIVES = frozenset({"transformers.models.bloom.modeling_bloom.GeLUFunction"})
"""Functions whose backward was read and is the derivative of their forward: 0.5 x (1 + tanh u)."""


class NotTraceable(InvalidInput):
    """The trace is not the model, so nothing that is proved about it would be true of the model."""

    def __init__(self, where: str, reason: str, remedy: str = "") -> None:
        super().__init__("model", where, reason, remedy)


def one_line(error: Exception) -> str:
    """The first line of a message, at most 200 characters of it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def refuse_scripts(model: nn.Module) -> None:
    """Raise :class:`NotTraceable` for modules in TorchScript."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise NotTraceable(
                name or "(top)", "is TorchScript, in which no trace looks", "pass the module it was made of"
            )


def refuse_unmade(model: nn.Module) -> None:
    """Raise :class:`NotTraceable` for parameters and buffers that the first call will make."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise NotTraceable(name, "has no shape yet", "call the model once before")


def refuse_objects(model: nn.Module, exported: torch.export.ExportedProgram) -> None:
    """Raise :class:`NotTraceable` for what a graph holds besides tensors and numbers (a ``torch.Generator``), and for
    tensors that the call itself has made."""
    for spec in exported.graph_signature.input_specs:
        if spec.kind == InputKind.CUSTOM_OBJ:
            kind = type(exported.constants[str(spec.target)]).__name__
            raise NotTraceable(
                type(model).__name__, f"computes with a {kind} of its own, which no trace shows", "leave it out"
            )
    for name, tensor in (*model.named_parameters(), *model.named_buffers(), *exported.constants.items()):
        if isinstance(tensor, FakeTensor):
            raise NotTraceable(name, "is made by the call", "make it in __init__, or call the model once before")


def refuse_hooks(model: nn.Module) -> None:
    """Raise :class:`NotTraceable` for hooks that change gradients."""
    for name, parameter in model.named_parameters():
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            raise NotTraceable(name, "a hook on this parameter changes its gradient", "remove the hook")
    for name, module in model.named_modules():
        if module._backward_hooks or module._backward_pre_hooks:
            raise NotTraceable(name or "(top)", "a backward hook of this module changes gradients", "remove the hook")


def refuse_shared_memory(tensors: Mapping[str, Tensor], written: Iterable[str]) -> None:
    """Raise :class:`NotTraceable` for a tensor that a call writes into while another one lies in the same memory."""
    spans = {name: _span(tensor) for name, tensor in tensors.items()}
    for name in written:
        for other, span in spans.items():
            meet = max(span.start, spans[name].start) < min(span.stop, spans[name].stop)
            if meet and tensors[other] is not tensors[name]:
                reason = f"is written into and shares its memory with {other}, which no trace shows"
                raise NotTraceable(name, reason, "clone one of them")


def _span(tensor: Tensor) -> range:
    """Addresses from the first entry to the last; none of what has no memory in order."""
    if tensor.layout != torch.strided or not tensor.data_ptr():
        return range(0)
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return range(tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size())


class HookWatch(TorchFunctionMode):
    """While active, notes whether ``forward`` registers hooks on tensors that it computes."""

    NAMES = frozenset({"register_hook", "register_post_accumulate_grad_hook"})
    seen = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen |= getattr(func, "__name__", "") in self.NAMES
        return func(*args, **(kwargs or {}))


class GradientFlags(TorchFunctionMode):
    """While active, asking for the gradient of a value that has one already is no error: a model may ask for that of
    its input, which here is computed."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__self__", None) is Tensor.requires_grad and args[1:] == (True,) and args[0].requires_grad:
            return None
        return func(*args, **(kwargs or {}))


def custom_function(outputs: Iterable[Tensor]) -> str | None:
    """The name of a ``torch.autograd.Function`` that the outputs were computed with."""
    waiting = [t.grad_fn for t in outputs if t.grad_fn is not None]
    met = set(waiting)
    while waiting:
        node = waiting.pop()
        forward: Any = getattr(node, "_forward_cls", None)
        if isinstance(node, BackwardCFunction) and f"{forward.__module__}.{forward.__qualname__}" not in DERIVATIVES:
            return type(node).__name__.removesuffix("Backward")
        fresh = [parent for parent, _ in node.next_functions if parent is not None and parent not in met]
        met.update(fresh)
        waiting += fresh
    return None


def outputs_of_modules(model: nn.Module, call: Callable[[], Any]) -> Iterator[tuple[str, list[Tensor]]]:
    """Path and floating outputs of every module that ``call`` runs, in the order in which they finish."""
    found: list[tuple[str, list[Tensor]]] = []

    def watch(name: str) -> Callable[..., None]:
        def note(_module: Any, _args: Any, output: Any) -> None:
            found.append((name, floating(output)))

        return note

    handles = [module.register_forward_hook(watch(name)) for name, module in model.named_modules()]
    try:
        call()
    finally:
        for handle in handles:
            handle.remove()
    yield from found


def floating(tree: Any) -> list[Tensor]:
    """The floating tensors among the leaves."""
    return [t for t in pytree.tree_leaves(tree) if isinstance(t, Tensor) and t.is_floating_point()]
