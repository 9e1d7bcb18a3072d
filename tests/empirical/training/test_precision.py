"""Precision of the passes: what it changes, by how much, and whose name it changes."""

import json
from dataclasses import is_dataclass, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch

from empirical.__main__ import main
from empirical.cloning.options import Cloning, CloningRun
from empirical.continual.options import Continual, ContinualRun
from empirical.continual.records import END
from empirical.continual.simulation import Simulation
from empirical.escape.options import Escape, EscapeRun
from empirical.runs.execution import Execution
from empirical.runs.saved import FOLDER
from empirical.runs.store import MANIFEST, id_of, run_id
from empirical.sweep.grid import paper_grid
from empirical.sweep.order import comparison
from empirical.training import passes
from empirical.training.models import build
from empirical.training.options import ModelOptions, OptimiserOptions
from empirical.training.trainer import Trainer
from lop_theory.errors import InvalidInput

RUNS: dict[str, type] = {"continual": ContinualRun, "cloning": CloningRun, "escape": EscapeRun}
OPTIONS: dict[str, Any] = {"continual": Continual, "cloning": Cloning, "escape": Escape}
UNIT = 2.0**-8
"""bfloat16's unit roundoff."""


def rebuilt(kind: type, values: dict[str, Any]) -> Any:
    """The dataclass that a manifest describes."""
    hints = get_type_hints(kind)

    def part(name: str, value: Any) -> Any:
        if is_dataclass(hints[name]):
            return rebuilt(hints[name], value)
        return tuple(value) if isinstance(value, list) else value

    return kind(**{name: part(name, value) for name, value in values.items()})


@pytest.mark.parametrize("experiment", RUNS)
def test_every_saved_record_keeps_its_id(experiment: str) -> None:
    manifests = [json.loads(path.read_text()) for path in (FOLDER / experiment).glob(f"*/{MANIFEST}")]
    assert manifests
    for manifest in manifests:
        run = rebuilt(RUNS[experiment], manifest["config"])
        assert id_of(run) == run_id(manifest["config"]) == manifest["id"]


@pytest.mark.parametrize("experiment", RUNS)
def test_precision_is_part_of_a_run_and_fp32_is_what_was(experiment: str) -> None:
    def ids(**changes: Any) -> set[str]:
        return {id_of(run) for run in OPTIONS[experiment](**changes).runs()}

    plain, gpu = ids(), {"execution": Execution(device="cuda")}
    assert plain == ids(precision="fp32") == ids(precision="fp32", **gpu)
    assert ids(precision="bf16") == ids(**gpu)
    assert len(plain | ids(**gpu) | ids(precision="tf32", **gpu)) == 3 * len(plain)
    with pytest.raises(InvalidInput, match="needs the tensor cores"):
        ids(precision="tf32")
    with pytest.raises(InvalidInput, match="fp32, tf32, bf16"):
        ids(precision="fp8")


def test_float64_has_one_precision() -> None:
    runs = Cloning(models=("mlp",), arms=("redistributed64", "noisy_sgd"), precision="bf16").runs()
    assert {(run.precision, run.optimiser.precision) for run in runs} == {("float64", "fp32"), ("float32", "bf16")}


def test_a_grid_has_one_precision_and_compares_within_it() -> None:
    there = {"execution": Execution(device="cuda")}
    plain, coarse = (
        [run for part in paper_grid("smoke", (40,), {"precision": p, **there}) for run in part.runs]
        for p in ("fp32", None)
    )
    assert {run.optimiser.precision for run in coarse if getattr(run, "precision", "") != "float64"} == {"bf16"}
    assert not {id_of(run) for run in plain} & {id_of(run) for run in coarse if run.optimiser.precision == "bf16"}
    assert comparison(coarse[0]).optimiser.precision == "bf16"


def test_the_command_refuses_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["continual", "--precision", "tf32"])
    assert "needs the tensor cores of a GPU" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["cloning", "--precision", "fp16"])
    assert capsys.readouterr().err.count("\n") == 1


def test_an_old_gpu_is_told_what_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    old = SimpleNamespace(get_device_capability=lambda _: (7, 5), get_device_name=lambda _: "T4")
    monkeypatch.setattr(passes.torch, "cuda", old)
    device = torch.device("cuda")
    passes.check_device("fp32", device)
    for precision in ("tf32", "bf16"):
        with pytest.raises(InvalidInput, match=r"T4 \(compute capability 7.5\)"):
            passes.check_device(precision, device)
    old.get_device_capability = lambda _: (9, 0)
    passes.check_device("bf16", device)
    with pytest.raises(InvalidInput, match="needs the tensor cores"):
        passes.check_device("tf32", torch.device("cpu"))


def test_one_step_differs_by_rounding_and_not_more() -> None:
    """Six layers, each with a rounded input, weight and output, forward and back: 36 roundings at most; and no fewer
    than one."""
    x, y = torch.randn(2, 32, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(64).view(2, 32) % 7
    for engine in ("eager", "vmap", "graph"):
        steps = []
        for precision in ("fp32", "bf16"):
            nets = [build(ModelOptions("mlp", scale=4), (3, 8, 8), 7, seed) for seed in (1, 2)]
            trainer = Trainer(nets, OptimiserOptions("sgd", 1.0, precision=precision), (1, 2), engine=engine)
            before = trainer._stack.values.clone()
            loss = trainer.step(x, y)
            steps.append((loss, before - trainer._stack.values))
        (loss, step), (coarse_loss, coarse) = steps
        assert step.dtype == coarse.dtype == torch.float32
        error = (coarse - step).norm(dim=1) / step.norm(dim=1)
        assert (error > UNIT / 16).all()
        assert (error < 36 * UNIT).all()
        assert (coarse_loss - loss).abs().max() < 18 * UNIT * loss.max()


def test_bf16_and_fp32_learn_alike_over_seeds() -> None:
    """Twelve seeds, two tasks: mean training accuracies differ by less than .12, by a paired two-sided test at 1 %
    (t(11) = 3.11): a precision that cost an eighth of the accuracy would fail."""
    options = Continual(
        models=("mlp",), normalisations=("none",), arms=("continual",), seeds=tuple(range(12)), tasks=2, steps=50,
        window=50, batch=32, side=8, scale=2, per_class=12, probe_per_class=2, permuted=True, theory=False,
        step_sizes=(5e-3,),
    )  # fmt: skip
    exact, coarse = (_accuracies(replace(options, precision=precision)) for precision in ("fp32", "bf16"))
    assert not np.array_equal(exact, coarse)
    assert exact.mean() > 0.6, "the task is learnt"
    difference = (coarse - exact).mean(1)
    assert abs(difference.mean()) + 3.11 * difference.std(ddof=1) / len(difference) ** 0.5 < 0.12


def _accuracies(options: Continual) -> np.ndarray:
    """Seeds × tasks."""
    runs = options.runs()
    simulation = Simulation(runs)
    rows: list[list[float]] = [[] for _ in runs]
    while simulation.step < runs[0].length:
        for own, brought in zip(rows, simulation.advance(), strict=True):
            own += [r["train_accuracy"] for r in brought.rows if r["moment"] == END and r["layer"] == -1]
    assert all(len(a) == len(b) for a, b in pairwise(rows))
    return np.array(rows)
