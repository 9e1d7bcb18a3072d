"""Checkpoints as people have them, read as tensors only: nothing in a file is ever executed.

Read are safetensors, torch files that load with ``weights_only``, NumPy arrays, and Hugging Face folders with a config
(one file or shards). Wrappers (``module.`` of data parallel training, ``_orig_mod.`` of ``torch.compile``, ``model.``
and ``state_dict`` of Lightning, ``model_state_dict``) are taken off where the model's own names show that they must be.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput

NESTED = ("state_dict", "model_state_dict", "model", "module", "net", "network", "ema_state_dict")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
MOST = 8  # names listed in a message


def load_tensors(path: Path, parameter: str = "file") -> Any:
    """Tensors only: safetensors, NumPy arrays without objects, or torch files that need no pickled code.

    Raises ``InvalidInput`` that names the file and what it asked for.
    """
    if not path.is_file():
        raise InvalidInput(parameter, str(path), "is no file" if path.exists() else "does not exist", "check the path")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(str(path))
        if path.suffix == ".npy":
            return torch.from_numpy(np.load(path, allow_pickle=False))
        if path.suffix == ".npz":
            return {key: torch.from_numpy(array) for key, array in np.load(path, allow_pickle=False).items()}
        return torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise InvalidInput(parameter, str(path), "needs the safetensors package", "pip install safetensors") from error
    except Exception as error:
        remedy = "save its tensors alone, as safetensors (an array as .npy)"
        raise InvalidInput(
            parameter, str(path), f"is refused: it is not a plain file of tensors ({_reason(error)})", remedy
        ) from error


def _reason(error: Exception) -> str:
    """The first sentence; of torch's long refusals what the pickle asked for, and not the advice to let it."""
    text = str(error).strip()
    for line in text.splitlines():
        if line.startswith("Unsupported ") or "Unsupported global" in line or "Unsupported class" in line:
            return line.strip()[:160]
    return text.splitlines()[0].split(". ")[0][:160] if text else type(error).__name__


def read_state(path: Path) -> Mapping[str, Any]:
    """The state of a checkpoint file, or of a Hugging Face folder (sharded or not), as it is named there."""
    if not path.is_dir():
        return _unwrapped(load_tensors(path, "checkpoint"), path)
    for name in WEIGHTS:
        index = path / f"{name}.index.json"
        if index.is_file():
            return _shards(index)
        if (path / name).is_file():
            return _unwrapped(load_tensors(path / name, "checkpoint"), path)
    raise InvalidInput("checkpoint", str(path), f"has none of {', '.join(WEIGHTS)}", "give the file itself")


def _shards(index: Path) -> dict[str, Any]:
    """All shards that an index names; names that leave the folder are refused."""
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InvalidInput("checkpoint", str(index), "is no index of shards") from error
    state: dict[str, Any] = {}
    for name in names:
        if not isinstance(name, str) or os.path.basename(name) != name:
            raise InvalidInput("checkpoint", name, "a shard must lie beside its index")
        state |= load_tensors(index.parent / name, "checkpoint")
    return state


def _unwrapped(found: Any, path: Path) -> Mapping[str, Any]:
    """The mapping that holds tensors, inside the dictionaries that trainers save."""
    while isinstance(found, Mapping) and not any(isinstance(value, Tensor) for value in found.values()):
        inner = next((found[key] for key in NESTED if isinstance(found.get(key), Mapping)), None)
        if inner is None:
            break
        found = inner
    if not isinstance(found, Mapping) or not any(isinstance(value, Tensor) for value in found.values()):
        raise InvalidInput("checkpoint", str(path), "holds no state_dict", f"save one, alone or under {NESTED[0]!r}")
    return {str(key): value for key, value in found.items() if isinstance(value, Tensor)}


def fitted(state: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The entries that belong to a model with these names: without wrappers, and without a prefix that all have."""
    wanted = set(names)
    plain = {key.replace("_orig_mod.", ""): value for key, value in state.items()}
    prefixes = {""} | {key[: -len(name)] for key in plain for name in wanted if key.endswith(name)}
    best = max(prefixes, key=lambda p: (sum(p + name in plain for name in wanted), -len(p)))
    inside = {key[len(best) :]: value for key, value in plain.items() if key.startswith(best)}
    return inside if wanted & inside.keys() else plain


def load_state(model: nn.Module, checkpoint: Path) -> None:
    """Load a checkpoint into ``model``. Raises ``InvalidInput`` that lists names which do not fit."""
    own = model.state_dict()
    state = fitted(read_state(checkpoint), own)
    _refuse_others(checkpoint, state, own)
    try:
        model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InvalidInput("checkpoint", str(checkpoint), f"does not fit the model ({reason[:160]})") from error


def _refuse_others(checkpoint: Path, state: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Missing or unknown names, tied parameters and counters apart."""
    given = {t.data_ptr() for name, t in own.items() if name in state}
    absent = [name for name, t in own.items() if name not in state and t.data_ptr() not in given]
    missing = [name for name in absent if not name.endswith("num_batches_tracked")]
    unknown = [name for name, t in state.items() if name not in own and t.is_floating_point()]
    problems = [
        f"{len(names)} {what} ({', '.join(names[:MOST])}{', …' if len(names) > MOST else ''})"
        for what, names in (("missing", missing), ("unknown", unknown))
        if names
    ]
    if problems:
        raise InvalidInput(
            "checkpoint", str(checkpoint), f"does not fit the model: {'; '.join(problems)}", "check --model and --args"
        )
