"""Plain per-sample learners in NumPy and PyTorch, float64, from experiments.md: oracles of the compiled online engine.

Random numbers are SplitMix64 on Python integers; stream and target are dense matrices and loops. Nothing of empirical/
is used.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

MASK, GAMMA = (1 << 64) - 1, 0x9E3779B97F4A7C15
FIRST_BITS, FLIPS, RANDOM_BITS, TARGET, INITIAL, REPLACED, DRAWN, PROBE = range(1, 9)
DROPPED = 15


def mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def key(seed: int, purpose: int) -> int:
    return mix((mix((seed + GAMMA) & MASK) + purpose * GAMMA) & MASK)


def word(k: int, n: int) -> int:
    return mix((k + n * GAMMA) & MASK)


def uniform(k: int, n: int) -> float:
    return (word(k, n) >> 11) / 2**53


class Target:
    """The threshold network of a seed: m bits and a bias, weights ±1."""

    def __init__(self, seed: int, bits: int = 20, units: int = 100, beta: float = 0.7) -> None:
        k = key(seed, TARGET)
        sign = [1.0 if word(k, n) >> 63 else -1.0 for n in range(units * (bits + 2) + 1)]
        self.weights = np.array(sign[: units * (bits + 1)]).reshape(units, bits + 1)
        self.outgoing, self.offset = np.array(sign[units * (bits + 1) : -1]), sign[-1]
        negatives = np.array([sum(w < 0 for w in row[:-1]) - 0.5 * row[-1] for row in self.weights])
        self.thresholds = (bits + 1) * beta - negatives

    def __call__(self, x: np.ndarray) -> float:
        return float(self.offset + self.outgoing @ (self.weights @ x >= self.thresholds))


def inputs(seed: int, steps: int, bits: int = 20, flipping: int = 15, flip_every: int = 10_000) -> Iterator[np.ndarray]:
    """The stream's inputs, bias last."""
    held = [word(key(seed, FIRST_BITS), 0) >> j & 1 for j in range(flipping)]
    for step in range(steps):
        if step % flip_every == 0 and step > 0:
            j = int(uniform(key(seed, FLIPS), step // flip_every) * flipping)
            held[j] = 1 - held[j]
        drawn = word(key(seed, RANDOM_BITS), step)
        yield np.array([*held, *(drawn >> j & 1 for j in range(bits - flipping)), 1], dtype=np.float64)


class Trained(NamedTuple):
    """Squared errors, (step, unit) of each replacement, final W (inputs × hidden), b₁, w₂, b₂."""

    errors: np.ndarray
    replaced: list[tuple[int, int]]
    weights: tuple[np.ndarray, ...]


class Setting(NamedTuple):
    """What a reference run needs to know."""

    seed: int
    hidden: int
    steps: int
    activation: str = "relu"
    adam: bool = False
    step_size: float = 0.01
    start: int = 0
    adaptable: bool = True
    rate: float = 1e-4
    decay: float = 0.99
    maturity: int = 100
    accumulate: bool = True
    flip_every: int = 10_000
    dropout: float = 0.0


GAIN = {"relu": 2**0.5, "tanh": 5 / 3, "sigmoid": 1.0, "elu": 2**0.5, "leaky_relu": (2 / (1 + 0.01**2)) ** 0.5}
PHI = {
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
}
SLOPE = {
    "relu": lambda z: (z > 0) * 1.0,
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "sigmoid": lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
    "elu": lambda z: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0))),
    "leaky_relu": lambda z: np.where(z > 0, 1.0, 0.01),
}


def initial(setting: Setting, inputs: int = 21) -> list[np.ndarray]:
    """W by rows, b₁, w₂, b₂."""
    h, k = setting.hidden, key(setting.seed, INITIAL)
    draws = np.array([2 * uniform(k, n) - 1 for n in range((inputs + 1) * h)])
    W = (GAIN[setting.activation] * (3 / inputs) ** 0.5 * draws[: inputs * h]).reshape(inputs, h)
    return [W, np.zeros(h), (3 / h) ** 0.5 * draws[inputs * h :], np.zeros(1)]


def fresh_row(setting: Setting, step: int, unit: int, inputs: int = 21) -> np.ndarray:
    """Kaiming-uniform incoming weights of a unit replaced at ``step``."""
    k = mix((key(setting.seed, REPLACED) + step * setting.hidden + unit) & MASK)
    return GAIN[setting.activation] * (3 / inputs) ** 0.5 * np.array([2 * uniform(k, n) - 1 for n in range(inputs)])


def numpy_run(s: Setting) -> Trained:
    """SGD or Adam with CBP, every formula as it stands in experiments.md."""
    target, parameters, continual = Target(s.seed), initial(s), PlainContinual(s)
    moments = [[np.zeros_like(p) for p in parameters] for _ in range(3)]  # m, v, and steps of every single weight
    errors, replaced = [], []
    for step, x in enumerate(inputs(s.seed, s.steps, flip_every=s.flip_every)):
        W, b1, w2, b2 = parameters
        z = x @ W + b1
        h = PHI[s.activation](z)
        error = float(h @ w2 + b2[0] - target(x))
        errors.append(error**2)
        slope = SLOPE[s.activation](z)
        if s.dropout:
            draws = np.array([uniform(key(s.seed, DROPPED), step * s.hidden + i) for i in range(s.hidden)])
            kept = (draws >= s.dropout) / (1 - s.dropout)
            h, slope = h * kept, slope * kept
            error = float(h @ w2 + b2[0] - target(x))
        back = 2 * error * w2 * slope
        gradients = [np.outer(x, back), back, 2 * error * h, np.array([2 * error])]
        for p, g, m, v, count in zip(parameters, gradients, *moments, strict=True):
            if not s.adam:
                p[...] -= s.step_size * g
                continue
            m[...] = 0.9 * m + 0.1 * g
            v[...] = 0.999 * v + 0.001 * g**2
            count[...] += 1
            fade, slow = 1 - 0.9**count, 1 - 0.999**count
            p[...] -= s.step_size * (m / fade) / (np.sqrt(v / slow) + 1e-8)
        if step >= s.start:
            replaced += continual.step(step, parameters, moments, h)
    return Trained(np.array(errors), replaced, tuple(parameters))


class PlainContinual:
    """Continual backprop on W (inputs × hidden), b₁, w₂, b₂."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.carry = setting, 0.0
        self.age, self.mean, self.utility = np.zeros((3, setting.hidden))

    def step(self, step: int, parameters: list, moments: list, h: np.ndarray) -> list[tuple[int, int]]:
        s, (W, b1, w2, b2) = self.setting, parameters
        self.age += 1
        self.mean = s.decay * self.mean + (1 - s.decay) * h
        corrected = self.mean / (1 - s.decay**self.age)
        plain, adaptable = np.abs(h) * np.abs(w2), np.abs(h - corrected) * np.abs(w2) / np.abs(W).mean(0)
        self.utility = s.decay * self.utility + (1 - s.decay) * (adaptable if s.adaptable else plain)
        eligible = np.flatnonzero(self.age > s.maturity)
        order = np.argsort((self.utility / (1 - s.decay**self.age))[eligible], kind="stable")
        chosen = [int(unit) for unit in eligible[order[: self.due(step, len(eligible))]]]
        for unit in chosen:
            b2[0] += w2[unit] * corrected[unit]
            W[:, unit], b1[unit], w2[unit] = fresh_row(s, step, unit), 0, 0
            for group in moments:
                group[0][:, unit] = group[1][unit] = group[2][unit] = 0
            self.age[unit] = self.mean[unit] = self.utility[unit] = 0
        return [(step, unit) for unit in chosen]

    def due(self, step: int, eligible: int) -> int:
        expected = self.setting.rate * eligible
        if not self.setting.accumulate:
            drawn = uniform(key(self.setting.seed, DRAWN), step) < expected - int(expected)
            return int(expected) + drawn
        self.carry += expected
        due = int(self.carry)
        self.carry -= due
        return due


def torch_learner(setting: Setting) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    """The same learner as an ``nn.Sequential`` and a stock optimiser."""
    modules = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "elu": nn.ELU, "leaky_relu": nn.LeakyReLU}
    model = nn.Sequential(nn.Linear(21, setting.hidden), modules[setting.activation](), nn.Linear(setting.hidden, 1))
    model = model.double()
    W, b1, w2, b2 = (torch.from_numpy(p) for p in initial(setting))
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), (W.T, b1, w2[None, :], b2), strict=True):
            parameter.copy_(value)
    optimiser = torch.optim.Adam if setting.adam else torch.optim.SGD
    return model, optimiser(model.parameters(), lr=setting.step_size)


def torch_run(s: Setting, continual=None) -> Trained:
    """Autograd and a stock optimiser; ``continual(model, optimiser)`` wraps it, ``replaced`` lists its units."""
    target, (model, optimiser) = Target(s.seed), torch_learner(s)
    errors, replaced = [], []
    for step, x in enumerate(inputs(s.seed, s.steps, flip_every=s.flip_every)):
        if continual is not None and step == s.start:
            optimiser = continual(model, optimiser)
        optimiser.current = step
        loss = (model(torch.from_numpy(x)[None, :])[0, 0] - target(x)) ** 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(loss.item())
        replaced += [(step, unit) for unit in getattr(optimiser, "replaced", [[]])[0]]
    W, b1, w2, b2 = (p.detach().numpy() for p in model.parameters())
    return Trained(np.array(errors), replaced, (W.T, b1, w2[0], b2))
