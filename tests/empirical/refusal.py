"""What ``python -m empirical`` says of a wrong argument."""

import pytest

from empirical.__main__ import main
from lop_theory.errors import InvalidInput


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Its one line, whether the options' parser says it or the experiment."""
    with pytest.raises((InvalidInput, SystemExit)) as failure:
        main(arguments)
    message = str(failure.value)
    if isinstance(failure.value, SystemExit):
        assert failure.value.code == 2
        message = capsys.readouterr().err.strip()
    assert "\n" not in message
    assert "Traceback" not in message
    return message
