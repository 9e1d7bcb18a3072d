"""Everything that is known of one activation: λ, c, κ, K(−1) and the certificate of the quartic gap bound."""

import time
from typing import NamedTuple

from lop_theory.activations.catalogue import Activation
from lop_theory.balls import arb
from lop_theory.gap.certificate import Certificate, certify, verdict
from lop_theory.gap.kappa import Kappa, sharp_constant
from lop_theory.gap.kernel import Kernel, at_minus_one, correlation_kernel
from lop_theory.verdict import Verdict


class Analysis(NamedTuple):
    """Everything the command prints about one activation."""

    activation: Activation
    kern: Kernel
    kappa: Kappa
    minus_one: arb
    certificate: Certificate
    verdict: Verdict
    seconds: float


def analyse(act: Activation, *, digits: int = 15, coefficients: int = 20) -> Analysis:
    """λ, c, κ, K(−1) and the certificate of ``act``. Raises ``InvalidInput`` as ``hermite.expand`` does."""
    start = time.perf_counter()
    kern = correlation_kernel(act.expr, coefficients, digits)
    certificate = certify(kern)
    sharp, minus_one = sharp_constant(kern), at_minus_one(kern)
    seconds = time.perf_counter() - start
    return Analysis(act, kern, sharp, minus_one, certificate, verdict(certificate), seconds)
