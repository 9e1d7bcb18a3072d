"""The paper's statements that no claim covers yet, from ``unclaimed.toml`` beside this file."""

import tomllib
from pathlib import Path


def unclaimed_statements() -> str:
    """One line a statement: its place in the paper, and what it says."""
    path = Path(__file__).with_name("unclaimed.toml")
    statements = tomllib.loads(path.read_text(encoding="utf-8"))["statement"] if path.is_file() else []
    lines = [f"  {entry['place']}: {entry['statement']}" for entry in statements]
    return "\n".join([f"{len(lines)} statements of the paper have no claim yet:", *lines]) if lines else ""
