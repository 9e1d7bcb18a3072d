"""What pictures are painted with: paper, strokes, glyphs and grain, in [0, 1] on a canvas (3, side, side).

Of float arithmetic only what IEEE 754 fixes is used, so that bytes are the same on every machine.
"""

import numpy as np

from empirical.compilation import compiled
from empirical.streams.counter import word


@compiled()
def gradient(canvas: np.ndarray, drawn: np.ndarray) -> None:
    """Paper: colour ``drawn[:3]``, that changes by up to ±0.2 along the two axes."""
    side = canvas.shape[1]
    across, down = 0.4 * (drawn[3] - 0.5), 0.4 * (drawn[4] - 0.5)
    for c in range(3):
        for y in range(side):
            for x in range(side):
                canvas[c, y, x] = drawn[c] + across * ((x + 0.5) / side - 0.5) + down * ((y + 0.5) / side - 0.5)


@compiled()
def stroke(canvas: np.ndarray, drawn: np.ndarray) -> None:
    """A translucent round-ended line: centre, half-length and radius in units of the side, colour."""
    side = canvas.shape[1]
    centre_x, centre_y = drawn[0] * side, drawn[1] * side
    half_x, half_y = 0.5 * (drawn[2] - 0.5) * side, 0.5 * (drawn[3] - 0.5) * side
    radius = (0.01 + 0.06 * drawn[4] * drawn[4]) * side
    reach_x, reach_y = abs(half_x) + radius + 1.0, abs(half_y) + radius + 1.0
    squared_length = half_x * half_x + half_y * half_y + 1e-12
    beyond = (radius + 0.5) * (radius + 0.5) * (1.0 + 1e-6)
    for y in range(max(0, int(centre_y - reach_y)), min(side, int(centre_y + reach_y) + 1)):
        for x in range(max(0, int(centre_x - reach_x)), min(side, int(centre_x + reach_x) + 1)):
            dx, dy = x + 0.5 - centre_x, y + 0.5 - centre_y
            aside = dx * half_y - dy * half_x
            if aside * aside > beyond * squared_length:  # as far from the whole line: nothing is added
                continue
            along = min(1.0, max(-1.0, (dx * half_x + dy * half_y) / squared_length))
            dx, dy = dx - along * half_x, dy - along * half_y
            distance = dx * dx + dy * dy
            if distance > beyond:
                continue
            cover = 0.6 * min(1.0, max(0.0, radius + 0.5 - np.sqrt(distance)))
            for c in range(3):
                canvas[c, y, x] += cover * (drawn[5 + c] - canvas[c, y, x])


@compiled()
def contrasting(paper: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """An ink that differs from the paper by 0.4 of the room there is or more, towards white from dark paper."""
    ink = np.empty(3)
    dark = paper[0] + paper[1] + paper[2] < 1.5
    for c in range(3):
        strength = 0.4 + 0.6 * drawn[c]
        ink[c] = paper[c] + strength * (1.0 - paper[c]) if dark else paper[c] - strength * paper[c]
    return ink


@compiled()
def stamp(
    canvas: np.ndarray, face: np.ndarray, ink: np.ndarray, pose: tuple[float, float, float, float, float, float]
) -> None:
    """A glyph in one colour: turn and slant, width and height in units of the side, and how far it is from the middle
    to the right and down."""
    turn, slant, wide, high, shift_x, shift_y = pose
    side, texels = canvas.shape[1], face.shape[0]
    rows, columns, last = np.empty(side), np.empty(side), texels - 1
    skew = turn + slant
    reach = 0.5 * (1.0 + 1e-9) / (1.0 + skew * turn)
    left, right = _span(shift_x, reach * (wide + abs(skew) * high), side)
    top, bottom = _span(shift_y, reach * (high + abs(turn) * wide), side)
    for y in range(top, bottom):
        v = (y + 0.5) / side - 0.5 - shift_y
        for x in range(left, right):  # a loop of its own, which the compiler can make one of vectors
            u = (x + 0.5) / side - 0.5 - shift_x
            columns[x] = ((u + skew * v) / wide + 0.5) * texels - 0.5
            rows[x] = ((v - turn * u) / high + 0.5) * texels - 0.5
        for x in range(left, right):
            row, column = rows[x], columns[x]
            if not (0.0 <= row < last and 0.0 <= column < last):
                continue
            i, j = int(row), int(column)
            if not (face[i, j] | face[i, j + 1] | face[i + 1, j] | face[i + 1, j + 1]):
                continue
            cover = interpolated(face, (i, j), (row - i, column - j)) / 255.0
            for c in range(3):
                canvas[c, y, x] += cover * (ink[c] - canvas[c, y, x])


@compiled()
def _span(shift: float, reach: float, side: int) -> tuple[int, int]:
    """The first and the last but one of the pixels within reach of what is shifted from the middle."""
    middle = 0.5 + shift
    return max(0, int((middle - reach) * side) - 1), min(side, int((middle + reach) * side) + 2)


@compiled()
def interpolated(face: np.ndarray, texel: tuple[int, int], within: tuple[float, float]) -> float:
    """Bilinear between a texel and the next ones."""
    (i, j), (p, q) = texel, within
    upper = (1.0 - q) * face[i, j] + q * face[i, j + 1]
    lower = (1.0 - q) * face[i + 1, j] + q * face[i + 1, j + 1]
    return (1.0 - p) * upper + p * lower


@compiled()
def grain(canvas: np.ndarray, place: tuple[np.uint64, int], deviation: float, out: np.ndarray) -> None:
    """Rounded to bytes with triangular noise, three independent pairs of random bytes a pixel: the words of a key from
    a counter on."""
    picture_key, first_word = place
    side = canvas.shape[1]
    scale = deviation * 255.0 / 104.5
    for y in range(side):
        for x in range(side):
            bits = word(picture_key, first_word + y * side + x)
            for c in range(3):
                first, second = np.int64(bits & np.uint64(255)), np.int64((bits >> np.uint64(8)) & np.uint64(255))
                bits >>= np.uint64(16)
                value = 255.0 * canvas[c, y, x] + scale * (first + second - 255) + 0.5
                out[c, y, x] = np.uint8(min(255.0, max(0.0, value)))
