"""What trains classifiers: models, optimisers, and an engine for all seeds of a configuration at once.

S models of one architecture are the rows of one matrix, θ ∈ ℝ^{S×P}, on one device: one optimiser step θ ← θ −
u(∇L(θ)) serves them all, and a model's numbers do not depend on its neighbours.

Reading order: options (model, data, optimiser) → models (networks from options) → stack (S models in shared memory) →
feed (batches on the device) → passes (precision) → gradients (one by one or vectorised) → noise, update (the
optimiser's side) → dropout, static_step (a step that asks nothing) → streams (recorded on a GPU) → engines (who makes
the steps) → trial (which is fastest) → memory (what it takes) → trainer (all of it) → evaluation (measuring without
changing).
"""

from typing import TYPE_CHECKING

from empirical.training.options import DataOptions, ModelOptions, OptimiserOptions
from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from empirical.training.evaluation import evaluating, outputs
    from empirical.training.feed import Feed
    from empirical.training.models import build
    from empirical.training.trainer import Trainer, classifier
    from empirical.training.update import begun

__all__ = [
    "DataOptions",
    "Feed",
    "ModelOptions",
    "OptimiserOptions",
    "Trainer",
    "begun",
    "build",
    "classifier",
    "evaluating",
    "outputs",
]

_HOMES = {
    **dict.fromkeys(("evaluating", "outputs"), "evaluation"),
    "Feed": "feed",
    "begun": "update",
    "build": "models",
    **dict.fromkeys(("Trainer", "classifier"), "trainer"),
}
__getattr__ = lazily(__name__, _HOMES)
