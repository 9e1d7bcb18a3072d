"""PPO in a world that changes, watched: CartPole whose observations are permuted, turned round and rescaled every so
often. Units fall silent, the monitor says of which kind that is, and the remedy that it proposes is tried.

In the style of CleanRL's single file; it stands on ``examples/trainers/ppo.py``. Under two minutes of CPU.
Run: ``python examples/watch_ppo.py`` (``pip install 'lop-theory[trainers]'``).
"""

import copy
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn
from trainers.ppo import ENVIRONMENTS, STEPS, loss_of, rollout

from lop_theory import watch
from lop_theory.optim import ReDo, shrink_and_perturb

WORLDS, ITERATIONS, EPOCHS, BATCH, EVERY = 5, 25, 4, 64, 200
SCALE = 6.0
Make = Callable[[nn.Module, Tensor], torch.optim.Optimizer]


class Agent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.actor, self.critic = nn.Linear(64, 2), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        return self.actor(h), self.critic(h).squeeze(-1)


class World:
    """CartPole seen through a permutation, signs and a scale; the first world and the last have none."""

    def __init__(self, number: int) -> None:
        draw = np.random.default_rng(number)
        self.order, self.signs = draw.permutation(4), draw.choice([-1.0, 1.0], 4)
        self.scale = 1.0 if number in (0, WORLDS - 1) else SCALE
        self.inside = gymnasium.make_vec("CartPole-v1", ENVIRONMENTS)
        self.steps = self.ends = 0

    def seen(self, x: np.ndarray) -> np.ndarray:
        return (x[:, self.order] * self.signs * self.scale).astype(np.float32)

    def reset(self, seed: int) -> Tensor:
        return torch.as_tensor(self.seen(self.inside.reset(seed=seed)[0]))

    def step(self, action: np.ndarray) -> Any:
        x, reward, ended, cut, info = self.inside.step(action)
        self.steps, self.ends = self.steps + len(x), self.ends + int((ended | cut).sum())
        return self.seen(x), reward, ended, cut, info

    def lasted(self) -> float:
        """Steps an episode since the last call."""
        found, self.steps, self.ends = self.steps / max(1, self.ends), 0, 0
        return found


def adam(agent: nn.Module, _: Tensor) -> torch.optim.Optimizer:
    return torch.optim.Adam(agent.parameters(), lr=3e-3, eps=1e-5)


def redo(agent: nn.Module, x: Tensor) -> torch.optim.Optimizer:
    return ReDo(adam(agent, x), agent, example_input=x, tau=0.025, period=80)


def learn(agent: nn.Module, optimiser: torch.optim.Optimizer, number: int, probe: list[Tensor]) -> float:
    """Steps that an episode lasts in a world, over the second half of the iterations; ``probe`` gets what is seen."""
    world = World(number)
    x = world.reset(seed=number)
    for k in range(ITERATIONS):
        if k == ITERATIONS // 2:
            world.lasted()
        columns, x = rollout(agent, world, x)
        probe[:] = columns[:1]
        for _ in range(EPOCHS):
            for numbers in torch.randperm(ENVIRONMENTS * STEPS).split(BATCH):
                optimiser.zero_grad()
                loss_of(agent, [column[numbers] for column in columns]).backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimiser.step()
    return world.lasted()


def run(make: Make) -> tuple[watch.Monitor, list[float], Tensor]:
    """An agent that lives through the worlds, how long its episodes last in each, and what it saw last."""
    torch.manual_seed(0)
    agent, probe = Agent(), [torch.zeros(2, 4)]
    optimiser = make(agent, torch.randn(2, 4))
    with watch(agent, lambda: probe[0], every=EVERY, optimizer=optimiser, measures=("pairs", "tangents")) as monitor:
        lasted = [learn(agent, optimiser, number, probe) for number in range(WORLDS)]
    return monitor, lasted, probe[0]


def fit(agent: nn.Module) -> float:
    """How badly the agent fits a new function of what it sees, after some steps of supervised learning."""
    torch.manual_seed(3)
    x = 0.5 * torch.randn(256, 4)
    y = torch.sin(3 * x @ torch.randn(4, 2))
    optimiser = torch.optim.Adam(agent.parameters(), lr=3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.mse_loss(agent(x)[0], y).backward()
        optimiser.step()
    return nn.functional.mse_loss(agent(x)[0], y).item()


def dead_units(agent: nn.Module, probe: Tensor) -> float:
    """Share of the trunk's units that are dead on what is seen."""
    return float(np.mean([layer.dead for layer in watch(agent, probe, measures=()).measure().layers.values()]))


def main(report: str = "ppo.html") -> dict[str, tuple[float, float]]:
    """By run: share of dead units, and the error at a new task beside that of a fresh agent."""
    torch.set_num_threads(1)
    found = {}
    for name, make in (("Adam", adam), ("ReDo", redo)):
        monitor, lasted, probe = run(make)
        control = monitor.control(fresh, fit)
        found[name] = dead_units(monitor.model, probe), control.fit_trained
        print(f"{name}: an episode lasts, world by world: {' '.join(f'{steps:.0f}' for steps in lasted)}")
        print(
            f"  dead units {found[name][0]:.0%}; "
            f"error at a new task {control.fit_trained:.3f}, of a fresh agent {control.fit_fresh:.3f}"
        )
        if name == "Adam":
            found["fresh"] = dead_units(fresh(), probe), control.fit_fresh
            print(*(f"  {alarm}" for alarm in monitor.alarms()), sep="\n")
            print("  what can leave it:", *next(a.remedies for a in monitor.alarms() if a.remedies), sep="\n    ")
            monitor.report(report)
            again = copy.deepcopy(monitor.model)
            shrink_and_perturb(again, shrink=0.2, perturb=0.1)
            found["shrink and perturb"] = dead_units(again, probe), fit(again)
            dead, error = found["shrink and perturb"]
            print(f"after shrink and perturb: dead units {dead:.0%}; error at a new task {error:.3f}")
    return found


def fresh() -> nn.Module:
    torch.manual_seed(5)
    return Agent()


if __name__ == "__main__":
    main()
