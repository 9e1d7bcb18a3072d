"""The API pages: one a package, written from the packages before Sphinx reads its sources.

``api.md`` lists the packages and their order. A page has the package's docstring, then its files in the order in which
that docstring names them, each with the names that the package exports from it (of a package that exports nothing: with
the file's own public names).
"""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from docstrings import as_rst

HERE = Path(__file__).parents[1]
_TUTORIALS = ("own_activation", "own_model", "own_training", "metrics_by_formula", "figure", "claim")


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", lambda app: write(Path(app.srcdir)))
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def tutorial_order(file: str) -> int:
    """The place of a tutorial in the gallery."""
    return _TUTORIALS.index(Path(file).stem)


def packages(source: Path = HERE) -> list[str]:
    """The packages that have a page, in the order of ``api.md``."""
    return re.findall(r"^generated/api/(\S+)$", (source / "api.md").read_text(encoding="utf-8"), re.MULTILINE)


def write(source: Path) -> None:
    """All pages; those that did not change keep their time, so that Sphinx does not read them again."""
    folder = source / "generated" / "api"
    folder.mkdir(parents=True, exist_ok=True)
    for stale in {path.stem for path in folder.glob("*.rst")} - set(packages(source)):
        (folder / f"{stale}.rst").unlink()
    for name in packages(source):
        path, text = folder / f"{name}.rst", page(importlib.import_module(name))
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def page(package: ModuleType) -> str:
    """The page of one package, as reStructuredText."""
    exported = getattr(package, "__all__", None)
    parts = [_title(package.__name__, "="), f".. automodule:: {package.__name__}", "   :no-members:", ""]
    for file in files(package):
        module = importlib.import_module(f"{package.__name__}.{file}")
        parts += [_title(file, "-"), f".. automodule:: {module.__name__}", "   :no-members:"]
        parts += ["   :no-index:", ""] if file in (exported or ()) else [""]
        place, names = (module.__name__, public(module)) if exported is None else (package.__name__, exported)
        mine = [name for name in names if exported is None or _home(package, name) == file]
        parts += [f".. currentmodule:: {place}", ""]
        parts += [
            line for name in mine for line in (_directive(getattr(importlib.import_module(place), name), name), "")
        ]
    return "\n".join(parts) + "\n"


def files(package: ModuleType) -> list[str]:
    """The package's files, as its docstring names them; then the others by name."""
    doc = package.__doc__ or ""
    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.ispkg and m.name != "__main__")

    def place(name: str) -> tuple[int, str]:
        found = re.search(rf"\b{name}\b", doc)
        return (found.start() if found else len(doc), name)

    return sorted(names, key=place)


def public(module: ModuleType) -> list[str]:
    """Functions and classes that the file defines, without those that begin with an underscore."""
    body = ast.parse(inspect.getsource(module)).body
    return [n.name for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and not n.name.startswith("_")]


def _home(package: ModuleType, name: str) -> str:
    """The file that an exported name comes from."""
    found = getattr(package, name)
    if callable(found) and str(getattr(found, "__module__", "")).startswith(f"{package.__name__}."):
        return found.__module__.removeprefix(f"{package.__name__}.")
    for file in files(package):
        if name in _assigned(importlib.import_module(f"{package.__name__}.{file}")):
            return file
    raise LookupError(f"{package.__name__}.{name} is defined in none of its files")


def _assigned(module: ModuleType) -> set[str]:
    targets = [
        target
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _directive(found: Any, name: str) -> str:
    if inspect.isclass(found):
        return f".. autoclass:: {name}\n   :members:"
    return f".. autofunction:: {name}" if inspect.isroutine(found) else f".. autodata:: {name}\n   :no-value:"


def _title(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:  # noqa: ARG001
    lines[:] = as_rst(lines)


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:  # noqa: ARG001
    """Fields of a NamedTuple stand in its signature."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None
