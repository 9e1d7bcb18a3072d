"""``python -m empirical data fetch NAME | import NAME PATH | list``: real data sets, from their original files; alone
it lists them.
"""

import json
from argparse import Namespace
from pathlib import Path

from empirical.data import library
from empirical.data.catalogue import DATA_SETS, data_set
from empirical.data.download import fetch
from lop_theory.cli import OK, Parser

NAMES = ", ".join(DATA_SETS)


def main(arguments: list[str]) -> int:
    """Exit code 0, or ``InvalidInput``."""
    given = _parser().parse_args(arguments or ["list"])
    return {"fetch": _fetch, "import": _import, "list": _list}[given.action](given)


def _parser() -> Parser:
    parser = Parser(prog="python -m empirical data", description=f"Real data sets: {NAMES}.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="fetch | import | list")
    fetching = actions.add_parser("fetch", help="download the originals, check and decode them once")
    fetching.add_argument("name", metavar="NAME", help=NAMES)
    fetching.add_argument("--from", dest="place", metavar="URL", help="address of a folder with the original files")
    importing = actions.add_parser("import", help="check and decode original files that you have")
    importing.add_argument("name", metavar="NAME", help=NAMES)
    importing.add_argument(
        "path", metavar="PATH", type=Path, help="the original archive, or a folder with the originals"
    )
    listing = actions.add_parser("list", help="what there is, and what is on this machine")
    listing.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _fetch(given: Namespace) -> int:
    return _done(given.name, fetch(given.name, given.place))


def _import(given: Namespace) -> int:
    data_set(given.name)
    return _done(given.name, library.add(given.name, given.path))


def _done(name: str, folder: Path) -> int:
    data = data_set(name)
    train, held_out = data.counts
    print(f"{data.title}: {train:,} training and {held_out:,} held-out images, checked, in {folder}")
    return OK


def _list(given: Namespace) -> int:
    if given.json:
        print(json.dumps([_row(name) for name in DATA_SETS], indent=1))
        return OK
    for name, data in DATA_SETS.items():
        channels, height, width = data.image
        size = f"{data.classes} classes, {sum(data.counts):,} images of {height}×{width}×{channels}"
        print(f"{name:<14} {size:<48} {library.home(name) if library.present(name) else 'not here'}")
    return OK


def _row(name: str) -> dict[str, object]:
    data = data_set(name)
    return {
        "name": name,
        "title": data.title,
        "image": list(data.image),
        "classes": data.classes,
        "images": list(data.counts),
        "here": library.present(name),
        "folder": str(library.home(name)),
    }
