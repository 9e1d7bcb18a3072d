"""Every claim of the ledger, recomputed: ball certificates, exact counterexamples, property checks, records, proofs.

Reading order: finding (one piece of evidence, and the verdict that findings add up to) → networks (seeded random
clones) → the checkers: scalar, tangents, graph, models, implications (what the paper infers), later (claims of later
papers, with attraction and isometry) → proved (what the audit of the proofs accepted) → outcome (one claim
recomputed) → unclaimed (statements without a claim) → table. ``python -m lop_theory verify`` is the command.
"""

from lop_theory.verify.finding import Checker, Finding, NotHere, agreed, decided, recomputed_verdict, refutes

__all__ = ["Checker", "Finding", "NotHere", "agreed", "decided", "recomputed_verdict", "refutes"]
