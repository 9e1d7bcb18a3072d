"""What a trace depends on besides the values of parameters and the mode: how a model is built.

Two equal fingerprints mean that tracing again would give the same graph. Only plain attributes are compared; a model
that holds anything else (a configuration object, a closure, a tensor outside the parameters) has no fingerprint.
"""

from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from functools import partial
from itertools import zip_longest
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

SINGLE = (torch.dtype, torch.device, type)
VALUES = (bool, int, float, complex, str, bytes, type(None))
HELD = frozenset(  # listed elsewhere, the mode, what expand remembers, and what no forward pass reads
    "training _parameters _buffers _modules _expansion _flat_weight_refs _load_state_dict_pre_hooks "
    "_load_state_dict_post_hooks _state_dict_pre_hooks _state_dict_hooks".split()
)


class _NotPlainError(Exception):
    """Something whose changes cannot be seen from outside."""


def fingerprint(model: nn.Module, inputs: Any) -> Any:
    """A value to compare with ``==``; None if some attribute is not plain. Functions count as the same while they are
    the same object: of the globals that they read only the plain ones of ``forward`` itself are compared."""
    leaves, structure = pytree.tree_flatten(inputs)
    try:
        modules = [(name, id(module), _built(module)) for name, module in model.named_modules(remove_duplicate=False)]
        given = [_described(leaf) if isinstance(leaf, Tensor) else _plain(leaf) for leaf in leaves]
        return modules, _tensors(model), given, structure, torch.get_default_dtype()
    except _NotPlainError:
        return None


def _built(module: nn.Module) -> Any:
    forward = type(module).forward
    read = getattr(forward, "__globals__", {})
    named = {name: read[name] for name in names_in(getattr(forward, "__code__", None)) if name in read}
    return type(module), forward, _plain_ones(named), _attributes(module)


def names_in(code: Any) -> set[Any]:
    """What the code, and the code of functions within it, names, be it in a string; other constants are no names."""
    if not isinstance(code, CodeType):
        return set()
    return {*code.co_names, *code.co_consts}.union(*map(names_in, code.co_consts))


def _plain_ones(values: Mapping[str, Any]) -> Any:
    """Constants and containers of constants; modules, functions and other objects are left out."""
    found = {}
    for name, value in values.items():
        with suppress(_NotPlainError):
            found[name] = _plain(value)
    return found


def _attributes(module: nn.Module) -> Any:
    """Hooks included; parameters, buffers and children are listed by name elsewhere."""
    given = {name: value for name, value in vars(module).items() if name not in HELD}
    if isinstance(module, nn.RNNBase):
        own, flat = (getattr(module, name, None) for name in module._flat_weights_names), given.pop("_flat_weights")
        if any(a is not b for a, b in zip_longest(own, flat)):  # what it runs on are not its parameters
            raise _NotPlainError
    return _plain(given)


def _tensors(model: nn.Module) -> Any:
    parameters = model.named_parameters(remove_duplicate=False)
    return [(name, id(t), _described(t)) for name, t in (*parameters, *model.named_buffers(remove_duplicate=False))]


def _described(tensor: Tensor) -> Any:
    """Of a tensor whose numbers a trace does not hold."""
    layout = tensor.stride() if tensor.layout == torch.strided else tensor.layout
    return tuple(tensor.shape), layout, tensor.dtype, tensor.device, tensor.requires_grad


def _plain(value: Any, depth: int = 4) -> Any:
    if isinstance(value, SINGLE):
        return value
    if type(value) in VALUES or isinstance(value, (np.generic, Enum)):
        return type(value), repr(value)  # 1, 1.0 and True are not the same, nor are 0.0 and -0.0
    if isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, (ModuleType, type(None))):
        return value  # bound to nothing that could change
    if isinstance(value, FunctionType) and not value.__closure__:
        return value
    if isinstance(value, partial):
        return partial, _plain([value.func, value.args, value.keywords], depth)
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value), [_plain(item, depth) for item in value]
    if isinstance(value, Mapping):
        return type(value), [(_plain(key, depth), _plain(item, depth)) for key, item in value.items()]
    if depth and type(value).__module__.split(".")[0] in ("transformers", "lop_theory") and hasattr(value, "__dict__"):
        return type(value), _plain(dict(vars(value)), depth - 1)  # configurations and hooks: plain objects
    raise _NotPlainError
