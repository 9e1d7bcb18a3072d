"""Detection against planted clones, frozen, dead and saturated units; the command line and what it refuses."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.modules import Criteria, certify, detect, expand  # noqa: E402
from lop_theory.modules.__main__ import main  # noqa: E402
from lop_theory.modules.detect import exact_blocks  # noqa: E402

ROWS = torch.randn(40, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 2)).double()


def layer(detection, module):
    return next(x for x in detection.layers if x.module == module)


@pytest.mark.claim("clone-forward")
def test_expanded_clones_are_found_as_they_were_made():
    base = network()
    clone = expand(base, 3, example_input=ROWS)
    assert layer(detect(base, ROWS), "0").cloned == 0
    for found in detect(clone, ROWS).layers:
        assert found.blocks == tuple(np.repeat(np.arange(found.units // 3), 3))
        assert (
            found.distance == pytest.approx(0, abs=1e-12)
            or found.near > found.cloned
            or len(set(found.near_blocks)) < found.units // 3
        )


def test_near_clones_are_reported_with_their_distances():
    model = network()
    with torch.no_grad():
        model[0].weight[1] = model[0].weight[0] * (1 + 1e-4)
        model[0].bias[1] = model[0].bias[0]
    found = layer(detect(model, ROWS), "1")
    assert found.cloned == 0
    assert found.near_blocks[0] == found.near_blocks[1]
    assert found.distance > 0
    exact = layer(detect(model, ROWS, criteria=Criteria(clone=1e-3)), "1")
    assert exact.blocks[0] == exact.blocks[1]


def test_weight_distance_is_zero_on_clones_and_grows_with_the_perturbation():
    clone = expand(network(), 2, example_input=ROWS)
    criteria = Criteria(near=1 - 1e-9)
    distances = []
    for size in (0.0, 1e-8, 1e-7):
        with torch.no_grad():
            clone.state()["2.weight"][0, 0] += size
        distances.append(layer(detect(clone, ROWS, criteria=criteria), "2").weight_distance)
    assert distances[0] == pytest.approx(0, abs=1e-15)
    assert distances[0] < distances[1] < distances[2]


@pytest.mark.claim("frozen-unit")
def test_frozen_dead_dormant_and_saturated_units_are_named():
    model = network()
    with torch.no_grad():
        model[0].bias[2] = -100.0  # relu never active: dead, dormant and frozen
        model[2].bias[3] = 60.0  # tanh saturated to 1: derivative exactly 0
        model[2].bias[4] = 12.0  # tanh close to 1: derivative 1e-10, saturated but not exactly frozen
    relu, tanh = layer(detect(model, ROWS), "1"), layer(detect(model, ROWS), "3")
    assert 2 in relu.dead
    assert 2 in relu.dormant
    assert 2 in relu.frozen
    assert 3 in tanh.frozen
    assert 4 not in tanh.frozen
    assert 4 in layer(detect(model, ROWS), "2").saturated
    model.zero_grad()
    (model(ROWS) ** 2).sum().backward()
    assert float(model[0].weight.grad[2].abs().max()) == 0.0
    assert float(model[2].weight.grad[3].abs().max()) == 0.0


def test_detection_disturbs_nothing():
    model = (
        nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)).double().train()
    )
    before = {k: v.clone() for k, v in model.state_dict().items()}
    random = torch.get_rng_state()
    detect(model, ROWS)
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


def test_exact_blocks_against_pairwise_comparison():
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(20, 5, generator=generator, dtype=torch.float64)[:, [0, 1, 2, 0, 3, 1, 4, 0, 2]]
    assert exact_blocks(h, 1e-9) == (0, 1, 2, 0, 3, 1, 4, 0, 2)


def test_table_and_json_agree():
    found = detect(expand(network(), 2, example_input=ROWS), ROWS)
    table, data = found.table(), found.as_json()
    rows, _, legend = table.partition("\n\n")
    assert len(rows.splitlines()) == 1 + len(found.layers)
    assert "cosine" in legend
    assert json.loads(json.dumps(data))["layers"][0]["cloned"] == found.layers[0].cloned == 16


# --- command line -----------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path, monkeypatch):
    (tmp_path / "factory_of_tests.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 2))\n"
        "def nothing():\n    return None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    model = network().float()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    np.save(tmp_path / "data.npy", ROWS.float().numpy())
    return tmp_path


def run(files, checkpoint="model.pt", *more, model="factory_of_tests:build", data="data.npy"):
    return main([str(files / checkpoint), "--model", model, "--data", str(files / data), *more])


def test_command_prints_a_table_or_json(files, capsys):
    assert run(files) == 0
    assert "frozen" in capsys.readouterr().out
    assert run(files, "model.pt", "--json") == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 40


def test_command_reads_safetensors(files, capsys):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(network().float().state_dict(), str(files / "model.safetensors"))
    safetensors.save_file({"x": ROWS.float()}, str(files / "data.safetensors"))
    assert run(files, "model.safetensors", data="data.safetensors") == 0
    assert "0 [linear]" in capsys.readouterr().out


def test_command_can_fail_on_clones(files):
    model = network().float()
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = model[0].weight[0], model[0].bias[0]
    torch.save(model.state_dict(), files / "clones.pt")
    assert run(files, "model.pt", "--fail-on-clones") == 0
    assert run(files, "clones.pt", "--fail-on-clones") == 1


class Malicious:
    def __reduce__(self):
        return (print, ("code of the checkpoint was executed",))


def test_a_pickle_that_wants_more_is_refused_and_not_executed(files, capsys):
    torch.save({"weight": Malicious()}, files / "torch.pt")
    (files / "plain.pt").write_bytes(pickle.dumps(Malicious()))
    np.save(files / "objects.npy", np.array([Malicious()], dtype=object), allow_pickle=True)
    for arguments in ({"checkpoint": "torch.pt"}, {"checkpoint": "plain.pt"}, {"data": "objects.npy"}):
        assert run(files, **arguments) == 2
        out, err = capsys.readouterr()
        assert "executed" not in out
        assert "refused" in err
        assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"checkpoint": "missing.pt"},
        {"data": "missing.npy"},
        {"model": "no_such_module_of_tests:build"},
        {"model": "factory_of_tests:missing"},
        {"model": "factory_of_tests:nothing"},
        {"checkpoint": "data.npy"},
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(files, capsys, arguments):
    assert run(files, **arguments) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_checkpoint_of_another_shape_is_refused(files, capsys):
    torch.save(nn.Linear(4, 3).state_dict(), files / "other.pt")
    assert run(files, "other.pt") == 2
    assert "does not fit" in capsys.readouterr().err


def test_the_rest_of_the_library_does_not_import_torch():
    code = (
        "import sys, pkgutil, importlib, lop_theory\n"
        "skip = ('lop_theory.modules', 'lop_theory.trace', 'lop_theory.metrics', 'lop_theory.optim',"
        " 'lop_theory.stability', 'lop_theory.strategies')\n"
        "for m in pkgutil.iter_modules(lop_theory.__path__, 'lop_theory.'):\n"
        "    if not m.name.startswith(skip) and not m.name.endswith('__main__'): importlib.import_module(m.name)\n"
        "print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_detected_clones_of_a_trained_clone_still_match_the_certificate():
    clone = expand(network(), 2, example_input=ROWS)
    optimiser = torch.optim.Adam(clone.parameters(), 1e-2)
    for _ in range(20):
        optimiser.zero_grad()
        (clone(ROWS) ** 2).mean().backward()
        optimiser.step()
    assert certify(clone, example_input=ROWS)
    assert all(found.cloned == found.units for found in detect(clone, ROWS).layers)
