"""Compiled parts run as Python where their calls are to be seen."""

import sys
from contextlib import nullcontext
from typing import Any

import torch


def as_written() -> Any:
    """Within: ``torch.compile`` compiles nothing, and what it has compiled runs as it is written."""
    stance = getattr(torch.compiler, "set_stance", None)
    return nullcontext() if stance is None or "torch._dynamo" not in sys.modules else stance("force_eager")
