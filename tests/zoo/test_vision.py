"""Models of torchvision and timm, as those of the zoo, where they are installed (``make zoo`` puts them into
``.venv/vision``)."""

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.zoo.check import walk, wrong  # noqa: E402
from tests.zoo.families import FAMILIES  # noqa: E402
from tests.zoo.plain import PLAIN  # noqa: E402
from tests.zoo.vision import TIMM, TORCHVISION, missing  # noqa: E402

WHOLE = os.environ.get("ZOO") == "all"


def absent(name):
    return pytest.mark.skipif(missing(name), reason=f"{name} is not installed; make zoo puts it into .venv/vision")


@absent("torchvision")
@pytest.mark.parametrize("name", TORCHVISION if WHOLE else ["convnext"])
def test_torchvision(name):
    torch.manual_seed(0)
    assert wrong(walk(*TORCHVISION[name]())) == ()


@absent("timm")
@pytest.mark.parametrize("name", TIMM if WHOLE else ["mixer"])
def test_timm(name):
    torch.manual_seed(0)
    assert wrong(walk(*TIMM[name]())) == ()


def test_a_dozen_of_each_and_more_and_the_page_names_all():
    assert min(len(TORCHVISION), len(TIMM)) >= 12
    page = (Path(__file__).parents[2] / "docs" / "zoo.md").read_text()
    for models in (PLAIN, FAMILIES, TORCHVISION, TIMM):
        assert f"| {', '.join(models)} |" in page
