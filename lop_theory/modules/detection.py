"""What detection found: layers, the verdicts on their blocks, and what to know before believing them."""

from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from lop_theory.errors import InvalidInput
from lop_theory.metrics.watch import Layer as Seen
from lop_theory.modules.equitable import Structure
from lop_theory.modules.report import html, table
from lop_theory.modules.verdicts import Block, Skipped
from lop_theory.optim.ranges import require_between


class Criteria(NamedTuple):
    """Clones: root mean square difference ≤ ``clone`` × how much the unit varies. Near-clones: cosine and correlation >
    ``near``. Dormant: ReDo's τ. Saturated: derivative < ``slope``."""

    clone: float = 1e-6
    near: float = 0.95
    dormant: float = 0.025
    slope: float = 1e-4
    input_range: tuple[float, float] | None = None


DEFAULT = Criteria()


def require_criteria(criteria: Criteria) -> None:
    """Raise ``InvalidInput`` for thresholds that are NaN or negative, and for a range without numbers."""
    for name in ("clone", "dormant", "slope"):
        require_between(name, getattr(criteria, name))
    require_between("near", criteria.near, 0.0, 1.0, ends="[]")
    if criteria.input_range is not None and not _is_range(criteria.input_range):
        raise InvalidInput("input_range", criteria.input_range, "must be two numbers, the lower one first")


def _is_range(ends: Any) -> bool:
    pair = isinstance(ends, (tuple, list)) and len(ends) == 2 and all(isinstance(end, Real) for end in ends)
    return pair and bool(ends[0] <= ends[1])


class Layer(NamedTuple):
    """One value of the model as samples × units. ``blocks`` and ``near_blocks`` number the block of every unit (equal
    units, units alike); dead and constant units are blocks of their own. ``verdicts``: one a block of equal, alike or
    inert units.

    ``distance`` is ‖H − block means‖/‖H‖ for the near blocks: how far the activations are from the manifold on which
    those were clones. It says nothing about ``blocks``, whose units are equal, and is large where near-clones differ
    in length. ``weight_distance`` (weighted sums only) is the relative distance of the weights to RE∩CE for the near
    blocks of both sides. ``saturated`` is the paper's: |∂L/∂h| < 1e-4 mean|h| on more than 99 % of the data; ``frozen``
    are units whose derivative is exactly 0 on all of it.
    """

    module: str
    operator: str
    units: int
    blocks: tuple[int, ...]
    near_blocks: tuple[int, ...]
    distance: float
    weight_distance: float | None
    dead: tuple[int, ...]
    dormant: tuple[int, ...]
    saturated: tuple[int, ...]
    frozen: tuple[int, ...]
    constant: tuple[int, ...] = ()
    verdicts: tuple[Block, ...] = ()
    kind: str = "sum"
    weight: tuple[str, int] | None = None

    @property
    def cloned(self) -> int:
        """Units that share their block with another."""
        return _shared(self.blocks)

    @property
    def moving(self) -> int:
        """Units that are neither dead nor constant: only they can be told to be equal."""
        return self.units - len({*self.dead, *self.constant})

    @property
    def near(self) -> int:
        return _shared(self.near_blocks)


def _shared(blocks: tuple[int, ...]) -> int:
    counts = np.bincount(np.array(blocks, dtype=int))
    return int(counts[counts > 1].sum())


class Detection(NamedTuple):
    """Layers in order of computation. ``skipped``: what was not judged, and why. ``notes``: what to know before
    believing it (few samples, one batch, no trace). ``example``: the inputs of the first batch; ``seen``: layers as the
    pass showed them."""

    layers: tuple[Layer, ...]
    samples: int
    batches: int = 1
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    structure: Structure | None = None
    example: Any = None
    seen: tuple[Seen, ...] = ()

    def verdicts(self, *kinds: str) -> list[tuple[Layer, Block]]:
        """All blocks of the given kinds (of every kind, without), with their layers."""
        return [(x, b) for x in self.layers for b in x.verdicts if not kinds or b.kind in kinds]

    def as_json(self) -> dict[str, Any]:
        return {
            "samples": self.samples,
            "batches": self.batches,
            "notes": list(self.notes),
            "skipped": [s._asdict() for s in self.skipped],
            "layers": [
                {
                    **x._asdict(),
                    "verdicts": [b.as_json() for b in x.verdicts],
                    "cloned": x.cloned,
                    "near": x.near,
                }
                for x in self.layers
            ],
        }

    def table(self) -> str:
        """Counts a layer, then every verdict that says something, as text."""
        return table(self)

    def html(self) -> str:
        """The same as one self-contained page."""
        return html(self)

    def __str__(self) -> str:
        return self.table()
