"""Which optimisers stay on a cloning manifold: a predicted and an observed table. [optimiser-closure: Remarks 2.4, A.3]

Closure criterion. An update that is equivariant under permutations of the units within blocks (rows and columns of each
weight matrix), with state that is tied across clones, maps block-constant gradients to block-constant updates. So every
such optimiser keeps BC, and without decay keeps w0 + BC from any RE∩CE start. With a redistributed start:
  decoupled decay  w ← (1 − ηλ) w keeps RE∩CE (a linear space) and leaves w0 + BC (a translate of BC);
  coupled L2       feeds g + λw to the update. In span{gradients, w} (SGD, momentum, LBFGS): as decoupled. Muon: RE∩CE
                   matrices are closed under products and transposes, hence under odd matrix polynomials: as decoupled.
                   Elementwise or factored adaptive updates break RE∩CE; 2×2 blocks [[p, q], [q, p]] hide it.
Remedies: maps of w itself by products and transposes (shrinking, norms, polar factors, Parseval and spectral penalties)
keep RE∩CE and leave the translate; what weighs entries or rows by their own values (UPGD, DASH) leaves both.
Untied state, noise, dropout and replaced units break cloning. This module needs PyTorch.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lop_theory.errors import InvalidInput
from lop_theory.graph.closure import Decay, stays
from lop_theory.graph.convert import from_layers
from lop_theory.graph.dag import Network
from lop_theory.graph.dense import Layer
from lop_theory.graph.manifold import distance, distance_to_translate
from lop_theory.graph.optimiser_catalogue import OPTIMISERS, Spec
from lop_theory.graph.partition import Partition, partition_from_blocks
from lop_theory.graph.scalars import to_float

Start = Literal["BC", "RE∩CE"]
DECAYS: tuple[Decay, ...] = ("none", "coupled", "decoupled")
STARTS: tuple[Start, ...] = ("BC", "RE∩CE")
STAYS, LEAVES = 1e-9, 1e-5  # relative distances; what lies between is undecided

Parameters = list[Tensor]


class Cell(NamedTuple):
    """One run: predicted and observed membership of RE∩CE and of w0 + BC, with relative distances."""

    optimiser: str
    decay: Decay
    start: Start
    predicted: tuple[bool, bool]
    distances: tuple[float, float]

    @property
    def observed(self) -> tuple[bool | None, bool | None]:
        """True stays, False leaves, None undecided."""
        a, b = (True if d < STAYS else False if d > LEAVES else None for d in self.distances)
        return a, b

    @property
    def agrees(self) -> bool:
        return self.observed == self.predicted


def predict(spec: Spec, decay: Decay, start: Start, block: int = 3) -> tuple[bool, bool]:
    """(stays in RE∩CE, stays in w0 + BC) by the closure criterion."""
    return stays(spec.update, decay, block_constant=start == "BC", block=block)


def table(names: Sequence[str] | None = None, *, block: int = 3, steps: int = 12) -> list[Cell]:
    """The table of §6 for all (or the named) optimisers: every decay and start."""
    chosen = OPTIMISERS if names is None else {name: _spec(name) for name in names}
    return [
        run(name, decay, start, block=block, steps=steps) for name in chosen for decay in DECAYS for start in STARTS
    ]


def run(name: str, decay: Decay, start: Start, *, block: int = 3, steps: int = 12, strength: float = 0.5) -> Cell:
    """Train a cloned MLP 2 → 2·block → 2·block → 1 for some steps on random batches and measure both distances."""
    spec = _spec(name)
    generator = torch.Generator().manual_seed(0)
    parameters = _cloned_mlp(block, start, generator)
    initial = _network(parameters)
    partition = _partition(block)
    optimisers = spec.make(parameters)
    for step in range(steps):
        x = torch.randn(16, 2, generator=generator, dtype=torch.float64)
        y = torch.randn(16, 1, generator=generator, dtype=torch.float64)
        closure = _closure(parameters, (x, y), strength if decay == "coupled" else 0.0, spec, generator)
        if decay == "decoupled":
            with torch.no_grad():
                for p in parameters:
                    p.mul_(1 - 0.02 * strength)
        for optimiser in optimisers:
            optimiser.step(closure)
        if step == 0 and spec.untie is not None:
            spec.untie(optimisers[0], generator)
    final = _network(parameters)
    moved = to_float(((final.weight - initial.weight) ** 2).sum()) ** 0.5
    far = (distance(final, partition), distance_to_translate(final, initial, partition))
    return Cell(name, decay, start, predict(spec, decay, start, block), (far[0] / moved, far[1] / moved))


def equivariant(name: str, *, block: int = 3, steps: int = 4) -> float:
    """Largest relative difference between permuting units within blocks before and after some updates of a matrix.

    About machine precision for an equivariant update (the closure criterion, measured).
    """
    spec = _spec(name)
    generator = torch.Generator().manual_seed(1)
    order = torch.cat([offset + torch.randperm(block, generator=generator) for offset in (0, block)])
    start = torch.randn(2 * block, 2 * block, generator=generator, dtype=torch.float64)
    gradients = [torch.randn(start.shape, generator=generator, dtype=torch.float64) for _ in range(steps)]
    plain = _drive(spec, start, gradients)
    permuted = _drive(spec, start[order][:, order], [g[order][:, order] for g in gradients])
    return float((plain[order][:, order] - permuted).abs().max() / (plain - start).abs().max())


def _drive(spec: Spec, start: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    weight = start.clone().requires_grad_()
    optimisers = spec.make([weight])
    for g in gradients:

        def closure(gradient: Tensor = g) -> Tensor:
            weight.grad = gradient.to_sparse() if spec.sparse else gradient.clone()
            return (gradient * weight.detach()).sum()

        for optimiser in optimisers:
            optimiser.step(closure)
    return weight.detach()


def _spec(name: str) -> Spec:
    if name not in OPTIMISERS:
        raise InvalidInput("optimiser", name, "is unknown", f"one of: {', '.join(OPTIMISERS)}")
    return OPTIMISERS[name]


def _forward(parameters: Parameters, x: Tensor, spec: Spec, generator: torch.Generator) -> Tensor:
    h = x
    for weight, bias in _layers(parameters[:-2]):
        h = torch.tanh(h @ weight.T + bias)
        if spec.dropout:
            h = h * (torch.rand(h.shape, generator=generator, dtype=h.dtype) > 0.25)
    return h @ parameters[-2].T + parameters[-1]


def _closure(
    parameters: Parameters, batch: tuple[Tensor, Tensor], decay: float, spec: Spec, generator: torch.Generator
) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        for p in parameters:
            p.grad = None
        loss = ((_forward(parameters, batch[0], spec, generator) - batch[1]) ** 2).mean()
        loss = loss + 0.5 * decay * sum((p**2).sum() for p in parameters)
        loss.backward()
        for p in parameters:
            assert p.grad is not None
            if spec.noise:
                p.grad += spec.noise * torch.randn(p.shape, generator=generator, dtype=p.dtype)
            if spec.sparse:
                p.grad = p.grad.to_sparse()
        return loss.detach()

    return closure


def _layers(parameters: Parameters) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(parameters[::2], parameters[1::2], strict=True)


def _cloned_mlp(block: int, start: Start, generator: torch.Generator) -> Parameters:
    """Base 2 → 2 → 2 → 1 blown up to blocks; RE∩CE starts redistribute the middle matrix by zero-sum patterns."""

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def grow(base: Tensor, rows: int, columns: int) -> Tensor:
        return base.repeat_interleave(rows, 0).repeat_interleave(columns, 1) / columns

    middle = grow(draw(2, 2), block, block)
    if start == "RE∩CE":
        pattern = draw(2, block, 2, block)
        pattern = pattern - pattern.mean(1, keepdim=True)
        pattern = pattern - pattern.mean(3, keepdim=True)
        middle = middle + pattern.reshape(2 * block, 2 * block)
    biases = [draw(2).repeat_interleave(block), draw(2).repeat_interleave(block), draw(1)]
    weights = [grow(draw(2, 2), block, 1), middle, grow(draw(1, 2), 1, block)]
    return [p.requires_grad_() for pair in zip(weights, biases, strict=True) for p in pair]


def _network(parameters: Parameters) -> Network:
    arrays = [p.detach().numpy().copy() for p in parameters]
    return from_layers([Layer(w, b) for w, b in zip(arrays[::2], arrays[1::2], strict=True)], "tanh")


def _partition(block: int) -> Partition:
    network = _network(_cloned_mlp(block, "BC", torch.Generator().manual_seed(0)))
    hidden = [[f"l{k}.{half * block + i}" for i in range(block)] for k in (1, 2) for half in (0, 1)]
    return partition_from_blocks(network.dag, [["x.0"], ["x.1"], *hidden, ["l3.0"]])
