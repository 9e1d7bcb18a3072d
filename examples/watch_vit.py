"""A small ViT on changing tasks, watched: the clones that widening left are a permanent loss of plasticity under AdamW;
one of the remedies that the alarm names parts them, one that it names as unable does not.

Every task has new random labels for the same pictures. Nothing is downloaded. Run: ``python examples/watch_vit.py``.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lop_theory import watch
from lop_theory.modules import expand
from lop_theory.optim import fire, shrink_and_perturb

PICTURES, CLASSES, TASKS, STEPS = 96, 8, 3, 60
X = torch.randn(PICTURES, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1)
        x = x + self.out(weights @ v)
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class ViT(nn.Module):
    """Four patches of 4 × 4, two blocks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.blocks, self.head = nn.Sequential(Block(width), Block(width)), nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


def losses(task: int) -> Callable[[Tensor], Tensor]:
    """One loss a picture, for the labels of a task."""
    labels = torch.randint(0, CLASSES, (PICTURES,), generator=torch.Generator().manual_seed(task))
    return lambda output: nn.functional.cross_entropy(output, labels, reduction="none")


def train(model: nn.Module, task: int, optimiser: torch.optim.Optimizer | None = None) -> float:
    """The loss on a task after some steps of AdamW."""
    optimiser = optimiser or torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss = losses(task)
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss(model(X)).mean().backward()
        optimiser.step()
    return float(loss(model(X)).mean().detach())


def fresh() -> nn.Module:
    """As wide as the widened one, without its past."""
    torch.manual_seed(2)
    return ViT(16)


def main(report: str = "vit.html") -> dict[str, float]:
    """The loss at the end of one more task: as it is, after two interventions, and of a fresh network."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    base = ViT(8)
    train(base, task=0)
    model = expand(base, 2, example_input=X)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with watch(model, X, every=STEPS, loss=losses(TASKS), optimizer=optimiser) as monitor:
        ends = [train(model, task, optimiser) for task in range(1, TASKS + 1)]
    print("loss at the end of each task:", " ".join(f"{end:.2f}" for end in ends))
    print(*monitor.alarms("permanent"), sep="\n")
    print("what to do:", *monitor.alarms("permanent")[0].remedies, sep="\n  ")

    able, unable, same = (copy.deepcopy(model) for _ in range(3))
    shrink_and_perturb(able, shrink=0.9, perturb=0.05)
    fire(unable)
    again = TASKS + 1
    control = monitor.control(fresh, lambda m: train(m, again))
    found = {
        "as it is": train(same, again),
        "shrink and perturb (able)": train(able, again),
        "FIRE (unable)": train(unable, again),
        "fresh network": control.fit_fresh,
    }
    for name, loss in found.items():
        print(f"one more task, {name}: {loss:.2f}")
    for name, other in (("shrink and perturb", able), ("FIRE", unable)):
        left = watch(other, X, loss=losses(again), optimizer=optimiser, measures=())
        left.measure()
        print(f"units trapped after {name}: {sum(len(a.units) for a in left.alarms() if a.found == 'trapped')}")
    monitor.report(report)
    return found


if __name__ == "__main__":
    main()
