"""One thread."""

import pytest


@pytest.fixture(autouse=True)
def alone(request):
    request.getfixturevalue("one_thread")
