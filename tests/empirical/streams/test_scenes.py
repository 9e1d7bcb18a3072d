"""Scenes: what a class is, that nothing else tells it, and bytes that depend on nothing but seed, task and number."""

import hashlib
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from empirical.streams import painting, scenes
from empirical.streams.ahead import Ahead
from empirical.streams.source import Task
from empirical.streams.tasks import open_source, task
from empirical.training.options import DataOptions
from lop_theory.errors import InvalidInput

SEED = st.integers(0, 2**63 - 1)
PAPER = np.zeros(3)
UNITS = st.lists(st.floats(0, 1, exclude_max=True), min_size=scenes.NUMBERS, max_size=scenes.NUMBERS).map(np.array)


def faces_of(*characters: int, count: int = 14) -> np.ndarray:
    """Two faces, in which these characters are blocks and the others blank."""
    faces = np.zeros((2, count, 8, 8), np.uint8)
    faces[:, list(characters), 1:-1, 1:-1] = 255
    return faces


def centre(canvas: np.ndarray) -> np.ndarray:
    """Of what is painted on black: x and y, the middle being 0."""
    light = canvas.sum(0)
    at = (np.arange(len(light)) + 0.5) / len(light) - 0.5
    return np.array([light.sum(0) @ at, light.sum(1) @ at]) / light.sum()


def test_classes_are_all_arrangements_and_no_part_tells_one() -> None:
    every = [scenes.parts(number) for number in range(scenes.CLASSES)]
    assert len(set(every)) == scenes.CLASSES == 200
    firsts, seconds, standings = (Counter(part) for part in zip(*every, strict=True))
    assert set(firsts.values()) == set(seconds.values()) == {20}
    assert set(standings.values()) == {100}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, scenes.CLASSES - 1), UNITS)
def test_a_pair_stands_as_its_class_says_whatever_the_chance(number: int, drawn: np.ndarray) -> None:
    """Each of the two is where it should be, and its neighbours in the atlas are nowhere."""
    first, second, standing = scenes.parts(number)
    places = []
    for character, which in ((first, 0), (second, 1)):
        canvas = np.zeros((3, 64, 64))
        alone = (first, 10 if which == 0 else second, standing) if which == 0 else (10, second, standing)
        scenes._pair(canvas, faces_of(character), PAPER, alone, drawn)
        assert canvas.sum() > 0
        places.append(centre(canvas))
    apart = places[1] - places[0]
    assert 0.38 <= apart[standing] <= 0.54
    assert abs(apart[1 - standing]) < 0.2
    canvas = np.zeros((3, 64, 64))
    scenes._pair(canvas, faces_of(*({*range(14)} - {first, second})), PAPER, (first, second, standing), drawn)
    assert canvas.sum() == 0


@settings(max_examples=40, deadline=None)
@given(UNITS)
def test_clutter_is_none_of_the_characters_that_make_a_class(drawn: np.ndarray) -> None:
    for characters, painted in ((range(scenes.CHARACTERS), False), (range(scenes.CHARACTERS, 14), True)):
        canvas = np.zeros((3, 64, 64))
        for k in range(scenes.DISTRACTORS):
            scenes._distractor(canvas, faces_of(*characters), PAPER, scenes._glyph_numbers(drawn, 2 + k))
        assert (canvas.sum() > 0) == painted


@settings(max_examples=60, deadline=None)
@given(st.integers(0, scenes.TEXTURES - 1), st.floats(-8, 8), st.floats(-8, 8), st.integers(0, 2**32))
def test_textures_are_within_their_colours_and_but_for_clouds_repeat(
    texture: int, along: float, across: float, key: int
) -> None:
    light = scenes._pattern(texture, along, across, np.uint64(key))
    assert 0 <= light <= 1
    if texture in (scenes.STRIPES, scenes.CHECKS, scenes.DOTS):
        assert scenes._pattern(texture, along + 1, across - 2, np.uint64(key)) == pytest.approx(light, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.tuples(*(st.floats(*ends) for ends in ((-0.4, 0.4), (-0.25, 0.25), *[(0.1, 1.2)] * 2, *[(-0.6, 0.6)] * 2))),
)
def test_a_stamp_leaves_out_no_pixel_that_it_covers(side: int, pose: tuple[float, ...]) -> None:
    """Against every pixel of the canvas by the formula."""
    turn, slant, wide, high, x, y = pose
    face, canvas = np.full((9, 9), 255, np.uint8), np.zeros((3, side, side))
    painting.stamp(canvas, face, np.ones(3), pose)
    v, u = (grid / side - 0.5 - shift for grid, shift in zip(np.mgrid[:side, :side] + 0.5, (y, x), strict=True))
    columns, rows = (((u + (turn + slant) * v) / wide + 0.5) * 9 - 0.5), (((v - turn * u) / high + 0.5) * 9 - 0.5)
    inside, near = ((rows >= e) & (rows < 8 - e) & (columns >= e) & (columns < 8 - e) for e in (1e-9, -1e-9))
    assert (canvas[0][inside] == 1).all()
    assert (canvas[0][~near] == 0).all()


def test_bytes_never_change() -> None:
    """Made faces keep fonts out of this test; every side, odd ones too, has bytes of its own."""
    digest = hashlib.sha256()
    for seed, side, noise in product(range(2), (1, 7, 16, 33, 64), (0.0, 0.3)):
        rng = np.random.default_rng((seed, side))
        faces = rng.integers(0, 256, (3, 14, 16, 16), dtype=np.uint8) * (rng.random((3, 14, 16, 16)) < 0.3)
        out = np.empty((12, 3, side, side), np.uint8)
        scenes._draw_all(faces.astype(np.uint8), (seed, 7), np.arange(12) * 17, np.arange(12) + 2**30, noise, out)
        digest.update(out.tobytes())
    assert digest.hexdigest() == GOLDEN


GOLDEN = "11c20f87220264bb351a19356a4da7b982c55a1bb932ac1406e5e0c2f577dc44"


@settings(max_examples=10, deadline=None)
@given(SEED, st.integers(0, 100), st.sampled_from((1, 8, 16, 33)), st.booleans())
def test_a_task_is_balanced_and_its_probe_is_other_pictures(seed: int, index: int, side: int, permuted: bool) -> None:
    options = DataOptions("scenes", side, permuted, 6, 4)
    source = open_source(options)
    found = task(source, options, seed, index, 5)
    assert found.images.shape == (30, 3, side, side)
    assert found.images.dtype == found.probe_images.dtype == np.uint8
    assert found.labels.tolist() == [c for c in found.classes for _ in range(6)]
    assert found.probe_labels.tolist() == [c for c in found.classes for _ in range(4)]
    if side > 3:
        assert len({p.tobytes() for p in (*found.images, *found.probe_images)}) == 50
    again = task(source, options, seed, index, 5)
    assert all(np.array_equal(a, b) for a, b in zip(found[:4], again[:4], strict=True))
    assert source.name == ("permuted scenes" if permuted else "scenes")


def test_training_and_held_out_numbers_are_drawn_alike_and_share_none() -> None:
    """A held-out picture is a picture of a number that no training picture can have, however many there are."""
    few, many = (DataOptions("scenes", 8, False, count, 3) for count in (2, 50))
    a, b = (task(open_source(options), options, 1, 0, 2) for options in (few, many))
    assert np.array_equal(a.probe_images, b.probe_images)
    assert np.array_equal(a.images[:2], b.images[:2])
    assert not {p.tobytes() for p in b.images} & {p.tobytes() for p in b.probe_images}


def test_drawn_ahead_by_threads_they_are_the_same() -> None:
    options = DataOptions("scenes", 16, True, 5, 3)
    source = open_source(options)

    def draw(seed: int, index: int) -> Task:
        return task(source, options, seed, index, 5)

    ahead, plain = Ahead(draw, [3, 4], 3, 2), Ahead(draw, [3, 4], 3, 0)
    for index in range(3):
        for one, other in zip(ahead.tasks(index), plain.tasks(index), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one[:4], other[:4], strict=True))
    ahead.close()


def test_what_is_painted_tells_classes_apart() -> None:
    """The nearest class mean of |picture − its median colour|, four arrangements: above chance, whatever is behind."""
    labels, samples = np.repeat([22, 23, 190, 191], 120), np.tile(np.arange(120), 4)
    drawn = scenes.pictures(5, 0, labels, samples, 16).astype(float)
    contrast = np.abs(drawn - np.median(drawn, (2, 3), keepdims=True)).mean(1).reshape(len(labels), -1)
    contrast /= np.linalg.norm(contrast, axis=1, keepdims=True)
    known, classes = samples < 80, np.unique(labels)
    means = np.array([contrast[known & (labels == c)].mean(0) for c in classes])
    guess = classes[(contrast[~known] @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T).argmax(1)]
    assert (guess == labels[~known]).mean() > 0.4


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (DataOptions("scenes", 0), "side"),
        (DataOptions("scenes", 513), "side=513: must be at most 512"),
        (DataOptions("scenes", noise=-1.0), "noise"),
        (DataOptions("gmm", noise=0.1), "is for glyphs and scenes only"),
    ],
)
def test_wrong_options_are_refused(options: DataOptions, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        open_source(options)


def test_more_classes_than_there_are_are_refused() -> None:
    options = DataOptions("scenes", 8)
    with pytest.raises(InvalidInput, match=r"must lie in 1…200, the classes of permuted scenes"):
        task(open_source(options), options, 0, 0, 201)
