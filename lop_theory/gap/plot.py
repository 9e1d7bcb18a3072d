"""The gap ρ² − K² and its bound λρ²(1 − ρ²) as a picture (floats; the certificate is the rigorous object)."""

import io
from typing import Any

from lop_theory.balls import arb, precision
from lop_theory.errors import InvalidInput
from lop_theory.gap.analysis import Analysis
from lop_theory.gap.kernel import Kernel, standard_kernel
from lop_theory.gap.quartic_bound import bound, gap

POINTS = 401


def curves(kern: Kernel) -> tuple[list[float], list[float], list[float]]:
    """(ρ, gap, bound) on [−1, 1] as floats, from ball midpoints; ρ = ±1 included."""
    with precision(kern.expansion.bits):
        places = [arb(2 * i - POINTS + 1) / (POINTS - 1) for i in range(POINTS)]
        return (
            [float(rho) for rho in places],
            [float(gap(kern, rho)) for rho in places],
            [float(bound(kern, rho)) for rho in places],
        )


def picture(analysis: Analysis, kind: str) -> bytes:
    """The picture as PNG, PDF or SVG bytes. Raises ``InvalidInput`` if Matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InvalidInput("plot", kind, "needs Matplotlib", "pip install 'lop-theory[figures]'") from None
    kern = standard_kernel(analysis.activation.expr)
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes: Any = figure.subplots()
    draw_gap(axes, kern, analysis.activation.label)
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=160, metadata=_METADATA[kind])
    return stream.getvalue()


def draw_gap(axes: Any, kern: Kernel, title: str) -> None:
    """Gap and bound on one pair of axes."""
    rho, gaps, bounds = curves(kern)
    axes.fill_between(rho, bounds, gaps, color="tab:blue", alpha=0.12, linewidth=0)
    axes.plot(rho, gaps, color="tab:blue", label=r"gap $\rho^2-K(\rho)^2$")
    axes.plot(rho, bounds, color="tab:orange", linestyle="--", label=r"bound $\lambda\rho^2(1-\rho^2)$")
    axes.set(title=f"{title}, $\\lambda$ = {float(kern.strength):.4f}", xlabel=r"correlation $\rho$", xlim=(-1, 1))
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper center", fontsize=8, frameon=False)


_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None},
    "svg": {"Date": None},
}
