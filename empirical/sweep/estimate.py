"""What runs cost: measured on runs of the same kind that have ended, or by counting floating-point operations."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from empirical.runs.store import Record
from empirical.training.options import ModelOptions

SUSTAINED = 10e12
"""Operations a second that a GPU of the A100's class is assumed to sustain on these models (half its FP32 peak)."""
STEP_SECONDS = 2e-3
"""And the least time of a step of one network, which is that of launching its kernels."""
HOUR = 3600.0
FORWARD_AND_BACKWARD = 3
Class = tuple[str, str, int, str]


class Cost(NamedTuple):
    """Hours of one device; for how many of the runs they rest on times of their class, and for how many on the rate of
    operations of their model in another class."""

    hours: float
    measured: int
    scaled: int = 0


class Rates(NamedTuple):
    """What has been measured: class → seconds a step of one run; (model, precision) → operations a second."""

    step: dict[Class, float]
    operations: dict[tuple[str, str], float]


def class_of(config: Any) -> Class:
    """Runs of a class take the same time a step."""
    return config.experiment, config.model.name, config.batch, config.optimiser.precision


def rates(ended: Iterable[tuple[Any, Record]], device: str) -> Rates:
    """Over the runs that ended on a device whose name begins so."""
    pairs = [(config, record) for config, record in ended if record.manifest["device"].startswith(device)]
    step = seconds_a_step(pairs, device)
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for config in {class_of(config): config for config, _ in pairs}.values():
        if class_of(config) in step:
            seconds = step[class_of(config)] * config.length
            found[config.model.name, config.optimiser.precision].append(operations(config) / seconds)
    return Rates(step, {key: sum(values) / len(values) for key, values in found.items()})


def seconds_a_step(ended: Iterable[tuple[Any, Record]], device: str) -> dict[Class, float]:
    """Class → mean measured seconds a step of one run, over the runs that ended on this kind of device."""
    found: dict[Class, list[float]] = defaultdict(list)
    for config, record in ended:
        facts = record.manifest
        if facts["device"].startswith(device) and facts["steps"]:
            found[class_of(config)].append(facts["wall_seconds"] / facts.get("together", 1) / facts["steps"])
    return {key: sum(values) / len(values) for key, values in found.items()}


def gpu_hours(configs: Iterable[Any], measured: Rates, share: float) -> Cost:
    """Hours of a GPU for the runs; ``share`` is the part of it that a measured run had."""
    every, seconds = list(configs), seconds_of(measured, share)
    known = [class_of(config) in measured.step for config in every]
    scaled = sum(rate_of(measured, config) is not None for config, one in zip(every, known, strict=True) if not one)
    return Cost(sum(map(seconds, every)) / HOUR, sum(known), scaled)


def core_hours(configs: Iterable[Any], measured: dict[Class, float]) -> Cost:
    """Hours of a processor core for those of the runs whose class has been measured."""
    steps = [measured[class_of(c)] * c.length for c in configs if class_of(c) in measured]
    return Cost(sum(steps) / HOUR, len(steps))


def assumed_seconds(config: Any) -> float:
    """Time of a run on a GPU from its operations and its steps."""
    return max(operations(config) / SUSTAINED, STEP_SECONDS * config.length * networks(config))


def networks(config: Any) -> int:
    """Networks that train in a run."""
    return 2 + config.control if config.experiment == "cloning" else 1


def operations(config: Any) -> float:
    """Floating-point operations of a run's training (two a multiplication with addition), without its metrics."""
    side = config.data.side
    base = _forward(replace(config.model, dropout=0.0, normalisation="none"), side, 1) * config.length
    if config.experiment == "cloning":
        model = replace(config.model, dropout=0.0, normalisation="none")
        base += _forward(model, side, config.factor) * config.steps * (networks(config) - 1)
    return float(FORWARD_AND_BACKWARD * config.batch * base)


def seconds_of(measured: Rates, share: float) -> Callable[[Any], float]:
    """Seconds of a device for a run: measured ones of its class, else from its operations at its model's rate, else
    assumed."""

    def seconds(config: Any) -> float:
        if (step := measured.step.get(class_of(config))) is not None:
            return share * step * config.length
        rate = rate_of(measured, config)
        return assumed_seconds(config) if rate is None else share * operations(config) / rate

    return seconds


def rate_of(measured: Rates, config: Any) -> float | None:
    """Operations a second of the run's model in its precision, in any class."""
    return measured.operations.get((config.model.name, config.optimiser.precision))


def parameters(config: Any) -> int:
    """Weights and biases of all networks of a run."""
    side = config.data.side
    base = _parameters(config.model, side, 1)
    if config.experiment != "cloning":
        return base
    return base + _parameters(config.model, side, config.factor) * (networks(config) - 1)


@lru_cache(maxsize=64)
def _parameters(model: ModelOptions, side: int, widen: int) -> int:
    import torch

    from empirical.training.models import build

    with torch.device("meta"):  # shapes without numbers
        return sum(p.numel() for p in build(model, (3, side, side), 10, 0, widen=widen).parameters())


@lru_cache(maxsize=64)
def _forward(model: ModelOptions, side: int, widen: int) -> float:
    """Operations of one image's way through the model, counted by PyTorch."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from empirical.training.models import build

    network = build(model, (3, side, side), 10, 0, widen=widen).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(2, 3, side, side))
    return counter.get_total_flops() / 2
