"""Look operators up by name; names that this version of torch lacks are left out."""

from collections.abc import Callable
from typing import Any

import torch


def table(rule: Callable[..., Any], names: str) -> dict[Any, Callable[..., Any]]:
    """``{torch.ops.aten.<name>: rule}`` for the space-separated names."""
    return {getattr(torch.ops.aten, name): rule for name in names.split() if hasattr(torch.ops.aten, name)}
