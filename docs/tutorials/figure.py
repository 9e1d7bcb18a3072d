"""
Reproduce a figure
==================

``paper_figs`` draws every figure from theory or from saved records, without training.
This page redraws one of each kind, compares the captions with those in ``figures/``,
and computes a number that the records stand for.
"""

# %%
# A figure has a module with ``draw(stem)``, which writes PNG and PDF and returns the
# caption. Figure A.1 is theory: kernels from Hermite coefficients.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

from lop_theory.report.place import root
from paper_figs import fig_a1, fig_b1

folder = Path(tempfile.mkdtemp())
kept = root() / "figures"


def redraw(module, name):
    caption = module.draw(folder / f"figure_{name}")
    assert (kept / f"figure_{name}.txt").read_text() == f"Figure {name}. {caption}\n"
    same = (folder / f"figure_{name}.png").read_bytes() == (
        kept / f"figure_{name}.png"
    ).read_bytes()
    how = "the same bytes as" if same else "drawn by another Matplotlib than"
    print(f"figure {name}: {how} the one in figures/")
    return plt.imread(folder / f"figure_{name}.png")


def show(picture):
    height, width, _ = picture.shape
    figure = plt.figure(figsize=(9, 9 * height / width))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture)
    axes.axis("off")


show(redraw(fig_a1, "A.1"))

# %%
# Figure B.1 is an experiment: bit-flipping at the paper's size, ten seeds, from
# ``results/``.

show(redraw(fig_b1, "B.1"))

# %%
# The records themselves. Online error of the widest network, its first and its last
# tenth, under SGD and with continual backprop from half-way on.

import numpy as np  # noqa: E402

from empirical.bitflip.records import cells  # noqa: E402

found = cells("paper")
width = max(width for width, _ in found)
for method in ("sgd", "switch"):
    cell = found[width, method]
    _, errors = cell.bins()
    tenth = errors.shape[1] // 10
    early, late = errors[:, :tenth].mean(1), errors[:, -tenth:].mean(1)
    print(f"width {width}, {method:<6}, {len(cell.seeds)} seeds:", end=" ")
    print(f"early {early.mean():.3f}, late {late.mean():.3f}")
    assert np.isfinite(errors).all()
    assert (late.mean() > 2 * early.mean()) == (method == "sgd")

# %%
# From a shell, into ``figures/``; and the runs behind B.1 anew (each experiment's
# ``--help`` says what its presets cost):
#
# .. code-block:: console
#
#    python -m paper_figs A.1 B.1
#    python -m paper_figs --all --out elsewhere
#    python -m empirical bitflip --preset smoke --workers 2
