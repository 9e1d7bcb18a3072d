"""Continual classification end to end, the MLP 5×128 on permuted glyphs: where the time goes, against its matrix
products alone and against a straightforward PyTorch loop.

One thread is timed in processor time, so that other work on the machine weighs little; two threads in wall time.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from empirical.continual.options import CONTINUAL, ContinualRun
from empirical.continual.simulation import Simulation
from empirical.streams.tasks import Task, as_inputs, open_source, task
from empirical.training.models import build

TASKS, LOOP_STEPS = 3, 150
SIZES = ((16, 64), (32, 128), (64, 128))
"""Side of the images and batch; the last are the paper's."""
Clock = Callable[[], float]


class Spent(NamedTuple):
    """Seconds a step: all of it; training alone, the mean and in the fastest window."""

    whole: float
    training: float
    fastest: float


def engine(run: ContinualRun, clock: Clock) -> Spent:
    """The experiment itself, from drawing tasks to metrics, nothing written to disk; the first task warms up."""
    simulation = Simulation([run])
    inner = simulation.trainer.step
    windows = [0.0]

    def timed(inputs: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
        start = clock()
        losses = inner(inputs, labels, mask)
        windows[-1] += clock() - start
        return losses

    simulation.trainer.step = timed  # type: ignore[method-assign]
    while simulation.step < run.steps:
        simulation.advance()
    windows = [0.0]
    start = clock()
    while simulation.step < run.length:
        simulation.advance()
        windows.append(0.0)
    steps = run.length - run.steps
    return Spent((clock() - start) / steps, sum(windows) / steps, min(windows[:-1]) / run.window)


def products(run: ContinualRun) -> Callable[[], None]:
    """The matrix products of a training step: forward, weight gradients, and input gradients but the first layer's."""
    source = open_source(run.data)
    linear = [m for m in build(run.model, source.image, source.classes, 0).modules() if isinstance(m, nn.Linear)]
    shapes = [(run.batch, m.in_features, m.out_features) for m in linear]
    tensors = [(torch.randn(b, i), torch.randn(o, i), torch.randn(b, o), torch.empty(o, i)) for b, i, o in shapes]

    def action() -> None:
        for k, (h, weight, slope, gradient) in enumerate(tensors):
            h @ weight.T
            torch.mm(slope.T, h, out=gradient)
            if k:
                slope @ weight

    return action


def fastest(action: Callable[[], None], clock: Clock, *, rounds: int = 15, inner: int = 20) -> float:
    """Seconds of one call, in the fastest round."""
    action()
    best = float("inf")
    for _ in range(rounds):
        start = clock()
        for _ in range(inner):
            action()
        best = min(best, (clock() - start) / inner)
    return best


def plain_loop(run: ContinualRun, clock: Clock) -> Spent:
    """What a script does: a DataLoader, ``torch.optim.Adam`` as it comes, ``loss.item()``, metrics unit by unit."""
    source = open_source(run.data)
    drawn = task(source, run.data, run.seed, 0, run.classes_per_task)
    model = build(run.model, source.image, source.classes, run.seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=run.optimiser.step_size)
    pairs = torch.utils.data.TensorDataset(as_inputs(drawn.images), torch.from_numpy(drawn.labels))
    forbidden = torch.ones(source.classes, dtype=torch.bool)
    forbidden[list(drawn.classes)] = False
    times: list[float] = []
    start = clock()
    while len(times) < LOOP_STEPS:
        for images, labels in torch.utils.data.DataLoader(pairs, run.batch, shuffle=True, drop_last=True):
            began = clock()
            loss = nn.functional.cross_entropy(model(images).masked_fill(forbidden, -torch.inf), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item()
            times.append(clock() - began)
    whole = (clock() - start) / len(times)
    start = clock()
    plain_metrics(model, drawn)
    measurements = 2 / run.steps  # a task is measured after its first step and at its end
    return Spent(whole + (clock() - start) * measurements, float(np.mean(times)), min(times))


def plain_metrics(model: nn.Module, drawn: Task) -> list[tuple[float, float, float, float]]:
    """Dead, duplicate and saturated shares and effective rank of every hidden layer, each unit in turn."""
    seen: list[Tensor] = []
    layers = [m for m in model.modules() if isinstance(m, nn.ReLU)]
    handles = [m.register_forward_hook(lambda _m, _x, h: (h.retain_grad(), seen.append(h))[0]) for m in layers]
    output = model(as_inputs(drawn.probe_images))
    nn.functional.cross_entropy(output, torch.from_numpy(drawn.probe_labels)).backward()
    for handle in handles:
        handle.remove()
    return [plain_layer(h.detach(), h.grad) for h in seen]


def plain_layer(h: Tensor, slope: Tensor) -> tuple[float, float, float, float]:
    """One layer, samples × units."""
    shares = np.mean([plain_unit(h, slope, i) for i in range(h.shape[1])], axis=0).tolist()
    sigma = torch.linalg.svdvals(h)
    p = sigma[sigma > 0] / sigma.sum()
    return *shares, float(torch.exp(-(p * p.log()).sum()))


def plain_unit(h: Tensor, slope: Tensor, i: int) -> tuple[bool, bool, bool]:
    """Whether unit i is dead, a duplicate, saturated."""
    unit = h[:, i]
    dead = (unit.abs() < 1e-7).float().mean().item() > 0.95
    saturated = (slope[:, i].abs() / unit.abs().mean().clamp_min(1e-12) < 1e-4).float().mean().item() > 0.99
    others = [j for j in range(h.shape[1]) if j != i]
    duplicate = max(torch.cosine_similarity(unit, h[:, j], 0).item() for j in others) > 0.95
    return dead, duplicate, saturated


def compare(run: ContinualRun, threads: int) -> str:
    """A row of the table."""
    torch.set_num_threads(threads)
    clock = time.thread_time if threads == 1 else time.perf_counter
    action = products(run)
    floor = fastest(action, clock)
    ours, loop = engine(run, clock), plain_loop(run, clock)
    floor = min(floor, fastest(action, clock))
    return (
        f"{run.data.side:>4} {run.batch:>5} {threads:>7} {floor * 1e3:>9.2f} {ours.fastest * 1e3:>9.2f}"
        f" {floor / ours.fastest:>6.0%} {ours.whole * 1e3:>7.2f} {1 - ours.training / ours.whole:>13.1%}"
        f" {loop.training * 1e3:>7.2f} {loop.whole * 1e3:>7.2f} {loop.whole / ours.whole:>5.1f}"
    )


def main() -> None:
    """Print the table."""
    before = torch.get_num_threads()
    first = next(r for r in CONTINUAL["laptop"].runs() if r.model.name == "mlp" and not r.fresh)
    print("milliseconds a step; share: products / training (target >= 60 %); data+metrics of the whole (target < 15 %)")
    print(f"{'':39}{'engine':^22} {'straightforward loop':^22}")
    print("side batch threads  products  training  share   whole  data+metrics training   whole ratio")
    for side, batch in SIZES:
        run = replace(first, tasks=TASKS, steps=500, window=100, batch=batch, data=replace(first.data, side=side))
        for threads in (1, 2):
            print(compare(run, threads), flush=True)
    torch.set_num_threads(before)


if __name__ == "__main__":
    main()
