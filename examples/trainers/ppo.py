"""Continual backprop in PPO, in the style of CleanRL's single file: an actor-critic with a shared trunk on CartPole.
Run: ``python examples/trainers/ppo.py``."""

import gymnasium
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from lop_theory.optim import ContinualBackprop
from lop_theory.optim.continual_backprop import Settings

ENVIRONMENTS, STEPS, EPOCHS, BATCH = 4, 64, 4, 64
GAMMA, LAMBDA, CLIP, ENTROPY, VALUE = 0.99, 0.95, 0.2, 0.01, 0.5


class Agent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.actor, self.critic = nn.Linear(64, 2), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        return self.actor(h), self.critic(h).squeeze(-1)


@torch.no_grad()
def rollout(agent: Agent, environments: gymnasium.vector.VectorEnv, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """(observations, actions, log-probabilities, advantages, returns) of some steps, and the next observation."""
    rows, rewards, dones, values = [], [], [], []
    for _ in range(STEPS):
        logits, value = agent(x)
        policy = Categorical(logits=logits)
        action = policy.sample()
        rows.append((x, action, policy.log_prob(action)))
        seen, reward, ended, cut, _ = environments.step(action.numpy())
        x = torch.as_tensor(seen, dtype=torch.float32)
        rewards.append(torch.as_tensor(reward, dtype=torch.float32))
        dones.append(torch.as_tensor(ended | cut, dtype=torch.float32))
        values.append(value)
    values.append(agent(x)[1])
    advantage, advantages = torch.zeros(ENVIRONMENTS), []
    for t in reversed(range(STEPS)):
        alive = 1 - dones[t]
        surprise = rewards[t] + GAMMA * values[t + 1] * alive - values[t]
        advantage = surprise + GAMMA * LAMBDA * alive * advantage
        advantages.insert(0, advantage)
    columns = [torch.stack(column).flatten(0, 1) for column in (*zip(*rows, strict=True), advantages, values[:-1])]
    return [*columns[:4], columns[3] + columns[4]], x


def loss_of(agent: Agent, batch: list[Tensor]) -> Tensor:
    x, action, old, advantage, returns = batch
    logits, value = agent(x)
    policy = Categorical(logits=logits)
    ratio = (policy.log_prob(action) - old).exp()
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    gain = torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
    return (VALUE * (value - returns).square() - gain - ENTROPY * policy.entropy()).mean()


def main(iterations: int = 10) -> int:
    """The number of units that were replaced."""
    torch.manual_seed(0)
    agent = Agent()
    inner = torch.optim.Adam(agent.parameters(), lr=2.5e-4, eps=1e-5)
    settings = Settings(rate=1e-3, maturity=20)
    optimiser = ContinualBackprop(inner, agent, example_input=torch.randn(2, 4), settings=settings)
    environments, replaced = gymnasium.make_vec("CartPole-v1", ENVIRONMENTS), 0
    x = torch.as_tensor(environments.reset(seed=0)[0])
    for _ in range(iterations):
        columns, x = rollout(agent, environments, x)
        for _epoch in range(EPOCHS):
            for numbers in torch.randperm(ENVIRONMENTS * STEPS).split(BATCH):
                optimiser.zero_grad()
                loss_of(agent, [column[numbers] for column in columns]).backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimiser.step()
                replaced += sum(map(len, optimiser.replaced))
    return replaced


if __name__ == "__main__":
    print(f"{main()} units replaced")
