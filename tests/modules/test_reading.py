"""What a command is given and what it makes of it: options by name, batches cut to a size, files that hold more than
tensors, folders, configs."""

import json
import pickle
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules import Loader, expand  # noqa: E402
from lop_theory.modules.building import _keywords, _line, imported  # noqa: E402
from lop_theory.modules.checkpoint import _reason, load_state, load_tensors, read_state  # noqa: E402
from lop_theory.modules.command import _detected, _inputs, _takes, parser  # noqa: E402
from lop_theory.modules.growth import profile_of_clone  # noqa: E402
from lop_theory.modules.infer import inferred_profile  # noqa: E402
from tests.modules.nets import Model, X  # noqa: E402
from tests.modules.test_scales import attention  # noqa: E402

DEFAULTS = {
    "checkpoint": Path("x.pt"), "model": None, "args": None, "data": Path("d.npy"), "batch_size": None, "mask": None,
    "clone": 1e-6, "near": 0.95, "dormant": 0.025, "input_range": None, "train_mode": False, "json": False,
    "html": None, "verbose": False,
}  # fmt: skip


def test_options_and_what_they_are_without_being_given():
    assert vars(parser().parse_args(["x.pt", "--data", "d.npy"])) == DEFAULTS
    words = (
        "x.pt --data d.npy --model m:f --args {} --batch-size 3 --mask k --clone 1e-3 --near 0.5 --dormant 0.1 "
        "--input-range -1 2 --train-mode --json --html p.html --verbose"
    )
    assert vars(parser().parse_args(words.split())) == DEFAULTS | {
        "model": "m:f", "args": "{}", "batch_size": 3, "mask": "k", "clone": 1e-3, "near": 0.5, "dormant": 0.1,
        "input_range": [-1.0, 2.0], "train_mode": True, "json": True, "html": "p.html", "verbose": True,
    }  # fmt: skip
    for wrong in ("x.pt", "--data d.npy", "x.pt --data d.npy --batch-size 1.5", "x.pt --data d.npy --input-range 1"):
        with pytest.raises(SystemExit):
            parser().parse_args(wrong.split())


def saved(tmp_path, held, name="x.pt"):
    torch.save(held, tmp_path / name)
    return tmp_path / name


def test_batches_of_a_size_keep_what_has_no_samples(tmp_path):
    model, rows = nn.Linear(2, 2), torch.arange(10.0).reshape(5, 2)

    def inputs(held, size, mask=None):
        return _inputs(Namespace(data=saved(tmp_path, held), batch_size=size, mask=mask), model)

    found = inputs([rows, torch.tensor(7.0), {"k": rows[:, 0]}], 2)
    assert isinstance(found, Loader)
    assert [len(batch[0]) for batch in found.batches] == [2, 2, 1]
    assert [batch[2]["k"].tolist() for batch in found.batches] == [[0.0, 2.0], [4.0, 6.0], [8.0]]
    assert all(float(batch[1]) == 7.0 for batch in found.batches)
    assert torch.equal(found.batches[1][0], rows[2:4])
    assert found.inputs(found.batches[0]) is found.batches[0]
    assert torch.equal(inputs(rows, None), rows)
    assert torch.equal(inputs({"any": rows}, None), rows)
    assert inputs({"any": rows}, None, mask="any").keys() == {"any"}
    assert len(inputs(rows, 1).batches) == 5
    for held, size in ((torch.tensor(7.0), 1), ([rows, rows[:4]], 2), (rows[:0], 2)):
        with pytest.raises(InvalidInput, match=r"^--batch-size=.*one number of samples"):
            inputs(held, size)
    for size in (0, -1):
        with pytest.raises(InvalidInput, match=r"must be at least 1"):
            inputs(rows, size)


class Names(nn.Module):
    def forward(self, x, *, mask=None):
        local = x if mask is None else x * mask
        return local


class Builtin(nn.Module):
    forward = print


def test_keywords_are_those_of_forward():
    assert [_takes(Names(), name) for name in ("x", "mask", "local", "self", "y")] == [True, True, False, True, False]
    assert not _takes(Builtin(), "x")


def test_a_file_needs_a_factory_and_a_range_is_a_pair(tmp_path, monkeypatch):
    from lop_theory.modules import command

    seen = {}
    monkeypatch.setattr(command, "detect", lambda model, data, **options: seen.update(options, model=model, data=data))
    monkeypatch.setattr(
        command, "build", lambda target, arguments: seen.update(build=(target, arguments)) or nn.Linear(2, 2)
    )
    monkeypatch.setattr(command, "from_folder", lambda folder: seen.update(folder=folder) or nn.Linear(2, 2))
    place, rows = saved(tmp_path, nn.Linear(2, 2).state_dict()), saved(tmp_path, torch.ones(3, 2), "d.pt")
    saved(tmp_path, nn.Linear(2, 2).state_dict(), "pytorch_model.bin")
    options = Namespace(**DEFAULTS | {"checkpoint": place, "data": rows})
    with pytest.raises(InvalidInput, match=r"^--model=None: is needed for a checkpoint that is no folder"):
        _detected(options)
    for changes, training, ends in (
        ({"model": "m:f", "args": "{}"}, False, None),
        ({"checkpoint": tmp_path, "train_mode": True, "input_range": [-1.0, 2.0]}, True, (-1.0, 2.0)),
        (
            {"checkpoint": tmp_path, "model": "m:f", "clone": 0.5, "near": 0.6, "dormant": 0.7, "mask": None},
            False,
            None,
        ),
    ):
        seen.clear()
        _detected(Namespace(**vars(options) | changes))
        assert seen["model"].training == training
        assert seen["criteria"].input_range == ends
        assert ("build" in seen) == ("model" in changes)
    assert seen["criteria"][:3] == (0.5, 0.6, 0.7)


# --- files ------------------------------------------------------------------------------------------------------------


class Runs:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return (Path.touch, (self.place,))


@pytest.mark.parametrize("kind", ["npy", "npz", "pt"])
def test_objects_in_a_file_are_never_made(tmp_path, kind):
    trap, place = tmp_path / "trap", tmp_path / f"x.{kind}"
    held = np.array([Runs(trap)], dtype=object)
    if kind == "npy":
        np.save(place, held, allow_pickle=True)
    elif kind == "npz":
        np.savez(place, a=np.ones(2), b=held)
    else:
        place.write_bytes(pickle.dumps(Runs(trap)))
    with pytest.raises(InvalidInput, match=r"^file=.*is refused: it is not a plain file of tensors"):
        load_tensors(place)
    assert not trap.exists()


def test_what_a_refusal_says_is_cut():
    assert _reason(ValueError("x" * 161)) == "x" * 160
    assert _reason(RuntimeError("long\nUnsupported " + "x" * 200)) == ("Unsupported " + "x" * 200)[:160]
    assert _reason(ValueError("One. Two. Three")) == "One"
    assert _reason(ValueError("No Unsupported word\nat its begin")) == "No Unsupported word"
    assert _line(ValueError("a \n b" + "x" * 200)) == f"ValueError: a b{'x' * 157}"


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(InvalidInput, match=r"^data=.*is no file; check the path"):
        load_tensors(tmp_path, "data")


def test_the_first_of_a_folders_weights_is_read_shards_before_one_file(tmp_path):
    from safetensors.torch import save_file

    saved(tmp_path, {"bin": torch.ones(1)}, "pytorch_model.bin")
    saved(tmp_path, {"shard": torch.ones(1)}, "shard.bin")
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"shard": "shard.bin"}}))
    assert set(read_state(tmp_path)) == {"shard"}
    save_file({"safe": torch.ones(1)}, tmp_path / "model.safetensors")
    assert set(read_state(tmp_path)) == {"safe"}


def test_what_torch_says_of_a_state_that_does_not_fit_is_cut(tmp_path):
    model = nn.ModuleDict({"a" * 60: nn.Linear(2, 2), "b" * 60: nn.Linear(2, 2)})
    state = {name: torch.ones(3) for name in model.state_dict()}
    with pytest.raises(InvalidInput) as told:
        load_state(model, saved(tmp_path, state))
    reason = str(told.value).partition("does not fit the model (")[2]
    assert reason.startswith("Error(s) in loading state_dict for ModuleDict: size mismatch")
    assert len(reason) == 160 + len(")")


def test_functions_are_imported_by_module_and_name(monkeypatch):
    import sys

    assert imported("p", "json:dumps", "module:factory") is json.dumps
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    imported("p", "json:dumps", "module:factory")
    assert sys.path[0] == ""
    imported("p", "json:dumps", "module:factory")
    assert sys.path.count("") == 1
    for target in ("json", ":dumps", "json:", ""):
        with pytest.raises(InvalidInput, match=r"is no module:factory"):
            imported("p", target, "module:factory")
    assert _keywords(None) == _keywords("") == {}
    assert _keywords('{"a": 1}') == {"a": 1}
    for wrong in ("{", "[1]", "3"):
        with pytest.raises(InvalidInput, match=r"^--args="):
            _keywords(wrong)


def test_configs_with_and_without_an_architecture(tmp_path):
    transformers = pytest.importorskip("transformers")
    from lop_theory.modules.building import from_folder

    sizes = {"model_type": "bert", "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1,
             "intermediate_size": 4, "vocab_size": 9, "max_position_embeddings": 4}  # fmt: skip
    for more, kind in (
        ({}, "BertModel"), ({"architectures": ["BertForMaskedLM", "BertModel"]}, "BertForMaskedLM"),
        ({"architectures": [""]}, "BertModel"), ({"architectures": ["NoSuchClass"]}, None),
    ):  # fmt: skip
        (tmp_path / "config.json").write_text(json.dumps({**sizes, **more}))
        if kind is None:
            with pytest.raises(InvalidInput, match=r"transformers has no class NoSuchClass"):
                from_folder(tmp_path)
        else:
            assert type(from_folder(tmp_path)) is getattr(transformers, kind)


# --- profiles that are read off sizes ---------------------------------------------------------------------------------


class Sized(nn.Module):
    def __init__(self, inputs=3, hidden=2, empty=0):
        super().__init__()
        self.a, self.o = nn.Linear(inputs, hidden), nn.Linear(hidden, 2)
        self.empty = nn.Parameter(torch.zeros(empty))

    def forward(self, x):
        return self.o(torch.tanh(self.a(x[:, : self.a.in_features])))


def test_heads_are_tried_before_what_is_in_them():
    base = Model(attention(lambda s, x: (s.q(x), None)))
    base.q = nn.Linear(5, 4)
    clone = expand(base.double(), 2, example_input=X, attention="heads")
    found = inferred_profile(clone, base, X).state
    assert {name: [i.tolist() for i in maps] for name, maps in found.items()} == {
        name: [i.tolist() for i in maps] for name, maps in profile_of_clone(clone).state.items()
    }
    assert found["q.weight"][0].tolist() == [0, 1, 0, 1, 2, 3, 2, 3]


def test_multiplicities_are_ratios_of_sizes_of_what_may_be_cloned():
    x = torch.randn(4, 6)
    found = inferred_profile(Sized(hidden=6), Sized(), x)
    assert found.state["a.weight"][0].tolist() == [0, 0, 0, 1, 1, 1]
    assert found.state["o.weight"][1].tolist() == [0, 0, 0, 1, 1, 1]
    assert found.state["a.weight"][1].tolist() == [0, 1, 2]
    assert inferred_profile(Sized(), Sized(), x).state["a.bias"][0].tolist() == [0, 1]
    for wide in (Sized(hidden=5), Sized(hidden=1), Sized(inputs=6), Sized(empty=4)):
        with pytest.raises(InvalidInput, match=r"^base='Sized': the model's sizes are no multiples"):
            inferred_profile(wide, Sized(), x)
