"""Widen five models into clones and ask how gradient descent leaves the clone manifold: spectrum, escape, steps.

An MLP, a CNN, a ResNet, a ViT and a decoder (GPT-2), all small, from configs with random weights; nothing is
downloaded. Run: ``python examples/leave_the_clones.py`` (or with names: ``mlp decoder``).
"""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lop_theory.modules import detect, expand
from lop_theory.stability import Settings, analyse
from lop_theory.stability.printout import printed

CLASSES = 4
Case = tuple[nn.Module, Any, Callable[[Any], Tensor]]


def mlp() -> Case:
    model = nn.Sequential(nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 6), nn.GELU(), nn.Linear(6, CLASSES))
    targets = torch.randn(64, CLASSES)
    return model, torch.randn(64, 8), lambda output: (output - targets).square().mean()


def cnn() -> Case:
    layers = [nn.Conv2d(3, 4, 3), nn.GELU(), nn.Conv2d(4, 6, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(6, CLASSES)), _images(), _against(torch.arange(16) % CLASSES)


def resnet() -> Case:
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 6], depths=[1, 1], layer_type="basic", hidden_act="gelu", num_labels=CLASSES
    )
    return ResNetForImageClassification(config), _images(), _against(torch.arange(16) % CLASSES)


def vit() -> Case:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        image_size=16,
        patch_size=8,
        num_labels=CLASSES,
    )
    return ViTForImageClassification(config), _images(), _against(torch.arange(16) % CLASSES)


def decoder() -> Case:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2, n_positions=8, bos_token_id=0, eos_token_id=0)
    words = torch.randint(0, 20, (8, 8))
    return GPT2LMHeadModel(config), {"input_ids": words, "labels": words}, lambda output: output.loss


def _images() -> Tensor:
    return torch.randn(16, 3, 16, 16)


def _against(labels: Tensor) -> Callable[[Any], Tensor]:
    return lambda output: nn.functional.cross_entropy(getattr(output, "logits", output), labels)


def main(names: list[str]) -> None:
    for build in (mlp, cnn, resnet, vit, decoder):
        if names and build.__name__ not in names:
            continue
        torch.manual_seed(0)
        base, inputs, loss = build()
        clone = expand(base.double().eval(), 2, example_input=_double(inputs), redistribute=1)
        found = detect(clone, _double(inputs))
        settings = Settings(dense=0, products=120, steps=300, seeds=(0, 1, 2))
        print(f"== {build.__name__} ({type(clone).__name__})")
        print(printed(analyse(clone, _double(inputs), loss, found, settings=settings)), flush=True)


def _double(inputs: Any) -> Any:
    return inputs if isinstance(inputs, dict) else inputs.double()


if __name__ == "__main__":
    main(sys.argv[1:])
