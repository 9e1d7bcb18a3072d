"""A companion is an ordinary optimiser: schedulers, scalers, closures, checkpoints, copies, compilation, processes."""

import copy
import io
from datetime import timedelta

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.optim.lr_scheduler import StepLR  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import ContinualBackprop, L2Init, ReDo  # noqa: E402
from lop_theory.optim.continual_backprop import Settings  # noqa: E402

X = torch.randn(16, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
BUSY = Settings(rate=0.05, maturity=2, decay=0.9)


def build(seed=0, kind=torch.optim.AdamW, settings=BUSY):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 10), nn.Tanh(), nn.Linear(10, 2)).double()
    return model, ContinualBackprop(kind(model.parameters(), lr=0.01), model, example_input=X, settings=settings)


def train(model, optimiser, steps=20, x=X):
    history = []
    for _ in range(steps):
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()
        history.append(optimiser.replaced)
    return history


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_it_is_an_optimiser_and_schedulers_reach_the_inner_one():
    model, optimiser = build()
    assert isinstance(optimiser, torch.optim.Optimizer)
    scheduler = StepLR(optimiser, 1, gamma=0.5)
    train(model, optimiser, 1)
    scheduler.step()
    assert optimiser.optimiser.param_groups[0]["lr"] == 0.005
    extra = nn.Parameter(torch.ones(2))
    optimiser.add_param_group({"params": [extra], "lr": 1.0})
    assert optimiser.optimiser.param_groups[1]["lr"] == 1.0


def test_closures_give_the_same_run():
    (a, one), (b, other) = build(), build()

    def closure():
        other.zero_grad()
        loss = b(X).square().mean()
        loss.backward()
        return loss

    for _ in range(20):
        train(a, one, 1)
        assert float(other.step(closure)) > 0
        assert one.replaced == other.replaced
    assert same(a, b)


def test_checkpoints_are_weights_only_and_go_on_bit_for_bit():
    a, one = build()
    assert any(units for replaced in train(a, one) for units in replaced)
    saved = io.BytesIO()
    torch.save({"model": a.state_dict(), "optimiser": one.state_dict()}, saved)
    saved.seek(0)
    state = torch.load(saved, weights_only=True, map_location="cpu")
    b, other = build(seed=5)
    b.load_state_dict(state["model"])
    other.load_state_dict(state["optimiser"])
    assert train(a, one) == train(b, other)
    assert same(a, b)


def test_bad_checkpoints_leave_everything_as_it_is():
    model, optimiser = build()
    train(model, optimiser, 5)
    before = copy.deepcopy(optimiser.state_dict())
    small = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    other = ContinualBackprop(torch.optim.AdamW(small.parameters()), small, example_input=X, settings=BUSY)
    redo = ReDo(torch.optim.AdamW(model.parameters()), model, example_input=X)
    broken = copy.deepcopy(before)
    broken["companion"]["utility"][0] = torch.zeros(3)
    for bad in (other.state_dict(), redo.state_dict(), optimiser.optimiser.state_dict(), broken):
        with pytest.raises(InvalidInput):
            optimiser.load_state_dict(bad)
    after = optimiser.state_dict()
    assert all(torch.equal(p, q) for p, q in zip(before["companion"]["age"], after["companion"]["age"], strict=True))
    assert torch.equal(before["state"][0]["exp_avg"], after["state"][0]["exp_avg"])


def test_a_model_and_its_companion_are_copied_and_saved_together():
    a, one = build()
    StepLR(one, 100)
    train(a, one)
    b, other = copy.deepcopy((a, one))
    saved = io.BytesIO()
    torch.save((a, one), saved)
    saved.seek(0)
    c, third = torch.load(saved, weights_only=False)
    expected = train(a, one)
    assert train(b, other) == expected
    assert train(c, third) == expected
    assert same(a, b)
    assert same(a, c)


@pytest.mark.parametrize("first", ["compiled", "companion"])
def test_compiled_before_or_after(first):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 2)).double()
    plain, reference = copy.deepcopy(model), None
    inner = torch.optim.SGD(model.parameters(), lr=0.01)
    if first == "compiled":
        compiled = torch.compile(model, backend="aot_eager")
        compiled(X)
        optimiser = ContinualBackprop(inner, compiled, example_input=X, settings=BUSY)
    else:
        optimiser = ContinualBackprop(inner, model, example_input=X, settings=BUSY)
        compiled = torch.compile(model, backend="aot_eager")
    reference = ContinualBackprop(torch.optim.SGD(plain.parameters(), lr=0.01), plain, example_input=X, settings=BUSY)
    assert train(compiled, optimiser, 12) == train(plain, reference, 12)
    for p, q in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12)


def test_mixed_precision_with_a_scaler():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 2))
    x = X.float()
    optimiser = ContinualBackprop(torch.optim.AdamW(model.parameters()), model, example_input=x, settings=BUSY)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    replaced = 0
    for k in range(20):
        optimiser.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(x).square().mean()
        scaler.scale(loss * (float("inf") if k == 10 else 1.0)).backward()
        before = model[0].weight.detach().clone()
        scaler.step(optimiser)
        scaler.update()
        assert torch.equal(before, model[0].weight) == (k == 10)
        replaced += sum(map(len, optimiser.replaced)) * (k != 10)
    assert replaced
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_companions_wrap_each_other():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 2)).double()
    inner = L2Init(torch.optim.Adam(model.parameters(), lr=0.01), strength=0.01)
    optimiser = ContinualBackprop(inner, model, example_input=X, settings=BUSY)
    assert any(units for replaced in train(model, optimiser) for units in replaced)
    state = optimiser.state_dict()
    assert state["companion"]["kind"] == "ContinualBackprop"
    optimiser.load_state_dict(state)


def test_sharded_parameters_are_refused_with_a_clear_word():
    class FullyShardedDataParallel(nn.Sequential):
        pass

    model = FullyShardedDataParallel(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    with pytest.raises(InvalidInput, match=r"whole parameters.*DistributedDataParallel"):
        ContinualBackprop(torch.optim.SGD(model.parameters(), 0.1), model, example_input=X)
    with pytest.raises(InvalidInput, match=r"must be a torch\.optim\.Optimizer"):
        ContinualBackprop(None, model, example_input=X)


def _process(rank, port, results):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2, timeout=timedelta(seconds=240)
    )
    model, _ = build()
    parallel = nn.parallel.DistributedDataParallel(model)
    optimiser = ContinualBackprop(
        torch.optim.AdamW(model.parameters(), lr=0.01), parallel, example_input=X, settings=BUSY
    )
    history = train(parallel, optimiser, 20, X[rank::2])
    results.put((rank, history, [p.detach().numpy() for p in model.parameters()]))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("one_thread")
def test_two_processes_replace_the_same_units_by_the_same_weights():
    import socket

    import numpy as np
    import torch.multiprocessing as mp

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("spawn")
    results = context.Queue()
    second = context.Process(target=_process, args=(1, port, results), daemon=True)
    second.start()
    _process(0, port, results)  # this is the first of the two: a process imports everything anew
    found = sorted((results.get(timeout=240) for _ in range(2)), key=lambda item: item[0])
    second.join(60)
    (_, one, weights), (_, other, theirs) = found
    assert one == other
    assert any(units for replaced in one for units in replaced)
    assert all(np.array_equal(p, q) for p, q in zip(weights, theirs, strict=True))
