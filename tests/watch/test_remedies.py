"""Every line of the table of remedies, tried: what is able leaves, what is unable does not."""

import copy

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.modules import detect  # noqa: E402
from lop_theory.optim import UPGD, ContinualBackprop, NoisySGD, ReDo, ReGraMa, fire, shrink_and_perturb  # noqa: E402
from lop_theory.optim.continual_backprop import Settings  # noqa: E402
from lop_theory.stability import escaped  # noqa: E402
from lop_theory.watch.remedies import REMEDIES  # noqa: E402
from tests.watch.nets import X, clone, freeze, losses, mlp, silence, train  # noqa: E402

BUSY = Settings(rate=0.5, maturity=1, decay=0.5)


def adamw(model, decay=0.0):
    return torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=decay)


def companion(kind, **options):
    def apply(model):
        train(model, kind(adamw(model), model, example_input=X, **options), 12)
        return model

    return apply


def own(make):
    def apply(model):
        train(model, make(model), 12)
        return model

    return apply


def once(action):
    def apply(model):
        action(model)
        return model

    return apply


def between_tasks(model):
    for seed in range(8):
        shrink_and_perturb(model, shrink=0.8, perturb=0.1, seed=seed)


def with_dropout(model):
    wider = nn.Sequential(*model[:2], nn.Dropout(0.3), *model[2:4], nn.Dropout(0.3), *model[4:])
    train(wider, adamw(wider), 12)
    return model


def along_the_escape(model):
    found = detect(model, X, loss=lambda f: losses(f).mean())
    return escaped(model, found, lambda f: losses(f).mean(), size=0.05).model if found.verdicts("trapped") else model


APPLY = {
    "continual backprop": companion(ContinualBackprop, settings=BUSY),
    "ReDo": companion(ReDo, period=4),
    "ReGraMa": companion(ReGraMa, period=4),
    "shrink and perturb": once(between_tasks),
    "UPGD": own(lambda m: UPGD(m.parameters(), lr=0.5, sigma=1.0)),
    "gradient noise": own(lambda m: NoisySGD(m.parameters(), lr=0.1, sigma=0.5)),
    "dropout": with_dropout,
    "escape direction": along_the_escape,
    "FIRE": once(fire),
    "decoupled weight decay": own(lambda m: adamw(m, decay=1.0)),
}

PLANTED = {
    "trapped": lambda: clone(mlp(activation=nn.Tanh)),
    "frozen": lambda: freeze(mlp()),
    "silent": lambda: silence(mlp()),
    "dormant": lambda: small(mlp(activation=nn.Tanh)),
}


@torch.no_grad()
def small(model):
    model[0].weight[5] *= 1e-4
    model[0].bias[5] = 0
    return model


def left(finding, model):
    """Whether the planted units are no longer what they were."""
    z = model[0](X)
    match finding:
        case "trapped":
            return float((model[0].weight[0] - model[0].weight[1]).abs().max().detach()) > 1e-4
        case "frozen":
            return bool((model[2].weight[3] > 0).any() or model[2].bias[3] >= 0)
        case "silent":
            return float(z[:, 4].max().detach()) > 0
        case "dormant":
            size = torch.tanh(z).abs().mean(0)
            return bool(size[5] > 0.025 * size.mean())


def test_every_remedy_is_tried():
    assert {remedy.name for remedy in REMEDIES} == set(APPLY)


@pytest.mark.parametrize("finding", PLANTED)
def test_plain_training_does_not_leave_what_was_planted_but_the_dormant(finding):
    model = PLANTED[finding]()
    train(model, torch.optim.Adam(model.parameters(), lr=0.003), 12)
    assert left(finding, model) == (finding == "dormant")


@pytest.mark.parametrize(("name", "finding"), [(r.name, f) for r in REMEDIES for f in r.leaves])
def test_what_is_able_leaves(name, finding):
    model = PLANTED[finding]()
    assert left(finding, APPLY[name](copy.deepcopy(model)))


@pytest.mark.parametrize(("name", "finding"), [(r.name, f) for r in REMEDIES for f in r.keeps])
def test_what_is_unable_does_not(name, finding):
    model = PLANTED[finding]()
    assert not left(finding, APPLY[name](copy.deepcopy(model)))
