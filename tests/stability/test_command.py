"""The command: an analysis in text, JSON and pictures; every bad input is one line and exit code 2."""

import json
import subprocess
import sys
from argparse import Namespace
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from torch import nn

from lop_theory.errors import InvalidInput
from lop_theory.stability import command
from lop_theory.stability.__main__ import main as entry
from lop_theory.stability.analysis import Settings, _kind
from lop_theory.stability.command import _device, _settings, main, parser
from lop_theory.stability.inertia import inertia_of
from lop_theory.stability.krylov import Ritz, Spectrum

FACTORY = "tests.stability.test_command:mlp"


def mlp(width: int = 3, dropout: float = 0.0, activation: str = "GELU", zero: bool = False) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(4, width), getattr(nn, activation)(), nn.Dropout(dropout), nn.Linear(width, 2)]
    if zero:
        nn.init.zeros_(layers[0].weight)
        nn.init.zeros_(layers[0].bias)
    return nn.Sequential(*layers)


class Function(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        functions = {
            "hypot": lambda: torch.hypot(z, torch.zeros_like(z)),
            "norm": lambda: z.unsqueeze(-1).norm(dim=-1),
            "heaviside": lambda: z * torch.heaviside(z, torch.zeros_like(z)),
            "fmod": lambda: torch.fmod(z, 0.5),
            "frac": lambda: torch.frac(z),
        }
        return functions[self.name]()


def odd(function: str) -> nn.Module:
    """Two clones, and a unit whose sums are 0 on all data."""
    model = mlp(4)
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = model[0].weight[0], model[0].bias[0]
        model[3].weight[:, 1] = model[3].weight[:, 0]
        model[0].weight[2], model[0].bias[2] = 0.0, 0.0
    model[1] = Function(function)
    return model


def raw(output: torch.Tensor) -> torch.Tensor:
    return output.square()


def constant(_: torch.Tensor) -> torch.Tensor:
    return torch.ones(())


def own(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (output - targets).square().mean()


@pytest.fixture
def files(tmp_path):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(16, 4, generator=draw)
    torch.save(x, tmp_path / "x.pt")
    torch.save(torch.randn(16, 2, generator=draw), tmp_path / "y.pt")
    torch.save((x[:, 0] > 0).long(), tmp_path / "labels.pt")
    return tmp_path


def asked(files, *more: str, model: str = FACTORY, targets: str = "y.pt") -> list[str]:
    given = ["--targets", str(files / targets)] if targets else []
    return [model, "--data", str(files / "x.pt"), *given, "--seeds", "2", "--steps", "300", *more]


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_an_analysis_counts_what_it_finds(files, capsys):
    code, out, _ = run(capsys, *asked(files, "--widen", "2", "--redistribute", "1", "--json"))
    found = json.loads(out)
    assert code == 0
    assert found["kind"] == "saddle"
    assert found["on_manifold"]
    assert found["normal_share_of_gradient"] < 1e-12
    assert sum(found["inertia"][name] for name in ("negative", "zero", "positive")) == found["normal"]
    assert found["spectrum"]["complete"]
    assert found["spectrum"]["lowest"][0]["value"] < found["escape"]["curvature"] < 0
    assert max(pair["residual"] for pair in found["spectrum"]["lowest"]) < 1e-12
    assert found["flat"]["form"] < 1e-12
    for one in found["departures"]:
        assert one["measured"] is not None
        assert abs(one["along"] - one["measured"]) <= 1
        assert one["at_least"] <= one["measured"]


def test_few_products_decide_nothing_but_a_saddle(files, capsys):
    code, out, _ = run(
        capsys, *asked(files, "--widen", "2", "--dense", "0", "--products", "2", "--seeds", "0", "--json")
    )
    found = json.loads(out)
    assert not found["spectrum"]["converged"]
    assert not found["inertia"]["exact"]
    assert (found["kind"], code) in (("saddle", 0), (None, 1))


def test_text_and_picture(files, capsys):
    picture = files / "out.png"
    code, out, _ = run(
        capsys, *asked(files, "--widen", "2", "--targets", str(files / "labels.pt"), "--plot", str(picture))
    )
    assert code == 0
    for word in ("spectrum", "inertia", "saddle", "redistributions", "along the manifold", "measured", "mean±std"):
        assert word in out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_checkpoint_of_clones_and_a_loss_of_ones_own(files, capsys):
    from lop_theory.modules import expand

    clone = expand(mlp().eval(), 2, example_input=torch.load(files / "x.pt"))
    torch.save(clone.state_dict(), files / "clone.pt")
    wide = ["--model", FACTORY, "--args", '{"width": 6}', "--loss", "tests.stability.test_command:own"]
    code, out, _ = run(capsys, *asked(files, *wide, model=str(files / "clone.pt")))
    assert code == 0
    assert "saddle" in out


def normal_share(clone, x, clones):
    """‖∇L − means of ∇L over products of blocks‖ / ‖∇L‖, by loops over entries."""
    clone = clone.double()
    slopes = torch.autograd.grad((clone(x.double()) - 1).square().mean(), list(clone.parameters()))
    apart = whole = 0.0
    for (name, _), slope in zip(clone.named_parameters(), slopes, strict=True):
        labels = [torch.arange(n) if k is None else k for k, n in zip(clones.labels[name], slope.shape, strict=True)]
        keys = [tuple(int(k[i]) for k, i in zip(labels, place, strict=True)) for place in torch.cartesian_prod(
            *[torch.arange(n) for n in slope.shape]).reshape(-1, slope.dim()).tolist()]  # fmt: skip
        values = slope.reshape(-1).tolist()
        for key in set(keys):
            block = [v for v, k in zip(values, keys, strict=True) if k == key]
            apart += sum((v - sum(block) / len(block)) ** 2 for v in block)
        whole += sum(v * v for v in values)
    return (apart / whole) ** 0.5


def test_beside_the_manifold_is_said():
    from lop_theory.modules import expand
    from lop_theory.stability import Settings, analyse, clones_of
    from lop_theory.stability.printout import printed

    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
    clone = expand(mlp().eval(), 2, example_input=x)
    clones = clones_of(clone, x)
    with torch.no_grad():
        clone[0].weight[0] += 0.1
    found = analyse(clone, x, lambda y: (y - 1).square().mean(), clones, settings=Settings(seeds=(0,)))
    assert not found.on_manifold
    share = normal_share(clone, x, clones)
    assert found.tangent == pytest.approx(share, rel=1e-4)
    assert 1e-3 < share < 1
    assert found.departures == ()
    assert "BESIDE" in printed(found)


def test_at_a_minimum_there_is_no_gradient_to_have_a_share_of():
    from lop_theory.modules import expand
    from lop_theory.stability import Settings, analyse
    from lop_theory.stability.printout import printed

    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(1)).double()
    clone = expand(mlp().double().eval(), 2, example_input=x)
    reached = clone(x).detach()
    found = analyse(clone, x, lambda y: (y - reached).square().mean(), settings=Settings(seeds=()))
    assert (found.gradient, found.tangent, found.on_manifold) == (0.0, 0.0, True)
    assert found.kind == "flat"  # outputs do not tell clones apart, so neither does their square
    assert found.inertia == (0, found.normal, 0, True)
    assert found.flat.kernel == found.normal
    assert found.flat.form < 1e-12
    assert "escape      none to second order" in printed(found)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ([], "has no units that compute the same"),
        (["--widen", "2", "--loss", "tests.stability.test_command:raw", "--targets", ""], "must be one real number"),
        (["--widen", "2", "--loss", "tests.stability.test_command:constant", "--targets", ""], "does not depend"),
        (["--widen", "2", "--train-mode", "--args", '{"dropout": 0.5}'], "draws random numbers"),
        (["--widen", "2", "--args", '{"activation": "ReLU", "zero": true}'], "has a kink at these weights"),
        (["--widen", "1"], "--widen=1: must be at least 2"),
        (["--widen", "2", "--redistribute", "-1"], "--redistribute=-1: must be at least 0"),
        (["--redistribute", "1"], "beside --widen"),
        (["--widen", "2", "--start", "1e-18", "--radius", "1e-3"], "is lost in the rounding"),
        (["--widen", "2", "--loss", "hinge"], "--loss='hinge': is unknown"),
        (["--widen", "2", "--loss", "nowhere:loss"], "cannot be imported"),
        (["--widen", "2", "--targets", ""], "--targets"),
        (["--widen", "2", "--radius", "1e-7"], "0 < start < radius"),
        (["--widen", "2", "--step-size", "-1"], "--step-size=-1.0: must be positive"),
        (["--widen", "2", "--device", "cuda:99"], "--device='cuda:99': is not there"),
        (["--widen", "2", "--plot", "nowhere/a.png"], "does not exist"),
        (["--widen", "2", "--step-size", "1e9"], "descent diverges"),
    ],
)
def test_bad_input_is_one_line(files, capsys, more, what):
    words = list(more)
    if "--targets" in words:
        place = words.index("--targets")
        del words[place : place + 2]
        arguments = asked(files, *words, targets="")
    else:
        arguments = asked(files, *words)
    code, out, err = run(capsys, *arguments)
    assert code == 2, err
    assert out == ""
    assert what in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "more", "what"),
    [
        ("missing.pt", [], "MODEL='missing.pt': is no module:factory, and a checkpoint needs one"),
        ("missing.pt", ["--model", FACTORY], "does not exist"),
        (FACTORY, ["--model", FACTORY], "does not exist; give a checkpoint, or no --model"),
        ("nowhere:build", [], "cannot be imported"),
        (FACTORY, ["--args", '{"width": 2, "depth": 3}'], "fails"),
    ],
)
def test_models_that_are_none(files, capsys, model, more, what):
    code, out, err = run(capsys, *asked(files, *more, "--widen", "2", model=model))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert what in err


def test_a_file_with_a_colon_in_its_name_is_a_checkpoint(files, capsys, monkeypatch):
    monkeypatch.chdir(files)
    torch.save(mlp().state_dict(), "a:b")
    code, _, err = run(capsys, *asked(files, "--widen", "2", "--seeds", "0", "--model", FACTORY, model="a:b"))
    assert (code, err) == (0, "")


def settings(*more: str) -> Settings:
    return _settings(parser().parse_args([FACTORY, "--data", "x.pt", *more]))


def test_settings_that_are_not_given_are_those_of_the_library():
    assert settings() == Settings()
    assert Settings() == (
        5, 1e-3, 200, 600, None, 1e-5, 1e-3, 500, (0, 1, 2, 3, 4), "escape", torch.float64
    )  # fmt: skip
    help_text = " ".join(parser().format_help().split())
    for said in (
        "shown at each end (5)",
        "over the largest (1e-3)",
        "products of Lanczos (200)",
        "every one (600)",
        "over ‖weights‖ (1e-5)",
        "having left (1e-3)",
        "of gradient descent (500)",
        "direction (5; 0: none)",
    ):
        assert said in help_text


@pytest.mark.parametrize(
    ("name", "least", "field"),
    [
        ("outer", 1, "outer"),
        ("products", 2, "products"),
        ("dense", 0, "dense"),
        ("steps", 1, "steps"),
        ("seeds", 0, "seeds"),
    ],
)
def test_settings_at_their_least(name, least, field):
    found = getattr(settings(f"--{name}", str(least)), field)
    assert found == (tuple(range(least)) if name == "seeds" else least)
    with pytest.raises(InvalidInput, match=f"--{name}={least - 1}: must be at least {least}"):
        settings(f"--{name}", str(least - 1))


@pytest.mark.parametrize(
    "more",
    [
        "--start 0", "--start 1e-3 --radius 1e-3", "--radius inf", "--start nan", "--tolerance 0", "--tolerance inf",
        "--step-size 0", "--step-size nan", "--redistribute 0", "--widen 2 --redistribute -1",
    ],
)  # fmt: skip
def test_settings_that_are_none(more):
    with pytest.raises(InvalidInput):
        settings(*more.split())


def test_settings_as_given():
    more = "--widen 2 --redistribute 0 --start 1e-4 --radius 2e-4 --tolerance 0.5 --step-size 0.1 --along noise"
    found = settings(*more.split(), "--precision", "float32")
    assert (found.start, found.radius, found.tolerance, found.step_size) == (1e-4, 2e-4, 0.5, 0.1)
    assert (found.along, found.precision) == ("noise", torch.float32)


def test_data_that_do_not_fit_and_a_pickle_that_wants_code(files, capsys):
    torch.save(torch.randn(3, 5), files / "wrong.pt")
    arguments = [FACTORY, "--data", str(files / "wrong.pt"), "--targets", str(files / "y.pt"), "--widen", "2"]
    code, _, err = run(capsys, *arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert "does not fit the model" in err
    torch.save(mlp(), files / "pickle.pt")
    code, _, err = run(capsys, *asked(files, "--model", FACTORY, model=str(files / "pickle.pt")))
    assert (code, err.count("\n")) == (2, 1)
    assert "not a plain file of tensors" in err


def test_without_torch_it_is_one_line():
    program = "import sys; sys.modules['torch'] = None; from lop_theory.cli import run; " \
        "from lop_theory.stability.__main__ import main; run(lambda: main(['a:b', '--data', 'x.pt']))"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: this command needs torch")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("function", "what"),
    [
        ("hypot", "is the second derivative"),
        ("norm", "model='linalg_vector_norm': has a kink"),
        ("heaviside", "has no derivative"),
        ("fmod", "model='fmod': has a kink"),
        ("frac", "model='frac': has a kink"),
    ],
)
def test_what_has_no_derivative_at_the_point_is_refused(function, what, files, capsys):
    model = "tests.stability.test_command:odd"
    code, out, err = run(capsys, *asked(files, "--args", json.dumps({"function": function}), model=model))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert what in err


def test_a_folder_tells_its_model_itself(tmp_path, monkeypatch):
    """And what is loaded is the folder's, whatever the factory drew."""
    given, seen = nn.Linear(2, 2), []
    monkeypatch.setattr(command, "from_folder", lambda path: seen.append(path) or given)
    monkeypatch.setattr(command, "load_state", lambda model, path: seen.append((model, path)))
    assert command._model(Namespace(model=str(tmp_path), factory=None, args=None)) is given
    assert seen == [tmp_path, (given, tmp_path)]


@pytest.mark.parametrize(
    ("kind", "on_manifold", "code"), [("saddle", True, 0), ("flat", True, 0), (None, True, 1), ("saddle", False, 1)]
)
def test_what_is_not_decided_or_beside_the_manifold_exits_with_1(kind, on_manifold, code, monkeypatch, capsys):
    monkeypatch.setattr(command, "as_json", lambda _: {"said": 1})
    monkeypatch.setattr(command, "printed", lambda _: "said in words")
    found = SimpleNamespace(kind=kind, on_manifold=on_manifold)
    for as_json, said in ((True, '{"said": 1}\n'), (False, "said in words\n")):
        assert command._shown(found, Namespace(json=as_json)) == code
        assert capsys.readouterr().out == said
    monkeypatch.setattr(command, "as_json", lambda _: {"said": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        command._shown(found, Namespace(json=True))


def test_targets_are_one_tensor_under_any_name(tmp_path):
    from safetensors.torch import save_file

    for held in ({"labels": torch.tensor([1, 2])}, {"labels": torch.tensor([1]), "more": torch.tensor([2])}):
        save_file(held, tmp_path / "t.safetensors")
        if len(held) == 1:
            assert command._targets(tmp_path / "t.safetensors").tolist() == [1, 2]
        else:
            with pytest.raises(InvalidInput, match="must hold one tensor; save the labels alone"):
                command._targets(tmp_path / "t.safetensors")
    torch.save(torch.tensor([3]), tmp_path / "t.pt")
    assert command._targets(tmp_path / "t.pt").tolist() == [3]


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg", ".txt", ""])
def test_pictures_have_known_suffixes(suffix, tmp_path):
    if suffix in (".txt", ""):
        with pytest.raises(InvalidInput, match=r"must end in \.png, \.pdf or \.svg"):
            command._plot_file(str(tmp_path / f"a{suffix}"))
    else:
        assert command._plot_file(str(tmp_path / f"a{suffix}")) == tmp_path / f"a{suffix}"


def test_without_data_there_is_one_line(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([FACTORY])
    assert "required: --data" in capsys.readouterr().err


@pytest.mark.parametrize("sources", [1, 2])
def test_few_normal_dimensions_are_halved_between_both_ends(sources):
    from lop_theory.modules import expand
    from lop_theory.stability import analyse

    x = torch.randn(5, sources, generator=torch.Generator().manual_seed(0))
    model = expand(nn.Sequential(nn.Linear(sources, 1), nn.Tanh(), nn.Linear(1, 1)), 2, example_input=x)
    found = analyse(model, x, lambda y: y.square().mean(), settings=Settings(seeds=()))
    assert (found.normal, len(found.spectrum.lowest), len(found.spectrum.highest)) == (sources + 2, 2, 2)
    values = found.spectrum.values.tolist()
    assert [pair.value for pair in found.spectrum.lowest] == values[:2]
    assert [pair.value for pair in found.spectrum.highest] == values[:-3:-1]
    assert (found.spectrum.complete, found.spectrum.converged, found.spectrum.products) == (True, True, sources + 2)


@pytest.mark.parametrize(
    ("share", "precision", "on"),
    [
        (0.7e-6, torch.float64, True), (1.5e-6, torch.float64, False), (3e-6, torch.float64, False),
        (0.7e-3, torch.float32, True), (1.5e-3, torch.float32, False),
    ],
)  # fmt: skip
def test_a_millionth_of_the_gradient_may_leave_the_manifold(share, precision, on):
    """In float32 a thousandth."""
    from lop_theory.modules import expand
    from lop_theory.stability import analyse, clones_of

    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(1)).double()
    clone = expand(mlp().eval().double(), 2, example_input=x)
    clones, weight = clones_of(clone, x), clone[0].weight.detach().clone()

    def at(shift):
        with torch.no_grad():
            clone[0].weight.copy_(weight)
            clone[0].weight[0] += shift
        return analyse(
            clone, x, lambda y: (y - 1).square().mean(), clones, settings=Settings(seeds=(), precision=precision)
        )

    step = 1e-3 if precision == torch.float32 else 1e-6
    found = at(step * share / at(step).tangent)
    assert found.tangent == pytest.approx(share, rel=2e-2)
    assert found.on_manifold == on


def test_weights_of_no_length_are_no_unit_of_distances():
    from lop_theory.modules import expand
    from lop_theory.stability import analyse

    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
    clone = expand(mlp().eval(), 2, example_input=x)
    for parameter in clone.parameters():
        nn.init.zeros_(parameter)
    with pytest.raises(InvalidInput, match="is the norm of its weights, the unit of distances; give --seeds 0"):
        analyse(clone, x, lambda y: (y - 1).square().mean())
    found = analyse(clone, x, lambda y: (y - 1).square().mean(), settings=Settings(seeds=()))
    assert found.kind == "saddle"


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.int64])
def test_other_precisions_are_refused(precision):
    from lop_theory.stability import analyse

    with pytest.raises(InvalidInput, match=r"must be torch\.float64 or torch\.float32"):
        analyse(mlp(), torch.ones(2, 4), torch.sum, settings=Settings(precision=precision))


def test_the_module_is_the_command(capsys):
    assert entry(["missing.pt", "--data", "x.pt"]) == 2
    assert "missing.pt" in capsys.readouterr().err


def test_a_device_is_the_one_that_is_named():
    assert _device("cpu") == torch.device("cpu")


def test_rounding_of_float32_is_no_curvature(files, capsys):
    found = []
    for precision in ("float64", "float32"):
        more = ("--widen", "2", "--json", "--seeds", "0", "--precision", precision)
        arguments = asked(files, *more, targets="labels.pt")
        found.append(json.loads(run(capsys, *arguments)[1])["inertia"])
    assert found[0] == found[1]
    assert found[0]["zero"] > 0


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(
    ("low", "high", "kind"), [(1.0, 2.0, "stable but for flat directions"), (-2.0, -1.0, "unstable"), (-1, 2, "saddle")]
)
def test_some_eigenvalues_decide_nothing_but_a_saddle_and_count_no_zeros(low, high, kind, complete):
    ends = [(Ritz(value, torch.ones(1), 0.0),) for value in (low, high)]
    values = torch.tensor([low, 0.0, high])
    found = Spectrum(*ends, values, complete, converged=True, products=3)
    assert _kind(found, 1e-9) == (kind if complete or kind == "saddle" else None)
    assert inertia_of(values, 1e-9, exact=complete).zero == int(complete)


@pytest.mark.parametrize(("fault", "line"), [
    (ZeroDivisionError("planted"), "ZeroDivisionError: planted"),
    (ModuleNotFoundError("No module named 'nobody_has'", name="nobody_has"),
     "ModuleNotFoundError: No module named 'nobody_has'"),
])  # fmt: skip
def test_a_fault_of_ours_is_neither_a_verdict_nor_bad_input(fault, line, files, capsys, monkeypatch):
    monkeypatch.setattr(command, "analyse", Mock(side_effect=fault))
    assert run(capsys, *asked(files)) == (70, "", f"internal error: {line} (--verbose shows where)\n")


def test_a_missing_extra_is_left_to_be_named(files, monkeypatch):
    monkeypatch.setattr(command, "analyse", Mock(side_effect=ModuleNotFoundError("gone", name="matplotlib")))
    with pytest.raises(ModuleNotFoundError):
        main(asked(files))
