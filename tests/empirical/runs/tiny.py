"""A small experiment for tests of the harness, several seeds side by side: a walk, or (``torch``) a real MLP under
Adam with dropout. PyTorch is imported only then: a process for the walk starts in no time.

``death`` kills the process, as kill -9 would, right before the commit of a step; ``once`` names a file that is made
then, and nothing dies once it exists.
"""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from empirical.runs.run import Advance, Experiment, Job, carry_out
from empirical.runs.store import Row
from lop_theory.errors import InvalidInput

EVERY = 5
FAULTS = {
    "memory": MemoryError("planted"),
    "value": ValueError("planted"),
    "input": InvalidInput("source", "glyphs", "is planted", "pull it out"),
}


@dataclass(frozen=True)
class TinyRun:
    seed: int
    torch: bool = False
    steps: int = 60
    pause: float = 0.0
    diverge_at: int = -1
    """The step at which seed 1 ceases to be finite."""
    death: int = -1
    """The step before whose commit the process is killed."""
    once: str = ""
    fault: str = ""
    """The key of an error raised instead."""
    experiment: str = "tiny"
    protocol: int = 1

    @property
    def length(self) -> int:
        return self.steps


class Walk:
    """One seed of a walk."""

    def __init__(self, run: TinyRun) -> None:
        self.seed, self.at = run.seed, np.zeros(3)

    def step(self, step: int) -> float:
        self.at = np.sin(self.at + np.random.default_rng((self.seed, step)).normal(size=3))
        return float(self.at[0])

    def arrays(self) -> dict[str, np.ndarray]:
        return {"at": self.at.copy()}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        self.at = arrays["at"]


class Network:
    """One seed of a network, with its optimiser, and dropout from (seed, step)."""

    def __init__(self, run: TinyRun) -> None:
        import torch
        from torch import nn

        self.seed = run.seed
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)
            self.model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=0.01)

    def step(self, step: int) -> float:
        import torch

        inputs = torch.from_numpy(np.random.default_rng((self.seed, step)).normal(size=(16, 8)).astype(np.float32))
        with torch.random.fork_rng():
            torch.manual_seed(1000 * self.seed + step)
            loss = ((self.model(inputs)[:, 0] - inputs[:, 0].sin()) ** 2).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())

    def arrays(self) -> dict[str, np.ndarray]:
        moments = self.optimiser.state_dict()["state"]
        kept = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        kept |= {f"adam.{k}.{name}": v for k, state in moments.items() for name, v in state.items()}
        return {k: v.detach().numpy().copy() for k, v in kept.items()}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        import torch

        named = {k: torch.from_numpy(v.copy()) for k, v in arrays.items()}
        self.model.load_state_dict({k[6:]: v for k, v in named.items() if k.startswith("model.")})
        state: dict[str, Any] = self.optimiser.state_dict()
        for k, value in named.items():
            if k.startswith("adam."):
                _, number, name = k.split(".")
                state["state"].setdefault(int(number), {})[name] = value
        self.optimiser.load_state_dict(state)


class Simulation:
    def __init__(self, runs: Sequence[TinyRun], arrays: list[dict[str, np.ndarray]] | None, step: int) -> None:
        self.run, self.step = runs[0], step
        self.runs = runs
        self.ones = [(Network if run.torch else Walk)(run) for run in runs]
        for one, saved in zip(self.ones, arrays or [], strict=False):
            one.load(saved)

    def first_rows(self) -> list[list[Row]]:
        return [[{"step": 0}] for _ in self.ones]

    def advance(self) -> list[Advance]:
        time.sleep(self.run.pause)
        stop = min(self.step + EVERY, self.run.steps)
        brought = []
        for run, one in zip(self.runs, self.ones, strict=True):
            loss = [one.step(step) for step in range(self.step, stop)][-1]
            wild = run.seed == 1 and self.step <= run.diverge_at < stop
            cause = f"a loss up to step {stop} is not finite" if wild else None
            brought.append(Advance([{"step": stop, "loss": np.inf if wild else loss}], cause))
        self.step = stop
        self._die()
        return brought

    def _die(self) -> None:
        if self.run.death != self.step or (self.run.once and Path(self.run.once).exists()):
            return
        if self.run.once:
            Path(self.run.once).touch()
        if self.run.fault:
            raise FAULTS[self.run.fault]
        os.kill(os.getpid(), signal.SIGKILL)

    def states(self) -> list[dict[str, np.ndarray]]:
        return [one.arrays() for one in self.ones]


def together(run: TinyRun) -> TinyRun:
    return replace(run, seed=0)


def label(run: TinyRun) -> str:
    return f"tiny {run.seed}"


COLUMNS = {"step": "int64", "loss": "float64"}
EXPERIMENT = Experiment("tiny", COLUMNS, Simulation, group=together, label=label)
assert asdict(TinyRun(0))["experiment"] == EXPERIMENT.name


def carried_out(runs: Sequence[TinyRun], root: Path) -> Path:
    """The folder with these runs, each carried out alone."""
    for run in runs:
        carry_out(Job(EXPERIMENT, (run,), root, "cpu"))
    return root
