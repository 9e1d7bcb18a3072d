"""``python -m lop_theory.modules CHECKPOINT --model module:factory --data FILE``: clones and frozen units of a
trained model."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lop_theory.cli import NOT_CERTIFIED, OK, Parser, answered, writable, write_whole
from lop_theory.errors import InvalidInput
from lop_theory.modules.batches import Loader
from lop_theory.modules.building import build, from_folder
from lop_theory.modules.checkpoint import load_state, load_tensors
from lop_theory.modules.detection import Criteria, Detection
from lop_theory.modules.finder import detect

FOUND = ("trapped", "separating", "cloned", "frozen")


def parser() -> Parser:
    result = Parser(
        prog="python -m lop_theory.modules",
        description="Find clones, twins, near-clones, dead, constant, saturated and frozen units of a trained model, "
        "and say which of them training can part.",
        epilog="Exit codes: 0 no clones and no units frozen for ever, 1 some found, or a layer could not be judged, "
        "2 bad input, 70 a fault of ours.",
    )
    add = result.add_argument
    add(
        "checkpoint",
        type=Path,
        help="a state_dict, alone or as a trainer saves it (.safetensors, .pt, .ckpt that load with weights_only), or "
        "a Hugging Face folder",
    )
    add("--model", metavar="MODULE:FACTORY", help="builds the model (a Hugging Face folder's config does without)")
    add("--args", metavar="JSON", help="keyword arguments of the factory, as in '{\"width\": 64}'")
    add(
        "--data",
        required=True,
        type=Path,
        help="inputs: .safetensors, .pt (tensor, list or dict of tensors), .npy, .npz",
    )
    add("--batch-size", type=int, metavar="N", help="go through the data N samples at a time (default: all at once)")
    add("--mask", metavar="KEY", help="the input that is 0 at padding, such as attention_mask")
    add("--clone", type=float, default=1e-6, help="largest difference of clones, over how much they vary (1e-6)")
    add("--near", type=float, default=0.95, help="cosine above which units are near-clones (0.95)")
    add("--dormant", type=float, default=0.025, help="ReDo's tau (0.025)")
    add("--input-range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="bounds of all inputs, for certificates")
    add("--train-mode", action="store_true", help="measure in training mode (default: evaluation)")
    add("--json", action="store_true", help="print JSON instead of a table")
    add("--html", metavar="FILE", help="write the verdicts as one self-contained page")
    add("--verbose", action="store_true", help="show warnings, logs and tracebacks")
    return result


def as_batch(data: Any, dtype: torch.dtype) -> Any:
    """One tensor, a list of positional inputs or a dict of keyword inputs; a dict of one tensor is that tensor.
    Floating numbers take the model's precision, integers become int64."""
    if isinstance(data, dict):
        return {str(key): as_batch(value, dtype) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return tuple(as_batch(value, dtype) for value in data)
    if not isinstance(data, Tensor):
        raise InvalidInput(
            "--data", type(data).__name__, "must hold tensors", "save a tensor, a list or a dict of them"
        )
    if data.is_floating_point():
        return data.to(dtype)
    return data if data.dtype == torch.bool else data.long()


def read_batch(path: Path, model: nn.Module, *, keys: bool = False) -> Any:
    """The inputs in a file, in the model's precision. A dict of one tensor that ``forward`` has no keyword for is that
    tensor, unless its ``keys`` are needed."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    batch = as_batch(load_tensors(path, "--data"), dtype)
    if isinstance(batch, dict) and len(batch) == 1 and not keys and not _takes(model, next(iter(batch))):
        return next(iter(batch.values()))
    return batch


def _inputs(options: Namespace, model: nn.Module) -> Any:
    batch = read_batch(options.data, model, keys=bool(options.mask))
    size = options.batch_size
    if size is None:
        return batch
    if size < 1:
        raise InvalidInput("--batch-size", size, "must be at least 1")
    leaves = [t for t in pytree.tree_leaves(batch) if t.dim()]
    total = len(leaves[0]) if leaves else 0
    if not total or any(len(t) != total for t in leaves):
        raise InvalidInput("--batch-size", size, "needs inputs with one number of samples", "leave it out")
    parts = [pytree.tree_map(lambda t, k=k: t[k : k + size] if t.dim() else t, batch) for k in range(0, total, size)]
    return Loader(parts, lambda part: part)


def _takes(model: nn.Module, name: str) -> bool:
    """Whether ``forward`` has a keyword of that name."""
    code = getattr(type(model).forward, "__code__", None)
    return code is not None and name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _detected(options: Namespace) -> Detection:
    if options.model is None and not options.checkpoint.is_dir():
        raise InvalidInput("--model", None, "is needed for a checkpoint that is no folder", "give module:factory")
    model = from_folder(options.checkpoint) if options.model is None else build(options.model, options.args)
    load_state(model, options.checkpoint)
    model.train(options.train_mode)
    low_high = None if options.input_range is None else tuple(options.input_range)
    criteria = Criteria(options.clone, options.near, options.dormant, input_range=low_high)
    return detect(model, _inputs(options, model), criteria=criteria, mask=options.mask)


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    return answered(lambda: _found(options), lambda found: _shown(found, options), verbose=options.verbose)


def _found(options: Namespace) -> Detection:
    page = None if options.html is None else writable("--html", options.html)
    found = _detected(options)
    if page is not None:
        write_whole(page, found.html().encode())
    return found


def _shown(found: Detection, options: Namespace) -> int:
    print(json.dumps(found.as_json(), allow_nan=False) if options.json else found.table())
    return NOT_CERTIFIED if found.verdicts(*FOUND) or found.skipped else OK
