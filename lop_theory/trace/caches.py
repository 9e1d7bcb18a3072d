"""What a call of a model leaves in it besides buffers: Hugging Face decoders return a cache of keys and values by
default (no output of the network, and no tensor), other modules keep a table, or count, in plain attributes."""

import copy
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from torch import nn

_INTERNAL = frozenset(vars(nn.Module()))


@contextmanager
def attributes_kept(model: nn.Module) -> Generator[None]:
    """Within, calls may write plain attributes of modules, and into lists, dicts and sets among them, and make
    children, parameters and buffers; afterwards they are as before. A tensor that one pass caches is of that pass
    alone: of its gradients, its precision, its trace."""
    before = {m: {k: v for k, v in vars(m).items() if k not in _INTERNAL} for m in model.modules()}
    made: list[dict[str, Any]] = [table for m in before for table in (m._parameters, m._buffers, m._modules)]
    tables = [(table, dict(table)) for table in made]
    values = [v for attributes in before.values() for v in attributes.values() if type(v) in (dict, list, set)]
    values += [m._non_persistent_buffers_set for m in before]
    contents = [(v, copy.copy(v)) for v in values]
    try:
        yield
    finally:
        for value, old in contents:
            value.clear()
            value.extend(old) if isinstance(value, list) else value.update(old)
        for module, attributes in before.items():
            for name in vars(module).keys() - attributes.keys() - _INTERNAL:
                del vars(module)[name]
            vars(module).update(attributes)
        for table, held in tables:
            if [(k, id(v)) for k, v in table.items()] != [(k, id(v)) for k, v in held.items()]:
                table.clear()
                table.update(held)


@contextmanager
def caches_off(model: nn.Module) -> Generator[None]:
    """Within: no configuration of the model asks for ``use_cache``; a call that asks for it still gets it."""
    configs: dict[int, Any] = {}
    for module in model.modules():
        config = vars(module).get("config")
        if getattr(config, "use_cache", None) is True:
            configs[id(config)] = config
    for config in configs.values():
        config.use_cache = False
    try:
        yield
    finally:
        for config in configs.values():
            config.use_cache = True
