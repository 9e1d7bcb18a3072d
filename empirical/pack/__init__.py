"""Runs that travel: a folder of runs as one archive, and back, so that time on a machine that is lent is not lost.

Reading order: archive (what a file holds, verified) → merging (into a folder, where nothing is overwritten) →
compaction (folders of runs into few files, in place) → command (``python -m empirical pack``, ``unpack``, ``compact``).
"""
