"""The command line: what people have is read, what executes code is refused, exit codes are never confused."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.modules.command import main  # noqa: E402

ROWS = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))


def network(width=8):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 6), nn.Tanh(), nn.Linear(6, 2))


def cloned():
    model = network()
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = model[0].weight[0], model[0].bias[0]
    return model


@pytest.fixture
def files(tmp_path, monkeypatch):
    (tmp_path / "factory_of_tests.py").write_text(
        "from torch import nn\n"
        "def build(width=8):\n"
        "    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 6), nn.Tanh(), nn.Linear(6, 2))\n"
        "def nothing():\n    return None\n"
        "def leaves():\n    raise SystemExit(1)\n"
        "def fails():\n    raise RuntimeError('one\\ntwo')\n"
        "class Words(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.words, self.out = nn.Embedding(9, 8), nn.Linear(8, 2)\n"
        "    def forward(self, ids, attention_mask=None):\n"
        "        return self.out(self.words(ids).tanh())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    model = network()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    np.save(tmp_path / "data.npy", ROWS.numpy())
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
    safetensors.save_file(network().state_dict(), str(files / "model.safetensors"))
    safetensors.save_file({"x": ROWS}, str(files / "data.safetensors"))
    assert run(files, "model.safetensors", data="data.safetensors") == 0
    assert "0 [linear]" in capsys.readouterr().out


def test_clones_are_exit_code_1(files):
    torch.save(cloned().state_dict(), files / "clones.pt")
    assert run(files, "model.pt") == 0
    assert run(files, "clones.pt") == 1


def test_a_layer_that_could_not_be_judged_is_no_clean_bill(files, capsys):
    state = network().state_dict()
    state["0.weight"][0, 0] = torch.nan
    torch.save(state, files / "nan.pt")
    assert run(files, "nan.pt") == 1
    assert "skipped: 0: has NaN" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong", [["--clone", "nan"], ["--near", "2"], ["--dormant", "-1"], ["--input-range", "2", "1"]]
)
def test_thresholds_that_nothing_meets_are_refused(files, capsys, wrong):
    assert run(files, "model.pt", *wrong) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def wrapped(state):
    """The same state as trainers save it."""
    yield "data_parallel", {f"module.{k}": v for k, v in state.items()}
    yield "compiled", {f"_orig_mod.{k}": v for k, v in state.items()}
    yield "both", {f"module._orig_mod.{k}": v for k, v in state.items()}
    yield "lightning", {"state_dict": {f"model.{k}": v for k, v in state.items()}, "epoch": 3, "hyper_parameters": {}}
    yield "trainer", {"model_state_dict": state, "optimizer_state_dict": {"state": {}, "param_groups": []}, "step": 7}
    yield "nested", {"model": {f"net.backbone.{k}": v for k, v in state.items()}}
    yield "bfloat16", {k: v.bfloat16() for k, v in state.items()}


@pytest.mark.parametrize("name", [name for name, _ in wrapped({})])
def test_checkpoints_are_read_as_trainers_save_them(files, name, capsys):
    torch.save(dict(wrapped(cloned().state_dict()))[name], files / "found.pt")
    assert run(files, "found.pt", "--json") == 1
    kinds = [block["kind"] for x in json.loads(capsys.readouterr().out)["layers"] for block in x["verdicts"]]
    assert "separating" in kinds


def test_a_factory_takes_arguments(files, capsys):
    torch.save(network(12).state_dict(), files / "wide.pt")
    assert run(files, "wide.pt", "--args", '{"width": 12}') == 0
    assert run(files, "wide.pt", "--args", '{"width": 5}') == 2
    assert run(files, "wide.pt", "--args", '{"height": 5}') == 2
    assert run(files, "wide.pt", "--args", "width=12") == 2
    assert all(line.startswith("error: ") for line in capsys.readouterr().err.strip().splitlines())


def test_integers_masks_batches_and_the_page(files, capsys):
    import factory_of_tests

    torch.manual_seed(0)
    torch.save(factory_of_tests.Words().state_dict(), files / "words.pt")
    ids = np.random.default_rng(0).integers(0, 9, (10, 6)).astype(np.int32)
    np.savez(files / "text.npz", ids=ids, attention_mask=np.ones((10, 6), dtype=np.int64))
    arguments = ("--mask", "attention_mask", "--batch-size", "4", "--html", str(files / "page.html"), "--json")
    assert run(files, "words.pt", *arguments, model="factory_of_tests:Words", data="text.npz") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["samples"], found["batches"]) == (10, 3)
    assert (files / "page.html").read_text().startswith("<!doctype html>")


def test_a_hugging_face_folder_needs_no_factory(files, capsys):
    transformers = pytest.importorskip("transformers")
    small = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**small, num_attention_heads=2))
    model.save_pretrained(files / "whole")
    model.save_pretrained(files / "sharded", max_shard_size="10KB")
    assert (files / "sharded" / "model.safetensors.index.json").is_file()
    np.savez(files / "ids.npz", input_ids=np.random.default_rng(0).integers(0, 50, (12, 7)))
    for folder in ("whole", "sharded"):
        code = main([str(files / folder), "--data", str(files / "ids.npz"), "--json"])
        assert code == 0
        names = [x["module"] for x in json.loads(capsys.readouterr().out)["layers"]]
        assert "bert.encoder.layer.0.intermediate.intermediate_act_fn" in names
    (files / "whole" / "config.json").write_text(
        '{"model_type": "bert", "auto_map": {"AutoModel": "x.Y"}, "architectures": ["Own"]}'
    )
    assert main([str(files / "whole"), "--data", str(files / "ids.npz")]) == 2
    index = files / "sharded" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../whole/model.safetensors"}}))
    assert main([str(files / "sharded"), "--data", str(files / "ids.npz")]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 2
    assert "beside its index" in errors[1]


def test_a_fault_of_ours_is_neither_a_clone_nor_bad_input(files, capsys, monkeypatch):
    from lop_theory.modules import command

    def broken(*_, **__):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(command, "detect", broken)
    assert run(files) == 70
    assert capsys.readouterr().err == "internal error: ZeroDivisionError: planted (--verbose shows where)\n"


def test_a_process_says_nothing_but_its_table(files):
    torch.save(cloned().state_dict(), files / "clones.pt")
    command = [sys.executable, "-m", "lop_theory.modules", str(files / "clones.pt"), "--data", str(files / "data.npy")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(files), os.getcwd()])}
    result = subprocess.run(
        [*command, "--model", "factory_of_tests:build"], capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == 1
    assert result.stderr == ""
    assert "separating" in result.stdout


class Malicious:
    def __reduce__(self):
        return (print, ("code of the checkpoint was executed",))


def test_a_pickle_that_wants_more_is_refused_and_not_executed(files, capsys):
    torch.save({"weight": Malicious()}, files / "torch.pt")
    (files / "plain.pt").write_bytes(pickle.dumps(Malicious()))
    objects = np.array([Malicious()], dtype=object)
    np.save(files / "objects.npy", objects, allow_pickle=True)
    np.savez(files / "objects.npz", input=objects)
    for name in ("torch.pt", "plain.pt", "objects.npy", "objects.npz"):
        assert run(files, **{"data" if name.startswith("objects") else "checkpoint": name}) == 2
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
        {"model": "factory_of_tests:leaves"},
        {"model": "factory_of_tests:fails"},
        {"checkpoint": "data.npy"},
        {"model": "factory_of_tests"},
        {"model": ":build"},
        {"data": "folder.npy"},
        {"data": "no_samples.npy"},
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(files, capsys, arguments):
    (files / "folder.npy").mkdir(exist_ok=True)
    np.save(files / "no_samples.npy", np.load(files / "data.npy")[:0])
    assert run(files, **arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert next(iter(arguments)) in err


def test_a_damaged_file_comes_without_the_advice_to_run_it(files, capsys):
    (files / "noise.pt").write_bytes(b"\xff\xfe\x00\x80\xe9" * 20)
    assert run(files, "noise.pt") == 2
    assert "Unsupported operand 255); save its tensors alone" in capsys.readouterr().err


def test_a_checkpoint_of_another_shape_is_refused(files, capsys):
    torch.save(nn.Linear(4, 3).state_dict(), files / "other.pt")
    assert run(files, "other.pt") == 2
    assert "does not fit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError(""), "ValueError"),
        (ValueError("  first\nsecond"), "first"),
        (ValueError("x" * 200), "x" * 160),
        (
            RuntimeError("long\n  Unsupported global: GLOBAL os.system was not allowed\nmore"),
            "Unsupported global: GLOBAL",
        ),
        (RuntimeError("long\n  Unsupported class os.system\nmore"), "Unsupported class os.system"),
    ],
)
def test_a_refusal_tells_its_first_line_or_what_was_asked_for(error, reason):
    from lop_theory.modules.checkpoint import _reason

    assert _reason(error).startswith(reason)
    assert "\n" not in _reason(error)
    assert len(_reason(error)) <= 160
