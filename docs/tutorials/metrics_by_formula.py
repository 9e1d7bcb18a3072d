"""
Metrics by formula
==================

Every metric of the :doc:`metric dictionary </metrics>` in NumPy, from its formula,
beside ``lop_theory.metrics``; and what other projects call by the same names, on the
same matrix. The others' numbers are computed here from the formulas that the dictionary
gives.
"""

# %%
# Activations of 400 samples and 12 units: a strong common direction, and six kinds of
# unit planted.

import numpy as np
import torch

from lop_theory.metrics import cloning_r2, distance_to_equitable, layer_metrics

rng = np.random.default_rng(0)
N, D = 400, 12
H = rng.standard_normal((N, D)) * 0.3 + rng.standard_normal((N, 1)) * np.linspace(
    0.2, 1.0, D
)
H[:, 1] = 0  # dead
H[:, 2] = np.where(rng.random(N) < 0.97, 0, 1)  # zero on 97 % of the samples
H[:, 4] = 2 * H[:, 3]  # proportional
H[:, 5] = -H[:, 3]  # opposite
H[:, 6] = 5 + 0.01 * H[:, 6]  # almost constant
H[:, 7] *= 1e-3  # quiet
ours = layer_metrics(torch.tensor(H), dormant_tau=0.1)


def agrees(name, value):
    print(f"{name:<22} {value:.6f}")
    assert np.isclose(getattr(ours, name), value, rtol=1e-9, atol=1e-9), (
        name,
        getattr(ours, name),
        value,
    )


# %%
# Units. The almost constant unit makes the layer's mean large, and so others dormant:
# dormancy is relative.

size = np.abs(H).mean(0)
agrees("dead", ((np.abs(H) < 1e-7).mean(0) > 0.95).mean())
agrees("dormant", (size <= 0.1 * size.mean()).mean())

norm = np.linalg.norm(H, axis=0)
cosine = np.divide(
    H.T @ H, np.outer(norm, norm), out=np.zeros((D, D)), where=np.outer(norm, norm) > 0
)
similar = (cosine > 0.95) & ~np.eye(D, dtype=bool)
agrees("duplicate_as_paper", similar.any(1).mean())
agrees("duplicate_as_coded", np.triu(similar).any(1).mean())

# %%
# Ranks.

sigma = np.linalg.svd(H, compute_uv=False)
centred = H - H.mean(0)
spread = np.linalg.svd(centred, compute_uv=False)


def entropy_rank(weights):
    p = weights[weights > 0] / weights.sum()
    return np.exp(-(p * np.log(p)).sum())


agrees("stable_rank", (sigma**2).sum() / sigma[0] ** 2)
agrees("participation_ratio", (spread**2).sum() ** 2 / (spread**4).sum())
alive = centred[:, centred.std(0) > 0]
agrees("renyi2_rank", alive.shape[1] ** 2 / (np.corrcoef(alive.T) ** 2).sum())

# %%
# The effective rank looks at the smallest singular values, where a Gram matrix is least
# exact. That is why it comes with a bound on its error, and the value from an SVD lies
# within.

exact = entropy_rank(sigma[:-2])  # two are 0: of unit 1, and of units 3 to 5 together
difference = abs(exact - ours.effective_rank)
print(f"effective_rank {ours.effective_rank:.9f} +/- {ours.effective_rank_error:.1e}")
print(f"from an SVD    {exact:.9f}, differs by {difference:.1e}")
assert difference <= ours.effective_rank_error

# %%
# Three numbers are called *stable rank*.


def least_count(weights, share=0.99):
    return int((np.cumsum(weights) / weights.sum() < share).sum() + 1)


three = {
    "numerical linear algebra": ours.stable_rank,
    "the paper's text": ours.participation_ratio,
    "loss-of-plasticity, Plasticine": least_count(sigma),
}
for name, value in three.items():
    print(f"stable rank of {name:<31} {value:.2f}")
assert max(three.values()) > 3 * min(three.values())

# %%
# Effective rank: of σ (ours, loss-of-plasticity, Plasticine), of σ² of the centred
# matrix (simple-lop, which takes pre-activations), and turned round, of the centred
# matrix (MONAI).

others = {
    "simple-lop's formula": entropy_rank(spread**2),
    "MONAI's score": 1 - entropy_rank(spread) / min(N - 1, D),
    "approximate rank of loss-of-plasticity": least_count(sigma**2),
}
for name, value in others.items():
    print(f"{name:<40} {value:.2f}")

# %%
# *Dead* of one is *dormant* of the other. Active units of Plasticine are entries, not
# units.

counts = {
    "dead (ours and the paper): near 0 on > 95 %": ours.dead * D,
    "dormant units of loss-of-plasticity: not 0 on < 1 %": (
        (H != 0).mean(0) < 0.01
    ).sum(),
    "dead neurons of dopamine, tau = .1: our dormant": ours.dormant * D,
    "1 - active units of Plasticine, times d": D * (H == 0).mean(),
}
for name, value in counts.items():
    print(f"{name:<52} {value:.2f}")
assert len({round(float(v), 6) for v in counts.values()}) > 2

# %%
# How cloned a layer is, and how far its weights are from the cloning manifold.

blocks = [0, 0, 0, 1, 1, 1]
copies = rng.standard_normal((N, 2))[:, blocks]
assert cloning_r2(torch.tensor(copies), blocks) == 1.0
noisy = copies + 0.1 * rng.standard_normal((N, 6))
means = np.stack([noisy[:, :3].mean(1), noisy[:, 3:].mean(1)], 1)[:, blocks]
value = 1 - ((noisy - means) ** 2).sum() / ((noisy - noisy.mean()) ** 2).sum()
assert np.isclose(cloning_r2(torch.tensor(noisy), blocks), value)
print(f"cloning R2 of copies 1, of noisy copies {value:.4f}")

W = rng.standard_normal((6, 6))
member = np.array(blocks)[:, None] == np.array(blocks)[None, :]
P = member / member.sum(0)  # the projection that averages over blocks
nearest = W - (W @ P - P @ W @ P) - (P @ W - P @ W @ P)
assert np.allclose(
    (nearest @ P - P @ nearest @ P), 0
)  # rows of a block have equal block sums: RE
assert np.allclose((P @ nearest - P @ nearest @ P), 0)  # columns too: CE
assert np.isclose(
    distance_to_equitable(torch.tensor(W), blocks, blocks), np.linalg.norm(W - nearest)
)
print(
    f"distance to RE∩CE {np.linalg.norm(W - nearest):.4f}, norm {np.linalg.norm(W):.4f}"
)
