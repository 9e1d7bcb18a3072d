"""Figure A.3: decorrelation strength against frozen probability, for every activation."""

from pathlib import Path

import numpy as np

from lop_theory.activations.catalogue import CATALOGUE, activation
from lop_theory.balls import fmpq
from lop_theory.errors import InvalidInput
from lop_theory.gap.kernel import correlation_kernel
from lop_theory.hermite.expansion import expand
from lop_theory.tension.frozen import standardised_probability
from paper_figs.style import panels, save

SCALES = [fmpq(1, 2), fmpq(1), fmpq(2), fmpq(4)]
BIASES = [fmpq(k, 2) for k in range(-6, 7)]
EPSILON = fmpq(1, 4)
MONOTONE = (
    "relu leaky_relu elu selu celu softplus sigmoid logsigmoid tanh hardtanh hardsigmoid relu6 softsign softshrink "
    "tanhshrink erf arctan cube relu_squared prelu rrelu very_leaky_relu smooth_leaky crelu_positive crelu_negative "
    "clipped_relu hardtanh_range squareplus softplus_tau snake star_relu"
).split()
"""Continuous and monotone, as the floor asks."""


def points(name: str) -> list[tuple[float, float]]:
    """(λ, P(frozen) standardised) over the grid of scales and biases."""
    found: list[tuple[float, float]] = []
    for scale in SCALES:
        for bias in BIASES:
            try:
                expr = activation(name, scale=scale, bias=bias).expr
                strength = correlation_kernel(expr, 2).strength
            except InvalidInput:  # constant to working precision after modulation, such as relu6 far to the right
                continue
            found.append((float(strength), float(standardised_probability(expr, EPSILON))))
    return found


def draw(stem: Path) -> str:
    figure, axes = panels(1, 2, size=(6.2, 3.6))
    nonlinear = [n for n in CATALOGUE if not expand(activation(n).expr, 2).linear]
    groups = (
        ("continuous monotone activations", [n for n in nonlinear if n in MONOTONE]),
        ("other activations", [n for n in nonlinear if n not in MONOTONE]),
    )
    colours = [*_palette()]
    for ax, (title, names) in zip(axes[0], groups, strict=True):
        for i, name in enumerate(names):
            data = np.array(points(name))
            ax.plot(*data.T, marker="os^Dv"[i // 10], markersize=2.6, linestyle="", color=colours[i % 10], label=name)
        ax.set(title=title, xlabel=r"decorrelation strength $\lambda$", xlim=(-0.02, 1.02), ylim=(-0.03, 1.03))
        ax.legend(
            fontsize=6,
            frameon=False,
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            handletextpad=0.1,
            ncols=2,
            columnspacing=0.8,
        )
    strength = np.linspace(0, 1, 400)
    floor = 1 - 4 * np.sqrt(1 - strength)
    axes[0][0].plot(strength[floor > 0], floor[floor > 0], color="black", linewidth=1)
    axes[0][0].annotate(r"floor $1-\sqrt{1-\lambda}/\varepsilon$", (0.60, 0.06), fontsize=7)
    axes[0][0].set_ylabel(r"P(|$\bar\varphi'$| < 1/4), standardised")
    save(figure, stem)
    return (
        "Decorrelation strength λ against the probability that the standardised unit is frozen, P(|φ̄′(Z)| < 1/4), over "
        f"scales {', '.join(map(str, SCALES))} and biases −3 … 3. Left: continuous monotone activations obey the floor "
        "1 − √(1 − λ)/ε (black), so λ → 1 freezes them. Right: the others; those that are not monotone reach λ ≈ 1 "
        "with almost no frozen mass. Every point from balls."
    )


def _palette() -> list[str]:
    return [f"C{i}" for i in range(10)]
