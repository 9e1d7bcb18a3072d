"""Tasks as pure functions of (seed, task, step): no state, any order, the same on every machine.

Every random number is a word of a counter, word(key, n) = mix(key + n·γ) (SplitMix64, γ = 2⁶⁴/φ), one key a purpose.

Reading order: counter (numbers) → source (what a task and a source are) → atlas (glyphs of fonts) → painting (strokes,
glyphs, grain) → glyphs (pictures of one) → scenes (of two on a texture) → gmm (Gaussian mixtures) → real (real images)
→ tasks (classes, permutations, batches: what experiments use) → ahead (tasks drawn before they are asked for).
"""

from typing import TYPE_CHECKING

from empirical.streams.source import Source, Task
from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from empirical.streams.tasks import as_inputs, batch_indices, open_source, task, task_classes

__all__ = ["Source", "Task", "as_inputs", "batch_indices", "open_source", "task", "task_classes"]

_HOMES = {
    **dict.fromkeys(("as_inputs", "batch_indices", "open_source", "task", "task_classes"), "tasks"),
}
__getattr__ = lazily(__name__, _HOMES)
