"""The Coq proofs: ledger and sources name one another; what the audit reads, on texts."""

import re
from pathlib import Path

import pytest
from audit import __main__ as command
from audit import coq, ledger, pages, sources

ROOT = Path(__file__).parent.parent
PROOFS = ROOT / "proofs"


@pytest.mark.parametrize("words", ["", "nonsense", "all --folder nowhere", "all --folder ledger.py", "all --nonsense"])
def test_a_wrong_argument_of_the_audit_is_one_line(words, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["audit", *words.split()])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_sources_and_ledger_have_no_fault():
    assert sources.faults(PROOFS) == []
    assert ledger.faults(ledger.load(PROOFS), PROOFS) == []


def test_every_file_opens_with_a_glossary_and_no_proof_exceeds_40_lines():
    for file in sources.files(PROOFS):
        source = (PROOFS / file).read_text()
        assert source.startswith("(* "), file
        proofs = re.findall(r"\bProof\.(.*?)\bQed\.", source, re.S)
        assert max((proof.count("\n") for proof in proofs), default=0) <= 40, file


def test_every_statement_has_words_and_a_text():
    told = pages.statements(PROOFS)
    assert set(told) == {link.partition(":")[2] for link in ledger.links(ledger.load(PROOFS))}
    assert all(words and text for words, text in told.values())


# ---- the scanner and the parser, on texts ----


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("a (* b (* c *) d *) e", "a  e"),
        ('a "(*" b "*)" c', 'a "" b "" c'),
        ('(* "*)" Admitted. *) b', " b"),
        ('a "say ""(*""" b', 'a "" b'),
        ("a (* never closed", "a "),
    ],
)
def test_comments_and_strings_are_stripped_as_coq_does(source, code):
    assert sources.strip(source) == code


@pytest.mark.parametrize(
    ("answer", "axioms", "odd"),
    [
        (coq.CLOSED, [], []),
        ("Axioms:\nClassical_Prop.classic : forall P, P", ["Classical_Prop.classic"], []),
        ("Axioms:\nA.cheat\n  : forall x : nat,\n    x = 0\nB.b : 0 = 1", ["A.cheat", "B.b"], []),
        ("Axioms:\ncheat is assumed to be guarded.", [], ["cheat is assumed to be guarded."]),
        ("Axioms:\nT relies on an unsafe hierarchy.", [], ["T relies on an unsafe hierarchy."]),
        ("Axioms:\nA.a : 0 = 1\nTheory:\n  collapsed", ["A.a"], ["Theory:"]),
        ("Axioms:", [], ["Axioms:"]),
        ("", [], ["no answer"]),
    ],
)
def test_every_line_of_an_answer_is_understood_or_a_fault(answer, axioms, odd):
    assert coq.parse_assumptions(answer) == (axioms, odd)
