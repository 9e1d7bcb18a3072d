"""Which units are equal, equal up to a symmetry, or alike, by what was gathered of their values."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lop_theory.metrics import Moments, cosines
from lop_theory.metrics.units import Columns
from lop_theory.modules.conditions import canonical
from lop_theory.modules.gathered import Gathered, least_correlation, likeness

RESOLUTION = 8.0
"""Roundings below which a unit does not vary."""


def constant(gathered: Gathered, tolerance: float) -> Tensor:
    """Units whose range is within ``tolerance`` (or rounding) of their largest value (mask); zeros among them."""
    assert gathered.extremes is not None
    low, high = gathered.extremes
    largest = torch.maximum(low.abs(), high.abs())
    return high - low <= max(tolerance, RESOLUTION * gathered.eps) * largest


def one_nonzero_value(m: Columns) -> Tensor:
    """Units that are zero but for one value (mask): by Cauchy's inequality (Σh)² = n Σh² over the n nonzero samples.
    Any two that are nonzero on the same samples are multiples of each other."""
    count = (m.samples * (1 - m.near_zero)).round().clamp_min(1)
    return (m.samples * m.mean).square() >= (1 - 1e-9) * count * m.squares


def equal_blocks(gathered: Gathered, tolerance: float, eligible: Tensor) -> tuple[int, ...]:
    """Units whose distance is at most ``tolerance`` × how much they vary (and the rounding of their size)."""
    like = likeness(gathered)
    limit = tolerance * like.spread + 2 * gathered.eps * like.size
    return _blocks(like.sketch * like.unit, limit, eligible)


def twin_blocks(gathered: Gathered, tolerance: float, eligible: Tensor) -> tuple[tuple[int, ...], Tensor]:
    """Blocks of units that are multiples of each other, and every unit's factor (its signed size)."""
    like = likeness(gathered)
    scale = like.size.clamp_min(1e-300)
    peak = like.sketch[like.sketch.abs().argmax(0), torch.arange(len(scale), device=scale.device)]
    factor = torch.copysign(scale, peak)
    limit = tolerance * like.spread / scale + 4 * gathered.eps
    return _blocks(like.sketch * like.unit / factor, limit, eligible), factor


def _blocks(points: Tensor, limit: Tensor, eligible: Tensor) -> tuple[int, ...]:
    """Leader clustering of columns: at most the smaller of the two limits apart. Sorted by one coordinate, only
    neighbours within reach are compared."""
    wide, reach = points.cpu().numpy(), limit.cpu().numpy()
    block = np.arange(wide.shape[1])
    leaders: list[int] = []
    for unit in sorted(np.flatnonzero(eligible.cpu().numpy()).tolist(), key=lambda u: wide[0, u]):
        leaders = [k for k in leaders if wide[0, unit] - wide[0, k] <= reach[k]]
        near = (k for k in leaders if np.linalg.norm(wide[:, unit] - wide[:, k]) <= min(reach[k], reach[unit]))
        match = next(near, None)
        if match is None:
            leaders.append(unit)
        else:
            block[unit] = block[match]
    return tuple(canonical(block).tolist())


def alike_blocks(gathered: Gathered, threshold: float, eligible: Tensor) -> tuple[int, ...]:
    """Leader clustering of units whose cosine exceeds ``threshold`` and whose correlation does so beyond chance."""
    places, m = gathered.related()
    blocks = np.arange(len(eligible))
    limit = least_correlation(len(blocks), m.samples, threshold)
    if limit is None:
        return tuple(blocks.tolist())
    able = eligible[places]
    similar = (cosines(m) > threshold) & able[:, None] & able[None, :]
    candidates = torch.nonzero(similar.sum(1) > 1).flatten()  # only these need a correlation
    mean, mean_abs, near_zero = (x[candidates] for x in (m.mean, m.mean_abs, m.near_zero))
    centred = torch.addr(m.gram[candidates][:, candidates], mean, mean, alpha=-m.samples)
    part = Moments(m.samples, centred, mean, mean_abs, near_zero, m.chain)
    close = similar[candidates][:, candidates] & (cosines(part) > limit)
    chosen = places[candidates].cpu().numpy()
    blocks[chosen] = chosen[leaders(close.cpu().numpy())]
    return tuple(canonical(blocks).tolist())


def led(similar: np.ndarray) -> tuple[int, ...]:
    """Every unit joins the first leader that it resembles."""
    return tuple(canonical(leaders(similar)).tolist())


def leaders(similar: np.ndarray) -> np.ndarray:
    """The leader of every unit."""
    block = np.full(len(similar), -1)
    for unit in range(len(similar)):
        if block[unit] < 0:
            block[np.flatnonzero(similar[unit] & (block < 0))] = unit
            block[unit] = unit
    return block


def groups(blocks: Sequence[int]) -> list[tuple[int, ...]]:
    """Blocks of at least two units."""
    index = np.asarray(blocks, dtype=int)
    return [tuple(np.flatnonzero(index == k).tolist()) for k in np.flatnonzero(np.bincount(index) > 1)]
