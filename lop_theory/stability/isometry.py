"""Projection of a weight to the nearest isometry, and the matrix polynomials of Muon, on the clone manifold.
[later-polar-factor] [later-muon]

With P, Q the averages over row and column blocks, W is in RE∩CE iff PW = WQ. That is closed under sums, products
WWᵀW and limits, so RE∩CE holds with W also p(WWᵀ)W, hence Muon's steps and the polar factor W(WᵀW)^{−1/2}, the
nearest isometry in the Frobenius norm (unique at full rank). A square isometry has no equal rows, a tall one may; but
equitable clones survive: rows differ, values do not. (arXiv 2602.08040 proposes the projection as a remedy.)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lop_theory.errors import InvalidInput
from lop_theory.graph.scalars import exact

MUON_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def polar_factor(weight: NDArray[Any], *, tolerance: float = 1e-12) -> NDArray[np.float64]:
    """argmin ‖Q − W‖_F over QᵀQ = I (or QQᵀ = I for a wide W) = UVᵀ for W = UΣVᵀ.

    Raises ``InvalidInput`` if a singular value is at most ``tolerance`` × the largest: the minimiser is not unique.
    """
    left, values, right = np.linalg.svd(np.asarray(weight, dtype=np.float64), full_matrices=False)
    if not values.size or values.min() <= tolerance * values.max():
        smallest = float(values.min()) if values.size else 0.0
        raise InvalidInput(
            "weight", smallest, "must have full rank: else the nearest isometry is not unique", "perturb it first"
        )
    return left @ right


def odd_polynomial(weight: Any, coefficients: Sequence[Any]) -> Any:
    """Σ_k c_k (WWᵀ)^k W, by Horner's rule; floats, tensors, or exact rationals with rational coefficients."""
    gram = weight @ weight.T
    value = coefficients[-1] * weight
    for c in reversed(coefficients[:-1]):
        value = gram @ value + c * weight
    return value


def newton_schulz(weight: Any, coefficients: Sequence[Any] = MUON_COEFFICIENTS, steps: int = 5) -> Any:
    """``steps`` times the odd polynomial, from a weight of norm at most 1: Muon's direction (towards the polar
    factor; its singular values end near 1, not at 1).
    """
    for _ in range(steps):
        weight = odd_polynomial(weight, coefficients)
    return weight


def equitable_residual(weight: NDArray[Any], rows: Sequence[int], columns: Sequence[int]) -> NDArray[Any]:
    """PW − WQ for the blocks ``rows`` (targets) and ``columns`` (sources): 0 iff W is in RE∩CE; exact on rationals."""
    return _average(weight, rows) - _average(weight.T, columns).T


def _average(matrix: NDArray[Any], blocks: Sequence[int]) -> NDArray[Any]:
    """Each row replaced by the mean of the rows of its block."""
    labels = np.unique(np.asarray(blocks), return_inverse=True)[1]
    if len(labels) != len(matrix):
        raise InvalidInput("blocks", len(labels), f"must label all {len(matrix)} units", "one block a row or column")
    counts = np.bincount(labels)
    share = exact(counts) if matrix.dtype == object else counts
    sums = np.stack([matrix[labels == k].sum(axis=0) for k in range(len(counts))])
    return (sums / share[:, None])[labels]
