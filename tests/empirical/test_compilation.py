"""The cache of compiled code follows every source, and Numba's own setting is left alone."""

import ast
from pathlib import Path

import pytest
from numba import config

from empirical import compilation


def test_any_change_in_any_source_changes_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in compilation.PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(compilation, "HERE", tmp_path)
    folders = [compilation.cache_folder.__wrapped__()]
    for name in compilation.PACKAGES:
        (tmp_path / name / "a.py").write_text("x = 2\n")
        folders.append(compilation.cache_folder.__wrapped__())
    assert len(set(folders)) == 3


def imported(path: Path) -> set[str]:
    """Modules of empirical that a file imports."""
    froms = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom) and node.module)
    return {node.module for node in froms if node.module.startswith("empirical")}


def test_all_compiled_code_and_what_it_uses_is_followed() -> None:
    """A compiled function may use what its module defines or imports: compiled code elsewhere would be unseen."""
    compiling = [path for path in compilation.HERE.rglob("*.py") if "empirical.compilation" in imported(path)]
    assert len(compiling) >= 7
    assert {path.parent.name for path in compiling} == set(compilation.PACKAGES)
    for path in compiling:
        used = {module.split(".")[1] for module in imported(path)}
        assert (
            used <= {"compilation", *compilation.PACKAGES} or path.name == "tasks.py"
        )  # moves pixels, with nothing else


def test_setting_of_numba_is_restored() -> None:
    before = config.CACHE_DIR
    double = compilation.compiled()(lambda x: 2 * x)
    assert before == config.CACHE_DIR
    assert double(21) == 42
