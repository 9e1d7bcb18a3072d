"""Plasticity metrics of experiments.md: one pass for all layers, and the run is never disturbed.

Activations H are samples × units (convolutions N·H·W × C, tokens N·T × D). All metrics but saturation come from
column sums and the smaller of HᵀH and HHᵀ (float64), so a layer costs one or two matrix products and one symmetric
eigenvalue problem. Where the paper's text and its authors' code differ, both are here and their names say which
(``_as_paper``, ``_as_coded``).
"""

from lop_theory.metrics.layers import LayerMetrics, layer_metrics
from lop_theory.metrics.manifold import (
    cloning_r2,
    cloning_r2_as_coded,
    distance_to_equitable,
    gradient_norm,
    mean_cloning_r2,
    weight_norm,
)
from lop_theory.metrics.recording import Captured, NonFiniteActivations, capture, channel_dim, hidden_layers, measure
from lop_theory.metrics.units import (
    Moments,
    cosines,
    dead,
    dormant,
    duplicates,
    effective_rank,
    flatten_units,
    moments,
    participation_ratio,
    pieces,
    renyi2_rank,
    saturated,
    singular_values,
    stable_rank,
)

__all__ = [
    "Captured",
    "LayerMetrics",
    "Moments",
    "NonFiniteActivations",
    "capture",
    "channel_dim",
    "cloning_r2",
    "cloning_r2_as_coded",
    "cosines",
    "dead",
    "distance_to_equitable",
    "dormant",
    "duplicates",
    "effective_rank",
    "flatten_units",
    "gradient_norm",
    "hidden_layers",
    "layer_metrics",
    "mean_cloning_r2",
    "measure",
    "moments",
    "participation_ratio",
    "pieces",
    "renyi2_rank",
    "saturated",
    "singular_values",
    "stable_rank",
    "weight_norm",
]
