"""Which units may resemble another: a screen in float32 that misses none, so that only those need exact products.

For unit vectors z, and any split of their coordinates into P and the rest, Cauchy's inequality gives
⟨z_i, z_j⟩ ≤ ⟨Pz_i, Pz_j⟩ + √(1 − ‖Pz_i‖²) √(1 − ‖Pz_j‖²): the rest counts as one coordinate. A fourth of the samples
thus decides about most pairs, all samples about the others. Limits are lowered by the rounding of the products, which
autocast and reduced precision of matrix products (TF32, bfloat16) around the call do not widen unseen.
"""

import torch
from torch import Tensor

from lop_theory.metrics.rounding import reduced
from lop_theory.metrics.units import pieces

TILE = 256  # units a tile: its products with the others stay in the processor's cache
STRIDE, WORTH = 4, 128  # the samples that decide first, and from how many on that pays
ROUNDOFF = 2.0**-24


def directions(activations: Tensor, channel_dim: int = -1, mean: Tensor | None = None) -> Tensor:
    """Units × samples, float32: every unit, minus its ``mean``, over its norm; zeros where nothing but rounding is
    left of it."""
    units, device = activations.shape[channel_dim], activations.device
    shift = torch.zeros(units, 1, dtype=torch.float64, device=device) if mean is None else mean[:, None]
    whole, squares = torch.zeros(2, units, dtype=torch.float64, device=device)
    for piece in pieces(activations, channel_dim):
        whole += torch.linalg.vector_norm(piece, dim=1, dtype=torch.float64).square()
        squares += torch.linalg.vector_norm(piece - shift, dim=1).square()
    scale = torch.where(squares > 1e-28 * whole, squares, torch.inf).rsqrt()[:, None]
    result = torch.empty(units, activations.numel() // units, dtype=torch.float32, device=device)
    start = 0
    for piece in pieces(activations, channel_dim):
        stop = start + piece.shape[1]
        result[:, start:stop] = (piece - shift) * scale
        start = stop
    return result


def resembling(unit: Tensor, limit: float) -> Tensor:
    """Indices of all rows of ``unit`` (:func:`directions`) whose product with another exceeds ``limit``, and of few
    others."""
    rows, samples = unit.shape
    chosen = torch.arange(rows, device=unit.device)
    if samples >= WORTH:
        chosen = _close(_shortened(unit), limit)
    if len(chosen) < 2:
        return chosen
    return chosen[_close(unit if len(chosen) == rows else unit[chosen], limit)]


def _shortened(unit: Tensor) -> Tensor:
    """Every fourth coordinate, and one for all others."""
    part = unit[:, ::STRIDE]
    rest = unit.square().sum(1, dtype=torch.float64) - part.square().sum(1, dtype=torch.float64)
    return torch.cat([part, rest.clamp_min(0).sqrt().float()[:, None]], 1)


def _close(unit: Tensor, limit: float) -> Tensor:
    """Rows with a product above ``limit`` less its rounding: γ_n, and a few roundings of the vectors themselves."""
    rows, length = unit.shape
    bound = limit - 2 * (length + 8) * ROUNDOFF - reduced(unit.device)
    found = torch.zeros(rows, dtype=torch.bool, device=unit.device)
    for start in range(0, rows, TILE):
        with torch.autocast(unit.device.type, enabled=False):
            product = unit[start : start + TILE] @ unit[start:].T
        product[:, : len(product)].fill_diagonal_(-torch.inf)
        if bool(product.amax() > bound):
            hits = product > bound
            found[start : start + TILE] |= hits.any(1)
            found[start:] |= hits.any(0)
    return torch.nonzero(found).flatten()
