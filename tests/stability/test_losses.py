"""Losses by name against torch.nn.functional, and what is refused in one line."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from lop_theory.errors import InvalidInput
from lop_theory.stability.losses import logits, loss_named

SCORES = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([[0, 1, 3], [2, 2, 0]])
VALUES = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def one(output, targets):
    return (output * targets).sum()


def alone(output):
    return output.sum()


NEITHER = 3


def test_named_losses_are_torchs() -> None:
    entropy = F.cross_entropy(SCORES.view(6, 4), LABELS.view(6))
    square = F.mse_loss(SCORES, VALUES)
    for name, targets, expected in (
        ("cross_entropy", LABELS, entropy),
        ("cross_entropy", LABELS.int(), entropy),
        ("cross_entropy", LABELS.double(), entropy),  # labels in a file of floats
        ("auto", LABELS, entropy),
        ("mse", VALUES, square),
        ("auto", VALUES, square),
        ("mse", VALUES.float(), F.mse_loss(SCORES, VALUES.float().double())),
        ("mse", LABELS[..., None].expand(2, 3, 4), F.mse_loss(SCORES, LABELS[..., None].expand(2, 3, 4).double())),
    ):
        torch.testing.assert_close(loss_named(name, targets)(SCORES), expected, rtol=1e-12, atol=0)


def test_the_outputs_own_loss_counts_only_where_none_is_named() -> None:
    output = SimpleNamespace(loss=torch.tensor(7.0), logits=SCORES)
    assert float(loss_named("auto", None)(output)) == 7
    assert float(loss_named("auto", LABELS)(output)) == 7
    torch.testing.assert_close(loss_named("mse", VALUES)(output), F.mse_loss(SCORES, VALUES))
    without = SimpleNamespace(loss=None, logits=SCORES)
    torch.testing.assert_close(loss_named("auto", VALUES)(without), F.mse_loss(SCORES, VALUES))
    with pytest.raises(InvalidInput, match="the output has no loss of its own"):
        loss_named("auto", None)(without)


@pytest.mark.parametrize("output", [SCORES, (SCORES, 1), [[SCORES], 2], SimpleNamespace(logits=(SCORES,))])
def test_the_logits_are_the_first_tensor(output) -> None:
    assert logits(output) is SCORES


@pytest.mark.parametrize("output", [(), [[]], {"y": SCORES}, None, (3, SCORES)])
def test_outputs_without_logits_are_refused(output) -> None:
    with pytest.raises(InvalidInput, match="is no tensor and has no logits"):
        logits(output)


def test_a_loss_of_ones_own_is_called_with_targets_if_there_are_any() -> None:
    torch.testing.assert_close(loss_named(f"{__name__}:one", VALUES)(SCORES), (SCORES * VALUES).sum())
    torch.testing.assert_close(loss_named(f"{__name__}:alone", None)(SCORES), SCORES.sum())


@pytest.mark.parametrize(
    ("name", "targets", "what"),
    [
        ("hinge", VALUES, "is unknown"),
        ("mse", None, "are needed for mse"),
        ("cross_entropy", None, "are needed for cross_entropy"),
        (f"{__name__}:nothing", None, "cannot be imported"),
        (f"{__name__}:NEITHER", None, "is no function"),
    ],
)
def test_names_of_no_loss_are_refused_at_once(name, targets, what) -> None:
    with pytest.raises(InvalidInput, match=what):
        loss_named(name, targets)


def test_losses_that_fail_on_the_output_say_why() -> None:
    with pytest.raises(InvalidInput, match=r"fails on the model's output \(TypeError"):
        loss_named(f"{__name__}:alone", VALUES)(SCORES)
    with pytest.raises(InvalidInput, match=r"\(2, 3\).*do not fit the output \(2, 3, 4\)"):
        loss_named("mse", VALUES[..., 0])(SCORES)
    with pytest.raises(InvalidInput, match="fails on the model's output"):
        loss_named("cross_entropy", LABELS[:1])(SCORES)
    assert math.isfinite(float(loss_named("auto", VALUES)(SCORES)))
