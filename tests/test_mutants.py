"""The mutation tool: its mutants are programs, planted holes survive and planted checks kill, the sample is seeded."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mutants.operators import mutants_of, mutated
from mutants.report import EQUIVALENT, Verdict, known_equivalents, lines, share_killed

ROOT = Path(__file__).parents[1]
SOURCE = '''
"""A docstring with 1 in it."""
LIMIT = 3


def clipped(x: int = 0, flags: "list[int]" = []) -> int:
    """At most LIMIT."""
    assert x >= 0, 7
    if x > LIMIT and not flags:
        raise ValueError(f"{x + 1} is above {LIMIT}")
    return min(x, LIMIT) + sum(f for f in flags if f)
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lop_theory" / "small.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    return path


def test_every_mutant_is_one_change_of_a_program(file, tmp_path):
    found = mutants_of(file, tmp_path)
    texts = [mutated(SOURCE, m.number) for m in found]
    plain = ast.unparse(ast.parse(SOURCE))
    assert all(text != plain for text in texts)
    assert len(set(texts)) == len(texts)
    changes = {(m.before, m.after) for m in found}
    assert {
        ("3", "4"),
        ("x > LIMIT", "x >= LIMIT"),
        ("x > LIMIT and (not flags)", "x > LIMIT or not flags"),
        ("x > LIMIT and (not flags)", "not flags"),
        ("not flags", "flags"),
        ("if x > LIMIT and (not flags)", "if False"),
        ("min", "max"),
        ("(f for f in flags if f)", "(f for f in flags)"),
        ("return min(x, LIMIT) + sum((f for f in flags if f))", "return None"),
    } <= changes
    assert {m.where for m in found if m.before == "min"} == {"clipped"}
    assert not any("7" in m.before or "x + 1" in m.before for m in found)  # assertions and messages are left alone


def test_every_file_of_a_package_has_mutants_that_compile():
    for file in (ROOT / "lop_theory/graph/cloning.py", ROOT / "lop_theory/activations/catalogue.py"):
        found = mutants_of(file, ROOT)
        assert len({m.key for m in found}) == len(found)
        for m in found[:: len(found) // 10]:
            compile(mutated(file.read_text(), m.number), m.file, "exec")


PROBE = """
import sys
from pathlib import Path
from mutants.operators import mutants_of
from mutants.server import Tree

root, folder = map(Path, sys.argv[1:])
tree = Tree(root, folder)
for m in mutants_of(root / "lop_theory/small.py", root):
    if (m.before, m.after) in (("x > 3", "x >= 3"), ("min", "max"), ("if x > 3", "if True"), ("while x", "if False")):
        print(m.before, "->", m.after, ":", tree.judge(m, ["tests/test_small.py"], 0.1))
"""


def test_a_hole_survives_and_a_check_kills(tmp_path):
    root = tmp_path / "project"
    for name, text in {
        "lop_theory/__init__.py": "",
        "lop_theory/small.py": """
            def clipped(x):
                if x > 3:
                    return 3
                return min(x, 3)
        """,
        "tests/test_small.py": """
            from lop_theory.small import clipped

            def test_clipped():
                assert [clipped(x) for x in (1, 3, 5)] == [1, 3, 3]
        """,
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\n',
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(text))
    command = [sys.executable, "-c", PROBE, str(root), str(tmp_path / "tree")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "if x > 3 -> if True : killed",
        "x > 3 -> x >= 3 : survived",
        "min -> max : killed",
    ]
    assert (tmp_path / "tree/lop_theory/small.py").read_text() == (root / "lop_theory/small.py").read_text()


def test_the_report_counts_what_is_alive(file, tmp_path):
    first, second, third, *_ = mutants_of(file, tmp_path)
    verdicts = [Verdict(first, "killed"), Verdict(second, "survived"), Verdict(third, "equivalent", "same sum")]
    assert share_killed(verdicts) == 0.5
    text = "\n".join(lines("p", verdicts, 99))
    assert "1 of 2 killed (50%), 1 survived, 1 equivalent; 3 sampled of 99  below 90%" in text
    assert f"survived: {second.file}:{second.line}" in text
    assert "(same sum)" in text


def test_known_equivalents_are_mutants_that_exist():
    for (file, where, before, after), reason in known_equivalents().items():
        assert any(m.key == (file, where, before, after) for m in mutants_of(ROOT / file, ROOT)), (file, before, after)
        assert len(reason) > 15
    assert EQUIVALENT.exists()
