"""Forward values, adjoints and gradients, level by level, for a batch (columns are samples).

One code path serves float64 (SciPy CSR products) and exact rationals (sums of Python objects); torch tensors have
their own differentiable forward pass in ``lop_theory.graph.tensors``, which the tests use as an oracle for this one.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np

from lop_theory.activations.catalogue import Activation
from lop_theory.errors import InvalidInput
from lop_theory.graph.dag import Dag, LevelEdges, Network
from lop_theory.graph.scalars import Values, is_exact, segment_sums, zeros_like_kind

OutputAdjoint = Callable[[Values], Values]  # outputs (n_out, batch) ↦ ∂L/∂h at the outputs, same shape
GATHER_CHUNK = 1 << 17  # numbers that fit a core's cache
SPARSE_SPAN = 4  # a level whose sources span more than this many nodes an edge is scattered edge by edge


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
    for level, groups in zip(dag.level_edges, dag.level_groups, strict=True):
        z[level.nodes] = network.bias[level.nodes, None] + _products(network, level, h)
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
    for level, groups in reversed(list(zip(dag.level_edges, dag.level_groups, strict=True))):
        for group in groups:
            slope = _function(group.activation, is_exact(trace.z), slope=True)(trace.z[group.nodes])
            error[group.nodes] = adjoint[group.nodes] * slope
        _scatter(network, level, error[level.nodes], adjoint)
    weight = edge_products(error, trace.h, dag)
    return Backward(adjoint, Gradient(weight, error.sum(axis=1)))


def gradient(network: Network, x: Values, output_adjoint: OutputAdjoint) -> Gradient:
    """Gradient of the loss whose output adjoint is given, summed over the batch."""
    trace = forward(network, x)
    return backward(network, trace, output_adjoint(trace.h[network.dag.outputs])).gradient


def squared_error(targets: Values) -> OutputAdjoint:
    """Adjoint of L = ½ Σ (y − target)²."""
    return lambda outputs: outputs - targets


def activation_values(network: Network, z: Values, *, slope: bool) -> Values:
    """φ_v(z(v)), or the slope φ′_v(z(v)), for all nodes at once; z is (nodes, batch), inputs keep what they have."""
    values = z.copy()
    for groups in network.dag.level_groups:
        for group in groups:
            values[group.nodes] = _function(group.activation, is_exact(z), slope=slope)(z[group.nodes])
    return values


def edge_products(error: Values, h: Values, dag: Dag) -> Values:
    """Σ_batch error[target] · h[source] for every edge (sorted by target), gathered in chunks that fit a cache."""
    edges, batch, target, source = dag.edges, error.shape[1], dag.target, dag.source
    if is_exact(error):
        return (error[target] * h[source]).sum(axis=1) if edges else zeros_like_kind((0,), error)
    if batch == 1:  # one gather: the targets are sorted
        spread = np.repeat(error[:, 0], np.diff(dag.in_pointers))
        return np.multiply(spread, np.take(h[:, 0], source, mode="clip"), out=spread)
    out, step = np.empty(edges), max(1, GATHER_CHUNK // max(batch, 1))
    for a in range(0, edges, step):
        ends = (np.take(v, k[a : a + step], axis=0, mode="clip") for v, k in ((error, target), (h, source)))
        np.einsum("eb,eb->e", *ends, out=out[a : a + step])
    return out


def _products(network: Network, level: LevelEdges, h: Values) -> Values:
    """Σ_u w_uv h(u) for every v in the level."""
    if is_exact(network.weight):
        products = network.weight[level.edges, None] * h[network.dag.source[level.edges]]
        rows = level.pattern.indptr.astype(np.int64)
        return segment_sums(products, rows[:-1], rows[1:])
    return level.matrix(network.weight) @ h[level.sources]


def _scatter(network: Network, level: LevelEdges, error: Values, adjoint: Values) -> None:
    """Add error(v) w_uv to adjoint(u) for every edge into the level, in place."""
    edges, span = level.edges, level.sources.stop - level.sources.start
    if is_exact(error) or span > SPARSE_SPAN * (edges.stop - edges.start):
        ends = network.dag.target[edges] - level.nodes.start
        np.add.at(adjoint, network.dag.source[edges], network.weight[edges, None] * error[ends])
    else:
        adjoint[level.sources] += level.transposed(network.weight) @ error


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
