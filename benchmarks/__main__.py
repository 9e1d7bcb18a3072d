"""``python -m benchmarks`` runs every benchmark that needs no GPU, ``python -m benchmarks gap`` one."""

import importlib
import pkgutil
import sys

import benchmarks
from lop_theory.cli import OK, run
from lop_theory.errors import InvalidInput


def main() -> int:
    known = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in ("__main__", "timing"))
    chosen = sys.argv[1:] or [name for name in known if name != "gpu"]
    for name in chosen:
        if name not in known:
            raise InvalidInput("benchmark", name, "is unknown", f"one of: {' '.join(known)}")
    for name in chosen:
        print(f"== {name} ==", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()
    return OK


if __name__ == "__main__":
    run(main)
