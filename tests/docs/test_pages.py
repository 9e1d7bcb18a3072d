"""The documentation's sources are complete: packages, metrics, links, commands. ``make docs`` builds and runs them."""

import ast
import importlib
import re
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "extensions"))

import api_pages  # noqa: E402
from docstrings import as_rst  # noqa: E402

TUTORIALS = sorted((DOCS / "tutorials").glob("*.py"))
SOURCES = [*sorted(DOCS.glob("*.md")), *TUTORIALS]
MADE = {"generated/tutorials/index", "generated/commands.md", "generated/commands"}


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# ---- API ----


def packages() -> set[str]:
    """Every package of the library and the experiments, by its folder."""
    folders = [file.parent for top in ("lop_theory", "empirical") for file in (ROOT / top).rglob("__init__.py")]
    return {".".join(folder.relative_to(ROOT).parts) for folder in folders} - {"empirical"}


def test_every_package_has_a_page():
    assert set(api_pages.packages()) == packages()
    assert len(api_pages.packages()) == len(packages())


@pytest.mark.parametrize("name", api_pages.packages())
def test_a_page_has_every_file_and_every_exported_name(name):
    package = importlib.import_module(name)
    page = api_pages.page(package)
    described = set(re.findall(r"^\.\. auto(?:function|class|data):: (\S+)$", page, re.MULTILINE))
    modules = re.findall(r"^\.\. automodule:: (\S+)$", page, re.MULTILINE)
    files = {f"{name}.{file.stem}" for file in (ROOT / name.replace(".", "/")).glob("*.py")}
    assert set(modules) == {name, *files} - {f"{name}.__init__", f"{name}.__main__"}
    assert described >= set(getattr(package, "__all__", ()))


def test_a_docstring_keeps_its_signs_and_its_formulas():
    rst = as_rst(
        ["With |ρ| ≤ 1 and a*b, ``a|b`` as it is:", "", "    K(ρ) = Σ a_k² ρ^k", "", "- one", "  two", "- three"]
    )
    assert rst[0] == r"With \|ρ\| ≤ 1 and a\*b, ``a|b`` as it is:"
    assert rst[2:5] == ["::", "", "        K(ρ) = Σ a_k² ρ^k"]
    assert [line for line in rst[5:] if line] == ["- one two", "- three"]


# ---- metrics ----


def entries(dictionary: str) -> set[str]:
    return set(re.findall(r"^### `(\w+)`$", dictionary, re.MULTILINE))


def missing(exported: set[str]) -> set[str]:
    return exported - entries(text_of(DOCS / "metrics.md"))


def test_every_metric_is_in_the_dictionary():
    pytest.importorskip("torch")
    metrics = importlib.import_module("lop_theory.metrics")
    fields = set(metrics.LayerMetrics._fields) - {"units", "batch"}  # sizes, named under LayerMetrics
    assert missing({*metrics.__all__, *fields} - {"cosines", "duplicates"}) == set()
    assert all(f"`{name}`" in text_of(DOCS / "metrics.md") for name in ("cosines", "duplicates", "units", "batch"))


def test_a_metric_without_an_entry_is_found():
    assert missing({"dead", "curvature"}) == {"curvature"}


# ---- links and commands ----


def links(path: Path) -> list[str]:
    """Targets in this repository of Markdown links, toctrees and ``:doc:``."""
    text = text_of(path)
    found = re.findall(r"\]\((?!https?:|#)([^)\s#]+)[^)]*\)", text) if path.suffix == ".md" else []
    for tree in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL):
        found += re.findall(r"^(?:.*<)?([\w./]+)>?$", tree, re.MULTILINE)
    return [*found, *(target.lstrip("/") for target in re.findall(r":doc:`[^<`]*<([^>]+)>`", text))]


def resolves(target: str) -> bool:
    made = target.removeprefix("generated/")
    if made != target:
        kind, _, name = made.removesuffix(".md").partition("/")
        tutorial = kind == "tutorials" and (DOCS / "tutorials" / f"{name}.py").is_file()
        return target in MADE or tutorial or (kind == "api" and name in api_pages.packages())
    return any((DOCS / f"{target}{end}").is_file() for end in ("", ".md"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_internal_links_exist(path):
    assert [target for target in links(path) if not resolves(target)] == []


def test_links_are_found_and_a_wrong_one_does_not_resolve():
    assert "metrics.md" in links(DOCS / "index.md")
    assert "generated/api/lop_theory.gap" in links(DOCS / "api.md")
    assert "metrics" in links(DOCS / "tutorials" / "own_training.py")
    assert not any(map(resolves, ("metric.md", "generated/tutorials/nothing", "generated/api/lop_theory.nothing")))


def test_every_tutorial_has_its_place():
    assert sorted(api_pages._TUTORIALS) == [path.stem for path in TUTORIALS]
    assert all("assert" in {type(n).__name__.lower() for n in ast.walk(ast.parse(text_of(p)))} for p in TUTORIALS)


def commands() -> list[tuple[str, str]]:
    """(module, arguments) of every ``python -m`` in the sources."""
    found = [m for path in SOURCES for m in re.findall(r"python -m ([\w.]+)([^`#\n]*)", text_of(path))]
    return sorted({(module, arguments.strip()) for module, arguments in found})


@pytest.mark.parametrize(("module", "arguments"), commands())
def test_a_command_exists_with_its_options(module, arguments, capsys):
    words = arguments.split()
    head = [w for w in words[:1] if not w.startswith("-") and module in ("lop_theory", "empirical")]
    if module == "empirical":
        pytest.importorskip("tyro")
    main = importlib.import_module(f"{module}.__main__").main
    with pytest.raises(SystemExit) if module != "lop_theory" or head else nullcontext() as left:
        main([*head, "--help"])
    shown = capsys.readouterr().out
    assert left is None or left.value.code in (0, None)
    assert [w for w in words if w.startswith("--") and w not in shown] == []


def test_make_targets_exist():
    named = {t for path in SOURCES for t in re.findall(r"`make ([a-z]+)`", text_of(path))}
    targets = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    assert named <= targets
    assert "docs" in targets
