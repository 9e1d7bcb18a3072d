"""A step count for every weight that began anew, and the optimiser's steps corrected by it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from lop_theory.errors import InvalidInput
from lop_theory.optim.rules import Right, Slice, rule_of


class Place(NamedTuple):
    """Slices of a parameter: numbers ``which`` (n,) along ``dim``."""

    parameter: Tensor
    dim: int
    which: Tensor


class Kept(NamedTuple):
    """Values of a place before a step, and those of the memories that its rule wants."""

    place: Place
    group: dict[str, Any]
    values: Tensor
    state: dict[str, Tensor]


class Clocks:
    """Weights that :meth:`renew` names are from then on updated as those of a newly made parameter.

    Call :meth:`before` and :meth:`after` around every step of the optimiser. Exact, to rounding, for the elementwise
    optimisers of ``torch.optim``; of Adafactor, Muon and LBFGS the memory is reset as :mod:`lop_theory.optim.rules`
    says. Nothing waits for the device but :meth:`renew`. Raises ``InvalidInput`` for an optimiser without a rule.
    """

    def __init__(self, optimiser: Optimizer) -> None:
        self.optimiser, self.rule = optimiser, rule_of(getattr(optimiser, "kind", type(optimiser)))
        self._ages: dict[Tensor, dict[int, Tensor]] = {}
        self._young: dict[Tensor, dict[int, Tensor]] = {}
        self._kept: list[Kept] = []

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "rule"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.rule = rule_of(getattr(self.optimiser, "kind", type(self.optimiser)))

    def prepare(self, places: Iterable[Place]) -> None:
        """Weights that may begin anew: from now on they are in :meth:`state_dict`, whether they did or not."""
        for parameter, dim, _ in places:
            ages = torch.full((parameter.shape[dim],), torch.inf, dtype=torch.float64, device=parameter.device)
            self._ages.setdefault(parameter, {}).setdefault(dim, ages)

    @torch.no_grad()
    def renew(self, places: Iterable[Place]) -> None:
        """The optimiser forgets these weights: memories as at the beginning, counts at 0. What it has not yet stepped,
        or does not hold, it does not remember."""
        groups = self._groups()
        for place in places:
            state = self.optimiser.state.get(place.parameter)
            if state and place.parameter in groups:
                self._forget(state, place, groups[place.parameter])
                if self.rule.right is not None:
                    self._restart(place)

    def _forget(self, state: dict[str, Any], place: Place, group: dict[str, Any]) -> None:
        parameter, dim, index = place
        if self.rule.reset is not None:
            self.rule.reset(state, parameter, dim, index)
            return
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                first = self.rule.first.get(name)
                value.index_fill_(dim, index, 0.0 if first is None else float(first(group)))

    def _restart(self, place: Place) -> None:
        self.prepare([place])
        parameter, dim, index = place
        ages = self._ages[parameter][dim]
        ages[index] = 0
        self._young.setdefault(parameter, {})[dim] = _young(ages)

    def _groups(self) -> dict[Tensor, dict[str, Any]]:
        return {parameter: group for group in self.optimiser.param_groups for parameter in group["params"]}

    @torch.no_grad()
    def before(self) -> None:
        """Keep what the correction needs."""
        self._kept = []
        groups = self._groups() if self._young else {}
        for parameter, young in self._young.items():
            group = groups.get(parameter)
            if group is not None and self.rule.needed(group):
                self._kept += [self._keep(Place(parameter, *item), group) for item in young.items()]

    def _keep(self, place: Place, group: dict[str, Any]) -> Kept:
        parameter, dim, index = place
        state = self.optimiser.state[parameter]
        kept = {name: state[name].index_select(dim, index) for name in self.rule.kept}
        return Kept(place, group, parameter.detach().index_select(dim, index), kept)

    @torch.no_grad()
    def after(self) -> None:
        """Count the step, and give the young weights what a new parameter would have."""
        stepped = [kept for kept in self._kept if kept.place.parameter.grad is not None]
        taken = {kept.place.parameter: self._taken(kept.values.device) for kept in stepped}
        for parameter, step in taken.items():
            for ages in self._ages[parameter].values():
                ages.add_(1.0 if step is None else step)
        right = [self._right(kept) for kept in stepped]
        for kept, corrected in zip(stepped, right, strict=True):
            self._write(kept.place, corrected, taken[kept.place.parameter])
        self._kept = []

    def _taken(self, device: torch.device) -> Tensor | None:
        """1, or 0 where a fused optimiser is told to skip the step for infinite gradients; ``None``: it is told
        nothing, and takes every step."""
        skipped = getattr(self.optimiser, "found_inf", None)
        return None if skipped is None else 1.0 - skipped.to(device, torch.float64)

    def _right(self, kept: Kept) -> Right:
        parameter, dim, index = kept.place
        assert self.rule.right is not None
        assert parameter.grad is not None
        wide = torch.float32 if parameter.dtype in (torch.bfloat16, torch.float16) else parameter.dtype
        state = {
            name: value.index_select(dim, index).to(wide)
            for name, value in self.optimiser.state[parameter].items()
            if isinstance(value, Tensor) and value.shape == parameter.shape
        }
        before = {name: value.to(wide) for name, value in kept.state.items()}
        return self.rule.right(
            Slice(
                kept.values.to(wide),
                parameter.grad.index_select(dim, index).to(wide),
                state,
                before,
                kept.group,
                lambda f: self._of_age(kept.place, f).to(wide),
            )
        )

    def _of_age(self, place: Place, f: Callable[[Tensor], Tensor]) -> Tensor:
        """f of the younger of a weight's counts along the dimensions."""
        rank = place.parameter.ndim
        own = self._ages[place.parameter][place.dim][place.which].view(_along(place.dim, rank))
        counts, values = own, f(own)
        for dim, ages in self._ages[place.parameter].items():
            if dim != place.dim:
                other = ages.view(_along(dim, rank))
                values = torch.where(counts <= other, values, f(other))
                counts = torch.minimum(counts, other)
        return values

    def _write(self, place: Place, right: Right, taken: Tensor | None) -> None:
        parameter, dim, index = place
        state = self.optimiser.state[parameter]
        for target, values in ((parameter, right.values), *((state[n], v) for n, v in right.state.items())):
            new = values.to(target)
            if taken is not None:
                new = torch.where(taken > 0, new, target.index_select(dim, index))
            target.index_copy_(dim, index, new)

    def state_dict(self) -> dict[str, Any]:
        """Counts by the parameter's number in the groups and the dimension."""
        return {"ages": {f"{number}/{dim}": ages.clone() for number, dim, ages in self._numbered()}}

    def _numbered(self) -> Iterator[tuple[int, int, Tensor]]:
        for number, parameter in enumerate(self._groups()):
            for dim, ages in self._ages.get(parameter, {}).items():
                yield number, dim, ages

    def check(self, state: Mapping[str, Any]) -> None:
        """Raises ``InvalidInput`` if a state is of another model."""
        mine = {f"{number}/{dim}": ages.shape for number, dim, ages in self._numbered()}
        theirs = {name: ages.shape for name, ages in state["ages"].items()}
        for name in mine.items() ^ theirs.items():
            raise InvalidInput("state_dict", f"ages of {name[0]}", "counts other weights", "use the same model")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`, which :meth:`check` has passed."""
        parameters = list(self._groups())
        self._young = {}
        for name, ages in state["ages"].items():
            number, dim = map(int, name.split("/"))
            parameter = parameters[number]
            own = self._ages[parameter][dim] = ages.to(parameter.device, torch.float64, copy=True)
            if own.isfinite().any():
                self._young.setdefault(parameter, {})[dim] = _young(own)


def _along(dim: int, rank: int) -> list[int]:
    return [-1 if d == dim else 1 for d in range(rank)]


def _young(ages: Tensor) -> Tensor:
    return ages.isfinite().nonzero().flatten()
