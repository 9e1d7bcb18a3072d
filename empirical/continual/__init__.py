"""Continual classification: a network learns task after task and may lose the ability to."""
