"""Whether the audit has accepted the sources as they stand: a digest that `make proofs` leaves when it is done."""

import hashlib
from pathlib import Path

from audit import ledger

STAMP = Path("build") / "accepted"


def digest(folder: Path) -> str:
    """Of every file that a proof or the audit rests on, and of what the ledger links and pins."""
    files = [*folder.glob("*.v"), folder / "_CoqProject", folder / "Makefile", *(folder / "audit").glob("*.py")]
    found = hashlib.sha256(repr([(c.id, c.evidence, c.proofs, c.pinned) for c in ledger.load(folder)]).encode())
    for file in sorted(files):
        found.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


def write(folder: Path) -> None:
    (folder / STAMP).write_text(digest(folder))


def is_fresh(folder: Path) -> bool:
    stamp = folder / STAMP
    return stamp.is_file() and stamp.read_text() == digest(folder)
