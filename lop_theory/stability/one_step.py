"""What one gradient step is guaranteed to gain.  [later-one-step-gain]

Let L be differentiable with a gradient that is ``smoothness``-Lipschitz along the steps, G = ∇L(θ), and g a random
gradient with E g = G. The descent lemma gives, for every step size η ≥ 0,

    E[L(θ) − L(θ − ηg)] ≥ η‖G‖² − ½ smoothness η² E‖g‖²,

greatest at η = ‖G‖²/(smoothness·E‖g‖²), where it is ‖G‖⁴/(2·smoothness·E‖g‖²); attained by ½ smoothness‖θ‖².
A measured smoothness makes it an estimate: curvature met further along the step may be larger. (arXiv 2605.09044.)
Numbers may be floats, rationals or arrays of either.
"""

from typing import Any, NamedTuple

from lop_theory.errors import InvalidInput


class Gain(NamedTuple):
    """The step size that guarantees most, and what it guarantees in expectation."""

    step: Any
    gain: Any


def gradient_moments(gradients: Any) -> tuple[Any, Any]:
    """(‖G‖², E‖g‖²) of equally likely gradients (draws, parameters).

    For a sample of draws ‖G‖² is too large by (tr Cov g)/draws on average.
    """
    mean = gradients.sum(0) / len(gradients)
    return (mean**2).sum(), (gradients**2).sum() / len(gradients)


def gain_at(step: Any, square_of_mean: Any, mean_of_square: Any, smoothness: Any) -> Any:
    """Guaranteed expected gain η‖G‖² − ½ smoothness η² E‖g‖² of a step of size η; negative if η is too large."""
    return step * square_of_mean - smoothness * step**2 * mean_of_square / 2


def best_step(square_of_mean: Any, mean_of_square: Any, smoothness: Any) -> Gain:
    """The step size of the largest guaranteed gain. Raises ``InvalidInput`` unless 0 < ‖G‖² ≤ E‖g‖², smoothness > 0."""
    if not (0 < square_of_mean <= mean_of_square):
        given = (square_of_mean, mean_of_square)
        raise InvalidInput("‖G‖², E‖g‖²", given, "must satisfy 0 < ‖G‖² ≤ E‖g‖²", "is g unbiased?")
    if not smoothness > 0:
        raise InvalidInput("smoothness", smoothness, "must be positive", "give a Lipschitz constant of the gradient")
    step = square_of_mean / (smoothness * mean_of_square)
    return Gain(step, step * square_of_mean / 2)
