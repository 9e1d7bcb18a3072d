"""The bit-flipping stream and its target against plain Python, and as pure functions of (seed, step)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from empirical.bitflip import stream as bitflip
from empirical.streams.counter import FLIPS, below, key, uniform, word
from tests.empirical.bitflip import reference

SEEDS = st.integers(0, 2**63 - 1)


def source(seed: int, flip_every: int = 50) -> bitflip.Stream:
    return bitflip.bitflip_stream(seed, bits=20, flipping=15, flip_every=flip_every, units=100, beta=0.7)


@given(SEEDS, st.integers(0, 2**62))
def test_numbers_are_splitmix64(seed: int, counter: int) -> None:
    ours = np.uint64(key(seed, FLIPS))
    theirs = reference.key(seed, reference.FLIPS)
    assert int(ours) == theirs
    assert int(word(ours, counter)) == reference.word(theirs, counter)
    assert uniform(ours, counter) == reference.uniform(theirs, counter)
    assert below(ours, counter, 15) == int(15 * reference.uniform(theirs, counter))


@given(SEEDS)
def test_inputs_and_targets_are_those_of_the_plain_stream(seed: int) -> None:
    stream, target = source(seed), reference.Target(seed)
    for step, x in enumerate(reference.inputs(seed, 160, flip_every=50)):
        packed = bitflip.packed_input(stream, step)
        assert np.array_equal(bitflip.unpacked(np.array([packed]), 20)[0], x)
        if step % 16 == 0:
            value = target(x)
            assert bitflip.target_value(stream, packed) == value
            held = bitflip.held_bits(seed, 15, step // 50)
            assert bitflip.task_targets(stream, held)[packed >> 15 & 31] == value


@given(SEEDS, st.lists(st.integers(0, 3000), min_size=2, max_size=20))
def test_steps_may_be_read_in_any_order(seed: int, steps: list[int]) -> None:
    stream = source(seed)
    forward = {s: bitflip.packed_input(stream, s) for s in sorted(steps)}
    backward = {s: bitflip.packed_input(source(seed), s) for s in sorted(steps, reverse=True)}
    assert forward == backward


@given(SEEDS, st.integers(0, 100))
def test_one_held_bit_flips_between_tasks(seed: int, task: int) -> None:
    change = bitflip.held_bits(seed, 15, task) ^ bitflip.held_bits(seed, 15, task + 1)
    assert change.bit_count() == 1
    assert change < 1 << 15


def test_task_inputs_are_the_inputs_of_the_task_each_once() -> None:
    stream = source(9)
    rows = {tuple(row) for row in bitflip.task_inputs(stream, 120)}
    seen = {tuple(bitflip.unpacked(np.array([bitflip.packed_input(stream, s)]), 20)[0]) for s in range(100, 150)}
    assert len(rows) == 32
    assert seen <= rows


def test_the_fixed_batch_comes_from_the_whole_stream() -> None:
    stream = source(9)
    batch = bitflip.stream_inputs(stream, 5000, 4000)
    every = {bitflip.packed_input(stream, s) for s in range(5000)}
    packed = (batch.astype(np.int64) * (1 << np.arange(21))).sum(1)
    assert set(packed.tolist()) <= every
    assert len({int(p) & 0x7FFF for p in packed}) > 50
    assert abs(batch[:, 15:20].mean() - 0.5) < 0.02


def test_different_purposes_and_seeds_are_independent() -> None:
    keys = [np.uint64(key(seed, np.uint64(purpose))) for seed in (0, 1) for purpose in (1, 2, 3)]
    draws = np.array([[uniform(k, n) for n in range(500)] for k in keys])
    off_diagonal = np.corrcoef(draws)[~np.eye(6, dtype=bool)]
    assert np.abs(off_diagonal).max() < 0.2
    assert abs(draws.mean() - 0.5) < 0.03
