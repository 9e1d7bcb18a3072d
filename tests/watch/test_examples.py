"""The two examples: PPO for a moment, the ViT whole in ``make thorough``."""

import os
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name, monkeypatch, **sizes):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, "trainers", raising=False)
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    main.__globals__.update(sizes)
    return main


def test_ppo_in_a_changing_world_is_watched_with_a_control(monkeypatch, tmp_path, capsys):
    pytest.importorskip("gymnasium")
    main = example("watch_ppo", monkeypatch, WORLDS=2, ITERATIONS=2, EVERY=8)
    found = main(str(tmp_path / "ppo.html"))
    assert set(found) == {"Adam", "ReDo", "fresh", "shrink and perturb"}
    assert all(0 <= dead <= 1 and error > 0 for dead, error in found.values())
    assert "Fresh network as control" in (tmp_path / "ppo.html").read_text()
    assert "an episode lasts" in capsys.readouterr().out


@pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "thorough", reason="20 s of CPU: make thorough")
def test_the_vits_permanent_loss_leaves_under_the_able_remedy_alone(monkeypatch, tmp_path, capsys):
    found = example("watch_vit", monkeypatch)(str(tmp_path / "vit.html"))
    assert found["fresh network"] < found["shrink and perturb (able)"] < found["as it is"] / 2
    assert found["FIRE (unable)"] > found["as it is"] / 2
    assert "permanent: gelu" in capsys.readouterr().out
