"""Bit-flipping: the compiled online engine against a per-sample PyTorch loop, both with data generation.

Rates are per second of processor time of one thread, so that other work on the machine weighs little.
"""

import time
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from empirical.bitflip.online import advance
from empirical.bitflip.options import BITFLIP, BitflipRun
from empirical.bitflip.simulation import Simulation
from lop_theory.optim import ContinualBackprop

WIDTHS, METHODS = (5, 10, 50, 100), ("sgd", "cbp")
ENGINE_STEPS, LOOP_STEPS, INPUTS, MEASUREMENTS = 1_000_000, 1_500, 21, 50


def engine_rate(run: BitflipRun) -> float:
    """Steps a second of the engine: stream, target, training; the best of three."""
    best = float("inf")
    for _ in range(3):
        simulation = Simulation(run)
        errors, none = np.zeros(ENGINE_STEPS // 1000), np.empty((0, 2), np.int64)
        start = time.thread_time()
        advance(simulation.learner, simulation.rule, simulation.source, (0, ENGINE_STEPS, 1000), errors, none)
        best = min(best, time.thread_time() - start)
    return ENGINE_STEPS / best


def loop_rate(run: BitflipRun) -> float:
    """Steps a second of the straightforward loop, float32 with ``torch.optim.SGD`` as stock; the best of three."""
    return max(_loop_once(run) for _ in range(3))


def _loop_once(run: BitflipRun) -> float:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(INPUTS, run.width), nn.ReLU(), nn.Linear(run.width, 1))
    optimiser: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=run.learner.step_size)
    if run.method == "cbp":
        optimiser = ContinualBackprop(optimiser, model, example_input=torch.zeros(2, INPUTS))
    weights, outgoing = (torch.randint(0, 2, shape) * 2.0 - 1 for shape in ((100, INPUTS), (100,)))
    thresholds = 0.7 * INPUTS - (weights[:, :-1] < 0).sum(1) + 0.5 * weights[:, -1]
    start = time.thread_time()
    held = torch.randint(0, 2, (15,)).expand(LOOP_STEPS, 15)
    inputs = torch.cat([held, torch.randint(0, 2, (LOOP_STEPS, 5)), torch.ones(LOOP_STEPS, 1)], 1).float()
    targets = (inputs @ weights.T >= thresholds).float() @ outgoing
    for x, y in zip(inputs, targets, strict=True):
        loss = nn.functional.mse_loss(model(x[None])[0, 0], y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return LOOP_STEPS / (time.thread_time() - start)


def measuring_share(run: BitflipRun) -> float:
    """Of a run's time, with a measurement every 10,000 samples."""
    simulation = Simulation(replace(run, measure_every=10_000))
    simulation.advance()
    times = []
    for action in (simulation.advance, simulation.metrics):
        start = time.thread_time()
        for _ in range(MEASUREMENTS):
            action()
        times.append(time.thread_time() - start)
    return times[1] / times[0]


def sgemm_rate(size: int = 1024) -> float:
    """Floating-point operations a second of a float32 matrix product on one core, the best of five."""
    a = torch.randn(size, size)
    best = float("inf")
    for _ in range(5):
        start = time.thread_time()
        a @ a
        best = min(best, time.thread_time() - start)
    return 2 * size**3 / best


def operations(width: int, method: str) -> int:
    """Of a step in dense algebra: forward and update of (inputs + 2) × width weights; CBP's mean |W| and utilities."""
    return 4 * (INPUTS + 2) * width + (2 * INPUTS + 14) * width * (method == "cbp")


def main() -> None:
    """Print the table."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gemm, plain = sgemm_rate(), {}
    print(f"sgemm on this core: {gemm / 1e9:.0f} GFLOP/s; the engine works in float64, whose peak is half of that")
    head = f"{'width':>5} {'method':>6} {'engine/s':>12} {'loop/s':>8} {'ratio':>7} {'/ SGD loop':>10} {'of sgemm':>9}"
    print(f"{head} {'measuring':>9}")
    for width in WIDTHS:
        for method in METHODS:
            run = next(r for r in BITFLIP["paper"].runs() if (r.width, r.method) == (width, method))
            fast, slow = engine_rate(run), loop_rate(run)
            plain.setdefault(width, slow)
            share = fast * operations(width, method) / gemm
            ratios = f"{fast / slow:>7,.0f} {fast / plain[width]:>10,.0f} {share:>9.1%} {measuring_share(run):>9.1%}"
            print(f"{width:>5} {method:>6} {fast:>12,.0f} {slow:>8,.0f} {ratios}", flush=True)
    torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
