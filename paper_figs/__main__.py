"""``python -m paper_figs A.1 A.2`` writes the figures named, ``--all`` every one, as PDF, PNG and a caption into
figures/.
"""

import importlib
from pathlib import Path

from lop_theory.cli import OK, Parser, run, write_whole
from lop_theory.errors import InvalidInput

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
"""Figure id → module of this package with ``draw(stem) -> caption``."""


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m paper_figs", description="Draw the figures of the paper (arXiv 2510.00304).")
    parser.add_argument("figures", nargs="*", metavar="ID", help=f"one or more of: {' '.join(FIGURES)}")
    parser.add_argument("--all", action="store_true", help="every figure")
    parser.add_argument("--out", default="figures", metavar="DIR", help="folder to write to (default figures)")
    options = parser.parse_args(arguments)
    chosen = list(FIGURES) if options.all else options.figures
    if not chosen:
        raise InvalidInput("figures", "", "names no figure", f"give --all or some of: {' '.join(FIGURES)}")
    for name in chosen:
        if name not in FIGURES:
            raise InvalidInput("figures", name, "is not a figure of this project", f"one of: {' '.join(FIGURES)}")
    for name in chosen:
        draw(name, _folder(options.out))
    return OK


def draw(name: str, folder: Path) -> Path:
    """Draw one figure into ``folder``; the stem of its files."""
    stem = folder / f"figure_{name}"
    caption = importlib.import_module(f"paper_figs.{FIGURES[name]}").draw(stem)
    write_whole(Path(f"{stem}.txt"), f"Figure {name}. {caption}\n".encode())
    print(f"{stem}.pdf  {stem}.png  {stem}.txt")
    return stem


def _folder(path: str) -> Path:
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput("out", path, f"cannot be made ({error.strerror})", "choose another folder") from None
    return folder


if __name__ == "__main__":
    run(main)
