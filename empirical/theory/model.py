"""All checks of one model, from one pass."""

from collections.abc import Callable

from torch import Tensor, nn

from empirical.theory.check import Check
from empirical.theory.frozen import Box, check_frozen
from empirical.theory.gain import check_gain
from empirical.theory.nearest import check_nearest
from empirical.theory.probe import measured_pass


def check_model(
    model: nn.Module, inputs: Tensor, loss: Callable[[Tensor], Tensor] | None = None, *, box: Box | None = None
) -> list[Check]:
    """Rank gain per activation, distance to the nearest cloning manifold per width class, frozen units per activation.

    ``inputs`` is a batch of independent images, ``loss(output)`` a scalar (by default a random linear function of the
    outputs). The model is seen in its present mode and left as it is, bit for bit. ``box``: see
    :func:`empirical.theory.frozen.check_frozen`.
    """
    seen = measured_pass(model, inputs, loss)
    return [
        *(check_gain(name, sampled) for name, sampled in seen.samples.items()),
        *check_nearest(model, inputs, seen.gradients),
        *check_frozen(model, inputs, seen.gradients, box=box),
    ]
