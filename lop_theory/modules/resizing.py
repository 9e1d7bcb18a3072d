"""What standard layers remember of their weights (``in_features``, ``groups``, ``normalized_shape``), after these have
other shapes."""

from typing import Any, cast

from torch import Tensor, nn

SIDES = {
    "in_features": 1, "out_features": 0, "in_channels": 1, "out_channels": 0, "num_features": 0, "embedding_dim": 1,
    "num_channels": 0, "in1_features": 1, "in2_features": 2,
}  # fmt: skip
"""By attribute: the dimension of the weight that it is the size of."""


def resize(module: nn.Module, before: nn.Module) -> None:
    """The sizes that standard layers remember of their weights, where they were those of ``before``'s."""
    if isinstance(module, nn.RNNBase):
        module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
    new, old = (_weight(m) for m in (module, before))
    if new is None or old is None or new.shape == old.shape:
        return
    if getattr(module, "groups", 1) > 1 and 1 in old.shape[:2]:  # one channel a group
        wide = 1 - list(old.shape[:2]).index(1)
        cast(Any, module).groups = cast(Any, before).groups * new.shape[wide] // old.shape[wide]
    for name, dim in SIDES.items():
        if isinstance(vars(module).get(name), int) and new.dim() > dim:
            setattr(module, name, _resized(module, before, (name, dim), (new, old)))
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        module.normalized_shape = tuple(new.shape)


def _weight(module: nn.Module) -> Tensor | None:
    """The weight, or of a normalisation without one its statistics."""
    found = module._parameters.get("weight")
    return module._buffers.get("running_mean") if found is None else found


def _resized(module: nn.Module, before: nn.Module, place: tuple[str, int], weights: tuple[Tensor, Tensor]) -> int:
    """What a size becomes that is one side of the weight, or as many of them as there are groups."""
    (name, dim), (new, old) = place, weights
    size: int = getattr(before, name)
    groups = [int(getattr(m, "groups", 1)) for m in (module, before)]
    for side in (dim, 1 - dim) if dim < 2 <= new.dim() else (dim,):
        if size == old.shape[side]:
            return new.shape[side]
        if size == old.shape[side] * groups[1]:
            return new.shape[side] * groups[0]
    return size
