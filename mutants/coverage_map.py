"""Which tests run which line, and how long they take: measured once by pytest-cov, kept until a file changes."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONWARNINGS": "ignore"}


class CoverageMap(NamedTuple):
    """``tests[file][line]`` are indices into ``names``; ``seconds`` are the tests' durations."""

    names: list[str]
    seconds: list[float]
    tests: dict[str, dict[str, list[int]]]

    def reaching(self, file: str, first: int, last: int) -> list[str]:
        """Tests that run a line of first..last, the quickest first; for lines run by importing, all of the file's."""
        lines = self.tests.get(file, {})
        hit = {t for line in range(first, last + 1) for t in lines.get(str(line), [])}
        hit = hit or {t for found in lines.values() for t in found}
        return [self.names[t] for t in sorted(hit, key=lambda t: self.seconds[t])]

    def time_of(self, tests: list[str]) -> float:
        number = {name: k for k, name in enumerate(self.names)}
        return sum(self.seconds[number[name]] for name in tests)


def coverage_map(root: Path, cache: Path, package: str, tests: tuple[str, ...], workers: int) -> CoverageMap:
    """The map of a package's own tests, from the ``cache`` or by running them in ``root``."""
    sources = [
        *(root / package).rglob("*.py"),
        *(f for t in tests for f in _files(root / t)),
        root / "tests/conftest.py",
    ]
    digest = hashlib.sha256(b"".join(f.read_bytes() for f in sorted(sources))).hexdigest()[:20]
    kept = cache / f"{package.replace('/', '.')}-{digest}.json"
    if not kept.exists():
        kept.write_text(json.dumps(_measure(root, cache, package, tests, workers)))
    return CoverageMap(**json.loads(kept.read_text()))


def _files(path: Path) -> list[Path]:
    return list(path.rglob("*.py")) if path.is_dir() else [path]


def _measure(root: Path, cache: Path, package: str, tests: tuple[str, ...], workers: int) -> dict[str, Any]:
    from coverage import CoverageData

    data, durations = cache / f"{package.replace('/', '.')}.coverage", cache / "durations.json"
    data.unlink(missing_ok=True)
    settings = cache / "coveragerc"
    settings.write_text("[run]\nbranch = False\n")
    command = [
        *(sys.executable, "-m", "pytest", "-n", str(workers), "-q", "-p", "mutants.durations", *tests),
        *(f"--cov={package}", "--cov-context=test", "--cov-report=", f"--cov-config={settings}"),
    ]
    environment = {**os.environ, **ENVIRONMENT, "COVERAGE_FILE": str(data), "MUTANTS_DURATIONS": str(durations)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"the tests of {package} must pass before they can judge:\n{done.stdout[-3000:]}")
    times: dict[str, float] = json.loads(durations.read_text())
    names = sorted(times)
    number = {name: k for k, name in enumerate(names)}
    coverage = CoverageData(str(data))
    coverage.read()
    lines: dict[str, dict[str, list[int]]] = {}
    for file in coverage.measured_files():
        own = lines.setdefault(str(Path(file).relative_to(root)), {})
        for line, contexts in coverage.contexts_by_lineno(file).items():
            hit = {number[c.partition("|")[0]] for c in contexts if c.partition("|")[0] in number}
            if hit:
                own[str(line)] = sorted(hit)
    return {"names": names, "seconds": [times[n] for n in names], "tests": lines}
