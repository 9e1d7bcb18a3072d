"""The paper's experiments: data streams, engines, run records and the command ``python -m empirical``."""
