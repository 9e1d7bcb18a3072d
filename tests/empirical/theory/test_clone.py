"""Clone against base: matched rates pass, what was broken fails, what may leave is out of hypothesis."""

import copy
from functools import lru_cache

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from empirical.theory import Dynamics, check_clone, counts, nudged  # noqa: E402
from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules import expand  # noqa: E402
from lop_theory.modules.rates import matched_groups  # noqa: E402
from lop_theory.modules.zoo import Options, cnn, mlp  # noqa: E402
from lop_theory.optim import NoisySGD  # noqa: E402

IMAGE = (1, 8, 8)


pytestmark = pytest.mark.usefixtures("one_thread")


@lru_cache
def pair(name="mlp", dropout=0.0):
    torch.manual_seed(0)
    if name == "mlp":
        base = mlp(64, 3, hidden=(8, 7), options=Options("none", nn.Tanh, dropout))
    else:
        base = cnn(IMAGE, 3, channels=(3, 4), fully_connected=5, options=Options("batch", nn.ReLU, dropout))
    return base, expand(base, 2, example_input=torch.randn(4, *IMAGE), traced=True)


def data(step):
    generator = torch.Generator().manual_seed(step)
    return torch.randn(16, *IMAGE, generator=generator), torch.randint(0, 3, (16,), generator=generator)


def train(model, optimiser, steps=20):
    for step in range(steps):
        x, y = data(step)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()


def trained(name="mlp", *, matched=True, make=torch.optim.SGD):
    base, clone = copy.deepcopy(pair(name))
    train(base, make(base.parameters(), 0.05))
    train(clone, make(matched_groups(clone, 0.05) if matched else clone.parameters(), 0.05))
    return base.eval(), clone.eval()


def verdicts(checks):
    return {(check.prediction, check.layer): check.verdict for check in checks}


@pytest.mark.claim("clone-rates")
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_matched_rates_pass_everywhere_and_the_models_are_not_touched(name):
    base, clone = trained(name)
    before = {k: v.clone() for k, v in (*base.state_dict().items(), *clone.state_dict().items())}
    checks = check_clone(base, clone, *data(99))
    assert set(verdicts(checks).values()) == {"pass"}
    assert [c.layer for c in checks][-2:] == ["gradients", "outputs"]
    assert counts(checks)["theory_clone_distance_pass"] == len(checks) - 2 > 0
    after = {**base.state_dict(), **clone.state_dict()}
    assert all(torch.equal(after[k], v) for k, v in before.items() if k in after and after[k].shape == v.shape)
    assert all(p.grad is None or p.grad.isfinite().all() for p in base.parameters())


@pytest.mark.claim("clone-rates")
def test_equal_rates_stay_on_the_manifold_but_not_with_the_base():
    base, clone = trained(matched=False)
    checks = check_clone(base, clone, *data(99), dynamics=Dynamics(matched=False))
    assert verdicts(checks)["clone-equals-base", "outputs"] == "out of hypothesis"
    assert checks[-1].measured > 1e-3
    assert verdicts(checks)["clone-equals-base", "gradients"] == "pass"
    claimed = check_clone(base, clone, *data(99), dynamics=Dynamics(matched=True))  # a false claim is found out
    assert verdicts(claimed)["clone-equals-base", "outputs"] == "fail"


@pytest.mark.claim("clone-trajectory")
def test_noise_is_out_of_hypothesis_and_a_failure_where_it_is_denied():
    base, clone = trained(make=lambda groups, lr: NoisySGD(groups, lr, sigma=0.01))
    honest = verdicts(check_clone(base, clone, *data(99), dynamics=Dynamics("asymmetric")))
    assert set(honest.values()) == {"out of hypothesis"}
    denied = check_clone(base, clone, *data(99), dynamics=Dynamics("linear"))
    assert {c.verdict for c in denied if c.prediction == "clone-distance"} == {"fail"}
    assert counts(denied)["theory_fail"] == 2


def test_a_unit_moved_by_hand_fails_and_names_the_layer():
    base, clone = trained()
    with torch.no_grad():
        clone.get_parameter("5.weight")[0] += 0.1
    found = verdicts(check_clone(base, clone, *data(99)))
    assert found["clone-distance", "7"] == "fail"
    assert found["clone-equals-base", "outputs"] == "out of hypothesis"


def test_a_wrong_base_fails_the_comparison_of_outputs_only():
    base, clone = trained()
    with torch.no_grad():
        base[1].bias += 0.1
    found = verdicts(check_clone(base, clone, *data(99)))
    assert found.pop(("clone-equals-base", "outputs")) == "fail"
    assert set(found.values()) == {"pass"}


def test_wrong_factors_fail_the_comparison_of_gradients():
    base, clone = trained()
    clone.factors["5.weight"] = clone.factors["5.weight"] * 1.01
    found = verdicts(check_clone(base, clone, *data(99)))
    assert found["clone-equals-base", "gradients"] == "fail"


def test_active_dropout_is_out_of_hypothesis():
    base, clone = copy.deepcopy(pair("mlp", 0.2))
    found = check_clone(base.train(), clone.train(), *data(99))
    assert {c.verdict for c in found} == {"out of hypothesis"}
    assert "dropout" in found[0].reason


def test_a_model_that_expand_did_not_make_is_refused():
    base, _ = pair()
    with pytest.raises(InvalidInput, match="must be what expand made"):
        check_clone(base, base, *data(0))


def test_a_twin_one_rounding_away_sets_the_allowance_for_rounding():
    base, clone = trained()
    twin = nudged(base)
    assert (
        0
        < max(float((p - q).detach().abs().max()) for p, q in zip(base.parameters(), twin.parameters(), strict=True))
        < 1e-6
    )
    assert check_clone(base, clone, *data(99), dynamics=Dynamics(twin=twin))[-1].verdict == "pass"
    with torch.no_grad():
        base[9].bias[0] += 1e-3  # a mistake far beyond what rounding explains
    assert check_clone(base, clone, *data(99), dynamics=Dynamics(twin=nudged(base)))[-1].verdict == "fail"
    with torch.no_grad():
        twin[9].bias[0] += 1.0  # a twin that has lost its base: training was chaotic
    chaotic = check_clone(base, clone, *data(99), dynamics=Dynamics(twin=twin))[-1]
    assert chaotic.verdict == "out of hypothesis"
    assert "rounding" in chaotic.reason
