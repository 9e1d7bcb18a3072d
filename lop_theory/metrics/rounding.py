"""What a sum of products loses in the arithmetic of its numbers, relative to the sizes of its terms."""

import math

import torch
from torch import Tensor

REDUCED = 2.0**-6  # products of numbers rounded to bfloat16 (2⁻⁸ each) or TF32


def relative_error(terms: int, roundoff: float, lost: float) -> float:
    """Twice γ_n = n/(1 − n), n = (terms + 2)u + ``lost``: of a sum with a bias, in any order. Infinite where there are
    so many terms for so few bits that it bounds nothing (254 and more in bfloat16)."""
    n = (terms + 2) * roundoff + lost
    return 2 * n / (1 - n) if n < 1 else math.inf


def error_of_sums(weight: Tensor) -> float:
    """The same of sums of the weight's rows, in its own arithmetic."""
    lost = reduced(weight.device) if weight.dtype == torch.float32 else 0.0
    return relative_error(weight.shape[1:].numel(), torch.finfo(weight.dtype).eps / 2, lost)


def reduced(device: torch.device) -> float:
    """What a product of two float32 numbers may lose beyond float32's rounding. Accelerators have settings of their
    own, and where backends differ PyTorch does not say which holds."""
    convolutions = getattr(getattr(torch.backends.mkldnn, "conv", None), "fp32_precision", "none")
    try:
        products = torch.get_float32_matmul_precision()
    except RuntimeError:
        products = "unknown"
    whole = device.type == "cpu" and products == "highest" and convolutions in {"none", "ieee"}
    return 0.0 if whole else REDUCED
