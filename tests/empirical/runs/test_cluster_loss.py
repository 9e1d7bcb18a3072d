"""A Ray cluster of two nodes with two workers each carries out 200 runs; one node is lost on the way. Every run ends,
once, with the numbers of a local one. About a minute: ``make thorough``."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from empirical.runs.execution import Execution
from empirical.runs.report import run_experiment
from empirical.runs.run import Job, carry_out
from empirical.runs.store import MANIFEST, Record, records, require_intact
from tests.empirical.runs.tiny import EXPERIMENT, TinyRun

pytest.importorskip("ray", reason="the extra 'cluster' is not installed")
pytestmark = pytest.mark.skipif(
    os.environ.get("HYPOTHESIS_PROFILE") != "thorough" or not Path("/proc/self/task").exists(),
    reason="a cluster of two nodes, on Linux: make thorough",
)
ROOT = Path(__file__).parents[3]
RUNS = [TinyRun(seed, steps=30, pause=0.1) for seed in range(200)]
LOST_AFTER = 40


class Cluster(NamedTuple):
    address: str
    second: "subprocess.Popen[bytes]"


def family(process: int) -> list[int]:
    """A process and all that it has started (Ray's have sessions of their own)."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except FileNotFoundError:  # it has ended
        children = []
    return [process, *(one for child in children for one in family(int(child)))]


def node(log: Path, *options: str) -> "subprocess.Popen[bytes]":
    """A node of two CPUs that is up. Ray gives up on a busy machine after 30 s: tried three times."""
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=2", "--disable-usage-stats",
        "--object-store-memory=80000000", "--node-ip-address=127.0.0.1", *options,
    ]  # fmt: skip
    for _ in range(3):
        with log.open("w") as file:
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
        while process.poll() is None:
            if "Ray runtime started" in log.read_text():
                return process
            time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # sockets need a short path
    head = node(tmp_path / "head", "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={own}")
    second = node(tmp_path / "second", f"--address=127.0.0.1:{port}")
    yield Cluster(f"127.0.0.1:{port}", second)
    for process in (second, head):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(120)
    shutil.rmtree(own, ignore_errors=True)


def test_two_hundred_runs_end_once_although_a_node_is_lost(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "there" / "tiny"
    lost_at: list[int] = []

    def lose() -> None:
        while (ended := len(list(folder.glob(f"*/{MANIFEST}")))) < LOST_AFTER:
            time.sleep(0.05)
        lost_at.append(ended)
        for process in family(cluster.second.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    killer = threading.Thread(target=lose, daemon=True)
    killer.start()
    shown: list[Record] = []
    execution = Execution(out=str(tmp_path / "there"), cluster=cluster.address, retries=3)
    assert run_experiment(EXPERIMENT, RUNS, execution, show=shown.extend) == 0
    assert LOST_AFTER <= lost_at[0] < len(RUNS) - 20
    found = records(folder)
    require_intact(found)
    assert sorted(r.manifest["seed"] for r in found) == sorted(r.manifest["seed"] for r in shown) == list(range(200))
    assert any(r.manifest["resumed"] for r in found)  # what the lost node had under way went on from its checkpoint
    assert {path.name for path in folder.glob("*/*")} == {MANIFEST, "record.parquet"}
    by_seed = {r.manifest["seed"]: r.manifest["sha256"] for r in found}
    for run in RUNS[::10]:
        (here,) = carry_out(Job(EXPERIMENT, (run,), tmp_path / "here", "cpu"))
        assert here.record is not None
        assert by_seed[run.seed] == here.record.manifest["sha256"]
