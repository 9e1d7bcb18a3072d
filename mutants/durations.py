"""A pytest plugin that writes how many CPU seconds each test took that passes, and of them its children, and which
fixtures it has in common with others.

The file is named by MUTANTS_DURATIONS."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_BEGUN: dict[str, tuple[float, float]] = {}
_SECONDS: dict[str, tuple[float, float, list[str]]] = {}
_FAILED: set[str] = set()


def _now() -> tuple[float, float]:
    """CPU seconds of this process with its children, and of these alone."""
    times = os.times()
    return sum(times[:4]), sum(times[2:4])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: Any) -> None:
    _BEGUN[item.nodeid] = _now()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Iterator[Any]:
    report = yield
    if call.when == "teardown":
        spent = [b - a for a, b in zip(_BEGUN[item.nodeid], _now(), strict=True)]
        report.user_properties.append(("cpu", (*spent, _shared(item))))
    return report


def _shared(item: Any) -> list[str]:
    """Fixtures that are made once for several tests."""
    made = item._fixtureinfo.name2fixturedefs.items()
    return [name for name, found in made if any(one.scope != "function" for one in found)]


def pytest_runtest_logreport(report: Any) -> None:
    if report.failed:
        _FAILED.add(report.nodeid)
    for name, seconds in report.user_properties:
        if name == "cpu":
            _SECONDS[report.nodeid] = seconds


def pytest_sessionfinish(session: Any) -> None:
    if not hasattr(session.config, "workerinput"):
        passed = {name: seconds for name, seconds in _SECONDS.items() if name not in _FAILED}
        Path(os.environ["MUTANTS_DURATIONS"]).write_text(json.dumps(passed))
