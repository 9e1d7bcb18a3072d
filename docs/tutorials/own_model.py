"""
Certify and repair your own model
=================================

Clones are units that compute the same. On the cloning manifold SGD and Adam keep them
equal whatever the data are (Theorem A.1, corrected): a wide network then learns like
the narrow one inside it. This page widens a model into a clone, proves it, finds the
clones again as if they had grown by themselves, breaks one and mends it, and frees the
rest.
"""

# %%
# A model and random labels, hard to learn for eight units a layer.

import torch
from torch import nn

from lop_theory.modules import certify, detect, expand, expansion

torch.manual_seed(0)
torch.set_num_threads(1)
x = torch.randn(256, 6, dtype=torch.float64)
y = torch.randint(0, 3, (256,))


def build(width):
    layers = (
        nn.Linear(6, width),
        nn.Tanh(),
        nn.Linear(width, width),
        nn.Tanh(),
        nn.Linear(width, 3),
    )
    return nn.Sequential(*layers).double()


def train(model, optimiser, steps=300):
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loss.item()


# %%
# ``expand`` gives an ordinary module that computes the same function. ``certify``
# proves MC1 (forward), MC2 (backward) and MC3 (gradients), and says on what evidence;
# only ``Holds`` is true.

narrow = build(8)
clone = expand(narrow, 2, example_input=x)
proof = certify(clone, base=narrow, example_input=x)
print(proof)
assert proof

# %%
# Training moves every weight and parts no clones.

before = clone.state_dict()["0.weight"].clone()
trapped = train(clone, torch.optim.Adam(clone.parameters(), lr=0.01))
assert not torch.equal(before, clone.state_dict()["0.weight"])
assert certify(clone, example_input=x)
print(f"loss {trapped:.3f}, and certified still")

# %%
# The state is that of the same class built wider: nothing special is left in ``wide``.
# ``detect`` finds the clones in it, and says what will become of them (``MEANINGS`` has
# every verdict).

from lop_theory.modules.verdicts import MEANINGS  # noqa: E402

profile = expansion(clone).profiles[True]  # which unit is a copy of which, in training
wide = build(16)
wide.load_state_dict(clone.state_dict())
found = detect(wide, x)
for layer in found.layers:
    blocks = len(set(layer.blocks))
    print(
        f"{layer.module:>2} {layer.operator:<7} {layer.units} units in {blocks} blocks"
    )
print("trapped:", MEANINGS["trapped"])
assert all(layer.cloned == 16 and len(set(layer.blocks)) == 8 for layer in found.layers)
assert len(found.verdicts("trapped")) == len(found.verdicts()) == 4 * 8

# %%
# One weight off, and the certificate names the module, the condition and the units.
# Putting it back mends it.

with torch.no_grad():
    wide[0].weight[3, 2] += 1e-3
broken = certify(wide, example_input=x, profile=profile)
print(broken)
assert not broken
assert set(broken.witness.units) == {2, 3}

with torch.no_grad():
    wide[0].weight[3, 2] -= 1e-3
assert certify(wide, example_input=x, profile=profile)

# %%
# Two repairs. One makes the network as small as what it computes; its outputs stay.

from lop_theory.modules import compress  # noqa: E402

smaller = compress(wide, detect(wide, x))
units = {layer: len(gone) for layer, gone in smaller.removed.items()}
print(f"units removed: {units}; outputs differ by {smaller.difference:.0e}")
assert sum(units.values()) == 16
assert smaller.difference < 1e-9
assert smaller.model[0].out_features == 8

# %%
# The other sets them free: clones have to differ. Shrink and perturb parts them from
# outside; so does gradient noise while it lasts.

from lop_theory.optim import NoisySGD, shrink_and_perturb  # noqa: E402

shrink_and_perturb(wide, lambda: build(16), shrink=0.8, perturb=0.2)
assert sum(layer.cloned for layer in detect(wide, x).layers) == 0
freed = train(wide, torch.optim.Adam(wide.parameters(), lr=0.01))
more = train(clone, torch.optim.Adam(clone.parameters(), lr=0.01))
print(f"300 more steps: trapped {more:.3f}, freed {freed:.3f}")
assert certify(clone, example_input=x)
assert freed < more

# %%
# Plain SGD stays on the manifold, noisy SGD leaves it in one step.

quiet, noisy = build(16), build(16)
for model in (quiet, noisy):
    model.load_state_dict(clone.state_dict())
train(quiet, torch.optim.SGD(quiet.parameters(), lr=0.05), steps=20)
train(noisy, NoisySGD(noisy.parameters(), lr=0.05, sigma=0.01), steps=1)
assert certify(quiet, example_input=x, profile=profile)
left = certify(noisy, example_input=x, profile=profile)
print(left)
assert not left

# %%
# A checkpoint of yours, from a shell (a pickle that wants to run something is refused):
#
# .. code-block:: console
#
#    python -m lop_theory.modules CHECKPOINT --model module:factory --data FILE
