"""The loss that a command line names, as a function of the model's output."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lop_theory.errors import InvalidInput
from lop_theory.modules.building import imported

NAMED = ("auto", "cross_entropy", "mse")
Loss = Callable[[Any], Any]


def loss_named(name: str, targets: Tensor | None) -> Loss:
    """``cross_entropy`` or ``mse`` against ``targets``; ``auto``: the output's own ``.loss``, else cross entropy for
    integer targets and the mean squared error for real ones; ``module:function`` is called with the output, and the
    targets if there are any.

    Raises ``InvalidInput``, also when the loss is called and fails.
    """
    own = ":" in name
    function: Callable[..., Any] = imported("--loss", name, "module:function") if own else _by_name(name, targets)

    def loss(output: Any) -> Any:
        try:
            return function(output, targets) if own and targets is not None else function(output)
        except InvalidInput:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
            raise InvalidInput("--loss", name, f"fails on the model's output ({reason})", "check --targets") from error

    return loss


def _by_name(name: str, targets: Tensor | None) -> Callable[[Any], Any]:
    if name not in NAMED:
        raise InvalidInput("--loss", name, "is unknown", f"one of {', '.join(NAMED)}, or module:function")
    if name != "auto" and targets is None:
        raise InvalidInput("--targets", None, f"are needed for {name}", "give --targets FILE")

    def loss(output: Any) -> Any:
        own = getattr(output, "loss", None)
        if name == "auto" and own is not None:
            return own
        if targets is None:
            raise InvalidInput("--targets", None, "are needed: the output has no loss of its own", "or give --loss")
        return _against(name, logits(output), targets)

    return loss


def _against(name: str, found: Tensor, targets: Tensor) -> Tensor:
    if name == "cross_entropy" or (name == "auto" and not targets.is_floating_point()):
        return torch.nn.functional.cross_entropy(found.reshape(-1, found.shape[-1]), targets.reshape(-1).long())
    if found.shape != targets.shape:
        shapes = (tuple(targets.shape), tuple(found.shape))
        raise InvalidInput("--targets", shapes[0], f"do not fit the output {shapes[1]}", "give them in its shape")
    return (found - targets.to(found)).square().mean()


def logits(output: Any) -> Tensor:
    """The output, its ``logits``, or its first tensor."""
    found = getattr(output, "logits", output)
    while isinstance(found, (tuple, list)) and found:
        found = found[0]
    if not isinstance(found, Tensor):
        raise InvalidInput("--loss", type(output).__name__, "is no tensor and has no logits", "give module:function")
    return found
