"""How forward and backward passes are computed: float32, TF32 on tensor cores, or bfloat16 by autocast."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch

from empirical.training.options import Precision
from lop_theory.errors import InvalidInput

TENSOR_CORES = (8, 0)
"""The compute capability from which on a GPU has TF32 and bfloat16: Ampere's."""


class Passes(NamedTuple):
    """Weights, gradients, optimiser and metrics are float32 in every precision."""

    precision: Precision = "fp32"

    def forward(self, device: torch.device) -> AbstractContextManager[object]:
        """The context of a forward pass."""
        return torch.autocast(device.type, dtype=torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def step(self, device: torch.device) -> AbstractContextManager[object]:
        """The context of a whole step."""
        return tensor_cores(self.precision == "tf32") if device.type == "cuda" else nullcontext()


@contextmanager
def tensor_cores(allowed: bool) -> Iterator[None]:
    """Whether float32 products and convolutions may use TF32: PyTorch lets convolutions, unless it is told."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def check_device(precision: Precision, device: torch.device) -> None:
    """That the device computes so. Raises ``InvalidInput``."""
    if device.type == "cpu":
        if precision == "tf32":
            raise InvalidInput("precision", precision, "needs the tensor cores of a GPU", "give fp32 or bf16")
        return
    found = torch.cuda.get_device_capability(device)
    if precision != "fp32" and found < TENSOR_CORES:
        name = f"{torch.cuda.get_device_name(device)} (compute capability {found[0]}.{found[1]})"
        raise InvalidInput("precision", precision, f"is not what {name} computes", "give --precision fp32")
