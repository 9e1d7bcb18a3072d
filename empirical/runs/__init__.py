"""Carrying out runs and keeping their records."""
