"""Cloning and frozen-unit manifolds of feed-forward DAGs (theory.md §5–§6; paper §2, Appendix A.3)."""
