"""The models of experiments.md by name and scale, from lop_theory's zoo."""

import torch
from torch import nn

from empirical.options.shared import ModelOptions, check_image, check_model
from lop_theory.modules.zoo import Options, ViT, cnn, mlp, resnet18

PAPER_MLP, PAPER_CNN, PAPER_DENSE, PAPER_RESNET, PAPER_VIT = (128,) * 5, (64, 128, 256), 512, 64, 384


def build(options: ModelOptions, image: tuple[int, int, int], classes: int, seed: int) -> nn.Module:
    """A fresh model for images of (channels, height, width), on the CPU, in training mode.

    Its weights are PyTorch's default initialisation, a function of ``seed`` alone; the global random stream is
    untouched. Raises ``InvalidInput``.
    """
    check_model(options)
    check_image(options, image)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return _build(options, image, classes)


def _build(options: ModelOptions, image: tuple[int, int, int], classes: int) -> nn.Module:
    activation = nn.GELU if options.name == "vit" else nn.ReLU
    shared = Options(options.normalisation, activation, options.dropout, options.affine)
    match options.name:
        case "mlp":
            hidden = [width // options.scale for width in PAPER_MLP]
            return mlp(image[0] * image[1] * image[2], classes, hidden=hidden, options=shared)
        case "cnn":
            channels = [width // options.scale for width in PAPER_CNN]
            dense = PAPER_DENSE // options.scale
            return cnn(image, classes, channels=channels, fully_connected=dense, options=shared)
        case "resnet18":
            return resnet18(image, classes, base=PAPER_RESNET // options.scale, options=shared)
        case "vit":
            return ViT(image, classes, patch=options.patch, width=PAPER_VIT // options.scale, options=shared)
