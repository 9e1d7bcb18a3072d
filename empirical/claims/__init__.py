"""The measured claims of all experiments, recomputed from saved records: ``python -m empirical claims``."""
