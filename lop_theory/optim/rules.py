"""What each optimiser does with a weight that began t steps ago: the reset of its memory, and the update it then owes.

PyTorch keeps one step count for a whole tensor, so a weight that begins anew is stepped as if it were old: bias
corrections are taken for done (Adam), learning rates for decayed (Adagrad, ASGD), momentum for begun (dampening). Here
is every update with the count t of the weight itself. Formulas are those of ``torch.optim``.
"""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from inspect import unwrap
from typing import Any, NamedTuple

import torch
from torch import Tensor, optim

from lop_theory.errors import InvalidInput
from lop_theory.optim.adam_gnt import AdamGnT
from lop_theory.optim.noisy_sgd import NoisySGD

Group = Mapping[str, Any]
OfAge = Callable[[Callable[[Tensor], Tensor]], Tensor]


class Slice(NamedTuple):
    """Weights that began anew, right after a step of the optimiser: their values before it, their gradient, what the
    optimiser remembers of them now, and ``kept`` before. ``of_age(f)`` is f(t) of every weight, t ≥ 1 the steps since
    it began, this one included."""

    old: Tensor
    gradient: Tensor
    state: Mapping[str, Tensor]
    kept: Mapping[str, Tensor]
    group: Group
    of_age: OfAge

    @property
    def direction(self) -> Tensor:
        """The gradient of descent, with coupled weight decay."""
        gradient = -self.gradient if self.group.get("maximize") else self.gradient
        decay = 0 if self.group.get("decoupled_weight_decay") else self.group.get("weight_decay", 0)
        return gradient + decay * self.old if decay else gradient

    @property
    def start(self) -> Tensor:
        """The values after decoupled weight decay."""
        if not self.group.get("decoupled_weight_decay"):
            return self.old
        return self.old * (1 - self.group["lr"] * self.group["weight_decay"])


class Right(NamedTuple):
    """What the weights, and where it differs the memory, would be after the step if t were counted by weight."""

    values: Tensor
    state: Mapping[str, Tensor] = {}


class Rule(NamedTuple):
    """``first``: value of a memory at the beginning where it is not 0. ``right``: see :class:`Right`; ``None`` where no
    count enters. ``needed``: whether it enters under a group's options. ``kept``: memories that ``right`` wants as they
    were before the step. ``coupled``: the update of a weight depends on others, so that no reset makes it that of a new
    parameter; ``reset`` (parameter's state, dimension, index) then does what is documented at the function."""

    right: Callable[[Slice], Right] | None = None
    first: Mapping[str, Callable[[Group], float]] = {}
    needed: Callable[[Group], bool] = lambda _: True
    kept: tuple[str, ...] = ()
    coupled: bool = False
    reset: Callable[[dict[str, Any], Tensor, int, Tensor], None] | None = None


def adam(at: Slice) -> Right:
    """w ← w − η m̂/(√v̂ + ε), m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ) (Kingma and Ba 2015, Algorithm 1); AdamW, AMSGrad."""
    first, second = at.group["betas"]
    square = at.state["max_exp_avg_sq" if at.group["amsgrad"] else "exp_avg_sq"]
    size = square.sqrt() / at.of_age(lambda t: (1 - second**t).sqrt()) + at.group["eps"]
    return Right(at.start - at.of_age(lambda t: at.group["lr"] / (1 - first**t)) * at.state["exp_avg"] / size)


def adamax(at: Slice) -> Right:
    """w ← w − η m/((1 − β₁ᵗ) u) (Kingma and Ba 2015, Algorithm 2)."""
    first = at.group["betas"][0]
    return Right(
        at.old - at.of_age(lambda t: at.group["lr"] / (1 - first**t)) * at.state["exp_avg"] / at.state["exp_inf"]
    )


def nadam(at: Slice) -> Right:
    """w ← w − η (μ_{t+1} m/(1 − Π_{t+1}) + (1 − μ_t) g/(1 − Π_t))/(√v̂ + ε), Π_t = μ_1 ⋯ μ_t (Dozat 2016).

    Π_t is that of the present β₁, whatever a scheduler made of it on the way."""
    (first, second), psi, lr = at.group["betas"], at.group["momentum_decay"], at.group["lr"]
    table = _products(first, psi).to(at.old.device)

    def mu(t: Tensor) -> Tensor:
        return first * (1 - 0.5 * 0.96 ** (t * psi))

    def product(t: Tensor) -> Tensor:
        return table[t.clamp(max=len(table)).long() - 1]

    size = (at.state["exp_avg_sq"] / at.of_age(lambda t: 1 - second**t)).sqrt() + at.group["eps"]
    now = at.of_age(lambda t: lr * (1 - mu(t)) / (1 - product(t)))
    ahead = at.of_age(lambda t: lr * mu(t + 1) / (1 - product(t) * mu(t + 1)))
    return Right(at.start - (now * at.direction + ahead * at.state["exp_avg"]) / size)


@lru_cache(maxsize=8)
def _products(first: float, psi: float) -> Tensor:
    """Π_t for t = 1, 2, … until it no longer counts beside 1."""
    length = max(2, math.ceil(-40 / math.log(first))) if first else 2
    t = torch.arange(1, length + 1, dtype=torch.float64)
    return (first * (1 - 0.5 * 0.96 ** (t * psi))).cumprod(0)


def radam(at: Slice) -> Right:
    """w ← w − η r_t m̂/(√v + ε)·√(1 − β₂ᵗ) if ρ_t > 5, else w − η m̂ (Liu et al. 2020, Algorithm 2)."""
    first, second = at.group["betas"]
    limit = 2 / (1 - second) - 1

    def length(t: Tensor) -> Tensor:
        return limit - 2 * t * second**t / (1 - second**t)

    def rectified(t: Tensor) -> Tensor:
        rho = length(t)
        ratio = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
        return ((1 - second**t) * ratio.clamp(min=0)).sqrt()

    adapted = at.of_age(rectified) / (at.state["exp_avg_sq"].sqrt() + at.group["eps"])
    mean = at.of_age(lambda t: at.group["lr"] / (1 - first**t)) * at.state["exp_avg"]
    return Right(at.start - mean * torch.where(at.of_age(lambda t: (length(t) > 5).double()) > 0, adapted, 1.0))


def adagrad(at: Slice) -> Right:
    """w ← w − η/(1 + (t − 1)·decay) · g/(√Σg² + ε) (Duchi et al. 2011)."""
    rate = at.of_age(lambda t: at.group["lr"] / (1 + (t - 1) * at.group["lr_decay"]))
    return Right(at.old - rate * at.direction / (at.state["sum"].sqrt() + at.group["eps"]))


def asgd(at: Slice) -> Right:
    """w ← (1 − λη_t) w − η_t g with η_t = η/(1 + λη(t − 1))^α, and the average of w from t₀ on (Polyak 1992)."""
    decay, lr, power, start = (at.group[name] for name in ("lambd", "lr", "alpha", "t0"))
    rate = at.of_age(lambda t: lr / (1 + decay * lr * (t - 1)) ** power)
    values = at.old * (1 - decay * rate) - rate * at.direction
    share = at.of_age(lambda t: 1 / (t - 1 - start).clamp(min=1))
    average = at.kept["ax"]
    return Right(values, {"ax": torch.where(share == 1, values, average + (values - average) * share)})


def sgd(at: Slice) -> Right:
    """v ← μ v + (1 − dampening) g, but v = g at the first step; w ← w − η v, with Nesterov w − η (g + μ v)."""
    direction, momentum = at.direction, at.group["momentum"]
    begins = at.of_age(lambda t: (t == 1).double()) > 0
    velocity = torch.where(begins, direction, at.state["momentum_buffer"])
    moved = direction + momentum * velocity if at.group["nesterov"] else velocity
    return Right(at.old - at.group["lr"] * moved, {"momentum_buffer": velocity})


def noisy_sgd(at: Slice) -> Right:
    """As :func:`sgd`; at the first step, which began from v = 0, the direction with its noise is v/(1 − dampening)."""
    begins = at.of_age(lambda t: (t == 1).double()) > 0
    velocity = at.state["momentum_buffer"]
    velocity = torch.where(begins, velocity / (1 - at.group["dampening"]), velocity)
    return Right(at.old - at.group["lr"] * velocity, {"momentum_buffer": velocity})


def forget_average(state: dict[str, Any], parameter: Tensor, dim: int, index: Tensor) -> None:
    """Adafactor: the second moments of the slices become the mean of the others', since its factors tie all weights of
    a row and of a column together, and its step is scaled by the whole tensor; the count goes on."""
    others = torch.ones(parameter.shape[dim], dtype=torch.bool, device=parameter.device)
    others[index] = False
    for value in state.values():
        if isinstance(value, Tensor) and value.ndim == parameter.ndim and value.shape[dim] == parameter.shape[dim]:
            mean = value[(slice(None),) * dim + (others,)].mean(dim, keepdim=True) if others.any() else 0
            value.index_copy_(dim, index, torch.zeros_like(value.index_select(dim, index)) + mean)


def forget_everything(state: dict[str, Any], _parameter: Tensor, _dim: int, _index: Tensor) -> None:
    """LBFGS: curvature pairs mix all weights of all tensors, so it begins anew as a whole."""
    state.clear()


def _dampened(group: Group) -> bool:
    return bool(group["dampening"] and group["momentum"])


RULES: dict[type, Rule] = {
    optim.SGD: Rule(sgd, needed=_dampened),
    optim.Adam: Rule(adam),
    optim.AdamW: Rule(adam),
    optim.NAdam: Rule(nadam),
    optim.RAdam: Rule(radam),
    optim.Adamax: Rule(adamax),
    optim.Adagrad: Rule(
        adagrad,
        first={"sum": lambda group: group["initial_accumulator_value"]},
        needed=lambda group: bool(group["lr_decay"]),
    ),
    optim.ASGD: Rule(asgd, kept=("ax",)),
    AdamGnT: Rule(),
    NoisySGD: Rule(noisy_sgd, needed=_dampened),
    optim.RMSprop: Rule(),
    optim.Adadelta: Rule(),
    optim.Rprop: Rule(first={"step_size": lambda group: group["lr"]}),
    optim.Adafactor: Rule(coupled=True, reset=forget_average),
    optim.Muon: Rule(coupled=True),
    optim.LBFGS: Rule(coupled=True, reset=forget_everything),
}
"""Optimiser → rule. Muon's momentum is zeroed on the slices; its orthogonalisation then couples them to the others."""


def rule_of(kind: type) -> Rule:
    """The rule of an optimiser class, or of one that inherits its ``step``. Raises ``InvalidInput`` for others."""
    for known, rule in RULES.items():
        if kind is known or (issubclass(kind, known) and unwrap(kind.step) is unwrap(known.step)):
            return rule
    names = ", ".join(known.__name__ for known in RULES)
    raise InvalidInput(
        "optimiser",
        kind.__name__,
        f"must have a known rule for weights that begin anew ({names})",
        "add one to lop_theory.optim.rules.RULES: Rule() if only memories of the weights' shape, zero at first, enter",
    )
