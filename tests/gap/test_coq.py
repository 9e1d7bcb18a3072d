"""Coq files of an activation: Coq accepts the tool's own numbers and none that says more; the rest is named."""

import math
import shutil
import subprocess
from pathlib import Path

import pytest

from lop_theory.activations.catalogue import activation, from_formula
from lop_theory.activations.real_balls import real_function
from lop_theory.balls import arb
from lop_theory.errors import InvalidInput
from lop_theory.gap import analyse
from lop_theory.gap.coq import certificate_script, require_expressible, script, strength
from lop_theory.verdict import Undecided

PROOFS = Path(__file__).parent.parent.parent / "proofs"


def needs(file: str, target: str) -> pytest.MarkDecorator:
    missing = shutil.which("coqc") is None or not (PROOFS / file).is_file()
    return pytest.mark.skipif(missing, reason=f"{file} is not compiled (`make {target}`): nothing was given to Coq")


def compiled(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "out.v"
    file.write_text(text)
    command = ["coqc", "-q", "-w", "-all", "-R", str(PROOFS), "lop", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def refusal(name: str, field: str) -> str:
    """A lemma that the checker rejects the numbers once ``field``, a term of Coq, stands in its place."""
    fields = ["unit numbers", "cells numbers", "boxes numbers", "lambda numbers", "slack numbers", "kappa numbers"]
    terms = " ".join(f"({field if name == known.split()[0] else known})" for known in fields)
    return f"Goal check (Certificate {terms}) = false. Proof. vm_compute; reflexivity. Qed.\n"


# 200 boxes [.3, .3]: each square rounds down to 0 in tenths, yet they sum to 18, which no coefficients do
EMPTY = "(Certificate 10 1 (repeat (3, 3) 200) (9, 10) [0] 9)"


def sharper(name: str, field: str) -> str:
    """The same for the tangent and the witness."""
    fields = ["boxed", "grid", "place", "witness", "below", "above"]
    terms = " ".join(f"({field if name == known else f'{known} sharp_numbers'})" for known in fields)
    return f"Goal check_sharp (Sharp {terms}) = false. Proof. vm_compute; reflexivity. Qed.\n"


@needs("Kappa.vo", "proofs")
@pytest.mark.claim("gap-certificate")
@pytest.mark.claim("gap-kappa-branches")
def test_coq_checks_the_certificates_of_the_tool(tmp_path):
    planted = [
        refusal("kappa", "kappa numbers + 1"),
        refusal("slack", "map (Z.add 1) (slack numbers)"),
        refusal("slack", "tl (slack numbers)"),
        refusal("slack", "map Z.opp (slack numbers)"),
        refusal("lambda", "(fst (lambda numbers) + 1, snd (lambda numbers))"),
        refusal("lambda", "(fst (lambda numbers), snd (lambda numbers) - 1)"),
        refusal("boxes", "map (fun b => (fst b, snd b + 1000)) (boxes numbers)"),
        refusal("boxes", "map (fun b => (snd b, fst b)) (boxes numbers)"),
        refusal("boxes", "boxes numbers ++ [(unit numbers, unit numbers)]"),
        refusal("cells", "64"),
        refusal("unit", "0"),
    ]
    planted += [
        sharper("below", "below sharp_numbers + 1"),
        sharper("above", "above sharp_numbers - 1"),
        sharper("place", "grid sharp_numbers / 2"),
        sharper("witness", "grid sharp_numbers"),
        sharper("witness", "0"),
        sharper("grid", "- grid sharp_numbers"),
        sharper("boxed", "Certificate (unit numbers) (cells numbers) (boxes numbers) (lambda numbers) [] 0"),
    ]
    planted.append(f"Goal check {EMPTY} = false. Proof. vm_compute; reflexivity. Qed.\n")
    run = compiled(certificate_script(analyse("silu")) + "".join(planted), tmp_path)
    assert run.returncode == 0, run.stderr
    assert "ClassicalDedekindReals" in run.stdout


@needs("Kappa.vo", "proofs")
def test_a_floor_that_is_too_high_is_not_compiled(tmp_path):
    analysis = analyse("relu")
    floor = analysis.certificate.kappa_floor
    assert compiled(certificate_script(analysis).replace(f"  {floor}.", f"  {floor + 1}."), tmp_path).returncode != 0


@needs("numbers/Formula.vo", "proofs-numbers")
def test_coq_proves_lambda_from_the_integrals(tmp_path):
    run = compiled(script(analyse("softsign")), tmp_path)
    assert run.returncode == 0, run.stderr


def test_the_file_holds_the_certificate():
    analysis = analyse("erf")
    text = certificate_script(analysis)
    for lo, hi in analysis.certificate.coefficients[1:]:
        assert f"({lo}, {hi})" in text
    assert f"\n  {analysis.certificate.kappa_floor}." in text


@pytest.mark.parametrize("name", ["tanh", "silu", "mish", "elu", "hardtanh", "softsign", "relu", "gaussian", "sin"])
def test_the_interval_for_coq_holds_lambda(name):
    analysis = analyse(name, digits=8)
    text = strength(analysis.activation.expr)
    stated = next(line for line in text.splitlines() if line.startswith("Theorem strength_between"))
    low, high = (float(word.rstrip(".")) for word in stated.split("activation ")[1].split())
    assert low <= float(analysis.kern.strength) <= high
    assert high - low < 1e-5


@pytest.mark.parametrize(
    ("formula", "word"),
    [
        ("erf(x)", "erf(x)"),
        ("sign(x)", "not continuous"),
        ("x**2", "2|x|"),
        ("100*tanh(x)", "2|x|"),
        ("log(2 + cos(x))", "log"),
        ("1/(2 + cos(x))", "away from 0"),
        ("abs(x)**(1/3)", "square root"),
    ],
)
def test_what_coq_cannot_take_is_named(formula, word):
    with pytest.raises(InvalidInput) as refusal_:
        require_expressible(from_formula(formula).expr)
    assert word in str(refusal_.value)
    assert "--coq-certificate" in str(refusal_.value)


def test_a_formula_written_in_two_ways_is_one_function_to_coq():
    texts = (strength(from_formula(text).expr) for text in ("softplus(x)", "log(1 + exp(x))"))
    direct, spelled = (text.partition("Ltac enclose")[0] for text in texts)
    assert direct == spelled


def test_what_is_not_certified_is_refused():
    analysis = analyse("tanh", digits=5)._replace(verdict=Undecided("planted"))
    with pytest.raises(InvalidInput, match="not certified"):
        certificate_script(analysis)


def test_a_label_cannot_end_the_comment_that_it_stands_in():
    analysis = analyse("tanh", digits=5)
    act = analysis.activation
    text = certificate_script(analysis._replace(activation=act._replace(name='x *) Axiom cheat : 0 = 1. (* "')))
    assert text.count("(*") == text.count("*)")
    assert "*) Axiom" not in text


COQ_WORDS = {
    "PI": math.pi,
    "Rabs": abs,
    "relu": lambda u: max(u, 0.0),
    "sigmoid": lambda u: 1 / (1 + math.exp(-u)),
    "softplus": lambda u: math.log1p(math.exp(u)),
    **{word: getattr(math, word) for word in ("exp", "sqrt", "sin", "cos", "atan", "tanh")},
}


@pytest.mark.parametrize(
    "name", ["leaky_relu", "selu", "celu", "gelu_tanh", "arctan", "sigmoid", "logsigmoid", "softsign"]
)
def test_what_is_written_for_coq_is_the_activation(name):
    expr = activation(name).expr
    written = strength(expr).partition("Definition activation (x : R) : R := ")[2].partition(".\n")[0]
    value, spoken = real_function(expr), written.replace("(/ ", "(1 / ")
    for x in (-2.5, -0.75, 0.0, 0.5, 3.0):
        assert eval(spoken, COQ_WORDS | {"x": x}) == pytest.approx(float(value(arb(x))), rel=1e-12, abs=1e-15)
