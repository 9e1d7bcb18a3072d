"""``python -m mutants [PACKAGE …]``: kill a seeded sample of mutants of each package with its own tests."""

import argparse
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from mutants.coverage_map import CoverageMap, coverage_map
from mutants.operators import Mutant, mutants_of
from mutants.report import GOAL, Verdict, known_equivalents, lines, share_killed, told
from mutants.server import Worker, copy_project

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "build" / "mutants"
SNAPSHOT = CACHE / "snapshot"
PACKAGES = {
    "graph": ("tests/graph",),
    "gap": ("tests/gap",),
    "hermite": ("tests/hermite", "tests/gap"),
    "activations": ("tests/activations", "tests/hermite", "tests/tension"),
    "optim": ("tests/optim",),
    "metrics": ("tests/metrics",),
    "stability": ("tests/stability",),
    "modules": ("tests/modules",),
}


def main() -> int:
    options = _options()
    started, good = time.monotonic(), True
    copy_project(ROOT, SNAPSHOT)
    for name in options.packages or PACKAGES:
        verdicts, population = _package(name, options, started)
        print("\n".join(lines(f"lop_theory/{name}", verdicts, population)), flush=True)
        good &= share_killed(verdicts) >= GOAL
    print(f"{time.monotonic() - started:.0f} s; seed {options.seed}")
    return 0 if good else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(PACKAGES)} (default: all)")
    parser.add_argument("--sample", type=int, default=24, help="mutants a package (default 24)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", help="only mutants of this file")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=15.0, help="no mutant is begun after this time (default 15)")
    options = parser.parse_args()
    for name in options.packages:
        if name not in PACKAGES:
            parser.error(f"{name} is no package; one of {', '.join(PACKAGES)}")
    return options


def _package(name: str, options: argparse.Namespace, started: float) -> tuple[list[Verdict], int]:
    package = f"lop_theory/{name}"
    population = [m for file in sorted((SNAPSHOT / package).rglob("*.py")) for m in mutants_of(file, SNAPSHOT)]
    if options.file:
        population = [m for m in population if m.file.endswith(options.file)]
    chosen = random.Random(f"{options.seed}:{name}").sample(population, min(options.sample, len(population)))
    reached = coverage_map(SNAPSHOT, CACHE, package, PACKAGES[name], options.workers)
    deadline = started + 60 * options.minutes
    return _judge(sorted(chosen), reached, options.workers, deadline), len(population)


def _judge(chosen: list[Mutant], reached: CoverageMap, workers: int, deadline: float) -> list[Verdict]:
    """Verdicts in order; each worker is a process with a tree of its own."""
    equivalent = known_equivalents()
    trees = SimpleQueue[int]()
    for k in range(workers):
        trees.put(k)

    def verdict(mutant: Mutant) -> Verdict | None:
        if mutant.key in equivalent:
            return Verdict(mutant, "equivalent", equivalent[mutant.key])
        tests = reached.reaching(mutant.file, mutant.line, mutant.last_line)
        if not tests:
            return Verdict(mutant, "unreached")
        if time.monotonic() > deadline:
            return None
        k = trees.get()
        try:
            found = Verdict(mutant, pool[k].judge(mutant, tests, reached.time_of(tests)))
        finally:
            trees.put(k)
        if found.alive:
            print(told(found), file=sys.stderr, flush=True)
        return found

    pool = [Worker(SNAPSHOT, CACHE / f"tree{k}") for k in range(workers)]
    with ThreadPoolExecutor(workers) as threads:
        found = list(threads.map(verdict, chosen))
    for worker in pool:
        worker.close()
    return [v for v in found if v is not None]


if __name__ == "__main__":
    sys.exit(main())
