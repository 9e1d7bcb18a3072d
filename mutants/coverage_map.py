"""Which tests run which line, and how long they take: measured by pytest-cov for each file of tests, and again when it,
what it shares with its neighbours, or the package changes."""

import ast
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONWARNINGS": "ignore",
    "HYPOTHESIS_PROFILE": "mutants",
}
STARTED = 0.05  # CPU seconds of children that say that a test started a process


class CoverageMap(NamedTuple):
    """``tests[file][line]`` are names of tests, ``seconds`` their durations, ``imported[file]`` what importing runs;
    ``commands`` are the tests that start processes, of whose lines nothing is known."""

    seconds: dict[str, float]
    commands: list[str]
    tests: dict[str, dict[str, list[str]]]
    imported: dict[str, list[int]]

    def reaching(self, file: str, first: int, last: int) -> list[str]:
        """Tests that run a line of first..last, quickest first; for lines run by importing the others, too, the file's
        first; for lines that no test is seen to run, those that start processes."""
        lines = self.tests.get(file, {})
        hit = {t for line in range(first, last + 1) for t in lines.get(str(line), [])}
        if not set(self.imported.get(file, [])).isdisjoint(range(first, last + 1)):
            own = {t for found in lines.values() for t in found}
            return sorted(self.seconds, key=lambda t: (t not in hit, t not in own, self.seconds[t], t))
        return sorted(hit or self.commands, key=lambda t: (self.seconds[t], t))

    def time_of(self, tests: Iterable[str]) -> float:
        return sum(self.seconds[t] for t in tests)

    def within(self, tests: list[str], seconds: float) -> list[str]:
        """The first tests that together take that long, at least one."""
        total = accumulate(self.seconds[t] for t in tests)
        return [t for k, (t, s) in enumerate(zip(tests, total, strict=True)) if k == 0 or s <= seconds]


def coverage_map(root: Path, cache: Path, package: str, tests: tuple[str, ...], workers: int) -> CoverageMap:
    """The map of a package by its own tests, from the ``cache`` or by running them in ``root``."""
    parts = [part for folder in tests for part in _folder_maps(root, cache, package, folder, workers)]
    seconds = {name: s for part in parts for name, s in part.seconds.items()}
    lines: dict[str, dict[str, list[str]]] = {}
    imported: dict[str, set[int]] = {}
    for part in parts:
        for file, own in part.imported.items():
            imported.setdefault(file, set()).update(own)
        for file, found in part.tests.items():
            whole = lines.setdefault(file, {})
            for line, names in found.items():
                whole[line] = whole.get(line, []) + names
    commands = [name for part in parts for name in part.commands]
    return CoverageMap(seconds, commands, lines, {file: sorted(own) for file, own in imported.items()})


def _folder_maps(root: Path, cache: Path, package: str, folder: str, workers: int) -> list[CoverageMap]:
    """A map for each file of tests; those that are not kept yet are measured together."""
    files = sorted((root / folder).rglob("test_*.py"))
    sources = {*(root / package).rglob("*.py"), *(root / folder).rglob("*.py"), root / "tests/conftest.py"}
    shared = b"".join(f.read_bytes() for f in sorted(sources - {*files}))
    kept = {}
    for file in files:
        name = file.relative_to(root).as_posix()
        digest = hashlib.sha256(shared + file.read_bytes()).hexdigest()[:20]
        kept[name] = cache / f"{package}-{name}-{digest}.json".replace("/", ".")
    missing = [name for name, place in kept.items() if not place.exists()]
    if missing:
        data = root.with_name(f"{package}-{folder}.coverage".replace("/", "."))
        found = _measure(root, data, package, missing, workers)
        cache.mkdir(parents=True, exist_ok=True)
        for name in missing:
            kept[name].write_text(json.dumps(_of_file(found, name)._asdict()))
    return [CoverageMap(**json.loads(place.read_text())) for place in kept.values()]


def _of_file(found: CoverageMap, name: str) -> CoverageMap:
    """What the tests of one file run."""
    own = {test for test in found.seconds if test.startswith(f"{name}::")}
    tests = {
        file: {line: names for line, all_ in lines.items() if (names := [t for t in all_ if t in own])}
        for file, lines in found.tests.items()
    }
    seconds = {test: s for test, s in found.seconds.items() if test in own}
    return CoverageMap(seconds, [t for t in found.commands if t in own], tests, found.imported)


def _measure(root: Path, data: Path, package: str, tests: list[str], workers: int) -> CoverageMap:
    durations, settings = data.with_suffix(".durations"), data.with_suffix(".ini")
    for old in (data, durations):
        old.unlink(missing_ok=True)
    settings.write_text("[run]\nbranch = False\n")
    command = [
        *(sys.executable, "-m", "pytest", "-n", str(workers), "-q", "-p", "mutants.durations", *tests),
        *(f"--cov={package}", "--cov-context=test", "--cov-report=", f"--cov-config={settings}"),
    ]
    environment = {**os.environ, **ENVIRONMENT, "COVERAGE_FILE": str(data), "MUTANTS_DURATIONS": str(durations)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 5) or not durations.exists():
        sys.exit(f"{' '.join(tests)} must run before it can judge {package}:\n{done.stdout[-3000:]}")
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    if failed:
        print(f"left out, for they fail without a mutant:\n{chr(10).join(failed)}", file=sys.stderr)
    return _read(root, data, json.loads(durations.read_text()))


def function_lines(text: str) -> set[int]:
    """The lines inside of functions; importing runs the others, and seems to be the test's that imports first."""
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    return {line for f in functions for line in range(f.body[0].lineno, (f.end_lineno or 0) + 1)}


def _beside(spent: dict[str, tuple[float, float, list[str]]]) -> dict[str, set[str]]:
    """For every test those of its file that see what it is the first to make: they share a fixture with it."""
    using: dict[tuple[str, str], set[str]] = {}
    for name, (_, _, shared) in spent.items():
        for fixture in shared:
            using.setdefault((name.partition("::")[0], fixture), set()).add(name)
    return {
        name: {name}.union(*(using[name.partition("::")[0], fixture] for fixture in shared))
        for name, (_, _, shared) in spent.items()
    }


def _read(root: Path, data: Path, spent: dict[str, tuple[float, float, list[str]]]) -> CoverageMap:
    from coverage import CoverageData

    seconds = {name: whole for name, (whole, _, _) in spent.items()}
    commands = [name for name, (_, children, _) in spent.items() if children > STARTED]
    beside = _beside(spent)

    def running(context: str) -> set[str]:
        """The tests of a line's context, test|phase (the name of a test may have bars, too)."""
        test, _, phase = context.rpartition("|")
        return beside.get(test, {test}) if phase == "setup" else {test}

    coverage: Any = CoverageData(str(data))
    coverage.read()
    lines: dict[str, dict[str, list[str]]] = {}
    imported: dict[str, list[int]] = {}
    for path in coverage.measured_files():
        file = str(Path(path).relative_to(root))
        contexts = coverage.contexts_by_lineno(path).items()
        bodies = function_lines(Path(path).read_text())
        imported[file] = sorted(line for line, found in contexts if "" in found or line not in bodies)
        found = {line: set().union(*map(running, names)) for line, names in contexts}
        lines[file] = {str(line): sorted(names & seconds.keys()) for line, names in found.items()}
    return CoverageMap(seconds, commands, lines, imported)
