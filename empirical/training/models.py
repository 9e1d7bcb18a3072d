"""The models of experiments.md by name and scale, from lop_theory's zoo."""

import torch
from torch import nn

from empirical.training.options import ModelOptions, check_image, check_model
from lop_theory.modules.zoo import Options, ViT, cnn, mlp, resnet18

PAPER_MLP, PAPER_CNN, PAPER_DENSE, PAPER_RESNET = (128,) * 5, (64, 128, 256), 512, 64
PAPER_VIT, PAPER_HEADS = 384, 6


def build(options: ModelOptions, image: tuple[int, int, int], classes: int, seed: int, *, widen: int = 1) -> nn.Module:
    """A fresh model for images of (channels, height, width), on the CPU, in training mode.

    ``widen`` multiplies every hidden width (of a ViT also the number of heads, whose size stays): the shape of the
    clone that ``lop_theory.modules.expand`` makes of the model.

    Its weights are PyTorch's default initialisation, a function of ``seed`` alone; the global random stream is
    untouched. Raises ``InvalidInput``.
    """
    check_model(options)
    check_image(options, image)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return _build(options, image, classes, widen)


def _build(options: ModelOptions, image: tuple[int, int, int], classes: int, widen: int) -> nn.Module:
    activation = nn.GELU if options.name == "vit" else nn.ReLU
    shared = Options(options.normalisation, activation, options.dropout, options.affine)
    match options.name:
        case "mlp":
            hidden = [widen * width // options.scale for width in PAPER_MLP]
            return mlp(image[0] * image[1] * image[2], classes, hidden=hidden, options=shared)
        case "cnn":
            channels = [widen * width // options.scale for width in PAPER_CNN]
            dense = widen * PAPER_DENSE // options.scale
            return cnn(image, classes, channels=channels, fully_connected=dense, options=shared)
        case "resnet18":
            return resnet18(image, classes, base=widen * PAPER_RESNET // options.scale, options=shared)
        case "vit":
            width = widen * PAPER_VIT // options.scale
            return ViT(image, classes, patch=options.patch, width=width, heads=widen * PAPER_HEADS, options=shared)
