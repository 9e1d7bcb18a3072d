"""Each gate of ``make check`` trips on a planted violation (a gate that cannot fail is no gate)."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BIN / command[0]), *command[1:]], cwd=cwd, capture_output=True, text=True, check=False)


def test_ruff_check_trips(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "bad.py").write_text("import os\n")
    found = run("ruff", "check", "--no-cache", "bad.py", cwd=tmp_path)
    assert found.returncode == 1
    assert "F401" in found.stdout


def test_ruff_format_trips(tmp_path):
    (tmp_path / "bad.py").write_text("x  =  1\n")
    assert run("ruff", "format", "--check", "--no-cache", "bad.py", cwd=tmp_path).returncode == 1


def test_pyright_trips(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.basedpyright]\ntypeCheckingMode = "strict"\n')
    (tmp_path / "bad.py").write_text("def f(x: int) -> str:\n    return x\n")
    found = run("basedpyright", "--level", "error", "bad.py", cwd=tmp_path)
    assert found.returncode == 1
    assert "reportReturnType" in found.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("hermite/expansion", "import lop_theory.gap.kernel"),
        ("gap/kernel", "import lop_theory.gap.analysis"),
        ("gap/rank", "import flint"),
        ("activations/formula", "import lop_theory.graph.dag"),
    ],
)
def test_import_layers_trip(tmp_path, module, line):
    """A copy of the packages with one import against the layers."""
    for package in ("lop_theory", "paper_figs", "empirical"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
        (tmp_path / package / "__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = [str(BIN / "lint-imports"), "--no-cache"]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": str(BIN)}
    clean = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert clean.returncode == 0, clean.stdout
    with (tmp_path / "lop_theory" / f"{module}.py").open("a") as source:
        source.write(f"\n{line}\n")
    broken = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert broken.returncode == 1
    assert "BROKEN" in broken.stdout


def test_coverage_floor_trips(tmp_path):
    (tmp_path / "half.py").write_text("def f(x):\n    if x:\n        return 1\n    return 2\n")
    (tmp_path / "test_half.py").write_text("from half import f\n\ndef test_f():\n    assert f(1) == 1\n")
    found = run(
        "python", "-m", "pytest", "-q", "--cov=half", "--cov-fail-under=99", "-p", "no:cacheprovider", cwd=tmp_path
    )
    assert found.returncode != 0
    assert "Required test coverage of 99% not reached" in found.stdout
