"""How runs are carried out, whatever the experiment: nothing here enters a run's identity or changes its results."""

import os
from dataclasses import dataclass
from typing import Literal, get_args

from lop_theory.errors import InvalidInput

Engine = Literal["auto", "eager", "vmap", "graph"]
"""Ways in which the networks of a group make their steps; auto measures which is fastest (on the CPU it is eager)."""


@dataclass(frozen=True)
class Execution:
    """Where and how runs are carried out. Results, but for rounding, and run ids do not depend on it."""

    out: str = "runs"
    """Folder for the records; they go to OUT/EXPERIMENT/ID/. A cluster's machines must share it."""
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    workers: int = 1
    """Processes on this machine, one thread each; one that dies is replaced and its run goes on."""
    together: int = 0
    """Runs that differ only in the seed train side by side, at most so many; 0 is all of them on a GPU, else one."""
    engine: Engine = "auto"
    """How networks that train side by side make a step: one by one (eager), in one vectorised call (vmap), or each on
    a stream of its own in one recorded CUDA graph, compiled (graph). auto: on a GPU what a short trial of the model
    finds fastest, on the CPU eager. The manifest says which, and the trial."""
    deterministic: bool = False
    """On a GPU: only kernels that give the same bits every time, slower, so that a run that was interrupted ends in the
    same bits, as always on the CPU (never run on a device so far)."""
    drawers: int | None = None
    """Threads of a worker that draw pictures ahead of the training; none: on a GPU the worker's share of the cores, on
    the CPU 0, where they would take a core of the training's."""
    retries: int = 2
    """How often a run is taken up again after its worker died or raised an error."""
    cluster: str = ""
    """A Ray cluster that carries the runs out instead of this machine: auto, or its address (HOST:PORT)."""
    gpus_per_run: float = 1.0
    """On a cluster with a CUDA device: the share of a GPU that a run asks for, 0.25 say."""
    stop_after: float = 0.0
    """Seconds after which every run leaves with a checkpoint, and none begins any more; 0 is no limit."""
    tensorboard: str = ""
    """Folder for TensorBoard event files, one sub-folder a run."""
    wandb: str = ""
    """Weights & Biases project; with WANDB_MODE=offline nothing leaves the machine."""

    def __post_init__(self) -> None:
        for name in ("workers", "together", "retries"):
            least = 1 if name == "workers" else 0
            if getattr(self, name) < least:
                raise InvalidInput(name, getattr(self, name), f"must be at least {least}")
        if self.drawers is not None and self.drawers < 0:
            raise InvalidInput("drawers", self.drawers, "must be at least 0")
        if not 0 < self.gpus_per_run < float("inf"):
            raise InvalidInput("gpus_per_run", self.gpus_per_run, "must be positive and finite")
        if not 0 <= self.stop_after < float("inf"):
            raise InvalidInput("stop_after", self.stop_after, "must be seconds, finite", "0 is no limit")
        if self.engine not in get_args(Engine):
            raise InvalidInput("engine", self.engine, "is unknown", f"one of: {', '.join(get_args(Engine))}")
        kind, _, number = self.device.partition(":")
        if kind not in ("cpu", "cuda") or (kind == "cpu" and number) or (":" in self.device and not number.isdigit()):
            raise InvalidInput("device", self.device, "is unknown", "give cpu, cuda or cuda:N")

    def group_size(self, runs: int) -> int:
        """How many of ``runs`` runs that differ only in the seed train side by side."""
        return min(runs, self.together or (runs if self.on_gpu else 1))

    @property
    def drawing(self) -> int:
        """Threads of a worker that draw ahead."""
        if self.drawers is not None:
            return self.drawers
        return max(1, (os.cpu_count() or 1) // self.workers) if self.on_gpu else 0

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"


def same_bits() -> None:
    """From now on this process computes on a GPU with kernels that give the same bits every time."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA begins
    import torch

    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def available_device(device: str) -> str:
    """What the device calls itself. Raises ``InvalidInput`` if it is not there. Only a GPU needs PyTorch."""
    if device == "cpu":
        import platform

        return f"cpu {platform.machine()} {platform.system()}"
    import torch

    number = int(device.partition(":")[2] or 0)
    if number >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise InvalidInput("device", device, f"is not there ({found} CUDA devices found)", "give --device cpu")
    return f"cuda {torch.cuda.get_device_name(number)}"
