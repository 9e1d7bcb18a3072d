"""The floor plan: no import circle, every package says what it is about, and no function hides its module."""

import ast
import importlib
import pkgutil
from pathlib import Path

import grimp
import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("lop_theory", "empirical", "paper_figs")
ROOMS = [
    *(f"lop_theory.{name}" for name in ("activations", "hermite", "gap", "tension", "verify", "report.page", "watch")),
    *(
        f"empirical.{name}"
        for name in ("bitflip", "cloning", "continual", "escape", "persistence", "remedies", "sweep")
    ),
    *(f"empirical.{name}" for name in ("streams", "training", "runs", "theory", "data")),
]


@pytest.fixture(scope="module")
def arrows() -> nx.DiGraph:
    """The real import graph, imports inside functions included."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    return nx.DiGraph((a, b) for a in graph.modules for b in graph.find_modules_directly_imported_by(a))


def circles(arrows: nx.DiGraph) -> list[set[str]]:
    return [found for found in nx.strongly_connected_components(arrows) if len(found) > 1]


def test_no_import_circle(arrows):
    assert arrows.number_of_edges() > 500
    assert circles(arrows) == []


def test_a_planted_circle_is_found(arrows):
    planted = arrows.copy()
    planted.add_edge("lop_theory.gap.quartic_bound", "lop_theory.gap.plot")
    assert {"lop_theory.gap.quartic_bound", "lop_theory.gap.plot"} in circles(planted)


@pytest.mark.parametrize("name", ROOMS)
def test_public_names_come_from_their_package(name):
    package = importlib.import_module(name)
    assert all(callable(getattr(package, public)) or public.isupper() for public in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


@pytest.mark.parametrize("name", ROOMS)
def test_a_package_says_what_it_is_about(name):
    doc = importlib.import_module(name).__doc__ or ""
    files = {module.name for module in pkgutil.iter_modules([str(ROOT / name.replace(".", "/"))])} - {"__main__"}
    unnamed = {file for file in files if file not in doc}
    assert unnamed == set(), "the reading order leaves them out"


def hiding(path: Path) -> list[str]:
    """Functions and classes that bear the name of their file: imported from the package, they hide the module."""
    return [n.name for n in ast.parse(path.read_text()).body if getattr(n, "name", None) == path.stem]


def test_no_function_bears_its_files_name():
    files = sorted(file for package in ("lop_theory", "empirical") for file in (ROOT / package).rglob("*.py"))
    assert len(files) > 200
    assert {str(file.relative_to(ROOT)): hiding(file) for file in files if hiding(file)} == {}


def test_a_function_that_bears_its_files_name_is_found(tmp_path):
    (tmp_path / "kernel.py").write_text("def kernel(): ...\n")
    assert hiding(tmp_path / "kernel.py") == ["kernel"]
