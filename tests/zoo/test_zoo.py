"""The zoo: every model is widened, certified, trained a step and certified again; one that is 1 % off is not.

``make test`` takes a sample, ``make zoo`` all of it (``ZOO=all``).
"""

import logging
import os

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from lop_theory.verdict import Holds  # noqa: E402
from tests.zoo.check import walk  # noqa: E402
from tests.zoo.families import FAMILIES  # noqa: E402
from tests.zoo.plain import PLAIN  # noqa: E402

logging.getLogger("transformers").setLevel(logging.ERROR)
CLONED = ("trapped", "separating", "cloned", "twin")
MODELS = {**PLAIN, **FAMILIES}
SAMPLE = ("sac critic", "rotary attention", "u-net", "gated recurrence", "top-k mixture", "gpt2", "llama")
NAMES = list(MODELS) if os.environ.get("ZOO") == "all" else SAMPLE


@pytest.mark.parametrize("name", NAMES)
def test_widened_certified_trained_and_spoiled(name):
    torch.manual_seed(0)
    seen = walk(*MODELS[name]())
    assert not seen.base.verdicts(*CLONED), ("false clones", seen.base.table())
    assert seen.clone.verdicts(*CLONED), ("clones not found", seen.clone.table())
    assert isinstance(seen.float64, Holds), seen.float64
    assert isinstance(seen.float32, Holds), seen.float32
    assert isinstance(seen.trained, Holds), seen.trained
    assert not isinstance(seen.spoiled, Holds)


def test_the_zoo_is_large():
    assert len(MODELS) >= 120
