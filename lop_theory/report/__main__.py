"""``python -m lop_theory.report``: the claims ledger as a table, a page in Markdown or HTML, or the paper's errata."""

from pathlib import Path

from lop_theory.cli import NOT_CERTIFIED, OK, Parser, run, writable, write_whole
from lop_theory.errors import InvalidInput
from lop_theory.report.ledger import Claim, load, problems
from lop_theory.report.place import LEDGER, root


def parser() -> Parser:
    found = Parser(
        prog="python -m lop_theory.report", description="Every claim of the paper, its verdict and evidence."
    )
    found.add_argument("--claims", metavar="FILE", help="the registry (default: the one that came with lop_theory)")
    found.add_argument("--check", action="store_true", help="check every link; exit code 1 if one is broken")
    found.add_argument("--markdown", action="store_true", help="a Markdown page instead of a table")
    found.add_argument("--html", metavar="FILE", help="one self-contained page, with the claims recomputed")
    found.add_argument("--findings", metavar="FILE", help="use these lines of verify --json for the page")
    found.add_argument("--errata", metavar="FILE", help="what the paper says and does not hold, with counterexamples")
    return found


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.findings and not options.html:
        raise InvalidInput("findings", options.findings, "are for the page", "give --html FILE, too")
    path = root() / LEDGER if options.claims is None else Path(options.claims)
    claims = load(path)
    targets = {name: writable(name, value) for name in ("html", "errata") if (value := getattr(options, name))}
    if options.check:
        return _check(claims, path)
    if "errata" in targets:
        from lop_theory.report.errata import markdown

        write_whole(targets["errata"], markdown(claims).encode())
    if "html" in targets:
        write_whole(targets["html"], _html(claims, options.findings).encode())
    if not targets:
        print(_page(claims) if options.markdown else _table(claims))
    return OK


def _check(claims: list[Claim], path: Path) -> int:
    found = problems(claims, path.resolve().parent)
    print("\n".join(found) if found else f"{len(claims)} claims, every link resolves")
    return NOT_CERTIFIED if found else OK


def _html(claims: list[Claim], findings: str | None) -> str:
    from lop_theory.report.evidence import recomputed, saved, sentences
    from lop_theory.report.page import whole_page

    lines = recomputed() if findings is None else saved(findings)
    return whole_page(claims, sentences(lines), root())


def _table(claims: list[Claim]) -> str:
    width = max((len(claim.id) for claim in claims), default=2)
    rows = [f"{c.id:<{width}}  {c.verdict:<9}  {', '.join(c.evidence):<42}  {c.paper}" for c in claims]
    return "\n".join([f"{'claim':<{width}}  {'verdict':<9}  {'evidence':<42}  paper", *rows])


def _page(claims: list[Claim]) -> str:
    parts = ["# Claims ledger", ""]
    for claim in claims:
        source = f"*{claim.paper}; {', '.join(claim.evidence)}.*"
        parts += [f"## {claim.id} — {claim.verdict}", "", f"{source} {claim.statement}", ""]
        if claim.corrected:
            parts += [f"**Corrected:** {claim.corrected}", ""]
        if claim.history:
            parts += [f"**History:** {claim.history}", ""]
        if claim.shown:
            parts += [f"**Shown by:** `{claim.shown}`", ""]
        links = [*claim.proofs, *claim.tests, *claim.code, *(f"figure {f}" for f in claim.figures)]
        parts += [", ".join(f"`{link}`" for link in links), ""]
    return "\n".join(parts)


if __name__ == "__main__":
    run(main)
