"""Which clones a model has, by a trace, a detection or a profile; redistributions are tested."""

import copy

import pytest
import torch
from torch import nn

from lop_theory.errors import InvalidInput
from lop_theory.modules import detect, expand
from lop_theory.stability import (
    analyse,
    clones_of,
    coordinates,
    curvature,
    dense,
    escape_direction,
    normal,
    redistributions,
)
from lop_theory.stability import found as found_module
from lop_theory.stability.analysis import Settings
from tests.stability.nets import mlp


class Answer(nn.Module):
    """A network whose outputs are a mapping with numbers, integers and nothing among them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, width), nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> dict:
        y = self.b(torch.tanh(self.a(x)))
        return {"y": y, "best": y.argmax(1), "number": 3, "none": None}


def test_outputs_that_are_no_real_tensors_are_passed_over() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 3)
    clone = expand(Answer(3), 2, example_input=x)
    found = clones_of(clone, x)
    assert found.summed == {"b.weight": 1}


def test_from_a_detection_a_profile_or_nothing_it_is_one_manifold() -> None:
    base, x = mlp(nn.Tanh)
    clone = expand(base, 2, example_input=x, traced=True)
    where = coordinates(clone)
    found = [clones_of(clone, x, given) for given in (None, detect(clone, x), clone.profile)]
    draw = torch.randn(where.dimension)
    images = [(normal(c, where).project(draw), redistributions(c, where).project(draw)) for c in found]
    for image in images[1:]:
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(image, images[0], strict=True))
    assert redistributions(found[0], where).dimension > 0
    with pytest.raises(InvalidInput, match="no units that compute the same"):
        clones_of(base, x)


def test_a_profile_tells_its_own_clones_alone() -> None:
    """Two units of the base are the same, too, which a trace finds."""
    base, x = mlp(nn.Tanh)
    with torch.no_grad():
        base[0].weight[1], base[0].bias[1] = base[0].weight[0], base[0].bias[0]
        base[2].weight[:, 1] = base[2].weight[:, 0]
    clone = expand(base, 2, example_input=x, traced=True)
    where = coordinates(clone)
    told, traced = (normal(clones_of(clone, x, given), where).dimension for given in (clone.profile, None))
    assert told < traced


def test_what_a_detection_has_traced_is_not_traced_again(monkeypatch) -> None:
    base, x = mlp(nn.Tanh)
    clone = expand(base, 2, example_input=x, traced=True)
    known = detect(clone, x)
    monkeypatch.setattr(found_module, "structure", lambda *_: pytest.fail("traced"))
    assert clones_of(clone, x, known).summed


class Stored(nn.Module):
    """Weights stored (sources, targets) as in GPT-2, and an embedding that is read twice."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4 * times)
        self.up, self.down = (nn.Parameter(torch.randn(4 * times, 4 * times) / 3) for _ in range(2))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        h = self.embed(ids)
        return (h + torch.tanh(h @ self.up) @ self.down) @ self.embed.weight.T


def test_redistributions_are_tested_not_guessed() -> None:
    """Square weights stored the other way, and tied embeddings: what remains changes no output."""
    torch.manual_seed(0)
    base, ids = Stored(1), torch.arange(7).reshape(1, 7)
    clone = expand(base, 2, example_input=ids, traced=True)
    found = clones_of(clone, ids)
    assert "embed.weight" not in found.summed
    assert found.summed["up"] == found.summed["down"] == 0
    analysis = analyse(clone, ids, lambda y: y.square().mean(), found, settings=Settings(seeds=()))
    assert analysis.flat.redistributions > 0
    assert analysis.flat.form < 1e-9


def test_weights_of_one_output_are_redistributed_too() -> None:
    """y = v·tanh(W x): moving weight of v from clone to clone changes nothing, and is a way out."""

    class Vector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.v = nn.Linear(3, 2), nn.Parameter(torch.randn(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.a(x)) @ self.v

    torch.manual_seed(0)
    x = torch.randn(9, 3).double()
    model = expand(Vector().double(), 2, example_input=x)
    clones = clones_of(model, x)
    assert clones.summed == {"v": 0}
    with torch.no_grad():
        steep = copy.deepcopy(model)
        steep.v.mul_(1e14)
    assert clones_of(steep, x).summed == {"v": 0}
    at = curvature(model, x, lambda y: (y - 1).square().mean())
    flat = redistributions(clones, at.coordinates)
    assert flat.dimension == 2
    assert float(dense(at.product, flat).abs().max()) < 1e-14
    found = escape_direction(at, clones)
    assert found is not None
    assert found.curvature < -1e-3
