"""Escape: a network that has lost plasticity goes on, perturbed or not."""
