"""The certificate as a Coq file: Coq accepts the tool's own numbers, and none that says more."""

import shutil
import subprocess
from pathlib import Path

import pytest

from lop_theory.errors import InvalidInput
from lop_theory.gap import analyse
from lop_theory.gap.coq import script
from lop_theory.verdict import Undecided

PROOFS = Path(__file__).parent.parent.parent / "proofs"
needs_proofs = pytest.mark.skipif(
    shutil.which("coqc") is None or not (PROOFS / "Certificate.vo").is_file(),
    reason="the proofs are not compiled (`make proofs`): no certificate was given to Coq",
)


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


@needs_proofs
@pytest.mark.claim("gap-certificate")
def test_coq_checks_the_certificates_of_the_tool(tmp_path):
    planted = [
        refusal("kappa", "kappa numbers + 1"),
        refusal("slack", "map (Z.add 1) (slack numbers)"),
        refusal("slack", "tl (slack numbers)"),
        refusal("slack", "map Z.opp (slack numbers)"),
        refusal("lambda", "(fst (lambda numbers) + 1, snd (lambda numbers))"),
        refusal("lambda", "(fst (lambda numbers), snd (lambda numbers) - 1)"),
        refusal("boxes", "map (fun b => (fst b, snd b + 1000)) (boxes numbers)"),
        refusal("cells", "64"),
        refusal("unit", "0"),
    ]
    run = compiled(script(analyse("silu")) + "".join(planted), tmp_path)
    assert run.returncode == 0, run.stderr
    assert "ClassicalDedekindReals" in run.stdout


@needs_proofs
def test_a_floor_that_is_too_high_is_not_compiled(tmp_path):
    analysis = analyse("relu")
    floor = analysis.certificate.kappa_floor
    assert compiled(script(analysis).replace(f"  {floor}.", f"  {floor + 1}."), tmp_path).returncode != 0


def test_the_file_holds_the_certificate():
    analysis = analyse("erf")
    text = script(analysis)
    for lo, hi in analysis.certificate.coefficients[1:]:
        assert f"({lo}, {hi})" in text
    assert f"\n  {analysis.certificate.kappa_floor}." in text


def test_what_is_not_certified_is_refused():
    analysis = analyse("tanh", digits=5)._replace(verdict=Undecided("planted"))
    with pytest.raises(InvalidInput, match="not certified"):
        script(analysis)
