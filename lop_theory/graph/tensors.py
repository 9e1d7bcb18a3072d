"""The forward pass on torch tensors, differentiable in weights, biases and inputs. This module needs PyTorch."""

import torch
from torch import Tensor

from lop_theory.errors import InvalidInput
from lop_theory.graph.dag import Dag


def forward_tensors(dag: Dag, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """h of shape (nodes, batch) for ``weight`` (edges,), ``bias`` (nodes,), ``x`` (inputs, batch)."""
    for name, value, shape in (("weight", weight, (dag.edges,)), ("bias", bias, (dag.nodes,))):
        if tuple(value.shape) != shape:
            raise InvalidInput(name, tuple(value.shape), f"must have shape {shape}", "use the order of the DAG")
    if x.ndim != 2 or x.shape[0] != len(dag.inputs):
        raise InvalidInput("inputs", tuple(x.shape), f"must have shape ({len(dag.inputs)}, batch)")
    source, target = torch.from_numpy(dag.source), torch.from_numpy(dag.target)
    is_input = torch.from_numpy(dag.is_input)
    data = x.new_zeros(dag.nodes, x.shape[1]).index_copy(0, torch.from_numpy(dag.inputs), x)
    h = x.new_zeros(0, x.shape[1])
    for level in range(dag.levels):
        first, last = int(dag.level_start[level]), int(dag.level_start[level + 1])
        edges = slice(int(dag.in_pointers[first]), int(dag.in_pointers[last]))
        z = bias[first:last, None].expand(-1, x.shape[1])
        z = z.index_add(0, target[edges] - first, weight[edges, None] * h[source[edges]])
        values = data[first:last]
        for group in dag.level_groups[level]:
            if isinstance(group.nodes, slice):
                local = torch.arange(group.nodes.start, group.nodes.stop) - first
            else:
                local = torch.from_numpy(group.nodes) - first
            values = values.index_copy(0, local, group.activation.torch()(z[local]).to(values.dtype))
        h = torch.cat([h, torch.where(is_input[first:last, None], data[first:last], values)])
    return h
