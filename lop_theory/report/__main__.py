"""``python -m lop_theory.report``: the claims ledger as a table or (``--markdown``) a page; ``--check`` verifies its
links.
"""

from pathlib import Path

from lop_theory.cli import NOT_CERTIFIED, OK, Parser, run
from lop_theory.report.ledger import Claim, load, problems


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(
        prog="python -m lop_theory.report", description="Every claim of the paper, its verdict and evidence."
    )
    parser.add_argument("--claims", default="claims.toml", metavar="FILE", help="the registry (default claims.toml)")
    parser.add_argument("--check", action="store_true", help="check every link; exit code 1 if one is broken")
    parser.add_argument("--markdown", action="store_true", help="a Markdown page instead of a table")
    options = parser.parse_args(arguments)
    path = Path(options.claims)
    claims = load(path)
    if options.check:
        found = problems(claims, path.resolve().parent)
        print("\n".join(found) if found else f"{len(claims)} claims, every link resolves")
        return NOT_CERTIFIED if found else OK
    print(_page(claims) if options.markdown else _table(claims))
    return OK


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
        links = [*claim.proofs, *claim.tests, *claim.code, *(f"figure {f}" for f in claim.figures)]
        parts += [", ".join(f"`{link}`" for link in links), ""]
    return "\n".join(parts)


if __name__ == "__main__":
    run(main)
