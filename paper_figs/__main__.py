"""``python -m paper_figs A.1 A.2`` writes the figures named, ``--all`` every one, as PDF, PNG and a caption into
figures/.

They read the committed records, which are fp32. ``--records runs --preset paper --precision bf16 --source glyphs``
names others, those of a GPU say, for the figures of cloning, continual learning and escape.
"""

import importlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lop_theory.cli import OK, Parser, run, write_whole
from lop_theory.errors import InvalidInput

if TYPE_CHECKING:
    from empirical.runs.saved import Chosen

CHOICE = ("records", "preset", "precision", "source")
"""Options that name records other than the committed ones."""
FIGURES = {
    "2.1": "fig_2_1",
    "3.1": "fig_3_1",
    "3.2": "fig_3_2",
    "4.1": "fig_4_1",
    "A.1": "fig_a1",
    "A.2": "fig_a2",
    "A.3": "fig_a3",
    "B.1": "fig_b1",
    "B.2": "fig_b2",
    "B.3": "fig_b3",
    "B.4": "fig_b4",
    "B.5": "fig_b5",
    "B.6": "fig_b6",
    "B.7": "fig_b7",
    "B.8": "fig_b8",
    "B.9": "fig_b9",
    "B.10": "fig_b10",
    "B.11": "fig_b11",
    "B.12": "fig_b12",
    "B.13": "fig_b13",
    "B.14": "fig_b14",
    "escape": "fig_escape",
    "low_rank": "fig_low_rank",
    "optimisers": "fig_optimisers",
    "persistence": "fig_persistence",
    "remedies": "fig_remedies",
    "stability": "fig_stability",
}
"""Figure id → module of this package with ``draw(stem) -> caption``, or ``draw(stem, chosen)`` but for these:"""
FIXED = ("A.1", "A.2", "A.3", "B.1", "B.2", "low_rank", "optimisers", "persistence", "remedies", "stability")
"""Figures of the theory, and of records that have one precision, or compare several."""


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m paper_figs", description="Draw the figures of the paper (arXiv 2510.00304).")
    parser.add_argument("figures", nargs="*", metavar="ID", help=f"one or more of: {' '.join(FIGURES)}")
    parser.add_argument("--all", action="store_true", help="every figure")
    parser.add_argument("--out", default="figures", metavar="DIR", help="folder to write to (default figures)")
    parser.add_argument("--records", metavar="DIR", help="folder of the records (default: the committed ones)")
    parser.add_argument("--preset", help="whose sizes the runs have (default laptop)")
    parser.add_argument("--precision", help="of the runs: fp32 (default), tf32 or bf16, which a GPU has by default")
    parser.add_argument("--source", help="of the pictures, if it is not the preset's")
    options = parser.parse_args(arguments)
    given = {name: value for name in CHOICE if (value := getattr(options, name)) is not None}
    possible = [name for name in FIGURES if not given or name not in FIXED]
    chosen = possible if options.all else options.figures
    if not chosen:
        raise InvalidInput("figures", "", "names no figure", f"give --all or some of: {' '.join(possible)}")
    for name in chosen:
        if name not in FIGURES:
            raise InvalidInput("figures", name, "is not a figure of this project", f"one of: {' '.join(possible)}")
        if name not in possible:
            raise InvalidInput(
                "figures", name, f"does not depend on --{' --'.join(given)}", f"one of: {' '.join(possible)}"
            )
    with _folder(options.out) as folder:
        for name in chosen:
            draw(name, folder, given)
    return OK


def draw(name: str, folder: Path, given: Mapping[str, str] = {}) -> Path:
    """Draw one figure into ``folder``, from the committed records, but for what is given of :data:`CHOICE`; the stem of
    its files."""
    stem = folder / f"figure_{name}"
    module = importlib.import_module(f"paper_figs.{FIGURES[name]}")
    caption = module.draw(stem, _chosen(given)) if given else module.draw(stem)
    write_whole(Path(f"{stem}.txt"), f"Figure {name}. {caption}\n".encode())
    print(f"{stem}.pdf  {stem}.png  {stem}.txt")
    return stem


def _chosen(given: Mapping[str, str]) -> "Chosen":
    from empirical.runs.saved import COMMITTED

    root = Path(given["records"]) if "records" in given else COMMITTED.root
    return COMMITTED._replace(**{name: value for name, value in given.items() if name != "records"}, root=root)


@contextmanager
def _folder(path: str) -> Generator[Path]:
    """The folder, made if need be, and taken away again if nothing was drawn into it."""
    folder = Path(path)
    was_there = folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput("out", path, f"cannot be made ({error.strerror})", "choose another folder") from None
    try:
        yield folder
    finally:
        if not was_there:
            with suppress(OSError):  # not empty
                folder.rmdir()


if __name__ == "__main__":
    run(main)
