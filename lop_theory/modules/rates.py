"""Step sizes that make a clone train as its base does, for any module that ``expand`` widens.  [clone-rates]

A clone's parameter is w′ = s·w, copied N times (N the product of its axes' multiplicities, s what widening multiplied
it by: 1/|S| for every axis that is summed over). On the manifold the N copies have equal gradients g′, and by the
chain rule the base's gradient is g = N s g′. A step of the base moves w by −ηg, so w′ must move by −ηs g = −η(N s²)g′:

    SGD: step size η N s²;   Adam: step size η s and ε/(N s), for its update u is u(g/k; ε/k) = u(g; ε).

For a linear layer between blocks of |S_I| and |S_J| clones, N s² = |S_J|/|S_I|, the inverse of the factor that makes
the *base* follow a clone with one step size for all.
"""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.modules.growth import expansion
from lop_theory.modules.interface import Partition
from lop_theory.optim.ranges import require_between

UpdateKind = Literal["sgd", "adam"]


class Match(NamedTuple):
    """``copies`` N and ``factor`` s of one parameter, float64, broadcast to its shape (0-dimensional if constant)."""

    copies: Tensor
    factor: Tensor

    @property
    def gradient(self) -> Tensor:
        """N s: the clone's gradient times this is the base's."""
        return self.copies * self.factor

    @property
    def rate(self) -> Tensor:
        """N s²: the factor of SGD's step size."""
        return self.copies * self.factor**2


def matches(clone: nn.Module) -> dict[str, Match]:
    """N and s of every trainable parameter by name, tied parameters once."""
    record = expansion(clone)
    return {
        name: Match(_copies(record.profiles[True].state[name]), _narrow(record.factors[name]))
        for name, parameter in clone.named_parameters()
        if parameter.requires_grad
    }


def matched_rates(clone: nn.Module) -> dict[str, Tensor]:
    """By parameter name, the factor N s² of SGD's step size with which the clone follows its base  [clone-rates].

    Exact with momentum and Nesterov too. Multiply gradients by it where it is not one number a parameter.
    """
    return {name: _narrow(match.rate) for name, match in matches(clone).items()}


def matched_groups(
    clone: nn.Module, step_size: float, kind: UpdateKind = "sgd", *, decay: float = 0.0, epsilon: float = 1e-8
) -> list[dict[str, Any]]:
    """Parameter groups for a ``torch.optim`` optimiser with which the clone follows a base at ``step_size``.

    ``decay`` is the base's weight decay: coupled for ``sgd`` (SGD, momentum, Nesterov), decoupled for ``adam`` (AdamW);
    ``epsilon`` is Adam's. Raises ``InvalidInput`` for a parameter that would need several step sizes.
    """
    if kind not in ("sgd", "adam"):
        raise InvalidInput("kind", kind, "must be sgd or adam")
    for name, number in (("step_size", step_size), ("decay", decay), ("epsilon", epsilon)):
        require_between(name, number)
    parameters = dict(clone.named_parameters())
    groups: list[dict[str, Any]] = []
    for name, match in matches(clone).items():
        rate, factor, gradient = (_narrow(t) for t in (match.rate, match.factor, match.gradient))
        if max(rate.dim(), factor.dim(), gradient.dim()) > 0:
            raise InvalidInput("clone", name, "needs several step sizes", "multiply its gradient by matched_rates")
        group: dict[str, Any] = {"params": [parameters[name]]}
        if kind == "sgd":
            group |= {"lr": step_size * float(rate), "weight_decay": decay / float(rate)}
        else:
            s = float(factor)
            group |= {"lr": step_size * s, "weight_decay": decay / s, "eps": epsilon / float(gradient)}
        groups.append(group)
    return groups


def _copies(maps: tuple[Partition, ...]) -> Tensor:
    result = torch.ones((), dtype=torch.float64)
    for index in maps:
        origin = torch.as_tensor(index)
        result = result[..., None] * _narrow(torch.bincount(origin)[origin].double())
    return _narrow(result)


def _narrow(tensor: Tensor) -> Tensor:
    """A constant tensor as one number."""
    flat = tensor.reshape(-1)
    return flat[0] if bool((flat == flat[0]).all()) else tensor
