"""What the page's own programs start from: the catalogue as formulas, with certified λ and κ."""

from copy import deepcopy
from functools import cache
from typing import Any

from lop_theory.activations import CATALOGUE, Activation, activation
from lop_theory.balls import arb, lower_decimal, upper_decimal
from lop_theory.gap import correlation_kernel, sharp_constant

_DIGITS = 8


def activations() -> dict[str, Any]:
    """Label → formula, λ and κ as pairs of decimals, for every nonlinear activation of the catalogue."""
    return deepcopy(_activations())


@cache
def _activations() -> dict[str, Any]:
    found = (activation(name) for name in CATALOGUE)
    return {act.label: row for act in found if (row := _row(act)) is not None}


def _row(act: Activation) -> dict[str, Any] | None:
    kern = correlation_kernel(act.expr)
    if kern.expansion.linear:
        return None
    sharp = sharp_constant(kern).value
    return {"formula": str(act.expr), "lambda": _ends(kern.strength), "kappa": _ends(sharp)}


def _ends(ball: arb) -> list[str]:
    return [lower_decimal(ball, _DIGITS), upper_decimal(ball, _DIGITS)]
