"""Pins: the hash of a claim's printed statements and of every definition of the project that they use."""

import hashlib
import re
from pathlib import Path

from audit import coq, ledger, sources

_REALS = re.compile(r"\b(?:Rdefinitions|Rstruct)\.")
_ARGUMENTS = re.compile(r"\n\s*\n\s*Arguments .*", re.S)


def definition(answers: dict[str, str], name: str) -> str:
    """A constant as Coq prints it: its type alone where it is opaque (a lemma), else its body or constructors."""
    about = answers.get(f"about {name}", "")
    if re.search(r"^\S+ is opaque$", about, re.M):
        return about.partition("\n\n")[0]
    return _ARGUMENTS.sub("", answers.get(f"print {name}", ""))


def used(text: str, modules: list[str]) -> set[str]:
    """The project's constants that a printed term names."""
    return {match[1] for match in re.finditer(rf"(?<![\w.'])(?:lop\.)?((?:{'|'.join(modules)})\.[\w'.]*[\w'])", text)}


def closure(answers: dict[str, str], name: str, modules: list[str]) -> dict[str, str]:
    """Constant -> printed definition, for the statement and everything that it uses; '' where Coq has not answered."""
    found: dict[str, str] = {}
    waiting = [f"Statements.{name}"]
    while waiting:
        constant = waiting.pop()
        if constant not in found:
            found[constant] = definition(answers, constant)
            waiting += used(found[constant], modules) - found.keys()
    return found


def answered(folder: Path, links: list[str]) -> dict[str, str]:
    """Coq's answers about the theorems and about every definition in their statements' closures."""
    asked, modules = sources.modules(folder), sources.known(folder)
    answers = coq.ask(folder, asked, coq.proof_questions(links, coq.allowed(folder)) | coq.definition_questions(folder))
    for _ in range(20):
        missing = {
            c for link in links for c, text in closure(answers, link.partition(":")[2], modules).items() if not text
        }
        missing = {name for name in missing if f"print {name}" not in answers}
        if not missing:
            break
        more = coq.ask(folder, asked, {k: v for name in missing for k, v in coq.constant_questions(name).items()})
        answers |= more
    return answers


def groups(links: list[str], answers: dict[str, str], modules: list[str]) -> dict[str, list[str]]:
    """The links whose statements speak of Coq's real numbers ("reals"), and the others ("none": no axiom at all)."""
    real = {
        link for link in links if _REALS.search("\n".join(closure(answers, link.partition(":")[2], modules).values()))
    }
    return {"none": [link for link in links if link not in real], "reals": [link for link in links if link in real]}


def pin(claim: ledger.Claim, answers: dict[str, str], modules: list[str]) -> str:
    """16 hexadecimal digits of SHA-256 over the claim's statements and their definitions, white space normalised."""
    texts: dict[str, str] = {}
    for link in claim.proofs:
        texts |= closure(answers, link.partition(":")[2], modules)
    lines = [f"{name}\n{' '.join(text.split())}" for name, text in sorted(texts.items())]
    return hashlib.sha256("\n".join([*sorted(claim.proofs), *lines]).encode()).hexdigest()[:16]


def faults(claims: list[ledger.Claim], answers: dict[str, str], modules: list[str]) -> list[str]:
    """A fault for every definition that Coq does not print and every claim whose statements are not the pinned ones."""
    found = []
    for claim in claims:
        if not claim.proofs:
            continue
        for link in claim.proofs:
            texts = closure(answers, link.partition(":")[2], modules)
            found += [f"{link}: Coq prints no definition of {name}" for name, text in texts.items() if not text]
        if (now := pin(claim, answers, modules)) != claim.pinned:
            found.append(
                f"{claim.id}: a statement, or a definition that it uses, is not the pinned one; read Statements.v, and"
                f' if it says what the claim says, set pinned = "{now}" in claims.toml (it is "{claim.pinned}")'
            )
    return found
