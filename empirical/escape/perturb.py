"""What is done to a network between two tasks of stage 2, in place: shrink and perturb, or leave the clones."""

import torch
from torch import nn

from empirical.continual.metrics import Probe
from empirical.escape.metrics import clones_found, curvature_on, layer_moments
from empirical.runs.store import Row
from lop_theory.stability import escape_direction


@torch.no_grad()
def leave_clones(model: nn.Module, probe: Probe, size: float, seed: int) -> Row:
    """One step of ``size`` × ‖weights‖ along the escape direction of all near-clones on the task just learnt.

    Columns of what was found; nothing is done where there are no clones.
    """
    assert isinstance(model, nn.Sequential)
    clones, shared = clones_found(model, layer_moments(model, probe))
    with torch.enable_grad():
        at = curvature_on(model, probe)
        found = escape_direction(at, clones, seed=seed) if shared else None
    if found is None:
        return {"escape_length": 0.0}
    parameters = dict(model.named_parameters())
    length = size * float(sum(p.double().square().sum() for p in parameters.values())) ** 0.5
    for name, part in at.coordinates.unflatten(length * found.direction).items():
        parameters[name].add_(part.to(parameters[name]))
    return {"escape_curvature": found.curvature, "escape_mixing": found.mixing, "escape_length": length}
