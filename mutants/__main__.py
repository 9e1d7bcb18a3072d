"""``python -m mutants [PACKAGE …]``: kill a seeded sample of mutants of each package with its own tests."""

import argparse
import hashlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

from mutants.coverage_map import CoverageMap, coverage_map
from mutants.operators import Mutant, mutants_of
from mutants.report import GOAL, Verdict, known_equivalents, lines, misplaced, share_killed, told
from mutants.server import Request, Worker, copy_project

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "build" / "mutants"
PACKAGES = {
    "graph": ("tests/graph",),
    "gap": ("tests/gap",),
    "hermite": ("tests/hermite",),
    "activations": ("tests/activations",),
    "optim": ("tests/optim",),
    "metrics": ("tests/metrics",),
    "stability": ("tests/stability",),
    "modules": ("tests/modules",),
    "trace": ("tests/trace",),
}


def main() -> int:
    options = _options()
    if wrong := misplaced(ROOT):
        print("\n".join(wrong), file=sys.stderr)
        return 2
    started, good = time.monotonic(), True
    with TemporaryDirectory(prefix="mutants-") as folder:  # of this run alone: another may run beside it
        snapshot = Path(folder, "snapshot")
        copy_project(ROOT, snapshot)
        names = options.packages or list(PACKAGES)
        for k, name in enumerate(names):
            now = time.monotonic()
            deadline = now + (started + 60 * options.minutes - now) / (len(names) - k)
            verdicts, population = _package(name, snapshot, options, deadline)
            print("\n".join(lines(f"lop_theory/{name}", verdicts, population)), flush=True)
            good &= share_killed(verdicts) >= GOAL
    print(f"{time.monotonic() - started:.0f} s; seed {options.seed}")
    return 0 if good else 1


def _options() -> argparse.Namespace:
    from lop_theory.cli import Parser  # not above: a worker imports this module before it looks into its own tree

    parser = Parser(prog="python -m mutants", description=__doc__)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(PACKAGES)} (default: all)")
    parser.add_argument("--sample", type=int, default=24, help="mutants a package (default 24)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", help="only mutants of this file")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30.0, help="CPU seconds of tests a mutant (default 30)")
    parser.add_argument("--minutes", type=float, default=14.0, help="no mutant is begun after this time (default 14)")
    options = parser.parse_args()
    for name in options.packages:
        if name not in PACKAGES:
            parser.error(f"{name} is no package; one of {', '.join(PACKAGES)}")
    for name in ("sample", "workers"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} {getattr(options, name)}: must be at least 1")
    for name in ("seconds", "minutes"):
        if not 0 < getattr(options, name) < float("inf"):
            parser.error(f"--{name} {getattr(options, name)}: must be positive and finite")
    files = [file.as_posix() for name in options.packages or PACKAGES for file in _files(name, ROOT)]
    if options.file and not any(file.endswith(options.file) for file in files):
        parser.error(f"--file {options.file}: no file of these packages ends so")
    return options


def _files(name: str, root: Path) -> list[Path]:
    return sorted((root / "lop_theory" / name).rglob("*.py"))


def _package(name: str, snapshot: Path, options: argparse.Namespace, deadline: float) -> tuple[list[Verdict], int]:
    package = f"lop_theory/{name}"
    population = [m for file in _files(name, snapshot) for m in mutants_of(file, snapshot)]
    if options.file:
        population = [m for m in population if m.file.endswith(options.file)]
    chosen = sampled(population, options.sample, options.seed)
    reached = coverage_map(snapshot, CACHE, package, PACKAGES[name], options.workers)
    pool = [Worker(snapshot, snapshot.with_name(f"tree{k}"), PACKAGES[name]) for k in range(options.workers)]
    found = _judge(chosen, reached, pool, options.seconds, deadline)
    for worker in pool:
        worker.close()
    return sorted(found), len(population)


def sampled(population: list[Mutant], size: int, seed: int) -> list[Mutant]:
    """Those of the smallest hashes, so that a change elsewhere in the package leaves the others in the sample."""
    return sorted(population, key=lambda m: hashlib.sha256(repr((seed, m.key)).encode()).digest())[:size]


def _judge(
    chosen: list[Mutant], reached: CoverageMap, pool: list[Worker], seconds: float, deadline: float
) -> list[Verdict]:
    """One verdict a mutant; those that the deadline leaves over are ``not judged``."""
    equivalent = known_equivalents()
    free = SimpleQueue[Worker]()
    for worker in pool:
        free.put(worker)

    def verdict(mutant: Mutant) -> Verdict:
        if mutant.key in equivalent:
            return Verdict(mutant, "equivalent", equivalent[mutant.key])
        reaching = reached.reaching(mutant.file, mutant.line, mutant.last_line)
        if not reaching:
            return Verdict(mutant, "unreached")
        tests = reached.within(reaching, seconds)
        request = Request(mutant, tests, reached.time_of(tests), reached.imported.get(mutant.file, []))
        worker = free.get()
        try:
            return (
                _found(worker, request, len(reaching)) if time.monotonic() < deadline else Verdict(mutant, "not judged")
            )
        finally:
            free.put(worker)

    with ThreadPoolExecutor(len(pool)) as threads:
        return list(threads.map(verdict, chosen))


def _found(worker: Worker, request: Request, reaching: int) -> Verdict:
    """The worker's verdict, said at once."""
    began = time.monotonic()
    found = worker.judge(request)
    by = f"{found.tests} of the {reaching} tests of its line" if found.outcome == "survived" else found.test
    verdict = Verdict(request.mutant, found.outcome, f"by {by}{': ' if found.said else ''}{found.said}", found.left_out)
    print(f"{time.monotonic() - began:5.1f} s  {told(verdict)}", file=sys.stderr, flush=True)
    return verdict


if __name__ == "__main__":
    sys.exit(main())
