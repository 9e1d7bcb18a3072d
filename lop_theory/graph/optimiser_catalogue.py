"""The optimisers of the table: every one in ``torch.optim``, Muon, sign descent, Lion, remedies against loss of
plasticity, and symmetry breakers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, optim

from lop_theory.graph import remedies
from lop_theory.graph.closure import Update

RATE = 0.02


class Spec(NamedTuple):
    """How to build an optimiser, and the class of its update map.

    ``linear``: in the span of gradients and w; ``elementwise``: of each entry's own history; ``factored``: by row and
    column statistics; ``spectral``: an odd matrix polynomial; ``algebraic``: the same of w itself; ``weighted``: w or
    the gradient scaled by what both say, entry by entry or row by row; ``asymmetric``: not equivariant, by design.
    """

    make: Callable[[list[Tensor]], list[Any]]
    update: Update
    untie: Callable[[Any, torch.Generator], None] | None = None
    noise: float = 0.0
    dropout: bool = False
    sparse: bool = False


class SignDescent(optim.Optimizer):
    """w ← w − η sign(momentum·β + (1 − β) g); β = 0 is sign descent, β > 0 Lion's update rule (β₁ = β₂ = β)."""

    def __init__(self, params: Any, lr: float = RATE, beta: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "beta": beta})

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                average = self.state[p].setdefault("average", torch.zeros_like(p))
                average.mul_(group["beta"]).add_(p.grad, alpha=1 - group["beta"])
                p.data.add_(torch.sign(average), alpha=-group["lr"])
        return loss


class ExactMuon(optim.Optimizer):
    """Muon in the precision of its parameters: momentum, then five Newton–Schulz steps (PyTorch's run in bfloat16)."""

    coefficients = (3.4445, -4.7750, 2.0315)

    def __init__(self, params: Any, lr: float = RATE, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                buffer = self.state[p].setdefault("buffer", torch.zeros_like(p))
                buffer.mul_(group["momentum"]).add_(p.grad)
                p.data.add_(self._orthogonalised(p.grad + group["momentum"] * buffer), alpha=-group["lr"])
        return loss

    def _orthogonalised(self, matrix: Tensor) -> Tensor:
        a, b, c = self.coefficients
        x = matrix / (matrix.norm() + 1e-7)
        for _ in range(5):
            gram = x @ x.T
            x = a * x + (b * gram + c * gram @ gram) @ x
        return x


def _one(kind: Any, **options: Any) -> Callable[[list[Tensor]], list[Any]]:
    return lambda parameters: [kind(parameters, **{"lr": RATE, **options})]


def _matrices(kind: Any, **options: Any) -> Callable[[list[Tensor]], list[Any]]:
    """``kind`` on matrices, SGD on vectors (Muon takes matrices only)."""

    def make(parameters: list[Tensor]) -> list[Any]:
        vectors = [p for p in parameters if p.ndim == 1]
        matrices = [p for p in parameters if p.ndim == 2]
        return [kind(matrices, **{"lr": RATE, **options}), *([optim.SGD(vectors, lr=RATE)] if vectors else [])]

    return make


def _remedy(rule: remedies.Rule, **how: bool) -> Callable[[list[Tensor]], list[Any]]:
    return lambda parameters: [remedies.Remedied(parameters, rule, **how)]


def _replacing(parameters: list[Tensor]) -> list[Any]:
    rule = remedies.replaced(torch.Generator().manual_seed(2))
    return [remedies.Remedied(parameters, rule, matrices_only=True)]


def _untie_adam(optimiser: Any, generator: torch.Generator) -> None:
    for state in optimiser.state.values():
        second = state["exp_avg_sq"]
        second.mul_(1 + torch.rand(second.shape, generator=generator, dtype=second.dtype))


OPTIMISERS: dict[str, Spec] = {
    "SGD": Spec(_one(optim.SGD), "linear"),
    "SGD momentum": Spec(_one(optim.SGD, momentum=0.9), "linear"),
    "SGD Nesterov": Spec(_one(optim.SGD, momentum=0.9, nesterov=True), "linear"),
    "ASGD (lambd=0)": Spec(_one(optim.ASGD, lambd=0.0), "linear"),
    "LBFGS": Spec(_one(optim.LBFGS, max_iter=3), "linear"),
    "Adam": Spec(_one(optim.Adam), "elementwise"),
    "AdamW": Spec(_one(optim.AdamW, weight_decay=0.0), "elementwise"),
    "SparseAdam": Spec(_one(optim.SparseAdam), "elementwise", sparse=True),
    "NAdam": Spec(_one(optim.NAdam), "elementwise"),
    "RAdam": Spec(_one(optim.RAdam), "elementwise"),
    "Adamax": Spec(_one(optim.Adamax), "elementwise"),
    "RMSprop": Spec(_one(optim.RMSprop), "elementwise"),
    "Adagrad": Spec(_one(optim.Adagrad), "elementwise"),
    "Adadelta": Spec(_one(optim.Adadelta, lr=1.0), "elementwise"),
    "Rprop": Spec(_one(optim.Rprop), "elementwise"),
    "sign descent": Spec(_one(SignDescent), "elementwise"),
    "Lion": Spec(_one(SignDescent, beta=0.9), "elementwise"),
    "Adafactor": Spec(_one(optim.Adafactor), "factored"),
    "Muon (bfloat16)": Spec(_matrices(optim.Muon, weight_decay=0.0), "spectral"),
    "Muon (float64)": Spec(_matrices(ExactMuon), "spectral"),
    "L2-init": Spec(_remedy(remedies.l2_init), "linear"),
    "shrink": Spec(_remedy(remedies.shrink), "algebraic"),
    "NaP": Spec(_remedy(remedies.projected, matrices_only=True), "algebraic"),
    "FIRE (polar factor)": Spec(_remedy(remedies.polar, matrices_only=True, once=True), "algebraic"),
    "Parseval": Spec(_remedy(remedies.parseval, matrices_only=True), "algebraic"),
    "spectral penalty": Spec(_remedy(remedies.spectral, matrices_only=True), "algebraic"),
    "DASH": Spec(_remedy(remedies.dash, once=True), "weighted"),
    "UPGD without noise": Spec(_remedy(remedies.upgd), "weighted"),
    "UPGD": Spec(_remedy(remedies.upgd), "asymmetric", noise=0.1),
    "shrink and perturb": Spec(_remedy(remedies.shrink), "asymmetric", noise=0.1),
    "unit replacement": Spec(_replacing, "asymmetric"),
    "Adam, untied state": Spec(_one(optim.Adam), "asymmetric", untie=_untie_adam),
    "SGD + gradient noise": Spec(_one(optim.SGD), "asymmetric", noise=0.1),
    "SGD + dropout": Spec(_one(optim.SGD), "asymmetric", dropout=True),
}
