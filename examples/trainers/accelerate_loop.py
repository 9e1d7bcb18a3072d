"""SNR in a loop of Accelerate, with gradient accumulation: the optimiser goes through ``prepare``. Run:
``python examples/trainers/accelerate_loop.py``."""

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lop_theory.optim import SNR
from lop_theory.optim.snr import Silence


def main() -> int:
    """The number of units that were replaced."""
    torch.manual_seed(0)
    x = torch.randn(256, 8)
    loader = DataLoader(TensorDataset(x, x[:, :3].argmax(1)), batch_size=16)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    with torch.no_grad():
        model[0].bias[:5] = -100.0  # five units that never fire
    inner = torch.optim.AdamW(model.parameters(), lr=1e-2)
    optimiser = SNR(inner, model, example_input=x[:2], silence=Silence(threshold=64))

    accelerator = Accelerator(gradient_accumulation_steps=2, cpu=True)
    model, prepared, loader = accelerator.prepare(model, optimiser, loader)
    replaced = 0
    for inputs, labels in loader:
        with accelerator.accumulate(model):
            accelerator.backward(nn.functional.cross_entropy(model(inputs), labels))
            prepared.step()
            prepared.zero_grad()
            if accelerator.sync_gradients:
                replaced += sum(map(len, optimiser.replaced))
    return replaced


if __name__ == "__main__":
    print(f"{main()} units replaced")
