# ruff: noqa: E501
"""Tiny models of torchvision and timm, built untrained from their own classes: nothing is downloaded."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn


@cache
def library(name: str) -> Any:
    """torchvision, timm or a module of theirs. A torchvision that was built for CUDA cannot load its operators beside a
    CPU build of torch, and imports once the missing ones are declared."""
    try:
        return import_module(name)
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    _declare()
    return import_module(name)


@cache
def _declare() -> torch.library.Library:
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return operators


def missing(name: str) -> bool:
    return find_spec(name) is None


def images(size: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def lively(model: nn.Module) -> nn.Module:
    """Weights that start as zeros (heads, the last layers of residual branches) are drawn: else no gradient flows."""
    for parameter in model.parameters():
        if parameter.dim() > 1 and not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.2)
    return model


def seen(build: Callable[[Any], nn.Module], size: int = 32) -> Callable[[], Any]:
    return lambda: (lively(build(library("torchvision.models"))), images(size))


def named(name: str, size: int = 32, **options: Any) -> Callable[[], Any]:
    return lambda: (lively(library("timm").create_model(name, num_classes=2, **options)), images(size))


def of(file: str, build: Callable[[Any], nn.Module], size: int = 32) -> Callable[[], Any]:
    """From the classes of a file of timm's."""
    return lambda: (lively(build(library(f"timm.models.{file}"))), images(size))


def _mobilenet(m: Any) -> nn.Module:
    part = m.mobilenetv3.InvertedResidualConfig
    return m.MobileNetV3(
        [part(8, 3, 16, 8, True, "RE", 2, 1, 1), part(8, 5, 16, 8, True, "HS", 1, 1, 1)],
        last_channel=16,
        num_classes=2,
        dropout=0.0,
    )


def _efficientnet(m: Any, first: str) -> nn.Module:
    e = m.efficientnet
    parts = [
        e.FusedMBConvConfig(2, 3, 1, 8, 8, 1) if first == "fused" else e.MBConvConfig(1, 3, 1, 8, 8, 1),
        e.MBConvConfig(2, 3, 2, 8, 8, 1),
    ]
    return m.EfficientNet(parts, dropout=0.0, stochastic_depth_prob=0.0, num_classes=2, last_channel=16)


def _googlenet(_: Any) -> nn.Module:
    m = library("torchvision.models.googlenet")  # the package has a function of this name
    return nn.Sequential(
        m.BasicConv2d(3, 8, kernel_size=3, stride=2),
        m.Inception(8, 4, 4, 6, 2, 4, 4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(18, 2),
    )


def _regnet(m: Any) -> nn.Module:
    return m.RegNet(
        m.regnet.BlockParams.from_init_params(depth=3, w_0=8, w_a=8.0, w_m=2.0, group_width=4, se_ratio=0.25),
        num_classes=2,
        stem_width=8,
    )


def _swin(m: Any, **options: Any) -> nn.Module:
    return m.SwinTransformer([4, 4], 8, [2], [2], [4, 4], num_classes=2, stochastic_depth_prob=0.0, **options)


def _resnet(m: Any, block: str, **options: Any) -> nn.Module:
    """A ResNet of one block a stage, its first two stages: the others are as wide as the library makes them."""
    whole = m.ResNet(getattr(m.resnet, block), [1, 1, 1, 1], num_classes=2, **options)
    whole.layer3, whole.layer4, whole.fc = (
        nn.Identity(),
        nn.Identity(),
        nn.Linear(
            whole.layer2[-1].bn2.num_features * whole.layer2[-1].expansion
            if block == "BasicBlock"
            else whole.layer2[-1].bn3.num_features,
            2,
        ),
    )
    return whole


VIT = {"img_size": 32, "embed_dim": 12, "depth": 1, "num_heads": 3}
PATCHES = {"img_size": 32, "patch_size": 16, "num_blocks": 1, "embed_dim": 8, "num_classes": 2}
STAGES = {"dims": (4, 4, 8, 8), "depths": (1, 1, 1, 1)}

TORCHVISION: dict[str, Callable[[], Any]] = {
    "resnet": seen(lambda m: _resnet(m, "BasicBlock")),
    "resnext": seen(lambda m: _resnet(m, "Bottleneck", groups=4, width_per_group=4)),
    "vgg": seen(lambda m: nn.Sequential(m.vgg.make_layers([4, "M", 8, "M"], batch_norm=True), nn.Flatten(), nn.Linear(512, 2))),
    "squeezenet fire": seen(lambda m: nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), m.squeezenet.Fire(8, 4, 6, 6), m.squeezenet.Fire(12, 4, 6, 6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 2))),
    "googlenet": seen(_googlenet),
    "densenet": seen(lambda m: m.DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=4, bn_size=2, num_classes=2)),
    "shufflenet v2": seen(lambda m: m.ShuffleNetV2([1, 1, 1], [4, 8, 8, 8, 16], num_classes=2)),
    "mobilenet v2": seen(lambda m: m.MobileNetV2(num_classes=2, inverted_residual_setting=[[1, 8, 1, 1], [2, 8, 2, 2]], width_mult=0.1, dropout=0.0)),
    "mobilenet v3": seen(_mobilenet),
    "efficientnet": seen(lambda m: _efficientnet(m, "plain")),
    "efficientnet v2": seen(lambda m: _efficientnet(m, "fused")),
    "regnet": seen(_regnet),
    "convnext": seen(lambda m: m.ConvNeXt([m.convnext.CNBlockConfig(4, 8, 1), m.convnext.CNBlockConfig(8, None, 1)], num_classes=2)),
    "vit": seen(lambda m: m.VisionTransformer(32, 16, 1, 3, 12, 20, num_classes=2)),
    "swin": seen(_swin),
    "swin v2": seen(lambda m: _swin(m, block=m.swin_transformer.SwinTransformerBlockV2, downsample_layer=m.swin_transformer.PatchMergingV2)),
    "maxvit": seen(lambda m: m.MaxVit((32, 32), 4, 2, [8], [1], 4, 0.0, num_classes=2)),
}  # fmt: skip

TIMM: dict[str, Callable[[], Any]] = {
    "vit": named("vit_tiny_patch16_224", **VIT),
    "vit, averaged, qk norm, layer scale": named("vit_tiny_patch16_224", **VIT, qk_norm=True, init_values=0.1, global_pool="avg", class_token=False),
    "deit distilled": named("deit_tiny_distilled_patch16_224", **VIT),
    "beit": named("beit_base_patch16_224", **VIT),
    "eva02": named("eva02_tiny_patch14_224", 28, **{**VIT, "img_size": 28}),
    "cait": named("cait_xxs24_224", **VIT),
    "xcit": named("xcit_nano_12_p16_224", **VIT, cls_attn_layers=1),
    "swin": named("swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=8, depths=(2,), num_heads=(2,), drop_path_rate=0.0),
    "convnext": named("convnext_atto", **STAGES),
    "convnext v2": named("convnextv2_atto", **STAGES),
    "poolformer": of("metaformer", lambda m: m.MetaFormer(depths=(1, 1), dims=(4, 8), token_mixers=m.Pooling, norm_layers=m.GroupNorm1, num_classes=2)),
    "mixer": of("mlp_mixer", lambda m: m.MlpMixer(**PATCHES)),
    "resmlp": of("mlp_mixer", lambda m: m.MlpMixer(**PATCHES, mlp_ratio=4, block_layer=m.ResBlock, norm_layer=m.Affine)),
    "gmlp": of("mlp_mixer", lambda m: m.MlpMixer(**PATCHES, mlp_ratio=6, block_layer=m.SpatialGatingBlock, mlp_layer=m.GatedMlp)),
    "convmixer": of("convmixer", lambda m: m.ConvMixer(dim=8, depth=1, kernel_size=3, patch_size=4, num_classes=2)),
    "pvt v2": named("pvt_v2_b0", embed_dims=(4, 8), depths=(1, 1), num_heads=(1, 2), mlp_ratios=(2, 2), sr_ratios=(2, 1)),
    "davit": named("davit_tiny", embed_dims=(4, 8), depths=(1, 1), num_heads=(1, 2), window_size=2),
}  # fmt: skip
