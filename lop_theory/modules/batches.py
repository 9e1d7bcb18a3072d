"""Data as people have it: one batch, or a loader of batches with labels and padding."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput

Mask = str | Tensor | Callable[[Any], Tensor] | None


class Loader(NamedTuple):
    """Batches, and what of a batch the model is called with (``inputs=lambda batch: batch["image"]``)."""

    batches: Iterable[Any]
    inputs: Callable[[Any], Any]


class Batches:
    """Batches that can be gone through more than once; ``inputs_of(batch)`` is what the model is called with.

    A tensor, tuple, list or mapping is one batch. Anything else that can be iterated is a loader; its tuples are cut to
    the number of inputs that the model's ``forward`` requires (labels come last), unless a :class:`Loader` says
    otherwise.
    """

    def __init__(self, model: nn.Module, data: Any) -> None:
        data, self._inputs = data if isinstance(data, Loader) else (data, None)
        self.single = self._inputs is None and isinstance(data, (Tensor, tuple, list, Mapping))
        self._model = model
        if self.single:
            self._data: Any = [data]
        elif isinstance(data, Iterable):
            self._data = list(data) if isinstance(data, Iterator) else data
        else:
            raise InvalidInput(
                "data", type(data).__name__, "must be a batch or a loader of batches", "give a tensor or a DataLoader"
            )
        self._device = next((t.device for t in model.parameters()), torch.device("cpu"))

    def __iter__(self) -> Iterator[Any]:
        for batch in self._data:
            yield pytree.tree_map(self._moved, batch)

    def _moved(self, leaf: Any) -> Any:
        return leaf.to(self._device) if isinstance(leaf, Tensor) else leaf

    def inputs_of(self, batch: Any) -> Any:
        if self._inputs is not None:
            return self._inputs(batch)
        if self.single or not isinstance(batch, Sequence):
            return batch
        return tuple(batch)[: max(1, _required(self._model))]

    @property
    def several(self) -> bool:
        """Whether there may be more than one batch."""
        try:
            return len(self._data) > 1
        except TypeError:
            return True


def _required(model: nn.Module) -> int:
    """Positional inputs that ``forward`` needs."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in parameters)


def mask_of(mask: Mask, batch: Any) -> Tensor | None:
    """The padding mask of a batch (true or 1: a real sample): a key of a dict, a tensor, or a function of the batch."""
    if mask is None or isinstance(mask, Tensor):
        found = mask
    elif isinstance(mask, str):
        if not isinstance(batch, Mapping) or mask not in batch:
            raise InvalidInput(
                "mask", mask, "is no key of the batch", "give a key, a tensor or a function of the batch"
            )
        found = batch[mask]
    else:
        found = mask(batch)
    if found is not None and not isinstance(found, Tensor):
        raise InvalidInput("mask", type(found).__name__, "must be a tensor", "true where a sample is real")
    return None if found is None else found.bool()


def kept_rows(mask: Tensor | None, values: Tensor, dim: int) -> Tensor | None:
    """Which of a value's rows (samples × positions) are real; ``None`` where the mask does not speak of them."""
    if mask is None:
        return None
    rows = [n for d, n in enumerate(values.shape) if d != dim % values.dim()]
    if tuple(rows[: mask.dim()]) == tuple(mask.shape):
        spread = mask.reshape(*mask.shape, *[1] * (len(rows) - mask.dim()))
        return spread.expand(rows).reshape(-1)
    return mask.reshape(-1) if len(rows) == 1 and rows[0] == mask.numel() else None
