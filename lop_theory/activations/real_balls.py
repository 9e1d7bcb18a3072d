"""A formula on real balls: an enclosure of φ over every ball of arguments, removable singularities included."""

from collections.abc import Callable

from lop_theory.activations.ball_table import BALLS
from lop_theory.activations.expression import Expr
from lop_theory.activations.lowering import lower
from lop_theory.activations.singularities import real_quotient
from lop_theory.balls import arb

REAL = BALLS._replace(quotient=real_quotient)


def real_function(expr: Expr) -> Callable[[arb], arb]:
    """φ on real balls, at the precision in force now."""
    return lower(expr, REAL)
