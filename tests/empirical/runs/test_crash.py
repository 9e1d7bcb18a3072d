"""Kill -9 at any moment, workers that die, two processes on one run: the results are those of an undisturbed run."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from empirical.runs import run
from empirical.runs.live import LIVE, LiveRecord
from empirical.runs.local import carry_out_here
from empirical.runs.run import HELD, Job, Outcome, carry_out
from empirical.runs.store import DATA, Row
from empirical.runs.view import View
from lop_theory.errors import InvalidInput
from tests.empirical.runs.killing import killed_after
from tests.empirical.runs.tiny import COLUMNS, EVERY, EXPERIMENT, Simulation, TinyRun

ROOT = Path(__file__).parents[3]
SEEDS = (0, 1, 2)
RUNS = tuple(TinyRun(seed) for seed in SEEDS)


def job(root: Path, runs: Sequence[TinyRun] = RUNS) -> Job:
    return Job(EXPERIMENT, tuple(runs), root, "cpu")


def here(jobs: list[Job], workers: int = 1, retries: int = 2) -> list[list[Outcome]]:
    with View(jobs, Console(file=sys.stderr)) as view:
        return carry_out_here(jobs, workers, retries, view)


def data_of(outcomes: Sequence[Outcome]) -> list[bytes]:
    return [(o.record.folder / DATA).read_bytes() for o in outcomes if o.record is not None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What undisturbed runs of the three seeds write, each on its own."""
    root = tmp_path_factory.mktemp("whole")
    return [body for one in RUNS for body in data_of(carry_out(job(root, [one])))]


def begun(root: Path, runs: int) -> bool:
    """Whether the databases of so many runs are there."""
    return len(list(root.glob(f"tiny/*/{LIVE}"))) >= runs


def test_kill_dash_nine_of_training_at_random_moments(tmp_path: Path) -> None:
    runs = [TinyRun(seed, torch=True, pause=0.05, steps=120) for seed in SEEDS]
    expected = data_of(carry_out(job(tmp_path / "whole", runs)))
    rng = np.random.default_rng(int(os.environ.get("CRASH_SEED", "7")))
    kills = 0
    while kills < int(os.environ.get("CRASHES", "5")) and killed_after(
        job(tmp_path / "killed", runs), rng.uniform(0, 0.1)
    ):
        kills += 1
    assert kills >= 2
    outcomes = carry_out(job(tmp_path / "killed", runs))
    assert data_of(outcomes) == expected
    assert all(o.record and o.record.manifest["together"] == 3 for o in outcomes)
    assert [p.name for p in sorted(tmp_path.glob("killed/tiny/*/*"))] == ["manifest.json", "record.parquet"] * 3


class Stop(BaseException):
    """A death that a test can watch."""


@pytest.mark.parametrize("commits", range(1, 3 * (60 // EVERY + 1), 4))
def test_death_between_the_commits_of_a_group(
    commits: int, whole: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any number of commits, between two runs of a group too; the group goes on side by side."""
    monkeypatch.setattr(run, "CHECKPOINT_SHARE", float("inf"))
    left = commits

    def observe(_config: TinyRun, _rows: list[Row] | None) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Stop

    with pytest.raises(Stop):
        carry_out(job(tmp_path)._replace(observers=(observe,)))
    outcomes = carry_out(job(tmp_path))
    assert data_of(outcomes) == whole
    assert {o.record.manifest["together"] for o in outcomes if o.record} == {3}


def test_runs_interrupted_apart_go_on_in_parts(whole: list[bytes], tmp_path: Path) -> None:
    for one, advances in zip(RUNS, (2, 5, 5), strict=True):
        live = LiveRecord(tmp_path / "tiny", one, COLUMNS)
        simulation = Simulation([one], None, 0)
        live.commit(0, simulation.first_rows()[0], simulation.states()[0])
        for _ in range(advances):
            live.commit(simulation.step + EVERY, simulation.advance()[0].rows, simulation.states()[0])
        live.close()
    outcomes = carry_out(job(tmp_path))
    assert data_of(outcomes) == whole
    assert [o.record.manifest["together"] for o in outcomes if o.record] == [1, 2, 2]


def test_a_copy_of_a_dead_process_s_files_goes_on(
    whole: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Database and write-ahead log as they lie at a death, the log cut short or spoilt too (as by a power cut)."""
    monkeypatch.setattr(run, "CHECKPOINT_SHARE", float("inf"))
    copies = []

    def observe(config: TinyRun, rows: list[Row] | None) -> None:
        if rows and rows[-1]["step"] == 30:
            (folder,) = (tmp_path / "from").glob("tiny/*")
            copies.append(shutil.copytree(folder, tmp_path / f"copy{config.seed}" / "tiny" / folder.name))

    carry_out(job(tmp_path / "from", RUNS[:1])._replace(observers=(observe,)))
    (copy,) = copies
    log = (copy / f"{LIVE}-wal").read_bytes()
    for k, body in enumerate((log, log[: len(log) // 2], log[:100], log[:-4000] + b"\0" * 4000, b"")):
        root = tmp_path / f"spoilt{k}"
        shutil.copytree(copy, root / "tiny" / copy.name)
        (root / "tiny" / copy.name / f"{LIVE}-wal").write_bytes(body)
        assert data_of(carry_out(job(root, RUNS[:1]))) == whole[:1]


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    live = LiveRecord(tmp_path / "tiny", RUNS[0], COLUMNS)
    live.close()
    (live.folder / LIVE).write_bytes(b"not a database" * 1000)
    with pytest.raises(InvalidInput, match=r"cannot hold a record .*delete the folder"):
        carry_out(job(tmp_path, RUNS[:1]))


def test_what_cannot_go_on_fails_alone(tmp_path: Path) -> None:
    wild = [replace(one, diverge_at=32) for one in RUNS]
    outcomes = carry_out(job(tmp_path, wild))
    assert [o.record.manifest["status"] for o in outcomes if o.record] == ["finished", "failed", "finished"]
    failed = outcomes[1].record
    assert failed is not None
    assert failed.manifest["cause"] == "a loss up to step 35 is not finite"
    assert failed.manifest["steps"] == 35
    step, loss = failed.columns("step", "loss")
    assert step.tolist() == [*range(0, 36, EVERY)]
    assert np.isnan(loss[-1])
    alone = [carry_out(job(tmp_path / "alone", [one]))[0] for one in wild]
    assert data_of(outcomes) == data_of(alone)


def test_checkpoints_take_a_small_share_of_the_time(
    whole: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint that took a second is followed by the next one after twenty seconds of training."""
    now, commits = 0.0, []

    class Clock:
        @staticmethod
        def perf_counter() -> float:
            return now

        time = perf_counter

    def observe(_config: TinyRun, rows: list[Row] | None) -> None:
        nonlocal now
        now += 1.0
        if rows:
            commits.append([row["step"] for row in rows])

    def advance(self: Simulation) -> list:
        nonlocal now
        now += 8.0
        return slow(self)

    slow = Simulation.advance
    monkeypatch.setattr(run, "time", Clock)
    monkeypatch.setattr(Simulation, "advance", advance)
    assert data_of(carry_out(job(tmp_path, RUNS[:1])._replace(observers=(observe,)))) == whole[:1]
    assert commits == [[0], [5, 10, 15], [20, 25, 30], [35, 40, 45], [50, 55, 60]]


def test_death_after_a_failure_leaves_the_same_records(tmp_path: Path) -> None:
    def observe(config: TinyRun, rows: list[Row] | None) -> None:
        if rows and (config.seed, rows[-1]["step"]) == (1, 35):
            raise Stop

    wild = [replace(one, diverge_at=32) for one in RUNS]
    with pytest.raises(Stop):
        carry_out(job(tmp_path / "killed", wild)._replace(observers=(observe,)))
    assert data_of(carry_out(job(tmp_path / "killed", wild))) == data_of(carry_out(job(tmp_path / "whole", wild)))


def test_two_processes_on_one_run(whole: list[bytes], tmp_path: Path) -> None:
    live = LiveRecord(tmp_path / "tiny", RUNS[1], COLUMNS)
    outcomes = carry_out(job(tmp_path))
    assert [o.problem for o in outcomes] == [None, HELD, None]
    live.close()
    outcomes = carry_out(job(tmp_path))
    assert [o.skipped for o in outcomes] == [True, False, True]
    assert data_of(outcomes) == whole


def test_a_worker_that_is_killed_is_replaced_and_its_run_goes_on(tmp_path: Path) -> None:
    """Three jobs for two workers: one dies at step 30 once, one dies there always, one raises an error once."""
    deadly = replace(RUNS[0], death=30, once=str(tmp_path / "once"))
    hopeless = replace(RUNS[1], death=30)
    faulty = replace(RUNS[2], death=30, once=str(tmp_path / "fault"), fault="memory")
    (first,), (second,), (third,) = here([job(tmp_path, [one]) for one in (deadly, hopeless, faulty)], 2, 1)
    assert first.record is not None
    assert first.record.manifest["resumed"] == 1
    assert second.record is None
    assert second.problem == "its worker died (SIGKILL)"
    assert third.record is not None
    for outcome in (first, third):
        assert outcome.record is not None
        undisturbed = carry_out(job(tmp_path / "whole", [replace(outcome.config, death=-1)]))[0].record
        assert undisturbed is not None
        assert outcome.record.manifest["sha256"] == undisturbed.manifest["sha256"]
    assert multiprocessing.active_children() == []


def test_what_the_user_must_mend_stops_all_workers(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="source='glyphs': is planted; pull it out"):
        here([job(tmp_path, [one]) for one in (replace(RUNS[0], death=10, fault="input"), RUNS[1])], workers=2)
    assert multiprocessing.active_children() == []


def test_errors_in_this_process_are_bounded_too(tmp_path: Path) -> None:
    faulty = replace(RUNS[0], death=30, fault="value")
    ((outcome,),) = here([job(tmp_path, [faulty])], retries=1)
    assert outcome.problem == "ValueError: planted"


COMMAND = """
import signal
import sys
from pathlib import Path
from empirical.runs.execution import Execution
from empirical.runs.report import run_experiment
from tests.empirical.runs.killing import killed_after
from tests.empirical.runs.tiny import EXPERIMENT, TinyRun
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born ignoring Ctrl-C
    runs = [TinyRun(seed, pause=0.05) for seed in (0, 1, 2)]
    options = Execution(out=sys.argv[1], workers=2)
    sys.exit(run_experiment(EXPERIMENT, runs, options, show=lambda records: print(len(records), "finished")))
"""


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path(f"/proc/{os.getpid()}/task").exists(), reason="finds the workers in Linux's /proc")
def test_command_survives_killed_workers_and_stops_cleanly(tmp_path: Path) -> None:
    """The whole command: Ctrl-C, then the command itself killed, then a worker killed from outside."""
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    root = tmp_path / "runs"

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(script), str(root)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    command = start()
    while not begun(root, 2):
        time.sleep(0.01)
    os.killpg(command.pid, signal.SIGINT)
    _, said = command.communicate(timeout=60)
    assert command.returncode == 130
    assert "goes on from the last checkpoints" in said
    assert "Traceback" not in said

    command = start()
    while len(workers := children_of(command.pid)) < 3:  # the two workers and Python's resource tracker
        time.sleep(0.01)
    command.kill()
    command.communicate()
    until = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < until, "workers outlive their command"
        time.sleep(0.05)

    command = start()
    while len(workers := children_of(command.pid)) < 3:
        time.sleep(0.01)
    os.kill(workers[-1], signal.SIGKILL)
    printed, said = command.communicate(timeout=60)
    assert command.returncode == 0, said
    assert "3 finished" in printed
    paused = [TinyRun(seed, pause=0.05) for seed in SEEDS]
    assert data_of(carry_out(job(root, paused))) == data_of(carry_out(job(tmp_path / "whole", paused)))


def test_at_the_end_of_a_lease_every_run_leaves_with_a_checkpoint_and_goes_on(
    tmp_path: Path, whole: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(run.time, "time", lambda: now[0])
    monkeypatch.setattr(Simulation, "_die", lambda _: now.__setitem__(0, now[0] + 1))  # a window takes a second
    lent = job(tmp_path)._replace(until=3.5)
    assert {outcome.problem for outcome in carry_out(lent)} == {run.STOPPED}
    assert now[0] == 3  # a fourth window would have ended too late
    for one in RUNS:
        live = LiveRecord(tmp_path / "tiny", one, COLUMNS)
        assert max(live.steps()) == 3 * EVERY
        live.close()
    assert {outcome.problem for outcome in carry_out(lent._replace(until=3.0))} == {run.STOPPED}
    assert now[0] == 3  # none begins when the time is spent
    assert data_of(carry_out(lent._replace(until=np.inf))) == whole
