"""All metrics of one layer: from HᵀH, or from HHᵀ where there are less than half as many samples as units.

Effective rank, participation ratio and Rényi-2 rank need HᵀH only up to its eigenvalues or its Frobenius norm, which
HHᵀ shares; duplicates need exact cosines only of the units that a screen leaves (:mod:`lop_theory.metrics.screening`).
Eigenvalues are always those of the smaller one.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lop_theory.errors import InvalidInput
from lop_theory.metrics.screening import directions, resembling
from lop_theory.metrics.units import (
    DUPLICATE_COSINE,
    PIECE,
    Columns,
    Moments,
    Spectrum,
    add_upper,
    column_sums,
    dead,
    dormant,
    duplicates,
    effective_rank,
    flatten_units,
    mirror,
    moments,
    participation,
    participation_ratio,
    renyi2,
    renyi2_rank,
    saturated,
    spectrum,
    spectrum_of,
    stable_rank,
    standardising,
)


class LayerMetrics(NamedTuple):
    """Metrics of one layer; shares are in [0, 1]. ``batch`` is the number of samples (saturation depends on it).

    All are NaN but the two counts if an activation is NaN or infinite, or so large that squares overflow.
    """

    units: int
    batch: int
    dead: float
    duplicate_as_paper: float
    duplicate_as_coded: float
    duplicate_clusters: float
    saturated: float
    dormant: float
    effective_rank: float
    effective_rank_error: float
    stable_rank: float
    participation_ratio: float
    renyi2_rank: float


class _Products(NamedTuple):
    """What depends on products of different units."""

    duplicates: tuple[Tensor, Tensor, int]
    spectrum: Spectrum
    participation_ratio: float
    renyi2_rank: float


def layer_metrics(
    h: Tensor, gradient: Tensor | None = None, channel_dim: int = -1, *, dormant_tau: float = 0.0
) -> LayerMetrics:
    """All metrics of activations ``h``; saturation needs ∂L/∂H of the same shape (NaN without).

    Raises ``InvalidInput`` if there are no activations.
    """
    found, sums = measured(h, channel_dim, dormant_tau)
    return found if gradient is None or not sums.finite else with_saturation(found, gradient, channel_dim, sums)


def measured(h: Tensor, channel_dim: int, dormant_tau: float) -> tuple[LayerMetrics, Columns]:
    """All metrics but saturation (NaN if activations are not finite), and the column sums."""
    h = h.detach()
    if not h.numel():
        raise InvalidInput("activations", tuple(h.shape), "have no entries", "give at least one sample of one unit")
    units = h.shape[channel_dim]
    few = 2 * (h.numel() // units) < units
    m = None if few else moments(h, channel_dim)
    sums = column_sums(h, channel_dim) if m is None else m.columns
    if not sums.finite:
        return LayerMetrics(units, sums.samples, *[math.nan] * (len(LayerMetrics._fields) - 2)), sums
    flat = flatten_units(h, channel_dim) if sums.samples < units else h
    return _metrics(_from_samples(flat, sums) if m is None else _from_units(flat, m), sums, dormant_tau), sums


def _metrics(found: _Products, sums: Columns, dormant_tau: float) -> LayerMetrics:
    any_other, later, clusters = found.duplicates
    rank, error = effective_rank(*found.spectrum)
    share = torch.stack([dead(sums), any_other, later, dormant(sums, dormant_tau)]).double().mean(1).tolist()
    return LayerMetrics(
        units=len(sums.mean),
        batch=sums.samples,
        dead=share[0],
        duplicate_as_paper=share[1],
        duplicate_as_coded=share[2],
        duplicate_clusters=clusters,
        saturated=float("nan"),
        dormant=share[3],
        effective_rank=rank,
        effective_rank_error=error,
        stable_rank=stable_rank(found.spectrum.values),
        participation_ratio=found.participation_ratio,
        renyi2_rank=found.renyi2_rank,
    )


def _from_units(flat: Tensor, m: Moments) -> _Products:
    return _Products(duplicates(m), spectrum(flat, m), participation_ratio(m), renyi2_rank(m))


def _from_samples(flat: Tensor, sums: Columns) -> _Products:
    scale = standardising(sums)
    plain, standard = torch.zeros(2, len(flat), len(flat), dtype=torch.float64, device=flat.device)
    width = max(1, PIECE // len(flat))
    for part in torch.arange(flat.shape[1], device=flat.device).split(width):
        wide = flat[:, part].double()
        add_upper(plain, wide)
        add_upper(standard, (wide - sums.mean[part]) * scale[part])
    mirror(plain)
    mirror(standard)
    return _Products(
        _duplicates(flat, sums),
        spectrum_of(plain, flat.shape[1]),
        participation(_centred(plain), sums),
        renyi2(standard, scale),
    )


def _centred(gram: Tensor) -> Tensor:
    """J G J with J = I − 11ᵀ/n: that of the samples minus their mean."""
    means = gram.mean(0)
    return gram - means[:, None] - means[None, :] + means.mean()


def _duplicates(flat: Tensor, sums: Columns) -> tuple[Tensor, Tensor, int]:
    """As :func:`~lop_theory.metrics.units.duplicates`, from products of the units that may be."""
    chosen = resembling(directions(flat), DUPLICATE_COSINE)
    any_other, later = torch.zeros(2, len(sums.mean), dtype=torch.bool, device=flat.device)
    if not len(chosen):
        return any_other, later, 0
    any_other[chosen], later[chosen], clusters = duplicates(moments(flat[:, chosen]))
    return any_other, later, clusters


def with_saturation(found: LayerMetrics, gradient: Tensor, channel_dim: int, sums: Columns) -> LayerMetrics:
    """``found`` with the share of saturated units; ``gradient`` is ∂L/∂H."""
    mask = saturated(gradient, gradient, channel_dim, mean_abs=sums.mean_abs)
    return found._replace(saturated=float(mask.double().mean()))
