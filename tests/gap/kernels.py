"""Random kernels Σ a_k² ρ^k in exact rationals, and the activations that have a certificate."""

from fractions import Fraction

from hypothesis import strategies as st

from lop_theory.activations.catalogue import CATALOGUE

NONLINEAR = [n for n in CATALOGUE if n != "identity"]

correlations = st.fractions(-1, 1, max_denominator=40)


@st.composite
def kernels(draw) -> list[Fraction]:
    """a_1², a_2², … ≥ 0 with sum 1, exact."""
    weights = draw(st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any))
    return [Fraction(w, sum(weights)) for w in weights]


def series(squares: list[Fraction], rho: Fraction) -> Fraction:
    return sum((s * rho**k for k, s in enumerate(squares, 1)), Fraction(0))
