"""What the monitor costs: CPU seconds of one record over those of a training step, on the shapes of ResNet-18 and of
GPT-2 small (two blocks), and what that makes of a run with ``every=500``. Measured in one run.

    python -m benchmarks watching
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.interventions import cases, step_seconds
from lop_theory import watch

EVERY, SLOW, PROBE = 500, 8, 2


def seconds(action: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    action()
    return time.process_time() - start


def mean_square(output: Tensor) -> Tensor:
    """One loss a sample."""
    return output.flatten(1).square().mean(1)


def record_seconds(model: nn.Module, x: Tensor, slow: int) -> float:
    """Of the second record, with its step before; the first, which also traces the model, is left out. With ``slow`` 1
    it has the slow numbers, otherwise not."""
    monitor = watch(model, x, every=2, loss=mean_square, slow=slow)
    monitor.step()
    monitor.step()
    return seconds(lambda: (monitor.step(), monitor.step()))


def main() -> None:
    """Two lines for each model."""
    torch.set_num_threads(1)
    for name, (build, x) in cases().items():
        torch.manual_seed(0)
        model = build()
        optimiser = torch.optim.AdamW(model.parameters())
        step_seconds(optimiser, model, x)
        step = min(step_seconds(optimiser, model, x) for _ in range(2))
        whole, fast = (record_seconds(model, x[:PROBE], slow) for slow in (1, SLOW))
        share = (whole + (SLOW - 1) * fast) / SLOW / (EVERY * step)
        print(
            f"{name}: step {step:.2f} CPU s, record {whole:.1f} CPU s, {SLOW - 1} of {SLOW} {fast:.1f}: + {share:.2%}"
        )
        counted = watch(model, x[:PROBE], every=10**9, measures=())
        idle = seconds(lambda counted=counted: [counted.step() for _ in range(1000)]) / 1000
        print(f"{name}: a step that is not logged costs {idle * 1e6:.1f} µs")


if __name__ == "__main__":
    main()
