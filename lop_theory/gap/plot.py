"""The gap ρ² − K² and its bound λρ²(1 − ρ²) as a picture (floats; the certificate is the rigorous object)."""

import io
from typing import Any

from lop_theory.activations.expression import Expr
from lop_theory.balls import arb, fmpq, parse_fmpq, precision
from lop_theory.errors import InvalidInput
from lop_theory.gap.analysis import Analysis
from lop_theory.gap.kernel import Kernel, standard_kernel, value
from lop_theory.gap.quartic_bound import bound, gap
from lop_theory.tension.monotone import strength_at

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


def picture(analysis: Analysis, kind: str, *, card: bool = False) -> bytes:
    """The gap and its bound, or with ``card`` φ, K, λ under scale and bias too, as PNG, PDF or SVG bytes. Raises
    ``InvalidInput`` if Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InvalidInput("plot", kind, "needs Matplotlib", "pip install 'lop-theory[figures]'") from None
    kern = standard_kernel(analysis.activation.expr)
    figure = Figure(figsize=(9.4, 6.4) if card else (5.2, 3.6), layout="constrained")
    if card:
        draw_card(figure.subplots(2, 2), kern, analysis)
    else:
        draw_gap(figure.subplots(), kern, analysis.activation.label)
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


def draw_card(axes: Any, kern: Kernel, analysis: Analysis) -> None:
    """φ, K, the gap with its bound, and λ under scale and bias, on four pairs of axes."""
    (phi, kernel), (gaps, strengths) = axes
    x = [8 * i / (POINTS - 1) - 4 for i in range(POINTS)]
    phi.plot(x, _values(analysis.activation.expr, x), color="tab:blue")
    phi.set(title=analysis.activation.label, xlabel=r"$x$", ylabel=r"$\varphi(x)$", xlim=(-4, 4))
    rho, values = kernel_curve(kern)
    kernel.plot(rho, values, color="tab:blue", label=r"$K(\rho)$")
    kernel.plot(rho, rho, color="grey", linewidth=0.8, linestyle=":", label=r"$\rho$")
    kernel.set(title="correlation kernel", xlabel=r"correlation $\rho$", xlim=(-1, 1), ylim=(-1.05, 1.05))
    kernel.legend(loc="upper left", fontsize=8, frameon=False)
    draw_gap(gaps, kern, "gap and bound")
    _draw_strengths(strengths, analysis.activation.expr)


def kernel_curve(kern: Kernel) -> tuple[list[float], list[float]]:
    """(ρ, K(ρ)) on [−1, 1] as floats, from ball midpoints."""
    with precision(kern.expansion.bits):
        places = [arb(2 * i - POINTS + 1) / (POINTS - 1) for i in range(POINTS)]
        return [float(rho) for rho in places], [float(value(kern, rho)) for rho in places]


def _values(expr: Expr, x: list[float]) -> list[float]:
    from lop_theory.activations.arrays import numpy_function

    found = numpy_function(expr)
    return [float(found(point)) for point in x]


def _draw_strengths(axes: Any, expr: Expr) -> None:
    """λ(φ(ax)) over log₂ a and λ(φ(x + b)) over b; points at which φ is constant or not integrable are left out."""
    for label, places, at in (
        (r"$\lambda$ of $\varphi(2^t x)$", [fmpq(k, 4) for k in range(-8, 9)], _scaled),
        (r"$\lambda$ of $\varphi(x + t)$", [fmpq(k, 4) for k in range(-12, 13)], _shifted),
    ):
        points = [(float(arb(t)), found) for t in places if (found := at(expr, t)) is not None]
        axes.plot([t for t, _ in points], [s for _, s in points], marker=".", label=label)
    axes.set(title="decorrelation strength", xlabel=r"$t$", ylabel=r"$\lambda$", ylim=(-0.02, 1.02))
    axes.legend(loc="best", fontsize=8, frameon=False)


def _scaled(expr: Expr, t: fmpq) -> float | None:
    return _strength(expr, parse_fmpq(f"{2 ** float(arb(t)):.6f}"), fmpq(0))


def _shifted(expr: Expr, t: fmpq) -> float | None:
    return _strength(expr, fmpq(1), t)


def _strength(expr: Expr, scale: fmpq, bias: fmpq) -> float | None:
    try:
        return float(strength_at(expr, scale, bias))
    except InvalidInput:
        return None


_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None},
    "svg": {"Date": None},
}
