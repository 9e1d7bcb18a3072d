"""Checkpoints: names without wrappers, shards, what is missing or unknown; factories and their arguments."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules.building import build  # noqa: E402
from lop_theory.modules.checkpoint import MOST, fitted, load_state, load_tensors, read_state  # noqa: E402
from lop_theory.modules.command import as_batch, main, read_batch  # noqa: E402

WANTED = ("0.weight", "0.bias", "1.weight")


def state(prefix=""):
    return {f"{prefix}{name}": k for k, name in enumerate(WANTED)}


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "module._orig_mod.", "net.backbone."])
def test_wrappers_are_taken_off(prefix):
    assert fitted(state(prefix), WANTED) == state()
    assert fitted({**state(prefix), "step": 7}, WANTED) == (
        {**state(), "step": 7} if prefix in ("", "_orig_mod.") else state()
    )
    assert fitted({"other.weight": 1, **state(prefix)}, WANTED).items() >= state().items()


def test_the_prefix_is_that_of_most_names_and_the_shortest_of_those():
    mixed = {**state("ema."), "online.0.weight": 9}
    assert fitted(mixed, WANTED) == state()
    assert fitted({"a.b.w": 1, "b.w": 2}, ["b.w", "w"]) == {"a.b.w": 1, "b.w": 2}
    assert fitted({"other": 3}, WANTED) == {"other": 3}
    deep = {"0.0.weight": 1, "0.1.weight": 2}
    assert fitted(deep, ["0.0.weight", "0.1.weight"]) == deep


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))


def saved(tmp_path, tensors, name="x.pt"):
    torch.save(tensors, tmp_path / name)
    return tmp_path / name


def test_what_does_not_fit_is_listed(tmp_path):
    model, own = network(), network().state_dict()
    load_state(model, saved(tmp_path, {k: v + 1 for k, v in own.items() if "tracked" not in k}))
    assert torch.equal(model[0].bias, own["0.bias"] + 1)
    with pytest.raises(InvalidInput, match=r"1 missing \(2\.bias\); 1 unknown \(3\.bias\)"):
        load_state(model, saved(tmp_path, {**{k: v for k, v in own.items() if k != "2.bias"}, "3.bias": torch.ones(2)}))
    load_state(model, saved(tmp_path, {**own, "counter": torch.tensor(3)}))  # whole numbers are no weights
    with pytest.raises(InvalidInput, match="size mismatch"):
        load_state(model, saved(tmp_path, {**own, "2.bias": torch.ones(3)}))
    many = {**own, **{f"x{k}.w": torch.ones(1) for k in range(MOST)}}
    with pytest.raises(InvalidInput) as error:
        load_state(model, saved(tmp_path, many))
    assert "8 unknown (x0.w" in str(error.value)
    assert "…" not in str(error.value)
    with pytest.raises(InvalidInput, match=r"9 unknown \(x0\.w.*x7\.w, …\)"):
        load_state(model, saved(tmp_path, {**many, "y.w": torch.ones(1)}))


def test_tied_parameters_may_be_saved_once(tmp_path):
    model = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 4, bias=False))
    model[1].weight = model[0].weight
    load_state(model, saved(tmp_path, {"0.weight": torch.full((4, 3), 5.0)}))
    assert model[1].weight[2, 1] == 5.0
    with pytest.raises(InvalidInput, match="2 missing"):
        load_state(model, saved(tmp_path, {"2.weight": torch.ones(2)}))


def test_dictionaries_of_trainers_are_opened_where_no_tensor_is(tmp_path):
    own = {k: v.clone() for k, v in network().state_dict().items()}
    for nested in ({"state_dict": own}, {"model": {"module": own}, "epoch": 1}, {"ema_state_dict": own, "args": {}}):
        assert read_state(saved(tmp_path, nested)).keys() == own.keys()
    both = {"model_state_dict": own, "state_dict": {"x": torch.ones(1)}}
    assert read_state(saved(tmp_path, both)).keys() == {"x"}  # the first of the usual names
    for wrong in ({"a": 1}, {}, [torch.ones(1)], {"state_dict": {}}):
        with pytest.raises(InvalidInput, match="holds no state_dict"):
            read_state(saved(tmp_path, wrong))


def test_folders_and_shards(tmp_path):
    with pytest.raises(InvalidInput, match=r"has none of model\.safetensors, pytorch_model\.bin"):
        read_state(tmp_path)
    saved(tmp_path, {"a": torch.ones(1)}, "one.bin")
    saved(tmp_path, {"b": torch.ones(2)}, "two.bin")
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.bin", "b": "two.bin"}}))
    assert {k: len(v) for k, v in read_state(tmp_path).items()} == {"a": 1, "b": 2}
    for wrong, text in (
        ({"weight_map": {"a": "../one.bin"}}, "beside its index"), ({"weight_map": {"a": 3}}, "beside its index"),
        ({"weight_map": {"a": "no.bin"}}, "does not exist"), ({}, "no index"), ([], "no index"),
    ):  # fmt: skip
        index.write_text(json.dumps(wrong))
        with pytest.raises(InvalidInput, match=text):
            read_state(tmp_path)
    index.unlink()
    saved(tmp_path, {"c": torch.ones(1)}, "pytorch_model.bin")
    assert set(read_state(tmp_path)) == {"c"}


def test_arrays_and_archives_are_tensors(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(3))
    np.savez(tmp_path / "x.npz", a=np.ones(2), b=np.zeros((1, 2)))
    assert load_tensors(tmp_path / "x.npy").tolist() == [0, 1, 2]
    assert {k: tuple(v.shape) for k, v in load_tensors(tmp_path / "x.npz").items()} == {"a": (2,), "b": (1, 2)}
    with pytest.raises(InvalidInput, match=r"data=.*does not exist"):
        load_tensors(tmp_path / "y.npy", "data")
    (tmp_path / "y.npy").write_bytes(b"nothing")
    with pytest.raises(InvalidInput, match="plain file of tensors"):
        load_tensors(tmp_path / "y.npy")


def test_batches_take_the_precision_of_the_model(tmp_path):
    given = {"x": torch.ones(2, dtype=torch.float16), "n": [torch.ones(2, dtype=torch.int32), torch.tensor([True])]}
    found = as_batch(given, torch.float64)
    assert found["x"].dtype == torch.float64
    assert [t.dtype for t in found["n"]] == [torch.int64, torch.bool]
    assert isinstance(found["n"], tuple)
    with pytest.raises(InvalidInput, match="must hold tensors"):
        as_batch({"x": 3}, torch.float32)

    class Takes(nn.Linear):
        def forward(self, x, *, mask=None):  # noqa: ARG002 - a keyword that is looked for
            return super().forward(x)

    model, plain = Takes(2, 2).double(), nn.Linear(2, 2)
    for name, one in (("x", False), ("mask", False), ("y", True), ("self", False)):
        place = saved(tmp_path, {name: torch.ones(3, 2)})
        assert isinstance(read_batch(place, model), torch.Tensor) == one
        assert isinstance(read_batch(place, model, keys=True), dict)
    assert read_batch(saved(tmp_path, torch.ones(3, 2)), model).dtype == torch.float64
    assert read_batch(saved(tmp_path, {"x": torch.ones(3, 2)}), plain).dtype == torch.float32  # it takes "input"
    assert isinstance(read_batch(saved(tmp_path, {"x": torch.ones(3), "y": torch.ones(3)}), plain), dict)
    assert read_batch(saved(tmp_path, torch.ones(3, 2).double()), nn.Identity()).dtype == torch.float32


@pytest.fixture
def factory(tmp_path, monkeypatch):
    (tmp_path / "factory_for_checkpoints.py").write_text(
        "from torch import nn\n"
        "from lop_theory.errors import InvalidInput\n"
        "def build(width=2, off=nn.Dropout(0.5)):\n"
        "    if width < 1: raise InvalidInput('width', width, 'must be positive')\n"
        "    return nn.Sequential(nn.Linear(3, width), off or nn.Identity(), nn.ReLU(), nn.Linear(width, 2))\n"
        "value = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "factory_for_checkpoints"


def test_factories(factory):
    assert build(f"{factory}:build")[0].out_features == 2
    assert build(f"{factory}:build", '{"width": 5}')[0].out_features == 5
    assert build(f"{factory}:build", "")[0].out_features == 2
    for target, arguments, text in (
        (f"{factory}:build", '{"width": 0}', "width=0: must be positive"), (f"{factory}:build", "[1]", "--args"),
        (f"{factory}:build", "{", "--args"), (f"{factory}:value", None, "is no function but"),
        (factory, None, "is no module:factory"),
        ("builtins:dict", None, "must return an nn.Module, not dict"),
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match=text):
            build(target, arguments)


@pytest.fixture
def command(factory, tmp_path):
    torch.manual_seed(0)
    place = saved(tmp_path, build(f"{factory}:build", '{"width": 6}').state_dict())
    data = torch.randn(10, 3)

    def run(*more, inputs=data):
        found = saved(tmp_path, inputs, "data.pt")
        return main([str(place), "--model", f"{factory}:build", "--args", '{"width": 6}', "--data", str(found), *more])

    return run


def test_batches_of_a_size_are_as_one(command, capsys):
    found = {}
    for size in (None, 1, 4, 10, 99):
        assert command("--json", *(() if size is None else ("--batch-size", str(size)))) in (0, 1)
        found[size] = json.loads(capsys.readouterr().out)
    assert {k: v["batches"] for k, v in found.items()} == {None: 1, 1: 10, 4: 3, 10: 1, 99: 1}
    assert {v["samples"] for v in found.values()} == {10}
    blocks = [[x["blocks"] for x in v["layers"]] for v in found.values()]
    assert all(one == blocks[0] for one in blocks)
    assert command("--batch-size", "0") == 2
    assert "must be at least 1" in capsys.readouterr().err
    for wrong in ([torch.ones(4, 3), torch.ones(5, 3)], torch.ones(0, 3)):
        assert command("--batch-size", "2", inputs=wrong) == 2
        assert "one number of samples" in capsys.readouterr().err


def test_modes_thresholds_and_ranges_reach_the_detection(factory, tmp_path, capsys):
    model = build(f"{factory}:build", '{"width": 6}')
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = model[0].weight[0] * (1 + 1e-4), model[0].bias[0]
        model[0].weight[3], model[0].bias[3] = 0.5, -1.0
    place, rows = saved(tmp_path, model.state_dict()), torch.rand(40, 3)
    wide, within = saved(tmp_path, 2 * rows, "data.pt"), saved(tmp_path, 0.1 * rows, "within.pt")

    def layers(*more, data=wide, arguments='{"width": 6}'):
        options = ("--model", f"{factory}:build", "--args", arguments, "--data", str(data), "--json", *more)
        main([str(place), *options])
        return {x["module"]: x for x in json.loads(capsys.readouterr().out)["layers"]}

    plain = layers()
    assert plain["0"]["cloned"] == 0
    assert layers("--clone", "1e-2")["0"]["blocks"][:2] == [0, 0]
    assert plain["0"]["near"] == 2
    assert layers("--near", "1")["0"]["near"] == 0
    assert len(layers("--dormant", "1e9")["2"]["dormant"]) == 6 > len(plain["2"]["dormant"])
    plainly = {"data": within, "arguments": '{"width": 6, "off": null}'}
    frozen = [
        [b["units"] for b in layers("--input-range", *ends, **plainly)["2"]["verdicts"] if b["kind"] == "frozen"]
        for ends in (("-1", "0.1"), ("0", "2"))
    ]
    assert [3] in frozen[0]
    assert [3] not in frozen[1]
    assert layers()["2"]["distance"] == plain["2"]["distance"]  # dropout is off
    eyes = layers("--train-mode")
    assert eyes["0"]["blocks"] == plain["0"]["blocks"]
    assert eyes["2"]["distance"] != plain["2"]["distance"]  # dropout is on
