"""Data of a group of models, resident on the device, and their batches by number."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor


class Feed:
    """Samples of S models, each with its own inputs (N_k, …) and labels (N_k,)."""

    def __init__(self, samples: Sequence[tuple[Tensor, Tensor]]) -> None:
        self._inputs, self._labels = (_joined(parts) for parts in zip(*samples, strict=True))
        sizes = [len(labels) for _, labels in samples]
        self._starts = np.cumsum([0, *sizes[:-1]])

    def batches(self, numbers: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """(S, B, …) inputs and (S, B) labels of each step, from numbers (steps, S, B) of samples of each model.

        The numbers of all steps go to the device at once, and a batch is one gather, so that no step waits.
        """
        places = torch.from_numpy(numbers + self._starts[:, None]).to(self._labels.device)
        for place in places:
            flat = place.flatten()
            yield (
                self._inputs.index_select(0, flat).unflatten(0, place.shape),
                self._labels.index_select(0, flat).unflatten(0, place.shape),
            )


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
