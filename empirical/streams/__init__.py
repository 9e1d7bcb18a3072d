"""Data streams as pure functions of (seed, step)."""
