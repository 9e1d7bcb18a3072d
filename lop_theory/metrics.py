"""Plasticity metrics of experiments.md: one pass for all layers, and the run is never disturbed.

Activations H are samples × units (convolutions N·H·W × C, tokens N·T × D). All metrics but saturation come from
column sums and the Gram matrix HᵀH (float64), so a layer costs one matrix product and one symmetric eigenvalue
problem. Where the paper's text and its authors' code differ, both are here and their names say which (``_as_paper``,
``_as_coded``).
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

DEAD_VALUE, DEAD_SHARE = 1e-7, 0.95
DUPLICATE_COSINE = 0.95
SATURATED_RATIO, SATURATED_SHARE = 1e-4, 0.99
SKIPPED = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Flatten, nn.Unflatten)
CHANNELS_FIRST = ("Conv", "BatchNorm", "InstanceNorm", "GroupNorm", "Pool")


class LayerMetrics(NamedTuple):
    """Metrics of one layer; shares are in [0, 1]. ``batch`` is the number of samples (saturation depends on it)."""

    units: int
    batch: int
    dead: float
    duplicate_as_paper: float
    duplicate_as_coded: float
    duplicate_clusters: int
    saturated: float
    dormant: float
    effective_rank: float
    effective_rank_error: float
    stable_rank: float
    participation_ratio: float
    renyi2_rank: float


class Moments(NamedTuple):
    """Sufficient statistics of H: samples, Gram matrix HᵀH, column means, column means of |H|, share of near-zeros a
    unit."""

    samples: int
    gram: Tensor
    mean: Tensor
    mean_abs: Tensor
    near_zero: Tensor


def flatten_units(activations: Tensor, channel_dim: int = -1) -> Tensor:
    """Samples × units."""
    return activations.movedim(channel_dim, -1).reshape(-1, activations.shape[channel_dim])


def moments(h: Tensor, *, chunk: int = 65536) -> Moments:
    """One sweep in float64, in chunks of rows so that no large copy is made."""
    units = h.shape[1]
    gram = torch.zeros(units, units, dtype=torch.float64, device=h.device)
    total, absolute, zero = (torch.zeros(units, dtype=torch.float64, device=h.device) for _ in range(3))
    for rows in h.detach().split(chunk):
        wide = rows.double()
        gram += wide.T @ wide
        total += wide.sum(0)
        magnitude = wide.abs()
        absolute += magnitude.sum(0)
        zero += (magnitude < DEAD_VALUE).sum(0)
    n = len(h)
    return Moments(n, gram, total / n, absolute / n, zero / n)


def dead(m: Moments) -> Tensor:
    """Units with |H_ij| < 1e-7 on more than 95 % of samples (mask)."""
    return m.near_zero > DEAD_SHARE


def dormant(m: Moments, tau: float = 0.0) -> Tensor:
    """ReDo: mean|h_i| over the layer's mean of it is at most τ (mask). A layer of zeros is dormant."""
    return m.mean_abs <= tau * m.mean_abs.mean()


def cosines(m: Moments) -> Tensor:
    """Cosine similarity between units; 0 with a unit that is zero."""
    norm = m.gram.diagonal().clamp_min(0).sqrt()
    scale = torch.where(norm > 0, 1 / norm.clamp_min(1e-300), torch.zeros_like(norm))
    return m.gram * scale[:, None] * scale[None, :]


def duplicates(m: Moments, threshold: float = DUPLICATE_COSINE) -> tuple[Tensor, Tensor, int]:
    """(units similar to another, units similar to a *later* one as in the authors' code, clusters of at least two
    units)."""
    similar = cosines(m) > threshold
    similar.fill_diagonal_(False)
    return similar.any(1), similar.triu(1).any(1), _clusters(similar)


def _clusters(similar: Tensor) -> int:
    """Connected components with at least two units, by label propagation."""
    labels = torch.arange(len(similar), device=similar.device)
    linked = similar | torch.eye(len(similar), dtype=torch.bool, device=similar.device)
    for _ in range(len(similar)):
        lowest = torch.where(linked, labels[None, :], len(similar)).amin(1)
        if torch.equal(lowest, labels):
            break
        labels = lowest
    return int(labels[similar.any(1)].unique().numel())


def saturated(h: Tensor, gradient: Tensor) -> Tensor:
    """Units with |∂L/∂H_ij| / max(mean_i|H_ij|, 1e-12) < 1e-4 on more than 99 % of samples (mask)."""
    scale = h.detach().abs().mean(0).clamp_min(1e-12)
    return ((gradient.abs() / scale) < SATURATED_RATIO).double().mean(0) > SATURATED_SHARE


def singular_values(h: Tensor, m: Moments | None = None) -> Tensor:
    """From the smaller Gram matrix in float64: absolute error below sqrt(n ε) σ_max, with n the smaller side and ε =
    2.2e-16."""
    gram = h.double() @ h.double().T if h.shape[0] < h.shape[1] else (m or moments(h)).gram
    return torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()


def effective_rank(values: Tensor) -> tuple[float, float]:
    """exp of the entropy of singular values normalised to sum 1 (not centred), and a bound on its error from the Gram
    matrix.

    Singular values are exact to η = sqrt(n ε) σ_max, so p changes by at most T = n η / Σσ in each direction (total
    variation) and the entropy by at most T log n + H₂(T) (Fannes–Audenaert); for T ≥ 1/2 the bound is the trivial
    one, n.
    """
    total, n = float(values.sum()), len(values)
    if total == 0.0:
        return 0.0, 0.0
    p = values / total
    rank = float(torch.exp(-torch.special.xlogy(p, p).sum()))
    variation = torch.tensor(n * (n * 2.3e-16) ** 0.5 * float(values.max()) / total, dtype=torch.float64)
    if variation >= 0.5:
        return rank, float(n)
    change = variation * torch.log(torch.tensor(float(n))) - torch.special.xlogy(variation, variation)
    change -= torch.special.xlogy(1 - variation, 1 - variation)
    return rank, min(float(n), rank * float(torch.expm1(change)))


def stable_rank(values: Tensor) -> float:
    """‖H‖_F² / ‖H‖₂²; 0 for a zero matrix."""
    top = float(values.max())
    return float((values**2).sum()) / top**2 if top > 0 else 0.0


def participation_ratio(m: Moments) -> float:
    """‖H̃‖_F⁴ / tr((H̃ᵀH̃)²) of centred H̃ (the paper's text calls it stable rank); 0 for constant activations."""
    centred = m.gram - m.samples * torch.outer(m.mean, m.mean)
    squares = float((centred**2).sum())
    trace = float(centred.diagonal().clamp_min(0).sum())
    return trace**2 / squares if trace > 1e-14 * float(m.gram.diagonal().sum()) else 0.0


def renyi2_rank(m: Moments) -> float:
    """(tr C)² / ‖C‖_F² of the correlation matrix C over the units that vary; 0 if none does."""
    centred = m.gram - m.samples * torch.outer(m.mean, m.mean)
    variance = centred.diagonal()
    varying = variance > 1e-14 * m.gram.diagonal().clamp_min(1e-300)
    if not bool(varying.any()):
        return 0.0
    scale = variance[varying].sqrt()
    correlation = centred[varying][:, varying] / torch.outer(scale, scale)
    return len(correlation) ** 2 / float((correlation**2).sum())


def layer_metrics(h: Tensor, gradient: Tensor | None = None, *, dormant_tau: float = 0.0) -> LayerMetrics:
    """All metrics of samples × units ``h``; saturation needs ∂L/∂H (NaN without)."""
    m = moments(h)
    any_other, later, clusters = duplicates(m)
    values = singular_values(h, m)
    rank, error = effective_rank(values)
    share = torch.stack([dead(m), any_other, later, dormant(m, dormant_tau)]).double().mean(1).tolist()
    return LayerMetrics(
        units=h.shape[1],
        batch=len(h),
        dead=share[0],
        duplicate_as_paper=share[1],
        duplicate_as_coded=share[2],
        duplicate_clusters=clusters,
        saturated=float("nan") if gradient is None else float(saturated(h, gradient).double().mean()),
        dormant=share[3],
        effective_rank=rank,
        effective_rank_error=error,
        stable_rank=stable_rank(values),
        participation_ratio=participation_ratio(m),
        renyi2_rank=renyi2_rank(m),
    )


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


class Captured(NamedTuple):
    """Samples × units of one layer, and the loss gradient with respect to it (None if the loss does not depend on
    it)."""

    activations: Tensor
    gradient: Tensor | None


def measure(
    model: nn.Module,
    inputs: Any,
    loss: Callable[[Any], Tensor] | None = None,
    *,
    layers: Sequence[str] | None = None,
    dormant_tau: float = 0.0,
) -> dict[str, LayerMetrics]:
    """Metrics of every layer (or of the named modules) on one batch, in the model's present mode.

    ``loss(output)`` is a scalar; without it nothing is differentiated and saturation is NaN. One forward and at most
    one backward pass for all layers. Parameters, gradients, buffers, modes and random streams are as before, bit for
    bit.
    """
    captured = capture(model, inputs, loss, layers=layers)
    return {name: layer_metrics(c.activations, c.gradient, dormant_tau=dormant_tau) for name, c in captured.items()}


def capture(
    model: nn.Module,
    inputs: Any,
    loss: Callable[[Any], Tensor] | None = None,
    *,
    layers: Sequence[str] | None = None,
) -> dict[str, Captured]:
    """Activations and gradients as samples × units, by module name. Buffers are copies, the random state is
    restored."""
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    seen: dict[str, tuple[Tensor, int]] = {}
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    with _hooks(model, layers, seen), _random_state_kept(), torch.set_grad_enabled(loss is not None):
        output = functional_call(model, buffers, args)
        tensors = [tensor for tensor, _ in seen.values()]
        gradients: Sequence[Tensor | None] = [None] * len(tensors)
        if loss is not None:
            wanted = [k for k, tensor in enumerate(tensors) if tensor.requires_grad]
            found = torch.autograd.grad(loss(output), [tensors[k] for k in wanted], allow_unused=True)
            by_position: Mapping[int, Tensor | None] = dict(zip(wanted, found, strict=True))
            gradients = [by_position.get(k) for k in range(len(tensors))]
    return {
        name: Captured(flatten_units(t.detach(), dim), None if g is None else flatten_units(g, dim))
        for (name, (t, dim)), g in zip(seen.items(), gradients, strict=True)
    }


@contextmanager
def _hooks(model: nn.Module, layers: Sequence[str] | None, seen: dict[str, tuple[Tensor, int]]) -> Generator[None]:
    def remember(name: str) -> Callable[[nn.Module, Any, Any], Tensor | None]:
        def hook(module: nn.Module, _: Any, output: Any) -> Tensor | None:
            if not isinstance(output, Tensor) or not output.is_floating_point() or output.dim() < 2:
                return None
            seen[name] = (output, channel_dim(module, output))
            return output.clone()  # later in-place operators must not touch what was captured

        return hook

    chosen = {name: m for name, m in model.named_modules() if (name in layers if layers is not None else _is_layer(m))}
    handles = [module.register_forward_hook(remember(name)) for name, module in chosen.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_layer(module: nn.Module) -> bool:
    return not list(module.children()) and not isinstance(module, SKIPPED)


def channel_dim(module: nn.Module, output: Tensor) -> int:
    """Units are dimension 1 of images and of channels-first layers, else the last."""
    return 1 if output.dim() > 3 or (output.dim() == 3 and type(module).__name__.startswith(CHANNELS_FIRST)) else -1


@contextmanager
def _random_state_kept() -> Generator[None]:
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []):
        yield
