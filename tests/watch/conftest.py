"""One thread, a fixed seed."""

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def alone(request):
    request.getfixturevalue("one_thread")
    torch.manual_seed(0)
