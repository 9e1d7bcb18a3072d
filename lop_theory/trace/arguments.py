"""What a model is called with, by name: keywords in any order, positions or keywords, defaults or not."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput

Leaves = dict[str, Any]  # readable path ("x", "batch['image']") -> tensor or Python value


def as_arguments(example_input: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A tensor, a tuple of positional inputs or a mapping of keyword inputs, as (args, kwargs)."""
    if isinstance(example_input, Mapping):
        return (), dict(example_input)
    if isinstance(example_input, (tuple, list)):
        return tuple(example_input), {}
    if isinstance(example_input, Tensor):
        return (example_input,), {}
    raise InvalidInput(
        "example_input", type(example_input).__name__, "must be a tensor, a tuple of inputs or a dict of keyword inputs"
    )


def signature_of(model: nn.Module) -> inspect.Signature | None:
    """That of ``forward``; None where it cannot be read."""
    try:
        return inspect.signature(model.forward)
    except (TypeError, ValueError):
        return None


def leaves(signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Leaves:
    """Every tensor and Python value of a call under a name that does not depend on how the call was spelt."""
    found: Leaves = {}
    for name, value in _named(signature, args, kwargs).items():
        for path, leaf in pytree.tree_flatten_with_path(value)[0]:
            found[name + pytree.keystr(path)] = leaf
    return found


def defaults(signature: inspect.Signature | None) -> Leaves:
    parameters = {} if signature is None else signature.parameters
    return {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}


def _named(signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if signature is None:
        return {**{f"[{k}]": value for k, value in enumerate(args)}, **kwargs}
    try:
        bound = signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise InvalidInput("input", [*kwargs] or len(args), f"does not fit the model's forward: {error}") from error
    named: dict[str, Any] = {}
    for name, value in bound.items():
        named |= value if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD else {name: value}
    return named


def positions(signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, int]:
    """Path -> place among the leaves of ``(args, kwargs)``, the order in which ``torch.export`` lists inputs."""
    flat, structure = pytree.tree_flatten((tuple(args), dict(kwargs)))
    numbered = pytree.tree_unflatten(range(len(flat)), structure)
    return leaves(signature, *numbered)
