"""Duplicated experts under top-k: symmetric while groups are taken whole, parted by the first tie that is cut."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.errors import InvalidInput
from lop_theory.stability.experts import split_tokens

GROUPS = [0, 0, 1, 1]


class Mixture(torch.nn.Module):
    """Four experts in two pairs of copies, softmax over the k chosen."""

    def __init__(self, k, *, fresh_router=False):
        super().__init__()
        g = torch.Generator().manual_seed(4)
        pick = torch.tensor(GROUPS)
        self.k = k
        self.experts = torch.nn.Parameter(torch.randn(2, 3, 3, generator=g).double()[pick])
        rows = torch.randn(4, 3, generator=g).double()
        self.router = torch.nn.Parameter(rows if fresh_router else rows[pick])

    def forward(self, x):
        logits = x @ self.router.T
        top, chosen = logits.topk(self.k, dim=1)
        outputs = torch.tanh(torch.einsum("ti,eoi->teo", x, self.experts))
        picked = outputs.gather(1, chosen[:, :, None].expand(-1, -1, 3))
        return (top.softmax(1)[:, :, None] * picked).sum(1), logits


def spread(model):
    return max(float((p[0] - p[1]).abs().max() + (p[2] - p[3]).abs().max()) for p in model.parameters())


def train(model, steps=10, optimiser=torch.optim.SGD):
    g, cut = torch.Generator().manual_seed(1), False
    update = optimiser(model.parameters(), lr=0.05)
    for _ in range(steps):
        x, y = (torch.randn(6, 3, generator=g).double() for _ in range(2))
        output, logits = model(x)
        cut = cut or bool(split_tokens(logits.detach().numpy().round(12), GROUPS, model.k).any())
        update.zero_grad()
        ((output - y) ** 2).mean().backward()
        update.step()
    return cut


@pytest.mark.claim("later-duplicate-experts")
@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("k", [2, 4])
def test_pairs_taken_whole_stay_pairs(k, optimiser):
    model = Mixture(k)
    assert not train(model, optimiser=optimiser)
    assert spread(model) < 1e-12


@pytest.mark.claim("later-duplicate-experts")
@pytest.mark.parametrize("k", [1, 3])
def test_a_pair_that_is_cut_parts_in_one_step(k):
    model = Mixture(k)
    assert train(model, steps=1)
    assert spread(model) > 1e-4


@pytest.mark.claim("later-duplicate-experts")
def test_a_fresh_router_parts_copies_without_a_tie():
    model = Mixture(4, fresh_router=True)
    before = float((model.experts[0] - model.experts[1]).abs().max())
    assert not train(model, steps=1)
    assert before == 0.0
    assert float((model.experts[0] - model.experts[1]).abs().max()) > 1e-4


@pytest.mark.claim("later-duplicate-experts")
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=5), st.lists(st.integers(0, 2), min_size=5, max_size=5), st.data()
)
def test_split_tokens_is_the_search_over_all_choices(values, group_of, data):
    logits = np.array(values, dtype=float)
    groups = group_of[: len(values)]
    k = data.draw(st.integers(1, len(values)))
    assert bool(split_tokens(logits[None, :], groups, k)[0]) == _some_choice_cuts_tied_copies(values, groups, k)


def _some_choice_cuts_tied_copies(values, groups, k):
    """By enumeration of all k-subsets that top-k may return: two experts of one group and one logit, one chosen."""
    from itertools import combinations

    worst = sorted(values, reverse=True)[k - 1]
    for chosen in combinations(range(len(values)), k):
        left = [e for e in range(len(values)) if e not in chosen]
        if any(values[e] > worst for e in left) or any(values[e] < worst for e in chosen):
            continue
        if any(values[a] == values[b] and groups[a] == groups[b] for a in chosen for b in left):
            return True
    return False


def test_one_pair_among_single_experts_is_enough_to_be_cut():
    assert split_tokens(np.zeros((1, 3)), [0, 0, 1], 1).tolist() == [True]
    assert split_tokens(np.zeros((1, 3)), [0, 1, 2], 1).tolist() == [False]
    assert split_tokens(np.array([[0.0, 0.0, 1.0]]), [0, 0, 1], 1).tolist() == [False]  # the best is alone
    assert split_tokens(np.array([[0.0, 0.0, 1.0]]), [0, 0, 1], 2).tolist() == [True]


def test_refusals():
    with pytest.raises(InvalidInput):
        split_tokens(np.zeros((1, 3)), [0, 0], 1)
    with pytest.raises(InvalidInput):
        split_tokens(np.zeros((1, 3)), [0, 0, 1], 4)
