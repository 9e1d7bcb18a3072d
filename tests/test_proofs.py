"""The Coq proofs: clean sources, links both ways with claims.toml, and parsed assumptions when Coq is there."""

import importlib.util
import re
import shutil
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROOFS = ROOT / "proofs"
_spec = importlib.util.spec_from_file_location("proof_audit", PROOFS / "audit.py")
assert _spec is not None
assert _spec.loader is not None
audit = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(audit)

needs_coq = pytest.mark.skipif(
    shutil.which("coqc") is None or bool(audit.missing_packages()),
    reason="Coq is not installed: the proofs were NOT compiled or audited (see `make proofs`)",
)
CLAIMS = {claim["id"]: claim for claim in tomllib.loads((ROOT / "claims.toml").read_text())["claim"]}


def stated(file: str) -> set[str]:
    """Names of the theorems and lemmas stated in a Coq file."""
    source = audit.strip_comments((PROOFS / file).read_text())
    return set(re.findall(r"\b(?:Theorem|Lemma)\s+(\w+)", source))


def test_sources_have_no_admitted_lemma_and_no_axiom():
    assert audit.source_faults() == []


def test_every_coq_file_is_compiled():
    assert sorted(audit.project_files()) == sorted(path.name for path in PROOFS.glob("*.v"))


def test_every_linked_theorem_is_stated():
    links = [link for claim in CLAIMS.values() for link in claim.get("proofs", [])]
    assert links
    assert [link for link in links if link.split(":")[1] not in stated(link.split(":")[0])] == []


def test_every_claim_marked_proved_links_a_theorem_that_names_it():
    naming = {(theorem.link, claim) for theorem in audit.headlines() for claim in theorem.claims}
    unproved = [
        name
        for name, claim in CLAIMS.items()
        if "proved" in claim["evidence"] and not any((link, name) in naming for link in claim.get("proofs", []))
    ]
    assert unproved == []


def test_the_table_names_every_headline_theorem():
    table = (PROOFS / "README.md").read_text()
    assert [theorem.link for theorem in audit.headlines() if f"`{theorem.link}`" not in table] == []


def test_every_file_opens_with_a_glossary_and_no_proof_exceeds_40_lines():
    for file in audit.project_files():
        source = (PROOFS / file).read_text()
        assert source.startswith("(* "), file
        proofs = re.findall(r"\bProof\.(.*?)\bQed\.", source, re.S)
        assert max((proof.count("\n") for proof in proofs), default=0) <= 40, file


# ---- planted faults: the audit must reject them without Coq ----


def test_an_allowed_axiom_and_none_are_accepted():
    output = "@@ A.t\nClosed under the global context\n@@ B.t\nAxioms:\nClassical_Prop.classic : forall P, P\n"
    answers = audit.parse_assumptions(output)
    assert answers == {"A.t": frozenset(), "B.t": frozenset({"Classical_Prop.classic"})}
    assert audit.rejected(answers, ["A.t", "B.t"]) == []


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("@@ A.t\nAxioms:\ngap_bound : forall x : nat, x = 0\n", "A.t: assumes gap_bound"),
        ("@@ A.t\nAxioms:\nFile.cheat\n  : forall x : nat,\n    x = 0\n", "A.t: assumes File.cheat"),
        ("@@ B.t\nClosed under the global context\n", "A.t: no answer from Print Assumptions"),
        ("@@ A.t\nError: not found\n", "A.t: no answer from Print Assumptions"),
    ],
)
def test_planted_assumptions_are_rejected(output, complaint):
    assert complaint in audit.rejected(audit.parse_assumptions(output), ["A.t"])


@pytest.mark.parametrize("fault", ["Admitted.", "Axiom cheat : False.", "Parameter x : nat.", "admit."])
def test_planted_faults_in_the_sources_are_found(tmp_path, fault):
    (tmp_path / "_CoqProject").write_text("Bad.v\n")
    (tmp_path / "Bad.v").write_text(f"(* Admitted in a comment is fine *)\n{fault}\n")
    assert len(audit.source_faults(tmp_path)) == 1


# ---- with Coq ----


@needs_coq
def test_an_admitted_lemma_is_rejected_although_coq_exits_0(tmp_path):
    (tmp_path / "_CoqProject").write_text("Bad.v\n")
    (tmp_path / "Bad.v").write_text("(* [gap] *)\nTheorem false_gap : 0 = 1.\nAdmitted.\n")
    compiled = audit.subprocess.run(["coqc", "-q", "-R", ".", "lop", "Bad.v"], cwd=tmp_path, check=False)
    assert compiled.returncode == 0
    assert audit.rejected(audit.assumptions(tmp_path), ["Bad.false_gap"]) == ["Bad.false_gap: assumes Bad.false_gap"]


@needs_coq
@pytest.mark.skipif(not (PROOFS / "Gap.vo").exists(), reason="the proofs are not compiled: run `make proofs`")
def test_every_headline_theorem_has_only_allowed_assumptions():
    expected = [f"{theorem.module}.{theorem.name}" for theorem in audit.headlines()]
    assert audit.rejected(audit.assumptions(), expected) == []
