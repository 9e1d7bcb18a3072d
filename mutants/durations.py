"""A pytest plugin that writes how long each test took, to the file named by MUTANTS_DURATIONS."""

import json
import os
from pathlib import Path
from typing import Any

_SECONDS: dict[str, float] = {}


def pytest_runtest_logreport(report: Any) -> None:
    _SECONDS[report.nodeid] = _SECONDS.get(report.nodeid, 0.0) + report.duration


def pytest_sessionfinish(session: Any) -> None:
    if not hasattr(session.config, "workerinput"):
        Path(os.environ["MUTANTS_DURATIONS"]).write_text(json.dumps(_SECONDS))
