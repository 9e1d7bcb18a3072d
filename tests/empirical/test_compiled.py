"""The cache of compiled code follows every source, and Numba's own setting is left alone."""

from pathlib import Path

import pytest
from numba import config

from empirical import compiled


def test_any_change_in_any_source_changes_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in compiled.PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(compiled, "HERE", tmp_path)
    folders = [compiled.cache_folder.__wrapped__()]
    for name in compiled.PACKAGES:
        (tmp_path / name / "a.py").write_text("x = 2\n")
        folders.append(compiled.cache_folder.__wrapped__())
    assert len(set(folders)) == 3


def test_setting_of_numba_is_restored() -> None:
    before = config.CACHE_DIR
    double = compiled.compiled()(lambda x: 2 * x)
    assert before == config.CACHE_DIR
    assert double(21) == 42
