"""How cloned a layer is, how far its weights are from RE∩CE, and the norms of a model."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn


def cloning_r2(h: Tensor, blocks: Sequence[int] | Tensor) -> float:
    """1 − (within-block variance)/(total variance) of samples × units; exactly 1 on identical clones, 1 for a
    constant layer of clones."""
    index = torch.as_tensor(blocks, device=h.device)
    wide = h.detach().double()
    count = torch.bincount(index).clamp_min(1)
    first = torch.zeros(len(count), dtype=torch.long, device=h.device).index_copy_(
        0, index.flip(0), torch.arange(len(index), device=h.device).flip(0)
    )
    offset = wide - wide[:, first][:, index]  # relative to one clone, so that equal clones give exactly 0
    means = torch.zeros(len(wide), len(count), dtype=wide.dtype, device=h.device).index_add_(1, index, offset) / count
    within = float(((offset - means[:, index]) ** 2).sum())
    total = float(((wide - wide.mean()) ** 2).sum())
    return 1.0 if within == 0.0 else 1.0 - within / total


def mean_cloning_r2(forward: Sequence[float], backward: Sequence[float]) -> dict[str, float]:
    """Mean over layers and directions. The authors' code sums the forward terms only but divides by both counts:
    about ½ at best."""
    both = [*forward, *backward]
    return {"as_paper": sum(both) / len(both), "as_coded": sum(forward) / len(both)}


def distance_to_equitable(weight: Tensor, rows: Sequence[int] | Tensor, columns: Sequence[int] | Tensor) -> float:
    """Frobenius distance of ``weight`` (targets × sources) to RE∩CE: per block pair, spread of row sums / b plus of
    column sums / a."""
    w = weight.detach().double()
    row_index, column_index = torch.as_tensor(rows, device=w.device), torch.as_tensor(columns, device=w.device)
    row_map = nn.functional.one_hot(row_index).double()
    column_map = nn.functional.one_hot(column_index).double()
    a, b = row_map.sum(0), column_map.sum(0)
    incoming, outgoing = w @ column_map, row_map.T @ w
    in_spread = incoming - ((row_map.T @ incoming) / a[:, None])[row_index]
    out_spread = outgoing - ((outgoing @ column_map) / b[None, :])[:, column_index]
    return float((in_spread**2 / b).sum() + (out_spread**2 / a[:, None]).sum()) ** 0.5


def weight_norm(model: nn.Module) -> float:
    """Euclidean norm of all parameters."""
    return _norm(p.detach() for p in model.parameters())


def gradient_norm(model: nn.Module) -> float:
    """Euclidean norm of all present gradients."""
    return _norm(p.grad for p in model.parameters() if p.grad is not None)


def _norm(tensors: Iterator[Tensor]) -> float:
    return float(sum((t.double() ** 2).sum() for t in tensors)) ** 0.5
