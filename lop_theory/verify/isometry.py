"""Checkers of projections to isometry (arXiv 2602.08040) and of Muon on the clone manifold: exact in rationals."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lop_theory.balls import fmpq
from lop_theory.graph.scalars import Values, exact
from lop_theory.stability.isometry import MUON_COEFFICIENTS, equitable_residual, odd_polynomial, polar_factor
from lop_theory.verify.finding import Finding, refutes

_COUNTEREXAMPLE, _TESTED = "exact counterexample", "tested"


def _matrix(random: Random, rows: int, columns: int) -> Values:
    return np.array([_rational(random) for _ in range(rows * columns)], dtype=object).reshape(rows, columns)


def _rational(random: Random) -> fmpq:
    return fmpq(random.randint(-4, 4), random.randint(1, 3))


_ROWS, _COLUMNS = (0, 0, 1, 1, 1), (0, 0, 0, 1, 1)


def _equitable(random: Random, rows: Sequence[int], columns: Sequence[int]) -> Values:
    """A rational weight in RE∩CE: block constants plus all rectangle moves, contiguous blocks."""
    constant = _matrix(random, max(rows) + 1, max(columns) + 1)
    weight = constant[np.asarray(rows)][:, np.asarray(columns)].copy()
    for i, (r, below) in enumerate(pairwise(rows)):
        for j, (c, beside) in enumerate(pairwise(columns)):
            if r == below and c == beside:
                weight[i : i + 2, j : j + 2] += _rational(random) * exact([[1, -1], [-1, 1]])
    return weight


def polar(examples: int) -> Iterator[Finding]:
    """The polar factor is the nearest isometry, unique at full rank   [later-polar-factor]."""
    random = Random(7)
    nearest = [_polar_is_nearest(random) for _ in range(examples)]
    yield Finding(
        "paper", all(nearest), _TESTED, f"{examples} products isometry x positive definite, exact: none nearer"
    )
    weights = [
        w for _ in range(examples) if (w := np.array([[random.gauss(0, 1) for _ in range(3)] for _ in range(3)])).any()
    ]
    errors = [_polar_error(w) for w in weights]
    yield Finding("paper", max(errors) < 1e-8, _TESTED, f"QtQ = 1 and QtW symmetric positive: within {max(errors):.0e}")
    tall = exact([["2/3"], ["2/3"], ["1/3"]])
    alike = (tall.T @ tall)[0, 0] == 1 and (tall[0] == tall[1]).all()
    yield Finding("paper", bool(alike), _COUNTEREXAMPLE, "(2/3, 2/3, 1/3): a tall isometry may have equal rows")


def _cayley(random: Random, size: int) -> Values:
    """A random rational rotation (1 − A)(1 + A)⁻¹, A skew."""
    from lop_theory.graph.linear import solve_consistent

    a = _matrix(random, size, size)
    skew, one = a - a.T, exact(np.eye(size, dtype=int))
    columns = [solve_consistent(one + skew, column) for column in one]
    return (one - skew) @ np.stack(columns, axis=1)


def _polar_is_nearest(random: Random) -> bool:
    factor, root, other = _cayley(random, 3), _matrix(random, 3, 3), _cayley(random, 3)
    weight = factor @ (root @ root.T + exact(np.eye(3, dtype=int)))
    found = np.abs(polar_factor(weight.astype(float)) - factor.astype(float)).max() < 1e-9
    near, far = (((q - weight) ** 2).sum() for q in (factor, other))
    return bool(found and (near < far or (factor == other).all()))


def _polar_error(weight: NDArray[Any]) -> float:
    q = polar_factor(weight)
    symmetric = q.T @ weight
    lowest = float(np.linalg.eigvalsh((symmetric + symmetric.T) / 2).min())
    return max(float(np.abs(q.T @ q - np.eye(3)).max()), float(np.abs(symmetric - symmetric.T).max()), -lowest)


def isometry_remedy(examples: int) -> Iterator[Finding]:
    """Projection to isometry does not leave RE∩CE   [later-isometry-remedy]."""
    random = Random(8)
    double = 2 * exact(np.eye(2, dtype=int))
    projected = exact(polar_factor(double.astype(float)))
    clones = (projected == double / fmpq(2)).all() and not equitable_residual(projected, (0, 0), (0, 0)).any()
    detail = "2 I on one block of two projects to I: equal inputs still give two equal units"
    yield refutes(bool(clones), _COUNTEREXAMPLE, detail)
    shapes = ((_ROWS, _COLUMNS), (_ROWS, (0, 0, 1)), ((0, 0, 1), _COLUMNS))
    drawn = [(_equitable(random, *shapes[k % 3]).astype(float), *shapes[k % 3]) for k in range(examples)]
    full = [(w, rows, columns) for w, rows, columns in drawn if np.linalg.cond(w) < 1e6]
    left = max(float(np.abs(equitable_residual(polar_factor(w), r, c)).max()) for w, r, c in full)
    detail = (
        f"polar factors of {len(full)} full-rank weights in RE∩CE (square, tall, wide): residual at most {left:.0e}"
    )
    yield Finding("corrected", left < 1e-8, _TESTED, detail)
    copies = exact([[1, 2, 1], [1, 2, 1], [0, 1, 3]])
    moved = odd_polynomial(odd_polynomial(copies, _TAYLOR), _TAYLOR)
    yield Finding(
        "corrected", bool((moved[0] == moved[1]).all()), _COUNTEREXAMPLE, "Newton-Schulz keeps equal rows equal"
    )
    zero, q = exact(np.zeros((2, 2), dtype=int)), exact([[1, 0], [0, -1]])
    leaves = equitable_residual(q, (0, 0), (0, 0)).any() and not equitable_residual(zero, (0, 0), (0, 0)).any()
    detail = "rank 0: diag(1, -1) is as near as any isometry and leaves RE∩CE: full rank is needed"
    yield Finding("corrected", bool(leaves), _COUNTEREXAMPLE, detail)


_TAYLOR = (fmpq(3, 2), fmpq(-1, 2))  # the Newton–Schulz iteration for the polar factor


def muon(examples: int) -> Iterator[Finding]:
    """Muon's polynomials keep RE∩CE and BC exactly   [later-muon]."""
    random = Random(9)
    coefficients = [fmpq(round(c * 10000), 10000) for c in MUON_COEFFICIENTS]
    steps = [odd_polynomial(_equitable(random, _ROWS, _COLUMNS), coefficients) for _ in range(examples)]
    stays = not any(equitable_residual(w, _ROWS, _COLUMNS).any() for w in steps)
    yield Finding("paper", stays, _TESTED, f"one Newton-Schulz step on {examples} weights in RE∩CE: residual exactly 0")
    tied = [_matrix(random, 2, 2)[np.asarray(_ROWS)][:, np.asarray(_COLUMNS)] for _ in range(examples)]
    constant = all(_block_constant(odd_polynomial(w, coefficients)) for w in tied)
    yield Finding("paper", constant, _TESTED, f"and on {examples} block-constant ones: block-constant exactly")
    one, weight = (0, 0, 0), exact([[2, -1, -1], [-3, 1, 2], [1, 0, -1]])
    signs = np.sign(weight.astype(float))
    differ = equitable_residual(signs, one, one).any() and not equitable_residual(weight, one, one).any()
    detail = "signs of [[2, -1, -1], [-3, 1, 2], [1, 0, -1]] leave RE∩CE: entrywise updates do not keep it"
    yield Finding("paper", bool(differ), _COUNTEREXAMPLE, detail)


def _block_constant(weight: Values) -> bool:
    return all(
        weight[i, j] == weight[_ROWS.index(r), _COLUMNS.index(c)]
        for i, r in enumerate(_ROWS)
        for j, c in enumerate(_COLUMNS)
    )
