"""The atlas and its cache, and pictures of glyphs against what they are said to show."""

import hashlib
import unicodedata
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from empirical.data import cache
from empirical.streams import atlas, glyphs, painting

FACE = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
STILL = np.full(glyphs.NUMBERS, 0.5)
STILL[glyphs.PLACE + 2 : glyphs.PLACE + 4] = 0.625  # scale 1


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "lop-theory"


# --- the cache ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["flip", "truncate", "no digest", "no array", "empty"])
def test_what_is_damaged_is_made_again(here: Path, damage: str) -> None:
    made: list[int] = []

    def make() -> np.ndarray:
        made.append(1)
        return np.arange(1000)

    path = here / "numbers.npy"
    for _ in range(2):
        assert np.array_equal(cache.made_once(path, make), np.arange(1000))
    assert len(made) == 1
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    digest = path.with_name("numbers.npy.sha256")
    {
        "flip": lambda: path.write_bytes(content),
        "truncate": lambda: path.write_bytes(content[:-8]),
        "no digest": digest.unlink,
        "no array": path.unlink,
        "empty": lambda: (path.write_bytes(b""), digest.write_text(hashlib.sha256(b"").hexdigest())),
    }[damage]()
    assert np.array_equal(cache.made_once(path, make), np.arange(1000))
    assert np.array_equal(cache.load(path), np.arange(1000))
    assert len(made) == 2
    assert {p.name for p in here.iterdir()} == {"numbers.npy", "numbers.npy.sha256"}


def test_what_is_kept_is_mapped_and_read_only(here: Path) -> None:
    cache.save(here / "a.npy", np.arange(5))
    found = cache.load(here / "a.npy")
    assert isinstance(found, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_a_failed_write_leaves_the_old_file_and_nothing_else(here: Path) -> None:
    cache.save(here / "a.npy", np.arange(5))
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        cache.save(here / "a.npy", np.array([object()]))
    assert np.array_equal(cache.load(here / "a.npy"), np.arange(5))
    assert {p.name for p in here.iterdir()} == {"a.npy", "a.npy.sha256"}


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert np.array_equal(cache.made_once(tmp_path / "file" / "a.npy", lambda: np.arange(3)), np.arange(3))


@pytest.mark.parametrize("value", ["", "relative/folder"])
def test_the_cache_is_under_home_unless_an_absolute_folder_is_named(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache.folder() == tmp_path / ".cache" / "lop-theory"


# --- the atlas ------------------------------------------------------------------------------------------------------


def test_the_atlas_is_rendered_alike_each_time() -> None:
    everything = atlas.printable()
    assert len(everything) > 600
    assert all(unicodedata.category(c)[0] in "LNPS" for c in everything)
    again = atlas._rendered_atlas()
    assert again.shape == (len(atlas.FACES), 200, 64, 64)
    assert np.array_equal(again, atlas.glyph_atlas())


def test_every_glyph_has_ink_within_the_margin_and_is_like_no_other() -> None:
    found = atlas.glyph_atlas()
    margin = int(atlas.MARGIN * 64) - 1
    inner = found[:, :, margin:-margin, margin:-margin]
    assert found.astype(int).sum() == inner.astype(int).sum()
    assert (found.reshape(-1, 64 * 64).max(1) > 200).all()
    for face in found:
        assert len({glyph.tobytes() for glyph in face}) == 200


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_farthest_first_is_greedy(seed: int, count: int) -> None:
    pictures = np.random.default_rng(seed).integers(0, 256, (2, 9, 8, 8), dtype=np.uint8)
    faces = [[glyph.astype(int) for glyph in face] for face in pictures]
    chosen = [0]
    while len(chosen) < count:
        gaps = [min(int(((face[k] - face[c]) ** 2).sum()) for face in faces for c in chosen) for k in range(9)]
        chosen.append(gaps.index(max(gaps)))
    assert atlas.farthest_first(pictures, count) == chosen


@pytest.mark.parametrize("side", [16, 32])
def test_smaller_atlases_are_block_means(side: int) -> None:
    block = 64 // side
    means = atlas.glyph_atlas().reshape(-1, side, block, side, block).mean((2, 4))
    assert np.array_equal(atlas.glyph_atlas(side).reshape(means.shape), np.floor(means + 0.5))


# --- pictures -------------------------------------------------------------------------------------------------------


def test_a_glyph_in_place_is_its_face() -> None:
    drawn = STILL.copy()
    drawn[glyphs.COLOURS : glyphs.COLOURS + 3] = 0.0  # black paper
    drawn[glyphs.COLOURS + 5 : glyphs.COLOURS + 8] = 1.0  # the strongest ink
    canvas = np.zeros((3, 64, 64))
    glyphs._glyph(canvas, FACE, drawn)
    assert np.allclose(canvas[:, :-1, :-1], FACE[:-1, :-1] / 255)


def test_a_shifted_glyph_is_its_face_elsewhere() -> None:
    drawn = STILL.copy()
    drawn[glyphs.COLOURS : glyphs.COLOURS + 3] = 0.0
    drawn[glyphs.COLOURS + 5 : glyphs.COLOURS + 8] = 1.0
    drawn[glyphs.PLACE + 4] = 0.5 + 5 * 4 / 64  # 0.2·(20/64) of the side: 4 pixels to the right
    canvas = np.zeros((3, 64, 64))
    glyphs._glyph(canvas, FACE, drawn)
    assert np.allclose(canvas[:, :-1, 4:-1], FACE[:-1, :-5] / 255)


def test_noise_has_the_stated_deviation() -> None:
    out = np.empty((3, 64, 64), np.uint8)
    painting.grain(np.full((3, 64, 64), 0.5), (np.uint64(99), glyphs.NUMBERS), 0.1, out)
    values = out.astype(float) - 127.5
    assert values.std() == pytest.approx(25.5, rel=0.03)
    assert abs(values.mean()) < 0.8
    assert np.abs(np.corrcoef(values.reshape(3, -1))[np.triu_indices(3, 1)]).max() < 0.05


GOLDEN = "9c15e9d38c91e64ab072c9bd53a5dd5e0e684db7f190d4357de09cd933eb36e7"


def test_bytes_never_change() -> None:
    """The drawing is part of what saved records mean; made faces keep fonts out of this test."""
    faces = np.random.default_rng(1).integers(0, 256, (3, 4, 16, 16), dtype=np.uint8)
    out = np.empty((4, 3, 16, 16), np.uint8)
    glyphs._draw_all(faces, (40, 7), np.arange(4), np.arange(4) + 2**30, 0.0, out)
    assert hashlib.sha256(out.tobytes()).hexdigest() == GOLDEN


def test_pictures_vary_and_show_their_class() -> None:
    """Nearest class mean of |picture − its median colour|, 10 characters, unpermuted: far above chance."""
    labels = np.repeat(np.arange(0, 200, 20), 60)
    samples = np.tile(np.arange(60), 10)
    drawn = glyphs.pictures(5, 0, labels, samples, 16).astype(float)
    assert len({p.tobytes() for p in drawn}) == 600
    contrast = np.abs(drawn - np.median(drawn, (2, 3), keepdims=True)).mean(1).reshape(600, -1)
    contrast /= np.linalg.norm(contrast, axis=1, keepdims=True)
    known = samples < 40
    means = np.array([contrast[known & (labels == c)].mean(0) for c in np.unique(labels)])
    guess = np.unique(labels)[(contrast[~known] @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T).argmax(1)]
    assert (guess == labels[~known]).mean() > 0.5


def test_what_is_skipped_adds_nothing() -> None:
    """The drawing leaves out pixels that a stroke or a glyph cannot reach; at every side and noise the bytes are those
    of the drawing that visited them all."""
    digest = hashlib.sha256()
    for seed, side, noise in product(range(3), (7, 16, 33, 64), (0.0, 0.3)):
        rng = np.random.default_rng((seed, side))
        faces = rng.integers(0, 256, (3, 4, 16, 16), dtype=np.uint8) * (rng.random((3, 4, 16, 16)) < 0.3)
        out = np.empty((12, 3, side, side), np.uint8)
        glyphs._draw_all(faces.astype(np.uint8), (seed, 7), np.arange(12) % 4, np.arange(12), noise, out)
        digest.update(out.tobytes())
    assert digest.hexdigest() == "c9b6f05c0a673c21ae4bf10db382a335b34e73c6d15be13f1b33759f6799da1d"
