"""The zoo: every model is widened, certified, trained a step and certified again; one that is 1 % off is not.

``make test`` takes a sample, ``make zoo`` all of it (``ZOO=all``).
"""

import logging
import math
import os

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.zoo.check import walk, wrong  # noqa: E402
from tests.zoo.families import FAMILIES  # noqa: E402
from tests.zoo.plain import PLAIN  # noqa: E402

logging.getLogger("transformers").setLevel(logging.ERROR)
MODELS = {**FAMILIES, **PLAIN}  # the slow ones first, so that two workers end together
SAMPLE = ("sac critic", "rotary attention", "u-net", "gated recurrence", "top-k mixture")
NAMES = list(MODELS) if os.environ.get("ZOO") == "all" else SAMPLE


@pytest.mark.parametrize("name", NAMES)
def test_measured_widened_certified_trained_and_spoiled(name):
    torch.manual_seed(0)
    assert wrong(walk(*MODELS[name](), twice=name in PLAIN)) == ()


def test_every_wrong_answer_is_told():
    """Each is a right answer of another model: of one with clones, of one without, of one 1 % off or not."""
    torch.manual_seed(0)
    seen = walk(*PLAIN["mlp Tanh"]())
    assert wrong(seen) == ()
    told = {
        "a rank is not finite": seen._replace(ranks=(1.0, math.nan)),
        "clones before anything was done": seen._replace(base=seen.clone),
        "nothing grew": seen._replace(grown=False),
        "clones not found": seen._replace(clone=seen.base),
        "not certified in float64": seen._replace(float64=seen.spoiled),
        "not certified cast to float32": seen._replace(float32=seen.spoiled),
        "not certified after a step in float32": seen._replace(trained=seen.spoiled),
        "not certified after a step in float64": seen._replace(trained64=seen.spoiled),
        "certified though 1 % off": seen._replace(spoiled=seen.trained),
    }
    for sentence, planted in told.items():
        (found,) = wrong(planted)
        assert found.startswith(sentence)


def test_the_zoo_is_large():
    assert len(MODELS) >= 120
