"""What a certificate says of its evidence: verdicts case by case, tolerances, batches, and every condition of a sum."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.modules import certificate, certify, expand  # noqa: E402
from lop_theory.modules.certification import (  # noqa: E402
    LARGE,
    UNIT_ROUNDOFF,
    _another,
    _batches,
    _Subject,
    _verdict,
)
from lop_theory.modules.clone import program_of  # noqa: E402
from lop_theory.modules.conditions import Offence, Symbolic, propagated  # noqa: E402
from lop_theory.modules.conditions import Pass as Passed  # noqa: E402
from lop_theory.modules.growth import profile_of_clone  # noqa: E402
from lop_theory.modules.interface import Breaks, Correction  # noqa: E402
from lop_theory.modules.numeric import signals  # noqa: E402
from lop_theory.modules.optimizer import UNKNOWN  # noqa: E402
from lop_theory.modules.survey import Survey  # noqa: E402
from lop_theory.modules.terms import limits  # noqa: E402
from lop_theory.trace import state_of  # noqa: E402
from lop_theory.verdict import Fails, Holds, Undecided  # noqa: E402
from tests.modules.nets import Model, X, tanh  # noqa: E402


def offence(condition, reason="clones differ", batch=None, node="h"):
    return Offence("m", node, condition, reason, (0, 1), batch)


def symbolic(*offences, slack=1e-12, checked=("a", "b")):
    return Symbolic(tuple(offences), {}, (), checked, frozenset(), slack)


MC1, MC3, BASE = offence("MC1", batch=1), offence("MC3", batch=0), offence("base")
FINITE, UNTIED = offence("finite", "the weight a is NaN"), offence("optimizer", "exp_avg differs between clones")
CODES, SUMS, NO_RULE = (
    offence("optimizer", f"x: {UNKNOWN}"),
    offence("MC2", "outgoing sums differ by 2"),
    offence("MC1", "no cloning rule for x"),
)
NOISE = offence("MC1", "dropout draws independent masks")


@pytest.mark.parametrize(
    ("proof", "numeric", "ties", "kind", "what"),
    [
        (symbolic(), [], (), Holds, None), (symbolic(), [], ("3:relu",), Holds, None),
        (symbolic(), [MC1, FINITE], (), Fails, FINITE), (symbolic(SUMS), [FINITE], (), Fails, FINITE),
        (symbolic(SUMS), [MC3, MC1], (), Fails, SUMS._replace(batch=0)), (symbolic(SUMS), [BASE], (), Fails, SUMS),
        (symbolic(SUMS), [], (), Fails, SUMS), (symbolic(NOISE), [], (), Fails, NOISE),
        (symbolic(NO_RULE), [], (), Undecided, "no rule proves it and no batch breaks it: m [h] MC1: no cloning rule"),
        (symbolic(NO_RULE), [MC1], (), Fails, NO_RULE._replace(batch=1)),
        (symbolic(), [UNTIED], (), Fails, UNTIED), (symbolic(), [CODES, UNTIED], (), Fails, UNTIED),
        (symbolic(), [CODES], (), Undecided, "is not known"), (symbolic(), [CODES, MC1], (), Fails, MC1),
        (symbolic(), [CODES, BASE], (), Fails, BASE), (symbolic(), [BASE, CODES], (), Fails, BASE),
        (symbolic(), [UNTIED, MC1], ("3:relu",), Undecided, "within rounding of a kink at 3:relu"),
        (symbolic(), [MC1], ("3:relu", "5:relu"), Undecided, "clones differ (m [h] MC1: clones differ, units (0, 1)"),
        (symbolic(), [MC1], (), Fails, MC1),
        (symbolic(), [BASE], ("3:relu",), Fails, BASE), (symbolic(), [BASE, MC1], (), Fails, BASE),
    ],
)  # fmt: skip
def test_the_verdict_of_every_combination_of_evidence(proof, numeric, ties, kind, what):
    found = _verdict(proof, numeric, ties, {"a": 1e-9, "b": 0.0}, 2, "")
    assert isinstance(found, kind)
    if kind is Fails:
        assert found.witness == what
    elif kind is Undecided:
        assert what in found.reason


@pytest.mark.parametrize(
    ("tolerances", "span"),
    [
        ({"a": 1e-9, "b": 0.0}, "tolerance 1e-09)"),
        ({"a": 1e-9, "b": 1e-4, "c": 3e-2}, "tolerance 1e-09 to 0.03)"),
        ({"a": 0.0}, "tolerance 0)"),
    ],
)
def test_the_evidence_of_a_certificate(tolerances, span):
    text = _verdict(symbolic(slack=2.5e-11), [], (), tolerances, 2, ", equal").evidence
    assert text.startswith("MC1-MC3 symbolic proof at 2 weighted sums (weights in RE∩CE to 2.5e-11 of")
    assert span in text
    assert text.endswith("tested on 2 random batches in float64, equal")
    assert "on 1 random batch in float64" in _verdict(symbolic(), [], (), tolerances, 1, "").evidence


def test_an_offence_is_one_line():
    assert str(MC1) == "m [h] MC1: clones differ, units (0, 1), batch 1"
    assert str(Offence("", "h", "MC2", "r")) == "(top) [h] MC2: r"
    assert str(Offence("m", "h", "MC2", "r", (), 0)) == "m [h] MC2: r, batch 0"


def test_the_second_batch_has_the_spread_of_the_first():
    x, ids, one = 3 + 2 * torch.randn(400, 5), torch.arange(4), torch.full((1,), 7.0)
    fresh, same, single, text = _another([x, ids, one, "text"])
    assert fresh.dtype == torch.float64
    assert float(fresh.mean()) == pytest.approx(float(x.mean()), abs=0.1)
    assert float(fresh.std()) == pytest.approx(float(x.std()), rel=0.05)
    assert not torch.equal(fresh, x.double())
    assert torch.equal(_another([x])[0], fresh)
    assert same is ids
    assert text == "text"
    assert float(single) != 7.0
    assert abs(float(single) - 7.0) < 5
    assert len(_batches({"w": torch.zeros(LARGE - 1, device="meta")}, [x])) == 2
    assert len(_batches({"w": torch.zeros(LARGE - 1, device="meta"), "b": torch.zeros(1, device="meta")}, [x])) == 1


def test_roundings_are_half_a_spacing():
    assert {d: torch.finfo(d).eps / 2 for d in UNIT_ROUNDOFF} == UNIT_ROUNDOFF


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_tolerance_of_ones_own(dtype):
    base, x = Model(tanh).to(dtype), X.to(dtype)
    clone = expand(base, 2, example_input=x)
    with torch.no_grad():
        clone.o.weight[:, 0] *= 1 + 1e-3
    for tolerance, holds in ((1e-2, True), (1e-4, False), (0.0, False)):
        found = certificate(clone, example_input=x, tolerance=tolerance)
        assert bool(found) == holds
        assert found.tolerance == tolerance
    assert certificate(clone, example_input=x).tolerance == {torch.float64: 1e-9, torch.float32: 1e-4}[dtype]


def test_the_rounding_of_the_base_is_that_of_its_coarsest_weights_that_are_used():
    state = {"a": torch.zeros(1).double(), "b": torch.zeros(1), "c": torch.zeros(1).bfloat16(), "n": torch.arange(2)}

    def coarsest(*used):
        return _Subject(
            None,
            {},
            None,
            {},
            None,
            (SimpleNamespace(state=dict(zip("xyz", used, strict=False))), state),
            stepped=False,
        ).coarsest()

    assert [coarsest("a"), coarsest("a", "b", "n"), coarsest("a", "c")] == [2.0**-53, 2.0**-24, 2.0**-8]
    assert coarsest("n") == 0.0
    state["d"] = torch.zeros(1).to(torch.float8_e4m3fn)
    assert coarsest("d", "a") == 2.0**-4
    assert _Subject(None, {}, None, {}, None, None, stepped=False).coarsest() == 0.0


# --- sums and effects ------------------------------------------------------------------------------------------------


def weighed(clone, change=None):
    """What the symbolic half says of a clone."""
    if change is not None:
        with torch.no_grad():
            change(clone)
    program, state = program_of(clone, X), state_of(clone)
    seen = signals(program, state, [X], 0)
    found = propagated(program, Passed(seen.tensors, seen.sizes), profile_of_clone(clone), limits(program, state))
    return found, found.weighed({(n, d): None for n, d in found.wanted})


@pytest.fixture
def clone():
    torch.manual_seed(0)
    base = Model(lambda s, x: s.o(torch.tanh(s.a(x)) * s.scale))
    base.scale = nn.Parameter(torch.rand(4) + 0.5)
    return expand(base.double(), 2, example_input=X)


def test_a_clean_clone_is_weighed_at_every_sum(clone):
    found, proof = weighed(clone)
    assert proof.offences == ()
    assert len(proof.checked) == 2
    assert proof.slack == 0.0
    assert len(found.wanted) == 2
    assert proof.unequal == ()


CHANGES = {  # what is moved, where it is said, in which condition and of what
    "a.weight": ((2, 0), "MC1", "incoming block sums"),
    "a.bias": ((3,), "MC1", "a_bias"),
    "scale": ((4,), "MC1", "scale"),
    "o.weight": ((1, 5), "MC2", "outgoing block sums"),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(("relative", "offends"), [(0.4e-9, False), (1e-7, True), (-1e-7, True)])
def test_weights_may_be_off_by_their_tolerance_of_the_terms(clone, name, relative, offends):
    place, condition, what = CHANGES[name]

    def change(model):
        parameter = model.get_parameter(name)
        line = (
            parameter[place[0]]
            if name == "a.weight"
            else parameter[:, place[1]]
            if name == "o.weight"
            else parameter[place]
        )
        parameter[place] += relative * float(line.abs().sum())

    _, proof = weighed(clone, change)
    assert bool(proof.offences) == offends
    if not offends:
        assert 0.05e-9 < proof.slack < 1e-9
    for found in proof.offences:
        assert found.condition == condition
        assert what in found.reason
        pair = 2 * (place[-1] // 2) if name != "a.weight" else 2
        assert sorted(found.units) == [pair, pair + 1]


def test_units_are_told_by_what_differs_most(clone):
    def change(model):
        model.a.weight[0, 1] += 1e-6
        model.a.weight[5, 1] += 1e-3

    (found,) = weighed(clone, change)[1].offences
    assert sorted(found.units) == [4, 5]
    assert "tolerance 1e-09" in found.reason
    assert "differ by 5.00e-04 over clones" in found.reason  # from the mean of two


def test_queries_that_are_rescaled_are_not_compared_with_the_base():
    def attention(s, x):
        q, k = s.q(x).view(1, 16, 2, 2).transpose(1, 2), s.a(x).view(1, 16, 2, 2).transpose(1, 2)
        return s.o(nn.functional.scaled_dot_product_attention(q, k, k).transpose(1, 2).reshape(16, 4))

    base = Model(attention)
    base.q = nn.Linear(5, 4)
    base.double()
    clone = expand(base, 2, example_input=X, attention="width", traced=True)
    _, proof = weighed(clone)
    assert proof.offences == ()
    names = {clone.program.modules.get(name, "") for name in proof.rescaled}
    assert "q" in names
    assert "a" not in names


def test_effects_on_axes_that_are_not_cloned_are_none(clone):
    from lop_theory.modules.conditions import Check

    program = program_of(clone, X)
    domain = Check(program, Passed({}, {}), {})
    call = next(n for n in program.graph.nodes if n.op == "call_function")

    class Called:
        node = call

        def __getitem__(self, _):
            return self

        def operands(self):
            return []

    domain.enter(Called())
    single, pairs = np.arange(3), np.array([0, 0, 1])
    domain.record(Called(), Breaks("noise", (single,)))
    domain.record(Called(), Correction("x", 0, single, 1.0))
    assert domain.offences == []
    assert domain.rescaled == set()
    domain.record(Called(), Breaks("noise", (single, pairs)))
    (found,) = domain.offences
    assert (found.condition, found.reason, found.units) == ("MC1", "noise", (0, 1))
    assert (found.node, found.module) == (call.name, program.modules.get(call.name, ""))
    domain.record(Called(), Correction("x", 0, pairs, 1.0))
    assert call.name in domain.rescaled


def test_constants_fit_every_partition():
    from lop_theory.modules.conditions import Anything, Check

    domain = Check(None, Passed({}, {}), {})
    free, pairs = domain.constant(4), np.array([0, 0, 1, 1])
    assert domain.tie(free, pairs) is pairs
    assert domain.tie(pairs, free) is pairs
    assert isinstance(domain.tie(free, domain.constant(4)), Anything)
    assert [len(part) for part in domain.split(free, [2, 2])] == [2, 2]
    assert [len(part) for part in domain.parts(free, [1, 3])] == [1, 3]
    assert isinstance(domain.join([free, domain.constant(3)]), Anything)
    assert len(domain.join([free, domain.constant(3)])) == 12
    assert len(domain.concat([free, domain.constant(3)])) == 7
    assert isinstance(domain.concat([free, domain.constant(3)]), Anything)
    assert not isinstance(domain.concat([free, pairs]), Anything)
    assert domain.concat([pairs, free]).tolist() == [0, 0, 1, 1, 2, 3, 4, 5]
    assert domain.size(pairs) == 4
    assert domain.cloned(pairs)
    assert not domain.cloned(free)
    assert not domain.cloned(np.arange(0))


def test_a_survey_that_is_not_clear_is_measured(monkeypatch):
    from lop_theory.modules import certification

    asked = []
    clear = Survey.clear
    monkeypatch.setattr(
        Survey, "clear", lambda self, clones, base: asked.append((clones, base)) or clear(self, clones, base)
    )
    base = Model(tanh).float()
    assert certify(expand(base, 2, example_input=X.float()), base=base, example_input=X.float())
    assert asked == [(2.0**-50, 2.0**-24)] * 2
    measured = []
    exact = certification._measured
    monkeypatch.setattr(certification, "_measured", lambda *a: measured.append(a[2]) or exact(*a))
    monkeypatch.setattr(Survey, "clear", lambda *_: False)
    assert certify(expand(base, 2, example_input=X.float()), base=base, example_input=X.float())
    assert measured == [0, 1]
