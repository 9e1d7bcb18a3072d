"""Widen a model into an exact clone of itself.  [module-certificate: Def. A.1] [base-network: Remark A.2]

Every parameter is duplicated along its cloned axes and divided by the multiplicity along the axes that an operator
sums over:
W'[o', i'] = W[π(o'), π(i')] / |S_{π(i')}|. Then h'(u') = h(π(u')) for every unit and |S| δ'(u') = δ(π(u')).
"""

from typing import Any

from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.modules.clone import Clone, tiled
from lop_theory.modules.interface import Profile
from lop_theory.modules.plan import Factors, multiplicities, profile_of, widths
from lop_theory.modules.propagate import Rules
from lop_theory.modules.rewrite import Rewriter
from lop_theory.modules.scale import Scales


def expand(
    model: nn.Module,
    factor: Factors = 2,
    *,
    example_input: Any,
    attention: str = "heads",
    redistribute: int | None = None,
    rules: Rules | None = None,
) -> Clone:
    """A clone of ``model`` with every hidden width multiplied; inputs and outputs keep theirs.

    ``factor``: an integer, or ``{"layers.0": 3, "encoder.*.fc1": 2}`` (globs on layer or parameter names; a sequence
    gives one
    multiplicity a unit). Axes that are tied (residual streams) widen together.
    ``attention``: ``heads`` duplicates heads; ``width`` widens them and folds the logit scale into the query weights;
    ``uncorrected`` widens them and forgets the scale: still a clone, but of a base whose logits are sqrt(factor)
    times larger.
    ``redistribute``: a seed; adds random weights inside RE∩CE (zero in every block sum), so that clones are not copies.
    ``rules``: rules for operators of your own (see :mod:`lop_theory.modules.rules`).

    Raises :class:`~lop_theory.errors.InvalidInput` for bad factors, untraceable models and operators without a rule.
    """
    found = widths(model, example_input, rules)
    chosen = multiplicities(found, factor, attention)
    if all(m == 1 for m in chosen.values()) and factor != 1:
        raise InvalidInput(
            "model", type(model).__name__, "has no width that can be multiplied: all are inputs or outputs"
        )
    profiles = {training: profile_of(found, chosen, training=training) for training in found.modes}
    state = _widened(model, profiles[True])
    scales = Scales(state)
    programs = {}
    for training, traced in found.modes.items():
        rewriter = Rewriter(traced, found.plan, chosen, profiles[training])
        programs[training] = rewriter.program()
        scales.demand(rewriter, correct=attention != "uncorrected", redistribute=redistribute)
    scales.apply()
    profiles = {training: _with_new_values(profiles[training], programs[training].graph) for training in programs}
    clone = Clone(state, programs, profiles, frozenset(state) - frozenset(model.state_dict()), scales.factors())
    return clone.train(model.training)


def _with_new_values(profile: Profile, graph: Any) -> Profile:
    """Nodes that a rewrite inserted carry the partition of what they rescale; inserted size arithmetic carries none."""
    values = dict(profile.values)
    for node in graph.nodes:
        if node.name not in values and node.op == "call_function" and node.meta.get("like") in values:
            values[node.name] = values[node.meta["like"]]
    return profile._replace(values=values)


def _widened(model: nn.Module, profile: Profile) -> dict[str, Tensor]:
    """State by name, tied parameters still tied."""
    originals = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    made: dict[int, Tensor] = {}
    for name, tensor in originals.items():
        if id(tensor) not in made:
            wide = tiled(tensor, profile.state[name])
            made[id(tensor)] = (
                nn.Parameter(wide, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else wide
            )
    return {name: made[id(tensor)] for name, tensor in originals.items()}
