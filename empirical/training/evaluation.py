"""A network in evaluation mode, measured and left as it was."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

CHUNK = 512
"""Images that pass at once."""


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Evaluation mode; every module's own mode comes back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@torch.no_grad()
def outputs(model: nn.Module, images: Tensor) -> Tensor:
    """Outputs in evaluation mode."""
    with evaluating(model):
        return torch.cat([model(part) for part in images.split(CHUNK)])
