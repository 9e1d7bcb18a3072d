"""Look operators up by name; names that this version of torch lacks are left out."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

# Overloads of a covered operator that mean something else: other shapes, data-dependent sizes, a repeat per element.
OTHER = frozenset({"where.default", "repeat_interleave.Tensor", "repeat_interleave.self_Tensor", "view.dtype"})


def table(rule: Callable[..., Any], names: str) -> dict[Any, Callable[..., Any]]:
    """``{overload: rule}`` for the space-separated names: ``relu`` stands for all pure overloads of ``aten.relu``,
    ``max.other`` for one."""
    return {overload: rule for name in names.split() for overload in _overloads(name)}


def _overloads(name: str) -> Iterator[Any]:
    name, _, wanted = name.partition(".")
    packet = getattr(torch.ops.aten, name, None)
    for overload in packet.overloads() if packet is not None else ():
        found = getattr(packet, overload)
        named = any("Dimname" in str(argument.type) for argument in found._schema.arguments)
        other = f"{name}.{overload}" in OTHER and not wanted
        if not (found._schema.is_mutable or named or other) and wanted in ("", overload):
            yield found
