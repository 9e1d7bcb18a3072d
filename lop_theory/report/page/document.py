"""The whole page in one file: no request, no cookie, no program but its own."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path

from lop_theory.report.errata import counterexamples
from lop_theory.report.ledger import EVIDENCE, PAPER, Claim
from lop_theory.report.page.cards import WORDS, Context, card
from lop_theory.report.page.drawing import claims_graph
from lop_theory.report.page.explorer import activations
from lop_theory.report.page.statements import axioms, pinned_statements

_ASSETS = Path(__file__).with_name("assets")
_SCRIPTS = "formula.js", "kernel.js", "network.js", "page.js"


def whole_page(claims: Sequence[Claim], findings: Mapping[str, Sequence[str]], place: Path) -> str:
    """The page. ``findings`` are sentences a claim; ``place`` the folder of the ledger, whose figures
    and proofs are shown if they are there.
    """
    figures = place / "figures"
    shown = {name for claim in claims for name in claim.figures if _png(figures, name).is_file()}
    known = {erratum.id: erratum for erratum in counterexamples()}
    page = Context(sorted(shown), pinned_statements(place / "proofs"), axioms(place / "proofs"))
    cards = [card(claim, findings.get(claim.id, ()), known.get(claim.id), page) for claim in claims]
    return asset("page.html").format(
        title="Claims of “Barriers for Learning in an Evolving World”, verified",
        source=escape(PAPER),
        count=len(claims),
        summary=_summary(claims),
        css=asset("page.css"),
        verdicts=_options(WORDS.items()),
        evidence=_options((kind.replace(" ", "-"), kind) for kind in EVIDENCE),
        cards="\n".join(cards),
        graph=claims_graph({claim.id: claim.uses for claim in claims}),
        figures="\n".join(_figure(figures, name) for name in sorted(shown)),
        example=escape(asset("example.json")),
        data=json.dumps({"activations": activations()}).replace("<", "\\u003c"),
        scripts="\n".join(f"<script>{asset(name)}</script>" for name in _SCRIPTS),
    )


@cache
def asset(name: str) -> str:
    """The text of a file that the page is made of; ``page.css`` serves other pages, too."""
    return (_ASSETS / name).read_text(encoding="utf-8")


def _summary(claims: Sequence[Claim]) -> str:
    counts = {verdict: sum(claim.verdict == verdict for claim in claims) for verdict in WORDS}
    return ", ".join(f'<span class="{v}">{n} {WORDS[v]}</span>' for v, n in counts.items() if n)


def _options(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f'<option value="{value}">{escape(text)}</option>' for value, text in pairs)


def _png(folder: Path, name: str) -> Path:
    return folder / f"figure_{name}.png"


def _figure(folder: Path, name: str) -> str:
    data = base64.b64encode(_png(folder, name).read_bytes()).decode()
    text = folder / f"figure_{name}.txt"
    caption = escape(text.read_text(encoding="utf-8").strip()) if text.is_file() else f"Figure {name}."
    image = f'<img alt="Figure {name}" src="data:image/png;base64,{data}" loading="lazy">'
    return f'<figure class="figure" id="figure-{name}">{image}<figcaption>{caption}</figcaption></figure>'
