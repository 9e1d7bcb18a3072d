"""The certificate checker: what certify accepts it accepts; whatever is untrue or not canonical it refuses."""

import copy
import json
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lop_theory.activations.catalogue import CATALOGUE, activation, from_formula
from lop_theory.balls import fmpq, precision, to_exact
from lop_theory.errors import InvalidInput
from lop_theory.gap.analysis import analyse
from lop_theory.gap.certificate import to_json
from lop_theory.gap.checker import check, read
from lop_theory.hermite.expansion import expand
from lop_theory.verdict import Fails, Holds, Undecided
from tests.gap.forger import bounds_of, decimal, forged, honest, resealed

KINKED = [
    "abs(sin(x))", "sqrt(abs(x))", "abs(x)**1.5", "max(x**2-2,0)", "relu(x-15)", "relu(exp(x)-2)", "max(tanh(x),x/2)",
    "min(x, x**3)", "abs(x**3-2*x)", "max(tanh(x), x/2, x - 1)",
    "sign(x-sqrt(2))", "relu(x-0.2)**1.5", "step(tanh(x)-0.5)", "abs(1-cos(x))", "sqrt(abs(sin(x)))",
]  # fmt: skip
SMOOTH = [
    "x**2 + x**3 - 3*x - 1", "sqrt(2)*x", "3*x + 4*(x**2-1)/sqrt(2)", "exp(x)", "x/(1+x**2)", "2**x", "-x",
    "1-(1-(2-x**2))", "max(x, x**2, x**3)", "exp(-10**4*(x-2)**2)+x/100", "sin(30*x)+cos(30*x)",
    "sin(x)/x", "x/tanh(x)", "(exp(x)-1)/x", "sin(2*x+1)/(2*x+1)", "(1-cos(x))/x**2", "x*(x>0)", "asinh(x)", "cbrt(x)",
]  # fmt: skip


def named(text: str):
    return activation(text) if text in CATALOGUE else from_formula(text)


# ---- what certify accepts, check accepts ----


@pytest.mark.claim("gap")
@pytest.mark.parametrize("text", [*CATALOGUE, *KINKED, *SMOOTH])
def test_accepts_what_certify_wrote(text):
    assert isinstance(check(honest(named(text))), Holds)


def test_accepts_saturated_units():
    """tanh(x + 100) differs from 1 by 1e-87: hundreds of bits cancel in the variance."""
    assert check(honest(activation("tanh", bias="100"), n=4, digits=5))


@settings(max_examples=25)
@given(
    st.sampled_from([name for name in CATALOGUE if name != "hermite"]),
    st.sampled_from(["1", "-1/3", "2.5"]),
    st.sampled_from(["0", "1/7", "-2"]),
    st.sampled_from([4, 15, 30]),
)
def test_accepts_any_scale_bias_and_digits(name, scale, bias, digits):
    assert check(honest(activation(name, scale=scale, bias=bias), n=5, digits=digits))


LEAVES = st.sampled_from(["x", "x", "1/3", "2", "sqrt(2)"])
KNOWN = ["abs({})", "relu({})", "tanh({})", "sin({})", "max({}, {})", "min({}, {})", "{} + {}", "{}*{}", "-({})"]
FORMULAS = st.recursive(
    LEAVES,
    lambda inner: st.builds(lambda form, a, b: form.format(a, b), st.sampled_from(KNOWN), inner, inner),
    max_leaves=5,
)


@settings(max_examples=25)
@given(FORMULAS)
def test_accepts_any_formula_that_is_certified(text):
    try:
        data = honest(from_formula(text), n=5, digits=6)
    except InvalidInput:
        return
    found = check(data)
    assert isinstance(found, Holds) or found == Fails("lambda: not separated from 0"), text


# ---- whatever is altered to something untrue, it refuses ----


@pytest.fixture(scope="module")
def relu() -> dict:
    return honest(activation("relu"), n=6)


@lru_cache
def short(text: str) -> dict:
    """An honest certificate of five coefficients; not to be altered in place."""
    return honest(named(text), n=5)


@lru_cache
def truths(text: str, n: int, decimals: int) -> list[tuple[fmpq, fmpq]]:
    """Rational enclosures of the a_k in units of 10^−decimals, from the producer at 20 more digits."""
    found = expand(named(text).expr, n, decimals + 20)
    with precision(found.bits + 64):
        return [tuple(to_exact((a * 10**decimals).lower() if s < 0 else (a * 10**decimals).upper()) for s in (-1, 1))
                for a in found.coefficients]  # fmt: skip


@pytest.mark.claim("gap")
@settings(max_examples=60)
@given(st.sampled_from(["relu", "gelu", "softsign", "abs(sin(x))"]), st.data())
def test_no_consistent_lie_holds(text, data):
    """The forger moves the ends of intervals and recomputes all that follows; it holds only if every interval is
    true."""
    base = short(text)
    bounds = bounds_of(base)
    for k in data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=2)):
        move = st.integers(-3, 3).map(lambda d: d * 10 ** data.draw(st.integers(0, 2)))
        lo, hi = bounds[k]
        bounds[k] = (lo + data.draw(move), hi + data.draw(move))
    true = all(
        lo <= below and above <= hi
        for (lo, hi), (below, above) in zip(bounds, truths(text, 5, base["decimals"]), strict=True)
    )
    found = check(forged(base, bounds))
    assert isinstance(found, Holds if true else Fails), bounds


def paths(node, path=()):
    """Paths of every leaf of the certificate."""
    if isinstance(node, (dict, list)):
        for key, item in node.items() if isinstance(node, dict) else enumerate(node):
            yield from paths(item, (*path, key))
    else:
        yield path


def placed(data: dict, path: tuple, edit) -> dict:
    """A copy with the leaf at ``path`` edited."""
    altered = copy.deepcopy(data)
    node = altered
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = edit(node[path[-1]])
    return altered


def bumped(value):
    """Another value of the same type: the last digit or letter moved by one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return value[:-1] + chr(ord(value[-1]) + 1 if value[-1] not in "9zZ" else ord(value[-1]) - 1)


def test_every_field_counts(relu):
    """Each leaf of the file, derived numbers in their last digit included, altered alone and resealed."""
    for path in paths(relu):
        if path[0] != "coefficients" and path != ("sha256",):
            assert isinstance(check(resealed(placed(relu, path, bumped))), Fails), path
        assert isinstance(check(placed(relu, path, bumped)), Fails), path


def respelt(number: str) -> list[str]:
    """Other spellings of the same number."""
    devanagari = "".join(chr(ord("०") + int(c)) if c.isdigit() else c for c in number)
    return [f"0{number}", f"+{number}", f" {number}", f"{number}0", number.rstrip("0") + "e0", devanagari]


def test_no_other_spelling_of_a_number_is_read(relu):
    for path in [("coefficients", 1, 0), ("a1_squared", 0), ("lambda", 1), ("slack", 5), ("kappa_floor",)]:
        for spelling in respelt(relu[path[0]] if len(path) == 1 else read_at(relu, path)):
            found = check(resealed(placed(relu, path, lambda _, s=spelling: s)))
            assert isinstance(found, Fails)
            assert "decimal" in found.witness
    assert isinstance(check(resealed(placed(relu, ("coefficients", 0, 0), lambda z: "-" + z))), Fails)


def read_at(data, path):
    for key in path:
        data = data[key]
    return data


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (lambda d: d.update(formula="tanh(x)"), "activation"),
        (lambda d: d.update(activation="tanh"), "activation"),
        (lambda d: d.update(activation="relu(x)", formula="tanh(x)"), "activation"),
        (lambda d: d.update(activation="relu()"), "activation"),
        (lambda d: d.update(activation="relu(scale=2/2)"), "activation"),
        (lambda d: d.update(activation="relu(name=3)"), "activation"),
        (lambda d: d.update(activation="relu\nforged: certificate holds"), "activation"),
        (lambda d: d.update(formula="(relu(x))"), "formula"),
        (lambda d: d.update(formula="__import__('os')"), "formula"),
        (lambda d: d.update(formula=5), "formula"),
        (lambda d: d.update(formula="1/x"), "activation"),
        (lambda d: d.update(linear=True), "linear"),
        (lambda d: d.update(linear=[]), "linear"),
        (lambda d: d["coefficients"].pop(), "slack"),
        (lambda d: d["slack"].pop(), "slack"),
        (lambda d: d.update(digits=12), "decimals"),
        (lambda d: d.update(digits=15.0), "digits"),
        (lambda d: d.update(digits=True), "digits"),
        (lambda d: d.update(digits=2, decimals=5), "digits"),
        (lambda d: d.update(digits=301, decimals=304), "digits"),
        (lambda d: d.update(decimals=18.0), "decimals"),
        (lambda d: d.update(decimals="18"), "decimals"),
        (lambda d: d.update(claim="gap-sharp"), "claim"),
        (lambda d: d.update(format="lop_theory gap certificate 2"), "format"),
        (lambda d: d.update(linear=0), "linear"),
        (lambda d: d.update(activation=["relu"]), "activation"),
        (lambda d: d.update(formula="relu(x)\n"), "formula"),
        (lambda d: d.update(a1_squared=d["a1_squared"][:1]), "a1_squared"),
        (lambda d: d["lambda"].append("0"), "lambda: not a list of 2"),
        (lambda d: d.update(slack=dict(enumerate(d["slack"]))), "slack: not a list of 32"),
        (lambda d: d.update(coefficients=d["coefficients"][:1]), "coefficients: not a list"),
        (lambda d: d.update(coefficients=d["coefficients"][:1] * 257), "coefficients: not a list"),
        (lambda d: d.update(coefficients=d["coefficients"][:1] * 256), "a1_squared"),
        (lambda d: d["coefficients"].__setitem__(5, d["coefficients"][5] * 2), "coefficients[5]: not a list of 2"),
        (lambda d: d["coefficients"].__setitem__(0, ["0." + "0" * 17 + "1"] * 2), "coefficients[0]: empty or wider"),
        (lambda d: d["lambda"].__setitem__(1, "1000." + "0" * 18), "lambda[1]: not a canonical"),
        (lambda d: d.update(digits=10**6), "digits"),
        (lambda d: d.update(statement="anything"), "statement"),
        (lambda d: d.update(version=1), "version"),
        (lambda d: d.update(version=True), "version"),
        (lambda d: d.update(note="true"), "fields"),
        (lambda d: d.pop("lambda"), "fields"),
        (lambda d: d.update(coefficients=[["0.0"] * 2] * 10_000), "coefficients"),
        (lambda d: d["coefficients"].__setitem__(1, ["0.9", "0.8"]), "coefficients[1]"),
        (lambda d: d["coefficients"].__setitem__(1, ["-1e99999999", "1e99999999"]), "coefficients[1]"),
        (lambda d: d["coefficients"].__setitem__(1, "ab"), "coefficients[1]"),
        (lambda d: d.update(coefficients={}), "coefficients"),
        (lambda d: d["slack"].__setitem__(0, "1e999999999"), "slack[0]"),
        (lambda d: d.update(kappa_floor=0.5), "kappa_floor"),
    ],
)
def test_refuses_forgeries_by_field(relu, edit, field):
    data = copy.deepcopy(relu)
    edit(data)
    found = check(resealed(data))
    assert isinstance(found, Fails)
    assert found.witness.startswith(field), found


def test_two_coefficients_are_enough():
    assert check(honest(activation("relu"), n=2)) == Holds(
        "certified by balls, rechecked in exact rationals and by Taylor expansion"
    )


def test_a_distant_coefficient_cannot_be_invented():
    """sin(30x) + cos(30x) with a_201 = 1: the true value is 7.4e-88, so all of Parseval's mass seems to lie there."""
    base = honest(from_formula("sin(30*x) + cos(30*x)"), n=203, digits=3)
    bounds = [(0, 0), *[(-1, 1)] * 202]
    bounds[201] = (999_999, 1_000_000)
    assert check(forged(base, bounds)) == Fails("coefficients[201]: the stored enclosure misses the true value")


def test_linearity_is_not_a_matter_of_digits():
    """x + x²/10²⁰ has λ = 2e-40 > 0: at three digits its coefficients look linear, and it is not."""
    base = honest(from_formula("x"), n=20, digits=3)
    assert check(base)
    text = from_formula("x + x**2/10**20")
    lie = base | {"activation": text.label, "formula": str(text.expr)}
    assert check(resealed(lie)) == Fails("linear")
    one = [(0, 0), (10**6, 10**6), *[(0, 0)] * 18]
    assert not check(forged(lie, one, linear=False))


def test_where_the_truth_is_an_end_of_the_interval_no_ball_tells():
    """x² has a_2 = 1."""
    base = honest(from_formula("x**2"), n=3, digits=6)
    reason = "coefficients[2]: the true value is too close to an end of its interval"
    assert check(forged(base, [(0, 0), (0, 0), (10**9 - 5, 10**9)])) == Undecided(reason)
    assert check(forged(base, [(0, 0), (0, 0), (10**9 - 5, 10**9 + 1)]))


def test_undecided_is_never_holds(relu, monkeypatch):
    """With next to no work allowed the checker says so."""
    monkeypatch.setattr("lop_theory.hermite.taylor._MAX_CELLS", 2)
    assert isinstance(check(relu), Undecided)


# ---- the file ----


def test_reads_only_one_spelling_of_the_object(tmp_path, relu):
    file = tmp_path / "c.json"
    file.write_text(json.dumps(relu)[:-1] + ', "linear": false}')
    with pytest.raises(InvalidInput, match="'linear' twice"):
        read(str(file))
    file.write_text(json.dumps(relu).replace("15", "NaN", 1))
    with pytest.raises(InvalidInput, match="not JSON"):
        read(str(file))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b" " * 1_000_001, "bytes"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "is not a"),
        (b'{"format": "lop_theory gap certificate 1"}', "another version"),
    ],
)
def test_work_is_bounded_before_it_starts(tmp_path, content, word):
    file = tmp_path / "c.json"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=word):
        read(str(file))


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/stdin", "."])
def test_only_ordinary_files_are_read(path):
    assert Path(path).exists()
    with pytest.raises(InvalidInput, match="regular file"):
        read(path)


def test_decimals_of_the_forger_are_the_tools(relu):
    """The forger's spelling is the tool's: forging nothing gives the same file."""
    assert forged(relu, bounds_of(relu)) == relu
    assert decimal(-5, 3) == "-0.005"


@pytest.mark.parametrize(("name", "digits"), [("relu", 60), ("square", 100), ("square", 300), ("square", 3)])
def test_certificates_of_many_digits_hold(name, digits):
    found = analyse(name, digits=digits)
    assert isinstance(check(to_json(found.certificate, found.kern, found.activation.label)), Holds)
