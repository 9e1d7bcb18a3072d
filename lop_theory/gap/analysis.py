"""Everything that is known of one activation: λ, c, κ, K(−1) and the certificate of the quartic gap bound."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from lop_theory.activations.catalogue import Activation
from lop_theory.balls import arb
from lop_theory.gap.certificate import Certificate, certify, verdict
from lop_theory.gap.kappa import Kappa, sharp_constant
from lop_theory.gap.kernel import Kernel, at_minus_one, correlation_kernel
from lop_theory.verdict import Undecided, Verdict


class Analysis(NamedTuple):
    """Everything the command prints about one activation."""

    activation: Activation
    kern: Kernel
    kappa: Kappa
    minus_one: arb
    certificate: Certificate
    verdict: Verdict
    seconds: float


class Known(NamedTuple):
    """What an unfinished analysis knows."""

    kern: Kernel | None
    verdict: Verdict = Undecided("the time is spent (--seconds)")
    minus_one: arb | None = None


def _activation(function: Activation | str | Callable[[Any], Any]) -> Activation:
    if isinstance(function, Activation):
        return function
    from lop_theory.activations.tracing import as_activation

    return as_activation(function)


def analyse(
    function: Activation | str | Callable[[Any], Any],
    *,
    digits: int = 15,
    coefficients: int = 20,
    progress: Callable[[Known], object] | None = None,
) -> Analysis:
    """λ, c, κ, K(−1) and the certificate of an activation: one of ours, a catalogue name, a formula, or a Python
    callable such as ``torch.nn.GELU()``, ``np.tanh`` or a lambda (traced, see ``activations.tracing``).

    ``progress`` hears what is known after each stage. Raises ``InvalidInput`` as ``hermite.expand`` does.
    """
    start, tell = time.perf_counter(), progress or (lambda _: None)
    act = _activation(function)
    kern = correlation_kernel(act.expr, coefficients, digits)
    tell(Known(kern))
    certificate = certify(kern)
    tell(Known(kern, verdict(certificate)))
    minus_one = at_minus_one(kern)
    tell(Known(kern, verdict(certificate), minus_one))
    sharp = sharp_constant(kern)
    seconds = time.perf_counter() - start
    return Analysis(act, kern, sharp, minus_one, certificate, verdict(certificate), seconds)
