"""Images of another size by area: a new pixel is the mean of the old ones it covers, exactly.

Along one axis, in units where an old pixel is ``new`` long and a new pixel ``old`` long, the overlaps are integers
and each new pixel's sum to ``old``. So the sums below are integers under 2⁵³ and the result is the same everywhere.
"""

import numpy as np

BLOCK = 4096


def overlaps(old: int, new: int) -> np.ndarray:
    """(new, old) lengths that the pixels of the two sizes share; rows sum to ``old``, columns to ``new``."""
    old_start, new_start = np.arange(old) * new, np.arange(new)[:, None] * old
    shared = np.minimum(old_start + new, new_start + old) - np.maximum(old_start, new_start)
    return np.maximum(shared, 0).astype(np.float64)


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """(…, side, side) uint8 of (…, H, W) uint8 images; means are rounded to nearest, halves up."""
    height, width = images.shape[-2:]
    if (height, width) == (side, side):
        return images
    rows, columns = overlaps(height, side), overlaps(width, side).T
    flat = images.reshape(-1, height, width)
    out = np.empty((len(flat), side, side), np.uint8)
    for start in range(0, len(flat), BLOCK):
        sums = rows @ flat[start : start + BLOCK].astype(np.float64) @ columns
        out[start : start + BLOCK] = np.floor((2 * sums + height * width) / (2 * height * width))
    return out.reshape(*images.shape[:-2], side, side)
