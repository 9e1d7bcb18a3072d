"""Images of another size: exact area means, against fractions on a fine grid."""

from fractions import Fraction
from math import floor, lcm

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from empirical.data.resize import resized

LENGTH = st.integers(1, 9)


def fine_mean(image: np.ndarray, side: int) -> np.ndarray:
    """Every pixel is split until both grids fit, then blocks are averaged in exact arithmetic."""
    height, width = image.shape
    tall, wide = lcm(height, side), lcm(width, side)
    fine = image.repeat(tall // height, 0).repeat(wide // width, 1).astype(int)
    blocks = fine.reshape(side, tall // side, side, wide // side).sum((1, 3))
    area = (tall // side) * (wide // side)
    return np.array([[floor(Fraction(int(b), area) + Fraction(1, 2)) for b in row] for row in blocks])


@given(LENGTH, LENGTH, LENGTH, st.integers(0, 2**32 - 1))
def test_new_pixels_are_area_means(height: int, width: int, side: int, seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (2, 3, height, width), dtype=np.uint8)
    found = resized(images, side)
    assert found.shape == (2, 3, side, side)
    assert found.dtype == np.uint8
    for got, image in zip(found.reshape(-1, side, side), images.reshape(-1, height, width), strict=True):
        assert np.array_equal(got, fine_mean(image, side))


def test_whole_ratios_are_block_means_and_the_same_side_is_the_same_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5000, 4, 4), dtype=np.uint8)
    assert np.array_equal(resized(images, 2), np.floor(images.reshape(-1, 2, 2, 2, 2).mean((2, 4)) + 0.5))
    assert resized(images, 4) is images
