"""Metrics of units, from their column sums and their Gram matrix."""

import math
from collections.abc import Generator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

DEAD_VALUE, DEAD_SHARE = 1e-7, 0.95
DUPLICATE_COSINE = 0.95
SATURATED_RATIO, SATURATED_SHARE = 1e-4, 0.99
PIECE = 2**17  # numbers a piece: it stays in the processor's cache
LEAST, MOST = 1024, 4096  # samples a piece: worth a matrix product's overhead, and few enough to add up exactly
BLOCK = 64
UNIT_ROUNDOFF = 2.0**-53


class Columns(NamedTuple):
    """Column statistics of H: samples, Σh², means, means of |H|, share of near-zeros a unit."""

    samples: int
    squares: Tensor
    mean: Tensor
    mean_abs: Tensor
    near_zero: Tensor

    @property
    def finite(self) -> bool:
        """Whether all activations, and their squares, are finite."""
        return bool(torch.isfinite(self.squares).all())


class Moments(NamedTuple):
    """Sufficient statistics of H: samples, Gram matrix HᵀH, column means, column means of |H|, share of near-zeros a
    unit, and the longest chain of rounded additions in an entry of the Gram matrix."""

    samples: int
    gram: Tensor
    mean: Tensor
    mean_abs: Tensor
    near_zero: Tensor
    chain: int

    @property
    def squares(self) -> Tensor:
        """Σh² of every unit."""
        return self.gram.diagonal()

    @property
    def columns(self) -> Columns:
        """All but products of different units."""
        return Columns(self.samples, self.squares, self.mean, self.mean_abs, self.near_zero)

    @property
    def finite(self) -> bool:
        """Whether all activations, and their squares, are finite."""
        return self.columns.finite


def flatten_units(activations: Tensor, channel_dim: int = -1) -> Tensor:
    """Samples × units."""
    return activations.movedim(channel_dim, -1).reshape(-1, activations.shape[channel_dim])


def pieces(activations: Tensor, channel_dim: int = -1) -> Generator[Tensor]:
    """Units × samples a few samples at a time, so that what is computed on a piece stays in the processor's cache."""
    rows, units = activations.detach(), activations.shape[channel_dim]
    length = _length(activations, units)
    if channel_dim == 1 and rows.dim() > 2:
        positions = max(1, rows[0, 0].numel())
        for images in rows.reshape(len(rows), units, -1).split(max(1, length // positions)):
            together = images[0] if len(images) == 1 else images.movedim(1, 0).reshape(units, -1)
            yield from together.split(length, 1)
    else:
        for piece in flatten_units(rows, channel_dim).split(length):
            yield piece.T


def _length(activations: Tensor, units: int) -> int:
    """Samples a piece."""
    if activations.device.type != "cpu":
        return max(1, activations.numel() // units)
    return min(MOST, max(LEAST, PIECE // units))


def moments(activations: Tensor, channel_dim: int = -1) -> Moments:
    """One sweep in float64, piece by piece, so that no large copy is made."""
    units, device = activations.shape[channel_dim], activations.device
    gram = torch.zeros(units, units, dtype=torch.float64, device=device)
    sums = torch.zeros(3, units, dtype=torch.float64, device=device)
    count = longest = 0
    for piece in pieces(activations, channel_dim):
        wide = torch.empty(piece.shape, dtype=torch.float64, device=device).copy_(piece)
        add_upper(gram, wide)
        _add_sums(sums, wide)
        count, longest = count + 1, max(longest, wide.shape[1])
    n = activations.numel() // units
    mirror(gram)
    mean, mean_abs, near_zero = sums / n
    return Moments(n, gram, mean, mean_abs, near_zero, count + longest)


def column_sums(activations: Tensor, channel_dim: int = -1) -> Columns:
    """As :func:`moments`, without products of different units."""
    units, device = activations.shape[channel_dim], activations.device
    squares, *_ = sums = torch.zeros(4, units, dtype=torch.float64, device=device)
    for piece in pieces(activations, channel_dim):
        wide = torch.empty(piece.shape, dtype=torch.float64, device=device).copy_(piece)
        squares += torch.linalg.vector_norm(wide, dim=1).square()
        _add_sums(sums[1:], wide)
    n = activations.numel() // units
    return Columns(n, squares, *(sums[1:] / n))


def _add_sums(sums: Tensor, wide: Tensor) -> None:
    """Σh, Σ|h| and the number of near-zeros of every unit of a piece, which is overwritten."""
    sums[0] += wide.sum(1)
    sums[1] += wide.abs_().sum(1)
    sums[2] += torch.lt(wide, DEAD_VALUE, out=wide).sum(1)  # into floats: comparing into booleans is slower


def add_upper(gram: Tensor, piece: Tensor) -> None:
    """gram += piece pieceᵀ in its upper triangle (and what lies in the blocks on the diagonal): half the work."""
    for start in range(0, len(gram), BLOCK):
        gram[start : start + BLOCK, start:].addmm_(piece[start : start + BLOCK], piece[start:].T)


def mirror(gram: Tensor) -> None:
    """The upper triangle into the lower one, in its own memory and by blocks that stay in the cache."""
    for start in range(0, len(gram), BLOCK):
        rows = gram[start : start + BLOCK, start:]
        corner, right = rows[:, :BLOCK], rows[:, BLOCK:]
        corner.copy_(corner.triu() + corner.triu(1).T)
        gram[start + BLOCK :, start : start + BLOCK] = right.T


def dead(m: Moments | Columns) -> Tensor:
    """Units with |H_ij| < 1e-7 on more than 95 % of samples (mask)."""
    return m.near_zero > DEAD_SHARE


def dormant(m: Moments | Columns, tau: float = 0.0) -> Tensor:
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
    labels = own = torch.arange(len(linked), dtype=torch.int32, device=similar.device)
    for _ in range(len(linked)):
        lowest = torch.where(linked, labels[None, :], len(linked)).amin(1)
        if torch.equal(lowest, labels):
            break
        labels = lowest
    return int((labels == own).sum())  # a component's label is its lowest member


def saturated(h: Tensor, gradient: Tensor, channel_dim: int = -1, *, mean_abs: Tensor | None = None) -> Tensor:
    """Units with |∂L/∂H_ij| / max(mean_i|H_ij|, 1e-12) < 1e-4 on more than 99 % of samples (mask)."""
    scale = column_sums(h, channel_dim).mean_abs if mean_abs is None else mean_abs
    return small_gradients(gradient, scale, channel_dim) / (gradient.numel() // len(scale)) > SATURATED_SHARE


def small_gradients(gradient: Tensor, mean_abs: Tensor, channel_dim: int = -1) -> Tensor:
    """Number of samples of every unit with |∂L/∂H_ij| < 1e-4 max(mean|H_j|, 1e-12)."""
    limit = (SATURATED_RATIO * mean_abs.clamp_min(1e-12)).to(gradient.dtype)[:, None]
    small = torch.zeros_like(mean_abs)
    for piece in pieces(gradient, channel_dim):
        size = piece.abs()
        small += torch.lt(size, limit, out=size).sum(1)
    return small


class Spectrum(NamedTuple):
    """Singular values of the units that are not zero everywhere, and how far their squares may be off."""

    values: Tensor
    error: float


def spectrum(h: Tensor, m: Moments | None = None) -> Spectrum:
    """From the smaller Gram matrix in float64."""
    m = m or moments(h)
    if m.samples >= len(m.gram):
        return spectrum_of(m.gram, m.chain)
    wide = h.double()
    gram = torch.zeros(len(h), len(h), dtype=torch.float64, device=h.device)
    add_upper(gram, wide)
    mirror(gram)
    return spectrum_of(gram, h.shape[1])


def spectrum_of(gram: Tensor, chain: int) -> Spectrum:
    """Of a Gram matrix G in float64. With chains of k rounded additions its entries are off by at most γ_k |H|ᵀ|H|, in
    norm at most γ_k tr G, and the eigenvalues by n u ‖G‖ more."""
    alive = gram.diagonal() > 0
    gram = gram if bool(alive.all()) else gram[alive][:, alive]
    squares = torch.linalg.eigvalsh(gram).clamp_min(0)
    top, trace = (float(squares.max()), float(gram.trace())) if len(squares) else (0.0, 0.0)
    return Spectrum(squares.sqrt(), 2 * UNIT_ROUNDOFF * (chain * trace + len(squares) * top))


def singular_values(h: Tensor, m: Moments | None = None) -> Tensor:
    """Singular values of the units that are not zero everywhere."""
    return spectrum(h, m).values


def effective_rank(values: Tensor, error: float = 0.0) -> tuple[float, float]:
    """exp of the entropy of singular values normalised to sum 1 (not centred), and a bound on its error if the squares
    of the singular values are exact to ``error``.

    Then σ is exact to min(√error, error/σ) (Weyl), so p changes by at most T = Σ min(√error, error/σ_i)/Σσ_i in total
    variation and the entropy by at most T log n + H₂(T) (Fannes–Audenaert); for T ≥ 1/2 the bound is trivial, n.
    """
    sigma, n = values.double().cpu().numpy(), len(values)
    total = float(sigma.sum())
    if total == 0.0:
        return 0.0, 0.0
    p = sigma[sigma > 0] / total
    rank = math.exp(-float(p @ np.log(p)))
    variation = float((error / np.maximum(sigma, max(error, 1e-300) ** 0.5)).sum()) / total
    if variation >= 0.5:
        return rank, float(n)
    if variation == 0.0:
        return rank, 0.0
    change = variation * math.log(n) - variation * math.log(variation) - (1 - variation) * math.log1p(-variation)
    return rank, min(float(n), rank * math.expm1(change))


def stable_rank(values: Tensor) -> float:
    """‖H‖_F² / ‖H‖₂²; 0 for a zero matrix."""
    top = float(values.max()) if len(values) else 0.0
    return float((values / top).square().sum()) if top > 0 else 0.0


def participation_ratio(m: Moments) -> float:
    """‖H̃‖_F⁴ / tr((H̃ᵀH̃)²) of centred H̃ (the paper's text calls it stable rank); 0 for constant activations."""
    return participation(_centred(m), m.columns)


def participation(centred: Tensor, sums: Columns) -> float:
    """The same from either Gram matrix of H̃: both have one Frobenius norm."""
    trace = float(variances(sums).clamp_min(0).sum())
    return 1 / float((centred / trace).square().sum()) if trace > 1e-14 * float(sums.squares.sum()) else 0.0


def variances(sums: Columns) -> Tensor:
    """Σ(h − mean)² of every unit."""
    return torch.addcmul(sums.squares, sums.mean, sums.mean, value=-sums.samples)


def renyi2_rank(m: Moments) -> float:
    """(tr C)² / ‖C‖_F² of the correlation matrix C over the units that vary; 0 if none does."""
    scale = standardising(m.columns)
    return renyi2(_centred(m) * scale[:, None] * scale, scale)


def renyi2(correlation: Tensor, scale: Tensor) -> float:
    """The same from either Gram matrix of the standardised units, ``scale`` 0 for those that do not vary."""
    count = int((scale > 0).sum())
    return count**2 / float(correlation.square().sum()) if count else 0.0


def standardising(sums: Columns) -> Tensor:
    """1/√Σ(h − mean)² of every unit; 0 where it does not vary."""
    variance = variances(sums)
    varying = variance > 1e-14 * sums.squares.clamp_min(1e-300)
    return torch.where(varying, variance, 1.0).rsqrt() * varying


def _centred(m: Moments) -> Tensor:
    """Gram matrix of H minus its column means."""
    return torch.addr(m.gram, m.mean, m.mean, alpha=-m.samples)
