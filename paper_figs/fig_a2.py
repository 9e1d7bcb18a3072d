"""Figure A.2: decorrelation strength and frozen probability against the bias of relu and the gain of tanh."""

from math import pi
from pathlib import Path
from typing import Any

import numpy as np

from lop_theory.balls import fmpq
from lop_theory.tension.modulation import unit
from paper_figs.style import panels, save

EPSILON = "0.01"
BIASES = [fmpq(k, 8) for k in range(-24, 25)]
GAINS = [fmpq(int(1000 * 10**e), 1000) for e in np.linspace(-1, 1.7, 46)]


def draw(stem: Path) -> str:
    figure, axes = panels(1, 2, size=(4.2, 3.2))
    _curve(
        axes[0][0],
        [float(int(b.p) / int(b.q)) for b in BIASES],
        [unit("relu", bias=b, epsilon=EPSILON) for b in BIASES],
    )
    axes[0][0].set(title="relu(x + b)", xlabel="bias $b$")
    _curve(
        axes[0][1], [float(int(a.p) / int(a.q)) for a in GAINS], [unit("tanh", scale=a, epsilon=EPSILON) for a in GAINS]
    )
    axes[0][1].set(title="tanh(a x)", xlabel="gain $a$", xscale="log")
    axes[0][1].axhline(1 - 2 / pi, color="gray", linewidth=0.8)
    axes[0][1].annotate(r"$1-2/\pi$: the limit of $\lambda$", (0.11, 1 - 2 / pi + 0.015), fontsize=8, color="gray")
    axes[0][0].legend(fontsize=8, frameon=False)
    save(figure, stem)
    return (
        "Decorrelation strength λ (solid) and probability that the unit is frozen, P(|derivative| < 0.01) in "
        "three readings, for Z ~ N(0,1). Left: relu "
        "against its bias; λ falls from 1 to 0. Right: tanh against its gain; λ rises to 1 − 2/π ≈ 0.363, not to "
        "1. Every point from balls."
    )


def _curve(axes: Any, places: list[float], units: list[Any]) -> None:
    axes.plot(places, [float(u.strength) for u in units], color="black", label=r"$\lambda$")
    readings = (("raw", "tab:red", "-"), ("modulated", "tab:purple", "--"), ("standardised", "tab:green", ":"))
    for reading, colour, line in readings:
        values = [float(getattr(u.frozen, reading)) for u in units]
        axes.plot(places, values, color=colour, linestyle=line, label=f"P(frozen), {reading}")
    axes.set_ylim(-0.02, 1.02)
