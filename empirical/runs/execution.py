"""How runs are carried out, whatever the experiment: nothing here enters a run's identity or changes its results."""

from dataclasses import dataclass

from lop_theory.errors import InvalidInput


@dataclass(frozen=True)
class Execution:
    """Where and how runs are carried out. Results and run ids do not depend on it."""

    out: str = "runs"
    """Folder for the records; they go to OUT/EXPERIMENT/ID/. A cluster's machines must share it."""
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    workers: int = 1
    """Processes on this machine, one thread each; one that dies is replaced and its run goes on."""
    together: int = 0
    """Runs that differ only in the seed train side by side, at most so many; 0 is all of them on a GPU, else one."""
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
        if not 0 < self.gpus_per_run < float("inf"):
            raise InvalidInput("gpus_per_run", self.gpus_per_run, "must be positive and finite")
        if not 0 <= self.stop_after < float("inf"):
            raise InvalidInput("stop_after", self.stop_after, "must be seconds, finite", "0 is no limit")
        kind, _, number = self.device.partition(":")
        if kind not in ("cpu", "cuda") or (kind == "cpu" and number) or (":" in self.device and not number.isdigit()):
            raise InvalidInput("device", self.device, "is unknown", "give cpu, cuda or cuda:N")

    def group_size(self, runs: int) -> int:
        """How many of ``runs`` runs that differ only in the seed train side by side."""
        return min(runs, self.together or (runs if self.on_gpu else 1))

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"


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
