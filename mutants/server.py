"""Verdicts on mutants, each in a forked process that has libraries and tests loaded and its own copy of the tree.

A kill counts only if the test that failed passes in the same way without the mutant: a test that fails here in any case
(a file that is missing, a library, a slow machine) is left out, and said.
"""

import importlib
import os
import py_compile
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from mmap import mmap
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
PYTEST = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-p", "no:cov", "--no-header", "--tb=short")
MEMORY = 4 << 30
GRACE = 10.0  # CPU seconds added to twice the tests' usual time before a mutant counts as hung
WAIT = 12  # the same in seconds of the clock on a machine that has other work


class Request(NamedTuple):
    """A mutant, the tests that shall notice it, their usual CPU seconds, the lines of its file that importing runs."""

    mutant: Mutant
    tests: list[str]
    usual: float
    imported: list[int]


class Judged(NamedTuple):
    """``outcome``: killed, killed (hung: out of time), survived. The test that failed, or was running, and what it
    said; of how many tests; and the tests left out, for they fail in the same way without the mutant."""

    outcome: str
    test: str
    said: str
    tests: int
    left_out: tuple[str, ...]


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


class Slate:
    """What a forked process writes while it runs tests, for its parent to read whatever becomes of it: whether it
    imports anew, the test that it runs, and what that said when it failed. As a pytest plugin it writes by itself."""

    SIZE = 4096

    def __init__(self) -> None:
        self._shared = mmap(-1, self.SIZE)
        self.anew = False

    def wipe(self, *, anew: bool = False) -> None:
        self.anew = anew
        self._write("", "")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write(nodeid, "")

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self._write(report.nodeid, _crash(report))

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and report.nodeid:  # the session fails after its files
            self._write(report.nodeid, _crash(report))

    def read(self) -> tuple[bool, str, str]:
        """Whether the modules were imported anew, the last test begun or failed, what it said."""
        anew, test, said = self._shared[: self.SIZE].rstrip(b"\0").decode(errors="replace").split("\n", 2)
        return anew == "anew", test, said

    def _write(self, test: str, said: str) -> None:
        text = f"{'anew' if self.anew else ''}\n{test}\n{' '.join(said.split())[:120]}".encode()[: self.SIZE]
        self._shared[: self.SIZE] = text.ljust(self.SIZE, b"\0")


def _crash(report: Any) -> str:
    """The last line of what a failed test says, as short as pytest has it."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr or "").strip()


class Tests:
    """The collected tests of a session; a pytest plugin that serves mutants where pytest would run the tests."""

    def __init__(self, folder: Path, pipe: Connection, slate: Slate) -> None:
        self.folder, self._pipe, self._slate = folder, pipe, slate
        self._sound: dict[tuple[str, bool], bool] = {}  # does the test pass without a mutant, run anew or not?

    def pytest_runtestloop(self, session: Any) -> bool:
        items = {item.nodeid: item for item in session.items}
        while (request := self._pipe.recv()) is not None:
            self._pipe.send(self._judge(request, session, items))
        return True

    def _judge(self, request: Request, session: Any, items: dict[str, Any]) -> Judged:
        """A test that fails without the mutant, too, is left out, and the others judge."""
        tests, left_out = request.tests, list[str]()
        while tests:
            outcome, anew, test, said = self._with_mutant(request, tests, session, items)
            if outcome == "survived" or self._passes(test, anew, request, session, items):
                return Judged(outcome, test, said, len(tests), tuple(left_out))
            unsound = _under(test, tests)
            left_out += unsound
            tests = [name for name in tests if name not in unsound]
        return Judged("survived", "", "", 0, tuple(left_out))

    def _with_mutant(
        self, request: Request, tests: list[str], session: Any, items: dict[str, Any]
    ) -> tuple[str, bool, str, str]:
        """The file is changed, too, for what reads it."""
        file = self.folder / request.mutant.file
        original = file.read_text()
        file.write_text(mutated(original, request.mutant.number))

        def action() -> int:
            if _patched(request, file, original):
                return _run(session, [items[name] for name in tests])
            return self._run_anew(tests)

        try:
            return (_outcome(action, self._limit(request), self._slate), *self._slate.read())
        finally:
            file.write_text(original)

    def _passes(self, test: str, anew: bool, request: Request, session: Any, items: dict[str, Any]) -> bool:
        """Does what failed pass without the mutant, in the same kind of process and time?"""
        if (test, anew) not in self._sound:
            tests = _under(test, request.tests)

            def action() -> int:
                return self._run_anew(tests) if anew else _run(session, [items[name] for name in tests])

            self._sound[test, anew] = _outcome(action, self._limit(request), self._slate) == "survived"
        return self._sound[test, anew]

    @staticmethod
    def _limit(request: Request) -> float:
        return 2 * request.usual + GRACE

    def _run_anew(self, tests: Sequence[str]) -> int:
        """The tests' verdict after importing the package and them anew."""
        import pytest

        own = f"{self.folder}{os.sep}"
        for name in [n for n, m in sys.modules.items() if (getattr(m, "__file__", None) or "").startswith(own)]:
            del sys.modules[name]
        self._slate.wipe(anew=True)
        return int(pytest.main([*PYTEST, "--rootdir", str(self.folder), *tests], plugins=[self._slate]))


def _under(place: str, tests: list[str]) -> list[str]:
    """The test, or those of the file, that this place names; all if it names none."""
    return [name for name in tests if name == place or name.startswith(f"{place}::")] or tests


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


def _outcome(action: Callable[[], int], limit: float, slate: Slate) -> str:
    slate.wipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os._exit(_child(action, limit))
    deadline = time.monotonic() + WAIT * limit
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return _told(status)
        time.sleep(0.01)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return HUNG


HUNG = "killed (hung)"


def _told(status: int) -> str:
    """SIGXCPU, and SIGKILL five seconds later, are what a process gets that is out of CPU time."""
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        return HUNG
    return "survived" if status == 0 else "killed"


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

    def judge(self, request: Request) -> Judged:
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

    slate = Slate()
    pytest.main([*PYTEST, "--rootdir", str(folder), *tests], plugins=[Tests(folder, pipe, slate), slate])
