"""Metrics against one forward + backward pass; expand + certify on ResNet-18. One run, CPU time, one thread."""

import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lop_theory.metrics import measure
from lop_theory.modules import certify, detect, expand
from lop_theory.modules.zoo import DEFAULT, TRANSFORMER, ViT, cnn, mlp, resnet18

IMAGE, CLASSES, BATCH = (3, 32, 32), 10, 128


def metrics_ratio(model: nn.Module, batch: Tensor, labels: Tensor) -> tuple[float, float]:
    """Seconds of one forward + backward, and of metrics of all layers (their own passes included)."""

    def loss(output: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, labels)

    def step() -> None:
        model.zero_grad()
        loss(model(batch)).backward()

    return cpu_seconds(step), cpu_seconds(lambda: measure(model, batch, loss))


def cpu_seconds(action: Callable[[], object]) -> float:
    """Processor time of one call after one to warm up: other work on the machine counts less than in wall time."""
    action()
    start = time.process_time()
    action()
    return time.process_time() - start


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    models = {
        "MLP 5x128": mlp(3072, CLASSES),
        "CNN 64-128-256": cnn(IMAGE, CLASSES),
        "ResNet-18": resnet18(IMAGE, CLASSES, options=DEFAULT),
        "ViT 384x6": ViT(IMAGE, CLASSES, options=TRANSFORMER),
    }
    labels = torch.randint(0, CLASSES, (BATCH,))
    batch = torch.randn(BATCH, *IMAGE)
    print(f"{'metrics, batch 128':24} {'fwd+bwd s':>10} {'metrics s':>10} {'ratio':>6} {'beyond own pass':>16}")
    for name, model in models.items():
        step, metrics = metrics_ratio(model, batch, labels)
        print(f"{name:24} {step:10.3f} {metrics:10.3f} {metrics / step:6.2f} {metrics / step - 1:16.2f}")
    images = torch.randn(2, *IMAGE)
    expand(mlp(3072, CLASSES), 2, example_input=images)  # the first torch.export of a process imports its compiler
    print(f"\n{'widening, factor 2':24} {'expand s':>10} {'certify s':>10} {'detect s':>10} {'exp.+cert.':>10}")
    for name, model in models.items():
        base = copy.deepcopy(model).double().eval()
        double = images.double()
        start = time.process_time()
        clone = expand(base, 2, example_input=double)
        expanded = time.process_time()
        assert certify(clone, base=base, example_input=double)
        certified = time.process_time()
        detect(clone, double)
        detected = time.process_time()
        times = (expanded - start, certified - expanded, detected - certified, certified - start)
        print(f"{name:24}" + "".join(f" {seconds:10.2f}" for seconds in times))


if __name__ == "__main__":
    main()
