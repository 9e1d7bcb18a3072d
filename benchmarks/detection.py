"""``measure`` and ``detect`` against one forward and backward pass of ResNet-50, ViT-B/16 and GPT-2 small on the same
data: processor time of one thread, and peak memory, each in a process of its own (models from configs, untrained).
Then processor time and peak memory of ``expand`` and ``certify`` together, float32, factor 2, two examples."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def resnet50(images: int = 4) -> tuple[nn.Module, Any, Callable[[Any], Tensor]]:
    """Images of 224×224."""
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(ResNetConfig(num_labels=1000)), _images(images), _cross_entropy


def vit_b16() -> tuple[nn.Module, Any, Callable[[Any], Tensor]]:
    """4 images of 224×224: 788 tokens."""
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(ViTConfig(num_labels=1000)), _images(4), _cross_entropy


def gpt2_small() -> tuple[nn.Module, Any, Callable[[Any], Tensor]]:
    """2 texts of 256 tokens, next-token loss."""
    from transformers import GPT2Config, GPT2LMHeadModel

    ids = torch.randint(0, 50257, (2, 256), generator=torch.Generator().manual_seed(0))
    return GPT2LMHeadModel(GPT2Config()), {"input_ids": ids, "labels": ids}, lambda output: output.loss


MODELS = {"ResNet-50": resnet50, "ResNet-50, 16": lambda: resnet50(16), "ViT-B/16": vit_b16, "GPT-2 small": gpt2_small}


def _images(count: int) -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(count, 3, 224, 224, generator=torch.Generator().manual_seed(0))}


def _cross_entropy(output: Any) -> Tensor:
    return nn.functional.cross_entropy(output.logits, torch.arange(len(output.logits)))


def _train(model: nn.Module, inputs: Any, loss: Callable[[Any], Tensor]) -> None:
    loss(model(**inputs)).backward()


def _measure(model: nn.Module, inputs: Any, loss: Callable[[Any], Tensor]) -> None:
    from lop_theory.metrics import measure

    measure(model, inputs, loss)


def _detect(model: nn.Module, inputs: Any, loss: Callable[[Any], Tensor]) -> None:
    from lop_theory.modules import detect

    detect(model, inputs, loss=loss)


def _widen(model: nn.Module, inputs: Any, _: Callable[[Any], Tensor]) -> None:
    from lop_theory.modules import certify, expand

    few = {name: value[:2] for name, value in inputs.items() if name != "labels"}
    found = certify(expand(model, 2, example_input=few), base=model, example_input=few)
    if not found:
        raise SystemExit(f"not certified: {found}")


DOING = {"training": _train, "measure": _measure, "detect": _detect, "widen": _widen}


def run(name: str, action: str) -> dict[str, float]:
    """Seconds of processor time and peak MiB of one action."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, inputs, loss = MODELS[name]()
    model.eval()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    DOING[action](model, inputs, loss)
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
    print(
        f"{'one batch':14}{'training s':>11}{'measure':>9}{'detect':>9}{'MiB':>8}"
        f"{'measure':>9}{'detect':>9}{'widen s':>9}{'MiB':>8}"
    )
    for name in MODELS:
        found = {action: apart(name, action) for action in DOING if action != "widen" or "," not in name}
        base, others = found["training"], (found["measure"], found["detect"])
        times = [x["seconds"] / base["seconds"] for x in others]
        peaks = [x["peak"] / base["peak"] for x in others]
        w = found.get("widen")
        widened = "" if w is None else f"{w['seconds']:>9.0f}{w['peak']:>8.0f}"
        print(
            f"{name:14}{base['seconds']:>11.1f}{times[0]:>8.2f}x{times[1]:>8.2f}x{base['peak']:>8.0f}"
            f"{peaks[0]:>8.2f}x{peaks[1]:>8.2f}x{widened}",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(run(*sys.argv[1:])))
    else:
        main()
