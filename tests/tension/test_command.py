"""``python -m lop_theory.tension``: every line it prints is computed, and bad input is one line."""

import re
import subprocess
import sys

import pytest

from lop_theory.activations import activation
from lop_theory.balls import fmpq
from lop_theory.errors import InvalidInput
from lop_theory.hermite import expand
from lop_theory.tension import __main__ as command
from lop_theory.tension.__main__ import main
from lop_theory.tension.monotone import strength_at


def test_a_unit_prints_its_strength_and_its_frozen_probabilities(capsys):
    assert main(["--act", "tanh", "--scale", "3", "--bias", "1/2", "--epsilon", "0.1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    coefficient = expand(activation("tanh", scale="3", bias="1/2").expr, 2).coefficients[1]
    assert float(lines[1].split()[1].strip("[")) == pytest.approx(float(1 - coefficient * coefficient))
    assert [line.split(",")[0].strip() for line in lines[2:5]] == ["P(frozen)"] * 3
    assert lines[-1].startswith("  floor for monotone phi")


def test_the_table_has_a_row_for_every_nonlinear_activation_and_its_turns_are_turns(capsys, monkeypatch):
    monkeypatch.setattr(command, "CATALOGUE", ("identity", "relu", "gelu"))
    assert main([]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert set(rows) == {"relu", "gelu"}
    assert rows["relu"].count("monotone on the grid (not proved)") == 2  # 1-homogeneous in scale, decreasing in bias
    places = re.search(r"NOT monotone \(([^)]*)\)", rows["gelu"])
    assert places is not None
    turn = [tuple(map(float, place.split(": "))) for place in places[1].split(", ")]
    for scale, strength in turn:
        assert float(strength_at("gelu", fmpq(*scale.as_integer_ratio()), fmpq(0))) == pytest.approx(strength, abs=1e-4)
    (_, left), (_, middle), (_, right) = turn
    assert (middle - left) * (right - middle) < 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--act", "tahn"], "did you mean 'tanh'"),
        (["--act", "tanh", "--epsilon", "0"], "must be positive"),
        (["--act", "tanh", "--epsilon", "-1"], "must be positive"),
        (["--act", "tanh", "--scale", "wide"], "scale='wide'"),
        (["--scale", "2"], "scale='2': is of one activation; name it with --act"),
        (["--epsilon", "1/10"], "epsilon='1/10': is of one activation"),
    ],
)
def test_bad_input_is_named(arguments, named):
    with pytest.raises(InvalidInput, match=re.escape(named)):
        main(arguments)


def test_a_budget_holds():
    """At the limit the command says what it was at, with exit code 1."""
    call = [sys.executable, "-m", "lop_theory.tension", "--seconds", "0.2"]
    found = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (1, "")
    assert found.stdout.splitlines()[-1].endswith("the time is spent (--seconds)")
    found = subprocess.run([*call[:-1], "0"], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "must be positive" in found.stderr
