"""Every claim of the ledger, recomputed: ball certificates, exact counterexamples, property checks, records, proofs.

Reading order: finding (one piece of evidence, and the verdict they add up to) → the checkers, one file an area.
"""
