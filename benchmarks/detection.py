"""``measure`` and ``detect`` against one forward and backward pass of ResNet-50, ViT-B/16 and GPT-2 small on the same
data: processor time of one thread, and peak memory, each in a process of its own (models from configs, untrained)."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

ACTIONS = ("training", "measure", "detect")


def resnet50() -> tuple[nn.Module, Any, Callable[[Any], Tensor]]:
    """4 images of 224×224."""
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(ResNetConfig(num_labels=1000)), _images(), _cross_entropy


def vit_b16() -> tuple[nn.Module, Any, Callable[[Any], Tensor]]:
    """4 images of 224×224: 788 tokens."""
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(ViTConfig(num_labels=1000)), _images(), _cross_entropy


def gpt2_small() -> tuple[nn.Module, Any, Callable[[Any], Tensor]]:
    """2 texts of 256 tokens, next-token loss."""
    from transformers import GPT2Config, GPT2LMHeadModel

    ids = torch.randint(0, 50257, (2, 256), generator=torch.Generator().manual_seed(0))
    return GPT2LMHeadModel(GPT2Config()), {"input_ids": ids, "labels": ids}, lambda output: output.loss


MODELS = {"ResNet-50": resnet50, "ViT-B/16": vit_b16, "GPT-2 small": gpt2_small}


def _images() -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))}


def _cross_entropy(output: Any) -> Tensor:
    return nn.functional.cross_entropy(output.logits, torch.arange(len(output.logits)))


def run(name: str, action: str) -> dict[str, float]:
    """Seconds and peak MiB of one action."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, inputs, loss = MODELS[name]()
    model.eval()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    if action == "training":
        loss(model(**inputs)).backward()
    elif action == "measure":
        from lop_theory.metrics import measure

        measure(model, inputs, loss)
    else:
        from lop_theory.modules import detect

        detect(model, inputs, loss=loss)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak": peak / 1024, "built": before / 1024}


def apart(name: str, action: str) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.detection", name, action]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(found.stdout.splitlines()[-1])


def main() -> None:
    """Print the table."""
    print(f"{'one batch':14}{'training s':>11}{'measure':>9}{'detect':>9}{'MiB':>8}{'measure':>9}{'detect':>9}")
    for name in MODELS:
        found = {action: apart(name, action) for action in ACTIONS}
        base = found["training"]
        times = [found[action]["seconds"] / base["seconds"] for action in ACTIONS[1:]]
        peaks = [found[action]["peak"] / base["peak"] for action in ACTIONS[1:]]
        print(
            f"{name:14}{base['seconds']:>11.1f}{times[0]:>8.2f}x{times[1]:>8.2f}x{base['peak']:>8.0f}"
            f"{peaks[0]:>8.2f}x{peaks[1]:>8.2f}x",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(run(*sys.argv[1:])))
    else:
        main()
