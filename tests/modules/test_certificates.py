"""How a certificate goes about its evidence: which batches, at what rounding, which half speaks first, what is said."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules import Profile, certificate, certification, certify, expand  # noqa: E402
from lop_theory.modules.certification import (  # noqa: E402
    Certificate,
    _agreement,
    _another,
    _compared,
    _looked_at,
    _measured,
    _rows,
    _Subject,
    _supposed,
    _unconfirmed,
    _varies,
    _verdict,
)
from lop_theory.modules.conditions import Offence  # noqa: E402
from lop_theory.verdict import Fails, Undecided  # noqa: E402
from tests.modules.nets import Model, X, tanh  # noqa: E402
from tests.modules.test_evidence import FINITE, MC1, NO_RULE, SUMS, UNTIED, offence, symbolic  # noqa: E402

INF, NAN = float("inf"), float("nan")


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_the_second_batch_is_drawn_in_the_range_of_the_first():
    x = torch.tensor([[1.0, 2.0, 4.0], [2.0, 2.0, 7.0]])
    noise, given = drawn(2, 3), x.double()
    wanted = (noise * given.std() + given.mean()).clamp(1.0, 7.0)
    assert torch.equal(_another([x])[0], wanted)
    assert torch.equal(_another([torch.arange(2), x])[1], wanted)
    assert torch.equal(_another(["a", torch.zeros(0), x])[2], wanted)


def test_constants_become_numbers_around_them_and_zeros_normal_ones_if_nothing_else_varies():
    around = 0.5 + drawn(2, 3).sigmoid()
    for value in (1.0, -3.0, 999_999.0, 1e-30):
        constant = torch.full((2, 3), value)
        assert torch.equal(_another([constant])[0], constant.double() * around)
    for value in (0.0, 1e6, -1e6, 2e6):
        constant = torch.full((2, 3), value)
        assert torch.equal(_another([constant])[0], drawn(2, 3))
        assert torch.equal(_another([constant, torch.tensor([1.0, 2.0])])[0], constant.double())
        assert torch.equal(_another([constant, torch.tensor([1, 2])])[0], drawn(2, 3))
    kept = [torch.zeros(0), torch.ones(2, dtype=torch.int64), 3]
    assert all(a is b for a, b in zip(_another(kept), kept, strict=True))


def test_what_varies():
    for x, varies in (
        (torch.tensor([1.0, 1.0, 2.0]), True), (torch.tensor([2.0, 1.0]), True), (torch.ones(3), False),
        (torch.tensor([1, 2]), False), (torch.zeros(0), False), (torch.ones(()), False), ("ab", False), (3.0, False),
        (torch.tensor([[0.0, 0.0], [0.0, 1.0]]), True),
    ):  # fmt: skip
        assert _varies(x) is varies


@pytest.mark.parametrize(
    ("proof", "numeric", "ties", "witness"),
    [
        (symbolic(), [FINITE, offence("finite", "later")], (), FINITE),
        (symbolic(SUMS, NO_RULE), [MC1, offence("MC2", batch=0)], (), SUMS._replace(batch=1)),
        (symbolic(SUMS, NO_RULE), [], (), SUMS),
        (symbolic(), [UNTIED, offence("base")], (), UNTIED),
        (symbolic(), [offence("MC2", batch=0), MC1], (), offence("MC2", batch=0)),
    ],
)
def test_the_first_offence_is_the_witness(proof, numeric, ties, witness):
    found = _verdict(proof, numeric, ties, {}, 2, "")
    assert isinstance(found, Fails)
    assert found.witness == witness


def test_what_no_batch_breaks_is_a_fact_about_weights_and_noise_or_is_not_known():
    for reason, fails in (("incoming sums differ by 2", True), ("independent masks", True), ("no rule", False)):
        found = _unconfirmed(offence("MC1", reason))
        assert isinstance(found, Fails if fails else Undecided)
        if not fails:
            assert found.reason == f"no rule proves it and no batch breaks it: {offence('MC1', reason)}"
    (first, _) = (offence("MC2", f"clones differ {k}") for k in "ab")
    found = _verdict(symbolic(), [first, MC1], ("1:relu", "2:relu"), {}, 1, "")
    assert found.reason == f"clones differ ({first}) but the batch is within rounding of a kink at 1:relu"


ALLOWED = ", equal to the base to what the weights' deviation allows"


@pytest.mark.parametrize(
    ("compared", "all_", "slack", "text"),
    [
        (["y"], True, 0.0, ", equal to the base within rounding"),
        (["y"], True, 2.0**-51, ", equal to the base within rounding"),
        (["y"], True, 2.0**-51 * 1.001, f"{ALLOWED} (9e-16)"),
        (["y"], False, 1e-6, f"{ALLOWED} (2e-06), whole numbers not compared"),
        (["y"], False, 0.0, ", equal to the base within rounding, whole numbers not compared"),
        ([], False, 0.0, ", not compared with the base: no output is a real or complex number"),
    ],
)  # fmt: skip
def test_what_is_said_of_the_outputs(monkeypatch, compared, all_, slack, text):
    monkeypatch.setattr(certification, "compared_outputs", lambda _: compared)
    monkeypatch.setattr(certification, "all_compared", lambda _: all_)
    assert _agreement(None, slack) == text


def subject(base=None, *, stepped=False):
    profile = SimpleNamespace(state={}, values={"v": ()})
    return _Subject("program", {}, profile, {}, None, base, stepped)


BASE = (SimpleNamespace(state={"p": "w"}), {"w": torch.zeros(1).bfloat16()})


@pytest.mark.parametrize(
    ("given", "slack", "level"), [(None, 0.0, 2.0**-50), (None, 1e-3, 2e-3), (BASE, 0.0, 2.0**-8), (BASE, 1e-2, 2e-2)]
)
def test_levels_of_rounding(monkeypatch, given, slack, level):
    """Clones: twice the deviation of the weights. The base: its precision, too."""
    asked = []
    seen = SimpleNamespace(
        loose={"w": 1.0}, near_ties=("1:relu",), magnitudes="m",
        clear=lambda *levels: asked.append(levels) or True,
        propagated=SimpleNamespace(weighed=lambda m: asked.append(m) or symbolic(slack=slack)),
    )  # fmt: skip
    monkeypatch.setattr(certification, "_surveyed", lambda *_: seen)
    loose = {"w": 0.5, "u": 2.0}
    proof, ties, offences = _looked_at(subject(given), [], 0, None, loose)
    clones = max(2 * slack, 2.0**-50)
    assert asked == ["m", (clones, level)]
    assert (proof.slack, ties, offences) == (slack, ("1:relu",), [])
    assert loose == {"w": 1.0, "u": 2.0}
    seen.loose = {"w": 0.25, "z": 0.0}
    assert _looked_at(subject(given), [], 1, proof, loose)[0] is proof  # of the first batch
    assert loose == {"w": 1.0, "u": 2.0, "z": 0.0}
    assert asked[2:] == [(clones, level)]


@pytest.mark.parametrize(("broken", "clear", "measured"), [(False, True, 0), (False, False, 1), (True, True, 1)])
def test_what_the_one_pass_does_not_clear_is_measured(monkeypatch, broken, clear, measured):
    calls = []
    proof = symbolic(*([SUMS] if broken else []))
    seen = SimpleNamespace(
        loose={}, near_ties=(), magnitudes={}, clear=lambda *_: clear,
        propagated=SimpleNamespace(weighed=lambda _: proof),
    )  # fmt: skip
    monkeypatch.setattr(certification, "_surveyed", lambda *_: calls.append("surveyed") or seen)
    monkeypatch.setattr(certification, "_measured", lambda *a: calls.append(a[-1]) or "measured")
    found = _looked_at(subject(), [], 0, None, {})
    assert calls == ["surveyed", *[None] * measured]
    assert (found == "measured") == bool(measured)
    calls.clear()
    assert (_looked_at(subject(), [], 1, proof, {}) == "measured") == bool(measured)
    assert calls == (["surveyed"] if not broken else []) + [proof] * measured  # a broken proof needs no survey


@pytest.mark.parametrize("given", [None, BASE])
@pytest.mark.parametrize("proof", [None, symbolic(slack=0.25), symbolic(SUMS)])
@pytest.mark.parametrize("numeric", [[], [MC1]])
def test_the_base_is_compared_where_all_else_is_right(monkeypatch, given, proof, numeric):
    seen = SimpleNamespace(tensors=1, sizes=2, near_ties=("t",), adjoints={"g": None})
    fresh = symbolic(slack=0.5)
    propagated = SimpleNamespace(wanted={("g", 0)}, weighed=lambda m: fresh if m == {("g", 0): None} else None)
    monkeypatch.setattr(_Subject, "propagated", lambda *_: propagated)
    monkeypatch.setattr(certification, "signals", lambda *_, **__: seen)
    monkeypatch.setattr(certification, "sensitivity", lambda *_: "moved")
    monkeypatch.setattr(certification, "infinite_offences", lambda *_: [])
    slacks = []
    monkeypatch.setattr(certification, "cloned_offences", lambda *a: slacks.append(a[-1]) or list(numeric))
    monkeypatch.setattr(certification, "_compared", lambda *_: ["compared"])
    found, ties, offences = _measured(subject(given), [], 3, proof)
    assert found is (fresh if proof is None else proof)
    assert slacks == [found.slack]
    assert ties == ("t",)
    right = given is not None and not numeric and not found.offences
    assert offences == (["compared"] if right else numeric)
    monkeypatch.setattr(certification, "infinite_offences", lambda *_: [FINITE])
    assert _measured(subject(given), [], 3, proof)[2] == [FINITE, *numeric]


@pytest.mark.parametrize(("slack", "level"), [(0.0, 2.0**-8), (2.0**-8, 2.0**-7)])
def test_the_base_is_compared_at_its_own_rounding(monkeypatch, slack, level):
    made = []
    for name in ("signals", "sensitivity", "aligned"):
        monkeypatch.setattr(certification, name, lambda *_, **__: None)
    monkeypatch.setattr(certification, "base_offence", made.append)
    evidence, proof = SimpleNamespace(seen="seen"), symbolic(slack=slack)
    assert _compared(subject(BASE), evidence, [], (proof, 0)) == []
    assert made[0].level == level
    monkeypatch.setattr(certification, "base_offence", lambda _: SUMS)
    assert _compared(subject(BASE), evidence, [], (proof, 0)) == [SUMS]


def test_rows_count_operators_that_lie_in_a_module():
    nodes = [
        ("call_function", "a"),
        ("call_function", "b"),
        ("placeholder", "a"),
        ("call_function", "c"),
        ("output", "z"),
    ]
    program = SimpleNamespace(
        graph=SimpleNamespace(nodes=[SimpleNamespace(op=op, name=name) for op, name in nodes]),
        modules={"a": "m", "c": "m", "z": "z"},
    )
    said = (Offence("m", "a", "MC1", "r"), Offence("n", "a", "MC2", "r"), Offence("m", "c", "MC1", "s"))
    (row,) = _rows(program, said)
    assert (row.module, row.operators) == ("m", 2)
    assert row.conditions == {"MC1": False, "MC2": True, "MC3": True}
    assert row.offences == (said[0], said[2])


def supposed(kind, symbolic_, numeric_):
    verdict = kind("not known") if kind is Undecided else Fails(SUMS)
    return Certificate(verdict, (), (SUMS,) * symbolic_, (MC1,) * numeric_, (), 0.0)


def test_of_two_orders_of_clones_the_undecided_one_is_told_or_that_of_fewer_offences():
    told = f"{SUMS.reason} (clones supposed next to one another, or copy after copy: see profile=)"
    for orders, best in (
        ([(Fails, 1, 1), (Fails, 1, 0)], 1), ([(Fails, 0, 1), (Fails, 2, 0)], 0), ([(Fails, 2, 0), (Fails, 0, 1)], 1),
        ([(Fails, 1, 0), (Fails, 0, 1)], 0), ([(Fails, 0, 1), (Undecided, 2, 2)], 1),
        ([(Undecided, 2, 2), (Fails, 0, 0)], 0), ([(Undecided, 2, 2), (Undecided, 1, 2)], 1),
    ):  # fmt: skip
        given = [supposed(*order) for order in orders]
        found = _supposed(given)
        if orders[best][0] is Undecided:
            assert found is given[best]
        else:
            assert found.verdict.witness == SUMS._replace(reason=told)
            assert found._replace(verdict=None) == given[best]._replace(verdict=None)


# --- whole certificates -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    base = Model(tanh).double()
    return base, expand(base, 2, example_input=X)


def test_a_model_without_parameters_or_with_none_given(pair):
    found = certificate(nn.Tanh(), example_input=X, profile=Profile({}, {}))
    assert found.tolerance == 0.0
    assert isinstance(found.verdict, Undecided)
    for name in ("base", "optimizer", "profile"):
        with pytest.raises(InvalidInput, match=f"^{name}="):
            certify(pair[1], example_input=X, **{name: 3})
    for model in (None, 3):
        with pytest.raises(InvalidInput, match=r"^model="):
            certify(model, example_input=X)


def test_a_certificate_of_mixed_precision_tells_the_coarsest_tolerance():
    base = Model(lambda s, x: s.o(torch.tanh(s.a(x)) + s.shift.double())).double()
    base.shift = nn.Parameter(torch.randn(4))
    found = certificate(expand(base, 2, example_input=X), base, example_input=X)
    assert found
    assert found.tolerance == 1e-4
    assert "tolerance 1e-09 to 0.0001)" in found.verdict.evidence


def test_offences_have_the_batch_in_which_they_were_seen_and_fail_without_a_clone_too(pair):
    base, _ = pair
    clone = expand(base, 2, example_input=X)
    with torch.no_grad():
        clone.o.bias += 1e-3
    found = certificate(clone, base, example_input=X)
    assert [o.batch for o in found.numeric] == [0, 1]
    assert not found.symbolic
    assert certificate(clone, example_input=X).numeric == ()
    with torch.no_grad():
        clone.o.bias[0] = NAN
    alone = Profile({name: tuple(np.arange(n) for n in t.shape) for name, t in clone.state_dict().items()}, {})
    verdict = certify(clone, example_input=X, profile=alone)
    assert isinstance(verdict, Fails)
    assert verdict.witness.condition == "finite"
