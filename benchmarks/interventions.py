"""What a companion costs: a training step with it over one without it, CPU seconds in one run, on the shapes of GPT-2
small (two blocks) and of ResNet-18.

    python -m benchmarks interventions
"""

import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from lop_theory.modules.zoo import Options, resnet18
from lop_theory.optim import ContinualBackprop, ReDo

STEPS, ROUNDS = 2, 3
WIDTH, VOCABULARY, TOKENS = 768, 8_192, 128


class Block(nn.Module):
    """Attention and MLP of GPT-2 small."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, t, 3, 12, c // 12).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


def gpt() -> nn.Module:
    return nn.Sequential(nn.Embedding(VOCABULARY, WIDTH), Block(), Block(), nn.Linear(WIDTH, VOCABULARY))


def cases() -> dict[str, tuple[Callable[[], nn.Module], torch.Tensor]]:
    images = torch.randn(8, 3, 32, 32)
    return {
        "GPT-2 small, two blocks": (gpt, torch.randint(0, VOCABULARY, (4, TOKENS))),
        "ResNet-18": (lambda: resnet18((3, 32, 32), 10, base=64, options=Options()), images),
    }


def step_seconds(optimiser: torch.optim.Optimizer, model: nn.Module, x: torch.Tensor) -> float:
    """CPU seconds of a step."""
    start = time.process_time()
    for _ in range(STEPS):
        optimiser.zero_grad()
        model(x).float().square().mean().backward()
        optimiser.step()
    return (time.process_time() - start) / STEPS


def main() -> None:
    """A line for each model: the fastest of some rounds, taken in turn."""
    torch.set_num_threads(1)
    for name, (build, x) in cases().items():
        arms = []
        for kind in (None, ContinualBackprop, ReDo):
            torch.manual_seed(0)
            model = build()
            inner = torch.optim.AdamW(model.parameters())
            arms.append((model, inner if kind is None else kind(inner, model, example_input=x[:2])))
        times = [[step_seconds(optimiser, model, x) for model, optimiser in arms] for _ in range(1 + ROUNDS)][1:]
        plain, cbp, redo = (min(column) for column in zip(*times, strict=True))
        print(f"{name}: step {plain:.2f} CPU s; continual backprop × {cbp / plain:.3f}, ReDo × {redo / plain:.3f}")


if __name__ == "__main__":
    main()
