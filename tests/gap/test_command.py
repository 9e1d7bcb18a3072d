"""The command as a user types it: exit codes, text, files; a few in processes of their own, the others in this one."""

import io
import json
import math
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from decimal import Decimal
from pathlib import Path

import pytest

from lop_theory.activations.catalogue import CATALOGUE
from lop_theory.cli import _guarded
from lop_theory.gap.__main__ import main
from lop_theory.gap.certificate import digest

ROOT = Path(__file__).parents[2]


def command(module: str, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        check=False,
    )


def gap(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, but for starting Python."""
    out, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors):
        try:
            code = _guarded(lambda: main(list(arguments)))
        except SystemExit as stopped:
            code = stopped.code
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command with a budget that a loaded machine keeps too."""
    return command("lop_theory.gap", "--seconds", "600", *arguments)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--act", "relu"], 0),
        (["--formula", "x + sin(x)/100000000000"], 1),
        (["--act", "tahn"], 2),
        (["--nonsense"], 2),
    ],
)
def test_a_process_says_the_same(arguments, code):
    one, other = process(*arguments), gap(*arguments)
    assert one.returncode == other.returncode == code
    assert one.stderr == other.stderr
    without_times = lambda text: [line.rpartition(", ")[0] or line for line in text.splitlines()]  # noqa: E731
    assert without_times(one.stdout) == without_times(other.stdout)


def test_table_of_one_activation():
    found = gap("--act", "tanh", "--coefficients")
    assert found.returncode == 0
    assert "certified     yes" in found.stdout
    assert "0.069530076384705" in found.stdout
    coefficients = [line.split()[0] for line in found.stdout.splitlines() if line.startswith("  a_")]
    assert coefficients == [f"a_{k}" for k in range(1, 20)]
    assert "a_1 " not in gap("--act", "tanh").stdout


def test_the_table_of_the_catalogue(monkeypatch):
    monkeypatch.setattr("lop_theory.gap.__main__.CATALOGUE", {"relu": None, "tanh": None, "identity": None})
    lines = gap("--all").stdout.splitlines()
    assert lines[0].split() == "activation lambda c = a1^2 kappa where K(-1) kappa-lambda certified ms".split()
    cells = [line.split() for line in lines[1:]]
    assert [row[0] for row in cells] == ["relu", "tanh", "identity"]
    assert cells[0][1:-1] == ["0.2665288965378701", "0.733471103", "0.355306965635053", "rho", "=", "0.68466145",
                              "-0.466942", "0.08878", "yes"]  # fmt: skip
    assert float(cells[1][1]) == pytest.approx(0.069530076384705, abs=1e-15)
    assert float(cells[1][3]) == pytest.approx(float(cells[1][1]) * (1 + float(cells[1][2])), abs=1e-10)
    assert [cells[1][2], *cells[1][4:-1]] == ["0.930469924", "rho", "->", "0", "-1.00000", "0.06470", "yes"]
    assert cells[2][1:-1] == ["0", "1.00000000", "0", "everywhere", "-1.00000", "0", "yes"]


def test_json_of_the_whole_catalogue():
    found = gap("--all", "--json")
    assert found.returncode == 0
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert [row["activation"].split("(")[0] for row in rows] == list(CATALOGUE)
    for row in rows:
        assert row["certified"] is True
        for key in ("a1_squared", "lambda", "kappa"):
            assert Decimal(row[key]["lower"]) <= Decimal(row[key]["upper"])
            assert Decimal(row[key]["upper"]) - Decimal(row[key]["lower"]) < Decimal("1e-9")
        assert Decimal(row["lambda"]["lower"]) <= 1 - Decimal(row["a1_squared"]["lower"])
        assert {"kappa_at", "digits", "seconds"} <= set(row)
        assert row["digits"] == 15


@pytest.mark.parametrize("digits", ["30", "100"])
def test_digits(digits):
    row = json.loads(gap("--act", "relu", "--json", "--digits", digits).stdout)
    width = Decimal(row["lambda"]["upper"]) - Decimal(row["lambda"]["lower"])
    assert width <= Decimal(10) ** -int(digits)
    assert row["lambda"]["lower"].startswith("0.26652889653787007000830259338316")


def test_formula_equals_catalogue():
    formula = json.loads(gap("--formula", "x*tanh(log(1+exp(x)))", "--json").stdout)
    named = json.loads(gap("--act", "mish", "--json").stdout)
    assert Decimal(formula["lambda"]["lower"]) <= Decimal(named["lambda"]["upper"])
    assert Decimal(named["lambda"]["lower"]) <= Decimal(formula["lambda"]["upper"])


def test_parameters_scale_and_bias():
    assert "slope=1/10" in gap("--act", "leaky_relu", "--param", "slope=0.1").stdout
    assert "0.2156653616369" in gap("--act", "tanh", "--scale", "3").stdout


def test_exact_closed_form():
    assert "(-2 + pi)/(2*(-1 + pi))" in gap("--act", "relu", "--exact").stdout


def test_certificate_round_trip(tmp_path):
    path = tmp_path / "out.json"
    assert gap("--act", "silu", "--certificate", str(path)).returncode == 0
    held = gap("--check", str(path))
    assert held.returncode == 0
    text = path.read_text()
    low, high = json.loads(text)["lambda"]
    assert held.stdout.splitlines() == [
        "certificate holds: certified by balls, rechecked in exact rationals and by Taylor expansion",
        f"  silu(beta=1)    lambda in [{low}, {high}]",
    ]
    assert text.endswith("}\n")
    path.write_text(text.replace("0.2014904582902263", "0.2014904582902264"))
    altered = gap("--check", str(path))
    assert altered.returncode == 2
    assert "sha256" in altered.stderr
    data = json.loads(text)
    data["slack"][0] = data["slack"][1]
    payload = {k: v for k, v in data.items() if k != "sha256"}
    path.write_text(json.dumps(payload | {"sha256": digest(payload)}))
    forged = gap("--check", str(path))
    assert forged.returncode == 1
    assert forged.stdout == "CERTIFICATE FAILS: slack[0]\n"
    path.write_text(text[: len(text) // 2])
    truncated = gap("--check", str(path))
    assert truncated.returncode == 2
    assert "truncated" in truncated.stderr


def test_one_that_is_not_certified_counts_wherever_it_stands(monkeypatch):
    monkeypatch.setattr("lop_theory.gap.__main__.CATALOGUE", {"identity": None, "tanh": None})
    assert gap("--all", "--formula", "x + sin(x)/100000000000").returncode == 1
    found = gap("--all", "--card")
    assert found.returncode == 0
    assert found.stdout.startswith("identity    15 digits")
    assert "\ntanh    15 digits" in found.stdout


def test_closed_forms_stand_in_the_json_where_they_are_asked_for():
    row = json.loads(gap("--act", "relu", "--exact", "--json").stdout)
    assert row["lambda_exact"] == "(-2 + pi)/(2*(-1 + pi))"
    assert "lambda_exact" not in json.loads(gap("--act", "relu", "--json").stdout)
    assert "lambda exact" not in gap("--act", "relu").stdout


def test_printed_coefficients_are_those_of_relu():
    """a_1 = 1/2, a_k = he_{k−2}(0)w(0)/√(k(k − 1)) over the deviation √(1/2 − 1/(2π))."""
    lines = [line for line in gap("--act", "relu", "--coefficients").stdout.splitlines() if line.startswith("  a_")]
    deviation, at_zero = math.sqrt(0.5 - 0.5 / math.pi), [1.0, 0.0]
    for k in range(2, 20):
        at_zero.append(-math.sqrt((k - 1) / k) * at_zero[k - 2])
    right = [0.5] + [at_zero[k - 2] / math.sqrt(2 * math.pi * k * (k - 1)) for k in range(2, 20)]
    for line, value in zip(lines, right, strict=True):
        low, high = map(float, line[16:].strip("[] ").split(", "))
        assert [low, high] == pytest.approx([value / deviation] * 2, abs=2e-15)


def test_the_certificate_is_written_beside_both_coq_files(tmp_path):
    names = ("c.json", "both.v", "one.v", "picture.PNG")
    files = [str(tmp_path / name) for name in names]
    outputs = zip(("--certificate", "--coq", "--coq-certificate", "--plot"), files, strict=True)
    assert gap("--act", "tanh", "--digits", "6", *[word for pair in outputs for word in pair]).returncode == 0
    both, one = ((tmp_path / name).read_text() for name in names[1:3])
    assert both.startswith(one)
    assert "strength_between" in both[len(one) :]
    assert "strength_between" not in one
    assert json.loads((tmp_path / "c.json").read_text())["digits"] == 6
    assert (tmp_path / "picture.PNG").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_plot(tmp_path, kind):
    path = tmp_path / f"gap.{kind}"
    assert gap("--act", "gelu", "--plot", str(path)).returncode == 0
    start = path.read_bytes()[:5]
    assert start.startswith({"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[kind])


def test_a_full_disk_is_one_line():
    found = subprocess.run(
        f"{sys.executable} -m lop_theory.gap --act tanh > /dev/full",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert "No space left" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--act", "tanh", "--scale", "-1e-3"], "scale=-1/1000"),
        (["--act", "tanh", "--bias", "-1/2"], "bias=-1/2"),
        (["--act", "leaky_relu", "--param", "slope=-.5"], "slope=-1/2"),
    ],
)
def test_negative_numbers_are_values_not_options(arguments, word):
    assert word in gap(*arguments).stdout


def test_a_formula_may_begin_with_a_minus():
    found = json.loads(gap("--formula", "-x + x**2/3", "--json").stdout)
    assert found["activation"] == "-x + x**2/3"
    assert gap("--formula", "-x").returncode == 0


def test_enclosures_stay_in_their_range():
    row = json.loads(gap("--formula", "x + sin(x)/100000000000", "--json").stdout)
    assert Decimal(row["lambda"]["lower"]) >= 0
    assert Decimal(row["a1_squared"]["upper"]) <= 1


@pytest.mark.parametrize("label", [["tanh", "--bias", "100"], ["silu", "--scale", "1/3", "--bias", "-2"]])
def test_certificates_of_modulated_activations_hold(tmp_path, label):
    path = str(tmp_path / "c.json")
    assert gap("--act", *label, "--certificate", path, "--seconds", "300").returncode == 0
    found = gap("--check", path, "--seconds", "300")
    assert found.returncode == 0
    assert "bias=" in found.stdout


def test_undecided_exits_with_one():
    assert gap("--formula", "x + sin(x)/100000000000").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--act", "tahn"], ["tahn", "did you mean 'tanh'"]),
        (["--act", "relu", "--param", "slope=1"], ["slope", "not a parameter"]),
        (["--act", "relu", "--param", "slope"], ["NAME=NUMBER"]),
        (["--act", "leaky_relu", "--param", "slope=.1", "--param", "slope=.2"], ["slope", "twice"]),
        (["--act", "tanh", "--plot", "/tmp/x.png", "--certificate", "/tmp/x.png"], ["plot", "two files"]),
        (["--act", "tanh", "--coq", "/tmp/x.v", "--certificate", "/tmp/x.v"], ["coq", "two files"]),
        (["--all", "--coq", "/tmp/x.v"], ["coq", "one activation"]),
        (["--act", "tanh", "--seconds", "-1"], ["seconds", "positive"]),
        (["--formula", "relu(x-1e400)"], ["constant"]),
        (["--formula", "sin(1e300*x)"], ["panels"]),
        (["--check", "/dev/zero"], ["check", "regular file"]),
        (["--formula", "x +"], ["column"]),
        (["--formula", "x.real"], ["Attribute"]),
        (["--formula", "__import__('os').system('true')"], ["unknown function"]),
        (["--formula", "2"], ["constant"]),
        (["--formula", "exp(x**2)"], ["square-integrable"]),
        (["--formula", "log(x)"], ["undefined"]),
        (["--formula", "1/x"], ["undefined"]),
        (["--formula", "(" * 500 + "x" + ")" * 500], ["parentheses"]),
        (["--formula", "x" * 10_000], ["characters"]),
        (["--formula", "(((9**64)**64)**64)"], ["bits"]),
        (["--act", "tanh", "--scale", "inf"], ["scale"]),
        (["--act", "tanh", "--bias", "nan"], ["bias"]),
        (["--act", "tanh", "--digits", "0"], ["digits", "300"]),
        (["--act", "tanh", "--digits", "x"], ["digits"]),
        (["--act", "tanh", "--certificate", "/no/such/folder/c.json"], ["certificate", "folder"]),
        (["--act", "tanh", "--plot", "/tmp"], ["plot", "directory"]),
        (["--act", "tanh", "--plot", "/tmp/x.gif"], ["plot", ".png"]),
        (["--all", "--certificate", "/tmp/c.json"], ["certificate", "one activation"]),
        (["--check", "/no/such/file"], ["check", "cannot be read"]),
        (["--check", "README.md"], ["check", "JSON"]),
        ([], ["nothing to do"]),
        (["--nonsense"], ["--nonsense"]),
        (["--act", "tanh", "--exact"], ["exact", "closed form"]),
        (["--act", "tanh", "--check", "x.json"], ["check", "alone"]),
        (["--formula", "x**2", "--check", "x.json"], ["check", "alone"]),
        (["--all", "--check", "x.json"], ["check", "alone"]),
        (["--formula", "a*x", "--param", "a=1"], ["param", "not with --formula"]),
        (["--all", "--param", "slope=1"], ["param", "not with --all"]),
        (["--act", "relu", "--act", "tanh", "--plot", "/tmp/x.png"], ["plot", "one activation"]),
        (["--act", "tanh", "--coq", "/tmp/x.v", "--coq-certificate", "/tmp/../tmp/x.v"], ["coq_certificate", "--coq"]),
        (["--act", "tanh", "--scale", "1e"], ["scale", "finite number"]),
        (["--act", "tanh", "--certificate", "/dev/null"], ["certificate", "regular file"]),
        (["--act", "tanh", "--certificate", "/tmp/" + "a" * 300], ["certificate", "cannot be used"]),
        (["--act", "sin", "--scale", "1e12"], ["panels"]),
        (["--formula", "((x**64)**64)**64"], ["power of x"]),
        (["--formula", "log(-1)*x"], ["undefined"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(arguments, words):
    found = gap(*arguments)
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.count("\n") == 1
    assert found.stderr.startswith("error:")
    assert all(word in found.stderr for word in words), found.stderr


def test_other_commands():
    assert "gap" in command("lop_theory").stdout
    assert "P(frozen), standardised" in command("lop_theory.tension", "--act", "tanh", "--scale", "3").stdout
    assert command("lop_theory.tension", "--act", "tahn").returncode == 2


def test_import_is_lazy():
    """Start-up loads none of the heavy packages."""
    code = (
        "import sys, lop_theory.gap.__main__; "
        "print([m for m in ('numpy', 'scipy', 'sympy', 'torch', 'mpmath', 'matplotlib') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.claim("tension-relu-bias")
@pytest.mark.claim("tension-tanh-gain")
def test_figure_a2_is_deterministic(tmp_path):
    for folder in ("one", "two"):
        assert command("paper_figs", "A.2", "--out", str(tmp_path / folder)).returncode == 0
    for kind in ("png", "pdf", "txt"):
        one, two = (tmp_path / folder / f"figure_A.2.{kind}" for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    assert command("paper_figs", "Z.9").returncode == 2
    assert command("paper_figs").returncode == 2


@pytest.mark.parametrize("digits", ["3", "15", "40"])
def test_printed_enclosures_are_of_the_digits_asked_for(digits):
    lines = {line[:15].strip(): line[16:] for line in gap("--act", "gelu", "--digits", digits).stdout.splitlines()}
    for name in ("lambda", "c = a1^2", "kappa", "K(-1)"):
        low, high = map(Decimal, lines[name][1 : lines[name].index("]")].split(", "))
        assert 0 < high - low <= 4 * Decimal(10) ** -int(digits), name
    assert lines["worst margin"].split()[0].startswith("0.0421")


RELU_STRENGTH, RELU_AT_MINUS_ONE = (math.pi - 2) / (2 * (math.pi - 1)), -1 / (math.pi - 1)


@pytest.fixture
def notes(monkeypatch):
    """What the command would print if the time ran out, stage by stage."""
    found = []
    monkeypatch.setattr("lop_theory.gap.__main__.note", found.append)
    return found


def test_what_is_said_if_the_time_runs_out_is_what_is_known(notes):
    assert gap("--act", "relu").returncode == 0
    said = [note.splitlines() for note in notes]
    assert [len(lines) for lines in said] == [1, 3, 3, 4]
    assert [lines[0].rpartition(" is ")[2] for lines in said] == ["not certified", "not certified", *["certified"] * 2]
    assert all(lines[0].startswith("relu    unfinished") for lines in said)
    rows = {line[:15].strip(): line[16:].strip("[] ").split(", ") for line in said[-1][1:]}
    right = {"lambda": RELU_STRENGTH, "a1_squared": 1 - RELU_STRENGTH, "k_minus_one": RELU_AT_MINUS_ONE}
    assert list(rows) == list(right)
    for key, (low, high) in rows.items():
        assert float(low) <= right[key] + 1e-15
        assert right[key] - 1e-15 <= float(high) <= float(low) + 1e-14


def test_the_same_as_json(notes):
    assert gap("--act", "relu", "--json").returncode == 0
    said = [json.loads(note) for note in notes]
    keys = ["activation", "certified", "finished", "evidence"]
    numbers = [[key for key in row if key not in keys] for row in said]
    assert numbers == [[], *[["lambda", "a1_squared"]] * 2, ["lambda", "a1_squared", "k_minus_one"]]
    assert [(row["certified"], row["finished"]) for row in said] == [(False, False)] * 2 + [(True, False)] * 2
    assert "time is spent" in said[1]["evidence"]
    for key, right in {"lambda": RELU_STRENGTH, "k_minus_one": RELU_AT_MINUS_ONE}.items():
        assert [float(said[-1][key][end]) for end in ("lower", "upper")] == pytest.approx([right] * 2, abs=1e-15)


def test_a_card_that_is_not_finished_leaves_the_analysis(notes):
    assert gap("--act", "relu", "--card").returncode == 0
    assert "certified     yes" in notes[-1]
    assert "card          unfinished" in notes[-1]
    assert gap("--act", "relu", "--card", "--json").returncode == 0
    last = json.loads(notes[-1])
    assert (last["certified"], last["finished"]) == (True, False)
    assert "card" not in last
