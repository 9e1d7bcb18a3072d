"""Units of any model, seen while its own forward pass runs: functional calls, own activation classes, shared modules.

Every call that the pass makes is intercepted (``TorchFunctionMode``), so what is seen is what runs: nothing is traced,
and the model's code, its keywords and its Python control flow are its own. A value's *source* is the pre-activation of
which it is an elementwise function. Layers are

* ``sum``: a weighted sum (linear, convolution, embedding, product with a learned matrix),
* ``join``: a sum of values of different sources (a residual stream),
* ``activation``: a nonlinear function of one source at the point where something else reads it, so that
  ``0.5 * x * (1 + tanh(...))`` or ``x * sigmoid(x)`` is one layer, and every call of a shared module is its own,
* ``gate``: a product of different sources (the hidden units of SwiGLU, squeeze-excitation).

Values that depend on no input (rotary tables, masks, weights) are no layers. Calls inside TorchScript are not seen.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from lop_theory.metrics.calls import (
    ACTIVATIONS,
    CARRIED,
    LINEAR,
    NONLINEAR,
    PLAIN,
    RECURRENT,
    REDUCED,
    carried_dim,
    name_of,
    reduced_dims,
    summed,
    tensors_of,
)

INPUT = "input"


class Layer(NamedTuple):
    """``name``: the module's path, with ``:operator`` where a module with children calls a function, ``#2`` from the
    second call on. ``weight``: name and output dimension of the parameter whose units these are, as far as known.

    ``source`` numbers the pre-activation; a weighted sum and the activation right behind it have the same. ``reads``
    (of sums) names the layer whose units are summed, ``input`` for a model input, ``""`` if it is not known.
    ``plainly``: nothing but views and pooling stands between the layer that is read and a sum, or between the sum and
    an activation that is one named function of it.
    """

    name: str
    operator: str
    kind: str
    dim: int
    weight: tuple[str, int] | None
    source: int
    reads: str = ""
    plainly: bool = False


class Value(NamedTuple):
    """What is known of a tensor. ``dim`` is where its units are; ``key`` names the nonlinear result it carries."""

    dim: int | None
    source: int
    key: int | None = None
    operator: str = ""
    place: str = ""
    kind: str = ""
    weight: tuple[str, int] | None = None
    owner: str = ""
    plain: bool = True
    direct: bool = False


Call = Callable[..., Any]
See = Callable[[Layer, Tensor], None]
Before = Callable[[int, Call, tuple[Any, ...], dict[str, Any]], None]


class Watch(TorchFunctionMode):
    """While entered, ``see(layer, tensor)`` is called for every layer, before anything can overwrite the tensor.

    ``before(source, call, arguments)`` is called before a named activation runs on the value ``arguments[0]``.
    """

    def __init__(self, model: nn.Module, see: See, before: Before | None = None) -> None:
        super().__init__()
        self.see, self.before = see, before
        self.path: list[str] = []
        self._leaf = {name: not list(m.children()) for name, m in model.named_modules()}
        self._learned = WeakIdKeyDictionary()
        self._constant = WeakIdKeyDictionary()
        self.restart()
        for name, parameter in model.named_parameters():
            self._learned[parameter] = name

    def restart(self) -> None:
        """Forget the last pass: the next one numbers and names its layers anew."""
        self._values = WeakIdKeyDictionary()
        self._told: dict[int, str] = {}
        self._names: dict[str, int] = {}
        self._serial = 0

    def constant(self, tensors: Any) -> None:
        """Tensors that depend on no input."""
        for tensor in tensors:
            self._constant[tensor] = True

    def inputs(self, tensors: Any) -> None:
        """What the model is called with."""
        for tensor in tensors:
            self._values[tensor] = Value(None, self._next(), owner=INPUT)

    def outputs(self, tensors: list[Tensor]) -> frozenset[int]:
        """Report activations that only the caller reads; the sources of the outputs."""
        for tensor in tensors:
            self._read(tensor)
        return frozenset(self._values[t].source for t in tensors if t in self._values)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, name_of(func)
        if name == "multi_head_attention_forward":
            with self:
                return _without_override_check(func)(*args, **kwargs)
        operands = tensors_of((*args, *kwargs.values()))
        data = [t for t in operands if not self._is_parameter_like(t)]
        if data:
            self._before(name, func, args, kwargs, data)
        out = func(*args, **kwargs)
        results = [
            t for t in tensors_of([out]) if not any(t is operand for operand in operands) or "dropout" not in name
        ]
        if data:
            for position, result in enumerate(results):
                self._after(name, args, kwargs, data, (result, position))
        elif any(t in self._learned or isinstance(t, nn.Parameter) for t in operands):
            for result in results:
                self._learned[result] = self._single_origin(operands, result)
        else:
            self.constant(results)
        return out

    def _is_parameter_like(self, tensor: Tensor) -> bool:
        return tensor in self._constant or tensor in self._learned or isinstance(tensor, nn.Parameter)

    def _single_origin(self, operands: list[Tensor], result: Tensor) -> str:
        """The parameter that a cast, a view of the same shape or a reparametrised weight stands for."""
        names = [self._learned[t] for t in operands if t in self._learned and t.shape == result.shape]
        return names[0] if len(set(names)) == 1 else ""

    def _value(self, tensor: Tensor) -> Value:
        if tensor not in self._values:
            self._values[tensor] = Value(None, self._next())
        return self._values[tensor]

    def _next(self) -> int:
        self._serial += 1
        return self._serial

    # --- before a call: what it reads ---------------------------------------------------------------------------------

    def _before(self, name: str, func: Any, args: Any, kwargs: Any, data: list[Tensor]) -> None:
        for tensor in data:
            place = self._value(tensor).place
            if self._leaf.get(place) and place and [place] != self.path[-1:]:
                self._read(tensor)  # the output of a module of its own
        if name in LINEAR or name in NONLINEAR or name in ACTIVATIONS:
            sources = {self._value(t).source for t in data if self._bears(t, data)}
            if len(sources) > 1 or (name in LINEAR and len(tensors_of((*args, *kwargs.values()))) > len(data)):
                self._read_all(data)
            elif name in ACTIVATIONS and self.before is not None and args and args[0] is data[0]:
                self.before(self._value(data[0]).source, func, args, kwargs)
        elif name in REDUCED:
            for t in data:
                if reduced_dims(t, args, kwargs) != {self._value(t).dim}:
                    self._read(t)
        elif name not in CARRIED:
            self._read_all(data)

    def _bears(self, tensor: Tensor, data: list[Tensor]) -> bool:
        """Whether the operand brings units of its own to an elementwise call: not a scalar, not broadcast along
        them."""
        widest = max(data, key=lambda t: t.dim())
        dim = self._value(tensor).dim
        if dim is None:
            return tensor.dim() == widest.dim() and tensor.numel() > 1 and all(self._value(t).dim is None for t in data)
        from_right = tensor.dim() - dim
        sizes = [t.shape[t.dim() - from_right] for t in data if t.dim() >= from_right]
        return tensor.shape[dim] == max(sizes)

    def _read_all(self, data: list[Tensor]) -> None:
        for tensor in data:
            self._read(tensor)

    def _read(self, tensor: Tensor) -> None:
        value = self._values.get(tensor)
        if value is None or value.key is None or value.key in self._told:
            return
        self._told[value.key] = ""
        dim = value.dim
        if dim is None:
            if value.operator not in ACTIVATIONS:
                return
            dim = 1 if tensor.dim() > 3 else tensor.dim() - 1
        self._told[value.key] = self._report(value, tensor, dim)

    def _report(self, value: Value, tensor: Tensor, dim: int, read: Value | None = None) -> str:
        """Tell of a layer; its name."""
        if tensor.dim() < 2 or not tensor.is_floating_point() or not tensor.numel():
            return ""
        count = self._names[value.place] = self._names.get(value.place, 0) + 1
        name = value.place if count == 1 else f"{value.place}#{count}"
        reads = "" if read is None else self._owner(read)
        plainly = value.direct if read is None else read.plain
        self.see(Layer(name, value.operator, value.kind, dim, value.weight, value.source, reads, plainly), tensor)
        return name

    def _owner(self, value: Value) -> str:
        return value.owner if value.key is None else self._told.get(value.key, "")

    def _place(self, operator: str, weight: tuple[str, int] | None = None) -> str:
        """Where a value is made: a module of its own, or that of the weight, or a call of a larger module."""
        path = self.path[-1] if self.path else ""
        owner = "" if weight is None else weight[0].rpartition(".")[0]
        if self._leaf.get(path) and path:
            return path
        if self._leaf.get(owner) and owner:
            return owner
        return f"{path}:{operator}" if path else operator

    # --- after a call: what it made -----------------------------------------------------------------------------------

    def _after(self, name: str, args: Any, kwargs: Any, data: list[Tensor], made: tuple[Tensor, int]) -> None:
        out, position = made
        if name in LINEAR or name in NONLINEAR or name in ACTIVATIONS:
            self._elementwise(name, data, out)
            return
        produced = summed(name, args, kwargs, out, self._learned) if position == 0 else None
        if produced is not None:
            dim, weight = produced
            kind = "activation" if name in RECURRENT else "sum"
            value = Value(dim, self._next(), None, name, self._place(name, weight), kind, weight)
            self._values[out] = value._replace(owner=self._report(value, out, dim, self._value(data[0])))
            return
        first = self._value(data[0])
        if name in CARRIED:
            dim = carried_dim(name, data[0], out, first.dim)
            if dim is None and first.dim is not None:
                self._read(data[0])
            whole = dim is not None and first.dim is not None and out.shape[dim] == data[0].shape[first.dim]
            source = first.source if position == 0 else self._next()
            weight = first.weight if whole or dim is None else None
            plain = first.plain and out.dtype == data[0].dtype
            self._values[out] = first._replace(dim=dim, source=source, weight=weight, plain=plain)
            return
        kept = first.dim if _keeps_dim(name, data[0], out, first.dim) else None
        if name == "glu" and kept is not None:
            place = self._place(name)
            self._values[out] = Value(kept, self._next(), self._next(), name, place, "gate")
            return
        divisor = args[6] if name.startswith("avg") and len(args) > 6 else kwargs.get("divisor_override")
        plain = first.plain and name in PLAIN and divisor is None
        weight, owner = (None, "") if kept is None else (first.weight, self._owner(first))
        self._values[out] = Value(kept, self._next(), weight=weight, owner=owner, plain=plain)

    def _elementwise(self, name: str, data: list[Tensor], out: Tensor) -> None:
        bearing = [t for t in data if self._bears(t, data)]
        if not bearing:
            self._values[out] = Value(None, self._next())
            return
        values = [self._value(t) for t in bearing]
        first = values[0]
        dim = None if first.dim is None else first.dim + out.dim() - bearing[0].dim()
        place = self._place(name)
        if len({v.source for v in values}) > 1:
            kind = "gate" if name not in LINEAR or name in ("mul", "div") else "join"
            value = Value(dim, self._next(), None, name, place, kind, first.weight)
            owner = "" if dim is None else self._report(value, out, dim)
            self._values[out] = value._replace(owner=owner)
            return
        bent = name not in LINEAR or (name in ("mul", "div") and len(values) > 1)
        if bent or len(values) > 1:
            key = self._next() if bent or any(v.key is not None for v in values) else None
            direct = name in ACTIVATIONS and len(data) == 1 and first.key is None and first.plain
            self._values[out] = Value(dim, first.source, key, name, place, "activation", first.weight, direct=direct)
        else:  # scaled or shifted: what it is stays
            self._values[out] = first._replace(dim=dim, plain=False)


def _keeps_dim(name: str, before: Tensor, after: Tensor, dim: int | None) -> bool:
    """Normalisation, pooling, attention and unknown calls that leave the number of dimensions and of units; of ``glu``
    the half."""
    if dim is None or after.dim() != before.dim():
        return False
    return name == "glu" or after.shape[dim] == before.shape[dim]


def _without_override_check(function: Any) -> Any:
    """A Python function of ``torch.nn.functional`` that, though a mode is active, runs its own body."""
    return FunctionType(
        function.__code__,
        {**function.__globals__, "has_torch_function": lambda _: False},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
