"""When gradient noise attracts to an invariant set, saddles of the flow included.  [later-stochastic-collapse]

One normal coordinate x, dx = −L′(x) dt + √(2D(x)) dB with D(0) = 0 (hence D′(0) = 0) and L′(0) = 0. Near 0, log|x|
drifts at rate −α,

    α = L″(0) + ½D″(0)  (Itô),     α = L″(0)  (Stratonovich),

since the scale function has s′(x) = exp ∫L′/D = x^{2L″(0)/D″(0) + o(1)}: s(0+) is finite, and 0 is reached in the
limit with positive probability (never in finite time), iff that exponent exceeds −1 (Feller). So noise attracts to a
saddle with L″(0) < 0 once D″(0) > 2|L″(0)|. At α = 0 second derivatives do not decide. Paths are not moments:
E|x|^p may grow while almost every path collapses. With several normal dimensions the top Lyapunov exponent of the
linearisation decides, and no α along single directions does: noise along the sphere drives outwards. For SGD that
exponent is ``sgd_lyapunov_exponent``. (arXiv 2306.04251; Itô there.)
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lop_theory.errors import InvalidInput
from lop_theory.verdict import Fails, Holds, Undecided, Verdict

Reading = Literal["ito", "stratonovich"]


def attraction_rate(curvature: Any, noise_curvature: Any, reading: Reading = "ito") -> Any:
    """α for L″(0) = ``curvature`` and D″(0) = ``noise_curvature`` ≥ 0; rationals and symbols stay what they are."""
    return curvature + noise_curvature / 2 if reading == "ito" else curvature


def attracts(curvature: float, noise_curvature: float, reading: Reading = "ito") -> Verdict:
    """Does x = 0 attract? ``Fails`` carries α < 0; at α = 0 third derivatives decide (none, if L, D are C³)."""
    if noise_curvature < 0:
        raise InvalidInput("noise_curvature", noise_curvature, "must be ≥ 0", "D is a variance: D ≥ 0 = D(0)")
    alpha = attraction_rate(curvature, noise_curvature, reading)
    if alpha == 0:
        return Undecided("alpha = 0: second derivatives do not decide")
    return Holds("proved") if alpha > 0 else Fails(alpha)


def moment_rate(order: float, curvature: Any, noise_curvature: Any, reading: Reading = "ito") -> Any:
    """Growth rate of E|x|^p of the linear equation: −pα + ½p²D″(0); positive while paths collapse if p > 2α/D″(0)."""
    return -order * attraction_rate(curvature, noise_curvature, reading) + order**2 * noise_curvature / 2


def capture_probability(
    distance: float, radius: float, curvature: float, noise_curvature: float, reading: Reading = "ito"
) -> float:
    """P(x → 0 before |x| = ``radius``) from |x| = ``distance`` for the linear equation: 1 − (distance/radius)^{2α/D″}
    if α > 0, else 0.
    """
    if not 0 < distance < radius:
        raise InvalidInput("distance, radius", (distance, radius), "must satisfy 0 < distance < radius")
    alpha = attraction_rate(curvature, noise_curvature, reading)
    if alpha <= 0:
        return 0.0
    return 1.0 if noise_curvature == 0 else 1 - (distance / radius) ** (2 * alpha / noise_curvature)


def sgd_attraction_rate(curvatures: Sequence[float], step: float) -> float:
    """−E log|1 − ηH| over equally likely sample curvatures H normal to the set: SGD x ← (1 − ηH)x collapses onto 0
    iff it is positive (strong law of large numbers); ∞ if some step lands on 0.

    To second order in η it is η(E H + ½η E H²): the Itô reading with D″ = η E H².
    """
    if not curvatures:
        raise InvalidInput("curvatures", list(curvatures), "must not be empty", "give the curvature on each sample")
    factors = [abs(1 - step * h) for h in curvatures]
    return math.inf if min(factors) == 0 else -math.fsum(map(math.log, factors)) / len(factors)


def sgd_lyapunov_exponent(
    hessians: NDArray[np.float64], step: float, *, steps: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Top Lyapunov exponent of x ← (I − ηH)x, H drawn from ``hessians`` (samples, n, n), and its standard error.

    Measured along one random sequence of ``steps`` draws, in 20 batches: SGD collapses onto the set iff the exponent
    is negative. Take Hessians on the normal space without its flat directions, on which it is 0. Raises
    ``InvalidInput``.
    """
    shape = np.shape(hessians)
    if len(shape) != 3 or not shape[0] or shape[1] != shape[2] or steps < 20:
        raise InvalidInput("hessians, steps", (shape, steps), "must be (samples, n, n), samples ≥ 1, and steps ≥ 20")
    rng = np.random.default_rng(seed)
    factors = np.eye(shape[1]) - step * np.asarray(hessians, dtype=np.float64)
    point, growth = rng.normal(size=shape[1]), np.empty(steps)
    point /= np.linalg.norm(point)
    for k, draw in enumerate(rng.integers(0, shape[0], steps)):
        point = factors[draw] @ point
        length = float(np.linalg.norm(point))
        if length == 0:
            return -math.inf, 0.0
        growth[k], point = math.log(length), point / length
    batches = np.array([batch.mean() for batch in np.array_split(growth, 20)])
    return float(growth.mean()), float(batches.std(ddof=1) / math.sqrt(20))
