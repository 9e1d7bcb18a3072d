"""Every figure of measurements says data, size and seeds above its panels, and whether its control learned."""

import importlib
import re
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure

from paper_figs.__main__ import FIGURES

MEASURED = [name for name in FIGURES if not re.match(r"A\.|low_rank|optimisers|stability", name)]


@pytest.mark.parametrize("name", MEASURED)
def test_figures_say_data_size_seeds_and_control(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    caption = importlib.import_module(f"paper_figs.{FIGURES[name]}").draw(tmp_path / "figure")
    shown = drawn[0].get_suptitle().replace("\n", " ")
    assert re.search(r"glyphs|bit-flipping stream", shown)
    assert re.search(r"\d+×\d+|MLP 5 × 64|units a layer|samples|steps", shown)
    assert "seeds" in shown
    assert re.search(r"Control \(.*\).*(learned|did NOT learn|above the bound|error at the end)", shown)
    assert shown in re.sub(r"\s+", " ", caption)


def test_the_other_figures_measure_nothing() -> None:
    for name in set(FIGURES) - set(MEASURED):
        assert "empirical." not in Path(f"paper_figs/{FIGURES[name]}.py").read_text()
