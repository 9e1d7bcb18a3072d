"""Formulas of the claims as MathML, which every browser draws without a program."""

import tomllib
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "formulas.toml"


@cache
def latex() -> dict[str, str]:
    """Claim id → LaTeX."""
    return tomllib.loads(SOURCE.read_text(encoding="utf-8"))


def mathml(text: str) -> str:
    """LaTeX as a block of MathML."""
    from latex2mathml.converter import convert

    return convert(text, display="block")
