"""Scenes: pictures of two characters on a texture among clutter, a harder stream than glyphs, drawn as they are.

A class is an arrangement: which of the ten characters that begin the atlas is first, which is second (it may be the
same), and how they stand: the second to the right of the first, or below it. Class number = standing + 2 (second + 10
first). So each character is first in 20 of the 200 classes and second in 20, and each standing is in 100: no part tells
the class, and of two characters it matters which is where.

All else is chance: the texture (stripes, checks, dots, rings or clouds), its colours, scale, direction and place; where
the pair is; every character's face, colour, size and affine map; small characters that are none of the ten; strokes;
noise. Bytes are a pure function of (seed, task, class, sample, side) and of the atlas, as those of glyphs.
"""

import numpy as np

from empirical.compilation import compiled
from empirical.streams.atlas import glyph_atlas
from empirical.streams.counter import SCENES, fill, key, uniform, word
from empirical.streams.painting import contrasting, grain, stamp, stroke

CHARACTERS, STANDINGS = 10, 2
CLASSES = CHARACTERS * CHARACTERS * STANDINGS
STRIPES, CHECKS, DOTS, RINGS, CLOUDS = range(5)
TEXTURES = 5
DISTRACTORS, GLYPH_NUMBERS = 3, 11
STROKES, STROKE_NUMBERS = 3, 8
PAPER, WEAVE, PAIR, FIRST_GLYPH = 0, 6, 13, 16
FIRST_STROKE = FIRST_GLYPH + (2 + DISTRACTORS) * GLYPH_NUMBERS
LOUDNESS = FIRST_STROKE + STROKES * STROKE_NUMBERS
NUMBERS = LOUDNESS + 1
"""Random numbers of a picture: colours of the texture, its scale and place, the pair's place, characters, strokes, how
loud the noise is; the noise comes after them."""
LATTICE = 1 << 40
"""The counter at which the numbers of clouds begin."""


def pictures(
    seed: int, task: int, classes: np.ndarray, samples: np.ndarray, side: int, noise: float = 0.0
) -> np.ndarray:
    """(N, 3, side, side) uint8: sample number ``samples[k]`` of class ``classes[k]`` in ``task``; ``noise`` is the
    standard deviation of pixel noise beside the picture's own, black to white being 1."""
    out = np.empty((len(classes), 3, side, side), np.uint8)
    _draw_all(glyph_atlas((side + 1) // 2), (seed, task), classes, samples, float(noise), out)
    return out


@compiled()
def parts(number: int) -> tuple[int, int, int]:
    """First and second character of a class, and how they stand (1: the second is below)."""
    pair, standing = divmod(number, STANDINGS)
    first, second = divmod(pair, CHARACTERS)
    return first, second, standing


@compiled(nogil=True)
def _draw_all(
    faces: np.ndarray,
    seed_and_task: tuple[int, int],
    classes: np.ndarray,
    samples: np.ndarray,
    noise: float,
    out: np.ndarray,
) -> None:
    task_key = word(key(seed_and_task[0], SCENES), seed_and_task[1])
    drawn, canvas = np.empty(NUMBERS), np.empty((3, out.shape[2], out.shape[3]))
    for k in range(len(classes)):
        picture_key = word(word(task_key, classes[k]), samples[k])
        fill(picture_key, drawn)
        paper = 0.15 + 0.7 * drawn[PAPER : PAPER + 3]
        _texture(canvas, paper, drawn, picture_key)
        for i in range(FIRST_STROKE, LOUDNESS, STROKE_NUMBERS):
            stroke(canvas, drawn[i : i + STROKE_NUMBERS])
        for i in range(DISTRACTORS):
            _distractor(canvas, faces, paper, _glyph_numbers(drawn, 2 + i))
        _pair(canvas, faces, paper, parts(classes[k]), drawn)
        grain(canvas, (picture_key, NUMBERS), 0.06 * drawn[LOUDNESS] + noise, out[k])


@compiled()
def _glyph_numbers(drawn: np.ndarray, number: int) -> np.ndarray:
    first = FIRST_GLYPH + number * GLYPH_NUMBERS
    return drawn[first : first + GLYPH_NUMBERS]


@compiled()
def _texture(canvas: np.ndarray, paper: np.ndarray, drawn: np.ndarray, picture_key: np.uint64) -> None:
    """Between two colours, which differ by 0.2 to 0.5 in every channel and have ``paper`` in their middle."""
    side = canvas.shape[1]
    contrast, weave = np.empty(3), drawn[WEAVE:PAIR]
    texture = int(weave[6] * TEXTURES)
    for c in range(3):
        lot = 2.0 * drawn[PAPER + 3 + c] - 1.0
        contrast[c] = 0.3 * lot + (0.2 if lot >= 0.0 else -0.2)
    slope = 2.0 * weave[0] - 1.0  # the tangent of half the angle: no sine, whose last bits differ between machines
    turned = 1.0 + slope * slope
    cosine, sine = (1.0 - slope * slope) / turned, 2.0 * slope / turned
    scale = 2.5 + 2.5 * weave[1]
    for y in range(side):
        for x in range(side):
            u, v = (x + 0.5) / side - 0.5, (y + 0.5) / side - 0.5
            along, across = scale * (cosine * u - sine * v), scale * (sine * u + cosine * v)
            light = _pattern(texture, along + weave[2], across + weave[3], picture_key)
            if texture == RINGS:
                off_x, off_y = u - weave[4] + 0.5, v - weave[5] + 0.5
                light = _triangle(scale * np.sqrt(off_x * off_x + off_y * off_y) + weave[2])
            for c in range(3):
                canvas[c, y, x] = paper[c] + contrast[c] * (light - 0.5)


@compiled()
def _pattern(texture: int, along: float, across: float, picture_key: np.uint64) -> float:
    """In [0, 1], of period 1 along and across (clouds: without period); rings have a centre and are not among them."""
    if texture == STRIPES:
        return _triangle(along)
    if texture == CHECKS:
        return _clipped(0.5 + 2.0 * (2.0 * _triangle(along) - 1.0) * (2.0 * _triangle(across) - 1.0))
    if texture == DOTS:
        p, q = along - np.floor(along) - 0.5, across - np.floor(across) - 0.5
        return _clipped(0.5 + 10.0 * (0.08 - p * p - q * q))
    return _clouds(along, across, picture_key)


@compiled()
def _triangle(value: float) -> float:
    """A wave of period 1 from 1 to 0 and back."""
    return abs(2.0 * (value - np.floor(value)) - 1.0)


@compiled()
def _clipped(value: float) -> float:
    return min(1.0, max(0.0, value))


@compiled()
def _clouds(along: float, across: float, picture_key: np.uint64) -> float:
    """Random numbers on a lattice, bilinear between them, stretched by 1.8."""
    i, j = int(np.floor(along)), int(np.floor(across))
    p, q = along - i, across - j
    corner = LATTICE + 64 * (i + 32) + (j + 32)
    upper = (1.0 - q) * uniform(picture_key, corner) + q * uniform(picture_key, corner + 1)
    lower = (1.0 - q) * uniform(picture_key, corner + 64) + q * uniform(picture_key, corner + 65)
    return _clipped(0.5 + 1.8 * ((1.0 - p) * upper + p * lower - 0.5))


@compiled()
def _pair(
    canvas: np.ndarray, faces: np.ndarray, paper: np.ndarray, scene: tuple[int, int, int], drawn: np.ndarray
) -> None:
    """The two characters, 0.42 to 0.5 apart, about a point that is up to 0.05 from the middle along their line, up to
    0.2 beside it."""
    first, second, standing = scene
    apart = 0.42 + 0.08 * drawn[PAIR]
    along, beside = 0.1 * (drawn[PAIR + 1] - 0.5), 0.4 * (drawn[PAIR + 2] - 0.5)
    for k in range(2):
        own = _glyph_numbers(drawn, k)
        at, off = along + (k - 0.5) * apart, beside + 0.14 * (own[10] - 0.5)
        x, y = (off, at) if standing else (at, off)
        character = second if k else first
        _character(canvas, faces[int(own[0] * len(faces)), character], paper, (0.42, x, y), own)


@compiled()
def _distractor(canvas: np.ndarray, faces: np.ndarray, paper: np.ndarray, own: np.ndarray) -> None:
    """A small character that is in no pair, anywhere."""
    character = CHARACTERS + int(own[10] * (faces.shape[1] - CHARACTERS))
    size = 0.2 + 0.12 * own[9]
    _character(canvas, faces[int(own[0] * len(faces)), character], paper, (size, own[7] - 0.5, own[8] - 0.5), own)


@compiled()
def _character(
    canvas: np.ndarray, face: np.ndarray, paper: np.ndarray, box: tuple[float, float, float], own: np.ndarray
) -> None:
    """In a box of this size about a point, both in units of the side, from the middle."""
    size, x, y = box
    turn, slant = 0.8 * (own[1] - 0.5), 0.5 * (own[2] - 0.5)
    wide, high = size * (0.75 + 0.45 * own[3]), size * (0.75 + 0.45 * own[4])
    stamp(canvas, face, contrasting(paper, own[5:8]), (turn, slant, wide, high, x, y))
