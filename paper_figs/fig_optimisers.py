"""The optimiser table of theory.md §6 as a figure: measured distance to each manifold, predicted membership on top."""

import math
from pathlib import Path

from lop_theory.graph.optimisers import DECAYS, STARTS, STAYS, Cell, table
from paper_figs.style import panels, save

ROUNDING = math.log10(STAYS)
"""Below this distance there is only rounding, which differs from machine to machine: it has one colour."""


def draw(stem: Path) -> str:
    cells = table()
    names = list(dict.fromkeys(cell.optimiser for cell in cells))
    columns = [(decay, start, k) for decay in DECAYS for start in STARTS for k in (0, 1)]
    found = {(cell.optimiser, cell.decay, cell.start): cell for cell in cells}
    figure, grid = panels(1, 1, size=(9, 10))
    axes = grid[0][0]
    axes.grid(visible=False)
    level = [[_level(found[name, d, s], k) for d, s, k in columns] for name in names]
    image = axes.imshow(level, cmap="viridis", vmin=ROUNDING, vmax=0, aspect="auto")
    for row, name in enumerate(names):
        for column, (d, s, k) in enumerate(columns):
            cell = found[name, d, s]
            wrong = "" if cell.observed[k] == cell.predicted[k] else "!"
            text = ("stays" if cell.predicted[k] else "leaves") + wrong
            colour = "black" if level[row][column] > ROUNDING / 2 else "white"
            axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    labels = [f"{d}\n{s} →\n{('RE∩CE', 'w0 + BC')[k]}" for d, s, k in columns]
    axes.set_xticks(range(len(columns)), labels, fontsize=6.5)
    axes.xaxis.tick_top()
    figure.colorbar(image, label="log10 relative distance after 12 steps; −9: no more than rounding")
    save(figure, stem)
    return _caption(cells)


def _level(cell: Cell, k: int) -> float:
    return max(ROUNDING, math.log10(cell.distances[k] + 1e-17))


def _caption(cells: list[Cell]) -> str:
    wrong = [f"{c.optimiser} ({c.decay}, {c.start})" for c in cells if not c.agrees]
    tail = "; ".join(wrong) or "none"
    return (
        "Optimisers on cloning manifolds with blocks of three units: colour is the measured relative distance to RE∩CE "
        "and to w0 + BC, text the prediction of the closure criterion (equivariance under permutations within blocks). "
        f"Cells that disagree (marked !): {tail}. PyTorch's Muon iterates in bfloat16, whose rounding differs between "
        "clones; in float64 it agrees. DASH under coupled decay finds every row against its gradient, and shrinks all "
        "alike by its floor."
    )
