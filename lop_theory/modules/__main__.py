"""``python -m lop_theory.modules CHECKPOINT --model module:factory --data FILE``: clones and frozen units of a
trained model."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lop_theory.cli import BAD_INPUT, NOT_CERTIFIED, OK, Parser, run
from lop_theory.errors import InvalidInput
from lop_theory.modules.detect import Criteria, detect


def parser() -> Parser:
    result = Parser(
        prog="python -m lop_theory.modules",
        description="Find clones, near-clones, dead, dormant, saturated and frozen units of a trained model.",
        epilog="Exit codes: 0 done, 1 clones or frozen units found with --fail-on-clones, 2 bad input.",
    )
    result.add_argument(
        "checkpoint", type=Path, help="state_dict as .safetensors, or as .pt that loads with weights_only=True"
    )
    result.add_argument(
        "--model", required=True, metavar="MODULE:FACTORY", help="a function without arguments that builds the model"
    )
    result.add_argument(
        "--data", required=True, type=Path, help="a batch: .safetensors, .pt (tensor, list or dict) or .npy"
    )
    result.add_argument(
        "--clone", type=float, default=1e-6, help="largest difference of clones, relative to the layer (default 1e-6)"
    )
    result.add_argument(
        "--near", type=float, default=0.95, help="cosine above which units are near-clones (default 0.95)"
    )
    result.add_argument("--dormant", type=float, default=0.025, help="ReDo's tau (default 0.025)")
    result.add_argument("--train-mode", action="store_true", help="measure in training mode (default: evaluation)")
    result.add_argument(
        "--fail-on-clones", action="store_true", help="exit with 1 if a layer has clones or frozen units"
    )
    result.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return result


def load_tensors(path: Path) -> Any:
    """Tensors only: safetensors, NumPy arrays without objects, or torch files that need no pickled code."""
    if not path.is_file():
        raise InvalidInput("file", str(path), "does not exist")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(str(path))
        if path.suffix == ".npy":
            return torch.from_numpy(np.load(path, allow_pickle=False))
        return torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise InvalidInput("file", str(path), "needs the safetensors package", "pip install safetensors") from error
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InvalidInput(
            "file",
            str(path),
            f"is refused: it is not a plain file of tensors ({reason[:160]})",
            "save a state_dict as safetensors",
        ) from error


def build(target: str) -> nn.Module:
    """Call ``module:factory``."""
    module, _, name = target.partition(":")
    try:
        factory: Callable[[], object] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidInput("--model", target, f"cannot be imported ({error})", "use module:factory") from error
    model = factory()
    if not isinstance(model, nn.Module):
        raise InvalidInput("--model", target, f"must return an nn.Module, not {type(model).__name__}")
    return model


def load_state(model: nn.Module, checkpoint: Path) -> None:
    state = load_tensors(checkpoint)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise InvalidInput("checkpoint", str(checkpoint), "must hold a state_dict")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InvalidInput("checkpoint", str(checkpoint), f"does not fit the model ({reason[:160]})") from error


def as_batch(data: Any, dtype: torch.dtype) -> Any:
    """One tensor, a list of positional inputs or a dict of keyword inputs; a dict of one tensor is that tensor."""
    if isinstance(data, dict):
        values: dict[str, Any] = {str(key): as_batch(value, dtype) for key, value in data.items()}
        return next(iter(values.values())) if len(values) == 1 else values
    if isinstance(data, (list, tuple)):
        return tuple(as_batch(value, dtype) for value in data)
    if not isinstance(data, Tensor):
        raise InvalidInput("--data", type(data).__name__, "must hold tensors")
    return data.to(dtype) if data.is_floating_point() else data


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        model = build(options.model)
        load_state(model, options.checkpoint)
        model.train(options.train_mode)
        dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
        criteria = Criteria(options.clone, options.near, options.dormant)
        found = detect(model, as_batch(load_tensors(options.data), dtype), criteria=criteria)
    except InvalidInput as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    print(json.dumps(found.as_json()) if options.json else found.table())
    bad = options.fail_on_clones and any(layer.cloned or layer.frozen for layer in found.layers)
    return NOT_CERTIFIED if bad else OK


if __name__ == "__main__":
    run(main)
