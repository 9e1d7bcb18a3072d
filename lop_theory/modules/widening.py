"""Widen a model into an exact clone of itself.  [module-certificate: Def. A.1] [base-network: Remark A.2]

Every parameter is duplicated along its cloned axes and divided by the multiplicity along the axes that an operator
sums over:
W'[o', i'] = W[π(o'), π(i')] / |S_{π(i')}|. Then h'(u') = h(π(u')) for every unit and |S| δ'(u') = δ(π(u')).
"""

from typing import Any

from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.modules.axes import Axis, Multiplicity
from lop_theory.modules.clone import Clone, tiled
from lop_theory.modules.growth import ATTRIBUTE, Expansion
from lop_theory.modules.interface import Profile
from lop_theory.modules.own_class import NotNativeError, native
from lop_theory.modules.plan import UNREAD, Factors, Widths, multiplicities, profile_of, widths
from lop_theory.modules.propagation import Rules, UnsupportedOperation
from lop_theory.modules.rewrite import Rewriter
from lop_theory.modules.scale import Scales
from lop_theory.optim.ranges import require_count, require_kind
from lop_theory.trace.passes import passes_kept
from lop_theory.trace.unseen import refuse_unmade


def expand(  # noqa: PLR0913 - one optional wish each
    model: nn.Module,
    factor: Factors = 2,
    *,
    example_input: Any,
    attention: str = "heads",
    redistribute: int | None = None,
    rules: Rules | None = None,
    traced: bool = False,
) -> nn.Module:
    """A clone of ``model`` with every hidden width multiplied; inputs and outputs keep theirs.

    ``factor``: an integer, or ``{"layers.0": 3, "encoder.*.fc1": 2}`` (globs on layer or parameter names; a sequence
    gives one
    multiplicity a unit). Axes that are tied (residual streams) widen together.
    ``attention``: ``heads`` duplicates heads; ``width`` widens them and folds the logit scale into the query weights;
    ``uncorrected`` widens them and forgets the scale: still a clone, but of a base whose logits are sqrt(factor)
    times larger.
    ``redistribute``: a seed; adds random weights inside RE∩CE (zero in every block sum), so that clones are not copies.
    ``rules``: rules for operators of your own (see :mod:`lop_theory.modules.rules`).
    ``traced``: always run the rewritten trace (:class:`~lop_theory.modules.clone.Clone`).

    The result is an instance of the model's own class, with its ``forward``, wherever that computes the base's function
    on the example, another batch size and another length; else it runs the rewritten trace, which refuses calls that
    it does not describe. :func:`~lop_theory.modules.growth.expansion` says which, what stayed narrow and why.

    Raises :class:`~lop_theory.errors.InvalidInput` for bad factors, untraceable models and operators without a rule.
    """
    require_kind("model", model, nn.Module)
    if redistribute is not None:
        require_count("redistribute", redistribute, 0)
    refuse_unmade(model)
    with passes_kept():
        return _expanded(model, factor, example_input, (attention, redistribute, rules), traced=traced)


def _expanded(
    model: nn.Module, factor: Factors, example_input: Any, wishes: tuple[str, int | None, Rules | None], *, traced: bool
) -> nn.Module:
    attention, redistribute, rules = wishes
    found = widths(model, example_input, rules)
    chosen = multiplicities(found, factor, attention)
    if all(m == 1 for m in chosen.values()) and factor != 1:
        for place, target in found.plan.without_rule.items():
            raise UnsupportedOperation(place, target)
        raise _nothing_grows(model, found)
    clone = _rewritten(model, found, chosen, attention, redistribute)
    record = Expansion(False, "asked for", clone.profiles, clone.factors, *_report(found, clone), {})
    if not traced:
        try:
            programs = {training: mode.program for training, mode in found.modes.items()}
            wide, scaled = native(model, clone, programs, example_input)
            vars(wide)[ATTRIBUTE] = record._replace(own_class=True, reason="", scaled=scaled)
            return wide.train(model.training)
        except NotNativeError as error:
            record = record._replace(reason=str(error))
    vars(clone)[ATTRIBUTE] = record
    return clone.train(model.training)


def _nothing_grows(model: nn.Module, found: Widths) -> InvalidInput:
    kept = {place for axes in found.state.values() for axis in axes if (place := _kept(found, axis)) is not None}
    places = ", ".join(sorted(kept)[:4])
    return InvalidInput(
        "model",
        type(model).__name__,
        "has no width that can be multiplied: "
        + (f"kept by {places}" if places else "all are inputs or outputs"),
    )  # fmt: skip


def _kept(found: Widths, axis: Any) -> str | None:
    """The operator that keeps an axis as it is."""
    if found.plan.cloned(axis) or found.plan.size(axis) == 1:
        return None
    node = found.plan.kept_by(axis)
    if node is None:
        unread = any(UNREAD in found.plan.marks(leaf) for leaf in found.plan.leaves(axis))
        return "nothing in this call uses it" if unread else None
    program = next(mode.program for mode in found.modes.values() if node.graph is mode.program.graph)
    return "the output" if node.op == "output" else f"{program.where(node)}"


def _report(found: Widths, clone: Clone) -> tuple[dict[str, Any], dict[str, str]]:
    """Shapes that grew; parameters with an axis that did not, and what keeps it."""
    state, widened, narrow = clone.state(), dict[str, Any](), dict[str, str]()
    for name, axes in found.state.items():
        old, new = tuple(found.plan.size(axis) for axis in axes), tuple(state[name].shape)
        if old != new:
            widened[name] = (old, new)
        kept = [_kept(found, axis) for axis, a, b in zip(axes, old, new, strict=True) if a == b]
        if any(kept):
            narrow[name] = ", ".join(dict.fromkeys(place for place in kept if place))
    return widened, narrow


def _rewritten(
    model: nn.Module, found: Widths, chosen: dict[Axis, Multiplicity], attention: str, redistribute: int | None
) -> Clone:
    """The clone as a rewritten trace."""
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
    transient = frozenset(state) - frozenset(model.state_dict())
    return Clone(state, programs, profiles, transient, scales.factors())


def _with_new_values(profile: Profile, graph: Any) -> Profile:
    """Nodes that a rewrite inserted carry the partition of what they rescale; inserted size arithmetic carries none."""
    values = dict(profile.values)
    for node in graph.nodes:
        if node.meta.get("like") in values:
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
