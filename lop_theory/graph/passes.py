"""Forward values, adjoints and gradients, level by level, for a batch (columns are samples).

One code path serves float64 (SciPy CSR products) and exact rationals (sums of Python objects); torch tensors have
their own differentiable forward pass in ``lop_theory.graph.tensors``, which the tests use as an oracle for this one.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np
from scipy.sparse import csr_matrix

from lop_theory.activations import Activation
from lop_theory.errors import InvalidInput
from lop_theory.graph.dag import Network
from lop_theory.graph.scalars import IntArray, Values, is_exact, segment_sums, zeros_like_kind

OutputAdjoint = Callable[[Values], Values]  # outputs (n_out, batch) ↦ ∂L/∂h at the outputs, same shape
GATHER_CHUNK = 1 << 22


class Trace(NamedTuple):
    """Pre-activations z and values h, both (nodes, batch); z is zero at inputs."""

    z: Values
    h: Values


class Gradient(NamedTuple):
    """∂L/∂w by edge and ∂L/∂b by node (zero at inputs), summed over the batch."""

    weight: Values
    bias: Values


class Backward(NamedTuple):
    """δ(v) = ∂L/∂h(v), shape (nodes, batch), and the gradient."""

    adjoint: Values
    gradient: Gradient


def forward(network: Network, x: Values) -> Trace:
    """h(v) = φ_v(b_v + Σ_u w_uv h(u)) for inputs x of shape (inputs, batch)."""
    dag = network.dag
    x = _as_batch(x, len(dag.inputs), "inputs", like=network.weight)
    h = zeros_like_kind((dag.nodes, x.shape[1]), network.weight)
    z = zeros_like_kind((dag.nodes, x.shape[1]), network.weight)
    h[dag.inputs] = x
    for level, groups in enumerate(dag.level_groups):
        nodes = slice(int(dag.level_start[level]), int(dag.level_start[level + 1]))
        z[nodes] = network.bias[nodes, None] + _products(network.weight, dag.source, dag.in_pointers, nodes, h)
        for group in groups:
            h[group.nodes] = _function(group.activation, is_exact(z), slope=False)(z[group.nodes])
    z[dag.inputs] = zeros_like_kind((), z)[()]
    return Trace(z, h)


def backward(network: Network, trace: Trace, output_adjoint: Values) -> Backward:
    """δ(v) = Σ_u δ(u) φ'_u(z(u)) w_vu + output adjoint;  ∂L/∂w_uv = δ(v) φ'_v(z(v)) h(u)."""
    dag = network.dag
    seed = _as_batch(output_adjoint, len(dag.outputs), "output adjoint", like=network.weight)
    adjoint = zeros_like_kind(trace.h.shape, network.weight)
    adjoint[dag.outputs] = seed
    error = zeros_like_kind(trace.h.shape, network.weight)  # ∂L/∂z
    by_source = network.weight[dag.out_order]
    for level in reversed(range(dag.levels)):
        nodes = slice(int(dag.level_start[level]), int(dag.level_start[level + 1]))
        adjoint[nodes] += _products(by_source, dag.target_by_source, dag.out_pointers, nodes, error)
        for group in dag.level_groups[level]:
            slope = _function(group.activation, is_exact(trace.z), slope=True)(trace.z[group.nodes])
            error[group.nodes] = adjoint[group.nodes] * slope
    weight = edge_products(error, trace.h, dag.target, dag.source)
    return Backward(adjoint, Gradient(weight, error.sum(axis=1)))


def gradient(network: Network, x: Values, output_adjoint: OutputAdjoint) -> Gradient:
    """Gradient of the loss whose output adjoint is given, summed over the batch."""
    trace = forward(network, x)
    return backward(network, trace, output_adjoint(trace.h[network.dag.outputs])).gradient


def squared_error(targets: Values) -> OutputAdjoint:
    """Adjoint of L = ½ Σ (y − target)²."""
    return lambda outputs: outputs - targets


def edge_products(error: Values, h: Values, target: IntArray, source: IntArray) -> Values:
    """Σ_batch error[target] · h[source] for every edge, gathered in chunks that fit the cache hierarchy."""
    edges, batch = len(target), error.shape[1]
    if is_exact(error):
        return (error[target] * h[source]).sum(axis=1) if edges else zeros_like_kind((0,), error)
    if batch == 1:
        return np.take(error[:, 0], target) * np.take(h[:, 0], source)
    out, step = np.empty(edges), max(1, GATHER_CHUNK // batch)
    for a in range(0, edges, step):
        out[a : a + step] = np.einsum("eb,eb->e", error[target[a : a + step]], h[source[a : a + step]])
    return out


def _products(weight: Values, column: IntArray, pointers: IntArray, nodes: slice, values: Values) -> Values:
    """Rows ``nodes`` of the CSR matrix (weight, column, pointers) times ``values``."""
    a, b = int(pointers[nodes.start]), int(pointers[nodes.stop])
    rows = pointers[nodes.start : nodes.stop + 1] - a
    if a == b:
        return zeros_like_kind((nodes.stop - nodes.start, values.shape[1]), values)
    if is_exact(weight):
        return segment_sums(weight[a:b, None] * values[column[a:b]], rows[:-1], rows[1:])
    return csr_matrix((weight[a:b], column[a:b], rows), shape=(len(rows) - 1, len(values))) @ values


@lru_cache(maxsize=256)
def _function(activation: Activation, exact: bool, *, slope: bool) -> Callable[[Values], Values]:
    if not exact:
        return activation.derivative_numpy() if slope else activation.numpy()
    scalar = activation.derivative_exact() if slope else activation.exact()
    return cast("Callable[[Values], Values]", np.frompyfunc(scalar, 1, 1))


def _as_batch(values: Values, rows: int, what: str, *, like: Values) -> Values:
    array = np.asarray(values, dtype=like.dtype)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[0] != rows:
        raise InvalidInput(what, array.shape, f"must have shape ({rows}, batch)", "one row a node, one column a sample")
    return array
