"""Cloning certificates for PyTorch models (theory.md §7): widen, certify, find clones.

``expand(model, 2, example_input=x)`` widens, ``certify(clone, base=model, example_input=x)`` proves, ``detect(model,
x)`` finds.
"""

from lop_theory.modules.batches import Loader
from lop_theory.modules.certify import Certificate, certificate, certify
from lop_theory.modules.clone import Clone
from lop_theory.modules.compress import Smaller, compress, merge
from lop_theory.modules.detect import detect
from lop_theory.modules.detection import Criteria, Detection
from lop_theory.modules.expand import expand
from lop_theory.modules.expansion import Expansion, expansion
from lop_theory.modules.interface import Profile
from lop_theory.modules.propagate import UnsupportedOperation
from lop_theory.modules.rates import matched_groups, matched_rates

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
