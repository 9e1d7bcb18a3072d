"""The data of a page per theorem, as JSON-ready rows: words, statement, axioms, definitions, dependencies, claims."""

import re
from pathlib import Path

from audit import coq, ledger, pins, sources

_STATEMENT = re.compile(
    r"(?:\(\*((?:(?!\*\)).)*)\*\)\s*)?Definition\s+([\w']+) : Prop :=\s*(.*?)\.(?=\s*(?:\n\n|\Z))", re.S
)
_ENTRY = re.compile(r"(?:prf|thm|def) (\d+):\d+ <> (\S+)")
_USE = re.compile(r"R(\d+):\d+ lop\.(\w+) <> (\S+) (?:thm|prf)")


def rows(claims: list[ledger.Claim], answers: dict[str, str], folder: Path) -> list[dict[str, object]]:
    """One row per linked theorem, in the ledger's order."""
    modules = sources.known(folder)
    graph = dependencies(folder)
    return [
        _row(link, claims, folder) | _answers(link, answers, modules, folder) | {"uses": graph.get(link, [])}
        for link in ledger.links(claims)
    ]


def _row(link: str, claims: list[ledger.Claim], folder: Path) -> dict[str, object]:
    file, _, name = link.partition(":")
    words, text = statements(folder)[name]
    return {
        "theorem": link,
        "line": sources.line_of(folder, file, name),
        "statement_line": sources.line_of(folder, "Statements.v", name),
        "words": words,
        "statement": text,
        "claims": [claim.id for claim in claims if link in claim.proofs],
        "paper": sorted({claim.paper for claim in claims if link in claim.proofs}),
    }


def _answers(link: str, answers: dict[str, str], modules: list[str], folder: Path) -> dict[str, object]:
    name = link.partition(":")[2]
    used = sorted(pins.closure(answers, name, modules).keys() - {f"Statements.{name}"})
    return {
        "axioms": coq.parse_assumptions(answers[f"assumes {link.replace('.v:', '_')}"])[0],
        "definitions": [_place(constant, folder) for constant in used],
    }


def _place(constant: str, folder: Path) -> dict[str, object]:
    module, _, name = constant.partition(".")
    return {"name": constant, "file": f"{module}.v", "line": sources.line_of(folder, f"{module}.v", name)}


def statements(folder: Path) -> dict[str, tuple[str, str]]:
    """Statement -> (the words of the comment above it, its text) from Statements.v."""
    text = (folder / "Statements.v").read_text()
    return {name: (" ".join(words.split()), body) for words, name, body in _STATEMENT.findall(text)}


def dependencies(folder: Path) -> dict[str, list[str]]:
    """Linked theorem -> the headline theorems that its proof uses, through lemmas, from the compiled files' .glob."""
    direct = {}
    for file in sources.files(folder):
        direct |= _direct(folder / file)
    heads = set(sources.headlines(folder))
    return {link: sorted(_reach(link, direct, heads) - {link}) for link in heads}


def _direct(path: Path) -> dict[str, set[str]]:
    glob = path.with_suffix(".glob").read_text().splitlines() if path.with_suffix(".glob").is_file() else []
    found: dict[str, set[str]] = {}
    current = ""
    for line in glob:
        if match := _ENTRY.match(line):
            current = f"{path.name}:{match[2]}"
            found.setdefault(current, set())
        elif current and (match := _USE.match(line)):
            found[current].add(f"{match[2]}.v:{match[3]}")
    return found


def _reach(link: str, direct: dict[str, set[str]], heads: set[str]) -> set[str]:
    found: set[str] = set()
    seen, waiting = {link}, [link]
    while waiting:
        for used in direct.get(waiting.pop(), set()) - seen:
            seen.add(used)
            if used in heads:
                found.add(used)
            else:
                waiting.append(used)
    return found
