"""The data on which the monitor measures: the same inputs at every logged step, all processes' together, and a pass of
the model on them that leaves no trace in it."""

import inspect
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput
from lop_theory.metrics.passes import floating, undisturbed
from lop_theory.trace import as_arguments, random_state

Loss = Callable[[Any], Tensor]


class Probe(NamedTuple):
    """Inputs (a tensor, a tuple, a dict of keyword inputs), and ``loss(output)``: a scalar, or one loss a sample."""

    inputs: Any
    loss: Loss | None = None

    @property
    def has_loss(self) -> bool:
        """Whether there is a loss whose value means something."""
        return self.loss is not None

    def losses(self, output: Any) -> Tensor:
        """The loss of every sample (or the one scalar). Without ``loss``: the output's own (``output.loss`` of Hugging
        Face), else a fixed random linear function of the outputs, which tells which units a gradient reaches."""
        if self.loss is not None:
            return self.loss(output)
        own = getattr(output, "loss", None)
        return own if isinstance(own, Tensor) else random_linear(output)

    def total(self, output: Any) -> Tensor:
        """The mean loss."""
        return self.losses(output).mean()


def random_linear(output: Any) -> Tensor:
    """Σ r·f / samples with fixed standard normal r."""
    generator = torch.Generator().manual_seed(0)
    parts = [t for t in floating(output) if t.dim()]
    drawn = [torch.randn(t.shape, generator=generator, dtype=torch.float32).to(t) for t in parts]
    return sum(((t * r).sum() for t, r in zip(parts, drawn, strict=True)), torch.zeros(())) / max(1, len(parts[0]))


def as_probe(inputs: Any, loss: Loss | None) -> Probe:
    """Copies of the inputs, those of all processes one after the other. Raises ``InvalidInput``."""
    as_arguments(inputs)
    with torch.inference_mode(False):
        return Probe(_gathered(pytree.tree_map_only(Tensor, lambda t: t.detach().clone(), inputs)), loss)


def call_as_inputs(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a call was given, as :func:`as_probe` takes it: copies, for the call may overwrite its inputs."""
    if args and kwargs:
        kwargs = dict(inspect.signature(model.forward).bind(*args, **kwargs).arguments)
    return pytree.tree_map_only(Tensor, lambda t: t.detach().clone(), kwargs or args)


def _gathered(inputs: Any) -> Any:
    """The inputs of all processes, joined along their first dimension; every process then measures the same."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return inputs
    if torch.distributed.get_world_size() == 1:
        return inputs
    flat, structure = pytree.tree_flatten(pytree.tree_map_only(Tensor, lambda t: t.cpu(), inputs))
    every: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(every, flat)
    first = next((leaf for leaf in flat if isinstance(leaf, Tensor) and leaf.dim()), None)
    joined = [torch.cat(parts) if _batched(parts[0], first) else parts[0] for parts in zip(*every, strict=True)]
    return pytree.tree_unflatten(joined, structure)


def _batched(leaf: Any, first: Tensor | None) -> bool:
    """Whether the leaf has the samples of the first tensor."""
    return isinstance(leaf, Tensor) and first is not None and leaf.dim() > 0 and len(leaf) == len(first)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside ``DataParallel``, ``DistributedDataParallel`` and ``torch.compile``."""
    inside: Any = getattr(model, "module", None) if type(model).__name__.endswith("DataParallel") else None
    inside = inside if inside is not None else getattr(model, "_orig_mod", None)
    return model if inside is None else unwrapped(inside)


def on_device(inputs: Any, model: nn.Module) -> Any:
    """The inputs where the model's parameters are."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return pytree.tree_map_only(Tensor, lambda t: t.to(device), inputs)


@contextmanager
def measuring(model: nn.Module) -> Generator[None]:
    """Gradients on, autocast off, random numbers put back afterwards, whatever surrounds the call."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    devices = {p.device.type for p in model.parameters()} or {"cpu"}
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in devices:
            stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))  # fused attention has no second derivative
        stack.enter_context(random_state(0))
        yield


def output_of(model: nn.Module, probe: Probe) -> Any:
    """One forward pass on copies of the buffers, inside :func:`measuring`."""
    with undisturbed(model) as run:
        return run(probe.inputs)


def rows_of(output: Any) -> Tensor:
    """Predictions × numbers: the first output that has samples; of sequences every token is a prediction. Raises
    ``InvalidInput``."""
    parts = [t for t in floating(output) if t.dim()]
    if not parts:
        raise InvalidInput("output", type(output).__name__, "has no floating tensor with a dimension of samples")
    first = parts[0]
    return first.flatten(0, 1) if first.dim() == 3 else first.reshape(len(first), -1)
