"""Audit of the Coq proofs: tools present, sources clean, assumptions of every headline theorem allowed.

    python audit.py tools         exit 2 and one line to type if a Debian package is missing
    python audit.py sources       no Admitted, axiom or unsafe flag in the sources
    python audit.py assumptions   compile a file of `Print Assumptions`, parse it, compare with ALLOWED
    python audit.py theorems      the headline theorems with their claims and axioms (needs a compiled tree)

A headline theorem is a `Theorem` whose comment directly above starts with a claim id: `(* [gap] ... *)`.
Coq exits 0 on an Admitted lemma; it shows only among the assumptions, which is why they are parsed.
Exit code: 0 accepted, 1 rejected, 2 tools missing or bad usage.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PACKAGES = {
    "coq": None,
    "libcoq-coquelicot": "Coquelicot",
    "libcoq-mathcomp-algebra-tactics": "mathcomp/algebra_tactics",
    "libcoq-mathcomp-analysis": "mathcomp/analysis",
}
# The axioms of Coq's classical real numbers and of mathcomp's instance for them; nothing else.
ALLOWED = frozenset(
    {
        "ClassicalDedekindReals.sig_forall_dec",
        "ClassicalDedekindReals.sig_not_dec",
        "FunctionalExtensionality.functional_extensionality_dep",
        "Classical_Prop.classic",
        "Epsilon.epsilon_statement",
    }
)
FORBIDDEN = re.compile(
    r"\b(Admitted|admit|give_up|Axioms?|Parameters?|Conjecture|Abort|bypass_check"
    r"|Unset\s+(?:Guard|Positivity|Universe)\s+Checking|Unsafe)\b"
)
HEADLINE = re.compile(r"\(\* ((?:\[[a-z-]+\] )+)((?:(?!\*\)).)*)\*\)\s*Theorem\s+(\w+)", re.S)
MARK = "@@ "


class Theorem(NamedTuple):
    """A headline theorem: its file, name and claim ids."""

    file: str
    name: str
    claims: tuple[str, ...]

    @property
    def module(self) -> str:
        return self.file.removesuffix(".v")

    @property
    def link(self) -> str:
        return f"{self.file}:{self.name}"


def strip_comments(source: str) -> str:
    """The source without its (possibly nested) comments."""
    kept, depth = [], 0
    for token in re.split(r"(\(\*|\*\))", source):
        if token == "(*":
            depth += 1
        elif token == "*)":
            depth -= 1
        elif depth == 0:
            kept.append(token)
    return "".join(kept)


def project_files(folder: Path = HERE) -> list[str]:
    return [line for line in (folder / "_CoqProject").read_text().splitlines() if line.endswith(".v")]


def headlines(folder: Path = HERE) -> list[Theorem]:
    """Every headline theorem of the project, in file order."""
    return [
        Theorem(file, name, tuple(re.findall(r"\[([a-z-]+)\]", ids)))
        for file in project_files(folder)
        for ids, _, name in HEADLINE.findall((folder / file).read_text())
    ]


def source_faults(folder: Path = HERE) -> list[str]:
    """Forbidden words outside comments, as `file: word`."""
    return [
        f"{file}: {word}"
        for file in project_files(folder)
        for word in FORBIDDEN.findall(strip_comments((folder / file).read_text()))
    ]


def parse_assumptions(output: str) -> dict[str, frozenset[str]]:
    """Theorem -> axioms, from the output of `Print Assumptions`, each answer announced by a MARK line."""
    answers: dict[str, frozenset[str]] = {}
    for block in output.split(MARK)[1:]:
        name, _, answer = block.partition("\n")
        if "Closed under the global context" in answer:
            answers[name.strip()] = frozenset()
        elif "Axioms:" in answer:
            answers[name.strip()] = frozenset(re.findall(r"^([\w.']+)\s*(?:$|:)", answer.partition("Axioms:")[2], re.M))
    return answers


def rejected(answers: dict[str, frozenset[str]], expected: list[str]) -> list[str]:
    """Complaints: a theorem with no answer, or with an assumption that is not allowed."""
    silent = [f"{name}: no answer from Print Assumptions" for name in expected if name not in answers]
    extra = [f"{name}: assumes {axiom}" for name, axioms in answers.items() for axiom in sorted(axioms - ALLOWED)]
    return silent + extra


def print_assumptions(theorems: list[Theorem], folder: Path = HERE) -> str:
    """Compile a file that asks for the assumptions of the theorems; its output."""
    build = folder / "build"
    build.mkdir(exist_ok=True)
    lines = [f"From lop Require {module}." for module in sorted({t.module for t in theorems})]
    for theorem in theorems:
        name = f"{theorem.module}.{theorem.name}"
        lines += [f'Goal True. idtac "{MARK}{name}". Abort.', f"Print Assumptions {name}."]
    (build / "Audit.v").write_text("\n".join(lines) + "\n")
    command = ["coqc", "-q", "-w", "-all", "-R", str(folder), "lop", "Audit.v"]
    return subprocess.run(command, cwd=build, check=True, capture_output=True, text=True).stdout


def assumptions(folder: Path = HERE) -> dict[str, frozenset[str]]:
    return parse_assumptions(print_assumptions(headlines(folder), folder))


def missing_packages() -> list[str]:
    coqc = shutil.which("coqc")
    if coqc is None:
        return list(PACKAGES)
    where = Path(subprocess.run([coqc, "-where"], check=True, capture_output=True, text=True).stdout.strip())
    return [package for package, path in PACKAGES.items() if path and not (where / "user-contrib" / path).is_dir()]


def tools() -> int:
    missing = missing_packages()
    if missing:
        print(
            f"missing Debian packages: {' '.join(missing)}; install them with\n"
            f"  apt-get install -y --no-install-recommends {' '.join(missing)}",
            file=sys.stderr,
        )
        return 2
    return 0


def sources() -> int:
    faults = source_faults()
    print("\n".join(faults) if faults else f"sources: {len(project_files())} files, no Admitted, no axiom of our own")
    return 1 if faults else 0


def audit() -> int:
    if sources():
        return 1
    answers = assumptions()
    complaints = rejected(answers, [f"{t.module}.{t.name}" for t in headlines()])
    if complaints:
        print("\n".join(complaints), file=sys.stderr)
        return 1
    used = sorted(frozenset().union(*answers.values()))
    free = sum(not axioms for axioms in answers.values())
    print(f"assumptions: {len(answers)} headline theorems, {free} of them without any axiom; the others use only")
    print("\n".join(f"  {axiom}" for axiom in used))
    return 0


def theorems() -> int:
    answers = assumptions()
    rows = [
        {"theorem": t.link, "claims": list(t.claims), "axioms": sorted(answers[f"{t.module}.{t.name}"])}
        for t in headlines()
    ]
    print(json.dumps(rows, indent=1))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {"tools": tools, "sources": sources, "assumptions": audit, "theorems": theorems}
    parser.add_argument("command", choices=commands)
    return commands[parser.parse_args().command]()


if __name__ == "__main__":
    sys.exit(main())
