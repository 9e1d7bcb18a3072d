"""The measured claims of all experiments, recomputed from saved records: ``python -m empirical claims`` (command).

A claim holds where its sentence, computed anew, is what the ledger states and its conditions are met by every seed.
"""
