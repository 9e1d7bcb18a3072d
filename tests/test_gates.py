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
    ("module", "line", "contract"),
    [
        ("lop_theory/hermite/expansion", "import lop_theory.gap.kernel", "data flows one way"),
        ("lop_theory/gap/kernel", "import lop_theory.gap.analysis", "inside activations, hermite, gap and tension"),
        ("lop_theory/gap/rank", "import flint", "only balls.py imports python-flint"),
        ("lop_theory/activations/formula", "import lop_theory.graph.dag", "data flows one way"),
        ("empirical/training/options", "import empirical.streams.source", "inside empirical imports point down"),
        ("empirical/continual/options", "import empirical.escape.options", "the experiments are independent"),
        ("empirical/cloning/records", "import empirical.continual.records", "the experiments are independent"),
        ("empirical/continual/metrics", "import empirical.theory.probe", "theory/ keeps its private modules"),
        ("empirical/continual/simulation", "import empirical.training.stack", "training/ keeps its private modules"),
        ("empirical/cloning/base", "import empirical.streams.glyphs", "streams/ keeps its private modules"),
        ("empirical/streams/tasks", "import empirical.data.archives", "data/ keeps its private modules"),
        ("empirical/sweep/command", "import empirical.runs.local", "runs/ keeps its private modules"),
    ],
)
def test_import_layers_trip(tree_of_imports, module, line, contract):
    """A copy of the packages with one import against a contract, which says so."""
    source = tree_of_imports / f"{module}.py"
    whole = source.read_text()
    try:
        source.write_text(f"{whole}\n{line}\n")
        broken = linted(tree_of_imports)
    finally:
        source.write_text(whole)
    assert broken.returncode == 1
    verdicts = [found for found in broken.stdout.splitlines() if found.startswith(contract)]
    assert any("BROKEN" in found for found in verdicts), broken.stdout


@pytest.fixture(scope="module")
def tree_of_imports(tmp_path_factory):
    """A copy of the packages, in which every contract is kept."""
    root = tmp_path_factory.mktemp("imports")
    for package in ("lop_theory", "paper_figs", "empirical"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
        (root / package / "__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", root)
    clean = linted(root)
    assert clean.returncode == 0, clean.stdout
    return root


def linted(root):
    environment = {"PYTHONPATH": str(root), "PATH": str(BIN)}
    command = [str(BIN / "lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_coverage_floor_trips(tmp_path):
    (tmp_path / "half.py").write_text("def f(x):\n    if x:\n        return 1\n    return 2\n")
    (tmp_path / "test_half.py").write_text("from half import f\n\ndef test_f():\n    assert f(1) == 1\n")
    found = run(
        "python", "-m", "pytest", "-q", "--cov=half", "--cov-fail-under=99", "-p", "no:cacheprovider", cwd=tmp_path
    )
    assert found.returncode != 0
    assert "Required test coverage of 99% not reached" in found.stdout
