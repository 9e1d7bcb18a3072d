"""Metrics of all layers of the paper's models on 500 images: what they cost beyond the forward and backward pass that
yields activations and gradients, and straightforward code on the same activations.

The straightforward code visits unit after unit; a few units of each layer are timed and scaled to all of them, its
singular values are timed whole. One thread is timed in processor time, so that other work on the machine weighs
little; two threads in wall time.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.continual import Clock, plain_unit
from empirical.training.models import build
from empirical.training.options import ModelName, ModelOptions
from lop_theory.metrics import capture, hidden_layers, measure

IMAGES, CLASSES, SIDE, UNITS = 500, 5, 32, 2
MODELS: tuple[ModelName, ...] = ("mlp", "cnn", "resnet18", "vit")


def seconds(action: Callable[[], object], clock: Clock) -> float:
    """The faster of two calls."""
    best = float("inf")
    for _ in range(2):
        start = clock()
        action()
        best = min(best, clock() - start)
    return best


def straightforward(h: Tensor, slope: Tensor, clock: Clock) -> float:
    """Seconds for one layer, samples × units."""
    start = clock()
    for unit in range(UNITS):
        plain_unit(h, slope, unit)
    units = (clock() - start) * h.shape[1] / UNITS
    start = clock()
    torch.linalg.svdvals(h)
    return units + clock() - start


def compare(name: ModelName, threads: int) -> str:
    """A row of the table."""
    torch.set_num_threads(threads)
    clock = time.thread_time if threads == 1 else time.perf_counter
    model = build(ModelOptions(name, "layer" if name == "vit" else "batch"), (3, SIDE, SIDE), 200, 0).eval()
    torch.manual_seed(0)
    images, labels = torch.randn(IMAGES, 3, SIDE, SIDE), torch.arange(IMAGES) % CLASSES

    def loss(output: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, labels)

    def passes() -> None:
        inputs = images.clone().requires_grad_()
        torch.autograd.grad(loss(model(inputs)), inputs)

    alone = seconds(passes, clock)
    ours = seconds(lambda: measure(model, images, loss), clock)
    found = capture(model, images, loss, layers=hidden_layers(model)).values()
    slow = sum(straightforward(c.activations, c.gradient, clock) for c in found if c.gradient is not None)
    beyond = ours - alone
    times = f"{alone:>9.2f}{ours:>9.2f}{beyond:>9.2f}{slow:>17.1f}{slow / beyond:>8.0f}"
    return f"{name:<10}{threads:>7}{len(found):>7}{times}"


def main() -> None:
    """Print the table."""
    before = torch.get_num_threads()
    print(f"{IMAGES} images {SIDE}x{SIDE}x3, seconds (target: metrics < 3 on two threads)")
    print("model     threads layers   passes     both  metrics  straightforward   ratio")
    for threads in (1, 2):
        for name in MODELS:
            print(compare(name, threads), flush=True)
    torch.set_num_threads(before)


if __name__ == "__main__":
    main()
