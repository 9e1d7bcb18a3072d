"""Every planted fault fails `make proofs` by itself, in a small project with the real Makefile and audit. Run by
`make proofs-faults`: every fault starts Coq."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from audit import __main__ as command
from audit import ledger, pins, sources

PROOFS = Path(__file__).parents[2] / "proofs"

BASE = """(* Doubling. *)
From Coq Require Import IndefiniteDescription.
Inductive light := on | off.
Definition one := 1.
Definition double (n : nat) := n * (one + one).
Fixpoint even (n : nat) : light := match n with 0 => on | S n => match even n with on => off | off => on end end.

Section Doubling.
Variable n : nat.
Hypothesis absurd : 0 = n.
Lemma step : double (S n) = S (S (double n)).
Proof. reflexivity. Qed.

(* [twice] doubling a successor *)
Theorem twice : double (S n) = 2 + double n.
Proof. exact step. Qed.
End Doubling.

(* [twice] [zero] the light at 0 *)
Theorem lit : even 0 = on.
Proof. reflexivity. Qed.
"""
STATEMENTS = """(* What is proved. *)
From lop Require Import Base.

(* doubling a successor adds 2 *)
Definition twice : Prop := forall n, double (S n) = 2 + double n.

(* the light is on at 0 *)
Definition lit : Prop := even 0 = on.
"""
CHECKED = """(* Proofs of the statements. *)
From lop Require Import Statements.
From lop Require Base.
Theorem twice : Statements.twice. Proof. exact (@Base.twice). Qed.
Theorem lit : Statements.lit. Proof. exact (@Base.lit). Qed.
"""
CLAIM = """[[claim]]
id = "{name}"
paper = "-"
statement = "s"
evidence = ["proved"]
proofs = [{proofs}]
proved = "As stated."
pinned = ""
"""
LEDGER = CLAIM.format(name="twice", proofs='"Base.v:twice", "Base.v:lit"') + CLAIM.format(
    name="zero", proofs='"Base.v:lit"'
)


def write(root: Path) -> Path:
    """The small project, not yet pinned."""
    proofs = root / "proofs"
    shutil.copytree(PROOFS / "audit", proofs / "audit", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROOFS / "Makefile", proofs)
    (root / "claims.toml").write_text(LEDGER)
    (proofs / "_CoqProject").write_text("\n".join([*sources.header(proofs), "Base.v", "Statements.v", "Checked.v", ""]))
    for name, text in (("Base", BASE), ("Statements", STATEMENTS), ("Checked", CHECKED)):
        (proofs / f"{name}.v").write_text(text)
    (proofs / "README.md").write_text("")
    return proofs


def make(proofs: Path, target: str = "all") -> tuple[int, str]:
    run = subprocess.run(["make", "-C", str(proofs), target], capture_output=True, text=True, check=False)
    return run.returncode, run.stdout + run.stderr


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """The small project, compiled, pinned and with its README."""
    proofs = write(tmp_path_factory.mktemp("good"))
    assert make(proofs, "compile")[0] == 0
    claims = ledger.load(proofs)
    answers = pins.answered(proofs, ledger.links(claims))
    ledger_text = (proofs.parent / "claims.toml").read_text()
    for claim in claims:
        pinned = pins.pin(claim, answers, ["Base", "Statements", "Checked"])
        ledger_text = ledger_text.replace('pinned = ""', f'pinned = "{pinned}"', 1)
    (proofs.parent / "claims.toml").write_text(ledger_text)
    assert make(proofs, "readme")[0] == 0
    return proofs


def test_the_small_project_is_accepted(good):
    code, said = make(good)
    assert code == 0, said
    assert "2 theorems prove the pinned statements of 2 claims" in said
    assert "2 without any axiom" in said


CHEAT = "cheat : 0 = 1"
GUARD = 'Definition open := "(*"%string.\n#[bypass_check(guard)] Fixpoint cheat (n : nat) : 0 = 1 := cheat n.\n'
CLOSE = 'Definition close := "*)"%string.\n'
STRINGS = "From Coq Require Import String.\n" + GUARD + CLOSE
TWICE = "Theorem twice : double (S n) = 2 + double n.\nProof. exact step."
LIT = "Theorem lit : Statements.lit. Proof. exact (@Base.lit). Qed."
OTHER = "Theorem lit : 0 = 0. Proof. reflexivity. Qed."
EQUAL = 'Notation "x = y" := (@eq _ x x) : type_scope.\nDefinition lit'
SHADOW = "Notation even := (fun _ => on).\nDefinition lit"
OWN_EVEN = "Definition even (n : nat) := on.\nDefinition lit"
CHOICE = "pose (constructive_indefinite_description (fun n => n = 0) (ex_intro _ 0 eq_refl)). exact step."
# file, text, replacement, word of the complaint
PLANTED = {
    "an Admitted lemma": ("Base.v", "reflexivity. Qed.\n\n(*", "Admitted.\n\n(*", "Admitted"),
    "admit": ("Base.v", "Proof. exact step.", "Proof. admit.", "admit"),
    "an axiom": ("Base.v", "Definition one", f"Axiom {CHEAT}.\nDefinition one", "Axiom"),
    "a parameter": ("Base.v", "Definition one", f"Parameter {CHEAT}.\nDefinition one", "Parameter"),
    "a theorem renamed": ("Base.v", "Theorem twice", "Theorem twofold", "no such Theorem"),
    "a theorem removed": ("Base.v", re.compile(r"\(\* \[twice\] \[zero\].*", re.S), "", "no such Theorem"),
    "a theorem demoted": ("Base.v", "Theorem lit", "Lemma lit", "no such Theorem"),
    "a hypothesis outside a section": ("Base.v", "Definition one", f"Hypothesis {CHEAT}.\nDefinition one", "outside"),
    "a context outside a section": ("Base.v", "Definition one", f"Context ({CHEAT}).\nDefinition one", "outside"),
    "an attribute before it": ("Base.v", "Definition one", f"#[local] Variable {CHEAT}.\nDefinition one", "outside"),
    "guard bypassed in strings": ("Base.v", "Definition one", STRINGS + "Definition one", "bypass_check"),
    "guard unset": ("Base.v", "Definition one", "Unset Guard  Checking.\nDefinition one", "Guard"),
    "positivity unset": ("Base.v", "Definition one", "Unset Positivity Checking.\nDefinition one", "Positivity"),
    "a plugin": ("Base.v", "Definition one", 'Declare ML Module "x".\nDefinition one', "Declare ML"),
    "a loaded file": ("Base.v", "Definition one", 'Load "x".\nDefinition one', "Load"),
    "type in type": ("_CoqProject", "-R . lop", "-R . lop\n-arg -type-in-type", "_CoqProject"),
    "a file dropped": ("_CoqProject", "Checked.v\n", "", "Checked.v: not in _CoqProject"),
    "an unlinked statement": ("Statements.v", "(* the", "Definition more : Prop := True.\n\n(* the", "more"),
    "a claim without theorem": ("../claims.toml", '= ["Base.v:lit"]', "= []", "no theorem is linked"),
    "a claim without its words": ("../claims.toml", 'proved = "As stated."', 'proved = ""', "does not say"),
    "a tag without its link": ("../claims.toml", ', "Base.v:lit"]', "]", "does not link it"),
    "a link without its tag": ("Base.v", "[twice] [zero]", "[twice]", "does not name [zero]"),
    "admitted obligations": ("Base.v", "Definition one", "Admit Obligations.\nDefinition one", "Admit"),
    "an option appended": ("_CoqProject", "-w -arg -all", "-w -arg -all -arg -noinit", "_CoqProject"),
    "a constant shadowed in Statements.v": ("Statements.v", "Definition lit", OWN_EVEN, "even"),
    # from here on only Coq finds them
    "an axiom of another library": ("Base.v", "exact step.", CHOICE, "constructive_indefinite_description"),
    "a theorem weakened": ("Base.v", TWICE, "Theorem twice : True.\nProof. exact I.", "Base.twice"),
    "a section hypothesis": ("Base.v", "exact step.", "pose absurd. exact step.", "Base.twice"),
    "statement and theorem weakened": ("*", "even 0 = on", "even 0 = even 0", "zero: a statement"),
    "a definition changed": ("Base.v", "n * (one + one)", "n * (one + one) + 0 * n", "twice: a statement"),
    "a definition of a definition changed": ("Base.v", "one := 1", "one := 0 + 1", "twice: a statement"),
    "constructors in another order": ("Base.v", "on | off.", "off | on.", "zero: a statement"),
    "an equality that says less": ("Statements.v", "Definition lit", EQUAL, "zero: a"),
    "another numeral": ("Statements.v", "Definition lit", 'Notation "0" := 2 : nat_scope.\nDefinition lit', "zero: a"),
    "another notation for a constant": ("Statements.v", "Definition lit", SHADOW, "zero: a"),
    "another proof in Checked.v of another type": ("Checked.v", LIT, OTHER, "Checked.lit"),
    "an invented row": ("README.md", "| - | [zero]", "| A | [all] | `All.v:all` | All. |\n| - | [zero]", "README.md"),
    "a row removed": ("README.md", re.compile(r"\| - \| \[zero\].*\n"), "", "README.md"),
}  # fmt: skip


def plant(proofs: Path, file: str, text: str | re.Pattern[str], replacement: str) -> None:
    for path in [proofs / file] if file != "*" else sorted(proofs.glob("*.v")):
        before = path.read_text()
        after = text.sub(replacement, before) if isinstance(text, re.Pattern) else before.replace(text, replacement)
        assert after != before or file == "*", path
        path.write_text(after)


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_fails_make(good, tmp_path, fault):
    file, text, replacement, word = PLANTED[fault]
    shutil.copytree(good.parent, tmp_path / "p", symlinks=True)
    proofs = tmp_path / "p" / "proofs"
    plant(proofs, file, text, replacement)
    code, said = make(proofs)
    assert code != 0, said
    assert word in said


def test_a_compiled_file_of_another_source_fails_make(good, tmp_path):
    """Base.vo rests on an axiom and is newer than its innocent source: `make` compiles nothing, the audit sees it."""
    shutil.copytree(good.parent, tmp_path / "p", symlinks=True)
    proofs = tmp_path / "p" / "proofs"
    (proofs / "Base.v").write_text(
        BASE.replace("Proof. exact step.", "Proof. destruct (cheat n).").replace(
            "Section Doubling.", "Axiom cheat : nat -> False.\nSection Doubling."
        )
    )
    for file in ("Base", "Statements", "Checked"):
        subprocess.run(["coqc", "-q", "-w", "-all", "-R", ".", "lop", f"{file}.v"], cwd=proofs, check=True)
    (proofs / "Base.v").write_text(BASE)
    old = (proofs / "Base.vo").stat().st_mtime - 100
    os.utime(proofs / "Base.v", (old, old))
    code, said = make(proofs)
    assert code != 0, said
    assert "assumes Base.cheat" in said


HIDDEN = {
    "Print Assumptions finds an admitted lemma": ("Proof. exact step. Qed.", "Admitted.", "assumes Base.twice"),
    "a bypassed guard": (
        "Proof. exact step. Qed.",
        "Proof. exact (cheat n). Qed.",
        "cheat is assumed to be guarded",
    ),
    "a top-level hypothesis": ("Section Doubling.", f"Hypothesis {CHEAT}.\nSection Doubling.", "assumes Base.cheat"),
    "a false friend of a library axiom": ("Proof. exact step. Qed.", "Proof. exact (classic n). Qed.", "assumes"),
}
FRIENDS = {
    "a bypassed guard": "#[bypass_check(guard)] Fixpoint cheat n : double (S n) = 2 + double n := cheat n.\n",
    "a false friend of a library axiom": "Axiom classic : forall n, double (S n) = 2 + double n.\n",
}


@pytest.mark.parametrize("fault", HIDDEN)
def test_coq_alone_finds_what_the_scanner_would(good, tmp_path, fault):
    """The second line of defence: the same kinds of fault, with the scan of the sources left out."""
    text, replacement, word = HIDDEN[fault]
    shutil.copytree(good.parent, tmp_path / "p", symlinks=True)
    proofs = tmp_path / "p" / "proofs"
    before = "Hypothesis absurd : 0 = n.\n"
    source = BASE.replace(before, "").replace("Section Doubling.", FRIENDS.get(fault, "") + "Section Doubling.")
    source = source.replace(text, replacement, 1)
    if "hypothesis" in fault:
        source = source.replace("Proof. reflexivity. Qed.\n\n(*", "Proof. pose cheat. reflexivity. Qed.\n\n(*")
    (proofs / "Base.v").write_text(source)
    for file in ("Base", "Statements", "Checked"):
        subprocess.run(["coqc", "-q", "-w", "-all", "-R", ".", "lop", f"{file}.v"], cwd=proofs, check=True)
    faults = command.coq_faults(command.question(proofs), proofs)
    assert any(word in complaint for complaint in faults), faults
