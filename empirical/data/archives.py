"""What the original archives hold, read into memory and never unpacked to disk.

An archive with an entry that would leave its folder, or that is not a plain file or folder, is refused by that entry's
name. A payload is a file as its authors made it; hashing it after decompression accepts archives compressed again.
"""

import gzip
import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from lop_theory.errors import InvalidInput

GET_ORIGINAL = "get the original file again"


class Payload(NamedTuple):
    """Size in bytes and SHA-256 of a file as its authors made it."""

    size: int
    sha256: str


@contextmanager
def readable(path: Path) -> Generator[None]:
    """Turns what goes wrong when a file or archive is read into ``InvalidInput`` with its name."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile) as error:
        raise InvalidInput("path", str(path), f"is truncated or damaged ({error})", GET_ORIGINAL) from None
    except OSError as error:
        raise InvalidInput("path", str(path), f"cannot be read ({error.strerror or error})") from None


def from_folder(folder: Path, wanted: Mapping[str, Payload]) -> dict[str, bytes]:
    """The wanted payloads from files of a folder, each as it is or as ``NAME.gz``. Raises ``InvalidInput``."""
    found = {}
    for name, payload in wanted.items():
        plain, packed = folder / name, folder / f"{name}.gz"
        path = plain if plain.is_file() else packed
        if not path.is_file():
            raise InvalidInput("path", str(folder), f"has no {name} or {name}.gz", "give the folder that has")
        with readable(path), gzip.open(path) if path == packed else path.open("rb") as file:
            found[name] = checked(name, _limited(file, payload.size), payload)
    return found


def from_tar(path: Path, wanted: Mapping[str, Payload]) -> dict[str, bytes]:
    """The wanted payloads from a ``.tar`` or ``.tar.gz``, in whatever folder of it. Raises ``InvalidInput``."""
    found: dict[str, bytes] = {}
    with readable(path), tarfile.open(path) as archive:
        for entry in archive:
            check_entry(path, entry.name, plain=entry.isfile() or entry.isdir())
            name = PurePosixPath(entry.name).name
            if entry.isfile() and name in wanted:
                if name in found:
                    raise InvalidInput("path", str(path), f"has {name} twice", GET_ORIGINAL)
                content = archive.extractfile(entry)
                assert content is not None, "a plain file has content"
                found[name] = checked(name, _limited(content, wanted[name].size), wanted[name])
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InvalidInput("path", str(path), f"has no {missing[0]}", GET_ORIGINAL)
    return found


def check_zip(path: Path, archive: zipfile.ZipFile) -> None:
    """Raises ``InvalidInput`` if an entry would leave the folder or is a link."""
    for entry in archive.infolist():
        kind = (entry.external_attr >> 16) & 0o170000
        check_entry(path, entry.filename, plain=kind in (0, 0o100000, 0o040000))


def check_entry(path: Path, name: str, *, plain: bool) -> None:
    """Raises ``InvalidInput`` if an archive's entry would leave its folder, or is neither a file nor a folder."""
    if not plain:
        raise InvalidInput("path", str(path), f"has an entry that is a link or device, {name!r}", GET_ORIGINAL)
    windows = PureWindowsPath(name)
    if name.startswith("/") or windows.drive or windows.root or ".." in windows.parts:
        raise InvalidInput("path", str(path), f"has an entry that leaves its folder, {name!r}", GET_ORIGINAL)


def check_archive(path: Path, payload: Payload) -> None:
    """Raises ``InvalidInput`` if a file is not the payload; it is not read into memory."""
    with readable(path), path.open("rb") as file:
        _check_size(path.name, path.stat().st_size, payload)
        _check_digest(path.name, hashlib.file_digest(file, "sha256").hexdigest(), payload)


def checked(name: str, content: bytes, payload: Payload) -> bytes:
    """The content, if it is the payload. Raises ``InvalidInput``."""
    _check_size(name, len(content), payload)
    _check_digest(name, hashlib.sha256(content).hexdigest(), payload)
    return content


def _check_size(name: str, size: int, payload: Payload) -> None:
    if size != payload.size:
        raise InvalidInput("file", name, f"must have {payload.size} bytes, has {size} or more", GET_ORIGINAL)


def _check_digest(name: str, found: str, payload: Payload) -> None:
    if found != payload.sha256:
        raise InvalidInput("file", name, f"must have SHA-256 {payload.sha256[:16]}…, has {found[:16]}…", GET_ORIGINAL)


def _limited(file: IO[bytes] | gzip.GzipFile, size: int) -> bytes:
    """The content, but at most one byte more than expected: a small archive cannot fill the memory."""
    return file.read(size + 1)
