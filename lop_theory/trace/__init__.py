"""A model as a pure list of ATen calls, compared with the model itself before anyone believes it.

``program = trace(model, example_input)`` follows one mode (training or evaluation) of any ``nn.Module``, ``traces``
both, and refuses, by name, what a trace cannot show: gradients of a ``torch.autograd.Function``, hooks on gradients,
state outside buffers, Python's random numbers. ``run(program, state_of(model), program.flat(args, kwargs), observe)``
executes it and shows every value.
"""

from lop_theory.trace.arguments import as_arguments
from lop_theory.trace.program import Deferred, Input, Node, Program, flat_inputs, operator_name, run, state_of
from lop_theory.trace.random import random_state
from lop_theory.trace.tracing import trace, traces
from lop_theory.trace.unseen import NotTraceable

__all__ = [
    "Deferred",
    "Input",
    "Node",
    "NotTraceable",
    "Program",
    "as_arguments",
    "flat_inputs",
    "operator_name",
    "random_state",
    "run",
    "state_of",
    "trace",
    "traces",
]
