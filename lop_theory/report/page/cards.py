"""A claim as an HTML card: what the paper says, what holds, the evidence with its numbers, and where it all lies."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from lop_theory.graph import counterexamples as named
from lop_theory.report.errata import Erratum
from lop_theory.report.ledger import Claim
from lop_theory.report.page.drawing import network
from lop_theory.report.page.formulas import latex, mathml

WORDS = {"holds": "holds", "corrected": "holds corrected", "false": "false", "undecided": "cannot tell"}
_DRAWN = {
    "clone-support": "SUPPORT_3X3",
    "clone-trajectory": "SUPPORT_2X3",
    "clone-forward": "BIASES",
    "clone-backward": "OUTPUTS",
    "clone-ordering": "CYCLIC_QUOTIENT",
    "frozen-unit": "REVIVED_BY_UPSTREAM",
}
_WHERE = (("proofs", "Proofs"), ("tests", "Tests"), ("code", "Code"), ("checks", "Checks"))


class Context(NamedTuple):
    """What the whole page knows: the figures that it shows, the statements that Coq proves, and their axioms."""

    figures: Sequence[str]
    coq: Mapping[str, str]
    axioms: Mapping[str, str]


def card(claim: Claim, findings: Sequence[str], erratum: Erratum | None, page: Context) -> str:
    """``findings`` are sentences."""
    kinds = " ".join(kind.replace(" ", "-") for kind in claim.evidence)
    attributes = f'id="{claim.id}" class="card" data-verdict="{claim.verdict}" data-evidence="{kinds}"'
    parts = _head(claim), _statements(claim), _why(claim, erratum), _evidence(findings), _proofs(claim, page)
    return f'<article {attributes} tabindex="-1">{"".join(parts)}{_where(claim, page.figures)}</article>'


def _head(claim: Claim) -> str:
    paper = escape(claim.paper if claim.paper != "-" else "not in the paper")
    verdict = f'<span class="verdict {claim.verdict}">{WORDS[claim.verdict]}</span>'
    title = f'<h3><a href="#{claim.id}">{claim.id}</a> {verdict}</h3>'
    return f'{title}<p class="place">{paper} · {escape(claim.source)} · {escape(", ".join(claim.evidence))}</p>'


def _statements(claim: Claim) -> str:
    parts = []
    if claim.id in latex():
        parts.append(
            f'<div class="formula" tabindex="0" role="group" aria-label="Formula">{mathml(latex()[claim.id])}</div>'
        )
    said = "The paper says" if claim.paper != "-" else "Statement"
    parts.append(f"<p><strong>{said}:</strong> {escape(claim.statement)}</p>")
    if claim.corrected:
        parts.append(f'<p class="holds"><strong>Holds:</strong> {escape(claim.corrected)}</p>')
    return "".join(parts)


def _why(claim: Claim, erratum: Erratum | None) -> str:
    drawn = network(getattr(named, _DRAWN[claim.id])) if claim.id in _DRAWN else ""
    if erratum is None:
        return drawn
    code = f'<pre tabindex="0"><code>{escape(erratum.code.strip())}</code></pre>'
    shown = f"<details><summary>Counterexample as code</summary>{code}</details>"
    return f"<p><strong>Why it fails:</strong> {escape(erratum.why)}</p>{drawn}{shown}"


def _evidence(findings: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in findings)
    return f"<details><summary>Evidence, recomputed for this page ({len(findings)})</summary><ul>{items}</ul></details>"


def _proofs(claim: Claim, page: Context) -> str:
    """The pinned statements, as Coq reads them, with their axioms."""
    names = [name for link in claim.proofs if (name := link.partition(":")[2]) in page.coq]
    items = "".join(
        f"<dt>{escape(name)}<br>axioms: {escape(page.axioms.get(name, 'see below'))}</dt>"
        f"<dd><code>{escape(page.coq[name])}</code></dd>"
        for name in names
    )
    if not items:
        return ""
    note = "<p>Audited by <code>make proofs</code>; <code>proofs/README.md</code> names the axioms of the reals.</p>"
    return f"<details><summary>Proved in Coq ({len(names)})</summary><dl>{items}</dl>{note}</details>"


def _where(claim: Claim, figures: Sequence[str]) -> str:
    rows = [(title, [escape(link) for link in getattr(claim, name)]) for name, title in _WHERE]
    shown = [f'<a href="#figure-{f}">{f}</a>' if f in figures else f"{f} (not drawn here)" for f in claim.figures]
    rows += [("Figures", shown), ("Uses", [f'<a href="#{used}">{used}</a>' for used in claim.uses])]
    items = "".join(f"<dt>{title}</dt><dd>{', '.join(links)}</dd>" for title, links in rows if links)
    return f"<details><summary>Where</summary><dl>{items}</dl></details>"
