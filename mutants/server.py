"""Verdicts on mutants, each in a forked process that has the heavy libraries loaded and its own copy of the tree."""

import importlib
import os
import py_compile
import resource
import shutil
import signal
import sys
import time
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from mutants.coverage_map import ENVIRONMENT
from mutants.operators import Mutant, mutated

HEAVY = (
    "numpy scipy.sparse scipy.special scipy.linalg mpmath sympy flint hypothesis networkx torch torch.nn safetensors"
)
COPIED = ("lop_theory", "tests", "examples", "proofs", "paper_figs", "empirical", "benchmarks", "mutants")
FILES = ("pyproject.toml", "claims.toml", "README.md", "Makefile", "constraints.txt")
MEMORY = 4 << 30
GRACE = 20.0  # seconds added to four times the tests' usual time before a mutant counts as hung


def preload() -> None:
    """Load what every test would load, and nothing of the package under test."""
    os.environ.update(ENVIRONMENT)
    for name in HEAVY.split():
        with suppress(ImportError):
            importlib.import_module(name)


def copy_project(root: Path, folder: Path) -> None:
    """What the tests need, as it is now: the project may change while mutants run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.vo*", "*.glob"))
    for name in FILES:
        if (root / name).exists():
            shutil.copy(root / name, folder / name)


class Tree:
    """A copy of the project in which one file at a time is changed."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        copy_project(root, folder)
        for file in folder.rglob("*.py"):
            with suppress(py_compile.PyCompileError):
                py_compile.compile(str(file), invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)

    def judge(self, mutant: Mutant, tests: list[str], usual: float) -> str:
        """``killed``, ``killed (hung)`` or ``survived`` by these tests."""
        file = self.folder / mutant.file
        original = file.read_text()
        file.write_text(mutated(original, mutant.number))
        try:
            return self._outcome(tests, 4 * usual + GRACE)
        finally:
            file.write_text(original)

    def _outcome(self, tests: list[str], limit: float) -> str:
        child = os.fork()
        if child == 0:
            os.setsid()
            _bound(limit)
            os._exit(_run(self.folder, tests))
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return "survived" if status == 0 else "killed"
            time.sleep(0.02)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "killed (hung)"


def _bound(seconds: float) -> None:
    """A mutant may loop or grow without end: bound its processor time and memory."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def _run(folder: Path, tests: list[str]) -> int:
    """The tests' exit code, in this (forked) process."""
    import pytest

    os.chdir(folder)
    sys.path.insert(0, str(folder))
    for name in [n for n in sys.modules if n.partition(".")[0] in ("lop_theory", "tests")]:
        del sys.modules[name]
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    arguments = [
        "-x",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:cov",
        "--no-header",
        "--rootdir",
        str(folder),
    ]
    try:
        return int(pytest.main([*arguments, *tests]))
    except BaseException:  # a mutant may raise anything, even while it is imported
        return 1


class Worker:
    """A process that judges mutants one after the other; it forks, so it has no threads."""

    def __init__(self, root: Path, folder: Path) -> None:
        context = get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, root, folder))
        self._process.start()
        theirs.close()

    def judge(self, mutant: Mutant, tests: list[str], usual: float) -> str:
        self._ours.send((mutant, tests, usual))
        return self._ours.recv()

    def close(self) -> None:
        self._ours.send(None)
        self._process.join()


def _serve(pipe: Connection, root: Path, folder: Path) -> None:
    os.nice(5)
    preload()
    tree = Tree(root, folder)
    while (request := pipe.recv()) is not None:
        pipe.send(tree.judge(*request))
