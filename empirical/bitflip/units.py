"""Activations of the online engine, over a whole layer at once, so that each is one loop the compiler vectorises.

Names and formulas are the catalogue's (lop_theory.activations); a test compares values and derivatives with it.
"""

import numpy as np

from empirical.compilation import compiled

ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "leaky_relu")
RELU, TANH, SIGMOID, ELU, LEAKY_RELU = range(len(ACTIVATIONS))
SLOPE = 0.01
GAINS = {"relu": 2**0.5, "tanh": 5 / 3, "sigmoid": 1.0, "elu": 2**0.5, "leaky_relu": (2 / (1 + SLOPE**2)) ** 0.5}
"""Kaiming gains; ELU has ReLU's, as in the authors' code."""


def kaiming_bound(activation: str, inputs: int) -> float:
    """Half-width of Kaiming-uniform incoming weights: gain · √(3/inputs)."""
    return GAINS[activation] * (3.0 / inputs) ** 0.5


@compiled()
def activate(code: int, pre: np.ndarray, h: np.ndarray) -> None:
    """h = φ(pre)."""
    if code == RELU:
        for i in range(pre.size):
            h[i] = pre[i] if pre[i] > 0.0 else 0.0 * pre[i]  # 0·NaN is NaN: a diverged unit must show
    elif code == TANH:
        for i in range(pre.size):
            h[i] = np.tanh(pre[i])
    elif code == SIGMOID:
        for i in range(pre.size):
            h[i] = 1.0 / (1.0 + np.exp(-pre[i]))
    elif code == ELU:
        for i in range(pre.size):
            h[i] = pre[i] if pre[i] > 0.0 else np.expm1(pre[i])
    else:
        for i in range(pre.size):
            h[i] = pre[i] if pre[i] > 0.0 else SLOPE * pre[i]


@compiled()
def derivative(code: int, pre: np.ndarray, h: np.ndarray, slope: np.ndarray) -> None:
    """slope = φ′(pre), from pre and h; 0 or the left slope at a kink, as in PyTorch."""
    if code == RELU:
        for i in range(pre.size):
            slope[i] = 1.0 if pre[i] > 0.0 else 0.0
    elif code == TANH:
        for i in range(pre.size):
            slope[i] = 1.0 - h[i] * h[i]
    elif code == SIGMOID:
        for i in range(pre.size):
            slope[i] = h[i] * (1.0 - h[i])
    elif code == ELU:
        for i in range(pre.size):
            slope[i] = 1.0 if pre[i] > 0.0 else h[i] + 1.0
    else:
        for i in range(pre.size):
            slope[i] = 1.0 if pre[i] > 0.0 else SLOPE
