"""Cloning certificates for PyTorch models (theory.md §7): widen, certify, find clones."""

from lop_theory.modules.certify import Certificate, certificate, certify
from lop_theory.modules.clone import Clone
from lop_theory.modules.expand import expand
from lop_theory.modules.interface import Profile

__all__ = ["Certificate", "Clone", "Profile", "certificate", "certify", "expand"]
