"""One pass in float64 of which only what a certificate needs is kept: how far clones lie apart, relative to their
size, and how far from the base.

Values live until the end of the forward pass, adjoints and gradients until they have been looked at; weights are made
float64 for each use, and again when the backward pass asks for them. Where all is well within rounding (``FEW`` units
of it, of the largest number of the block itself) the batch needs no more; else :mod:`.numeric` measures what rounding
explains, and says where.
"""

import math
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from lop_theory.modules.axes import is_cloned
from lop_theory.modules.conditions import Pass, Propagated
from lop_theory.modules.numeric import NEAR, bad, by_last, near_tie
from lop_theory.modules.outputs import compared_outputs, differentiate, outputs_of, weights_of_outputs
from lop_theory.modules.propagation import sizes_of
from lop_theory.modules.redistribute import adjacent, block_sums
from lop_theory.modules.terms import amplitude
from lop_theory.trace import Deferred, Node, Program, operator_name, random_state, run

ADDING = frozenset("linear addmm add conv1d conv2d conv3d convolution".split())  # operators that add a bias
TENTH = 0.1
FEW = 8.0  # roundings, of the largest number of a block: less than numeric.MARGIN times what any of them moves


class Base(NamedTuple):
    """The narrow model's side of one batch."""

    outputs: tuple[Tensor, ...]
    adjoints: Mapping[str, Tensor]
    pairs: Mapping[str, str]  # node of the clone -> node of the base
    values: Mapping[str, Any]  # node of the base -> base coordinates of the clone's


class Survey(NamedTuple):
    """``clones``, ``base``: the largest distance of clones, and of the base, over the largest number of their block.
    ``loose``: by parameter, how far single entries of clones' gradients are apart that are rounding (:func:`loose`)."""

    propagated: Propagated
    clones: float
    base: float
    finite: bool
    near_ties: tuple[str, ...]
    magnitudes: Mapping[tuple[str, int], Any]
    loose: Mapping[str, float]

    def clear(self, clones: float, base: float) -> bool:
        """Whether all differences are within ``FEW`` of the given relative errors."""
        return self.finite and self.clones <= FEW * clones and self.base <= FEW * base


class _Opened(torch.autograd.Function):
    """A weight in float64, as a function of nothing that is kept: its gradient goes to ``receive``."""

    @staticmethod
    def forward(ctx: Any, _anchor: Tensor, weight: Tensor, receive: Callable[[Tensor], None]) -> Tensor:
        ctx.receive = receive
        return weight.to(torch.float64, copy=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        ctx.receive(gradients[0])
        return gradients[0].new_zeros(()), None, None


class _Weight:
    """A parameter: opened at each use, its gradients added up until the last use has given its own."""

    def __init__(self, parameter: nn.Parameter, done: Callable[[Tensor], None], live: "_Live") -> None:
        self.parameter, self.done, self.live = parameter.detach(), done, live
        self.uses = 0
        self.total: Tensor | None = None

    def open(self) -> Tensor:
        self.uses += 1
        anchor = torch.empty((), requires_grad=True, device=self.parameter.device)
        opened: Tensor = _Opened.apply(anchor, self.parameter, self.receive)  # type: ignore[no-untyped-call]
        self.live.add(opened, self.parameter)
        return opened

    def receive(self, gradient: Tensor) -> None:
        self.total = gradient if self.total is None else self.total + gradient
        self.uses -= 1
        if self.uses == 0:
            self.finish()

    def finish(self) -> None:
        """Also for a parameter of which some use reaches no output."""
        if self.total is not None:
            total, self.total = self.total, None
            self.done(total)


class _Live:
    """Opened weights that exist now: what autograd saves of one is its parameter."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}

    def add(self, opened: Tensor, parameter: Tensor) -> None:
        self.known[opened.untyped_storage().data_ptr()] = (weakref.ref(opened), parameter)

    def pack(self, saved: Tensor) -> Any:
        known = saved.layout is torch.strided and saved.dtype == torch.float64
        found = self.known.get(saved.untyped_storage().data_ptr()) if known else None
        if found is None or found[0]() is None:
            return saved
        return found[1], saved.size(), saved.stride(), saved.storage_offset()

    @staticmethod
    def unpack(kept: Any) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        parameter, *place = kept
        return parameter.to(torch.float64, copy=True).as_strided(*place)


class _Watch(NamedTuple):
    """What looks at one pass: every value as it comes, all of them before the backward pass, every adjoint, and every
    parameter's gradient (by the parameter's ``id``)."""

    value: Callable[[Node, Any], None]
    turn: Callable[[], None]
    adjoint: Callable[[str, Tensor], None]
    gradient: Callable[[int, Tensor], None]


def _passed(
    program: Program, state: Mapping[str, Tensor], inputs: list[Any], seed: int, watch: _Watch
) -> tuple[Tensor, ...]:
    """One forward and backward pass in float64, as :func:`~lop_theory.modules.numeric.signals` takes it; its floating
    outputs."""
    live = _Live()
    weights = {
        id(t): _Weight(t, partial(watch.gradient, id(t)), live)
        for t in state.values()
        if isinstance(t, nn.Parameter) and t.is_floating_point()
    }
    opened: dict[str, Any] = {
        name: Deferred(t.device, weights[id(t)].open) if id(t) in weights else t.detach() for name, t in state.items()
    }

    def observe(node: Node, value: Any) -> Any:
        watch.value(node, value)
        if isinstance(value, Tensor) and value.requires_grad:
            value.register_hook(lambda adjoint, name=node.name: watch.adjoint(name, adjoint))
        return value

    given = [x.detach() if isinstance(x, Tensor) else x for x in inputs]
    with torch.enable_grad(), random_state(seed), saved_tensors_hooks(live.pack, live.unpack):
        outputs = outputs_of(run(program, opened, given, observe, precision=torch.float64))
        watch.turn()
        differentiate(outputs, weights_of_outputs(outputs, seed))
    for weight in weights.values():
        weight.finish()
    return tuple(t.detach() for t in outputs)


def base_of(
    program: Program, state: Mapping[str, Tensor], inputs: list[Any], seed: int, to: tuple[Mapping[str, str], Any]
) -> Base:
    """The narrow model on the same batch; ``to``: pairs of nodes, and their coordinates in the clone."""
    adjoints: dict[str, Tensor] = {}
    watch = _Watch(lambda *_: None, lambda: None, adjoints.__setitem__, lambda *_: None)
    outputs = _passed(program, state, inputs, seed, watch)
    return Base(outputs, adjoints, *to)


class _Look:
    """The clone's side: what the watch adds up."""

    def __init__(
        self, program: Program, state: Mapping[str, Tensor], axes: Mapping[str, Any], base: Base | None, entries: bool
    ) -> None:
        self.entries = entries
        self.program, self.state, self.axes, self.base = program, state, axes, base
        self.sizes: dict[str, Any] = {}
        self.tensors: dict[str, Tensor] = {}
        self.values: dict[str, Tensor] = {}
        self.ties: list[str] = []
        self.magnitudes: dict[tuple[str, int], Any] = {}
        self.clones = self.apart = 0.0
        self.finite = not any(bad(t, masks=not isinstance(t, nn.Parameter)) for t in state.values())
        self.propagated: Propagated | None = None
        self.biases = _biases(program, state)
        self.terms: dict[int, float] = {}
        self.loose: dict[str, float] = {}

    def value(self, node: Node, value: Any) -> None:
        if isinstance(value, Deferred):
            value = self.state[self.program.state[node.name]].detach()
        self.sizes[node.name] = sizes_of(value)
        if not isinstance(value, Tensor):
            return
        self.tensors[node.name] = value.detach()
        if value.is_floating_point():
            self.values[node.name] = value.detach()
            if near_tie(node, self.values, NEAR):
                self.ties.append(self.program.where(node))

    def turn(self, propagate: Callable[[Pass], Propagated]) -> None:
        """After the forward pass: partitions, then all values."""
        self.propagated = propagate(Pass(self.tensors, self.sizes))
        last = set(compared_outputs(self.program))
        for name, value in self.values.items():
            if name not in self.program.state:
                self.finite &= not bad(value, masks=name not in last)
                self.clones = max(self.clones, distance(value, self.propagated.partitions.get(name)))
        self.values.clear()
        self.tensors.clear()

    def adjoint(self, name: str, adjoint: Tensor) -> None:
        assert self.propagated is not None
        self.finite &= not bad(adjoint, masks=False)
        self.clones = max(self.clones, distance(adjoint, self.propagated.partitions.get(name)))
        for key, size in self.biases.get(name, ()):
            self.terms[key] = max(self.terms.get(key, 0.0), _terms(adjoint, size))
        for wanted in self.propagated.wanted:
            if wanted[0] == name:
                self.magnitudes[wanted] = amplitude(adjoint, wanted[1])
        if self.base is not None and name not in self.propagated.rescaled:
            self.apart = max(self.apart, _from_base(name, adjoint, self.base))

    def gradient(self, key: int, gradient: Tensor) -> None:
        self.finite &= not bad(gradient, masks=False)
        for name in [name for name, t in self.state.items() if id(t) == key]:
            self.clones = max(self.clones, distance(gradient, self.axes.get(name), self.terms.get(key, 0.0)))
            if self.entries:
                self.loose[name] = max(self.loose.get(name, 0.0), loose(gradient, self.axes.get(name)))


def surveyed(  # noqa: PLR0913 - a program, what it runs on, and what it is compared with
    program: Program,
    state: Mapping[str, Tensor],
    inputs: list[Any],
    seed: int,
    *,
    axes: Mapping[str, Any],
    propagate: Callable[[Pass], Propagated],
    base: Base | None,
    entries: bool,
) -> Survey:
    """Look at one batch. ``axes``: the partitions of the parameters; ``propagate`` gives those of the values;
    ``entries``: compare single entries of gradients, too."""
    look = _Look(program, state, axes, base, entries)
    outputs = _passed(
        program, state, inputs, seed, _Watch(look.value, lambda: look.turn(propagate), look.adjoint, look.gradient)
    )
    if base is not None:
        ratios = [_ratio_by_last(mine, theirs) for mine, theirs in zip(outputs, base.outputs, strict=False)]
        look.apart = max([look.apart, *ratios])
    assert look.propagated is not None
    return Survey(
        look.propagated, look.clones, look.apart, look.finite, tuple(look.ties), look.magnitudes, look.loose
    )  # fmt: skip


def _biases(program: Program, state: Mapping[str, Tensor]) -> dict[str, list[tuple[int, int]]]:
    """Node -> the vectors that it adds (``id`` and size): their gradients are sums of its adjoint."""
    found: dict[str, list[tuple[int, int]]] = {}
    for node in program.graph.nodes:
        for source in node.all_input_nodes if operator_name(node) in ADDING else ():
            tensor = state.get(program.state.get(source.name, ""))
            if tensor is not None and tensor.dim() == 1:
                found.setdefault(node.name, []).append((id(tensor), len(tensor)))
    return found


def _terms(adjoint: Tensor, size: int) -> float:
    """The root of the sum of squares of what a bias' gradient adds up, of the median unit: its rounding counts."""
    dims = [d for d in (-1, 1, 0) if adjoint.shape[d] == size] if adjoint.dim() > 1 else []
    return float(adjoint.movedim(dims[0], 0).flatten(1).norm(dim=1).nan_to_num(0.0, 0.0).median()) if dims else 0.0


def distance(value: Tensor, axes: Any, terms: float = 0.0) -> float:
    """The largest difference between clones, along any axis, over the largest number of their block, or of the median
    block, or of the ``terms`` (sums that cancel, such as the gradients of keys' biases, are small without being
    exact)."""
    found = 0.0
    for dim, index in enumerate(axes if isinstance(axes, tuple) and value.numel() else ()):
        if is_cloned(index):
            found = max(found, _along(value, index, dim, terms))
    return found


def loose(gradient: Tensor, axes: Any) -> float:
    """The largest difference between clones' entries among those that differ by a tenth of their size: rounding, of
    entries that would be 0."""
    found = 0.0
    for dim, index in enumerate(axes if isinstance(axes, tuple) and gradient.numel() else ()):
        grid = _grid(gradient, index, dim)
        first = grid.narrow(dim + 1, 0, 1)
        apart = (grid - first).abs()
        found = max(found, float(torch.where(apart > TENTH * first.abs(), apart, 0.0).max()))
    return found


def _along(value: Tensor, index: Any, dim: int, terms: float) -> float:
    grid = _grid(value, index, dim)
    first = grid.narrow(dim + 1, 0, 1)
    if torch.equal(grid, first.expand_as(grid)):
        return 0.0
    others = [d for d in range(grid.dim()) if d != dim]
    sizes = grid.abs().amax(others)
    return _ratio((grid - first).abs().amax(others), sizes.clamp_min(max(terms, float(sizes.median()))))


def _grid(value: Tensor, index: Any, dim: int) -> Tensor:
    """Blocks × clones in place of the axis; a smaller block repeats its first."""
    width = adjacent(index)
    if width:
        return value.unflatten(dim, (-1, width))
    blocks = np.unique(index, return_inverse=True)[1]
    order, counts = np.argsort(blocks, kind="stable"), np.bincount(blocks)
    places = np.arange(counts.max())[None, :]
    starts = (np.cumsum(counts) - counts)[:, None]
    chosen = order[starts + np.where(places < counts[:, None], places, 0)]
    taken = value.index_select(dim, torch.as_tensor(chosen.ravel(), device=value.device))
    return taken.unflatten(dim, (len(counts), -1))


def _ratio(gaps: Tensor, sizes: Tensor) -> float:
    """The largest gap over its size (0/0 is 0); infinite where a number is not finite."""
    found = torch.where(gaps == 0, 0.0, gaps / sizes)
    worst = float(found.max()) if found.numel() else 0.0
    return float("inf") if math.isnan(worst) else worst


def _ratio_by_last(mine: Tensor, theirs: Tensor) -> float:
    if mine.shape != theirs.shape:
        return float("inf")
    if not mine.numel():
        return 0.0
    gap, size = torch.where(mine == theirs, 0.0, mine - theirs).abs(), theirs.abs()
    return _ratio(by_last(gap, middle=False), by_last(size, middle=False))


def _from_base(name: str, adjoint: Tensor, base: Base) -> float:
    """How far the block sums of an adjoint are from the base's (|S| δ = δ̃)."""
    other = base.pairs.get(name, "")
    if other not in base.adjoints or adjoint.shape != tuple(len(index) for index in base.values.get(other, ())):
        return 0.0  # a value that only one of them has; the outputs are compared in any case
    total = adjoint
    for dim, index in enumerate(base.values[other]):
        total = _summed(total, index, dim)
    return _ratio_by_last(total, base.adjoints[other])


def _summed(value: Tensor, index: Any, dim: int) -> Tensor:
    width = adjacent(index)
    if width == 1:
        return value
    if width:
        return value.unflatten(dim, (-1, width)).sum(dim + 1)
    return torch.as_tensor(block_sums(value.cpu().numpy(), index, dim)).to(value)
