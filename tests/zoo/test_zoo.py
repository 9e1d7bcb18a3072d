"""The zoo: every model is widened, certified, trained a step and certified again; one that is 1 % off is not.

``make test`` takes a sample, ``make zoo`` all of it (``ZOO=all``).
"""

import logging
import os

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.zoo.check import walk  # noqa: E402
from tests.zoo.families import FAMILIES  # noqa: E402
from tests.zoo.plain import PLAIN  # noqa: E402

logging.getLogger("transformers").setLevel(logging.ERROR)
MODELS = {**PLAIN, **FAMILIES}
SAMPLE = ("sac critic", "rotary attention", "u-net", "gated recurrence", "top-k mixture", "gpt2", "llama")
NAMES = list(MODELS) if os.environ.get("ZOO") == "all" else SAMPLE


@pytest.mark.parametrize("name", NAMES)
def test_measured_widened_certified_trained_and_spoiled(name):
    torch.manual_seed(0)
    walk(*MODELS[name](), twice=name in PLAIN).check()


def test_the_zoo_is_large():
    assert len(MODELS) >= 120
