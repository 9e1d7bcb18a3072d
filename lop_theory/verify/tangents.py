"""Checker of κ's enclosure by one tangent and one witness   [gap-kappa-branches]."""

from collections.abc import Iterator

from lop_theory.activations import activation
from lop_theory.balls import arb, fmpq, precision
from lop_theory.gap import sharp_constant, standard_kernel
from lop_theory.gap.certificate import certify
from lop_theory.gap.enclosure import tangent
from lop_theory.verify.finding import Finding, decided

_NAMES = ("relu", "tanh", "gelu", "silu", "erf", "elu", "softplus", "abs", "sin", "hardswish", "softsign")
_TESTED = "tested"


def gap_kappa_branches(examples: int) -> Iterator[Finding]:
    """low ≤ κ ≤ high in whole numbers, against κ by the branches of ``gap.kappa`` in balls   [gap-kappa-branches]."""
    for name in _NAMES[: max(4, examples)]:
        kern = standard_kernel(activation(name).expr)
        certificate, sharp = certify(kern), sharp_constant(kern).value
        found = tangent(certificate)
        with precision(256):
            low, high = (arb(fmpq(end, 10**certificate.decimals)) for end in (found.low, found.high))
            holds = decided(low <= sharp <= high, sharp < low or sharp > high)
        yield Finding("paper", holds, _TESTED, f"{name}: {float(low):.6f} <= kappa <= {float(high):.6f}")
