"""Activations φ as formulas, and what analysis knows of them before any integral is taken.

A formula is an immutable expression tree in x. Reading order: expression (nodes) → entries (the table of the usual
activations) → vocabulary, formula (what people type) → catalogue (φ(ax + b) by name) → tracing (Python callables) →
symbolic (derivatives, parity) → lowering (one walk over the tree for every kind of number: ball_table, taylor_series,
singularities (removable ones), real_balls, complex_boxes, rationals, arrays for NumPy and PyTorch, symbols for SymPy) →
zeros (where a switch changes sign) → piecewise (kinks and jumps) → ranges, polynomial_range, tails, strip (bounds on
rays, at ±∞ and in the complex plane) → gaussian (the weight w(z) = e^{−z²/2}/√(2π)).
"""

from typing import TYPE_CHECKING

from lop_theory.activations.catalogue import CATALOGUE, Activation, activation, from_formula
from lop_theory.activations.expression import Expr, to_text
from lop_theory.activations.formula import parse
from lop_theory.activations.piecewise import Piece, breakpoints, flat_pieces, pieces
from lop_theory.activations.real_balls import real_function
from lop_theory.activations.symbolic import derivative, parity
from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from lop_theory.activations.arrays import numpy_function, torch_function
    from lop_theory.activations.rationals import exact_function
    from lop_theory.activations.tracing import as_activation, trace

__all__ = [
    "CATALOGUE",
    "Activation",
    "Expr",
    "Piece",
    "activation",
    "as_activation",
    "breakpoints",
    "derivative",
    "exact_function",
    "flat_pieces",
    "from_formula",
    "numpy_function",
    "parity",
    "parse",
    "pieces",
    "real_function",
    "to_text",
    "torch_function",
    "trace",
]

_HOMES = {"numpy_function": "arrays", "torch_function": "arrays", "as_activation": "tracing", "trace": "tracing"}
__getattr__ = lazily(__name__, {"exact_function": "rationals", **_HOMES})
