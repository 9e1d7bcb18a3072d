"""The examples with trainers, as they stand; without the extra of a trainer its test is skipped."""

import runpy
from pathlib import Path

import pytest

pytest.importorskip("torch")
EXAMPLES = Path(__file__).parents[2] / "examples" / "trainers"


def example(name: str, package: str):
    pytest.importorskip(package)
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


@pytest.mark.filterwarnings("ignore")
def test_lightning_steps_the_companion_and_goes_on_from_its_own_checkpoint(tmp_path):
    replaced = example("lightning_module", "lightning")(str(tmp_path))
    assert (tmp_path / "last.ckpt").stat().st_size > 1000
    assert 64 * 0.01 * 10 < replaced < 64 * 0.01 * 32  # a hundredth of the mature units a step, over 24 + 8 steps


@pytest.mark.filterwarnings("ignore")
def test_the_trainer_of_transformers_resets_the_dormant_units_and_learns():
    loss, replaced = example("transformers_trainer", "transformers")()
    assert replaced == 4
    assert loss < 3.4  # ln 32 = 3.47 before training


def test_accelerate_counts_accumulated_passes_and_resets_the_silent_units():
    assert example("accelerate_loop", "accelerate")() == 5


def test_ppo_replaces_units_of_the_shared_trunk():
    """128 units, 40 epochs of 4 batches: a thousandth a step from maturity on."""
    assert 5 < example("ppo", "gymnasium")() < 128 * 1e-3 * 160
