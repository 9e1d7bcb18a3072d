"""The time budget holds inside C calls, and says what is known."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lop_theory import budget

ROOT = Path(__file__).parent.parent


def script(body: str, *, stop: bool = False) -> subprocess.CompletedProcess[str]:
    """A process that runs ``body`` as the work of a supervised command."""
    text = f"import os, sys, time\nfrom lop_theory.budget import *\ndef work():\n{body}\nsys.exit(supervised(work))\n"
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=ROOT, check=False)
    assert stop or found.stderr == ""
    return found


def test_the_exit_code_is_the_works():
    assert script("    return 7").returncode == 7


def test_a_c_call_is_interrupted():
    """A power with millions of digits runs inside one C call."""
    found = script("    announce(0.5)\n    note('half way')\n    return len(str(7 ** 10 ** 9))")
    assert (found.returncode, found.stdout) == (1, "half way\n")


def test_without_a_note_it_says_that_the_time_is_spent():
    found = script("    announce(0.2)\n    time.sleep(60)\n    return 0")
    assert found.returncode == 1
    assert "the time is spent" in found.stdout


def test_a_work_that_is_killed_is_not_a_success():
    assert script("    os.kill(os.getpid(), 9)").returncode != 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_notes_outside_a_supervised_child_go_nowhere(capfd):
    budget.announce(1)
    budget.note("nothing")
    assert capfd.readouterr() == ("", "")


def test_the_gap_command_says_what_it_knows():
    """The time is spent while kappa is computed, on a machine of any speed."""
    code = (
        "import sys, time\n"
        "from lop_theory.budget import announce\n"
        "from lop_theory.cli import run\n"
        "from lop_theory.gap import __main__, analysis\n"
        "analysis.sharp_constant = lambda kern: (announce(0.1), time.sleep(60))\n"
        "run(lambda: __main__.main(['--act', 'gelu', '--json', '--seconds', '300']), budget=True)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    row = json.loads(found.stdout)
    assert found.returncode == 1
    assert row["finished"] is False
    assert row["certified"] is True
    assert row["lambda"]["lower"].startswith("0.2767")
    assert "k_minus_one" in row
    assert "kappa" not in row
