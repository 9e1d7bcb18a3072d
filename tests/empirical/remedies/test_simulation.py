"""The comparison of remedies: a run repeats itself, goes on from a checkpoint, and does what was predicted of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from empirical.__main__ import main  # noqa: E402
from empirical.remedies import command, records  # noqa: E402
from empirical.remedies.methods import at_start, optimiser, penalty  # noqa: E402
from empirical.remedies.networks import build  # noqa: E402
from empirical.remedies.options import NAMES, REMEDIES, REMEDIES_PRESETS, NetworkOptions, RemedyRun  # noqa: E402
from empirical.remedies.simulation import Simulation  # noqa: E402
from empirical.runs.execution import Execution  # noqa: E402
from empirical.runs.report import carry_out_all  # noqa: E402
from empirical.runs.run import Job, Lease, Outcome  # noqa: E402
from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import companion  # noqa: E402
from tests.empirical.found import units  # noqa: E402

SMOKE = REMEDIES_PRESETS["smoke"]
STEPS, BATCH = 140, 32
REPEATED = ("step", "task", "accuracy", "at_end", "loss")


def run_of(name: str, **changes: object) -> RemedyRun:
    return replace(SMOKE.final(name, REMEDIES[name].tried[-1])[0], tasks=2, steps=10, window=5, **changes)


def rows_of(simulation: Simulation, tasks: int) -> list[tuple[float, ...]]:
    rows = [row for _ in range(tasks) for row in simulation.advance()[0].rows]
    return [tuple(row[name] for name in REPEATED) for row in rows]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_goes_on_from_its_checkpoint_to_the_same_end(name: str) -> None:
    run = run_of(name)
    whole = Simulation([run])
    first = rows_of(whole, 1)
    later = Simulation([run], whole.states(), whole.step)
    assert rows_of(later, 1) == rows_of(whole, 1)
    assert len(first) == 1
    assert 0 <= first[0][2] <= 1
    for a, b in zip(whole.model.parameters(), later.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_that_diverges_says_so() -> None:
    (advance,) = Simulation([run_of("plain", step_size=1e30)]).advance()
    assert advance.cause is not None
    assert advance.rows == []


def test_the_best_strength_is_that_of_the_largest_accuracy_on_the_tuning_seeds() -> None:
    """Chosen by the mean over tasks and seeds; a strength with a failed run is none."""
    from types import SimpleNamespace

    def record(strength: float, seed: int, accuracy: float, status: str = "finished") -> SimpleNamespace:
        config = {"remedy": "dropout", "strength": strength, "seed": seed}
        columns = lambda _: (np.array([accuracy, accuracy]),)  # noqa: E731
        return SimpleNamespace(config=config, manifest={"status": status}, columns=columns)

    options = replace(SMOKE, tuning=(30, 31))
    found = [record(0.05, 30, 0.9), record(0.05, 31, 0.3), record(0.1, 30, 0.7), record(0.1, 31, 0.7)]
    assert records.chosen(options, "dropout", found) == 0.1
    found[-1] = record(0.1, 31, 0.7, "failed")
    assert records.chosen(options, "dropout", found) == 0.05
    with pytest.raises(InvalidInput, match="dropout"):
        records.chosen(options, "dropout", found[2:])
    assert records.chosen(options, "fire", []) == 0.0


def test_a_seed_that_settings_were_chosen_on_does_not_count_as_a_fresh_one() -> None:
    with pytest.raises(InvalidInput, match="chosen on"):
        replace(SMOKE, seeds=(30,))


def test_nothing_is_chosen_when_the_time_is_spent_in_tuning_and_both_halves_share_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ["remedies", "--remedies", "plain", "redo", "--tasks", "2", "--out", str(tmp_path)]
    with pytest.raises(InvalidInput, match="too short for one window"):
        main([*common, "--stop-after", "1e-9"])
    with monkeypatch.context() as patch:
        patch.setattr(Lease, "over", True)
        assert main([*common, "--stop-after", "1000"]) == 75
    assert "2 runs stopped: the time is spent" in capsys.readouterr().err
    ends = list[float]()

    def seen(jobs: list[Job], execution: Execution) -> list[Outcome]:
        ends.extend(job.until for job in jobs)
        return carry_out_all(jobs, execution)

    monkeypatch.setattr(command, "carry_out_all", seen)
    assert main([*common, "--stop-after", "1000"]) == 0
    assert len(ends) == 4
    assert len(set(ends)) == 1


# --- predictions ------------------------------------------------------------------------------------------------------


def trial(name: str) -> tuple[nn.Sequential, RemedyRun]:
    """A small network in float64 for a remedy, at the strongest setting."""
    run = replace(run_of(name), network=NetworkOptions(12, 3))
    run = replace(run, strength=0.05) if name == "cbp" else run  # so often that some unit's turn comes
    torch.manual_seed(1)
    return build(run, (3, 2, 2), 4).double(), run


def remedied(model: nn.Sequential, run: RemedyRun) -> torch.optim.Optimizer:
    return optimiser(model, run, torch.ones(2, 3, 2, 2, dtype=torch.float64))


@pytest.fixture
def _units_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companion, "find_units", units)


def train(model: nn.Sequential, inner: torch.optim.Optimizer, run: RemedyRun) -> None:
    """Two tasks, as the simulation trains; a fresh network is a new one."""
    generator = torch.Generator().manual_seed(3)
    for index in range(2):
        x = torch.randn(STEPS // 2, BATCH, 3, 2, 2, generator=generator, dtype=torch.float64)
        y = torch.randint(0, 4, (STEPS // 2, BATCH), generator=generator)
        if index and run.remedy == "fresh":
            model.load_state_dict(build(run, (3, 2, 2), 4, index).double().state_dict())
        elif index:
            seen = list(zip(x[:5], y[:5], strict=True)), nn.functional.cross_entropy
            at_start(model, inner, run, lambda: build(run, (3, 2, 2), 4, 1).double(), seen)
        for batch, labels in zip(x, y, strict=True):
            inner.zero_grad()
            (nn.functional.cross_entropy(model(batch), labels) + penalty(model, run)).backward()
            inner.step()


def linear(model: nn.Sequential) -> list[nn.Linear]:
    return [m for m in model if isinstance(m, nn.Linear)]


@torch.no_grad()
def clone_pairs(model: nn.Sequential, paired: bool) -> None:
    """Units 2k and 2k + 1 of every hidden layer become copies: equal rows, and equal columns of what reads them."""
    for layer in linear(model)[:-1]:
        layer.weight[1::2], layer.bias[1::2] = layer.weight[::2], layer.bias[::2]
    for layer in linear(model)[1:]:
        halves = layer.weight.chunk(2, 1) if paired else (layer.weight,)
        for half in halves:
            half[:, 1::2] = half[:, ::2]


@torch.no_grad()
def parted(model: nn.Sequential) -> float:
    return max(float((m.weight[1::2] - m.weight[::2]).abs().max()) for m in linear(model)[:-1])


@pytest.mark.claim("optimiser-closure")
@pytest.mark.usefixtures("_units_are_found_once")
@pytest.mark.parametrize("name", NAMES)
def test_clones_part_where_theory_says_that_they_can(name: str) -> None:
    model, run = trial(name)
    clone_pairs(model, paired=name in ("crelu", "fourier"))
    train(model, remedied(model, run), run)
    assert (parted(model) > 1e-4) == REMEDIES[name].unclones, parted(model)


@pytest.mark.claim("lazy-rich")
def test_lazy_training_moves_the_weights_less_and_the_output_as_fast() -> None:
    """The first task of a laptop run, hidden weights; α = 1 is plain training, bit for bit."""
    moved, outputs = {}, {}
    for name, strength in (("plain", 0.0), ("lazy", 1.0), ("lazy", 100.0)):
        simulation = Simulation([replace(REMEDIES_PRESETS["laptop"].final(name, strength)[0], steps=40)])
        before = [p.detach().clone() for p in simulation.model.parameters()][:-2]
        simulation.advance()
        after = [p.detach() for p in simulation.model.parameters()][:-2]
        moved[strength] = sum(float(((a - b) ** 2).sum()) for a, b in zip(after, before, strict=True)) ** 0.5
        outputs[strength] = after
    assert all(torch.equal(a, b) for a, b in zip(outputs[0.0], outputs[1.0], strict=True))
    assert moved[100.0] < moved[0.0] / 10


@pytest.mark.claim("frozen-unit")
@pytest.mark.usefixtures("_units_are_found_once")
@pytest.mark.parametrize("name", NAMES)
def test_a_dead_layer_moves_where_theory_says_that_it_does(name: str) -> None:
    """The last affine map before an activation sinks to −100 in the middle layer, after the optimiser was made."""
    model, run = trial(name)
    inner = remedied(model, run)
    places = [k for k, m in enumerate(model) if isinstance(m, nn.Linear)]
    affine = model[places[1] + 1] if isinstance(model[places[1] + 1], nn.LayerNorm) else model[places[1]]
    with torch.no_grad():
        affine.bias.fill_(-100.0)
    weights = [model[places[1]].weight, affine.bias]
    before = [w.detach().clone() for w in weights]
    train(model, inner, run)
    moved = any(not torch.allclose(w, b, rtol=1e-9, atol=0) for w, b in zip(weights, before, strict=True))
    assert moved == REMEDIES[name].unfreezes
