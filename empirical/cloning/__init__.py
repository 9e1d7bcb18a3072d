"""Cloning: a trained network is widened into a clone of itself, and both train on."""
