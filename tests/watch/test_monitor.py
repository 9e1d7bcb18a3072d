"""The monitor in a loop: which steps are logged, that nothing is disturbed, that nothing stops it, that it resumes."""

import copy
import io
import json
import math
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory import watch  # noqa: E402
from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import ContinualBackprop  # noqa: E402
from lop_theory.watch.monitor import Monitor  # noqa: E402
from tests.watch.nets import X, Y, clone, losses, mlp, silence, train  # noqa: E402

SMALL = {"measures": ("churn",)}


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def steps(monitor):
    return [found.step for found in monitor.records]


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())


# ---- which steps ----


def test_the_package_is_the_call():
    assert isinstance(watch(mlp(), X), Monitor)


def test_inside_with_the_optimisers_own_steps_count():
    model = mlp()
    with watch(model, X, every=5, loss=losses, **SMALL) as monitor:
        train(model, sgd(model), 12)
        assert monitor.step() is None  # a call as well does not count twice
        other = nn.Linear(2, 2)
        optimiser = sgd(other)
        for _ in range(9):
            other(torch.ones(1, 2)).sum().backward()
            optimiser.step()
    train(model, sgd(model), 10)  # outside: not watched
    assert (steps(monitor), monitor.steps) == ([5, 10], 12)
    assert list(monitor.records[0].layers) == ["1", "3"]


def test_slow_numbers_are_taken_at_the_first_record_and_every_so_many():
    model = mlp()
    with watch(model, X, every=2, loss=losses, measures=("tangents",), slow=3) as monitor:
        train(model, sgd(model), 8)
        monitor.measure()
    assert [found.whole.ntk_limit for found in monitor.records] == [16, 0, 0, 16, 16]


def test_by_step_calls():
    model = mlp()
    monitor = watch(model, X, every=3, loss=losses, **SMALL)
    logged = []
    train(model, sgd(model), 7, after=lambda: logged.append(monitor.step()))
    assert [found is not None for found in logged] == [False, False, True, False, False, True, False]
    assert steps(monitor) == [3, 6]


def test_of_two_optimisers_one_counts_and_the_wrapped_one_counts_once():
    model = mlp()
    one, two = sgd(model[0]), sgd(model[2])
    with watch(model, X, every=2, loss=losses, **SMALL) as monitor:
        for _ in range(4):
            losses(model(X)).mean().backward()
            one.step()
            two.step()
    assert monitor.steps == 4
    wrapped = ContinualBackprop(torch.optim.AdamW(model.parameters()), model, example_input=X)
    with watch(model, X, every=2, loss=losses, **SMALL) as monitor:
        train(model, wrapped, 4)
    assert monitor.steps == 4


def test_accumulated_gradients_and_skipped_steps_do_not_count():
    model = mlp()
    optimiser = sgd(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    with watch(model, X, every=2, loss=losses, **SMALL) as monitor:
        for k in range(8):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = losses(model(X)).mean()
            scaler.scale(loss * (float("inf") if k == 5 else 1.0)).backward()
            if k % 2:
                scaler.step(optimiser)
                scaler.update()
                optimiser.zero_grad()
    assert monitor.steps == 3


# ---- nothing is disturbed ----


@pytest.mark.parametrize("given", ["batch", "function", "nothing"])
def test_the_run_is_bit_for_bit_the_run_without(given):
    def build():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))

    def run(model, around):
        torch.manual_seed(7)
        optimiser = torch.optim.Adam(model.parameters())
        with around:
            train(model, optimiser, 9)
        return [*model.state_dict().values(), torch.rand(3)], optimiser.state_dict()["state"]

    plain, watched = build(), build()
    source = {"batch": X, "function": lambda: X, "nothing": None}[given]
    monitor = watch(watched, source, every=2, loss=losses)
    (a, moments), (b, others) = run(plain, io.StringIO()), run(watched, monitor)
    assert all(map(torch.equal, a, b))
    assert all(torch.equal(moments[k]["exp_avg"], others[k]["exp_avg"]) for k in moments)
    assert len(monitor.records) == 4
    assert [note for note in monitor.records[-1].notes if "not measured" in note] == []


def test_gradients_modes_hooks_and_generators_are_as_before():
    model = silence(clone(mlp()))
    model.eval()
    losses(model(X)).mean().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    watch(model, X, loss=losses).measure()
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    assert not model.training
    assert hooks(model) == 0
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()


def test_a_hook_is_there_only_in_the_pass_before_a_logged_step():
    model, seen = mlp(), []
    with watch(model, every=4, loss=losses, **SMALL) as monitor:
        train(model, sgd(model), 8, after=lambda: seen.append(hooks(model)))
    assert seen == [0, 0, 1, 0, 0, 0, 1, 0]
    assert hooks(model) == 0
    assert steps(monitor) == [4, 8]
    assert monitor.records[0].layers["1"].samples == len(X)


def test_copies_and_saved_models_carry_nothing():
    model = mlp()
    with watch(model, X, every=2, loss=losses, **SMALL) as monitor:
        train(model, sgd(model), 3)
        twin, saved = copy.deepcopy(model), io.BytesIO()
        torch.save(model, saved)
        train(twin, sgd(twin), 3)
    saved.seek(0)
    assert hooks(torch.load(saved, weights_only=False)) == hooks(twin) == 0
    assert monitor.steps == 3


@pytest.mark.parametrize("first", ["compile", "watch"])
def test_compiled_before_or_after(first):
    model = mlp()
    compiled = torch.compile(model, backend="eager")
    target = compiled if first == "compile" else model
    with watch(target, X, every=2, loss=losses, **SMALL) as monitor:
        train(compiled, sgd(compiled), 5)
    assert steps(monitor) == [2, 4]
    assert monitor.model is model
    assert list(monitor.records[0].layers) == ["1", "3"]


# ---- nothing stops it ----


def test_nan_is_named():
    model = mlp()
    with watch(model, X, every=1, loss=losses, slow=1) as monitor:
        with torch.no_grad():
            model[2].bias[0] = float("nan")
        train(model, sgd(model), 2)
    notes = " | ".join(monitor.records[-1].notes)
    assert "NaN or infinite: 2.bias" in notes
    assert "layer 3" in notes
    assert len(monitor.records) == 2
    json.dumps(monitor.records[-1].as_json(), allow_nan=False)
    assert "curvature not measured: InvalidInput: loss=nan: is not finite" in notes


class Untraceable(nn.Module):
    """Control flow on values, which no trace can follow."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = torch.relu(self.one(x))
        return self.two(h if float(h.detach().sum()) > 0 else -h)


def test_an_untraceable_model_is_watched_as_far_as_hooks_reach():
    model = Untraceable()
    found = watch(model, X, loss=losses).measure()
    assert any("not traced" in note for note in found.notes)
    (numbers,) = found.layers.values()
    assert numbers.effective_rank > 1
    assert numbers.clone_distance != numbers.clone_distance  # NaN: not measured


def test_a_model_that_fails_on_the_probe_does_not_stop_the_run():
    model = mlp()
    with watch(model, torch.ones(4, 5), every=2, loss=losses) as monitor:
        train(model, sgd(model), 4)
    assert len(monitor.records) == 2
    assert any("not measured" in note for note in monitor.records[-1].notes)


def test_no_probe_is_said_once_and_stops_nothing(capsys):
    model = mlp()
    other = torch.compile(model, backend="eager")
    monitor = watch(nn.Sequential(model), every=1, loss=losses)
    with monitor:
        train(other, sgd(other), 3)
    assert monitor.records == []
    assert capsys.readouterr().err.count("no training pass was seen") == 1


@pytest.mark.parametrize(
    "options",
    [
        *({name: value} for name in ("every", "slow") for value in (0, 1.5, math.nan, math.inf, "5")),
        {"measures": ("ranks",)},
        {"example_input": "text"},
        {"sinks": ["/nowhere/a.jsonl"]},
    ],
)
def test_bad_options_are_refused_at_once(options):
    with pytest.raises(InvalidInput):
        watch(mlp(), **{"example_input": X, **options})


# ---- resume and control ----


def test_a_resumed_monitor_is_the_uninterrupted_one():
    def run(cut):
        model = mlp(dtype=torch.float64)
        inputs, labels = X.double(), Y
        optimiser = sgd(model)
        options = {"every": 2, "loss": losses, "measures": ("pairs", "churn")}

        def go(count):
            for _ in range(count):
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(inputs), labels).backward()
                optimiser.step()

        with watch(model, inputs, **options) as monitor:
            go(cut)
        saved = io.BytesIO()
        torch.save(monitor.state_dict(), saved)
        saved.seek(0)
        again = watch(model, inputs, **options)
        again.load_state_dict(torch.load(saved, weights_only=True))
        with again:
            go(8 - cut)
        return again

    whole, cut = run(0), run(3)
    assert steps(whole) == steps(cut) == [2, 4, 6, 8]
    assert [f.as_json() for f in whole.records] == [f.as_json() for f in cut.records]


def test_the_control_is_a_fresh_network_on_the_same_probe():
    model = silence(mlp())
    with watch(model, X, every=3, loss=losses) as monitor:
        train(model, sgd(model), 3)

    def fit(m):
        train(m, sgd(m), 5)
        return float(losses(m(X)).mean().detach())

    weights = [p.clone() for p in model.parameters()]
    found = monitor.control(mlp, fit)
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), weights, strict=True))
    assert found.fresh.layers["1"].dead < monitor.records[-1].layers["1"].dead
    assert found.fit_fresh == pytest.approx(fit(mlp()))
    assert monitor.controls == [found]
