"""Metrics of one layer, from its column sums and its Gram matrix."""

import math
from collections.abc import Generator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

DEAD_VALUE, DEAD_SHARE = 1e-7, 0.95
DUPLICATE_COSINE = 0.95
SATURATED_RATIO, SATURATED_SHARE = 1e-4, 0.99
PIECE = 2**17  # numbers a piece
DEEP = 512  # samples a piece at least, for matrix products worth their overhead
BLOCK = 256


class LayerMetrics(NamedTuple):
    """Metrics of one layer; shares are in [0, 1]. ``batch`` is the number of samples (saturation depends on it)."""

    units: int
    batch: int
    dead: float
    duplicate_as_paper: float
    duplicate_as_coded: float
    duplicate_clusters: int
    saturated: float
    dormant: float
    effective_rank: float
    effective_rank_error: float
    stable_rank: float
    participation_ratio: float
    renyi2_rank: float


class Moments(NamedTuple):
    """Sufficient statistics of H: samples, Gram matrix HᵀH, column means, column means of |H|, share of near-zeros a
    unit."""

    samples: int
    gram: Tensor
    mean: Tensor
    mean_abs: Tensor
    near_zero: Tensor


def flatten_units(activations: Tensor, channel_dim: int = -1) -> Tensor:
    """Samples × units."""
    return activations.movedim(channel_dim, -1).reshape(-1, activations.shape[channel_dim])


def pieces(activations: Tensor, channel_dim: int = -1) -> Generator[Tensor]:
    """Samples × units a few samples at a time, so that what is computed on a piece stays in the processor's cache."""
    rows = activations.detach()
    size = max(PIECE, DEEP * activations.shape[channel_dim])
    count = max(1, size * len(rows) // max(rows.numel(), 1)) if rows.device.type == "cpu" else max(len(rows), 1)
    for piece in rows.split(count):
        yield flatten_units(piece, channel_dim)


def moments(activations: Tensor, channel_dim: int = -1) -> Moments:
    """One sweep in float64, piece by piece, so that no large copy is made."""
    units, device = activations.shape[channel_dim], activations.device
    gram = torch.zeros(units, units, dtype=torch.float64, device=device)
    total, absolute, zero = (torch.zeros(units, dtype=torch.float64, device=device) for _ in range(3))
    for piece in pieces(activations, channel_dim):
        wide = piece.double()
        _add_upper(gram, wide)
        total += wide.sum(0)
        magnitude = wide.abs()
        absolute += magnitude.sum(0)
        zero += (magnitude < DEAD_VALUE).sum(0)
    n = activations.numel() // units
    gram = gram.triu_() + gram.triu(1).T
    return Moments(n, gram, total / n, absolute / n, zero / n)


def _add_upper(gram: Tensor, piece: Tensor) -> None:
    """gram += pieceᵀ piece in its upper triangle (and what lies in the blocks on the diagonal): half the work."""
    for start in range(0, len(gram), BLOCK):
        end = start + BLOCK
        gram[:end, start:end].addmm_(piece[:, :end].T, piece[:, start:end])


def dead(m: Moments) -> Tensor:
    """Units with |H_ij| < 1e-7 on more than 95 % of samples (mask)."""
    return m.near_zero > DEAD_SHARE


def dormant(m: Moments, tau: float = 0.0) -> Tensor:
    """ReDo: mean|h_i| over the layer's mean of it is at most τ (mask). A layer of zeros is dormant."""
    return m.mean_abs <= tau * m.mean_abs.mean()


def cosines(m: Moments) -> Tensor:
    """Cosine similarity between units; 0 with a unit that is zero."""
    norm = m.gram.diagonal().clamp_min(0).sqrt()
    scale = torch.where(norm > 0, 1 / norm.clamp_min(1e-300), torch.zeros_like(norm))
    return m.gram * scale[:, None] * scale[None, :]


def duplicates(m: Moments, threshold: float = DUPLICATE_COSINE) -> tuple[Tensor, Tensor, int]:
    """(units similar to another, units similar to a *later* one as in the authors' code, clusters of at least two
    units)."""
    similar = cosines(m) > threshold
    similar.fill_diagonal_(False)
    return similar.any(1), similar.triu(1).any(1), _clusters(similar)


def _clusters(similar: Tensor) -> int:
    """Connected components with at least two units, by label propagation among the units that resemble another."""
    members = torch.nonzero(similar.any(1)).flatten()
    if not len(members):
        return 0
    linked = similar[members][:, members].fill_diagonal_(True)
    labels = torch.arange(len(linked), dtype=torch.int32, device=similar.device)
    for _ in range(len(linked)):
        lowest = torch.where(linked, labels[None, :], len(linked)).amin(1)
        if torch.equal(lowest, labels):
            break
        labels = lowest
    return int(labels.unique().numel())


def saturated(h: Tensor, gradient: Tensor, channel_dim: int = -1, *, mean_abs: Tensor | None = None) -> Tensor:
    """Units with |∂L/∂H_ij| / max(mean_i|H_ij|, 1e-12) < 1e-4 on more than 99 % of samples (mask)."""
    scale = moments(h, channel_dim).mean_abs if mean_abs is None else mean_abs
    limit = (SATURATED_RATIO * scale.clamp_min(1e-12)).to(gradient.dtype)
    small = torch.zeros_like(scale)
    for piece in pieces(gradient, channel_dim):
        small += (piece.abs() < limit).sum(0)
    return small / (gradient.numel() // len(scale)) > SATURATED_SHARE


def singular_values(h: Tensor, m: Moments | None = None) -> Tensor:
    """From the smaller Gram matrix in float64: absolute error below sqrt(n ε) σ_max, with n the smaller side and ε =
    2.2e-16."""
    m = m or moments(h)
    gram = h.double() @ h.double().T if m.samples < len(m.gram) else m.gram
    return torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()


def effective_rank(values: Tensor) -> tuple[float, float]:
    """exp of the entropy of singular values normalised to sum 1 (not centred), and a bound on its error from the Gram
    matrix.

    Singular values are exact to η = sqrt(n ε) σ_max, so p changes by at most T = n η / Σσ in each direction (total
    variation) and the entropy by at most T log n + H₂(T) (Fannes–Audenaert); for T ≥ 1/2 the bound is the trivial
    one, n.
    """
    sigma, n = values.double().cpu().numpy(), len(values)
    total = float(sigma.sum())
    if total == 0.0:
        return 0.0, 0.0
    p = sigma[sigma > 0] / total
    rank = math.exp(-float(p @ np.log(p)))
    variation = n * (n * 2.3e-16) ** 0.5 * float(sigma.max()) / total
    if variation >= 0.5:
        return rank, float(n)
    change = variation * math.log(n) - variation * math.log(variation) - (1 - variation) * math.log1p(-variation)
    return rank, min(float(n), rank * math.expm1(change))


def stable_rank(values: Tensor) -> float:
    """‖H‖_F² / ‖H‖₂²; 0 for a zero matrix."""
    top = float(values.max())
    return float((values**2).sum()) / top**2 if top > 0 else 0.0


def participation_ratio(m: Moments) -> float:
    """‖H̃‖_F⁴ / tr((H̃ᵀH̃)²) of centred H̃ (the paper's text calls it stable rank); 0 for constant activations."""
    centred = _centred(m)
    squares = float((centred * centred).sum())
    trace = float(centred.diagonal().clamp_min(0).sum())
    return trace**2 / squares if trace > 1e-14 * float(m.gram.diagonal().sum()) else 0.0


def renyi2_rank(m: Moments) -> float:
    """(tr C)² / ‖C‖_F² of the correlation matrix C over the units that vary; 0 if none does."""
    centred = _centred(m)
    variance = centred.diagonal()
    varying = variance > 1e-14 * m.gram.diagonal().clamp_min(1e-300)
    count = int(varying.sum())
    if not count:
        return 0.0
    scale = torch.where(varying, variance, 1.0).rsqrt() * varying
    correlation = centred * scale[:, None] * scale
    return count**2 / float((correlation * correlation).sum())


def _centred(m: Moments) -> Tensor:
    """Gram matrix of H minus its column means."""
    return torch.addr(m.gram, m.mean, m.mean, alpha=-m.samples)


def layer_metrics(
    h: Tensor, gradient: Tensor | None = None, channel_dim: int = -1, *, dormant_tau: float = 0.0
) -> LayerMetrics:
    """All metrics of activations ``h``; saturation needs ∂L/∂H of the same shape (NaN without)."""
    m = moments(h, channel_dim)
    any_other, later, clusters = duplicates(m)
    values = singular_values(flatten_units(h.detach(), channel_dim) if m.samples < len(m.gram) else h, m)
    rank, error = effective_rank(values)
    share = torch.stack([dead(m), any_other, later, dormant(m, dormant_tau)]).double().mean(1).tolist()
    return LayerMetrics(
        units=h.shape[channel_dim],
        batch=m.samples,
        dead=share[0],
        duplicate_as_paper=share[1],
        duplicate_as_coded=share[2],
        duplicate_clusters=clusters,
        saturated=_saturated_share(h, gradient, channel_dim, m),
        dormant=share[3],
        effective_rank=rank,
        effective_rank_error=error,
        stable_rank=stable_rank(values),
        participation_ratio=participation_ratio(m),
        renyi2_rank=renyi2_rank(m),
    )


def _saturated_share(h: Tensor, gradient: Tensor | None, channel_dim: int, m: Moments) -> float:
    if gradient is None:
        return float("nan")
    return float(saturated(h, gradient, channel_dim, mean_abs=m.mean_abs).double().mean())
