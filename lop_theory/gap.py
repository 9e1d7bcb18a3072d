"""The quartic gap bound   ρ² − K(ρ)² ≥ λ_φ ρ²(1 − ρ²),   λ_φ = 1 − a_1²,   for −1 ≤ ρ ≤ 1.

[gap: Lemma A.1] [gap-sharp] [gap-parity]. Proof: with t = |ρ| and g(t) = ct + (1 − c)t², |K(ρ)| ≤ g(t), and
t² − g(t)² − (1 − c)t²(1 − t²) = c(1 − c)t²(1 − t)² ≥ 0. So the slack is at least cλρ²(1 − |ρ|)², strictly positive on
0 < |ρ| < 1 when 0 < λ < 1, and λ is the best constant that depends on c alone (the kernel g itself attains it as ρ →
1).

``python -m lop_theory.gap --act tanh`` certifies one activation, ``--all`` the catalogue, ``--formula`` your own.
"""

import time
from typing import NamedTuple

from lop_theory.activations import Activation
from lop_theory.balls import arb, ipow, precision
from lop_theory.certificate import Certificate, certify, verdict
from lop_theory.kappa import Kappa, kappa
from lop_theory.kernel import Kernel, at_minus_one, kernel, value
from lop_theory.verdict import Verdict


def gap(kern: Kernel, rho: arb) -> arb:
    """ρ² − K(ρ)²; at ρ = −1 it is 1 − K(−1)² = 4E(1)O(1), with E and O the even and odd part of K  [gap-parity]."""
    with precision(kern.expansion.bits + 16):
        return ipow(rho, 2) - ipow(value(kern, rho), 2)


def bound(kern: Kernel, rho: arb) -> arb:
    """λ_φ ρ²(1 − ρ²)."""
    with precision(kern.expansion.bits + 16):
        square = ipow(rho, 2)
        return kern.strength * square * (1 - square)


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
    kern = kernel(act.expr, coefficients, digits)
    certificate = certify(kern)
    sharp, minus_one = kappa(kern), at_minus_one(kern)
    seconds = time.perf_counter() - start
    return Analysis(act, kern, sharp, minus_one, certificate, verdict(certificate), seconds)


if __name__ == "__main__":
    from lop_theory.cli import run
    from lop_theory.gap_command import main

    run(main)
