"""Figure A.1: the gap against its bound (top), the rank gain against its bound (bottom)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lop_theory.activations.catalogue import activation
from lop_theory.balls import arb
from lop_theory.gap.kernel import Kernel, standard_kernel, value
from lop_theory.gap.plot import draw_gap
from lop_theory.gap.rank import gain_bound, potential, rank_gain
from paper_figs.style import panels, save

ACTIVATIONS = ("relu", "tanh", "gelu", "silu", "sign")
SIZE, FEATURES, STEPS, SEED = 24, 8, 25, 20251000


def correlation_path() -> list[np.ndarray]:
    """Correlation matrices (1 − s)I + sR for s from 0 to 1, R a dense random correlation matrix of rank 8 plus "
    "noise."""
    rng = np.random.default_rng(SEED)
    factors = rng.normal(size=(SIZE, FEATURES)) @ np.diag(np.linspace(3, 0.3, FEATURES))
    factors /= np.linalg.norm(factors, axis=1, keepdims=True)
    dense = np.clip(factors @ factors.T, -1, 1)
    np.fill_diagonal(dense, 1.0)
    return [(1 - s) * np.eye(SIZE) + s * dense for s in np.linspace(0, 1, STEPS)]


def _float_kernel(kern: Kernel) -> Callable[[float], float]:
    places = np.linspace(-1, 1, 2001)
    table = np.array([float(value(kern, arb(float(x)))) for x in places])
    return lambda rho: float(np.interp(rho, places, table))


def draw(stem: Path) -> str:
    figure, axes = panels(2, len(ACTIVATIONS), size=(2.9, 2.6))
    path = correlation_path()
    for column, name in enumerate(ACTIVATIONS):
        kern = standard_kernel(activation(name).expr)
        draw_gap(axes[0][column], kern, name)
        _draw_gain(axes[1][column], kern, path)
    save(figure, stem)
    return (
        f"Top: gap ρ² − K(ρ)² (solid) and the bound λρ²(1 − ρ²) (dashed) for {', '.join(ACTIVATIONS)}; an "
        f"activation with both parities keeps a "
        f"positive gap at ρ = −1. Bottom: rank gain er₂(K(C))/er₂(C) (solid) and 1 + λP(C) (dashed) against the "
        f"potential P(C) along "
        f"C = (1 − s)I + sR, R a random {SIZE}×{SIZE} correlation matrix (seed {SEED}). Kernels from Hermite "
        f"balls; drawn from midpoints."
    )


def _draw_gain(axes: Any, kern: Kernel, path: list[np.ndarray]) -> None:
    kernel, strength = _float_kernel(kern), float(kern.strength)
    potentials = [potential(c) for c in path]
    axes.plot(potentials, [rank_gain(c, kernel) for c in path], color="tab:blue", label=r"er$_2(K(C))$/er$_2(C)$")
    axes.plot(
        potentials,
        [gain_bound(c, strength) for c in path],
        color="tab:orange",
        linestyle="--",
        label=r"$1+\lambda P(C)$",
    )
    axes.set(xlabel="potential $P(C)$", ylabel="rank gain")
    axes.legend(fontsize=8, frameon=False)
