"""Where the ledger and what it points to lie: the checkout, or the copy that an installed package carries."""

from pathlib import Path

import lop_theory
from lop_theory.errors import InvalidInput

LEDGER = "claims.toml"
_PACKAGE = Path(lop_theory.__file__).parent


def root() -> Path:
    """The folder that holds ``claims.toml``. Raises ``InvalidInput`` if the installation lacks it."""
    for place in (_PACKAGE.parent, _PACKAGE / "_shipped"):
        if (place / LEDGER).is_file():
            return place
    raise InvalidInput("claims", str(_PACKAGE), "has no claims.toml beside or in it", "reinstall lop-theory")


def in_checkout(place: Path) -> bool:
    """Whether tests, proofs and figures lie there as well."""
    return (place / "proofs").is_dir() and (place / "tests").is_dir()
