"""Nearest manifolds and frozen units against lop_theory.graph's exact answers, and planted violations."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from empirical.theory import check_model, counts  # noqa: E402
from empirical.theory.frozen import certified_units, check_frozen  # noqa: E402
from empirical.theory.nearest import check_nearest, width_classes  # noqa: E402
from empirical.theory.probe import measured_pass  # noqa: E402
from lop_theory.graph.certificate import frozen_units  # noqa: E402
from lop_theory.graph.convert import from_torch  # noqa: E402
from lop_theory.graph.nearest import nearest_pair  # noqa: E402
from lop_theory.modules.zoo import Options, ViT, cnn, mlp, resnet18  # noqa: E402

torch.set_num_threads(1)
IMAGE = (2, 8, 8)
MODELS = {
    "mlp": lambda: mlp(128, 4, hidden=(6, 5), options=Options("layer", nn.GELU)),
    "cnn": lambda: cnn(IMAGE, 4, channels=(3, 4, 5), fully_connected=6, options=Options("batch")),
    "resnet": lambda: resnet18(IMAGE, 4, base=2, blocks=(1, 1), options=Options("none")),
    "vit": lambda: ViT(IMAGE, 4, patch=4, width=4, depth=1, heads=2, ratio=2),
}


def data(samples=100):
    return torch.randn(samples, *IMAGE, generator=torch.Generator().manual_seed(0))


def build(name):
    torch.manual_seed(0)
    return MODELS[name]()


def dense(seed, activation=nn.ReLU):
    torch.manual_seed(seed)
    layers = [nn.Linear(5, 6), activation(), nn.Linear(6, 7), activation(), nn.Linear(7, 2)]
    return nn.Sequential(*layers)


@pytest.mark.claim("clone-gradient")
@pytest.mark.parametrize("name", MODELS)
def test_planted_copies_have_equal_gradients_in_every_width_class(name):
    model, inputs = build(name), data()
    for found in width_classes(model, inputs):
        clone = copy.deepcopy(model)
        tensors = dict(clone.named_parameters()) | dict(clone.named_buffers())
        with torch.no_grad():
            for slot in found.slots:
                wide = tensors[slot.name].movedim(slot.dim, 0)
                order = torch.tensor(slot.order).reshape(found.units, -1)
                wide[order[1]] = wide[order[0]]
            for slot in found.slots:  # twice: a parameter may hold the class in two dimensions
                wide = tensors[slot.name].movedim(slot.dim, 0)
                order = torch.tensor(slot.order).reshape(found.units, -1)
                wide[order[1]] = wide[order[0]]
        seen = measured_pass(clone, inputs)
        check = next(c for c in check_nearest(clone, inputs, seen.gradients) if c.measured == 0)
        assert (check.verdict, check.layer) == ("pass", found.label)
        gradients = {k: v + 0.1 * torch.randn(v.shape) * v.abs().max() for k, v in seen.gradients.items()}
        broken = next(c for c in check_nearest(clone, inputs, gradients) if c.measured == 0)
        assert broken.verdict == "fail"


@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_pair_is_the_graphs(seed):
    """One test of the distance by an independent implementation, on all width classes together."""
    model = dense(seed)
    checks = check_nearest(model, torch.randn(4, 5), {})
    assert {c.verdict for c in checks} == {"out of hypothesis"}
    distances = [float(c.reason.split(" are ")[1].split()[0]) for c in checks]
    exact = nearest_pair(from_torch(model))
    assert min(distances) == pytest.approx(exact.distance, rel=5e-3)


def test_a_copy_with_another_bias_is_not_a_copy():
    model = dense(0)
    with torch.no_grad():
        for row in (model[0].weight, model[2].weight.T):
            row[1] = row[0]
        model[0].bias[1] = model[0].bias[0] + 1e-2
    check = check_nearest(model, torch.randn(4, 5), {})[0]
    assert check.verdict == "out of hypothesis"
    assert check.reason.startswith("units 0 and 1 of 6")


def test_dropout_that_is_on_leaves_the_hypothesis():
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 2))
    with torch.no_grad():
        for row in (model[0].weight, model[0].bias, model[3].weight.T):
            row[1] = row[0]
    inputs = torch.randn(20, 5)
    for training, verdict in ((True, "out of hypothesis"), (False, "pass")):
        seen = measured_pass(model.train(training), inputs)
        check = check_nearest(model, inputs, seen.gradients)[0]
        assert (check.measured, check.verdict, "dropout" in check.reason) == (0, verdict, training)


def test_architectures_that_are_built_alike_are_traced_once():
    assert width_classes(build("mlp"), data()) is width_classes(build("mlp"), data())
    assert len(width_classes(build("cnn"), data())) == 4


@pytest.mark.claim("frozen-unit")
@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Tanh])
def test_certified_units_are_the_exact_certificates(activation):
    """Over a box: certified in floats implies certified in exact arithmetic; equal where no bound is a near miss."""
    total = 0
    for seed in range(12):
        model = dense(seed, activation)
        rng = np.random.default_rng(seed)
        with torch.no_grad():
            for layer in (model[0], model[2]):
                layer.bias += torch.tensor(rng.choice([-12.0, 0.0, 12.0], len(layer.bias)), dtype=torch.float32)
                layer.weight[rng.random(len(layer.bias)) < 0.3] *= -1
            model[2].weight[0] = -model[2].weight[0].abs()  # rectified upstream units can only push it down
        inputs = 2 * torch.rand(30, 5) - 1
        exact = {frozen.id for frozen in frozen_units(from_torch(model), (-1, 1))}
        found = certified_units(model, inputs, (-1.0, 1.0))
        ours = {
            f"l{layer}.{unit}"
            for layer, name in ((1, "1"), (2, "3"))
            for unit in torch.nonzero(found[name][1]).flatten().tolist()
        }
        assert ours == {name for name in exact if not name.startswith("l3")}
        here = certified_units(model, inputs)
        assert all(bool((here[name][1] | ~mask).all()) for name, (_, mask) in found.items())  # the data lie in the box
        total += len(ours)
    assert (total > 0) == (activation is not nn.Tanh)


def test_a_bound_within_rounding_of_the_kink_is_not_certified():
    model = nn.Sequential(nn.Linear(1000, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.copy_(torch.tensor([-1000.0 - 1e-3, -1001.0]))
    assert certified_units(model, torch.ones(4, 1000))["1"][1].tolist() == [False, True]


@pytest.mark.claim("frozen-unit")
def test_certified_units_have_no_gradient_and_do_not_move_and_a_leak_fails():
    model = build("cnn").eval()
    dead = mlp(128, 4, hidden=(6, 5), options=Options("none", nn.ReLU, dropout=0.2))
    with torch.no_grad():
        dead[1].bias[:2] = -1e3
        dead[5].weight[1] = -dead[5].weight[1].abs()
        dead[5].bias[1] = -1.0
    inputs = data()
    seen = measured_pass(dead, inputs)
    checks = {c.layer: c for c in check_frozen(dead, inputs, seen.gradients)}
    assert [checks[k].verdict for k in ("3", "7")] == ["pass", "pass"]
    assert checks["3"].reason.startswith("2 of 6")
    assert checks["7"].reason.startswith("1 of 5")
    leaked = {**seen.gradients, "1.bias": seen.gradients["1.bias"] + 1e-30}
    assert {c.layer: c for c in check_frozen(dead, inputs, leaked)}["3"].verdict == "fail"
    before = [dead[1].weight[:2].clone(), dead[5].weight[1].clone()]
    optimiser = torch.optim.SGD(dead.parameters(), 0.5)
    for _ in range(20):
        optimiser.zero_grad()
        dead(inputs).square().mean().backward()
        optimiser.step()
    assert torch.equal(dead[1].weight[:2], before[0])
    assert torch.equal(dead[5].weight[1], before[1])
    assert {c.verdict for c in check_frozen(model, inputs, {})} == {"out of hypothesis"}


@pytest.mark.parametrize("name", MODELS)
def test_all_checks_of_every_architecture_without_a_trace(name):
    model, inputs = build(name), data()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    checks = check_model(model, inputs, lambda out: nn.functional.cross_entropy(out, torch.arange(100) % 4))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    found = counts(checks)
    assert found["theory_pass"] + found["theory_fail"] + found["theory_out"] == len(checks)
    assert found["theory_fail"] == 0
    assert {c.prediction for c in checks} == {"rank-gain", "clone-distance", "frozen"}


def test_tampered_activations_fail_through_the_whole_check():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(128, 20), nn.ReLU(), nn.Linear(20, 4))
    assert counts(check_model(model, data(500)))["theory_rank_gain_pass"] == 1
    model[2].register_forward_hook(lambda _module, args, _output: args[0] + 2 * args[0][:, :1])
    assert counts(check_model(model, data(500)))["theory_rank_gain_fail"] == 1
