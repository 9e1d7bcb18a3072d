"""A static step as one CUDA graph, a stream a model. The only file that cannot run without a CUDA device,
and it has never run on one: ``tests/empirical/training/test_cuda.py`` waits for it."""

from collections.abc import Callable

import torch
from torch import Tensor

from empirical.training.static_step import StaticStep

WARM_UP = 3
"""Steps before the recording: compilers, autotuning and lazy libraries do their work then."""


def recorded(step: StaticStep) -> Callable[[], object]:
    """What carries out the step from now on; weights, optimiser and generators are as they were."""
    device = step.labels.device
    step.branches = apart([torch.cuda.Stream(device) for _ in step.parts.models])
    memory, generators = _memory(step), step.generators
    before = [tensor.clone() for tensor in memory], [generator.get_state() for generator in generators]
    beside = torch.cuda.Stream(device)
    beside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(beside), step.parts.passes.step(device):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream(device).wait_stream(beside)
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph), step.parts.passes.step(device):
        step()
    for tensor, old in zip(memory, before[0], strict=True):
        tensor.copy_(old)
    for generator, state in zip(generators, before[1], strict=True):
        generator.set_state(state)
    return graph.replay


def apart(streams: list[torch.cuda.Stream]) -> Callable[[Callable[[int], Tensor], int], list[Tensor]]:
    """Models on streams of their own, that begin and end with the present one."""

    def branches(work: Callable[[int], Tensor], count: int) -> list[Tensor]:
        here = torch.cuda.current_stream(streams[0].device)
        found = []
        for k in range(count):
            streams[k].wait_stream(here)
            with torch.cuda.stream(streams[k]):
                found.append(work(k))
        for stream in streams[:count]:
            here.wait_stream(stream)
        return found

    return branches


def _memory(step: StaticStep) -> list[Tensor]:
    """All that a step changes and that a later one depends on."""
    stack, moments = step.parts.stack, step.parts.update.moments
    return [stack.values, stack.gradients, *stack.buffers.values(), *(moments or ()), step.cursor]
