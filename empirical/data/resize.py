"""Images of another size by area: a new pixel is the mean of the old ones it covers.

Along one axis of ``old`` pixels, new pixel j reaches from j·old/new to (j + 1)·old/new. Sums over it, times ``new``,
are differences of running sums, all integers: the result is exact, and the same on every machine.
"""

import numpy as np

BLOCK = 4096


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """(…, side, side) uint8 of (…, H, W) uint8 images; means are rounded to nearest, halves up."""
    height, width = images.shape[-2:]
    if (height, width) == (side, side):
        return images
    flat = images.reshape(-1, height, width)
    out = np.empty((len(flat), side, side), np.uint8)
    for start in range(0, len(flat), BLOCK):
        across = area_sums(flat[start : start + BLOCK].astype(np.int64), side)
        sums = area_sums(across.swapaxes(1, 2), side).swapaxes(1, 2)
        out[start : start + BLOCK] = (2 * sums + height * width) // (2 * height * width)
    return out.reshape(*images.shape[:-2], side, side)


def area_sums(values: np.ndarray, new: int) -> np.ndarray:
    """(…, new) sums over the new pixels of (…, old) integers, times ``new``."""
    old = values.shape[-1]
    running = np.zeros((*values.shape[:-1], old + 1), np.int64)
    np.cumsum(values, axis=-1, out=running[..., 1:])
    whole, part = np.divmod(np.arange(new + 1) * old, new)
    begun = values[..., np.minimum(whole, old - 1)]  # after the last pixel none begins, and its part is 0
    return np.diff(new * running[..., whole] + part * begun)
