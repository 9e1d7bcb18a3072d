"""Two processes: both measure on both probes and have the same numbers, one writes."""

import json
import os

import pytest

torch = pytest.importorskip("torch")
import torch.distributed as dist  # noqa: E402
import torch.multiprocessing as mp  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

from lop_theory import watch  # noqa: E402
from lop_theory.watch.probe import as_probe  # noqa: E402
from lop_theory.watch.sinks import lines_of  # noqa: E402
from tests.watch.nets import X, losses, mlp  # noqa: E402


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = mlp()
    parallel = DistributedDataParallel(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    mine = X[rank * 32 : rank * 32 + 32]
    with watch(parallel, mine, every=2, measures=("churn",), sinks=[f"{folder}/run.jsonl"]) as monitor:
        for _ in range(4):
            optimiser.zero_grad()
            parallel(mine).square().mean().backward()
            optimiser.step()
    with open(f"{folder}/{rank}.json", "w") as stream:
        json.dump([found.as_json() for found in monitor.records], stream)
    dist.destroy_process_group()


@pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "thorough", reason="two processes: make thorough")
@pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="no gloo here")
def test_all_processes_have_the_numbers_of_all_probes(tmp_path):
    mp.spawn(process, (str(tmp_path),), nprocs=2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second == lines_of(tmp_path / "run.jsonl")
    assert first[0]["layers"]["1"]["samples"] == 64
    alone = watch(mlp(), X, loss=losses, measures=()).measure()
    assert first[0]["layers"]["1"]["units"] == alone.layers["1"].units


def test_the_probes_of_all_processes_are_joined_along_their_samples(monkeypatch):
    def gather(every, mine):
        every[:] = [mine, [t + 100 if isinstance(t, torch.Tensor) else t for t in mine]]

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_gather_object", gather)
    ids, mask = torch.arange(6).view(3, 2), torch.ones(2, 2)
    found = as_probe({"ids": ids, "mask": mask, "cache": False}, None).inputs
    assert torch.equal(found["ids"], torch.cat([ids, ids + 100]))
    assert torch.equal(found["mask"], mask)  # not of the samples: one is as good as another
    assert found["cache"] is False
