"""The page of commands: what each says to ``--help``."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

COMMANDS = (
    "lop_theory",
    "lop_theory verify",
    "lop_theory.gap",
    "lop_theory.tension",
    "lop_theory.graph",
    "lop_theory.modules",
    "lop_theory.stability",
    "lop_theory.report",
    "empirical",
    "empirical bitflip",
    "empirical cloning",
    "empirical continual",
    "empirical escape",
    "empirical persistence",
    "empirical sweep",
    "empirical data",
    "empirical claims",
    "paper_figs",
)
_HEAD = """# Commands

Every command says this to `--help`. Exit codes are the same everywhere: 0 for yes, 1 for no or undecided (a bound not
certified, a verdict that differs, a run that failed), 2 for bad input, with one line that names parameter, value,
requirement and remedy.
"""


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", lambda app: write(Path(app.srcdir)))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(source: Path) -> None:
    """``generated/commands.md``."""
    with ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(help_of, COMMANDS))
    parts = [f"## `python -m {name}`\n\n```text\n{text}\n```\n" for name, text in zip(COMMANDS, texts, strict=True)]
    folder = source / "generated"
    folder.mkdir(exist_ok=True)
    (folder / "commands.md").write_text("\n".join([_HEAD, *parts]), encoding="utf-8")


def help_of(command: str) -> str:
    """What the command prints, 100 columns wide and without colours."""
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-m", *command.split(), "--help"]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"python -m {command} --help: {done.stderr.strip()}")
    return done.stdout.strip()
