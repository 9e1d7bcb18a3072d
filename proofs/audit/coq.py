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
# What the enclosures of CoqInterval rest on besides (numbers/): the machine's integers and floating-point numbers.
PRIMITIVE = {
    f"{path.rpartition('.')[2]}.{name}": f"Coq.{path}.{name}"
    for path, names in {
        "Numbers.Cyclic.Int63.PrimInt63": "int add sub eqb ltb leb lsl lsr land lor",
        "Numbers.Cyclic.Int63.Uint63": "of_to_Z eqb_correct eqb_refl add_spec sub_spec ltb_spec leb_spec"
        " lsl_spec lsr_spec land_spec lor_spec",
        "Floats.PrimFloat": "float abs add sub mul div opp sqrt eqb ltb compare classify of_uint63 normfr_mantissa"
        " frshiftexp ldshiftexp next_up next_down",
        "Floats.FloatAxioms": "abs_spec add_spec sub_spec mul_spec div_spec opp_spec sqrt_spec eqb_spec ltb_spec"
        " compare_spec classify_spec of_uint63_spec normfr_mantissa_spec frshiftexp_spec ldshiftexp_spec next_up_spec"
        " next_down_spec Prim2SF_valid Prim2SF_SF2Prim SF2Prim_Prim2SF",
    }.items()
    for name in names.split()
}
LIBRARIES = "From Coq Require ClassicalDedekindReals FunctionalExtensionality Classical_Prop Epsilon."
SETTINGS = "Set Printing All. Set Printing Width 1000000. Set Printing Depth 1000000."


def required(folder: Path, modules: list[str]) -> list[str]:
    root = f"lop.{folder.name}" if sources.prefix(folder) else "lop"
    return [LIBRARIES, *(f"From {root} Require {module}." for module in modules), SETTINGS]


def ask(folder: Path, modules: list[str], questions: dict[str, str]) -> dict[str, str]:
    """The answers of one `coqtop` to named questions (vernacular sentences)."""
    lines = required(folder, modules)
    for name, question in questions.items():
        lines += [f'Goal True. idtac "{MARK}{name}". Abort.', question]
    run = subprocess.run(
        ["coqtop", "-q", "-w", "-all", "-R", str(sources.base(folder)), "lop"],
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


def allowed(folder: Path) -> dict[str, str]:
    """Axiom -> its place in Coq's library, for the theorems of a project."""
    return ALLOWED | (PRIMITIVE if sources.prefix(folder) else {})


def group_faults(answers: dict[str, str], group: str, axioms: dict[str, str]) -> list[str]:
    """What a group of theorems assumes that it must not, and every line that is not understood."""
    assumed, odd = parse_assumptions(answers.get(f"assumes {group}", "no answer"))
    found = [f"{group}: Print Assumptions says {line!r}" for line in odd]
    return found + [f"{group}: assumes {axiom}" for axiom in assumed if axiom not in axioms]


def library_faults(answers: dict[str, str], axioms: dict[str, str]) -> list[str]:
    """An allowed axiom must be the constant of Coq's library, not one of ours by the same name."""
    return [
        f"{axiom}: is {at!r}, not the constant {path} of Coq's library"
        for axiom, path in axioms.items()
        if (at := answers.get(f"locate {axiom}", "").partition("\n")[0]) != f"Constant {path}"
    ]


def proof_questions(links: list[str], axioms: dict[str, str]) -> dict[str, str]:
    """Whether each linked theorem proves its statement."""
    asked = {f"locate {axiom}": f"Locate Term {axiom}." for axiom in axioms}
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
