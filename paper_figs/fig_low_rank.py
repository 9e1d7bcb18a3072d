"""The low-rank figure: what gradient flow conserves in a deep linear network, and what a missing direction makes
unreachable.
"""

from pathlib import Path

import torch
from torch import Tensor

from lop_theory.stability.low_rank import Regression, deficient, descend_linear, least_loss
from paper_figs.style import panels, save

RATES = (1e-2, 5e-3, 2.5e-3, 1.25e-3)
TIME = 2.0
SEEDS = range(5)
STEPS = 1500


def network(seed: int) -> tuple[list[Tensor], list[Regression]]:
    """5 → 4 → 4 → 3 with random weights, and two tasks of 12 samples."""
    draw = torch.Generator().manual_seed(seed)
    weights = [torch.randn(*s, generator=draw, dtype=torch.float64) / 2 for s in ((4, 5), (4, 4), (3, 4))]
    pairs = [[torch.randn(d, 12, generator=draw, dtype=torch.float64) for d in (5, 3)] for _ in range(2)]
    return weights, [Regression(*pair) for pair in pairs]


def draw(stem: Path) -> str:
    torch.set_num_threads(1)
    figure, axes = panels(1, 2, size=(3.8, 3.0))
    left, right = axes[0]
    for seed in SEEDS:
        weights, tasks = network(seed)
        found = [descend_linear(weights, tasks, rate, round(TIME / rate / 2)) for rate in RATES]
        left.loglog(RATES, [max(run.drift) for run in found], "o-", color=f"C{seed}", markersize=3)
        left.loglog(RATES, [max(run.unexplained) for run in found], "x:", color=f"C{seed}", markersize=4)
    left.set(xlabel="step size", ylabel="norm", title="conserved quantity: drift (o), less the identity (x)")
    left.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    left.minorticks_off()
    weights, tasks = network(0)
    axes_of_units = torch.eye(4).double()
    for missing in range(3):
        start = weights
        for direction in axes_of_units[:missing]:
            start = deficient(start, 0, direction)
        losses = descend_linear(start, tasks[:1], 0.1, STEPS).losses
        right.plot(losses, color=f"C{missing}", label=f"units missing: {missing}")
        right.axhline(least_loss(tasks[0], 4 - missing), color=f"C{missing}", linestyle="--", linewidth=0.8)
    oblique = weights
    for direction in (axes_of_units[0] + axes_of_units[1], axes_of_units[2] - axes_of_units[3]):
        oblique = deficient(oblique, 0, direction)
    losses = descend_linear(oblique, tasks[:1], 0.1, STEPS).losses
    right.plot(losses, ":", color="C3", label="2 oblique directions\nmissing: rounding")
    right.set(xlabel="step", ylabel="loss", xscale="log", ylim=(0.4, 0.7), title="what missing directions cost")
    right.legend(fontsize=7, frameon=False, loc="upper right")
    save(figure, stem)
    return (
        "Deep linear networks 5 → 4 → 4 → 3 under gradient descent. Left: how far ‖W₂ᵀW₂ − W₁W₁ᵀ‖ of adjacent layers "
        f"(the larger of the two), which gradient flow conserves, has moved after time {TIME:g} on two tasks one after "
        "the other, by step size (dots, one line a seed: proportional to the step size), and what is left of it when "
        "η² Σ (G₂ᵀG₂ − G₁G₁ᵀ) is taken off (crosses: rounding). Right: training loss with hidden directions that "
        "neither enter nor leave; dashed: the least loss of any linear map of the rank that is left (Eckart and "
        "Young), which no step goes below while they are missing. Units stay at exact zeros; oblique directions "
        "(dotted) are missing to rounding only, and from this saddle rounding grows until descent has left."
    )
