"""The mutation tool: its mutants are programs, planted holes survive and planted checks kill, the sample is seeded."""

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mutants.__main__ import main, sampled
from mutants.coverage_map import CoverageMap, function_lines
from mutants.operators import mutants_of, mutated
from mutants.patching import changes, ran_at_import
from mutants.report import Verdict, known_equivalents, lines, misplaced, share_killed
from mutants.server import Slate, _outcome

ROOT = Path(__file__).parents[1]
SOURCE = '''
"""A docstring with 1 in it."""
LIMIT = 3
if TYPE_CHECKING:
    LIMIT = 7


@lru_cache(maxsize=128)
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
    assert not any("TYPE_CHECKING" in m.before or m.before == "128" for m in found)
    assert not any("7" in m.before or "x + 1" in m.before for m in found)  # assertions and messages are left alone


def test_every_file_of_a_package_has_mutants_that_compile():
    for file in (ROOT / "lop_theory/graph/cloning.py", ROOT / "lop_theory/activations/catalogue.py"):
        found = mutants_of(file, ROOT)
        assert len({m.key for m in found}) == len(found)
        for m in found[:: len(found) // 10]:
            compile(mutated(file.read_text(), m.number), m.file, "exec")


@pytest.mark.parametrize(
    "words",
    [
        "nosuch",
        "graph --file nosuch.py",
        "--workers 0",
        "--sample 0",
        "--nonsense",
        "--seconds nan",
        "--seconds -1",
        "--minutes inf",
        "--minutes 0",
    ],
)
def test_a_wrong_argument_is_one_line_before_anything_is_copied(words, monkeypatch, capsys):
    monkeypatch.setattr("mutants.__main__.copy_project", lambda *_: pytest.fail("work was begun"))
    monkeypatch.setattr(sys, "argv", ["mutants", *words.split()])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


PROBE = """
import sys
from pathlib import Path
from mutants.coverage_map import coverage_map
from mutants.__main__ import main, sampled
from mutants.operators import mutants_of
from mutants.server import Request, Worker

if __name__ == "__main__":
    root, folder = map(Path, sys.argv[1:])
    reached = coverage_map(root, folder.parent, "lop_theory", ("tests",), 0)
    worker = Worker(root, folder, ("tests",), heavy=())
    for m in mutants_of(root / "lop_theory/small.py", root):
        tests = reached.reaching(m.file, m.line, m.last_line)
        verdict = worker.judge(Request(m, tests, reached.time_of(tests), reached.imported[m.file]))
        left_out = verdict.left_out if verdict.outcome == "survived" else ()
        print(m.before, "->", m.after, ":", verdict.outcome, len(tests), *left_out)
    worker.close()
"""
SMALL = """
    TABLE = {1: 3}

    def doubled(x):
        return 2 * x

    SIX = doubled(3)

    def clipped(x):
        if x > 3:
            return TABLE[1]
        return min(x, 3)

    def unused(x):
        return x + SIX

    def made(x):
        return x - 2
"""
SMALL_TESTS = """
    from pathlib import Path
    import pytest
    from lop_theory.small import SIX, clipped, made, unused

    def test_clipped():
        assert [clipped(x) for x in (1, 3, 5)] == [1, 3, 3]

    def test_six():
        assert SIX == 6

    @pytest.mark.parametrize("name", ["a|b"])
    def test_nothing(name):
        unused(1)

    @pytest.fixture(scope="module")
    def five():
        return made(7)

    def test_that_makes_it(five):
        assert five

    def test_that_looks_at_it(five):
        assert five == 5

    def test_what_is_missing_where_mutants_are_judged():
        assert clipped(7) == 3
        assert Path("data.txt").exists()
"""


def test_a_hole_survives_and_a_check_kills(tmp_path):
    """In functions by new code in the running process; in tables and in what importing runs, by importing anew."""
    root = tmp_path / "project"
    texts = {"lop_theory/__init__.py": "", "lop_theory/small.py": SMALL, "tests/test_small.py": SMALL_TESTS}
    texts |= {
        "data.txt": "",
        "tests/conftest.py": "",
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\n',
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(text))
    probe = tmp_path / "probe.py"
    probe.write_text(PROBE)
    command = [sys.executable, str(probe), str(root), str(tmp_path / "tree")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    # at import time (a table; what makes SIX) all six tests judge; in a function those that run the line. One needs a
    # file that is not copied: it fails at every mutant that it reaches, kills none of them, and is named
    missing = "tests/test_small.py::test_what_is_missing_where_mutants_are_judged"
    assert done.stdout.splitlines() == [
        "3 -> 4  # 2 : killed 6",
        "1 -> 2 : killed 6",
        "return 2 * x -> return None : killed 6",
        "2 * x -> 2 / x : killed 6",
        "2 -> 3 : killed 6",
        "3 -> 4 : killed 6",
        "if x > 3 -> if True : killed 2",
        f"if x > 3 -> if False : survived 2 {missing}",
        f"x > 3 -> x >= 3 : survived 2 {missing}",
        f"3 -> 4  # 2 : survived 2 {missing}",
        "return TABLE[1] -> return None : killed 2",
        "1 -> 2 : killed 2",
        "return min(x, 3) -> return None : killed 1",
        "3 -> 4 : survived 1",
        "min -> max : killed 1",
        "return x + SIX -> return None : survived 1",
        "x + SIX -> x - SIX : survived 1",
        "return x - 2 -> return None : killed 2",
        "x - 2 -> x + 2 : killed 2",  # by the second test of a fixture that the first one made
        "2 -> 3 : killed 2",
    ]
    assert (tmp_path / "tree/lop_theory/small.py").read_text() == (root / "lop_theory/small.py").read_text()


def test_what_runs_out_of_time_is_said_to():
    def spins() -> int:
        while True:
            pass

    slate = Slate()
    assert _outcome(spins, 0.0, slate) == "killed (hung)"
    assert _outcome(lambda: 0, 9.0, slate) == "survived"
    assert _outcome(lambda: 1, 9.0, slate) == "killed"
    assert _outcome(lambda: 1 // 0, 9.0, slate) == "killed"


def test_a_slate_tells_what_a_process_did_before_it_died():
    slate = Slate()

    def dies() -> int:
        slate.wipe(anew=True)
        slate.pytest_runtest_logstart("tests/a.py::test_b")
        os._exit(3)

    assert _outcome(dies, 9.0, slate) == "killed"
    assert slate.read() == (True, "tests/a.py::test_b", "")


def test_only_what_importing_does_not_see_is_patched():
    text = textwrap.dedent(SMALL) + "\n\nclass A:\n    def f(self, y=1):\n        return lambda: y + 7\n"
    found = {(m.before, m.after): changes(text, m.number, Path("a.py")) for m in _mutants(text)}
    assert found["1", "2"] is None  # the table, and A.f's default value
    (changed,) = found["7", "8"]
    assert (changed.before.co_qualname, changed.before.co_flags) == ("A.f", changed.after.co_flags)
    assert not ran_at_import(changed, set())
    assert ran_at_import(changed, {changed.before.co_firstlineno + 1})


def test_all_tests_judge_what_importing_runs_those_of_the_line_first():
    """Whichever test imports first, any may see a changed table, default or decorator."""
    assert function_lines(SOURCE) == {10, 11, 12, 13, 14}
    tests = {"small.py": {"3": ["first"], "6": ["first"], "8": ["third"], "9": ["third", "second"]}}
    seconds = {"other": 0.1, "third": 0.3, "second": 0.2, "first": 0.4}
    reached = CoverageMap(seconds, ["command"], tests, {"small.py": [2, 3, 6]})
    assert reached.reaching("small.py", 3, 3) == ["first", "second", "third", "other"]
    assert reached.reaching("small.py", 8, 9) == ["second", "third"]
    assert CoverageMap(seconds | {"command": 1.0}, ["command"], tests, {}).reaching("small.py", 20, 20) == ["command"]


def test_a_sum_with_a_symmetric_ball_is_no_difference():
    before = {m.before for m in _mutants("def f(a, r):\n    return a + within(r) - within(a) + (a + r)\n")}
    assert "a + r" in before
    assert "a + within(r)" not in before


def test_a_sample_keeps_what_did_not_change():
    found = _mutants(SOURCE)
    first = sampled(found, 6, 0)
    assert first == sampled(found[::-1], 6, 0) != sampled(found, 6, 1)
    left = [m for m in found if m not in first[:2]]
    assert sampled(left, 4, 0) == first[2:]


def _mutants(text):
    with TemporaryDirectory() as folder:
        file = Path(folder, "a.py")
        file.write_text(text)
        return mutants_of(file, Path(folder))


def test_the_report_counts_what_is_alive(file, tmp_path):
    first, second, third, *_ = mutants_of(file, tmp_path)
    verdicts = [Verdict(first, "killed"), Verdict(second, "survived"), Verdict(third, "equivalent", "same sum")]
    assert share_killed(verdicts) == 0.5
    assert share_killed([Verdict(first, "not judged")]) == 0
    text = "\n".join(lines("p", verdicts, 99))
    assert "1 of 2 killed (50%), 1 survived, 1 equivalent; 3 sampled of 99  below 90%" in text
    assert f"survived: {second.file}:{second.line}" in text
    assert "(same sum)" in text
    assert "1 not judged for want of time" in lines("p", [*verdicts, Verdict(third, "not judged")], 99)[0]


def test_known_equivalents_are_mutants_that_exist():
    assert misplaced(ROOT) == []
    assert all(len(reason) > 15 for reason in known_equivalents().values())


def test_what_is_no_equivalent_any_more_is_named(tmp_path):
    (tmp_path / "f.py").write_text("def f(x):\n    y = x + 2\n    return y if y > 2 else -y\n")
    entry = '[[equivalent]]\nfile = "{}"\nwhere = "f"\nchanges = [{}]\nreason = "planted"\n'.format
    planted = {
        entry("f.py", '["2", "3", "if y > 2"], ["2", "3  # 2", "x + 2"], ["y > 2", "y >= 2"], ["-y", "y", "-y"]'): None,
        entry("f.py", '["y > 3", "y >= 3"]'): "no mutant",
        entry("g.py", '["y > 2", "y >= 2"]'): "no mutant",
        entry("f.py", '["2", "3", "x + 2"]'): "another line: return y if y > 2",
        entry("f.py", '["2", "3  # 2"]'): "say a part of its line, y = x + 2",
        entry("f.py", '["-y", "y"]'): "say a part of its line, return y",
        entry("f.py", '["y > 2", "y >= 2"]') * 2: "listed twice",
    }
    for text, wrong in planted.items():
        (tmp_path / "list.toml").write_text(text)
        found = misplaced(tmp_path, tmp_path / "list.toml")
        assert (wrong is None and not found) or all(wrong in said for said in found), text
        assert len(found) == (0 if wrong is None else text.count("[[equivalent]]"))


def test_nothing_is_judged_by_a_list_that_is_out_of_date(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mutants", "gap"])
    monkeypatch.setattr("mutants.__main__.misplaced", lambda _: ["list.toml: f.py f: 2  ->  3 is no mutant"])
    monkeypatch.setattr("mutants.__main__.copy_project", lambda *_: pytest.fail("copied"))
    assert main() == 2
    assert capsys.readouterr().err == "list.toml: f.py f: 2  ->  3 is no mutant\n"
