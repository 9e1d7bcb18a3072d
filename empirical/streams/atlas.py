"""The atlas of glyphs: 200 printed characters in several of Matplotlib's own faces, rendered once and cached.

The characters are those that all ``FACES`` can print, thinned to 200 by farthest-first traversal: each new one is the
character least like any chosen before. All arithmetic after the font renderer is exact, so the bytes depend only on
Matplotlib (its fonts and FreeType) and on the constants below; they name the file in the cache.
"""

import hashlib
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from empirical.data import cache
from empirical.data.resize import resized

VERSION, CLASSES, SIDE = 2, 200, 64
FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-BoldItalic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
)
RENDERED, MARGIN = 160, 0.12
"""Pixels per em before a glyph is fitted into its box; share of the box left empty on each side."""


def glyph_atlas(side: int = SIDE) -> np.ndarray:
    """(faces, 200, side, side) uint8 coverage of every glyph in every face; ``side`` at most 64."""
    return _atlas_at(min(side, SIDE))


@lru_cache(maxsize=4)
def _atlas_at(side: int) -> np.ndarray:
    return np.ascontiguousarray(resized(cache.made_once(_atlas_path(), _rendered_atlas), side))


def _atlas_path() -> Path:
    import matplotlib
    from matplotlib import ft2font

    made_of = (VERSION, matplotlib.__version__, ft2font.__freetype_version__, CLASSES, SIDE, FACES, RENDERED, MARGIN)
    return cache.folder() / f"glyphs-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]}.npy"


def _rendered_atlas() -> np.ndarray:
    everything = rendered(printable())
    return np.ascontiguousarray(everything[:, farthest_first(everything, CLASSES)])


def printable() -> str:
    """The letters, numbers, punctuation and symbols that all faces print."""
    shared = set.intersection(*(set(_font(face).get_charmap()) for face in FACES))
    return "".join(chr(code) for code in sorted(shared) if unicodedata.category(chr(code))[0] in "LNPS")


def rendered(characters: str) -> np.ndarray:
    """(faces, characters, 64, 64) uint8."""
    fonts = [_font(face) for face in FACES]
    return np.array([[_fitted(_bitmap(font, character)) for character in characters] for font in fonts])


def _font(face: str) -> Any:
    import matplotlib
    from matplotlib.ft2font import FT2Font

    return FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"))


def _bitmap(font: Any, character: str) -> np.ndarray:
    from matplotlib.ft2font import LoadFlags

    font.set_size(RENDERED, 72)
    font.set_text(character, 0.0, flags=LoadFlags.NO_HINTING)
    font.draw_glyphs_to_bitmap(antialiased=True)
    return np.array(font.get_image(), dtype=np.uint8)


def _fitted(bitmap: np.ndarray) -> np.ndarray:
    """The inked part, centred in a 64×64 box with a margin; its proportions are kept."""
    rows, columns = (np.flatnonzero(bitmap.any(axis)) for axis in (1, 0))
    assert rows.size, "a printed character leaves ink"
    ink = bitmap[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = round(max(ink.shape) / (1 - 2 * MARGIN))
    top, left = ((side - length) // 2 for length in ink.shape)
    box = np.zeros((side, side), np.uint8)
    box[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return resized(box, SIDE)


def farthest_first(pictures: np.ndarray, count: int) -> list[int]:
    """Indices of ``count`` characters of (faces, characters, …) pictures: the first, then always the one whose
    distance to the nearest chosen one is greatest. Two characters are as far apart as their 8×8 means, squared, in the
    face where they differ least: so no face shows two chosen ones alike."""
    features = resized(pictures, 8).astype(np.int64).reshape(*pictures.shape[:2], -1)
    nearest = np.full(pictures.shape[1], np.iinfo(np.int64).max)
    chosen = [0]
    while len(chosen) < count:
        distances = ((features - features[:, chosen[-1:]]) ** 2).sum(2).min(0)
        nearest = np.minimum(nearest, distances)
        chosen.append(int(nearest.argmax()))
    return chosen
