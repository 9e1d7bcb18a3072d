"""The models of experiments.md, from plain ``torch.nn``: MLP, CNN, ResNet-18, ViT, each with none, batch or layer
normalisation.

Sizes default to the paper's; every width is an argument, so that tests can use tiny ones.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput

NORMALISATIONS = ("none", "batch", "layer")


class Options(NamedTuple):
    """What all models share. ``activation`` makes a fresh module a layer."""

    normalisation: str = "batch"
    activation: Callable[[], nn.Module] = nn.ReLU
    dropout: float = 0.0
    affine: bool = True


DEFAULT = Options()
TRANSFORMER = Options("layer", nn.GELU)


def normalise(options: Options, width: int, dims: int) -> nn.Module:
    """Normalisation of ``width`` units (dims 1) or channels (dims 2); layer normalisation of images is one group over
    C×H×W."""
    match options.normalisation:
        case "none":
            return nn.Identity()
        case "batch":
            return (nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d)(width, affine=options.affine)
        case "layer" if dims == 1:
            return nn.LayerNorm(width, elementwise_affine=options.affine)
        case "layer":
            return nn.GroupNorm(1, width, affine=options.affine)
        case other:
            raise InvalidInput("normalisation", other, f"must be one of {', '.join(NORMALISATIONS)}")


def mlp(inputs: int, classes: int, *, hidden: Sequence[int] = (128,) * 5, options: Options = DEFAULT) -> nn.Sequential:
    """Flatten, then (linear, normalisation, activation, dropout) a layer, then the classifier."""
    layers: list[nn.Module] = [nn.Flatten()]
    width = inputs
    for units in hidden:
        layers += [
            nn.Linear(width, units),
            normalise(options, units, 1),
            options.activation(),
            nn.Dropout(options.dropout),
        ]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, classes))


def cnn(
    image: tuple[int, int, int],
    classes: int,
    *,
    channels: Sequence[int] = (64, 128, 256),
    fully_connected: int = 512,
    options: Options = DEFAULT,
) -> nn.Sequential:
    """3×3 convolutions, each followed by 2×2 max pooling, then one fully connected layer. ``image`` is (channels,
    height, width)."""
    layers: list[nn.Module] = []
    depth, height, width = image
    for units in channels:
        layers += [nn.Conv2d(depth, units, 3, padding=1), normalise(options, units, 2), options.activation()]
        layers += [nn.MaxPool2d(2), nn.Dropout(options.dropout)]
        depth, height, width = units, height // 2, width // 2
    layers += [nn.Flatten(), nn.Linear(depth * height * width, fully_connected), normalise(options, fully_connected, 1)]
    return nn.Sequential(
        *layers, options.activation(), nn.Dropout(options.dropout), nn.Linear(fully_connected, classes)
    )


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut; convolutions have a bias only without normalisation."""

    def __init__(self, inputs: int, units: int, stride: int, options: Options) -> None:
        super().__init__()
        bias = options.normalisation == "none"
        self.conv1 = nn.Conv2d(inputs, units, 3, stride, 1, bias=bias)
        self.norm1 = normalise(options, units, 2)
        self.activation1 = options.activation()
        self.dropout = nn.Dropout(options.dropout)
        self.conv2 = nn.Conv2d(units, units, 3, 1, 1, bias=bias)
        self.norm2 = normalise(options, units, 2)
        self.activation2 = options.activation()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != units:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, units, 1, stride, bias=bias), normalise(options, units, 2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.dropout(self.activation1(self.norm1(self.conv1(x))))
        return self.activation2(self.norm2(self.conv2(h)) + self.shortcut(x))


def resnet18(
    image: tuple[int, int, int],
    classes: int,
    *,
    base: int = 64,
    blocks: Sequence[int] = (2, 2, 2, 2),
    options: Options = DEFAULT,
) -> nn.Sequential:
    """ResNet-18 for small images: 3×3 stem, no stem pooling; widths double a stage."""
    bias = options.normalisation == "none"
    layers: list[nn.Module] = [
        nn.Conv2d(image[0], base, 3, 1, 1, bias=bias),
        normalise(options, base, 2),
        options.activation(),
    ]
    width = base
    for stage, count in enumerate(blocks):
        for block in range(count):
            units = base * 2**stage
            layers.append(BasicBlock(width, units, 2 if stage and not block else 1, options))
            width = units
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class TokenBatchNorm(nn.Module):
    """BatchNorm over the features of tokens (N, T, D)."""

    def __init__(self, width: int, *, affine: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


def normalise_tokens(options: Options, width: int) -> nn.Module:
    if options.normalisation == "batch":
        return TokenBatchNorm(width, affine=options.affine)
    return normalise(options, width, 1)


class ViTBlock(nn.Module):
    """Pre-normalised attention and MLP with residual connections."""

    def __init__(self, width: int, heads: int, ratio: int, options: Options) -> None:
        super().__init__()
        self.norm1 = normalise_tokens(options, width)
        self.attention = nn.MultiheadAttention(width, heads, dropout=options.dropout, batch_first=True)
        self.norm2 = normalise_tokens(options, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, ratio * width),
            options.activation(),
            nn.Dropout(options.dropout),
            nn.Linear(ratio * width, width),
        )
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        x = x + self.dropout(self.attention(h, h, h, need_weights=False)[0])
        return x + self.dropout(self.mlp(self.norm2(x)))


class ViT(nn.Module):
    """Patch embedding, class token, position embeddings, ``depth`` blocks, classifier on the class token."""

    def __init__(  # noqa: PLR0913
        self,
        image: tuple[int, int, int],
        classes: int,
        *,
        patch: int = 8,
        width: int = 384,
        depth: int = 6,
        heads: int = 6,
        ratio: int = 4,
        options: Options = TRANSFORMER,
    ) -> None:
        super().__init__()
        tokens = (image[1] // patch) * (image[2] // patch)
        self.patches = nn.Conv2d(image[0], width, patch, patch)
        self.class_token = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))
        self.positions = nn.Parameter(torch.empty(1, tokens + 1, width).normal_(std=0.02))
        self.dropout = nn.Dropout(options.dropout)
        self.blocks = nn.Sequential(*(ViTBlock(width, heads, ratio, options) for _ in range(depth)))
        self.norm = normalise_tokens(options, width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), tokens], dim=1)
        return self.head(self.norm(self.blocks(self.dropout(tokens + self.positions)))[:, 0])
