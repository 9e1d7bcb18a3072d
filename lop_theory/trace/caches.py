"""Hugging Face decoders return a cache of keys and values by default: no output of the network, and no tensor."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from torch import nn


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
