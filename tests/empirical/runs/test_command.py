"""``python -m empirical``: presets, help, one-line errors, exit codes, results that do not depend on workers."""

from pathlib import Path

import pytest

from empirical.__main__ import main
from empirical.bitflip.options import BITFLIP
from empirical.runs import run
from empirical.runs.command import one_line
from empirical.runs.store import records
from lop_theory.errors import InvalidInput
from tests.empirical.refusal import refusal

NAMED = "seeds width method activation optimiser replacement-rate maturity beta out workers device cluster".split()
TINY = ["bitflip", "--samples", "4000", "--measure-every", "2000", "--probe", "50", "--width", "3", "4", "--seeds", "5"]


def test_runs_resumes_nothing_twice_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "6 runs done, 0 already finished" in shown
    assert str(tmp_path / "bitflip") in shown
    assert main([*TINY, "--out", str(tmp_path), "--seeds", "5", "6"]) == 0
    assert "6 runs done, 6 already finished" in capsys.readouterr().out
    assert len(records(tmp_path / "bitflip")) == 12


def test_results_do_not_depend_on_workers(tmp_path: Path) -> None:
    for workers in ("1", "2"):
        assert main([*TINY, "--workers", workers, "--out", str(tmp_path / workers)]) == 0
    one, two = ({r.manifest["id"]: r.manifest["sha256"] for r in records(tmp_path / w / "bitflip")} for w in "12")
    assert one == two
    assert len(one) == 6


def test_a_failed_run_stops_alone_and_exits_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = ["--activation", "leaky_relu", "--step-size", "3", "--out", str(tmp_path)]
    assert main([*TINY, *wild]) == 1
    errors = capsys.readouterr().err
    assert "is not finite (step size 3.0)" in errors
    assert "width 3 sgd seed 5: failed: " in errors
    assert {r.manifest["status"] for r in records(tmp_path / "bitflip")} == {"failed"}


def test_spent_time_is_said_counted_and_exit_code_75(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run.Lease, "over", True)
        assert main([*TINY, "--out", str(tmp_path), "--stop-after", "1000"]) == 75
    assert "6 runs stopped: the time is spent; the same command goes on" in capsys.readouterr().err
    assert main([*TINY, "--out", str(tmp_path), "--stop-after", "1000"]) == 0


def test_time_that_is_too_short_for_one_window_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"stop_after=1e-09: is too short for one window .*--budget"):
        main([*TINY, "--out", str(tmp_path), "--stop-after", "1e-9"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--preset", "big"], "smoke, laptop, paper"),
        (["--width", "a"], "--width"),
        (["--width", "0"], "width"),
        (["--widht", "4"], "--widht"),
        (["--samples", "5"], "multiple of twice the bin"),
        (["--method", "magic"], "--method"),
        (["--bits", "40"], "drawn at each step"),
        (["--flipping", "21"], "flipping"),
        (["--measure-every", "1500"], "multiple of the bin"),
        (["--step-size", "nan"], "step_size"),
        (["--replacement-rate", "2"], "replacement_rate"),
        (["--out", "/proc/none"], "cannot be written"),
        (["--workers", "0"], "workers"),
        (["--device", "gpu"], "cpu, cuda or cuda:N"),
        (["--device", "cuda"], "runs on the CPU"),
        (["--gpus-per-run", "0"], "gpus_per_run"),
        (["--stop-after", "-1"], "stop_after"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named in refusal(["bitflip", *arguments], capsys)


def test_unknown_command() -> None:
    for arguments in ([], ["cloning!"]):
        with pytest.raises(InvalidInput, match="one of: bitflip"):
            main(arguments)


@pytest.mark.parametrize("preset", BITFLIP)
def test_help_has_every_field_with_the_preset_s_value(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bitflip", "--preset", preset, "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"(default: {preset})" in text
    assert f"(default: {BITFLIP[preset].samples})" in text
    for name in NAMED:
        assert f"--{name} " in text
    assert BITFLIP[preset].preset == preset


def test_paper_preset_has_the_paper_s_size() -> None:
    paper = BITFLIP["paper"]
    assert (paper.samples, paper.width, len(paper.seeds)) == (5_000_000, (5, 10, 50, 100), 10)
    stream = paper.stream
    assert (stream.bits, stream.flipping, stream.flip_every, stream.target_units) == (20, 15, 10_000, 100)
    assert len(paper.runs()) == 4 * 4 * 10  # widths, methods, seeds


def test_box_becomes_a_line() -> None:
    assert one_line("╭─ T ─╮\n│ bad a  │\n│ thing. │\n│ ────── │\n│ hint   │\n╰──────╯") == "bad a thing."
    assert one_line("plain\ntext") == "plain text"
