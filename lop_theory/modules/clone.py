"""The widened model: an ordinary ``nn.Module`` that runs the rewritten traces of its base.

Why not a copy of the original class with other attributes? Sizes sit in closures, in constructor arguments and in
literals of
``forward``; which attribute feeds which reshape cannot be known from outside. In the trace every size is visible, so
growing
it is a local rewrite. Parameter names stay the base's: the ``state_dict`` loads into the same class built wider.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from lop_theory.modules.interface import Profile
from lop_theory.trace import Program, run, trace, traces


class Clone(nn.Module):
    """Runs ``programs[self.training]``; ``profile`` maps every widened coordinate to its base coordinate.

    ``transient`` names buffers that the ``state_dict`` leaves out. ``factors`` maps a state name to what widening
    multiplied the duplicated elements by.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        programs: Mapping[bool, Program],
        profiles: Mapping[bool, Profile],
        transient: frozenset[str] = frozenset(),
        factors: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.factors = dict(factors)
        self.programs = dict(programs)
        self.profiles = dict(profiles)
        self.traced_in = _common_dtype(state)
        self._slots: dict[str, tuple[nn.Module, str]] = {}
        for name, tensor in state.items():
            owner, _, attribute = name.rpartition(".")
            module = _nested(self, owner)
            if isinstance(tensor, nn.Parameter):
                module.register_parameter(attribute, tensor)
            else:
                module.register_buffer(attribute, tensor, persistent=name not in transient)
            self._slots[name] = (module, attribute)

    @property
    def profile(self) -> Profile:
        """The profile of the present mode."""
        return self.profiles[self.training]

    @property
    def program(self) -> Program:
        """The trace of the present mode."""
        return self.programs[self.training]

    def state(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, as the forward pass reads them."""
        return {name: getattr(module, attribute) for name, (module, attribute) in self._slots.items()}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        state = self.state()
        now = _common_dtype(state)
        cast = now if now != self.traced_in else None  # the trace names the dtypes that it was taken in
        return run(self.program, state, self.program.flat(args, kwargs), update=True, precision=cast)


def _common_dtype(state: Mapping[str, Tensor]) -> torch.dtype | None:
    """The dtype of all floating tensors, None if they have several."""
    found = {t.dtype for t in state.values() if t.is_floating_point()}
    return found.pop() if len(found) == 1 else None


def program_of(model: nn.Module, example_input: Any, *, training: bool | None = None) -> Program:
    """The trace of any model; a clone brings its own."""
    if isinstance(model, Clone):
        return model.programs[model.training if training is None else training]
    return trace(model, example_input, training=training)


def programs_of(model: nn.Module, example_input: Any) -> Mapping[bool, Program]:
    """The same in training and in evaluation mode."""
    return model.programs if isinstance(model, Clone) else traces(model, example_input)


def _nested(root: nn.Module, path: str) -> nn.Module:
    for part in path.split(".") if path else ():
        if not hasattr(root, part):
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    return root


def tiled(tensor: Tensor, maps: tuple[Any, ...]) -> Tensor:
    """Duplicate coordinates: result[i, j, ...] = tensor[π₀(i), π₁(j), ...]."""
    result = tensor.detach()
    for dim, index in enumerate(maps):
        if len(index) != result.shape[dim]:
            result = result.index_select(dim, torch.as_tensor(index, device=result.device))
    return result.clone() if result.data_ptr() == tensor.data_ptr() else result
