"""
Watch your training
===================

``lop_theory.metrics.measure`` in the training loop: one call measures every hidden
layer of any model, and the run is bit for bit the run without it. What each number
means is in the :doc:`metric dictionary </metrics>`.
"""

# %%
# Twelve tasks after each other: the same inputs, new random labels. ReLU and a large
# step size, so that units die.

from functools import partial
from itertools import pairwise

import matplotlib.pyplot as plt
import torch
from torch import nn

from lop_theory import watch
from lop_theory.metrics import measure

torch.set_num_threads(1)
TASKS, STEPS, WIDTH = 12, 60, 64
inputs = torch.randn(256, 10, generator=torch.Generator().manual_seed(0))


def fresh():
    torch.manual_seed(1)
    sizes = (10, WIDTH, WIDTH, 4)
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def loss_of(output, labels):
    return nn.functional.cross_entropy(output, labels)


def run(watched):
    model, history = fresh(), []
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for task in range(TASKS):
        labels = torch.randint(
            0, 4, (256,), generator=torch.Generator().manual_seed(task)
        )
        for _ in range(STEPS):
            loss = loss_of(model(inputs), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if watched:
            found = measure(model, inputs, partial(loss_of, labels=labels))
            history.append((loss.item(), found))
    return model, history


model, history = run(watched=True)
for name, layer in history[-1][1].items():
    print(f"layer {name}: dead {layer.dead:.2f}, rank {layer.effective_rank:.1f}")

# %%
# To watch changed nothing.

unwatched, _ = run(watched=False)
assert all(
    torch.equal(a, b)
    for a, b in zip(model.parameters(), unwatched.parameters(), strict=True)
)

# %%
# A unit counts as dead when it is zero on more than 95 % of the samples, so a layer of
# dead units can still have a little rank.

first, last = history[0], history[-1]
for loss, found in (first, last):
    layer = found["3"]
    print(f"loss {loss:.3f}, dead {layer.dead:.2f}, rank {layer.effective_rank:.1f}")
    assert layer.stable_rank <= layer.effective_rank + layer.effective_rank_error
assert last[1]["3"].dead > first[1]["3"].dead
assert last[1]["3"].effective_rank < first[1]["3"].effective_rank
assert last[0] > first[0]

# %%
# Does the *model* lose plasticity, or are later tasks harder? A control decides: a
# fresh network on the last task.

control = fresh()
optimiser = torch.optim.Adam(control.parameters(), lr=0.02)
labels = torch.randint(0, 4, (256,), generator=torch.Generator().manual_seed(TASKS - 1))
for _ in range(STEPS):
    loss = loss_of(control(inputs), labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
print(
    f"last task: trained on eleven others before {last[0]:.3f}, fresh {loss.item():.3f}"
)
assert loss.item() < last[0]

# %%
# One line a layer, by task.

figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
axes[0].plot(range(1, TASKS + 1), [loss for loss, _ in history], color="black")
axes[0].set(title="loss at the end of the task", xlabel="task", ylim=(0, None))
for name, colour in zip(last[1], ("tab:blue", "tab:orange"), strict=True):
    axes[1].plot(
        range(1, TASKS + 1),
        [found[name].dead for _, found in history],
        color=colour,
        label=f"layer {name}",
    )
    axes[2].plot(
        range(1, TASKS + 1),
        [found[name].effective_rank for _, found in history],
        color=colour,
    )
axes[1].set(title="share of dead units", xlabel="task", ylim=(0, 1))
axes[2].set(title="effective rank", xlabel="task", ylim=(0, None))
axes[1].legend(frameon=False)

# %%
# The same loop with a monitor, which counts the optimiser's steps by itself, and says
# of every loss whether it is permanent, reversible, useful or undecided, and what can
# leave it. ``monitor.report("plasticity.html")`` writes all of it as one page;
# ``python examples/watch_vit.py`` and ``examples/watch_ppo.py`` try the remedies.

watched = fresh()
optimiser = torch.optim.Adam(watched.parameters(), lr=0.02)
labels = torch.randint(0, 4, (256,), generator=torch.Generator().manual_seed(0))
one_a_sample = partial(nn.functional.cross_entropy, target=labels, reduction="none")
with watch(watched, inputs, every=2 * STEPS, loss=one_a_sample) as monitor:
    for _ in range(4 * STEPS):
        optimiser.zero_grad()
        loss_of(watched(inputs), labels).backward()
        optimiser.step()

assert [record.step for record in monitor.records] == [2 * STEPS, 4 * STEPS]
for alarm in monitor.alarms():
    print(alarm)
whole = monitor.records[-1].whole
print(f"tangent kernel: rank {whole.ntk_rank:.1f} of {whole.ntk_limit}")
assert {alarm.kind for alarm in monitor.alarms()} & {"reversible", "undecided"}
