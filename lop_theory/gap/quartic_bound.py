"""The quartic gap bound   ρ² − K(ρ)² ≥ λ_φ ρ²(1 − ρ²),   λ_φ = 1 − a_1²,   for −1 ≤ ρ ≤ 1.

[gap: Lemma A.1] [gap-sharp] [gap-parity]. Proof: with t = |ρ| and g(t) = ct + (1 − c)t², |K(ρ)| ≤ g(t), and
t² − g(t)² − (1 − c)t²(1 − t²) = c(1 − c)t²(1 − t)² ≥ 0. So the slack is at least cλρ²(1 − |ρ|)², strictly positive on
0 < |ρ| < 1 when 0 < λ < 1, and λ is the best constant that depends on c alone (the kernel g itself attains it as ρ →
1).
"""

from lop_theory.balls import arb, ipow, precision
from lop_theory.gap.kernel import Kernel, value


def gap(kern: Kernel, rho: arb) -> arb:
    """ρ² − K(ρ)²; at ρ = −1 it is 1 − K(−1)² = 4E(1)O(1), with E and O the even and odd part of K  [gap-parity]."""
    with precision(kern.expansion.bits + 16):
        return ipow(rho, 2) - ipow(value(kern, rho), 2)


def bound(kern: Kernel, rho: arb) -> arb:
    """λ_φ ρ²(1 − ρ²)."""
    with precision(kern.expansion.bits + 16):
        square = ipow(rho, 2)
        return kern.strength * square * (1 - square)
