"""The dense layers in the state of an MLP: which tensors they are, in which order, read from safetensors."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lop_theory.errors import InvalidInput
from lop_theory.graph.dense import Layer

Tensor = NDArray[Any]
_DIGITS = re.compile(r"(\d+)")
_READABLE = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}
_ORDER = "give the order from input to output: --order NAME NAME ..."
_SEARCH = 20_000  # steps in which orders are looked for


class Order(NamedTuple):
    """The names of the layers from input to output, and what decided it."""

    names: tuple[str, ...]
    decided_by: str


def layers_of_state(state: Mapping[str, Any], order: Sequence[str] | None = None) -> tuple[list[Layer], Order]:
    """The dense layers of a state dict and their order: as given, by the numbers in their names (``net.0.weight``,
    ``net.2.weight``, …) or by their shapes, where these leave no choice.

    Raises ``InvalidInput`` for what is no dense layer, and where nothing decides the order.
    """
    shapes = {key: np.shape(value) for key, value in state.items()}
    found = order_of(shapes, order)
    return [_layer(state, name) for name in found.names], found


def order_of(shapes: Mapping[str, Sequence[int]], order: Sequence[str] | None = None) -> Order:
    """The order of the layers whose tensors have these shapes. Raises as ``layers_of_state`` does."""
    names = _dense(shapes)
    if order is not None:
        if sorted(order) != sorted(names):
            raise InvalidInput("order", " ".join(order), "must name every layer once", f"the layers: {' '.join(names)}")
        return Order(tuple(order), "as given")
    numbered = sorted(names, key=_natural)
    sizes = {name: (int(shapes[_weight(name)][1]), int(shapes[_weight(name)][0])) for name in names}
    if len({_DIGITS.sub("#", name) for name in names}) == 1:
        if _chained([sizes[name] for name in numbered]):
            return Order(tuple(numbered), "the numbers in the names")
        raise InvalidInput("layers", " ".join(numbered), "do not fit together in the order of their numbers", _ORDER)
    orders = list(_orders(sizes))
    if len(orders) != 1:
        why = "do not fit together in any order" if not orders else "fit together in several orders"
        raise InvalidInput("layers", " ".join(numbered), why, _ORDER)
    return Order(orders[0], "the shapes")


def _dense(shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Names of the dense layers; everything else is refused at once."""
    names = [key[: -len(".weight")] for key in shapes if re.search(r"(^|\.)weight$", key)]  # "weight" is named ""
    normed = sorted({key.rpartition(".")[0] for key in shapes if key.endswith("running_mean")})
    if normed:
        raise InvalidInput(
            "state",
            " ".join(normed),
            "is BatchNorm, which only a model in evaluation folds away",
            "fold each into the Linear before it (torch.nn.utils.fusion.fuse_linear_bn_eval), save the model without",
        )
    known = {key for name in names for key in (_weight(name), _bias(name))}
    odd = sorted(set(shapes) - known) or sorted(_weight(n) for n in names if len(shapes[_weight(n)]) != 2)
    if odd:
        remedy = "give the state of an MLP of Linear layers; for other models see lop_theory.modules"
        raise InvalidInput("state", odd[0], f"is not a dense layer's weight or bias ({len(odd)} such tensors)", remedy)
    if not names:
        raise InvalidInput("state", sorted(shapes), "has no weight", "give the state of an MLP")
    for name in names:
        rows = int(shapes[_weight(name)][0])
        if _bias(name) in shapes and tuple(shapes[_bias(name)]) != (rows,):
            shape = tuple(shapes[_bias(name)])
            raise InvalidInput(f"tensor {_bias(name)}", shape, f"must have shape ({rows},)", "one bias a unit")
    return names


def _weight(name: str) -> str:
    return f"{name}.weight" if name else "weight"


def _bias(name: str) -> str:
    return f"{name}.bias" if name else "bias"


def _natural(key: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in _DIGITS.split(key)]


def _chained(sizes: Sequence[tuple[int, int]]) -> bool:
    return all(a[1] == b[0] for a, b in pairwise(sizes))


def _orders(sizes: Mapping[str, tuple[int, int]]) -> Iterator[tuple[str, ...]]:
    """Up to two orders in which every layer reads what the one before it writes."""
    found, steps = 0, 0
    paths = [(name,) for name in sizes]
    while paths and found < 2:
        path = paths.pop()
        steps += 1
        if len(path) == len(sizes):
            found += 1
            yield path
        paths += [(*path, name) for name in sizes if name not in path and sizes[name][0] == sizes[path[-1]][1]]
        if steps > _SEARCH:
            names = " ".join(sizes)
            raise InvalidInput("layers", names, "have an order that shapes do not decide", _ORDER)


def _layer(state: Mapping[str, Any], name: str) -> Layer:
    weight = np.asarray(state[_weight(name)], dtype=np.float64)
    bias = state.get(_bias(name))
    return Layer(weight, np.zeros(len(weight)) if bias is None else np.asarray(bias, dtype=np.float64))


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, float16 and bfloat16 included. Raises ``InvalidInput`` that names what is no number."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="numpy") as tensors:  # checks the header and the lengths
            names = list(tensors.keys())
            shapes = {name: tensors.get_slice(name).get_shape() for name in names}
            kinds = {name: tensors.get_slice(name).get_dtype() for name in names}
    except (SafetensorError, ValueError, OSError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InvalidInput("file", str(file), f"is not a safetensors file ({reason})", "save float tensors") from error
    _dense(shapes)
    for name in names:
        if kinds[name] not in _READABLE:
            readable = ", ".join(_READABLE)
            raise InvalidInput(f"tensor {name}", kinds[name], f"is none of {readable}", "save state[name].float()")
        if 0 in shapes[name]:
            raise InvalidInput(f"tensor {name}", shapes[name], "is empty", "every layer needs an input and a unit")
    return {name: _tensor(file, name) for name in names}


def _tensor(file: Path, name: str) -> Tensor:
    """A bfloat16 number is the upper half of a float32."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        entry = json.loads(stream.read(length))[name]
    kind, shape = _READABLE[entry["dtype"]], tuple(entry["shape"])
    raw = np.fromfile(file, kind, int(np.prod(shape)), offset=8 + length + entry["data_offsets"][0]).reshape(shape)
    return (raw.astype(np.uint32) << 16).view(np.float32) if entry["dtype"] == "BF16" else raw
