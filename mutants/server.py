"""Verdicts on mutants, each in a forked process that has libraries and tests loaded and its own copy of the tree."""

import importlib
import os
import py_compile
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from mutants.coverage_map import ENVIRONMENT
from mutants.operators import Mutant, mutated
from mutants.patching import apply, changes, is_loaded, ran_at_import

HEAVY = (
    "numpy", "scipy.sparse", "scipy.special", "scipy.linalg", "mpmath", "sympy", "flint", "networkx", "torch",
    "torch.nn", "safetensors",
)  # fmt: skip
COPIED = ("lop_theory", "tests", "examples", "proofs", "paper_figs", "empirical", "benchmarks", "mutants")
FILES = ("pyproject.toml", "claims.toml", "README.md", "Makefile", "constraints.txt")
PYTEST = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-p", "no:cov", "--no-header", "--tb=no")
MEMORY = 4 << 30
GRACE = 20.0  # CPU seconds added to four times the tests' usual time before a mutant counts as hung
WAIT = 12  # the same in seconds of the clock on a machine that has other work


class Request(NamedTuple):
    """A mutant, the tests that shall notice it, their usual CPU seconds, the lines of its file that importing runs."""

    mutant: Mutant
    tests: list[str]
    usual: float
    imported: list[int]


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


def compile_tree(folder: Path) -> None:
    """By hashes: a changed text is never taken for the compiled one."""
    for file in folder.rglob("*.py"):
        with suppress(py_compile.PyCompileError):
            py_compile.compile(str(file), invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)


class Tests:
    """The collected tests of a session; a pytest plugin that serves mutants where pytest would run the tests."""

    def __init__(self, folder: Path, pipe: Connection) -> None:
        self.folder, self._pipe = folder, pipe

    def pytest_runtestloop(self, session: Any) -> bool:
        items = {item.nodeid: item for item in session.items}
        while (request := self._pipe.recv()) is not None:
            self._pipe.send(self._judge(request, session, items))
        return True

    def _judge(self, request: Request, session: Any, items: dict[str, Any]) -> str:
        """``killed``, ``killed (hung)`` or ``survived``; the file is changed, too, for what reads it."""
        file = self.folder / request.mutant.file
        original = file.read_text()
        file.write_text(mutated(original, request.mutant.number))
        found = [items[name] for name in request.tests]

        def action() -> int:
            if _patched(request, file, original):
                return _run(session, found)
            return _run_anew(self.folder, request.tests)

        try:
            return _outcome(action, 4 * request.usual + GRACE)
        finally:
            file.write_text(original)


def _patched(request: Request, file: Path, text: str) -> bool:
    """Whether this process has the mutant now."""
    if not is_loaded(file):
        return True  # it will be read from the changed file
    found = changes(text, request.mutant.number, file)
    if found is None or any(ran_at_import(change, set(request.imported)) for change in found):
        return False
    return apply(found, file)


def _run(session: Any, items: list[Any]) -> int:
    """1 at the first test that fails, else 0."""
    for item, after in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if session.testsfailed:
            return 1
    return 0


def _run_anew(folder: Path, tests: list[str]) -> int:
    """The same after importing the package and its tests anew."""
    import pytest

    ours = [n for n, m in sys.modules.items() if (getattr(m, "__file__", None) or "").startswith(f"{folder}{os.sep}")]
    for name in ours:
        del sys.modules[name]
    return int(pytest.main([*PYTEST, "--rootdir", str(folder), *tests]))


def _outcome(action: Callable[[], int], limit: float) -> str:
    child = os.fork()
    if child == 0:
        os.setsid()
        os._exit(_child(action, limit))
    deadline = time.monotonic() + WAIT * limit
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if status == 0 else "killed"
        time.sleep(0.01)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "killed (hung)"


def _child(action: Callable[[], int], seconds: float) -> int:
    """The action's exit code; a mutant may raise anything, loop or grow without end."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    try:
        return action()
    except BaseException:
        return 1


class Worker:
    """A process that judges mutants one after the other; it forks, so it has no threads."""

    def __init__(self, root: Path, folder: Path, tests: tuple[str, ...], heavy: tuple[str, ...] = HEAVY) -> None:
        context = get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, root, folder, tests, heavy))
        self._process.start()
        theirs.close()

    def judge(self, request: Request) -> str:
        self._ours.send(request)
        return self._ours.recv()

    def close(self) -> None:
        self._ours.send(None)
        self._process.join()


def _serve(pipe: Connection, root: Path, folder: Path, tests: tuple[str, ...], heavy: tuple[str, ...]) -> None:
    os.environ.update(ENVIRONMENT)
    copy_project(root, folder)
    compile_tree(folder)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    for name in heavy:
        with suppress(ImportError):
            importlib.import_module(name)
    import pytest

    pytest.main([*PYTEST, "--rootdir", str(folder), *tests], plugins=[Tests(folder, pipe)])
