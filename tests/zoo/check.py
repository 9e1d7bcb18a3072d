"""What every model of the zoo goes through, in float32 and in float64, and what must be said of it."""

import copy
import math
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils import _pytree as pytree

from lop_theory.metrics import measure
from lop_theory.modules import certify, detect, expand, expansion
from lop_theory.modules.detection import Detection
from lop_theory.verdict import Holds, Verdict

CLONED = ("trapped", "separating", "cloned", "twin")


class Seen(NamedTuple):
    """What was said of a model, of its clone in float64 and float32, after a step of training in float32 (and in
    float64, where asked for), and 1 % off. ``ranks`` of all layers of the model; ``grown``: whether anything did."""

    ranks: tuple[float, ...]
    base: Detection
    grown: bool
    clone: Detection
    float64: Verdict
    float32: Verdict
    trained: Verdict
    spoiled: Verdict
    trained64: Verdict | None = None


def wrong(seen: Seen) -> tuple[str, ...]:
    """A sentence for every question of docs/zoo.md whose answer is not the right one."""
    certified = {
        "in float64": seen.float64,
        "cast to float32": seen.float32,
        "after a step in float32": seen.trained,
        "after a step in float64": seen.trained64,
    }
    answers = [
        (all(map(math.isfinite, seen.ranks)), f"a rank is not finite: {seen.ranks}"),
        (not seen.base.verdicts(*CLONED), f"clones before anything was done:\n{seen.base.table()}"),
        (seen.grown, "nothing grew"),
        (seen.clone.verdicts(*CLONED), f"clones not found:\n{seen.clone.table()}"),
        *[(v is None or isinstance(v, Holds), f"not certified {when}: {v}") for when, v in certified.items()],
        (not isinstance(seen.spoiled, Holds), f"certified though 1 % off: {seen.spoiled}"),
    ]
    return tuple(sentence for right, sentence in answers if not right)


def walk(model: nn.Module, inputs: Any, *, twice: bool = False) -> Seen:
    """Measure, detect; expand, detect; certify against the base in both precisions, train a step, certify, spoil,
    certify. ``twice``: train and certify in float64, too (a second certificate of a trained clone, of another
    rounding only)."""
    base, given = model.double().eval(), cast(inputs, torch.float64)
    ranks = tuple(layer.effective_rank for layer in measure(base, given, energy).values())
    before = detect(base, given)
    clone = expand(base, 2, example_input=given)
    grown = bool(expansion(clone).widened)
    after, double = detect(clone, given), certify(clone, base=base, example_input=given)
    single, narrow, coarse = copy.deepcopy(clone).float(), base.float(), cast(inputs, torch.float32)
    untrained = certify(single, base=narrow, example_input=coarse)
    step(single, coarse)
    trained = certify(single, example_input=coarse)
    spoil(single)
    spoiled = certify(single, example_input=coarse)
    if twice:
        step(clone, given)
    again = certify(clone, example_input=given) if twice else None
    return Seen(ranks, before, grown, after, double, untrained, trained, spoiled, again)


def cast(inputs: Any, dtype: torch.dtype) -> Any:
    return pytree.tree_map(
        lambda t: t.to(dtype) if isinstance(t, torch.Tensor) and t.is_floating_point() else t, inputs
    )


def step(clone: nn.Module, inputs: Any) -> None:
    """One step of SGD on the squares of the outputs; the change of mode lets go of tables that a model has cached."""
    output = (
        clone(**inputs) if isinstance(inputs, dict) else clone(*inputs) if isinstance(inputs, tuple) else clone(inputs)
    )
    energy(output).backward()
    torch.optim.SGD(clone.parameters(), 1e-2).step()
    clone.train().eval()


def energy(output: Any) -> torch.Tensor:
    """Mean squares of the outputs."""
    terms = [t.pow(2).mean() for t in pytree.tree_leaves(output) if isinstance(t, torch.Tensor) and t.requires_grad]
    return torch.stack(terms).sum()


def spoil(clone: nn.Module) -> None:
    """Move one unit of the first cloned weight by 1 %."""
    profile = expansion(clone).profiles[clone.training].state
    for name, parameter in clone.named_parameters():
        cloned = [d for d, index in enumerate(profile[name]) if len(index) > index.max(initial=-1) + 1]
        if parameter.dim() >= 2 and cloned and parameter.grad is not None and bool(parameter.grad.any()):
            with torch.no_grad():
                parameter.select(cloned[0], 0).mul_(1.01)
            return
    raise AssertionError("no cloned weight")
