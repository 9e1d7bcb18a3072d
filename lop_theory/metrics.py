"""Plasticity metrics of experiments.md: one pass for all layers, and the run is never disturbed.

Activations H are samples × units (convolutions N·H·W × C, tokens N·T × D). All metrics but saturation come from
column sums and the Gram matrix HᵀH (float64), so a layer costs one matrix product and one symmetric eigenvalue
problem. Where the paper's text and its authors' code differ, both are here and their names say which (``_as_paper``,
``_as_coded``).
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

DEAD_VALUE, DEAD_SHARE = 1e-7, 0.95
DUPLICATE_COSINE = 0.95
SATURATED_RATIO, SATURATED_SHARE = 1e-4, 0.99
SKIPPED = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Flatten, nn.Unflatten)
PIECE = 2**17
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


def pieces(activations: Tensor, channel_dim: int = -1) -> Generator[Tensor]:
    """Samples × units a few samples at a time, so that what is computed on a piece stays in the processor's cache."""
    rows = activations.detach()
    count = max(1, PIECE * len(rows) // max(rows.numel(), 1)) if rows.device.type == "cpu" else max(len(rows), 1)
    for piece in rows.split(count):
        yield flatten_units(piece, channel_dim)


def moments(activations: Tensor, channel_dim: int = -1) -> Moments:
    """One sweep in float64, piece by piece, so that no large copy is made."""
    units, device = activations.shape[channel_dim], activations.device
    gram = torch.zeros(units, units, dtype=torch.float64, device=device)
    total, absolute, zero = (torch.zeros(units, dtype=torch.float64, device=device) for _ in range(3))
    for piece in pieces(activations, channel_dim):
        wide = piece.double()
        gram.addmm_(wide.T, wide)
        total += wide.sum(0)
        magnitude = wide.abs()
        absolute += magnitude.sum(0)
        zero += (magnitude < DEAD_VALUE).sum(0)
    n = activations.numel() // units
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


def saturated(h: Tensor, gradient: Tensor, channel_dim: int = -1, *, mean_abs: Tensor | None = None) -> Tensor:
    """Units with |∂L/∂H_ij| / max(mean_i|H_ij|, 1e-12) < 1e-4 on more than 99 % of samples (mask)."""
    scale = moments(h, channel_dim).mean_abs if mean_abs is None else mean_abs
    limit = (SATURATED_RATIO * scale.clamp_min(1e-12)).to(gradient.dtype)
    small = torch.zeros_like(scale)
    for piece in pieces(gradient, channel_dim):
        small += (piece.abs() < limit).sum(0)
    return small / (gradient.numel() // len(scale)) > SATURATED_SHARE


def singular_values(h: Tensor, m: Moments | None = None) -> Tensor:
    """From the smaller Gram matrix in float64: absolute error below sqrt(n ε) σ_max, with n the smaller side and ε =
    2.2e-16."""
    m = m or moments(h)
    gram = h.double() @ h.double().T if m.samples < len(m.gram) else m.gram
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


def layer_metrics(
    h: Tensor, gradient: Tensor | None = None, channel_dim: int = -1, *, dormant_tau: float = 0.0
) -> LayerMetrics:
    """All metrics of activations ``h``; saturation needs ∂L/∂H of the same shape (NaN without)."""
    m = moments(h, channel_dim)
    any_other, later, clusters = duplicates(m)
    values = singular_values(flatten_units(h.detach(), channel_dim) if m.samples < len(m.gram) else h, m)
    rank, error = effective_rank(values)
    share = torch.stack([dead(m), any_other, later, dormant(m, dormant_tau)]).double().mean(1).tolist()
    return LayerMetrics(
        units=h.shape[channel_dim],
        batch=m.samples,
        dead=share[0],
        duplicate_as_paper=share[1],
        duplicate_as_coded=share[2],
        duplicate_clusters=clusters,
        saturated=_saturated_share(h, gradient, channel_dim, m),
        dormant=share[3],
        effective_rank=rank,
        effective_rank_error=error,
        stable_rank=stable_rank(values),
        participation_ratio=participation_ratio(m),
        renyi2_rank=renyi2_rank(m),
    )


def _saturated_share(h: Tensor, gradient: Tensor | None, channel_dim: int, m: Moments) -> float:
    if gradient is None:
        return float("nan")
    return float(saturated(h, gradient, channel_dim, mean_abs=m.mean_abs).double().mean())


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
    """Output of one layer as it was, the loss gradient with respect to it (None if there is none), and where its
    units are."""

    output: Tensor
    output_gradient: Tensor | None
    channel_dim: int

    @property
    def activations(self) -> Tensor:
        """Samples × units."""
        return flatten_units(self.output, self.channel_dim)

    @property
    def gradient(self) -> Tensor | None:
        """Samples × units."""
        return None if self.output_gradient is None else flatten_units(self.output_gradient, self.channel_dim)


def measure(
    model: nn.Module,
    inputs: Any,
    loss: Callable[[Any], Tensor] | None = None,
    *,
    layers: Sequence[str] | None = None,
    dormant_tau: float = 0.0,
) -> dict[str, LayerMetrics]:
    """Metrics of every hidden layer (:func:`hidden_layers`, or the named modules) on one batch, in the model's
    present mode.

    ``loss(output)`` is a scalar; without it nothing is differentiated and saturation is NaN. One forward and at most
    one
    backward pass for all layers. Parameters, gradients, buffers, modes and random streams are as before, bit for bit.
    """
    captured = capture(model, inputs, loss, layers=hidden_layers(model) if layers is None else layers)
    return {
        name: layer_metrics(c.output, c.output_gradient, c.channel_dim, dormant_tau=dormant_tau)
        for name, c in captured.items()
    }


def hidden_layers(model: nn.Module) -> list[str]:
    """Names of the activation functions among the modules; of all weighted layers if there are none."""
    leaves = {name: m for name, m in model.named_modules() if _is_layer(m)}
    activations = [name for name, m in leaves.items() if type(m).__module__ == "torch.nn.modules.activation"]
    return activations or [name for name, m in leaves.items() if any(True for _ in m.parameters(recurse=False))]


def capture(
    model: nn.Module,
    inputs: Any,
    loss: Callable[[Any], Tensor] | None = None,
    *,
    layers: Sequence[str] | None = None,
) -> dict[str, Captured]:
    """Outputs and their gradients by module name (every leaf module by default). Buffers are copies, randomness is
    restored."""
    names = [name for name, m in model.named_modules() if _is_layer(m)] if layers is None else layers
    seen = _pass(model, inputs, loss, names, copies=False) or _pass(model, inputs, loss, names, copies=True)
    return seen or {}


def _pass(
    model: nn.Module, inputs: Any, loss: Callable[[Any], Tensor] | None, names: Sequence[str], *, copies: bool
) -> dict[str, Captured] | None:
    """One pass; None if an in-place operator overwrote something captured, which then needs ``copies``."""
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    seen: dict[str, tuple[Tensor, int, int]] = {}
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    with _hooks(model, names, seen, copies=copies), _random_state_kept(), torch.set_grad_enabled(loss is not None):
        output = functional_call(model, buffers, args)
        if any(tensor._version != version for tensor, _, version in seen.values()):
            return None
        gradients = _gradients(None if loss is None else loss(output), [tensor for tensor, _, _ in seen.values()])
    return {
        name: Captured(tensor.detach(), gradient, dim)
        for (name, (tensor, dim, _)), gradient in zip(seen.items(), gradients, strict=True)
    }


def _gradients(loss: Tensor | None, tensors: list[Tensor]) -> list[Tensor | None]:
    wanted = [k for k, tensor in enumerate(tensors) if loss is not None and tensor.requires_grad]
    result: list[Tensor | None] = [None] * len(tensors)
    if loss is not None and wanted:
        found = torch.autograd.grad(loss, [tensors[k] for k in wanted], allow_unused=True)
        for k, gradient in zip(wanted, found, strict=True):
            result[k] = gradient
    return result


@contextmanager
def _hooks(
    model: nn.Module, names: Sequence[str], seen: dict[str, tuple[Tensor, int, int]], *, copies: bool
) -> Generator[None]:
    def remember(name: str) -> Callable[[nn.Module, Any, Any], Tensor | None]:
        def hook(module: nn.Module, _: Any, output: Any) -> Tensor | None:
            if not isinstance(output, Tensor) or not output.is_floating_point() or output.dim() < 2:
                return None
            seen[name] = (output, channel_dim(module, output), output._version)
            return output.clone() if copies else None

        return hook

    handles = [module.register_forward_hook(remember(name)) for name, module in model.named_modules() if name in names]
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
