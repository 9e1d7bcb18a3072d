"""Data of a group of models, resident on the device, and their batches by number."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor


class Feed:
    """Samples of S models, each with its own inputs (N_k, …) and labels (N_k,). Bytes stay bytes until they are in a
    batch (:func:`normalised`)."""

    def __init__(self, samples: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.inputs, self.labels = (_joined(parts) for parts in zip(*samples, strict=True))
        sizes = [len(labels) for _, labels in samples]
        self._starts = np.cumsum([0, *sizes[:-1]])

    def places(self, numbers: np.ndarray) -> Tensor:
        """Where the samples of numbers (steps, S, B) are among those of all models, on the device: one copy for all
        steps, so that none of them waits."""
        return torch.from_numpy(numbers + self._starts[:, None]).to(self.labels.device)

    def batches(self, numbers: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """(S, B, …) inputs and (S, B) labels of each step, a batch by one gather."""
        for place in self.places(numbers):
            flat = place.flatten()
            yield (
                normalised(self.inputs.index_select(0, flat)).unflatten(0, place.shape),
                self.labels.index_select(0, flat).unflatten(0, place.shape),
            )


def normalised(images: Tensor) -> Tensor:
    """Bytes as float32, x/127.5 − 1, in [−1, 1]; floats as they are."""
    return images.float().div_(127.5).sub_(1.0) if images.dtype == torch.uint8 else images


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
