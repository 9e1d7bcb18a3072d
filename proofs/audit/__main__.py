"""Audit of the Coq proofs.

    python -m audit tools     exit 2 and one line to type if a Debian package is missing
    python -m audit sources   no Admitted, axiom, unsafe flag, uncompiled file; ledger and sources name one another
    python -m audit all       sources, then Coq: statements, pins, assumptions, README (needs a compiled tree)
    python -m audit readme    write README.md
    python -m audit pages     the data of a page per theorem, as JSON
    python -m audit stamp     say that these sources were accepted (the last step of `make proofs`)
    python -m audit fresh     exit 0 if they were, and nothing has changed since

Exit code: 0 accepted, 1 rejected, 2 tools missing or bad usage.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn

from audit import coq, ledger, pages, pins, readme, sources, stamp

HERE = Path(__file__).resolve().parent.parent
PACKAGES = {
    "coq": None,
    "libcoq-coquelicot": "Coquelicot",
    "libcoq-mathcomp-algebra-tactics": "mathcomp/algebra_tactics",
    "libcoq-mathcomp-analysis": "mathcomp/analysis",
}


def packages(folder: Path = HERE) -> dict[str, str | None]:
    """Debian package -> a folder of it among Coq's libraries."""
    return PACKAGES | ({"libcoq-interval": "Interval"} if sources.prefix(folder) else {})


def missing_packages(folder: Path = HERE) -> list[str]:
    """The Debian packages that are not installed."""
    coqc = shutil.which("coqc")
    if coqc is None:
        return list(packages(folder))
    where = Path(subprocess.run([coqc, "-where"], check=True, capture_output=True, text=True).stdout.strip())
    return [
        package for package, path in packages(folder).items() if path and not (where / "user-contrib" / path).is_dir()
    ]


def tools(folder: Path = HERE) -> int:
    if missing := missing_packages(folder):
        names = " ".join(missing)
        print(f"missing Debian packages: {names}; install them with", file=sys.stderr)
        print(f"  apt-get install -y --no-install-recommends {names}", file=sys.stderr)
        return 2
    return 0


def reject(faults: list[str]) -> int:
    print("\n".join(faults), file=sys.stderr)
    return 1 if faults else 0


def check_sources(folder: Path = HERE) -> int:
    return reject(sources.faults(folder) or ledger.faults(ledger.load(folder), folder))


class Audit(NamedTuple):
    """What Coq has answered about the ledger's links."""

    claims: list[ledger.Claim]
    answers: dict[str, str]
    groups: dict[str, list[str]]
    modules: list[str]


def question(folder: Path) -> Audit:
    """Ask Coq everything: proofs and definitions first, then what each group assumes."""
    claims = ledger.load(folder)
    links, modules = ledger.links(claims), sources.known(folder)
    answers = pins.answered(folder, links)
    groups = {group: members for group, members in pins.groups(links, answers, modules).items() if members}
    return Audit(
        claims, answers | coq.ask(folder, sources.modules(folder), coq.assumption_questions(groups)), groups, modules
    )


def coq_faults(found: Audit, folder: Path) -> list[str]:
    """Everything that Coq's answers reject: proofs of other statements, assumptions, pins."""
    faults = []
    for link in ledger.links(found.claims):
        file, _, name = link.partition(":")
        for asked, proof in ((f"proves {name}", f"{file[:-2]}.{name}"), (f"checked {name}", f"Checked.{name}")):
            if not found.answers.get(asked, "").endswith(f": Statements.{name}"):
                faults.append(f"{proof}: is not a proof of Statements.{name}")
    faults += coq.library_faults(found.answers, coq.allowed(folder)) or _assumption_faults(found, folder)
    return faults or pins.faults(found.claims, found.answers, found.modules)


def _assumption_faults(found: Audit, folder: Path) -> list[str]:
    """The groups' assumptions; where one is not allowed, each theorem of that group is asked by itself."""
    bad = [group for group in found.groups if coq.group_faults(found.answers, group, coq.allowed(folder))]
    bad += [g for g in found.groups if g == "none" and found.answers[f"assumes {g}"] != coq.CLOSED and g not in bad]
    single = {link.replace(".v:", "_"): [link] for group in bad for link in found.groups[group]}
    answers = coq.ask(folder, sources.modules(folder), coq.assumption_questions(single)) if single else {}
    faults = [fault for name in single for fault in coq.group_faults(answers, name, coq.allowed(folder))]
    return faults or [f"the theorems of group {group!r}: {found.answers[f'assumes {group}']}" for group in bad]


def audit(folder: Path = HERE) -> int:
    if check_sources(folder):
        return 1
    found = question(folder)
    if faults := coq_faults(found, folder):
        return reject(faults)
    if (folder / "README.md").read_text() != _readme(found, folder):
        return reject(["README.md: differs from what claims.toml and the audit give; run `make readme` in proofs/"])
    return accept(found)


def accept(found: Audit) -> int:
    """Say what was accepted."""
    backed, free = sum(bool(claim.proofs) for claim in found.claims), len(found.groups.get("none", []))
    axioms, _ = coq.parse_assumptions(found.answers.get("assumes reals", coq.CLOSED))
    print(f"audit: {len(ledger.links(found.claims))} theorems prove the pinned statements of {backed} claims,")
    print(f"  {free} without any axiom; the others use only {', '.join(sorted(set(axioms) & coq.ALLOWED.keys()))}")
    return 0


def _readme(found: Audit, folder: Path) -> str:
    return readme.render(found.claims, set(found.groups.get("none", [])), folder, list(packages(folder)))


def write_readme(folder: Path = HERE) -> int:
    (folder / "README.md").write_text(_readme(question(folder), folder))
    return 0


def print_pages(folder: Path = HERE) -> int:
    found = question(folder)
    single = {link.replace(".v:", "_"): [link] for link in ledger.links(found.claims)}
    answers = found.answers | coq.ask(folder, sources.modules(folder), coq.assumption_questions(single))
    print(json.dumps(pages.rows(found.claims, answers, folder), indent=1, ensure_ascii=False))
    return 0


def write_stamp(folder: Path = HERE) -> int:
    stamp.write(folder)
    return 0


def fresh(folder: Path = HERE) -> int:
    return 0 if stamp.is_fresh(folder) else 1


class Parser(argparse.ArgumentParser):
    """Its errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def main() -> int:
    parser = Parser(prog="python -m audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {
        "tools": tools,
        "sources": check_sources,
        "all": audit,
        "readme": write_readme,
        "pages": print_pages,
        "stamp": write_stamp,
        "fresh": fresh,
    }
    parser.add_argument("command", choices=commands)
    parser.add_argument("--folder", type=Path, default=HERE, help="the project to audit: numbers/, or this one")
    arguments = parser.parse_args()
    if not (arguments.folder / "_CoqProject").is_file():
        parser.error(f"--folder {arguments.folder}: has no _CoqProject; give the folder of the sources")
    return commands[arguments.command](arguments.folder.resolve())


if __name__ == "__main__":
    sys.exit(main())
