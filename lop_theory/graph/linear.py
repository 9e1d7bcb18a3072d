"""Solving small consistent linear systems, exact or in floats."""

import numpy as np

from lop_theory.graph.scalars import Values, is_exact, zeros_like_kind


def solve_consistent(matrix: Values, right: Values) -> Values:
    """One solution of ``matrix @ x = right``, which must have one; free unknowns are zero in exact arithmetic."""
    if not is_exact(matrix):
        return np.linalg.lstsq(matrix, right, rcond=1e-12)[0]
    rows, pivots = _reduced(np.column_stack([matrix, right]))
    x = zeros_like_kind((matrix.shape[1],), matrix)
    for row, pivot in enumerate(pivots):
        x[pivot] = rows[row, -1]
    return x


def _reduced(augmented: Values) -> tuple[Values, list[int]]:
    """Reduced row echelon form and pivot columns (the last column is never a pivot)."""
    rows, pivots = augmented.copy(), list[int]()
    for column in range(rows.shape[1] - 1):
        below = np.flatnonzero(rows[len(pivots) :, column] != 0)
        if not below.size:
            continue
        top, found = len(pivots), len(pivots) + int(below[0])
        rows[[top, found]] = rows[[found, top]]
        rows[top] = rows[top] / rows[top, column]
        for k in range(len(rows)):
            if k != top and rows[k, column] != 0:
                rows[k] = rows[k] - rows[k, column] * rows[top]
        pivots.append(column)
    return rows, pivots
