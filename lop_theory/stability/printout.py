"""An analysis as text and as JSON."""

import math
from collections.abc import Sequence
from typing import Any

from lop_theory.stability.analysis import Analysis
from lop_theory.stability.departure import Departure
from lop_theory.stability.krylov import Ritz

STEPS = ("at_least", "here", "along", "measured")
MEANINGS = {
    "saddle": "the loss falls along some normal directions and rises along others",
    "unstable": "the loss falls along normal directions and rises along none",
    "stable but for flat directions": "no normal direction has negative curvature",
    "flat": "no curvature in any normal direction: a plateau",
    None: "not decided: the eigenvalues computed are of one sign (give more --products, or --dense)",
}


def printed(found: Analysis) -> str:
    """One paragraph a question."""
    return "\n".join([*_place(found), *_spectrum(found), *_flat(found), *_escape(found), *_steps(found)])


def _place(found: Analysis) -> list[str]:
    where = "on the manifold" if found.on_manifold else "BESIDE the manifold: what follows is no property of it"
    return [
        f"parameters  {found.parameters:,}, of them normal to the clone manifold {found.normal:,}",
        f"loss        {found.loss:.6g}, gradient {found.gradient:.3g}, normal share {found.tangent:.1e}: {where}",
    ]


def _spectrum(found: Analysis) -> list[str]:
    spectrum, counts = found.spectrum, found.inertia
    how = "all of it" if spectrum.complete else "Lanczos"
    end = "" if spectrum.converged else ", NOT converged"
    least = "" if counts.exact else "at least "
    zero = f", {counts.zero:,} zero (at most {found.zero:.0e} in size)" if counts.exact else ""
    return [
        f"spectrum    on the normal space ({how}, {spectrum.products:,} Hessian products{end}); residuals in brackets",
        f"  lowest    {_pairs(spectrum.lowest)}",
        f"  highest   {_pairs(spectrum.highest)}",
        f"inertia     {least}{counts.negative:,} negative{zero}, {least}{counts.positive:,} positive",
        f"kind        {found.kind or 'undecided'}: {MEANINGS[found.kind]}",
    ]


def _pairs(pairs: tuple[Ritz, ...]) -> str:
    return "  ".join(f"{pair.value:.4g} ({pair.residual:.0e})" for pair in pairs)


def _flat(found: Analysis) -> list[str]:
    flat = found.flat
    lines = [
        f"flat        {flat.redistributions:,} redistributions change no loss: largest |curvature| on them "
        f"{flat.form:.0e} of the largest in any direction"
    ]
    if flat.kernel is not None:
        lines.append(
            f"  kernel    {flat.kernel:,} directions with Hv = 0: {flat.redistributed:,} of them redistributions, "
            f"{flat.inactive:,} on weights that nothing depends on, {flat.unexplained:,} not explained"
        )
    return lines


def _escape(found: Analysis) -> list[str]:
    if found.escape is None:
        return ["escape      no weight reads the clones: nothing can part them"]
    bent, mixing = found.escape.curvature, found.escape.mixing
    if mixing <= found.zero:
        words = "none to second order: moving weight between clones mixes with no other direction"
        return [f"escape      {words} (|Hv| = {mixing:.0e}, at most {found.zero:.0e})"]
    if bent >= -found.zero:
        return [f"escape      not told from rounding: curvature {bent:.1g}, mixing |Hv| = {mixing:.3g}"]
    way = f"curvature {bent:.4g} along the escape direction (mixing |Hv| = {mixing:.3g})"
    return [f"escape      {way}"]


def _steps(found: Analysis) -> list[str]:
    if not found.departures:
        return ["steps       not measured: there is no escape direction on the manifold here"]
    settings = found.settings
    lines = [
        f"steps       of gradient descent from {settings.start:g} to {settings.radius:g} of the weights' norm, step "
        f"size {found.step_size:.3g}, from {settings.along} of each seed",
        "  seed      at least   curvature here   along the manifold   measured",
    ]
    for seed, one in zip(found.seeds, found.departures, strict=True):
        cells = [_count(steps, settings.steps) for steps in one.steps]
        lines.append(f"  {seed:<9} {cells[0]:>8} {cells[1]:>16} {cells[2]:>20} {cells[3]:>10}")
    means = [_spread([one.steps[k] for one in found.departures]) for k in range(4)]
    lines.append(f"  mean±std  {means[0]:>8} {means[1]:>16} {means[2]:>20} {means[3]:>10}")
    last = [one.predictable for one in found.departures if one.predictable is not None]
    why = "  –         not predicted: after step {} rounding decides (this step size multiplies it)"
    return [*lines, *map(why.format, last[:1])]


def _count(steps: float, limit: int) -> str:
    return "–" if math.isnan(steps) else f"{steps:.0f}" if math.isfinite(steps) else f"> {limit}"


def _spread(values: Sequence[float]) -> str:
    if not all(math.isfinite(v) for v in values):
        return "–"
    mean = sum(values) / len(values)
    return f"{mean:.0f}±{math.sqrt(sum((v - mean) ** 2 for v in values) / len(values)):.0f}"


def as_json(found: Analysis) -> dict[str, Any]:
    """Everything but vectors; steps that were not reached are null."""
    spectrum = found.spectrum
    ends = {
        name: [{"value": p.value, "residual": p.residual} for p in pairs]
        for name, pairs in (("lowest", spectrum.lowest), ("highest", spectrum.highest))
    }
    escape = found.escape and {"curvature": found.escape.curvature, "mixing": found.escape.mixing}
    return {
        "parameters": found.parameters,
        "normal": found.normal,
        "loss": found.loss,
        "gradient": found.gradient,
        "normal_share_of_gradient": found.tangent,
        "on_manifold": found.on_manifold,
        "spectrum": {
            **ends, "complete": spectrum.complete, "converged": spectrum.converged, "products": spectrum.products
        },
        "zero": found.zero,
        "inertia": found.inertia._asdict(),
        "flat": found.flat._asdict(),
        "kind": found.kind,
        "escape": escape,
        "step_size": found.step_size,
        "departures": [_departure(s, d) for s, d in zip(found.seeds, found.departures, strict=True)],
    }  # fmt: skip


def _departure(seed: int, one: Departure) -> dict[str, Any]:
    steps = {n: v if math.isfinite(v) else None for n, v in zip(STEPS, one.steps, strict=True)}
    return {"seed": seed, **steps, "predictable_until": one.predictable}
