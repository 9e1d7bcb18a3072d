"""Verified theory of plasticity in neural networks (arXiv 2510.00304)."""

__version__ = "0.1.0"
