"""Effective ranks of a correlation matrix and what a nonlinearity adds   [rank-gain: Theorem 3.1] [rank-equality]
[entrywise].

    er₂(C) = (tr C)²/‖C‖_F²,   P(C) = Σ_{i≠j} ρ_ij²(1 − ρ_ij²)/‖C‖_F²,   er₂(K(C))/er₂(C) ≥ 1 + λ_φ P(C).

The inequality needs n ≥ 1, a unit diagonal and |entries| ≤ 1; neither symmetry nor PSD. Matrices are nested
sequences: of rationals (``fmpq``, ``Fraction`` or int), with exact results, or of floats (NumPy arrays included),
with float results.

Equality (corrected): the ratio is 1 iff K(ρ_ij)² = ρ_ij² for all i ≠ j, that is iff φ is linear, or every ρ_ij ∈ {0,
1} — and −1 is allowed besides exactly when φ̄ is odd or even. The paper allows −1 always; relu at ρ = −1 refutes it
(gap ≈ 0.78).
"""

from collections.abc import Callable, Sequence
from typing import Any

from lop_theory.balls import fmpq
from lop_theory.errors import InvalidInput

Matrix = Sequence[Sequence[Any]]


def read_correlation(matrix: Matrix) -> list[list[Any]]:
    """The matrix as rows of ``fmpq`` (all entries rational) or floats.

    Raises ``InvalidInput`` unless it is square, non-empty, with unit diagonal and entries in [−1, 1].
    """
    rows = [list(row) for row in matrix]
    if not rows or any(len(row) != len(rows) for row in rows):
        raise InvalidInput(
            "matrix", [len(row) for row in rows], "must be square with n ≥ 1", "give n rows of n entries"
        )
    rows = _one_type(rows)
    for i, row in enumerate(rows):
        for j, entry in enumerate(row):
            if not -1 <= entry <= 1 or (i == j and entry != 1):
                raise InvalidInput(
                    f"matrix[{i}][{j}]",
                    str(entry),
                    "must lie in [-1, 1], and be 1 on the diagonal",
                    "normalise the covariance",
                )
    return rows


def _one_type(rows: list[list[Any]]) -> list[list[Any]]:
    """All entries as ``fmpq`` if every one is rational, else all as floats."""
    exact = all(_is_rational(entry) for row in rows for entry in row)
    return [[_fmpq(entry) if exact else _float(entry) for entry in row] for row in rows]


def _is_rational(entry: Any) -> bool:
    return isinstance(entry, (int, fmpq)) or (hasattr(entry, "numerator") and not hasattr(entry, "dtype"))


def _fmpq(entry: Any) -> fmpq:
    return entry if isinstance(entry, fmpq) else fmpq(int(entry.numerator), int(entry.denominator))


def _frobenius(rows: list[list[Any]]) -> Any:
    return sum((entry * entry for row in rows for entry in row), 0 * rows[0][0])


def renyi2_rank(matrix: Matrix) -> Any:
    """er₂(C) = n²/‖C‖_F² for a unit diagonal; between 1 (all ±1) and n (identity)."""
    rows = read_correlation(matrix)
    return len(rows) ** 2 / _frobenius(rows)


def potential(matrix: Matrix) -> Any:
    """The decorrelation potential P(C); zero iff every off-diagonal entry is 0 or ±1."""
    rows = read_correlation(matrix)
    total = sum(
        (e * e * (1 - e * e) for i, row in enumerate(rows) for j, e in enumerate(row) if i != j), 0 * rows[0][0]
    )
    return total / _frobenius(rows)


def shannon_rank(matrix: Matrix) -> float:
    """exp(−Σ p_i log p_i), p = eigenvalues/trace (float). Raises ``InvalidInput`` unless C is symmetric PSD to
    rounding.
    """
    import numpy as np

    array = np.array([[_float(e) for e in row] for row in read_correlation(matrix)])
    if not np.allclose(array, array.T, atol=1e-12):
        raise InvalidInput("matrix", array.shape, "must be symmetric for the Shannon rank", "use renyi2_rank")
    eigenvalues = np.linalg.eigvalsh(array)
    if eigenvalues[0] < -1e-10 * len(array):
        raise InvalidInput("matrix", float(eigenvalues[0]), "has a negative eigenvalue", "give a PSD matrix")
    p = np.clip(eigenvalues, 0, None) / len(array)
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


def _float(entry: Any) -> float:
    return int(entry.p) / int(entry.q) if isinstance(entry, fmpq) else float(entry)


def apply_kernel(matrix: Matrix, kernel: Callable[[Any], Any]) -> list[list[Any]]:
    """K(C) entrywise, the correlation matrix of φ̄(z) for z ~ N(0, C)   [entrywise]."""
    rows = read_correlation(matrix)
    return _one_type([[e if i == j else kernel(e) for j, e in enumerate(row)] for i, row in enumerate(rows)])


def rank_gain(matrix: Matrix, kernel: Callable[[Any], Any]) -> Any:
    """er₂(K(C))/er₂(C) = ‖C‖_F²/‖K(C)‖_F²."""
    rows = read_correlation(matrix)
    before, after = _frobenius(rows), _frobenius(apply_kernel(rows, kernel))
    return before / after if isinstance(after, fmpq) else _float(before) / after


def gain_bound(matrix: Matrix, strength: Any) -> Any:
    """1 + λ P(C), the lower bound of ``rank_gain``   [rank-gain]."""
    return 1 + strength * potential(matrix)


def polynomial_kernel(squares: Sequence[Any]) -> Callable[[Any], Any]:
    """ρ ↦ Σ_{k≥1} squares[k−1] ρ^k, a kernel of a polynomial activation: squares ≥ 0 with sum 1.

    Raises ``InvalidInput`` otherwise.
    """
    if any(s < 0 for s in squares) or abs(_float(sum(squares, 0 * squares[0]) - 1)) > 1e-12:
        raise InvalidInput("squares", [str(s) for s in squares], "must be ≥ 0 and sum to 1", "divide by their sum")

    def kernel(rho: Any) -> Any:
        total = 0 * rho
        for square in reversed(squares):
            total = (total + square) * rho
        return total

    return kernel


def is_fixed_ratio(matrix: Matrix, *, linear: bool, pure_parity: bool) -> bool:
    """The corrected equality condition of [rank-equality]: whether er₂(K(C)) = er₂(C)."""
    allowed = (-1, 0, 1) if pure_parity else (0, 1)
    rows = read_correlation(matrix)
    return linear or all(e in allowed for i, row in enumerate(rows) for j, e in enumerate(row) if i != j)


def linear_step(weights: Any, matrix: Any) -> Any:
    """corr(W C Wᵀ), the first arrow of a layer; it may lower the rank. Only the second arrow, K(·), gains
    [linear-step].

    ``weights`` (m × n) and ``matrix`` (n × n) are float arrays. Raises ``InvalidInput`` if a row of W gives zero
    variance.
    """
    import numpy as np

    covariance = np.asarray(weights) @ np.asarray(matrix) @ np.asarray(weights).T
    deviations = np.sqrt(np.diag(covariance))
    if not (deviations > 0).all():
        raise InvalidInput("weights", weights, "gives a unit of zero variance", "remove rows that vanish on C")
    correlation = covariance / np.outer(deviations, deviations)
    np.fill_diagonal(correlation, 1.0)
    return np.clip(correlation, -1.0, 1.0)
