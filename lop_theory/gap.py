"""The quartic gap bound   ρ² − K(ρ)² ≥ λ_φ ρ²(1 − ρ²),   λ_φ = 1 − a_1²,   for −1 ≤ ρ ≤ 1.

[gap: Lemma A.1] [gap-sharp] [gap-parity]. Proof: with t = |ρ| and g(t) = ct + (1 − c)t², |K(ρ)| ≤ g(t), and
t² − g(t)² − (1 − c)t²(1 − t²) = c(1 − c)t²(1 − t)² ≥ 0. So the slack is at least cλρ²(1 − |ρ|)², strictly positive on
0 < |ρ| < 1 when 0 < λ < 1, and λ is the best constant that depends on c alone (the kernel g itself attains it as ρ →
1).

``python -m lop_theory.gap --act tanh`` certifies one activation, ``--all`` the catalogue, ``--formula`` your own.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

from lop_theory.activations import CATALOGUE, Activation, activation, from_formula
from lop_theory.balls import arb, ipow, precision
from lop_theory.certificate import Certificate, certify, verdict
from lop_theory.errors import InvalidInput
from lop_theory.hermite import require_digits
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


def _chosen(options: "object") -> Iterator[Activation]:
    """The activations that the command line names."""
    given = vars(options)
    parameters = dict(_split(item) for item in given["param"])
    modulation = {"scale": given["scale"], "bias": given["bias"]}
    if given["formula"] is not None and parameters:
        raise InvalidInput("param", next(iter(parameters)), "goes with --act, not with --formula", "write the number")
    if given["all"] and parameters:
        raise InvalidInput("param", next(iter(parameters)), "goes with --act, not with --all", "name one activation")
    if given["formula"] is not None:
        yield from_formula(given["formula"], **modulation)
    for name in CATALOGUE if given["all"] else given["act"]:
        yield activation(name, **modulation, **parameters)


def _split(item: str) -> tuple[str, str]:
    name, equals, number = item.partition("=")
    if not equals:
        raise InvalidInput("param", item, "must be NAME=NUMBER", "such as --param slope=0.1")
    return name.strip(), number.strip()


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code (0 certified, 1 not certified or undecided; bad input raises)."""
    from lop_theory import gap_command

    options = gap_command.parser().parse_args(arguments)
    if options.check is not None:
        return gap_command.check_file(options.check)
    require_digits(options.digits)
    if not (options.all or options.act or options.formula is not None):
        raise InvalidInput("act", None, "nothing to do", "give --act NAME, --formula TEXT, --all or --check FILE")
    chosen = list(_chosen(options))
    gap_command.require_paths(options, len(chosen))
    return gap_command.report((analyse(act, digits=options.digits) for act in chosen), options)


if __name__ == "__main__":
    from lop_theory.cli import run

    run(main)
