"""Statistics of units where a module is called with them: sums on the device over the training passes since a step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lop_theory.optim.axis import OTHER
from lop_theory.optim.units import Point


class Watch:
    """Forward pre-hook of a module. Over all passes since :meth:`clear`, per place along the units' axis: ``total`` Σh,
    ``size`` Σ|h|, ``spread`` Σ|h − centre(mean so far)|, ``alive`` how many h > 0; ``count`` terms each.

    Only passes that train count: in training mode, with gradients, and not again for activation checkpoints; nor those
    of copies, which take an inert hook along. ``active`` off, nothing is computed.
    """

    lop_theory_observer = True  # lop_theory.metrics switches it off while it measures

    def __init__(self, module: nn.Module, point: Point, device: torch.device, *wanted: str) -> None:
        self.wanted, self.active = frozenset(wanted), True
        self.dims = [d - point.rank for d in point.axis.dims]
        self.shape = point.axis.owners.shape
        owners = torch.as_tensor(point.axis.owners.reshape(-1), dtype=torch.long)
        self.owners = owners.to(device)
        self.plain = bool((owners == torch.arange(len(owners))).all())
        self.units = int(owners.max()) + 1
        shares = torch.zeros(self.units, dtype=torch.float64).index_add_(
            0, owners[owners != OTHER], torch.ones(int((owners != OTHER).sum()), dtype=torch.float64)
        )
        self.shares = shares.to(device)
        self.sums = {
            name: torch.zeros(len(owners), dtype=torch.float64, device=device)
            for name in ("total", *sorted(self.wanted))
        }
        self.count = torch.zeros((), dtype=torch.float64, device=device)
        self.centre: Callable[[Tensor], Tensor] = lambda mean: mean
        self._handle = module.register_forward_pre_hook(self, with_kwargs=True)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.active and module.training and torch.is_grad_enabled() and not _in_backward():
            with torch.no_grad():
                x = args[0] if args else next(iter(kwargs.values()))
                if type(x) is Tensor or isinstance(x, nn.Parameter):  # a trace of the model runs on others
                    self.take(x.detach())

    def take(self, x: Tensor) -> None:
        """Add one pass."""
        x = x if x.ndim > len(self.dims) else x[None]
        others = [d for d in range(x.ndim) if d - x.ndim not in self.dims]
        self.count += x.numel() / len(self.owners)
        wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
        self.sums["total"] += wide.sum(others).reshape(-1)
        if "size" in self.wanted:
            self.sums["size"] += wide.abs().sum(others).reshape(-1)
        if "alive" in self.wanted:
            self.sums["alive"] += (wide > 0).sum(others).reshape(-1)
        if "spread" in self.wanted:
            centre = self.centre(self.sums["total"] / self.count).to(wide)
            view = [1 if d in others else x.shape[d] for d in range(x.ndim)]
            self.sums["spread"] += (wide - centre.reshape(view)).abs_().sum(others).reshape(-1)

    def mean(self, name: str = "total") -> Tensor:
        """A sum over its terms, per place; 0 where nothing was seen."""
        return self.sums[name] / self.count.clamp_min(1)

    def by_unit(self, values: Tensor) -> Tensor:
        """Mean of places over those of a unit."""
        if self.plain:
            return values
        own = self.owners != OTHER
        return torch.zeros_like(self.shares).index_add_(0, self.owners[own], values[own]) / self.shares

    def by_place(self, values: Tensor) -> Tensor:
        """Values of units at their places; 0 elsewhere."""
        return values if self.plain else torch.where(self.owners == OTHER, 0, values[self.owners.clamp_min(0)])

    def clear(self) -> None:
        self.count.zero_()
        for values in self.sums.values():
            values.zero_()

    def detach(self) -> None:
        """No longer watch."""
        self._handle.remove()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Inert":
        return Inert()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return Inert, ()


class Inert:
    """What copies and saved models carry in place of a :class:`Watch`."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None: ...


def _in_backward() -> bool:
    """Whether autograd runs now: then a forward pass is one computed again."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1
