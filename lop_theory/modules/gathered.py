"""What is kept of a layer's values while batches go by: enough to tell clones, twins, near-clones and constants, and
nothing that depends on how the samples were cut into batches.

Besides moments (HᵀH, means, extremes) a *sketch* S = RᵀH with a fixed random matrix R (samples × 16, uniform entries)
is kept. It is linear, so differences of units are taken after the sum and lose nothing to cancellation:
‖S_i − S_j‖² · 12/16 estimates ‖h_i − h_j‖² (Johnson–Lindenstrauss), where HᵀH cannot see distances below 1e-8 ‖h‖.
The chance that it comes out 10 times too small is below 1e-12 (a chi-square variable with 16 degrees of freedom below
.16).

Products of different units are kept for units that may be alike only (a screen that misses none,
:mod:`lop_theory.metrics.screening`) if there is one batch, for all of them if more may come.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from lop_theory.errors import InvalidInput
from lop_theory.metrics import Moments, flatten_units, moments, pieces
from lop_theory.metrics.screening import directions, resembling
from lop_theory.metrics.units import Columns, column_sums

FALSE_ALARMS = 0.01
"""Expected number of pairs of a layer that chance alone would report as near."""
SKETCHES = 16
SCALE = 12.0 / SKETCHES  # entries of R are uniform on [-½, ½]: their variance is 1/12


class Sketch(NamedTuple):
    """RᵀH (16 × units) and Rᵀ1 (16): what R makes of a constant."""

    units: Tensor
    ones: Tensor


class Extremes(NamedTuple):
    """Smallest and largest value of every unit."""

    low: Tensor
    high: Tensor


class Slopes(NamedTuple):
    """Of an activation's derivative: its largest size, and how many samples are below the saturation threshold."""

    largest: Tensor
    small: Tensor


class Gathered:
    """Statistics of one layer, merged over batches. With ``alike`` there is one batch, and products are those of units
    whose correlation may exceed it beyond chance."""

    def __init__(self, alike: float | None = None) -> None:
        self.columns: Columns | None = None
        self.sketch: Sketch | None = None
        self.extremes: Extremes | None = None
        self.slopes: Slopes | None = None
        self.eps = 0.0
        self._alike = alike
        self._units: Tensor | None = None  # those whose products are kept
        self._gram: Tensor | None = None
        self._rounding: Tensor | None = None  # what the additions to it have lost
        self._chain = 0
        self._generator = torch.Generator().manual_seed(0)

    def add(self, values: Tensor, dim: int, keep: Tensor | None = None) -> None:
        """One batch: units along ``dim``; ``keep`` (rows) leaves padding out."""
        rows = values.detach() if keep is None else flatten_units(values.detach(), dim)[keep]
        where = dim if keep is None else 1
        if not rows.numel():
            return
        if self._alike is not None and self.columns is not None:
            raise InvalidInput("data", "a loader", "has more batches than its length says", "give it as a list")
        self.eps = max(self.eps, torch.finfo(values.dtype).eps)
        if self._alike is None:
            self._add_products(moments(rows, where))
        else:
            self._add_columns(column_sums(rows, where))
            self._choose(rows, where, self._alike)
        self._sweep(rows, where)

    def _sweep(self, rows: Tensor, dim: int) -> None:
        """Sketch and extremes, a piece at a time."""
        for piece in pieces(rows, dim):
            drawn = torch.rand(piece.shape[1], SKETCHES, generator=self._generator, dtype=torch.float64)
            drawn = drawn.sub_(0.5).to(piece.device)
            sketch = Sketch((piece.double() @ drawn).T, drawn.sum(0))
            low, high = (end.double() for end in piece.aminmax(dim=1))
            if self.sketch is not None and self.extremes is not None:
                sketch = Sketch(self.sketch.units + sketch.units, self.sketch.ones + sketch.ones)
                low, high = torch.minimum(self.extremes.low, low), torch.maximum(self.extremes.high, high)
            self.sketch, self.extremes = sketch, Extremes(low, high)

    def _choose(self, rows: Tensor, dim: int, alike: float) -> None:
        """The units that may be alike, and their products."""
        sums = self.summed()
        limit = least_correlation(len(sums.mean), sums.samples, alike)
        if limit is None or not sums.finite:
            self._units = torch.arange(0)
            return
        self._units = resembling(directions(rows, dim, sums.mean), limit)
        if len(self._units):
            chosen = moments(rows.index_select(dim, self._units), dim)
            self._gram, self._chain = chosen.gram, chosen.chain

    def _add_columns(self, new: Columns) -> None:
        old = self.columns
        if old is None:
            self.columns = new
            return
        n = old.samples + new.samples
        a, b = old.samples / n, new.samples / n
        means = (x * a + y * b for x, y in zip(old[2:], new[2:], strict=True))
        self.columns = Columns(n, old.squares + new.squares, *means)

    def _add_products(self, new: Moments) -> None:
        """Sums over batches by error-free additions (Neumaier): as exact as one batch's own."""
        self._add_columns(new.columns)
        self._chain = max(self._chain, new.chain + (self._gram is not None))
        if self._gram is None:
            self._gram = new.gram
            return
        old, total = self._gram, self._gram + new.gram
        lost = torch.where(old.abs() >= new.gram.abs(), (old - total) + new.gram, (new.gram - total) + old)
        self._rounding = lost if self._rounding is None else self._rounding + lost
        self._gram = total

    def add_slopes(self, slope: Tensor, dim: int, threshold: float, keep: Tensor | None = None) -> None:
        """The derivative of the activation at every sample."""
        size = flatten_units(slope.detach(), dim).abs()
        size = size if keep is None else size[keep]
        if not len(size):
            return
        found = Slopes(size.amax(0).double(), (size < threshold).sum(0).double())
        old = self.slopes
        self.slopes = (
            found if old is None else Slopes(torch.maximum(old.largest, found.largest), old.small + found.small)
        )

    def summed(self) -> Columns:
        """The column sums of all batches."""
        assert self.columns is not None
        return self.columns

    def related(self) -> tuple[Tensor, Moments]:
        """Indices of the units whose products are known, and their moments: all that may be alike are among them."""
        sums = self.summed()
        places = torch.arange(len(sums.mean), device=sums.mean.device) if self._units is None else self._units
        gram = torch.zeros(0, 0, dtype=torch.float64) if self._gram is None else self._gram
        mean, mean_abs, near_zero = (x[places] for x in sums[2:])
        exact = gram if self._rounding is None else gram + self._rounding
        return places, Moments(sums.samples, exact, mean, mean_abs, near_zero, self._chain)

    def gram(self, units: Tensor) -> Tensor:
        """HᵀH of some of the related units."""
        places, m = self.related()
        where = torch.searchsorted(places, units.to(places.device))
        return m.gram[where][:, where]


def least_correlation(units: int, samples: int, threshold: float) -> float | None:
    """The correlation from which on two of the units are said to be alike beyond chance; ``None`` if the samples are
    too few.

    The lower confidence bound tanh(atanh r − q/√(n − 3)) (Fisher) must exceed the threshold, with q such that among all
    pairs of independent units .01 would pass.
    """
    if samples <= 3:
        return None
    pairs = max(1.0, units * (units - 1) / 2)
    q = NormalDist().inv_cdf(1 - min(0.5, FALSE_ALARMS / pairs))
    return min(math.tanh(math.atanh(min(threshold, 1 - 1e-15)) + q / (samples - 3) ** 0.5), 1 - 1e-12)


class Likeness(NamedTuple):
    """Root mean square distances of units from the sketch. ``size`` is that of the unit, ``spread`` that around its
    mean."""

    sketch: Tensor
    centred: Tensor
    size: Tensor
    spread: Tensor
    unit: float

    def distance(self, i: int, j: Tensor) -> Tensor:
        """Of unit i to units j."""
        other = self.sketch[:, j]
        return (other - self.sketch[:, i : i + 1].expand_as(other)).norm(dim=0) * self.unit


def likeness(gathered: Gathered) -> Likeness:
    """What the sketch says of sizes and distances."""
    assert gathered.sketch is not None
    m = gathered.summed()
    unit = math.sqrt(SCALE / m.samples)
    centred = gathered.sketch.units - gathered.sketch.ones[:, None] * m.mean[None, :]
    return Likeness(
        gathered.sketch.units, centred, gathered.sketch.units.norm(dim=0) * unit, centred.norm(dim=0) * unit, unit
    )
