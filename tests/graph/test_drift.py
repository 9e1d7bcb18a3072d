"""Rounding grows on an unstable manifold and only there."""

import pytest

from lop_theory.graph.drift import measure_drift, xor_clones, xor_data


@pytest.mark.claim("optimiser-closure")
def test_redistributed_clones_drift_exponentially_and_constant_blocks_do_not():
    checkpoints = range(1500, 3001, 250)
    drift, still = (
        measure_drift(*xor_clones(redistributed=flag), xor_data(), rate=0.02, checkpoints=checkpoints)
        for flag in (True, False)
    )
    assert drift.distances[-1] > 30 * drift.distances[0]
    assert drift.rate > 1e-3
    assert max(still.distances) < 1e-14
    assert still.rate == 0
