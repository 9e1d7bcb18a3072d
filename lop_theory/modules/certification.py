"""Certificates: MC1 (forward), MC2 (backward), MC3 (gradients) for every module and for the whole.
[module-certificate] [composition]

Symbolic: the rules and the equitable weights prove the three conditions for every batch (Lemma A.2, Theorem A.2).
Numeric: float64
passes on random batches cross-check values, adjoints and gradients; they also find the witness when the proof fails.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.modules.clone import program_of
from lop_theory.modules.conditions import Offence, Pass, Propagated, Symbolic, propagated
from lop_theory.modules.growth import ATTRIBUTE, profile_of_clone
from lop_theory.modules.infer import given_profile, inferred_profile
from lop_theory.modules.interface import Profile
from lop_theory.modules.numeric import (
    ROUNDING,
    Comparison,
    Evidence,
    aligned,
    base_offence,
    cloned_offences,
    infinite_offences,
    sensitivity,
    signals,
)
from lop_theory.modules.optimizer import undecided
from lop_theory.modules.outputs import all_compared, compared_outputs, layout_offences
from lop_theory.modules.propagation import Rules
from lop_theory.modules.survey import Survey, base_of, surveyed
from lop_theory.modules.terms import amplitude, limits
from lop_theory.modules.training import step_offences
from lop_theory.optim.ranges import require_between, require_kind
from lop_theory.trace import Program, flat_inputs, state_of
from lop_theory.verdict import Fails, Holds, Undecided, Verdict

UNIT_ROUNDOFF = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
LARGE = 4_000_000
HUGE = 1e6  # numbers that saturate whatever reads them


class Row(NamedTuple):
    """One module of the certificate."""

    module: str
    operators: int
    conditions: Mapping[str, bool]
    offences: tuple[Offence, ...]


class Certificate(NamedTuple):
    """``verdict`` for the composition, ``rows`` per module, and how the two halves came out."""

    verdict: Verdict
    rows: tuple[Row, ...]
    symbolic: tuple[Offence, ...]
    numeric: tuple[Offence, ...]
    near_ties: tuple[str, ...]
    tolerance: float

    def __bool__(self) -> bool:
        return bool(self.verdict)


def certify(  # noqa: PLR0913 - one optional piece of evidence each
    model: nn.Module,
    base: nn.Module | None = None,
    *,
    example_input: Any,
    profile: Profile | None = None,
    tolerance: float | None = None,
    rules: Rules | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> Verdict:
    """``Holds`` if MC1–MC3 hold in the model's present mode, else ``Fails(Offence)`` naming the first offender.

    With ``base`` also: equal outputs under equal names, and |S| δ = δ̃ at every value, on the example and a random
    batch in float64: of units dead there, table rows not used there and overflow in the model's own precision it says
    nothing. A model that ``expand`` did not make needs a ``profile`` or a ``base`` (of the same class, narrower), from
    which the profile is inferred (clones next to one another, or copy after copy in every layer). ``Undecided`` if only
    one half of the evidence fails, or if a batch came within rounding of a kink. With ``optimizer`` its next steps must
    keep clones together, too: untied moments, different groups, or adaptive steps with coupled weight decay where
    clones' weights differ part them (100 × the tolerance of a weight is allowed in moments, a tenth at most). It is
    ``Undecided`` of state in a layout of its own (LBFGS), of whole numbers or single entries of moments that differ, of
    gradients that are rounding where steps divide by their size, of hooks, and of optimizers that are not PyTorch's.
    """
    return certificate(
        model,
        base,
        example_input=example_input,
        profile=profile,
        tolerance=tolerance,
        rules=rules,
        optimizer=optimizer,
    ).verdict


def certificate(  # noqa: PLR0913 - as certify
    model: nn.Module,
    base: nn.Module | None = None,
    *,
    example_input: Any,
    profile: Profile | None = None,
    tolerance: float | None = None,
    rules: Rules | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> Certificate:
    """As :func:`certify`, with one row a module."""
    _require_subject(model, base, optimizer, profile, tolerance)
    judged = partial(
        _of_profile, model, base, example_input=example_input, tolerance=tolerance, rules=rules, optimizer=optimizer
    )
    if base is None or profile is not None or ATTRIBUTE in vars(model):
        return judged(_known_profile(model, profile))
    found = list[Certificate]()
    for laid in (np.repeat, np.tile):
        found.append(judged(inferred_profile(model, base, example_input, rules, laid)))
        if found[-1].verdict:
            return found[-1]
    return _supposed(found)


def _of_profile(  # noqa: PLR0913 - as certify
    model: nn.Module,
    base: nn.Module | None,
    profile: Profile,
    *,
    example_input: Any,
    tolerance: float | None,
    rules: Rules | None,
    optimizer: torch.optim.Optimizer | None,
) -> Certificate:
    program, state = program_of(model, example_input), state_of(model)
    found = limits(program, state) if tolerance is None else dict.fromkeys(_names(program), float(tolerance))
    theirs = None if base is None else (program_of(base, example_input, training=model.training), state_of(base))
    subject = _Subject(program, state, profile, found, rules, theirs, optimizer is not None)
    symbolic: Symbolic | None = None
    numeric: list[Offence] = [] if theirs is None else layout_offences(program, theirs[0])
    ties: list[str] = []
    loose: dict[str, float] = {}
    batches = _batches(state, flat_inputs(program, example_input))
    for batch, inputs in enumerate(batches):
        symbolic, near, offences = _looked_at(subject, inputs, batch, symbolic, loose)
        numeric += [offence._replace(batch=batch) for offence in offences]
        ties += near
    assert symbolic is not None
    numeric += [] if optimizer is None else step_offences(model, optimizer, profile, loose)
    agreement = "" if base is None else _agreement(program, symbolic.slack)
    verdict = _verdict(symbolic, numeric, tuple(dict.fromkeys(ties)), found, len(batches), agreement)
    if verdict and not profile.cloned():
        verdict = Undecided("no unit has a clone: nothing is asked of the weights")
    rows = _rows(program, (*symbolic.offences, *numeric))
    largest = max(found.values(), default=0.0)
    return Certificate(verdict, rows, symbolic.offences, tuple(numeric), tuple(dict.fromkeys(ties)), largest)


def _require_subject(
    model: nn.Module,
    base: nn.Module | None,
    optimizer: torch.optim.Optimizer | None,
    profile: Profile | None,
    tolerance: float | None,
) -> None:
    for name, value, kind in (
        ("model", model, nn.Module),
        ("base", base, nn.Module),
        ("optimizer", optimizer, torch.optim.Optimizer),
        ("profile", profile, Profile),
    ):
        if name == "model" or value is not None:
            require_kind(name, value, kind)
    if tolerance is not None:
        require_between("tolerance", tolerance, 0.0, 1.0)


def _names(program: Program) -> list[str]:
    return [node.name for node in program.graph.nodes]


class _Subject(NamedTuple):
    """What is certified, and the base that it is compared with."""

    program: Program
    state: Mapping[str, Tensor]
    profile: Profile
    limits: Mapping[str, float]
    rules: Rules | None
    base: tuple[Program, Mapping[str, Tensor]] | None
    stepped: bool  # by an optimizer that is looked at

    def propagated(self, passed: Pass) -> Propagated:
        return propagated(self.program, passed, self.profile, self.limits, self.rules)

    def coarsest(self) -> float:
        """The rounding of the coarsest weights of the base."""
        if self.base is None:
            return 0.0
        reference, state = self.base
        used = [state[name].dtype for name in set(reference.state.values())]
        return max((UNIT_ROUNDOFF.get(d, 2.0**-4) for d in used if d.is_floating_point), default=0.0)


def _looked_at(
    subject: _Subject, inputs: list[Any], batch: int, symbolic: Symbolic | None, loose: dict[str, float]
) -> tuple[Symbolic, tuple[str, ...], list[Offence]]:
    """One batch: the proof (of the first batch), values near a kink, offences. ``loose`` takes gradients that are
    rounding."""
    if symbolic is None or not symbolic.offences:
        found = _surveyed(subject, inputs, batch)
        loose |= {name: max(apart, loose.get(name, 0.0)) for name, apart in found.loose.items()}
        proof = symbolic or found.propagated.weighed(found.magnitudes)
        level = max(ROUNDING, 2 * proof.slack)
        if not proof.offences and found.clear(level, max(level, subject.coarsest())):
            return proof, found.near_ties, []
    return _measured(subject, inputs, batch, symbolic)


def _surveyed(subject: _Subject, inputs: list[Any], batch: int) -> Survey:
    program, state, profile, base = subject.program, subject.state, subject.profile, None
    if subject.base is not None:
        to = aligned(program, subject.base[0]), profile.values
        base = base_of(*subject.base, inputs, batch, to)
    return surveyed(
        program, state, inputs, batch, axes=profile.state, propagate=subject.propagated, base=base,
        entries=subject.stepped,
    )  # fmt: skip


def _measured(
    subject: _Subject, inputs: list[Any], batch: int, symbolic: Symbolic | None
) -> tuple[Symbolic, tuple[str, ...], list[Offence]]:
    """The same with all values at once, and with what rounding explains of each."""
    program, state, profile = subject.program, subject.state, subject.profile
    seen = signals(program, state, inputs, seed=batch)
    if symbolic is None:
        found = subject.propagated(Pass(seen.tensors, seen.sizes))
        symbolic = found.weighed({(n, d): amplitude(seen.adjoints.get(n), d) for n, d in found.wanted})
    evidence = Evidence(seen, sensitivity(program, state, inputs, seen, batch))
    offences = infinite_offences(program, state, seen)
    offences += cloned_offences(program, evidence, symbolic.partitions, profile.state, symbolic.slack)
    if subject.base is not None and not offences and not symbolic.offences:
        offences = _compared(subject, evidence, inputs, (symbolic, batch))
    return symbolic, seen.near_ties, offences


def _compared(subject: _Subject, evidence: Evidence, inputs: list[Any], of: tuple[Symbolic, int]) -> list[Offence]:
    assert subject.base is not None
    (reference, state), (symbolic, batch), values = subject.base, of, subject.profile.values
    theirs = signals(reference, state, inputs, seed=batch)
    moved = sensitivity(reference, state, inputs, theirs, batch)
    level = max(ROUNDING, subject.coarsest(), 2 * symbolic.slack)
    pairs = aligned(subject.program, reference)
    comparison = Comparison(
        subject.program, pairs, evidence.seen, theirs, moved, values, symbolic.rescaled, level
    )  # fmt: skip
    offence = base_offence(comparison)
    return [] if offence is None else [offence]


def _known_profile(model: nn.Module, profile: Profile | None) -> Profile:
    if profile is not None:
        return given_profile(profile, state_of(model))
    if ATTRIBUTE in vars(model):
        return profile_of_clone(model)
    raise InvalidInput(
        "model", type(model).__name__, "was not made by expand", "pass base= (the narrow model) or profile="
    )


def _supposed(found: list[Certificate]) -> Certificate:
    """The one that is undecided, else the one with the fewest offences: of other orders of clones nothing is known."""
    undecided_ones = [one for one in found if isinstance(one.verdict, Undecided)]
    best = min(undecided_ones or found, key=lambda one: len(one.symbolic) + len(one.numeric))
    offence = best.verdict.witness if isinstance(best.verdict, Fails) else None
    if not (isinstance(offence, Offence) and offence.condition.startswith("MC") and "differ by" in offence.reason):
        return best
    told = f"{offence.reason} (clones supposed next to one another, or copy after copy: see profile=)"
    return best._replace(verdict=Fails(offence._replace(reason=told)))


def _batches(state: Mapping[str, Tensor], inputs: list[Any]) -> list[list[Any]]:
    """The example and a random batch; for large models, whose float64 passes take seconds, the example alone."""
    return [inputs, _another(inputs)] if sum(t.numel() for t in state.values()) < LARGE else [inputs]


def _another(inputs: list[Any]) -> list[Any]:
    """A second batch: fresh normal numbers with the spread of the first, in its range (a logarithm may read them);
    integer inputs stay. A constant is multiplied by numbers around 1; if nothing else varies, zeros become normal."""
    generator = torch.Generator().manual_seed(1)
    varied = any(map(_varies, inputs))

    def fresh(x: Any) -> Any:
        if not (isinstance(x, Tensor) and x.is_floating_point() and x.numel()):
            return x
        given = x.detach().double()
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device)
        if _varies(x):
            return (noise * given.std() + given.mean()).clamp(*given.aminmax())
        if 0 < float(given.abs().max()) < HUGE:
            return given * (0.5 + noise.sigmoid())
        return given if varied else noise

    return [fresh(x) for x in inputs]


def _varies(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point() and x.numel() > 0 and bool((x != x.flatten()[0]).any())


def _verdict(
    symbolic: Symbolic,
    numeric: list[Offence],
    ties: tuple[str, ...],
    tolerances: Mapping[str, float],
    batches: int,
    agreement: str,
) -> Verdict:
    infinite = [o for o in numeric if o.condition == "finite"]
    if infinite:
        return Fails(infinite[0])
    broken = [o for o in numeric if o.condition.startswith("MC")]
    if symbolic.offences and broken:
        return Fails(symbolic.offences[0]._replace(batch=broken[0].batch))
    if symbolic.offences:
        return _unconfirmed(symbolic.offences[0])
    if broken and ties:
        return Undecided(f"clones differ ({broken[0]}) but the batch is within rounding of a kink at {ties[0]}")
    definite = [o for o in numeric if not undecided(o)]
    if numeric:
        return Fails(definite[0]) if definite else Undecided(str(numeric[0]))
    allowed = sorted({t for t in tolerances.values() if t})
    span = " to ".join(f"{t:g}" for t in dict.fromkeys((*allowed[:1], *allowed[-1:])))
    return Holds(
        f"MC1-MC3 symbolic proof at {len(symbolic.checked)} weighted sums (weights in RE∩CE to {symbolic.slack:.1e} of "
        f"the terms of each sum; tolerance {span or 0:}); tested on {batches} random batch"
        f"{'es' if batches > 1 else ''} in float64{agreement}"
    )


def _agreement(program: Program, slack: float) -> str:
    """What was seen of outputs and adjoints beside the base's, on these batches."""
    if not compared_outputs(program):
        return ", not compared with the base: no output is a real or complex number"
    within = "within rounding" if 2 * slack <= ROUNDING else f"to what the weights' deviation allows ({2 * slack:.0e})"
    return f", equal to the base {within}" + ("" if all_compared(program) else ", whole numbers not compared")


def _unconfirmed(offence: Offence) -> Verdict:
    """No rule proves it and no batch breaks it. A broken weight condition is a fact about the weights, so it does
    fail."""
    if "differ by" in offence.reason or "independent" in offence.reason:
        return Fails(offence)
    return Undecided(f"no rule proves it and no batch breaks it: {offence}")


def _rows(program: Program, offences: tuple[Offence, ...]) -> tuple[Row, ...]:
    modules: dict[str, int] = {}
    for node in program.graph.nodes:
        if node.op == "call_function" and node.name in program.modules:
            modules[program.modules[node.name]] = modules.get(program.modules[node.name], 0) + 1
    rows = []
    for module, operators in modules.items():
        mine = tuple(o for o in offences if o.module == module)
        conditions = {c: not any(o.condition.startswith(c) for o in mine) for c in ("MC1", "MC2", "MC3")}
        rows.append(Row(module, operators, conditions, mine))
    return tuple(rows)
