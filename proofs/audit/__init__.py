"""The audit of the Coq proofs: what is proved is what the ledger says, and nothing is assumed on the way.

Trusted: Coq and its kernel, the installed libraries, this package, and a person's reading of ``Statements.v``.
"""
