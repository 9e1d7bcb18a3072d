"""What is kept of a layer's values while batches go by: enough to tell clones, twins, near-clones and constants, and
nothing that depends on how the samples were cut into batches.

Besides moments (HᵀH, means, extremes) a *sketch* S = RᵀH with a fixed random matrix R (samples × 16, uniform entries)
is kept. It is linear, so differences of units are taken after the sum and lose nothing to cancellation:
‖S_i − S_j‖² · 12/16 estimates ‖h_i − h_j‖² (Johnson–Lindenstrauss), where HᵀH cannot see distances below 1e-8 ‖h‖.
The chance that it comes out 10 times too small is below 1e-12 (a chi-square variable with 16 degrees of freedom below
.16).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lop_theory.metrics import Moments, flatten_units, moments

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
    """Statistics of one layer, merged over batches."""

    def __init__(self) -> None:
        self.moments: Moments | None = None
        self._rounding: Tensor | None = None  # what the additions to the Gram matrix have lost
        self.sketch: Sketch | None = None
        self.extremes: Extremes | None = None
        self.slopes: Slopes | None = None
        self.eps = 0.0
        self._generator = torch.Generator().manual_seed(0)

    def add(self, values: Tensor, dim: int, keep: Tensor | None = None) -> None:
        """One batch: units along ``dim``; ``keep`` (rows) leaves padding out."""
        rows = values.detach() if keep is None else flatten_units(values.detach(), dim)[keep]
        where = dim if keep is None else 1
        if not rows.numel():
            return
        self.eps = max(self.eps, torch.finfo(values.dtype).eps)
        self._merge_moments(moments(rows, where))
        flat = flatten_units(rows, where)
        low, high = flat.aminmax(dim=0)
        self._merge_rest(flat, Extremes(low.double(), high.double()))

    def _merge_rest(self, flat: Tensor, found: Extremes) -> None:
        drawn = (
            torch.rand(len(flat), SKETCHES, generator=self._generator, dtype=torch.float64).sub_(0.5).to(flat.device)
        )
        sketch = Sketch(drawn.T @ flat.double(), drawn.sum(0))
        if self.sketch is None or self.extremes is None:
            self.sketch, self.extremes = sketch, found
            return
        self.sketch = Sketch(self.sketch.units + sketch.units, self.sketch.ones + sketch.ones)
        low, high = torch.minimum(self.extremes.low, found.low), torch.maximum(self.extremes.high, found.high)
        self.extremes = Extremes(low, high)

    def _merge_moments(self, new: Moments) -> None:
        """Sums over batches by error-free additions (Neumaier): as exact as one batch's own."""
        if self.moments is None:
            self.moments = new
            return
        old, n = self.moments, self.moments.samples + new.samples
        total = old.gram + new.gram
        lost = torch.where(
            old.gram.abs() >= new.gram.abs(), (old.gram - total) + new.gram, (new.gram - total) + old.gram
        )
        self._rounding = lost if self._rounding is None else self._rounding + lost
        a, b = old.samples / n, new.samples / n
        mean, mean_abs, near_zero = (x * a + y * b for x, y in zip(old[2:5], new[2:5], strict=True))
        self.moments = Moments(n, total, mean, mean_abs, near_zero, max(old.chain, new.chain) + 1)

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

    def summed(self) -> Moments:
        """The moments of all batches."""
        assert self.moments is not None
        return (
            self.moments if self._rounding is None else self.moments._replace(gram=self.moments.gram + self._rounding)
        )


class Likeness(NamedTuple):
    """Root mean square distances of units from the sketch. ``size`` is that of the unit, ``spread`` that around its
    mean."""

    sketch: Tensor
    centred: Tensor
    size: Tensor
    spread: Tensor
    unit: float

    def distance(self, i: int, j: Tensor | int) -> Tensor:
        """Of unit i to units j."""
        other = self.sketch[:, j]
        return (other - self.sketch[:, i : i + 1].expand_as(other)).norm(dim=0) * self.unit


def likeness(gathered: Gathered) -> Likeness:
    """What the sketch says of sizes and distances."""
    assert gathered.sketch is not None
    m = gathered.summed()
    unit = math.sqrt(SCALE / max(m.samples, 1))
    centred = gathered.sketch.units - gathered.sketch.ones[:, None] * m.mean[None, :]
    return Likeness(
        gathered.sketch.units, centred, gathered.sketch.units.norm(dim=0) * unit, centred.norm(dim=0) * unit, unit
    )
