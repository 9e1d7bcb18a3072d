"""What can leave a loss of plasticity, and what cannot: the optimiser table and the interventions, by what was found.

``trapped`` clones: equal rows and columns stay equal under every update that is equivariant under permutations of the
clones, so only what treats them differently parts them. ``frozen`` and silent units: no gradient reaches their incoming
weights, so only what moves weights without one does. Every line is tried on a small network in the tests: what is
listed as able leaves, what is listed as unable does not.
"""

from typing import NamedTuple


class Remedy(NamedTuple):
    """``call``: what to do; ``leaves``: the findings that it can leave; ``keeps``: those that it cannot."""

    name: str
    call: str
    leaves: tuple[str, ...]
    keeps: tuple[str, ...] = ()


CLONES = ("trapped",)
SILENT = ("frozen", "silent")
QUIET = ("dormant",)

REMEDIES = (
    Remedy(
        "continual backprop", "lop_theory.optim.ContinualBackprop(optimiser, model, example_input=x)",
        (*SILENT, *QUIET, *CLONES),
    ),
    Remedy("ReDo", "lop_theory.optim.ReDo(optimiser, model, example_input=x)", (*SILENT, *QUIET), CLONES),
    Remedy("ReGraMa", "lop_theory.optim.ReGraMa(optimiser, model, example_input=x)", SILENT, CLONES),
    Remedy(
        "shrink and perturb", "lop_theory.optim.shrink_and_perturb(model, shrink=0.8, perturb=0.1), again and again",
        (*CLONES, *SILENT, *QUIET),
    ),
    Remedy("UPGD", "lop_theory.optim.UPGD(model.parameters(), sigma=0.01)", (*CLONES, *SILENT)),
    Remedy("gradient noise", "lop_theory.optim.NoisySGD(model.parameters(), sigma=0.01)", CLONES),
    Remedy("dropout", "torch.nn.Dropout behind the layer", CLONES, SILENT),
    Remedy("escape direction", "lop_theory.stability.escaped(model, detection, loss)", CLONES, SILENT),
    Remedy("FIRE", "lop_theory.optim.fire(model)", (), CLONES),
    Remedy("decoupled weight decay", "torch.optim.AdamW(model.parameters())", (), (*CLONES, *SILENT)),
)  # fmt: skip


def able(found: str) -> tuple[Remedy, ...]:
    """Those that can leave what was found."""
    return tuple(remedy for remedy in REMEDIES if found in remedy.leaves)


def unable(found: str) -> tuple[Remedy, ...]:
    """Those that cannot, though one might try them."""
    return tuple(remedy for remedy in REMEDIES if found in remedy.keeps)


def advice(found: str) -> tuple[str, ...]:
    """Lines for a person: what can leave it, then what cannot."""
    lines = [f"{remedy.name}: {remedy.call}" for remedy in able(found)]
    cannot = ", ".join(remedy.name for remedy in unable(found))
    return (*lines, *([f"cannot leave it: {cannot}"] if cannot else []))
