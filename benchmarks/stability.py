"""Ten extreme curvatures normal to the clone manifold of a cloned ResNet-18 on 512 images, against the same Lanczos
method without projection, and a Hessian product against curvlinops (if it is installed), in processor time of one
thread.

The ResNet-18 is ``SCALE`` times narrower than the usual and its images have 8 pixels on a side, so that it ends on a
laptop.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lop_theory.modules import expand
from lop_theory.modules.zoo import resnet18
from lop_theory.stability import Curvature, clones_of, curvature, extreme_spectrum, normal
from lop_theory.stability.krylov import random_start
from lop_theory.stability.subspace import Subspace, complement

SCALE, SIDE, IMAGES, CLASSES = 16, 8, 512, 10
TOLERANCE = 1e-2
"""Largest residual, over the largest normal curvature."""


def seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time of one call, and its result."""
    start = time.process_time()
    found = action()
    return time.process_time() - start, found


def cloned() -> tuple[nn.Module, Tensor, Tensor]:
    """The clone in evaluation mode, images and labels."""
    torch.manual_seed(0)
    images, labels = torch.randn(IMAGES, 3, SIDE, SIDE), torch.arange(IMAGES) % CLASSES
    base = resnet18((3, SIDE, SIDE), CLASSES, base=64 // SCALE).eval()
    wide = resnet18((3, SIDE, SIDE), CLASSES, base=128 // SCALE).eval()
    wide.load_state_dict(expand(base, 2, example_input=images[:8], redistribute=1).state_dict())
    return wide, images, labels


def spectra(at: Curvature, space: Subspace) -> str:
    """Projected against unprojected, to one absolute residual."""
    everything = complement(Subspace(torch.zeros_like, 0, space.ambient))
    start = random_start(space, at.gradient)
    ours, found = seconds(lambda: extreme_spectrum(at.product, space, start, tolerance=TOLERANCE))
    top = extreme_spectrum(at.product, everything, start, count=1, products=10).largest
    same = TOLERANCE * found.largest / top
    plain, other = seconds(lambda: extreme_spectrum(at.product, everything, start, tolerance=same))
    each = ours / found.products / (plain / other.products)
    return (
        f"ten extreme curvatures: normal space {ours:.1f} s, {found.products} products (converged: {found.converged}); "
        f"without projection {plain:.1f} s, {other.products} products (converged: {other.converged}); "
        f"ratio {ours / plain:.2f}, a product {each:.2f}"
    )


def against_curvlinops(at: Curvature, model: nn.Module, images: Tensor, labels: Tensor) -> str:
    """A projected product of ours against one of theirs, which computes its graph anew every time."""
    try:
        from curvlinops import HessianLinearOperator
    except ImportError:
        return "curvlinops: not installed (pip install curvlinops-for-pytorch)"
    parameters = [p for p in model.parameters() if p.requires_grad]
    data = [(images, labels)]
    theirs = HessianLinearOperator(model, nn.CrossEntropyLoss(), parameters, data, check_deterministic=False)
    vector = torch.randn(at.coordinates.dimension)
    space = normal(clones_of(model, images[:8]), at.coordinates)
    pairs = []
    for _ in range(3):
        own, found = seconds(lambda: space.project(at.product(vector)))
        other, expected = seconds(lambda: space.project(theirs @ vector))
        pairs.append((own, other))
    own, other = (min(times) for times in zip(*pairs, strict=True))
    gap = float((found - expected).norm() / expected.norm())
    return f"one product: ours {own:.2f} s, curvlinops {other:.2f} s, ratio {own / other:.2f}; they differ by {gap:.0e}"


def main() -> None:
    """Print the rows."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model, images, labels = cloned()
    graph, at = seconds(lambda: curvature(model, images, lambda y: nn.functional.cross_entropy(y, labels)))
    space = normal(clones_of(model, images[:8]), at.coordinates)
    print(f"ResNet-18 / {SCALE}, cloned: {space.ambient:,} parameters, {space.dimension:,} normal; graph {graph:.1f} s")
    print(against_curvlinops(at, model, images, labels), flush=True)
    print(spectra(at, space))
    torch.set_num_threads(before)


if __name__ == "__main__":
    main()
