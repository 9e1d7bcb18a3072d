"""Units bound to the tensors of a model: their weights, what becomes of those when a unit is replaced, by how much the
function then moves."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.optim.clocks import Place
from lop_theory.optim.units import Units

INITIALISATIONS = ("own", "kaiming", "xavier", "lecun")
GAINS = {"leaky_relu": (2 / (1 + 0.01**2)) ** 0.5, "tanh": 5 / 3, "sigmoid": 1.0, "selu": 0.75}
"""ATen activation → PyTorch's gain; all others have ReLU's, √2, as in the code beside Dohare et al."""


class Incoming(NamedTuple):
    """A producer: unit i is rows ``rows[i]`` of its weight along ``dim``, one or (of heads) several."""

    module: nn.Module
    weight: Tensor
    bias: Tensor | None
    dim: int
    rows: Tensor

    def of(self, units: Tensor) -> Tensor:
        """All rows of units."""
        return self.rows[units].flatten()

    def by_unit(self, values: Tensor) -> Tensor:
        """Values of rows, averaged over those of every unit."""
        return values[self.rows].mean(1)


class Outgoing(NamedTuple):
    """A reader: ``owners[column]`` is the unit of its weight's column along ``dim``, or −1."""

    module: nn.Module
    weight: Tensor
    bias: Tensor | None
    dim: int
    owners: Tensor

    def columns(self, units: Tensor) -> Tensor:
        return torch.isin(self.owners, units).nonzero().flatten()


class Scaling(NamedTuple):
    """State of a normalisation by its last name, and the owner of each of its places."""

    state: dict[str, Tensor]
    owners: Tensor


class Layer:
    """A :class:`~lop_theory.optim.units.Units` of one model."""

    def __init__(self, model: nn.Module, units: Units) -> None:
        self.units, self.name, self.size = units, units.name, units.size
        self.observed = model.get_submodule(units.observed.module)
        self.incoming = [_incoming(model.get_submodule(p.module), p.dim, p.rows) for p in units.producers]
        self.outgoing = [_outgoing(model.get_submodule(r.module), r.dim, r.owners) for r in units.readers]
        state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.scaling = [
            Scaling({n.rpartition(".")[2]: state[n] for n in norm.names}, _indices(norm.owners, self.device))
            for norm in units.norms
        ]

    @property
    def device(self) -> torch.device:
        return self.incoming[0].weight.device

    @property
    def every(self) -> Tensor:
        """All units."""
        return torch.arange(self.size, device=self.device)

    def incoming_size(self) -> Tensor:
        """Mean |w_in| of every unit."""
        sizes = [i.by_unit(_per_slice(i.weight, i.dim)) for i in self.incoming]
        return torch.stack(sizes).mean(0).double()

    def outgoing_size(self) -> Tensor:
        """Mean |w_out| of every unit, over all readers and the columns that are its own."""
        total, count = (torch.zeros(self.size, dtype=torch.float64, device=self.device) for _ in range(2))
        for reader in self.outgoing:
            own = reader.owners >= 0
            slices, per = _per_slice(reader.weight, reader.dim), reader.weight.numel() / len(reader.owners)
            total.index_add_(0, reader.owners[own], slices[own].double() * per)
            count.index_add_(0, reader.owners[own], torch.full_like(total, per)[reader.owners[own]])
        return total / count

    def incoming_gradient(self) -> Tensor:
        """Mean |∂L/∂w_in| of every unit; 0 without gradients."""
        slopes = [i.weight.grad if i.weight.grad is not None else torch.zeros_like(i.weight) for i in self.incoming]
        sizes = [i.by_unit(_per_slice(g, i.dim)) for g, i in zip(slopes, self.incoming, strict=True)]
        return torch.stack(sizes).mean(0).double()

    def mix(self, shares: Tensor, init: str, generator: torch.Generator) -> None:
        """w_in ← (1 − p) w_in + p·fresh, w_out ← (1 − p) w_out, p a share of every unit."""
        for weights in self.incoming:
            rows, rank = weights.of(self.every), weights.weight.ndim
            share = _aligned(shares.repeat_interleave(weights.rows.shape[1]), weights.dim, rank).to(weights.weight)
            new = self.fresh(weights, len(rows), init, generator)
            old = weights.weight.index_select(weights.dim, rows)
            weights.weight.index_copy_(weights.dim, rows, (1 - share) * old + share * new)
        for reader in self.outgoing:
            own = torch.where(reader.owners >= 0, shares[reader.owners.clamp_min(0)], 0)
            reader.weight.mul_(1 - _aligned(own, reader.dim, reader.weight.ndim).to(reader.weight))

    def places(self, units: Tensor) -> list[Place]:
        """All weights that belong to units."""
        found = []
        for weights in self.incoming:
            rows = weights.of(units)
            found += [Place(weights.weight, weights.dim, rows)]
            found += [Place(weights.bias, 0, rows)] if weights.bias is not None else []
        found += [Place(reader.weight, reader.dim, reader.columns(units)) for reader in self.outgoing]
        for scaling in self.scaling:
            own = torch.isin(scaling.owners, units).nonzero().flatten()
            found += [Place(t, 0, own) for t in scaling.state.values() if isinstance(t, nn.Parameter)]
        return found

    def renew(self, units: Tensor, init: str, generator: torch.Generator) -> None:
        """Fresh incoming weights, zero biases, neutral normalisation, zero outgoing weights."""
        for weights in self.incoming:
            rows = weights.of(units)
            weights.weight.index_copy_(weights.dim, rows, self.fresh(weights, len(rows), init, generator))
            if weights.bias is not None:
                weights.bias.index_fill_(0, rows, 0.0)
        for reader in self.outgoing:
            reader.weight.index_fill_(reader.dim, reader.columns(units), 0.0)
        for scaling in self.scaling:
            own = torch.isin(scaling.owners, units).nonzero().flatten()
            for name, value in NEUTRAL.items():
                if name in scaling.state:
                    scaling.state[name].index_fill_(0, own, value)

    def fresh(self, weights: Incoming, count: int, init: str, generator: torch.Generator) -> Tensor:
        """New weights of ``count`` rows, uniform in ± a bound (:func:`bound`); where a module's own initialisation is
        not PyTorch's, normal with the deviation of its present weights."""
        shape = list(weights.weight.shape)
        shape[weights.dim] = count
        shape = [count, *shape[: weights.dim], *shape[weights.dim + 1 :]]
        limit = bound(weights, init, self.units.activation)
        if limit is None:
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64) * float(weights.weight.detach().std())
        else:
            drawn = (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1) * limit
        return drawn.movedim(0, weights.dim).to(weights.weight)

    def absorb(self, units: Tensor, means: Sequence[Tensor]) -> None:
        """The readers' biases take over Σ w_out · mean, ``means[r]`` what reader r reads on average at each column."""
        for reader, mean in zip(self.outgoing, means, strict=True):
            if reader.bias is not None:
                columns = reader.columns(units)
                taken = reader.weight.index_select(reader.dim, columns).movedim(reader.dim, -1)
                taken = taken.double() @ mean[columns].double()
                reader.bias.add_(taken.reshape(len(reader.bias), -1).sum(1).to(reader.bias))

    def moves(self) -> str | None:
        """Why the function moves when a unit is replaced though its mean is absorbed; ``None``: by no more than what
        the unit varied about its mean."""
        if self.units.coupled:
            return f"{self.units.coupled} mixes the units, so that the others' values move"
        if any(reader.bias is None for reader in self.outgoing):
            return "a reader has no bias to take over the mean"
        if any(_padded(reader.module) for reader in self.outgoing):
            return "a reader pads with zeros: at the border its bias takes over more than the unit gave"
        return None


NEUTRAL = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}


def bound(weights: Incoming, init: str, activation: str | None) -> float | None:
    """Half-width of fresh weights: own 1/√fan_in (``torch.nn.Linear`` and convolutions), kaiming gain·√(3/fan_in),
    xavier gain·√(6/(fan_in + fan_out)), lecun √(3/fan_in). Raises ``InvalidInput`` for another name."""
    outputs = weights.weight.shape[weights.dim]
    fan_in = weights.weight.numel() / outputs
    match init:
        case "own":
            usual = isinstance(weights.module, nn.Linear | nn.modules.conv._ConvNd)
            return fan_in**-0.5 if usual else None
        case "kaiming":
            return gain(activation) * (3 / fan_in) ** 0.5
        case "xavier":
            return gain(activation) * (6 / (fan_in + outputs)) ** 0.5
        case "lecun":
            return (3 / fan_in) ** 0.5
        case _:
            raise InvalidInput("init", init, f"must be one of {', '.join(INITIALISATIONS)}")


def gain(activation: str | None) -> float:
    """PyTorch's gain; ReLU's for activations that it does not know, 1 without one."""
    return 1.0 if activation is None else GAINS.get(activation, 2**0.5)


def _incoming(module: nn.Module, dim: int, rows: object) -> Incoming:
    weight, bias = module.weight, getattr(module, "bias", None)
    assert isinstance(weight, Tensor)
    found = _indices(rows, weight.device)
    return Incoming(module, weight, bias, dim, found.view(len(found), -1))


def _outgoing(module: nn.Module, dim: int, owners: object) -> Outgoing:
    weight, bias = module.weight, getattr(module, "bias", None)
    assert isinstance(weight, Tensor)
    return Outgoing(module, weight, bias, dim, _indices(owners, weight.device))


def _indices(values: object, device: torch.device) -> Tensor:
    return torch.as_tensor(values, dtype=torch.long).to(device)


def _per_slice(weight: Tensor, dim: int) -> Tensor:
    """Mean |w| of every slice along a dimension."""
    if dim == 1 and weight.ndim > 2:  # over whole rows first, which lie together: four times as fast
        return weight.detach().abs().flatten(1).mean(0).view(weight.shape[1], -1).mean(1)
    return weight.detach().abs().mean([d for d in range(weight.ndim) if d != dim])


def _aligned(values: Tensor, dim: int, rank: int) -> Tensor:
    """A vector that broadcasts along one dimension of ``rank``."""
    return values.view([-1 if d == dim else 1 for d in range(rank)])


def _padded(module: nn.Module) -> bool:
    padding = getattr(module, "padding", 0)
    sizes = padding if isinstance(padding, tuple) else (padding,)
    return any(size not in (0, "valid") for size in sizes)
