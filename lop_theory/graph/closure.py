"""The closure criterion as a rule on classes of updates, without PyTorch. [optimiser-closure: Remarks 2.4, A.3]"""

from typing import Literal

Update = Literal["linear", "elementwise", "factored", "spectral", "algebraic", "weighted", "asymmetric"]
Decay = Literal["none", "coupled", "decoupled"]

MEMBERS: dict[Update, str] = {
    "linear": "SGD, momentum, Nesterov, ASGD, LBFGS, L2-init",
    "elementwise": "Adam, AdamW, NAdam, RAdam, Adamax, RMSprop, Adagrad, Adadelta, Rprop, sign descent, Lion",
    "factored": "Adafactor",
    "spectral": "Muon",
    "algebraic": "shrinking, NaP, polar factors (FIRE), Parseval and spectral penalties",
    "weighted": "DASH, UPGD without noise",
    "asymmetric": "gradient noise, dropout, shrink and perturb, UPGD, replaced units, optimiser state that differs "
    "between clones",
}


def stays(update: Update, decay: Decay, *, block_constant: bool, block: int = 3) -> tuple[bool, bool]:
    """(stays in RE∩CE, stays in w0 + BC) from a start on BC, or on RE∩CE alone; ``block`` is the size of the blocks.

    See ``lop_theory.graph.optimisers`` for the reasons and the measurements.
    """
    if update == "asymmetric":
        return False, False
    if block_constant or (decay == "none" and update not in ("algebraic", "weighted")):
        return True, True
    nonlinear = update == "weighted" or (decay == "coupled" and update in ("elementwise", "factored"))
    return not (nonlinear and block > 2), False


def escapes(*, block_constant: bool) -> dict[Decay, str]:
    """For each kind of decay, the optimisers that can leave RE∩CE."""
    kinds: tuple[Decay, ...] = ("none", "coupled", "decoupled")
    return {
        decay: "; ".join(m for u, m in MEMBERS.items() if not stays(u, decay, block_constant=block_constant)[0])
        for decay in kinds
    }
