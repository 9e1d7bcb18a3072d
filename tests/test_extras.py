"""Without an extra a command names it in one line: every package that we import is of the base or of an extra."""

import ast
import subprocess
import sys
from pathlib import Path

from lop_theory.extras import remedy

ROOT = Path(__file__).parent.parent
OURS = {"lop_theory", "empirical", "paper_figs"}
BASE = {"flint", "sympy", "mpmath", "numpy", "scipy"}


def imported(path: Path) -> set[str]:
    """Top-level packages that the file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.partition(".")[0] for name in plain} | {
        node.module.partition(".")[0] for node in nodes if isinstance(node, ast.ImportFrom) and node.module
    }


def test_every_package_is_of_the_base_or_of_an_extra():
    files = [file for package in sorted(OURS) for file in (ROOT / package).rglob("*.py")]
    used = set().union(*map(imported, files)) - OURS - BASE - set(sys.stdlib_module_names)
    assert "torch" in used
    assert sorted(name for name in used if remedy(name) is None) == []


def test_the_measured_claims_without_the_experiments_extra_are_not_checked():
    code = "import sys; sys.modules['typing_extensions'] = None; from empirical.__main__ import run, main; run(main)"
    done = subprocess.run([sys.executable, "-c", code, "claims"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: this command needs typing_extensions; pip install 'lop-theory[experiments]'\n"


def test_models_without_pytorch_are_one_line():
    code = """
import runpy, sys
sys.modules["torch"] = None
sys.argv = ["modules", "a.pt"]
runpy.run_module("lop_theory.modules", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (2, "error: this command needs torch; pip install 'lop-theory[torch]'\n")
