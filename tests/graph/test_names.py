"""What a person reads: ids told apart, enclosures in decimals, progress, terminals without Unicode."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.balls import fmpq
from lop_theory.graph.names import enclosing, shown, told_apart
from lop_theory.graph.progress import silent, spoken
from lop_theory.graph.scalars import exact
from tests.graph.nets import spoken_text, two_units, write


def test_without_clones_there_is_nothing_to_stay_on(tmp_path, capsys):
    text = spoken_text(capsys, write(tmp_path, two_units("a", "b", (1, 3))))
    assert "nothing to stay on" in text
    assert "leave, decay" not in text
    assert "for every data set" in spoken_text(capsys, write(tmp_path, two_units("a", "b")))


def test_ids_that_look_alike_are_told_apart(tmp_path, capsys):
    text = spoken_text(capsys, write(tmp_path, two_units(1, "1")))
    assert '\n  1 "1"\n' in text
    assert 'pair   1 and "1"' in text
    assert [shown(name) for name in (7, "7", "a b", "l1.0", 'q"', "")] == ["7", '"7"', '"a b"', "l1.0", '"q\\""', '""']


def test_numbers_for_people():
    tiny = fmpq(-57, 2**59)
    assert enclosing(tiny, tiny) == "[-9.88793e-17, -9.88792e-17]"
    assert enclosing(fmpq(-5), fmpq(1, 4)) == "[-5, 1/4]"
    assert enclosing(float("-inf"), fmpq(10**6 + 1, 10**6)) == "[-inf, 1.000001]"
    assert told_apart([0.1 + 0.2, 0.3]) == ["0.30000000000000004", "0.299999999999999989"]
    assert told_apart([fmpq(2), fmpq(3), "tanh"]) == ["2", "3", "tanh"]
    assert told_apart([1, 1]) == ["1", "1"]


@given(st.fractions(), st.fractions(), st.integers(2, 12))
def test_enclosures_enclose(a, b, digits):
    low, high = sorted((fmpq(a.numerator, a.denominator), fmpq(b.numerator, b.denominator)))
    ends = enclosing(low, high, digits)[1:-1].split(", ")
    below, above = (exact([end])[0] for end in ends)
    assert below <= low
    assert high <= above
    for end, near in ((below, low), (above, high)):
        assert abs(end - near) <= abs(near) * fmpq(10) ** (2 - digits)


def test_ascii_terminals_get_escapes(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    file = write(tmp_path, two_units("ä", "ß"))
    for arguments in ([file], [file, "--json"]):
        command = [sys.executable, "-m", "lop_theory.graph", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["partition"][1] == ["ä", "ß"]


def test_steps_are_told_to_a_terminal_only(monkeypatch, capsys):
    from lop_theory.graph import progress

    with spoken() as say:
        assert say is silent
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with spoken() as say:
        say("counting")
    assert "counting" in capsys.readouterr().err
    monkeypatch.setattr(progress, "PATIENCE", 1e9)
    with spoken() as say:
        say("counting")
    assert capsys.readouterr().err == ""


def test_a_clock_that_is_wound_is_stopped_whatever_happens(monkeypatch):
    from lop_theory.graph import progress

    heard = []
    clock = type("Clock", (), {"daemon": False, "start": lambda _: heard.append("start"),
                               "cancel": lambda _: heard.append("cancel")})  # fmt: skip
    monkeypatch.setattr(progress, "Timer", lambda *_: clock())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with pytest.raises(ZeroDivisionError), spoken():
        raise ZeroDivisionError
    assert heard == ["start", "cancel"]


def test_long_fractions_are_printed():
    long = fmpq(10**5000 + 1, 3 * 10**5000)
    assert enclosing(long, long) == "[0.333333, 0.333334]"


def test_zeros_before_the_decimal_point_stay():
    number = fmpq(1234560) + fmpq(1, 3)
    assert enclosing(number, number, 6) == "[1234560, 1234561]"
    assert enclosing(fmpq(100, 1) + fmpq(1, 3), fmpq(200, 1) + fmpq(1, 3), 2) == "[100, 201]"


def test_numbers_that_no_decimals_tell_apart_are_printed_whole():
    near = fmpq(1) + fmpq(1, 10**130)
    assert told_apart([near, fmpq(1), "tanh"]) == [str(near), "1", "tanh"]
