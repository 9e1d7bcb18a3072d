"""The wheel in an empty folder: it carries the ledger and the records, and verifies what can be checked there."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of an unpacked wheel, built without network."""
    built, target = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source") / "tree"
    listing = ["git", "ls-files", "-co", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in files:
        if (ROOT / name).is_file() and not name.startswith(("tests/", "figures/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(built), "."]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(target)
    return target


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_an_installed_wheel_verifies_in_an_empty_folder(installed, tmp_path):
    done = run(
        installed, tmp_path, "lop_theory", "verify", "--fast", "--json", "--only", "gap", "clone-support", "bitflip-lop"
    )
    assert done.returncode == 0, done.stderr
    found = {row["claim"]: row["state"] for row in map(json.loads, done.stdout.splitlines())}
    assert found == {"gap": "agrees", "clone-support": "agrees", "bitflip-lop": "agrees"}


def test_the_wheel_is_the_one_that_ran(installed, tmp_path):
    (tmp_path / "where.py").write_text("import lop_theory, empirical; print(lop_theory.__file__, empirical.__file__)")
    paths = run(installed, tmp_path, "where").stdout.split()
    assert len(paths) == 2
    assert all(path.startswith(str(installed)) for path in paths)
    assert (installed / "lop_theory" / "py.typed").is_file()
