"""The ledger as one page that opens from disk: a card a claim, an explorer of activations, a reader of networks.

Reading order: cards (a claim with its findings as HTML) → formulas (LaTeX to MathML) → drawing (networks and the graph
of claims as SVG) → statements (as Coq reads them) → explorer (what the page's own programs start from) → document (all
in one file).
"""

from lop_theory.report.page.document import asset, whole_page

__all__ = ["asset", "whole_page"]
