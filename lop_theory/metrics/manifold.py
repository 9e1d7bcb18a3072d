"""How cloned a layer is, how far its weights are from RE∩CE, and the norms of a model."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput


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


def cloning_r2_as_coded(h: Tensor, blocks: Sequence[int] | Tensor) -> float:
    """The authors' number for samples × units: 1 − mean of (spread of the copies of a unit)/(spread of all units),
    spreads being unbiased standard deviations taken sample by sample. Blocks must have one size of at least 2.

    A mean of ratios, where the paper's text has a ratio of variances: for copies with noise the two differ much.
    Raises ``InvalidInput``.
    """
    index = torch.as_tensor(blocks, device=h.device)
    counts = torch.bincount(index)
    if int(counts.min()) < 2 or int(counts.min()) != int(counts.max()):
        sizes = sorted(set(counts.tolist()))
        raise InvalidInput("blocks", sizes, "must have one size of at least 2", "use cloning_r2")
    wide = h.detach().double()[:, index.argsort(stable=True)]
    copies = wide.unflatten(1, (len(counts), -1)).std(2)
    return 1.0 - float((copies / (wide.std(1, keepdim=True) + 1e-10)).mean())


def mean_cloning_r2(forward: Sequence[float], backward: Sequence[float]) -> dict[str, float]:
    """Mean over layers and directions. The authors' code sums the forward terms only but divides by both counts:
    about ½ at best. Give it :func:`cloning_r2_as_coded` of the layers to have their number whole."""
    both = [*forward, *backward]
    return {"as_paper": sum(both) / len(both), "as_coded": sum(forward) / len(both)}


def distance_to_equitable(weight: Tensor, rows: Sequence[int] | Tensor, columns: Sequence[int] | Tensor) -> float:
    """Frobenius distance of ``weight`` (targets × sources) to RE∩CE: per block pair, spread of row sums / b plus of
    column sums / a."""
    w = weight.detach().double()
    row_index, column_index = torch.as_tensor(rows, device=w.device), torch.as_tensor(columns, device=w.device)
    a, b = torch.bincount(row_index).to(w), torch.bincount(column_index).to(w)
    incoming = w.new_zeros(len(w), len(b)).index_add_(1, column_index, w)
    outgoing = w.new_zeros(len(a), w.shape[1]).index_add_(0, row_index, w)
    cells = w.new_zeros(len(a), len(b)).index_add_(0, row_index, incoming)
    in_spread = incoming - (cells / a[:, None])[row_index]
    out_spread = outgoing - (cells / b[None, :])[:, column_index]
    return float((in_spread**2 / b).sum() + (out_spread**2 / a[:, None]).sum()) ** 0.5


def weight_norm(model: nn.Module) -> float:
    """Euclidean norm of all parameters."""
    return _norm(p.detach() for p in model.parameters())


def gradient_norm(model: nn.Module) -> float:
    """Euclidean norm of all present gradients."""
    return _norm(p.grad for p in model.parameters() if p.grad is not None)


def _norm(tensors: Iterator[Tensor]) -> float:
    return float(sum((t.double() ** 2).sum() for t in tensors)) ** 0.5
