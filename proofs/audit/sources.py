"""The Coq sources as text: comments and strings stripped as Coq's lexer does, and what no source may contain."""

import re
from collections.abc import Iterator
from pathlib import Path

FORBIDDEN = re.compile(
    r"\b(Admitted|Admit|admit|give_up|Axioms?|Parameters?|Conjectures?|Primitive|Abort|bypass_check|Unsafe|Module|Include"
    r"|Load|LoadPath|Declare\s+ML|Add\s+(?:Rec\s+)?(?:LoadPath|ML)|Redirect|Extraction|Drop|Cd|type-in-type"
    r"|(?:Set|Unset)\s+(?:Guard|Positivity|Universe)\s+Checking)\b"
)
OUTSIDE = re.compile(r"(?:Local\s+|Global\s+|Polymorphic\s+)*(Hypothes[ie]s|Variables?|Context)\b")
STATED = re.compile(r"^[^\S\n]*(Theorem|Lemma|Definition|Fixpoint|Record|Inductive|Variant)\s+([\w']+)", re.M)
HEADLINE = re.compile(r"\(\* ((?:\[[a-z-]+\] )+)((?:(?!\*\)).)*)\*\)\s*Theorem\s+([\w']+)", re.S)
_TOKEN = re.compile(r'\(\*|\*\)|"(?:[^"]|"")*"|"')


def strip(source: str) -> str:
    """The source without comments (nested; a string inside a comment hides its delimiters) and with empty strings."""
    kept, depth, last = [], 0, 0
    for token in _TOKEN.finditer(source):
        if depth == 0:
            kept.append(source[last : token.start()])
        last = token.end()
        if token[0] == "(*":
            depth += 1
        elif token[0] == "*)" and depth:
            depth -= 1
        elif depth == 0:
            kept.append('""' if token[0].startswith('"') else token[0])
    return "".join(kept) + ("" if depth else source[last:])


def base(folder: Path) -> Path:
    """The folder of the main proofs, beside claims.toml; a folder inside it is a project of its own (numbers/)."""
    return folder if (folder.parent / "claims.toml").is_file() else folder.parent


def prefix(folder: Path) -> str:
    """How the ledger's links to this project start: '' or 'numbers/'."""
    return "" if base(folder) == folder else f"{folder.name}/"


def header(folder: Path) -> list[str]:
    """The only options that _CoqProject may give."""
    return [f"-R {'.' if base(folder) == folder else '..'} lop", "-arg -w -arg -all"]


def _own(folder: Path, pattern: str) -> set[Path]:
    """The files of this project: not those of a project inside it, nor of build/."""
    inner = {path.parent for path in folder.rglob("_CoqProject")} - {folder} | {folder / "build"}
    return {path for path in folder.rglob(pattern) if not inner & set(path.parents)}


def files(folder: Path) -> list[str]:
    """The Coq files that ``_CoqProject`` names."""
    return [line for line in (folder / "_CoqProject").read_text().splitlines() if line.endswith(".v")]


def modules(folder: Path) -> list[str]:
    """The modules of this project."""
    return [file[:-2] for file in files(folder)]


def known(folder: Path) -> list[str]:
    """The modules whose definitions its statements may use: its own, and those of the project around it."""
    around = [] if base(folder) == folder else [m for m in modules(base(folder)) if m not in modules(folder)]
    return modules(folder) + around


def theorems(folder: Path) -> set[str]:
    """Every ``File.v:name`` that is stated as a Theorem."""
    found = set()
    for file in files(folder):
        for kind, name in STATED.findall(strip((folder / file).read_text())):
            if kind == "Theorem":
                found.add(f"{file}:{name}")
    return found


def stated(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Module -> (kind, name) of everything that it states or defines."""
    return {file[:-2]: STATED.findall(strip((folder / file).read_text())) for file in files(folder)}


def headlines(folder: Path) -> dict[str, tuple[str, ...]]:
    """``File.v:name`` -> the claim ids in the comment directly above the theorem: ``(* [gap] ... *)``."""
    return {
        f"{file}:{name}": tuple(re.findall(r"\[([a-z-]+)\]", ids))
        for file in files(folder)
        for ids, _, name in HEADLINE.findall((folder / file).read_text())
    }


def line_of(folder: Path, file: str, name: str) -> int:
    """The line on which a theorem, definition or record is stated (1 if it is not)."""
    text = (folder / file).read_text()
    at = next((match.start() for match in STATED.finditer(text) if match[2] == name), 0)
    return text[:at].count("\n") + 1


def faults(folder: Path) -> list[str]:
    """Everything that is wrong with the project as text, one line each."""
    found = list(_project_faults(folder))
    for file in files(folder):
        if (folder / file).is_file():
            found += [f"{file}: {fault}" for fault in _file_faults(strip((folder / file).read_text()))]
    return found


def _project_faults(folder: Path) -> Iterator[str]:
    lines = (folder / "_CoqProject").read_text().splitlines()
    named = files(folder)
    if [line for line in lines if line not in named] != header(folder):
        yield f"_CoqProject: its options must be exactly {header(folder)}"
    present = {str(path.relative_to(folder)) for path in _own(folder, "*.v")}
    yield from (f"{file}: not in _CoqProject, so not compiled" for file in sorted(present - set(named)))
    yield from (f"{file}: in _CoqProject, but missing" for file in sorted(set(named) - present))
    yield from (f"{file}: named twice in _CoqProject" for file in sorted({f for f in named if named.count(f) > 1}))
    orphans = {path.name for path in _own(folder, "*.vo") if not path.with_suffix(".v").is_file()}
    yield from (f"{name}: compiled file without a source" for name in sorted(orphans))


def _file_faults(code: str) -> Iterator[str]:
    yield from (" ".join(word.split()) for word in FORBIDDEN.findall(code))
    depth = 0
    for sentence in re.split(r"\.(?=\s|$)", code):
        words = re.sub(r"^(?:[-+*{}\s]|#\[[^\]]*\])+", "", sentence)
        depth += bool(re.match(r"Section\b", words)) - bool(re.match(r"End\b", words))
        if depth <= 0 and (match := OUTSIDE.match(words)):
            yield f"{match[1]} outside a section is an axiom"
