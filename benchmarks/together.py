"""Five seeds of the MLP together on a CPU against five processes: processor time a step of one thread, by every engine,
and of their matrix products alone, below which nothing can be.

On two cores five processes take both as well, so the ratio of processor times is that of throughputs.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from empirical.runs.execution import Engine
from empirical.training.engines import ENGINES
from empirical.training.feed import Feed
from empirical.training.models import build
from empirical.training.options import ModelOptions, OptimiserOptions
from empirical.training.trainer import Trainer

SEEDS, CLASSES = (40, 41, 42, 43, 44), 200
SIZES = ((16, 64), (64, 128))
"""Side of the images, and batch: the laptop's and the paper's."""


def step_of(side: int, batch: int, seeds: tuple[int, ...], engine: Engine) -> Callable[[], Tensor]:
    """A step of these seeds in one trainer."""
    models = [build(ModelOptions("mlp"), (3, side, side), CLASSES, seed) for seed in seeds]
    trainer = Trainer(models, OptimiserOptions(), seeds, engine=engine)
    images, labels = torch.randn(batch, 3, side, side), torch.randint(0, 5, (batch,))
    numbers = np.broadcast_to(np.arange(batch), (1, len(seeds), batch))
    mask = (torch.arange(CLASSES) < 5).expand(len(seeds), -1)
    feed = Feed([(images, labels)] * len(seeds))
    return lambda: trainer.steps(feed, numbers, mask)


def products_of(side: int, batch: int) -> Callable[[], None]:
    """The matrix products of a step of one seed: forward, weight gradients, and input gradients but the first's."""
    linear = [m for m in build(ModelOptions("mlp"), (3, side, side), CLASSES, 0).modules() if isinstance(m, nn.Linear)]
    pairs = [(torch.randn(batch, m.in_features), torch.randn(m.out_features, m.in_features)) for m in linear]

    def action() -> None:
        for k, (h, weight) in enumerate(pairs):
            slope = h @ weight.T
            slope.T @ h
            if k:
                slope @ weight

    return action


def best(actions: dict[str, Callable[[], object]], rounds: int = 12) -> dict[str, float]:
    """Seconds of each, the fastest round; in turns, so that the machine's mood is the same for all."""
    found = dict.fromkeys(actions, float("inf"))
    for _ in range(rounds + 1):
        for name, action in actions.items():
            start = time.thread_time()
            action()
            found[name] = min(found[name], time.thread_time() - start)
    return found


def main() -> None:
    """Print the table."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    print("milliseconds of processor time a step of five seeds; ratio: five processes / together (target >= 1.5)")
    print(f"{'side':>4} {'batch':>5} {'products':>9} {'5 alone':>9}" + "".join(f"{e:>9} ratio" for e in ENGINES))
    for side, batch in SIZES:
        actions: dict[str, Callable[[], object]] = {e: step_of(side, batch, SEEDS, e) for e in ENGINES}
        actions |= {"alone": step_of(side, batch, SEEDS[:1], "eager"), "products": products_of(side, batch)}
        took = best(actions)
        alone = 5 * took["alone"]
        row = "".join(f"{1e3 * took[e]:>9.2f} {alone / took[e]:>5.2f}" for e in ENGINES)
        print(f"{side:>4} {batch:>5} {5e3 * took['products']:>9.2f} {1e3 * alone:>9.2f}{row}", flush=True)
    torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
