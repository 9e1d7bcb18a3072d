"""``python -m lop_theory.stability MODEL --data FILE``: the ways out of a clone manifold, and how fast they are."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lop_theory.cli import NOT_CERTIFIED, OK, Parser, answered, writable
from lop_theory.errors import InvalidInput
from lop_theory.modules.building import build, from_folder
from lop_theory.modules.checkpoint import load_state, load_tensors
from lop_theory.modules.command import read_batch
from lop_theory.stability.analysis import DEFAULT, Analysis, Settings, analyse
from lop_theory.stability.losses import loss_named
from lop_theory.stability.printout import as_json, printed
from lop_theory.trace import as_arguments
from lop_theory.trace.unseen import one_line


def parser() -> Parser:
    result = Parser(
        prog="python -m lop_theory.stability",
        description="Curvature of the loss normal to the manifold on which a model's clones stay clones: spectrum, "
        "inertia, flat directions, classification, the escape direction, and the steps that gradient descent takes to "
        "leave, predicted and measured.",
        epilog="Exit codes: 0 classified, 1 undecided or beside the manifold, 2 bad input, 70 a fault of ours.",
    )
    add = result.add_argument
    add("model", metavar="MODEL", help="module:factory, or a checkpoint (as for lop_theory.modules; with --model)")
    add("--model", dest="factory", metavar="MODULE:FACTORY", help="builds the model that the checkpoint belongs to")
    add("--args", metavar="JSON", help="keyword arguments of the factory, as in '{\"width\": 64}'")
    add("--data", required=True, type=Path, help="inputs, one batch: .safetensors, .pt, .npy, .npz")
    add("--targets", type=Path, help="labels (integers) or values (real numbers), in a file of the same kinds")
    add("--loss", default="auto", help="auto (the output's own loss, or by the targets), cross_entropy, mse, or "
        "module:function of output and targets")  # fmt: skip
    add("--widen", type=int, metavar="N", help="ask about the model's clone of N copies a unit, not about the model")
    add(
        "--redistribute", type=int, metavar="SEED", help="with --widen: clones that are no copies, weights inside RE∩CE"
    )
    add("--train-mode", action="store_true", help="in training mode (default: evaluation); dropout is refused")
    add("--outer", type=int, default=DEFAULT.outer, metavar="N", help="eigenvalues shown at each end (5)")
    add("--tolerance", type=float, default=DEFAULT.tolerance, help="their residuals, over the largest (1e-3)")
    add("--products", type=int, default=DEFAULT.products, metavar="N", help="most Hessian products of Lanczos (200)")
    add(
        "--dense", type=int, default=DEFAULT.dense, metavar="N", help="up to so many normal dimensions: every one (600)"
    )
    add("--step-size", type=float, help="of gradient descent (default: half of 1/largest |curvature|)")
    add("--start", type=float, default=DEFAULT.start, help="distance from the manifold at first, over ‖weights‖ (1e-5)")
    add("--radius", type=float, default=DEFAULT.radius, help="distance that counts as having left (1e-3)")
    add("--steps", type=int, default=DEFAULT.steps, metavar="N", help="most steps of gradient descent (500)")
    add("--seeds", type=int, default=5, metavar="N", help="departures, each in another direction (5; 0: none)")
    add("--along", choices=("escape", "noise"), default="escape", help="start along escape directions, or along noise")
    add("--precision", choices=("float64", "float32"), default="float64", help="of the computation (float64)")
    add("--device", default="cpu", help="cpu, cuda or cuda:N")
    add("--json", action="store_true", help="print JSON instead of text")
    add("--plot", metavar="FILE", help="draw spectrum and departures (.png, .pdf, .svg)")
    add("--verbose", action="store_true", help="show warnings, logs and tracebacks")
    return result


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    return answered(lambda: _found(options), lambda found: _shown(found, options), verbose=options.verbose)


def _found(options: Namespace) -> Analysis:
    target = None if options.plot is None else _plot_file(options.plot)
    found = _analysed(options)
    if target is not None:
        from lop_theory.stability.plot import write_plot

        write_plot(found, target)
    return found


def _shown(found: Analysis, options: Namespace) -> int:
    print(json.dumps(as_json(found), allow_nan=False) if options.json else printed(found))
    return OK if found.kind is not None and found.on_manifold else NOT_CERTIFIED


def _analysed(options: Namespace) -> Analysis:
    settings, device = _settings(options), _device(options.device)
    model = _model(options)
    inputs = pytree.tree_map(lambda t: t.to(device), read_batch(options.data, model))
    model = model.to(device).train(options.train_mode)
    targets = None if options.targets is None else _targets(options.targets).to(device)
    loss = loss_named(options.loss, targets)
    _try(model, inputs, options.data)
    if options.widen is not None:
        from lop_theory.modules.widening import expand

        if options.widen < 2:
            raise InvalidInput("--widen", options.widen, "must be at least 2", "2 makes two clones of every unit")
        model = expand(model, options.widen, example_input=inputs, redistribute=options.redistribute)
    return analyse(model, inputs, loss, settings=settings)


def _model(options: Namespace) -> nn.Module:
    path = Path(options.model)
    if ":" in options.model and not path.exists():
        if options.factory is not None:
            raise InvalidInput("MODEL", options.model, "does not exist", "give a checkpoint, or no --model")
        return build(options.model, options.args)
    if options.factory is None and not path.is_dir():
        remedy = "give --model module:factory, or module:factory alone"
        raise InvalidInput("MODEL", options.model, "is no module:factory, and a checkpoint needs one", remedy)
    model = from_folder(path) if options.factory is None else build(options.factory, options.args)
    load_state(model, path)
    return model


def _targets(path: Path) -> Tensor:
    found = load_tensors(path, "--targets")
    if isinstance(found, dict) and len(found) == 1:
        found = next(iter(found.values()))
    if not isinstance(found, Tensor):
        raise InvalidInput("--targets", str(path), "must hold one tensor", "save the labels alone")
    return found


def _try(model: nn.Module, inputs: Any, path: Path) -> None:
    """Whether the model can be called with the data."""
    args, kwargs = as_arguments(inputs)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model(*args, **kwargs)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise InvalidInput("--data", str(path), f"does not fit the model ({reason})", "check its shape") from error


def _settings(options: Namespace) -> Settings:
    for name, least in (("outer", 1), ("products", 2), ("dense", 0), ("steps", 1), ("seeds", 0)):
        if getattr(options, name) < least:
            raise InvalidInput(f"--{name}", getattr(options, name), f"must be at least {least}")
    if options.redistribute is not None and (options.redistribute < 0 or options.widen is None):
        remedy = "give a seed, and --widen N"
        raise InvalidInput("--redistribute", options.redistribute, "must be at least 0, beside --widen", remedy)
    if not 0 < options.start < options.radius < float("inf"):
        raise InvalidInput("--start, --radius", (options.start, options.radius), "must satisfy 0 < start < radius")
    for name, value in (("--step-size", options.step_size), ("--tolerance", options.tolerance)):
        if value is not None and not 0 < value < float("inf"):
            raise InvalidInput(name, value, "must be positive and finite")
    names = ("outer", "tolerance", "products", "dense", "step_size", "start", "radius", "steps", "along")
    given = {name: getattr(options, name) for name in names}
    return Settings(**given, seeds=tuple(range(options.seeds)), precision=getattr(torch, options.precision))


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidInput("--device", name, f"is not there ({one_line(error)})", "give --device cpu") from None
    return device


def _plot_file(path: str) -> Path:
    target = writable("--plot", path)
    if target.suffix not in (".png", ".pdf", ".svg"):
        raise InvalidInput("--plot", path, "must end in .png, .pdf or .svg")
    return target
