"""Command lines from frozen dataclasses by tyro: presets give the defaults, every field is in ``--help``, errors are
one line."""

import contextlib
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from lop_theory.cli import BAD_INPUT
from lop_theory.errors import InvalidInput

Options = TypeVar("Options")


def read(presets: Mapping[str, Options], arguments: list[str], prog: str, *, flags: bool = False) -> Options:
    """The options of ``arguments``; what they leave out comes from the preset they name. Exits with 2 on bad input.

    A Boolean option takes True or False, or with ``flags`` is given alone.
    """
    import tyro

    default = presets[_named_preset(presets, arguments)]
    boolean = tyro.conf.FlagCreatePairsOff if flags else tyro.conf.FlagConversionOff
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.AvoidSubcommands, boolean)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(type(default), default=default, args=arguments, prog=prog, config=config)
    except SystemExit as stop:
        if stop.code == BAD_INPUT:
            print(f"error: {one_line(complaint.getvalue())} (see {prog} --help)", file=sys.stderr)
        raise


def _named_preset(presets: Mapping[str, object], arguments: list[str]) -> str:
    for k, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--preset":
            chosen = value or (arguments[k + 1] if k + 1 < len(arguments) else "")
            if chosen not in presets:
                raise InvalidInput("preset", chosen, "is unknown", f"one of: {', '.join(presets)}")
            return chosen
    return next(iter(presets))


def one_line(box: str) -> str:
    """The first paragraph of tyro's boxed message."""
    lines = [line.strip("│ ") for line in box.splitlines() if line.startswith("│")]
    paragraph: list[str] = []
    for line in lines:
        if line.startswith("──"):
            break
        paragraph.append(line)
    return " ".join(paragraph) or " ".join(box.split())


def writable_folder(parameter: str, path: str) -> Path:
    """The folder, made if need be. Raises ``InvalidInput``."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidInput(parameter, path, f"cannot be written ({error.strerror})", "choose another folder") from None
    return folder
