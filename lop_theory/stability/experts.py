"""Duplicated experts of a mixture, and the ties of top-k routing that separate them.  [later-duplicate-experts]

Experts of one group have equal weights and equal router rows. Their logits are equal on every token. If the k chosen
experts of every token hold all or none of each group, equal experts get equal gradients, and so do their router rows:
the group stays. A token on which the k-th and (k+1)-th largest logit are one group's splits it: the choice between
ties is arbitrary, and only the chosen expert gets the token's gradient. With router rows that differ (a fresh router
over copied experts) the gates differ and the copies part at the first step, without any tie.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lop_theory.errors import InvalidInput


def split_tokens(logits: NDArray[Any], groups: Sequence[int], k: int) -> NDArray[np.bool_]:
    """For logits (tokens, experts): the tokens whose k-th place is tied so that top-k can cut through a group of
    duplicates (and must, if one group alone is tied there). ``groups[e]`` is the group of expert e.

    Raises ``InvalidInput``.
    """
    experts, labels = logits.shape[1], np.asarray(groups)
    if len(labels) != experts or not 1 <= k <= experts:
        requirement = f"must label all {experts} experts and satisfy 1 <= k <= {experts}"
        raise InvalidInput("groups, k", (len(labels), k), requirement)
    return np.array([_cuts(row, labels, k) for row in logits], dtype=bool)


def _cuts(row: NDArray[Any], groups: NDArray[np.int64], k: int) -> bool:
    """More experts than places are tied at the k-th logit, two of one group among them."""
    tied = row == np.sort(row)[-k]
    places = k - int((row > np.sort(row)[-k]).sum())
    return places < int(tied.sum()) and bool((np.unique(groups[tied], return_counts=True)[1] > 1).any())
