"""Glyphs: pictures of 200 printed characters, the embedded image data (experiments.md, streams and data).

A picture is a character in a random face, under a random affine map, in random colours on a gradient with strokes and
noise. Its bytes are a pure function of (seed, task, class, sample, side) and of the atlas: of float arithmetic only
what IEEE 754 fixes is used.
"""

import numpy as np

from empirical.compilation import compiled
from empirical.streams.atlas import glyph_atlas
from empirical.streams.counter import GLYPHS, fill, key, word
from empirical.streams.painting import contrasting, gradient, grain, stamp, stroke

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
    task_key = word(key(seed_and_task[0], GLYPHS), seed_and_task[1])
    drawn, canvas = np.empty(NUMBERS), np.empty((3, out.shape[2], out.shape[3]))
    for k in range(len(glyphs)):
        picture_key = word(word(task_key, glyphs[k]), samples[k])
        fill(picture_key, drawn)
        gradient(canvas, drawn[COLOURS:PLACE])
        for i in range(FIRST_STROKE, NUMBERS, STROKE_NUMBERS):
            stroke(canvas, drawn[i : i + STROKE_NUMBERS])
        _glyph(canvas, faces[int(drawn[0] * len(faces)), glyphs[k]], drawn)
        grain(canvas, (picture_key, NUMBERS), 0.06 * drawn[FIRST_STROKE - 1] + noise, out[k])


@compiled()
def _glyph(canvas: np.ndarray, face: np.ndarray, drawn: np.ndarray) -> None:
    """The glyph in a colour that differs from the paper's by 0.4 of the room there is or more."""
    ink = contrasting(drawn[COLOURS : COLOURS + 3], drawn[COLOURS + 5 : COLOURS + 8])
    place = drawn[PLACE:FIRST_STROKE]
    turn, slant = 0.5 * (place[0] - 0.5), 0.4 * (place[1] - 0.5)
    wide, high = 0.75 + 0.4 * place[2], 0.75 + 0.4 * place[3]
    stamp(canvas, face, ink, (turn, slant, wide, high, 0.2 * (place[4] - 0.5), 0.2 * (place[5] - 0.5)))
