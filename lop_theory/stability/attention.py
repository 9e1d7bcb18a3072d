"""Fused attention by its formula: softmax(QKᵀ/√d) V in plain operators, which have a second derivative."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

_ATEN = torch.ops.aten
_FUSED = (torch.nn.functional.scaled_dot_product_attention, _ATEN.scaled_dot_product_attention.default)


class _Formula(TorchFunctionMode):
    """Calls of ``scaled_dot_product_attention``, whatever kernel the model's own code chooses for them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _FUSED:
            return _laid_out(_ATEN._scaled_dot_product_attention_math.default(*args, **(kwargs or {}))[0])
        return func(*args, **(kwargs or {}))


def _laid_out(result: Tensor) -> Tensor:
    """In memory as the fused kernels leave it, (batch, position, head, channel): code behind them may take views."""
    return result.transpose(1, 2).contiguous().transpose(1, 2) if result.dim() == 4 else result


@contextmanager
def math_attention() -> Generator[None]:
    """Within, attention can be differentiated twice."""
    with sdpa_kernel(SDPBackend.MATH), _Formula():
        yield
