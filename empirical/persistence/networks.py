"""A network of clones, the manifold through it, and a step of gradient descent in a chosen arithmetic.

192 → 2 hidden layers of ``width``·``factor`` GELU units → classes. A base with random weights is cloned (incoming
weights of a clone shared out evenly); redistribution adds zero row and column sums within every pair of blocks.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from empirical.persistence.options import PersistenceRun
from empirical.streams.tasks import as_inputs, open_source, task
from lop_theory.stability import Objective, Subspace, clones_of_layers, coordinates, normal, objective_of

HIDDEN = ("1", "3")


class Cloned(NamedTuple):
    """A network in float64, its parameters θ as one vector, the normal space, and the normal part of the manifold w +
    BC that θ lies on exactly (before any rounding or perturbation)."""

    model: nn.Sequential
    start: Tensor
    normal: Subspace
    origin: Tensor


class Batch(NamedTuple):
    """All images of a task and their labels."""

    images: Tensor
    labels: Tensor


def draws(run: PersistenceRun, *purpose: int) -> torch.Generator:
    """A random stream for a purpose of a run: its own at every step, whatever was drawn before."""
    words = np.random.SeedSequence([run.seed, *purpose]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> 1))


def cloned_network(run: PersistenceRun) -> Cloned:
    """The network at its start, on the manifold."""
    inputs, units, classes = 3 * run.data.side**2, run.width * run.factor, run.classes_per_task
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, units), nn.GELU(), nn.Linear(units, units), nn.GELU(), nn.Linear(units, classes)
    ).double()  # fmt: skip
    draw = draws(run, 0)
    with torch.no_grad():
        for layer, name in enumerate((*HIDDEN, "5")):
            linear = model.get_submodule(name)
            assert isinstance(linear, nn.Linear)
            ins, outs = run.factor if layer else 1, run.factor if name in HIDDEN else 1
            rows, columns = linear.out_features // outs, linear.in_features // ins
            weight = torch.randn(rows, columns, generator=draw, dtype=torch.float64) / columns**0.5
            linear.weight.copy_(weight.repeat_interleave(outs, 0).repeat_interleave(ins, 1) / ins)
            linear.bias.zero_()
            if run.arm == "redistributed" and min(ins, outs) > 1:
                linear.weight.add_(_redistribution(rows, columns, ins, outs, draw))
    blocks = [unit // run.factor for unit in range(units)]
    where = coordinates(model)
    space = normal(clones_of_layers(model, dict.fromkeys(HIDDEN, blocks)), where)
    point = where.flatten(dict(model.named_parameters())).detach()
    return Cloned(model, point, space, space.project(point))


def _redistribution(rows: int, columns: int, ins: int, outs: int, draw: torch.Generator) -> Tensor:
    """Random, with zero sums over the rows and over the columns of each outs × ins block."""
    raw = torch.randn(rows, outs, columns, ins, generator=draw, dtype=torch.float64) / (columns * ins) ** 0.5
    centred = raw - raw.mean(3, keepdim=True)
    centred = centred - centred.mean(1, keepdim=True)
    return 0.5 * centred.reshape(rows * outs, columns * ins)


def perturbation(run: PersistenceRun, network: Cloned) -> Tensor:
    """The shift that the arm *beside* begins with: normal, random, of ``start`` × ‖θ‖."""
    if run.arm != "beside":
        return torch.zeros_like(network.start)
    draw = network.normal.project(torch.randn(network.start.shape, generator=draws(run, 1), dtype=torch.float64))
    return run.start * network.start.norm() / draw.norm() * draw


def batch_of(run: PersistenceRun, index: int) -> Batch:
    """Task number ``index``, in float64."""
    drawn = task(open_source(run.data), run.data, run.seed, index, run.classes_per_task)
    labels = torch.from_numpy(np.searchsorted(drawn.classes, drawn.labels))
    return Batch(as_inputs(drawn.images).double(), labels)


def loss_on(model: nn.Module, batch: Batch, dtype: torch.dtype) -> Objective:
    """Cross entropy on a task, computed in a precision."""
    return objective_of(model, batch.images, lambda y: nn.functional.cross_entropy(y, batch.labels), dtype=dtype)


def gradient_noise(run: PersistenceRun, step: int, gradient: Tensor) -> Tensor:
    """What the control adds to a gradient; 0 in the other arms."""
    if run.arm != "noise":
        return torch.zeros_like(gradient)
    size = run.sigma * float(gradient.norm()) / len(gradient) ** 0.5
    return size * torch.randn(gradient.shape, generator=draws(run, 2, step), dtype=torch.float64)
