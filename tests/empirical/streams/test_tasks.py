"""Tasks of glyphs and Gaussian mixtures: disjoint classes, bijections, epochs, bytes that depend on nothing else."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from empirical.streams import gmm
from empirical.streams.ahead import DEPTH, Ahead
from empirical.streams.counter import BATCHES, MIXTURES, key, shuffled
from empirical.streams.source import Source
from empirical.streams.tasks import (
    as_bytes,
    as_inputs,
    batch_indices,
    epoch_order,
    open_source,
    pixel_permutation,
    task,
    task_classes,
    unpermuted,
)
from empirical.training.feed import normalised
from empirical.training.options import DataOptions
from lop_theory.errors import InvalidInput
from tests.empirical.bitflip import reference

ROOT = Path(__file__).parents[3]
SEED = st.integers(0, 2**63 - 1)
SMALL = DataOptions(side=16, per_class=6, probe_per_class=4)


def deck(classes: int) -> Source:
    return Source("cards", (1, 1, 1), classes, lambda *_: pytest.fail("nothing is drawn"))


# --- shuffles -------------------------------------------------------------------------------------------------------


@given(SEED, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 60))
def test_shuffle_is_fisher_and_yates_on_splitmix64(seed: int, first: int, second: int, count: int) -> None:
    order_key = reference.key(seed, int(BATCHES))
    for number in (first, second):
        order_key = reference.mix((order_key + number * reference.GAMMA) & reference.MASK)
    expected = list(range(count))
    for last in reversed(range(1, count)):
        other = int(reference.uniform(order_key, last) * (last + 1))
        expected[last], expected[other] = expected[other], expected[last]
    assert shuffled(seed, BATCHES, first, second, count).tolist() == expected


def test_shuffles_are_uniform() -> None:
    orders = np.array([shuffled(7, BATCHES, 0, k, 6) for k in range(6000)])
    counts = np.array([(orders == value).sum(0) for value in range(6)])
    assert stats.chisquare(counts.ravel(), ddof=10).pvalue > 1e-3


@given(SEED, st.integers(0, 100), st.integers(1, 60), st.integers(1, 80))
def test_batches_partition_every_epoch(seed: int, index: int, n: int, batch: int) -> None:
    steps = 3 * n // batch + 1
    batches = [batch_indices(seed, index, step, batch, n) for step in range(steps)]
    assert all(b.shape == (batch,) and b.dtype == np.int64 for b in batches)
    row = np.concatenate(batches)
    for epoch in range(len(row) // n):
        assert sorted(row[epoch * n : (epoch + 1) * n]) == list(range(n))
    late = steps // 2
    epoch_order.cache_clear()
    assert np.array_equal(batch_indices(seed, index, late, batch, n), batches[late])


def test_epochs_tasks_and_seeds_shuffle_anew() -> None:
    orders = [tuple(epoch_order(*where, 50)) for where in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))]
    assert len(set(orders)) == 4


@given(SEED, st.integers(1, 40), st.data())
def test_classes_are_dealt_without_repetition(seed: int, classes: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, classes))
    tasks = classes // count
    for deal in range(2):
        dealt = [task_classes(deck(classes), seed, deal * tasks + k, count) for k in range(tasks)]
        assert all(list(d) == sorted(d) and len(d) == count for d in dealt)
        flat = [c for d in dealt for c in d]
        assert len(set(flat)) == len(flat)
        assert set(flat) <= set(range(classes))


def test_forty_tasks_show_each_of_200_characters_once_and_then_others() -> None:
    source = open_source(SMALL)
    dealt = [task_classes(source, 40, k, 5) for k in range(80)]
    assert sorted(c for d in dealt[:40] for c in d) == list(range(200))
    assert sorted(c for d in dealt[40:] for c in d) == list(range(200))
    assert set(dealt[:40]) != set(dealt[40:])


@pytest.mark.parametrize("count", [0, 201])
def test_too_many_classes_are_refused(count: int) -> None:
    with pytest.raises(InvalidInput, match=r"classes_per_task=.*1…200, the classes of permuted glyphs"):
        task(open_source(SMALL), SMALL, 0, 0, count)


@given(SEED, st.integers(0, 1000), st.integers(1, 200))
def test_pixel_permutations_are_bijections(seed: int, index: int, pixels: int) -> None:
    assert sorted(pixel_permutation(seed, index, pixels)) == list(range(pixels))


# --- tasks ----------------------------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(SEED, st.integers(0, 100))
def test_a_task_is_balanced_in_class_order_and_its_probe_is_other_pictures(seed: int, index: int) -> None:
    source = open_source(SMALL)
    found = task(source, SMALL, seed, index, 5)
    assert found.images.shape == (30, *source.image)
    assert found.probe_images.shape == (20, *source.image)
    assert found.labels.tolist() == [c for c in found.classes for _ in range(6)]
    assert found.probe_labels.tolist() == [c for c in found.classes for _ in range(4)]
    assert found.labels.dtype == found.probe_labels.dtype == np.int64
    pictures = [p.tobytes() for p in (*found.images, *found.probe_images)]
    assert len(set(pictures)) == 50


@settings(max_examples=10)
@given(SEED, st.integers(0, 100))
def test_permuted_tasks_are_plain_ones_with_their_pixels_moved(seed: int, index: int) -> None:
    plain_options = DataOptions(**{**vars(SMALL), "permuted": False})
    plain = task(open_source(plain_options), plain_options, seed, index, 3)
    moved = task(open_source(SMALL), SMALL, seed, index, 3)
    order = pixel_permutation(seed, index, 256)
    for before, after in ((plain.images, moved.images), (plain.probe_images, moved.probe_images)):
        assert np.array_equal(after.reshape(-1, 3, 256), before.reshape(-1, 3, 256)[:, :, order])
    assert not np.array_equal(order, pixel_permutation(seed, index + 1, 256))
    assert open_source(plain_options).name == "glyphs"
    assert open_source(SMALL).name == "permuted glyphs"
    assert open_source(DataOptions(noise=0.3)).name == "permuted glyphs with pixel noise 0.3"


def test_more_pictures_leave_the_others_as_they_are() -> None:
    many = DataOptions(side=16, per_class=9, probe_per_class=5)
    few, more = (task(open_source(o), o, 3, 2, 5) for o in (SMALL, many))
    assert np.array_equal(few.images, more.images.reshape(5, 9, 3, 16, 16)[:, :6].reshape(few.images.shape))
    assert np.array_equal(
        few.probe_images, more.probe_images.reshape(5, 5, 3, 16, 16)[:, :4].reshape(few.probe_images.shape)
    )


DIGEST = """
import hashlib
from empirical.training.options import DataOptions
from empirical.streams.tasks import open_source, task
options = [DataOptions(source, 16, per_class=6, probe_per_class=4) for source in ("glyphs", "scenes")]
for options in (*options, DataOptions(source="gmm", side=3, per_class=6)):
    found = task(open_source(options), options, 12345, 6, 2)
    print(hashlib.sha256(b"".join(a.tobytes() for a in found[:4])).hexdigest())
"""


def test_a_fresh_process_draws_the_same_bytes() -> None:
    there = subprocess.run(
        [sys.executable, "-c", DIGEST], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    ).stdout.split()
    here = []
    for options in (SMALL, replace(SMALL, source="scenes"), DataOptions(source="gmm", side=3, per_class=6)):
        task(open_source(options), options, 1, 0, 2)  # what was drawn before does not matter
        found = task(open_source(options), options, 12345, 6, 2)
        here.append(hashlib.sha256(b"".join(a.tobytes() for a in found[:4])).hexdigest())
    assert here == there


def test_inputs_are_bytes_from_minus_one_to_one_and_floats_as_they_are() -> None:
    inputs = as_inputs(np.array([[0, 51, 255]], np.uint8))
    assert inputs.dtype == torch.float32
    assert torch.allclose(inputs, torch.tensor([[-1.0, -0.6, 1.0]]))
    values = np.array([[0.25, -3.0]], np.float32)
    assert torch.equal(as_inputs(values), torch.from_numpy(values))


@pytest.mark.parametrize(("field", "value"), [("side", 0), ("side", 10**6), ("source", "imagenet"), ("per_class", 0)])
def test_wrong_options_are_refused(field: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=field):
        open_source(DataOptions(**{field: value}))


# --- Gaussian mixtures ----------------------------------------------------------------------------------------------


def mixture(task_index: int, label: int, count: int, dimension: int = 2) -> np.ndarray:
    labels = np.full(count, label)
    return gmm.points(11, task_index, labels, np.arange(count), dimension).reshape(count, dimension)


def test_normal_numbers_are_normal() -> None:
    numbers = [gmm._normal(key(3, MIXTURES), k) for k in range(4000)]
    assert stats.kstest(numbers, "norm").pvalue > 1e-3


def test_a_class_is_four_clusters_of_the_stated_width() -> None:
    points = mixture(0, 0, 4000)
    deviations = []
    for start in range(1, 6):  # Lloyd's algorithm from several starts; the best has the clusters
        centres = points[np.random.default_rng(start).choice(4000, 4, replace=False)]
        for _ in range(60):
            nearest = ((points[:, None] - centres) ** 2).sum(2).argmin(1)
            centres = np.array([points[nearest == k].mean(0) if (nearest == k).any() else points[k] for k in range(4)])
        deviations.append(np.sqrt(((points - centres[nearest]) ** 2).mean()))
    assert min(deviations) == pytest.approx(0.3, rel=0.1)


def test_mixtures_differ_between_classes_and_tasks() -> None:
    means = np.array([mixture(t, c, 1000).mean(0) for t in range(3) for c in range(2)])
    distances = np.sqrt(((means[:, None] - means) ** 2).sum(2))
    assert (distances[~np.eye(6, dtype=bool)] > 0.1).all()


def test_a_task_of_mixtures() -> None:
    options = DataOptions(source="gmm", side=3, per_class=7, probe_per_class=2)
    found = task(open_source(options), options, 0, 4, 2)
    assert found.images.shape == (14, 1, 1, 3)
    assert found.images.dtype == np.float32
    assert found.classes == (0, 1)
    assert len({p.tobytes() for p in (*found.images, *found.probe_images)}) == 18


def test_tasks_drawn_ahead_are_the_same_in_any_order_of_asking() -> None:
    def draw(seed: int, index: int) -> tuple[int, int]:
        drawn.append((seed, index))
        return seed, index

    drawn: list[tuple[int, int]] = []
    plain, ahead = Ahead(draw, [3, 4], 6, 0), Ahead(draw, [3, 4], 6, 2)
    for index in (0, 1, 2, 5, 5, 1):
        assert ahead.tasks(index) == plain.tasks(index) == [(3, index), (4, index)]
        assert all(len(futures) == 2 for futures in ahead._waiting.values())
        assert len(ahead._waiting) <= DEPTH
    assert max(index for _, index in drawn) == 5, "nothing beyond the last task"
    ahead.close()


def test_what_drawing_raises_ahead_is_raised() -> None:
    def broken(_: int, index: int) -> int:
        return 1 // (index - 1)

    ahead = Ahead(broken, [0], 3, 1)
    assert ahead.tasks(0) == [-1]
    with pytest.raises(ZeroDivisionError):
        ahead.tasks(1)
    ahead.close()


@pytest.mark.parametrize("permuted", [False, True])
@pytest.mark.parametrize("source", ["glyphs", "scenes", "gmm"])
def test_bytes_on_the_device_are_the_same_inputs(source: str, permuted: bool) -> None:
    options = DataOptions(source, 8, permuted, 6, 3)
    opened = open_source(options)
    whole = task(opened, options, 5, 2, 2)
    drawn, order = unpermuted(opened, options, 5, 2, 2)
    assert (order is None) == (source == "gmm" or not permuted)
    there = as_bytes(drawn.images, order, "cpu")
    assert there.dtype == (torch.float32 if source == "gmm" else torch.uint8)
    assert torch.equal(normalised(there), as_inputs(whole.images))
