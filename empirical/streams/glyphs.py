"""Glyphs: pictures of 200 printed characters, the embedded image data (experiments.md, streams and data).

A picture is a character in a random face, under a random affine map, in random colours on a gradient with strokes and
noise. Its bytes are a pure function of (seed, task, class, sample, side) and of the atlas: of float arithmetic only
what IEEE 754 fixes is used.
"""

import numpy as np

from empirical.compilation import compiled
from empirical.streams.atlas import glyph_atlas
from empirical.streams.counter import GAMMA, GLYPHS, key, mix, uniform, word

STROKES, STROKE_NUMBERS = 4, 8
COLOURS, PLACE, FIRST_STROKE = 1, 10, 20
NUMBERS = FIRST_STROKE + STROKES * STROKE_NUMBERS
"""Random numbers of a picture: the face, colours, place of the glyph, strokes; its noise comes after them."""


def pictures(
    seed: int, task: int, glyphs: np.ndarray, samples: np.ndarray, side: int, noise: float = 0.0
) -> np.ndarray:
    """(N, 3, side, side) uint8: sample number ``samples[k]`` of class ``glyphs[k]`` in ``task``; ``noise`` is the
    standard deviation of pixel noise beside the picture's own, black to white being 1."""
    out = np.empty((len(glyphs), 3, side, side), np.uint8)
    _draw_all(glyph_atlas(side), (seed, task), glyphs, samples, float(noise), out)
    return out


@compiled(nogil=True)
def _draw_all(
    faces: np.ndarray,
    seed_and_task: tuple[int, int],
    glyphs: np.ndarray,
    samples: np.ndarray,
    noise: float,
    out: np.ndarray,
) -> None:
    task_key = mix(key(seed_and_task[0], GLYPHS) + np.uint64(seed_and_task[1]) * GAMMA)
    drawn, canvas = np.empty(NUMBERS), np.empty((3, out.shape[2], out.shape[3]))
    for k in range(len(glyphs)):
        picture_key = mix(mix(task_key + np.uint64(glyphs[k]) * GAMMA) + np.uint64(samples[k]) * GAMMA)
        for i in range(NUMBERS):
            drawn[i] = uniform(picture_key, i)
        _gradient(canvas, drawn[COLOURS:PLACE])
        for i in range(FIRST_STROKE, NUMBERS, STROKE_NUMBERS):
            _stroke(canvas, drawn[i : i + STROKE_NUMBERS])
        _glyph(canvas, faces[int(drawn[0] * len(faces)), glyphs[k]], drawn)
        _noise(canvas, picture_key, 0.06 * drawn[FIRST_STROKE - 1] + noise, out[k])


@compiled()
def _gradient(canvas: np.ndarray, drawn: np.ndarray) -> None:
    """Paper: colour ``drawn[:3]``, that changes by up to ±0.2 along the two axes."""
    side = canvas.shape[1]
    across, down = 0.4 * (drawn[3] - 0.5), 0.4 * (drawn[4] - 0.5)
    for c in range(3):
        for y in range(side):
            for x in range(side):
                canvas[c, y, x] = drawn[c] + across * ((x + 0.5) / side - 0.5) + down * ((y + 0.5) / side - 0.5)


@compiled()
def _stroke(canvas: np.ndarray, drawn: np.ndarray) -> None:
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
def _glyph(canvas: np.ndarray, face: np.ndarray, drawn: np.ndarray) -> None:
    """The glyph in a colour that differs from the paper's by 0.4 of the room there is or more."""
    side, texels = canvas.shape[1], face.shape[0]
    ink = np.empty(3)
    dark = drawn[COLOURS] + drawn[COLOURS + 1] + drawn[COLOURS + 2] < 1.5
    for c in range(3):
        paper, strength = drawn[COLOURS + c], 0.4 + 0.6 * drawn[COLOURS + 5 + c]
        ink[c] = paper + strength * (1.0 - paper) if dark else paper - strength * paper
    place = drawn[PLACE:FIRST_STROKE]
    turn, slant = 0.5 * (place[0] - 0.5), 0.4 * (place[1] - 0.5)
    wide, high = 0.75 + 0.4 * place[2], 0.75 + 0.4 * place[3]
    shift_x, shift_y = 0.2 * (place[4] - 0.5), 0.2 * (place[5] - 0.5)
    rows, columns, last = np.empty(side), np.empty(side), texels - 1
    for y in range(side):
        v = (y + 0.5) / side - 0.5 - shift_y
        for x in range(side):  # a loop of its own, which the compiler can make one of vectors
            u = (x + 0.5) / side - 0.5 - shift_x
            columns[x] = ((u + (turn + slant) * v) / wide + 0.5) * texels - 0.5
            rows[x] = ((v - turn * u) / high + 0.5) * texels - 0.5
        for x in range(side):
            row, column = rows[x], columns[x]
            if not (0.0 <= row < last and 0.0 <= column < last):
                continue
            i, j = int(row), int(column)
            if not (face[i, j] | face[i, j + 1] | face[i + 1, j] | face[i + 1, j + 1]):
                continue
            cover = _interpolated(face, (i, j), (row - i, column - j)) / 255.0
            for c in range(3):
                canvas[c, y, x] += cover * (ink[c] - canvas[c, y, x])


@compiled()
def _interpolated(face: np.ndarray, texel: tuple[int, int], within: tuple[float, float]) -> float:
    """Bilinear between a texel and the next ones."""
    (i, j), (p, q) = texel, within
    upper = (1.0 - q) * face[i, j] + q * face[i, j + 1]
    lower = (1.0 - q) * face[i + 1, j] + q * face[i + 1, j + 1]
    return (1.0 - p) * upper + p * lower


@compiled()
def _noise(canvas: np.ndarray, picture_key: np.uint64, deviation: float, out: np.ndarray) -> None:
    """Rounded to bytes with triangular noise, three independent pairs of random bytes a pixel."""
    side = canvas.shape[1]
    scale = deviation * 255.0 / 104.5
    for y in range(side):
        for x in range(side):
            bits = word(picture_key, NUMBERS + y * side + x)
            for c in range(3):
                first, second = np.int64(bits & np.uint64(255)), np.int64((bits >> np.uint64(8)) & np.uint64(255))
                bits >>= np.uint64(16)
                value = 255.0 * canvas[c, y, x] + scale * (first + second - 255) + 0.5
                out[c, y, x] = np.uint8(min(255.0, max(0.0, value)))
