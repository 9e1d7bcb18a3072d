"""The model that a checkpoint belongs to: a factory of the user's, or a Hugging Face config."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from lop_theory.errors import InvalidInput


def build(target: str, arguments: str | None = None) -> nn.Module:
    """Call ``module:factory`` with the keyword arguments of a JSON object.

    Raises ``InvalidInput`` if it cannot be imported, does not take them, fails, or returns no module.
    """
    factory = imported("--model", target, "module:factory")
    try:
        model = factory(**_keywords(arguments))
    except InvalidInput:
        raise
    except (Exception, SystemExit) as error:
        raise InvalidInput("--model", target, f"fails ({_line(error)})", "give its arguments as --args JSON") from error
    if not isinstance(model, nn.Module):
        raise InvalidInput("--model", target, f"must return an nn.Module, not {type(model).__name__}")
    return model


def imported(parameter: str, target: str, form: str) -> Callable[..., Any]:
    """What ``module:name`` names. Raises ``InvalidInput`` if it has no such ``form`` or cannot be imported."""
    module, _, name = target.partition(":")
    if not module or not name:
        raise InvalidInput(parameter, target, f"is no {form}", f"use {form}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:
        raise InvalidInput(parameter, target, f"cannot be imported ({_line(error)})", f"use {form}") from error
    if not callable(found):
        raise InvalidInput(parameter, target, f"is no function but {type(found).__name__}", f"use {form}")
    return found


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def _keywords(arguments: str | None) -> dict[str, Any]:
    try:
        found = json.loads(arguments) if arguments else {}
    except ValueError as error:
        raise InvalidInput("--args", arguments, "must be a JSON object", "write '{\"width\": 64}'") from error
    if not isinstance(found, dict):
        raise InvalidInput("--args", arguments, "must be a JSON object", "write '{\"width\": 64}'")
    return found


def from_folder(folder: Path) -> nn.Module:
    """The architecture that a Hugging Face folder's config names, untrained; code in the folder is not run."""
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise InvalidInput("checkpoint", str(folder), "needs transformers", "pip install transformers") from error
    try:
        config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        name = (getattr(config, "architectures", None) or [""])[0]
        kind = getattr(transformers, name, None) if name else transformers.AutoModel
        if kind is None:
            raise ValueError(f"transformers has no class {name}")
        found: Any = kind(config) if name else kind.from_config(config)
        return found
    except Exception as error:
        remedy = "give --model module:factory"
        raise InvalidInput(
            "checkpoint", str(folder), f"has no config that can be built ({_line(error)})", remedy
        ) from error
