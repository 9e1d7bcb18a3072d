"""Shared by the module tests: one thread, float64, fixed seeds."""

from collections.abc import Callable, Iterator

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.default_generator.manual_seed(0)  # torch.manual_seed notes the call stack for every kind of device
    yield
    torch.set_num_threads(before)


@pytest.fixture
def jitter() -> Callable[..., object]:
    """Random parameters and statistics: defaults such as ones, zeros and 0.02-sized weights hide mistakes."""

    def shake(model: nn.Module, scale: float = 0.3) -> nn.Module:
        generator = torch.Generator().manual_seed(1)
        model.double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
            for name, buffer in model.named_buffers():
                if buffer.is_floating_point():
                    noise = torch.rand(buffer.shape, generator=generator, dtype=torch.float64)
                    buffer.copy_(0.5 + noise if "var" in name else buffer + noise)
        return model

    return shake
