"""Questions to Coq: is this theorem a proof of that statement, what does it assume, how is this constant defined?

One `coqtop` answers them all. The project's modules are required, never imported, and `Printing All` is on: every
constant of the project appears under its module's name, with no notation, coercion or implicit argument hidden.
"""

import re
import subprocess
from pathlib import Path

from audit import sources

# The axioms of Coq's classical real numbers and of mathcomp's instance for them; nothing else.
ALLOWED = {
    path.partition(".")[2].partition(".")[2]: path
    for path in (
        "Coq.Reals.ClassicalDedekindReals.sig_forall_dec",
        "Coq.Reals.ClassicalDedekindReals.sig_not_dec",
        "Coq.Logic.FunctionalExtensionality.functional_extensionality_dep",
        "Coq.Logic.Classical_Prop.classic",
        "Coq.Logic.Epsilon.epsilon_statement",
    )
}
CLOSED = "Closed under the global context"
MARK = "@@ "
_GOAL = "1 goal\n  \n  ============================\n  True"
_FETCH = re.compile(r"^Fetching opaque proofs from disk for [\w.]+$", re.M)
_AXIOM = re.compile(r"([\w.']+)(?: :.*)?")
LIBRARIES = "From Coq Require ClassicalDedekindReals FunctionalExtensionality Classical_Prop Epsilon."
SETTINGS = "Set Printing All. Set Printing Width 1000000. Set Printing Depth 1000000."


def ask(folder: Path, modules: list[str], questions: dict[str, str]) -> dict[str, str]:
    """The answers of one `coqtop` to named questions (vernacular sentences)."""
    lines = [LIBRARIES, *(f"From lop Require {module}." for module in modules), SETTINGS]
    for name, question in questions.items():
        lines += [f'Goal True. idtac "{MARK}{name}". Abort.', question]
    run = subprocess.run(
        ["coqtop", "-q", "-w", "-all", "-R", str(folder), "lop"],
        input="\n".join([*lines, f'Goal True. idtac "{MARK}end". Abort.', "Quit.", ""]),
        check=True,
        capture_output=True,
        text=True,
    )
    text = {}
    for block in run.stdout.split(MARK)[1:]:
        name, _, answer = block.partition("\n")
        text[name.strip()] = _FETCH.sub("", answer.replace(_GOAL, "")).strip()
    return text


def parse_assumptions(answer: str) -> tuple[list[str], list[str]]:
    """The axioms in an answer of `Print Assumptions`, and every line that is not understood (a fault)."""
    if answer == CLOSED:
        return [], []
    head, *lines = answer.splitlines() or [""]
    if head != "Axioms:" or not lines:
        return [], [head or "no answer"]
    axioms, odd = [], []
    for line in lines:
        if line.startswith(" ") and axioms:
            continue  # the type of the axiom above
        match = _AXIOM.fullmatch(line)
        if match:
            axioms.append(match[1])
        else:
            odd.append(line)
    return axioms, odd


def group_faults(answers: dict[str, str], group: str) -> list[str]:
    """What a group of theorems assumes that it must not, and every line that is not understood."""
    axioms, odd = parse_assumptions(answers.get(f"assumes {group}", "no answer"))
    found = [f"{group}: Print Assumptions says {line!r}" for line in odd]
    return found + [f"{group}: assumes {axiom}" for axiom in axioms if axiom not in ALLOWED]


def library_faults(answers: dict[str, str]) -> list[str]:
    """An allowed axiom must be the constant of Coq's library, not one of ours by the same name."""
    return [
        f"{axiom}: is {at!r}, not the constant {path} of Coq's library"
        for axiom, path in ALLOWED.items()
        if (at := answers.get(f"locate {axiom}", "").partition("\n")[0]) != f"Constant {path}"
    ]


def proof_questions(links: list[str]) -> dict[str, str]:
    """Whether each linked theorem proves its statement."""
    asked = {f"locate {axiom}": f"Locate Term {axiom}." for axiom in ALLOWED}
    for link in links:
        file, _, name = link.partition(":")
        asked[f"proves {name}"] = f"Check (@{file[:-2]}.{name} : Statements.{name})."
        asked[f"checked {name}"] = f"Check (Checked.{name} : Statements.{name})."
    return asked


def assumption_questions(groups: dict[str, list[str]]) -> dict[str, str]:
    """What the links of each group assume together: one traversal of their proofs a group."""
    asked = {}
    for group, links in groups.items():
        proofs = [f"(@{link.replace('.v:', '.')})" for link in links]
        proofs += [f"Checked.{link.partition(':')[2]}" for link in links]
        both = "".join(f"(conj {proof} " for proof in proofs) + "I" + ")" * len(proofs)
        asked[f"define {group}"] = f"Definition audit_{group} := {both}."
        asked[f"assumes {group}"] = f"Print Assumptions audit_{group}."
    return asked


def definition_questions(folder: Path) -> dict[str, str]:
    """How everything in the project is defined."""
    asked = {}
    for module, found in sources.stated(folder).items():
        for kind, name in found:
            asked |= constant_questions(f"{module}.{name}", body=kind not in ("Theorem", "Lemma"))
    return asked


def constant_questions(name: str, body: bool = True) -> dict[str, str]:
    return {f"about {name}": f"About {name}."} | ({f"print {name}": f"Print {name}."} if body else {})
