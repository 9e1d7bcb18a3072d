"""Cloning certificates for PyTorch models (theory.md §7): widen, certify, find clones.

``expand(model, 2, example_input=x)`` widens, ``certify(clone, base=model, example_input=x)`` proves, ``detect(model,
x)`` finds.
"""

from typing import TYPE_CHECKING

from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from lop_theory.modules.batches import Loader
    from lop_theory.modules.certification import Certificate, certificate, certify
    from lop_theory.modules.clone import Clone
    from lop_theory.modules.compression import Smaller, compress, merge
    from lop_theory.modules.detection import Criteria, Detection
    from lop_theory.modules.finder import detect
    from lop_theory.modules.growth import Expansion, expansion
    from lop_theory.modules.interface import Profile
    from lop_theory.modules.propagation import UnsupportedOperation
    from lop_theory.modules.rates import matched_groups, matched_rates
    from lop_theory.modules.widening import expand

__all__ = [
    "Certificate",
    "Clone",
    "Criteria",
    "Detection",
    "Expansion",
    "Loader",
    "Profile",
    "Smaller",
    "UnsupportedOperation",
    "certificate",
    "certify",
    "compress",
    "detect",
    "expand",
    "expansion",
    "matched_groups",
    "matched_rates",
    "merge",
]

_HOMES = {
    "batches": "Loader",
    "certification": "Certificate certificate certify",
    "clone": "Clone",
    "compression": "Smaller compress merge",
    "detection": "Criteria Detection",
    "finder": "detect",
    "growth": "Expansion expansion",
    "interface": "Profile",
    "propagation": "UnsupportedOperation",
    "rates": "matched_groups matched_rates",
    "widening": "expand",
}
__getattr__ = lazily(__name__, {name: home for home, names in _HOMES.items() for name in names.split()})
