"""Widen a Hugging Face ResNet and ViT into exact clones, certify them, train them, find the clones again.

Both models are built from a config with random weights; nothing is downloaded. Run: ``python
examples/widen_and_certify.py``.
"""

import torch
from torch import nn
from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

from lop_theory.modules import certify, detect, expand


def build() -> dict[str, nn.Module]:
    resnet = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5)
    vit = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=16,
        num_labels=5,
    )
    return {"ResNet": ResNetForImageClassification(resnet), "ViT": ViTForImageClassification(vit)}


def train(model: nn.Module, steps: int) -> list[float]:
    """A few steps of Adam on random images and labels; the losses."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses: list[float] = []
    for _ in range(steps):
        images, labels = torch.randn(8, 3, 32, 32, dtype=torch.float64), torch.randint(0, 5, (8,))
        loss = nn.functional.cross_entropy(model(images).logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def main() -> None:
    torch.manual_seed(0)
    images = torch.randn(8, 3, 32, 32, dtype=torch.float64)
    for name, model in build().items():
        base = model.double().eval()
        clone = expand(base, 2, example_input=images)
        sizes = [sum(p.numel() for p in m.parameters()) for m in (base, clone)]
        gap = float((clone(images).logits - base(images).logits).detach().abs().max())
        print(f"{name}: {sizes[0]:,} -> {sizes[1]:,} parameters, largest difference of the logits {gap:.1e}")
        print("  certified:    ", certify(clone, base=base, example_input=images))
        losses = train(clone.train(), 10)
        print(f"  trained:       10 steps, loss {losses[0]:.3f} -> {losses[-1]:.3f}")
        print("  still a clone:", certify(clone, example_input=images))
        layers = detect(clone.eval(), images).layers
        found = sum(layer.cloned == layer.moving for layer in layers)
        print(
            f"  found again:   every unit that is not dead has a clone in {found} of {len(layers)} layers, for example"
        )
        for layer in layers[:3]:
            blocks = len(set(layer.blocks))
            print(f"                 {layer.module} [{layer.operator}]: {layer.units} units in {blocks} blocks")
            print(f"                 {layer.verdicts[0]}")
        with torch.no_grad():
            next(p for p in clone.parameters() if p.dim() > 1).flatten()[0] += 1e-3
        print("  one weight off:", certify(clone, example_input=images), "\n")


if __name__ == "__main__":
    main()
