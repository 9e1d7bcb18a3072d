"""The registry of claims as data, and what is wrong with it.

Every claim names its statement, verdict, kinds of evidence and links (code, tests, proofs, figures, other claims).
``problems`` checks each link against the repository; nothing is executed except imports of the project's own modules.
"""

import ast
import importlib
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from lop_theory.errors import InvalidInput

PAPER = "arXiv 2510.00304 v2"
VERDICTS = ("holds", "corrected", "false", "undecided")
EVIDENCE = ("proved", "certified by balls", "symbolic proof", "exact counterexample", "tested", "measured")
_LISTS = ("evidence", "code", "tests", "proofs", "refuted", "figures", "uses", "checks")
_OWN = r"(lop_theory|empirical|paper_figs)(\.\w+)*"
_THEOREM = r"(numbers/)?\w+\.v:[\w']+"
_FORMS = {
    "id": "[a-z0-9-]+",
    "uses": "[a-z0-9-]+",
    "figures": "[A-Za-z0-9._]+",
    "verdict": "|".join(VERDICTS),
    "evidence": "|".join(EVIDENCE),
    "code": rf"{_OWN}(:\w+)?",
    "checks": rf"{_OWN}:\w+|python -m empirical claims",
    "shown": rf"python -m {_OWN}( .*)?",
    "tests": r"tests/[\w/]+\.py(::\w+)?",
    "proofs": _THEOREM,
    "refuted": _THEOREM,
}
"""What these values look like: a page writes them into its markup, and no module is imported that is not our own."""
_REQUIRED = ("id", "paper", "statement", "verdict", "evidence")
_OPTIONAL = (
    "source", "corrected", "code", "tests", "proofs", "refuted", "proved", "pinned", "figures", "uses", "checks",
    "history", "shown",
)  # fmt: skip


class Claim(NamedTuple):
    """One entry of ``claims.toml``."""

    id: str
    paper: str
    statement: str
    verdict: str
    evidence: tuple[str, ...]
    corrected: str = ""
    code: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    proofs: tuple[str, ...] = ()
    refuted: tuple[str, ...] = ()
    proved: str = ""
    pinned: str = ""
    figures: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    source: str = PAPER
    history: str = ""
    shown: str = ""


def load(path: Path) -> list[Claim]:
    """The claims of the file, each id once.

    Raises ``InvalidInput`` if it is missing, not TOML, has no claim, or an entry has wrong keys or values.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(
            "claims", str(path), f"cannot be read ({error.strerror})", "run from the repository"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput("claims", str(path), f"is not TOML: {error}", "mend the file") from None
    entries = data.get("claim")
    if not isinstance(entries, list) or not entries:
        raise InvalidInput("claims", str(path), "has no [[claim]]", "restore the file")
    claims = [_claim(entry) for entry in entries]
    for twice in (name for name, count in Counter(claim.id for claim in claims).items() if count > 1):
        raise InvalidInput("claim", twice, "is registered twice", "keep one of them")
    return claims


def _claim(entry: object) -> Claim:
    if not isinstance(entry, dict):
        raise InvalidInput("claim", entry, "must be a table", "see the head of claims.toml")
    name = str(entry.get("id", "?"))
    missing = [key for key in _REQUIRED if key not in entry]
    unknown = [key for key in entry if key not in _REQUIRED + _OPTIONAL]
    if missing or unknown:
        raise InvalidInput("claim", name, f"misses {missing} and has unknown {unknown}", "see the head of claims.toml")
    for key, value in entry.items():
        _require_value(name, key, value)
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return Claim(**values)  # pyright: ignore[reportArgumentType]


def _require_value(name: str, key: str, value: object) -> None:
    """Text or a list of texts; an id, a verdict and the kinds of evidence of their own form."""
    words: list[Any] = value if isinstance(value, list) and key in _LISTS else [value]
    if isinstance(value, list) != (key in _LISTS) or not all(isinstance(word, str) for word in words):
        form = "a list of strings" if key in _LISTS else "a string"
        raise InvalidInput(f"{key} of claim {name}", value, f"must be {form}", "see the head of claims.toml")
    for word in words if key in _FORMS else []:
        if not re.fullmatch(_FORMS[key], word):
            raise InvalidInput(f"{key} of claim {name}", word, f"must be {_FORMS[key]}", "see the head of claims.toml")


def problems(claims: list[Claim], root: Path) -> list[str]:
    """Everything that is wrong with the registry, one line each."""
    found = [*_identities(claims), *_cycles(claims)]
    for claim in claims:
        found += [f"{claim.id}: {problem}" for problem in _of_claim(claim, root)]
    return found + list(_unregistered(claims, root))


def _identities(claims: list[Claim]) -> Iterator[str]:
    ids = [claim.id for claim in claims]
    yield from (f"{name}: registered twice" for name in sorted({i for i in ids if ids.count(i) > 1}))
    for claim in claims:
        yield from (f"{claim.id}: uses unknown claim {used}" for used in claim.uses if used not in ids)


def _cycles(claims: list[Claim]) -> Iterator[str]:
    from graphlib import CycleError, TopologicalSorter

    try:
        TopologicalSorter({claim.id: claim.uses for claim in claims}).prepare()
    except CycleError as error:
        yield f"uses has a cycle: {' -> '.join(error.args[1])}"


def _of_claim(claim: Claim, root: Path) -> Iterator[str]:
    if claim.verdict not in VERDICTS:
        yield f"verdict {claim.verdict!r} is none of {VERDICTS}"
    yield from (f"evidence {kind!r} is none of {EVIDENCE}" for kind in claim.evidence if kind not in EVIDENCE)
    if claim.verdict == "corrected" and not claim.corrected:
        yield "verdict 'corrected' without a corrected statement"
    if "proved" in claim.evidence and not claim.proofs:
        yield "evidence 'proved' without a proof"
    yield from (f"refuted {link} is none of its proofs" for link in claim.refuted if link not in claim.proofs)
    if claim.refuted and not claim.corrected:
        yield "refuted by a theorem, without a corrected statement"
    if not claim.tests and not claim.proofs:
        yield "neither a test nor a proof backs it"
    yield from (problem for link in claim.code + claim.checks if (problem := _code_problem(link)))
    if claim.shown and (problem := _code_problem(" ".join(claim.shown.split()[:3]))):
        yield f"shown: {problem}"
    yield from (problem for link in claim.tests if (problem := _test_problem(link, claim.id, root)))
    yield from (problem for link in claim.proofs if (problem := _proof_problem(link, root)))
    yield from (f"figure {name} has no module" for name in claim.figures if not _has_figure(name, root))


def _code_problem(link: str) -> str | None:
    module, _, name = link.removeprefix("python -m ").split()[0].partition(":")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        return f"code {link}: {error}"
    return None if not name or hasattr(found, name) else f"code {link}: no such name"


def _test_problem(link: str, claim: str, root: Path) -> str | None:
    path, _, name = link.partition("::")
    file = root / path
    if not file.is_file():
        return f"test {link}: no such file"
    if not name:
        return None if claim in _all_marks(file) else f"test {link}: no test carries its marker"
    return None if claim in _marks(file).get(name, ()) else f"test {link}: missing, or without the marker {claim!r}"


def _marks(file: Path) -> Mapping[str, frozenset[str]]:
    """Test name → claim ids of its ``@pytest.mark.claim`` decorators."""
    return _marks_in(file.read_text(encoding="utf-8"))


@cache
def _marks_in(source: str) -> Mapping[str, frozenset[str]]:
    """The same; every claim asks for the files of its tests again."""
    nodes = (n for n in ast.walk(ast.parse(source)) if isinstance(n, (ast.FunctionDef, ast.ClassDef)))
    return {n.name: frozenset(i for decorator in n.decorator_list if (i := _claim_of(decorator))) for n in nodes}


def _claim_of(decorator: ast.expr) -> str | None:
    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.claim" and decorator.args:
        argument = decorator.args[0]
        return str(argument.value) if isinstance(argument, ast.Constant) else None
    return None


def _all_marks(file: Path) -> set[str]:
    return set().union(*_marks(file).values())


def _proof_problem(link: str, root: Path) -> str | None:
    name, _, theorem = link.partition(":")
    file = root / "proofs" / name
    if not file.is_file():
        return f"proof {link}: no such file"
    pattern = rf"^\s*(Theorem|Lemma|Corollary|Example|Remark)\s+{re.escape(theorem)}\b"
    stated = re.search(pattern, file.read_text(), re.MULTILINE)
    return None if stated else f"proof {link}: no such theorem"


def _has_figure(name: str, root: Path) -> bool:
    source = (root / "paper_figs" / "__main__.py").read_text(encoding="utf-8")
    return f'"{name}":' in source


def _unregistered(claims: list[Claim], root: Path) -> Iterator[str]:
    """Markers and Coq comments that name no registered claim."""
    known = {claim.id for claim in claims}
    for file in sorted((root / "tests").rglob("test_*.py")):
        for name in sorted(_all_marks(file) - known):
            yield f"{file.relative_to(root)}: marker {name!r} is not registered"
    for file in sorted((root / "proofs").glob("*.v")):
        comments = re.findall(r"^\(\* ((?:\[[a-z0-9-]+\] ?)+)", file.read_text(), re.MULTILINE)
        for name in sorted({i for text in comments for i in re.findall(r"\[([a-z0-9-]+)\]", text)} - known):
            yield f"{file.relative_to(root)}: comment [{name}] is not registered"
