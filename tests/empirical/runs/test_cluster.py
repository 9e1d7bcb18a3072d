"""A real Ray cluster on this machine: a worker dies by SIGKILL in the middle of a run, and every run finishes once,
with results identical to local ones."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from empirical.runs.execution import Execution
from empirical.runs.report import run_experiment
from empirical.runs.run import Job, carry_out
from empirical.runs.store import Record, records
from lop_theory.errors import InvalidInput
from tests.empirical.runs.tiny import EXPERIMENT, TinyRun

ray = pytest.importorskip("ray", reason="the extra 'cluster' is not installed")
ROOT = Path(__file__).parents[3]


def started(port: int, own: str, log: Path) -> subprocess.Popen[bytes] | None:
    """A cluster's head; ``None`` if it gave up, as Ray does on a busy machine after 30 s."""
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}", "--num-cpus=2",
        "--include-dashboard=false", "--include-log-monitor=false", "--object-store-memory=80000000",
        "--disable-usage-stats", "--node-ip-address=127.0.0.1", f"--temp-dir={own}",
    ]  # fmt: skip
    with log.open("w") as file:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        head = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
    while "Ray runtime started" not in log.read_text():
        if head.poll() is not None:
            return None
        time.sleep(0.1)
    return head


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("ray") / "log"
    own = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # sockets need a short path
    head = started(port, own, log) or started(port, own, log) or started(port, own, log)
    assert head is not None, log.read_text()
    yield f"127.0.0.1:{port}"
    os.killpg(head.pid, signal.SIGTERM)
    head.wait(120)
    shutil.rmtree(own, ignore_errors=True)


def test_a_killed_worker_s_run_is_resumed_and_every_run_ends_once(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [TinyRun(seed) for seed in range(6)]
    runs[1] = replace(runs[1], death=30, once=str(tmp_path / "died"))
    runs[2] = replace(runs[2], death=30)
    runs[3] = replace(runs[3], death=30, once=str(tmp_path / "raised"), fault="memory")
    runs[4] = replace(runs[4], death=30, fault="value")
    shown: list[Record] = []
    code = run_experiment(
        EXPERIMENT, runs, Execution(out=str(tmp_path / "there"), cluster=address, retries=1), show=shown.extend
    )
    assert code == 1
    errors = capsys.readouterr().err
    assert "tiny 2: its worker died" in errors
    assert "tiny 4: ValueError: planted" in errors
    found = {r.manifest["seed"]: r.manifest for r in records(tmp_path / "there" / "tiny")}
    assert sorted(found) == sorted(r.manifest["seed"] for r in shown) == [0, 1, 3, 5]
    assert (found[1]["resumed"], found[3]["resumed"], found[5]["resumed"]) == (1, 1, 0)
    here = [carry_out(Job(EXPERIMENT, (replace(run, death=-1),), tmp_path / "here", "cpu"))[0].record for run in runs]
    for seed, manifest in found.items():
        record = here[seed]
        assert record is not None
        assert manifest["sha256"] == record.manifest["sha256"]

    # What the cluster left, local processes finish, and the other way round.
    assert carry_out(Job(EXPERIMENT, (runs[5],), tmp_path / "there", "cpu"))[0].skipped


def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cluster='nowhere': cannot be reached .*ray start --head"):
        run_experiment(EXPERIMENT, [TinyRun(0)], Execution(out=str(tmp_path), cluster="nowhere"), show=lambda _: None)
