"""The table of the catalogue: one line an activation, each defined once by its formula.

The one convention for φ′ at a kink: what PyTorch's autograd returns for the counterpart, written in the entry's
``slopes``; a user's formula takes the derivative of the branch on the left, as PyTorch's relu does.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Entry(NamedTuple):
    """A catalogue line: formula, default parameters, PyTorch counterpart (a name in ``torch.nn`` or ``torch``), and φ′
    at each kink (see the head of this file)."""

    formula: str
    defaults: Mapping[str, str] = {}
    torch: str | None = None
    slopes: Mapping[str, str] = {}


# SELU's constants solve the self-normalising fixed-point equations of Klambauer et al. (2017), to 34 digits.
_SELU_SCALE = "1.050700987355480493419334985294611"
_SELU_ALPHA = "1.673263242354377284817042991671646"

CATALOGUE: dict[str, Entry] = {
    "identity": Entry("x", {}, "Identity"),
    "relu": Entry("relu(x)", {}, "ReLU", {"0": "0"}),
    "leaky_relu": Entry("relu(x) + slope*min(x, 0)", {"slope": "0.01"}, "LeakyReLU", {"0": "slope"}),
    "elu": Entry("relu(x) + alpha*(exp(min(x, 0)) - 1)", {"alpha": "1"}, "ELU", {"0": "alpha"}),
    "selu": Entry(
        f"{_SELU_SCALE}*(relu(x) + {_SELU_ALPHA}*(exp(min(x, 0)) - 1))",
        {},
        "SELU",
        {"0": f"{_SELU_SCALE}*{_SELU_ALPHA}"},
    ),
    "celu": Entry("relu(x) + alpha*(exp(min(x, 0)/alpha) - 1)", {"alpha": "1"}, "CELU", {"0": "1"}),
    "gelu": Entry("x*(1 + erf(x/sqrt(2)))/2", {}, "GELU"),
    "gelu_tanh": Entry("x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x**3)))/2", {}, "GELU(approximate='tanh')"),
    "silu": Entry("x*sigmoid(beta*x)", {"beta": "1"}, "SiLU"),
    "mish": Entry("x*tanh(softplus(x))", {}, "Mish"),
    "softplus": Entry("softplus(beta*x)/beta", {"beta": "1"}, "Softplus"),
    "sigmoid": Entry("sigmoid(x)", {}, "Sigmoid"),
    "logsigmoid": Entry("-softplus(-x)", {}, "LogSigmoid"),
    "tanh": Entry("tanh(x)", {}, "Tanh"),
    "hardtanh": Entry("max(-1, min(1, x))", {}, "Hardtanh", {"-1": "0", "1": "0"}),
    "hardsigmoid": Entry("max(0, min(1, x/6 + 1/2))", {}, "Hardsigmoid", {"-3": "0", "3": "0"}),
    "hardswish": Entry("x*max(0, min(1, x/6 + 1/2))", {}, "Hardswish", {"-3": "0", "3": "1"}),
    "relu6": Entry("max(0, min(6, x))", {}, "ReLU6", {"0": "0", "6": "0"}),
    "softsign": Entry("x/(1 + abs(x))", {}, "Softsign", {"0": "1"}),
    "softshrink": Entry(
        "relu(x - lambd) - relu(-x - lambd)", {"lambd": "0.5"}, "Softshrink", {"-lambd": "0", "lambd": "0"}
    ),
    "hardshrink": Entry("x*(1 - step(lambd - abs(x)))", {"lambd": "0.5"}, "Hardshrink", {"-lambd": "0", "lambd": "0"}),
    "tanhshrink": Entry("x - tanh(x)", {}, "Tanhshrink"),
    "erf": Entry("erf(x)", {}, "erf"),
    "arctan": Entry("atan(x)", {}, "atan"),
    "sin": Entry("sin(omega*x)", {"omega": "1"}, "sin"),
    "cos": Entry("cos(omega*x)", {"omega": "1"}, "cos"),
    "abs": Entry("abs(x)", {}, "abs", {"0": "0"}),
    "sign": Entry("sign(x)", {}, "sign", {"0": "0"}),
    "step": Entry("step(x)", {}, None, {"0": "0"}),
    "square": Entry("x**2", {}, "square"),
    "cube": Entry("x**3"),
    "relu_squared": Entry("relu(x)**2", {}, None, {"0": "0"}),
    "gaussian": Entry("exp(-x**2/2)"),
    "hermite": Entry("", {"k": "3"}),
    # ---- published later, each as its paper defines it ----
    "prelu": Entry("relu(x) + weight*min(x, 0)", {"weight": "0.25"}, None, {"0": "weight"}),  # He et al. 2015
    "rrelu": Entry("relu(x) + slope*min(x, 0)", {"slope": "11/48"}, None, {"0": "slope"}),  # Xu et al. 2015, evaluation
    "very_leaky_relu": Entry("relu(x) + slope*min(x, 0)", {"slope": "1/3"}, None, {"0": "slope"}),  # Graham 2014
    "smooth_leaky": Entry("alpha*x + (1 - alpha)*x*sigmoid(beta*x)", {"alpha": "0.1", "beta": "1"}),  # optim's module
    "crelu_positive": Entry("relu(x)", {}, None, {"0": "0"}),  # Shang et al. 2016: the two halves of CReLU
    "crelu_negative": Entry("relu(-x)", {}, None, {"0": "0"}),
    "clipped_relu": Entry("max(0, min(cap, x))", {"cap": "1"}, None, {"0": "0", "cap": "0"}),  # Hannun et al. 2014
    "hardtanh_range": Entry(  # torch.nn.Hardtanh(min_val, max_val)
        "hardtanh(x, min_val, max_val)", {"min_val": "-2", "max_val": "2"}, None, {"min_val": "0", "max_val": "0"}
    ),
    "quick_gelu": Entry("x*sigmoid(1.702*x)"),  # Hendrycks & Gimpel 2016, §2
    "squareplus": Entry("(x + sqrt(x**2 + b))/2", {"b": "4"}),  # Barron 2021
    "softplus_tau": Entry("tau*softplus(x/tau)", {"tau": "1/2"}),  # softplus at temperature τ: relu as τ → 0
    "snake": Entry("x + sin(alpha*x)**2/alpha", {"alpha": "1"}),  # Ziyin et al. 2020
    "star_relu": Entry("s*relu(x)**2 + b", {"s": "0.8944", "b": "-0.4472"}, None, {"0": "0"}),  # Yu et al. 2022
    "tanhexp": Entry("x*tanh(exp(x))"),  # Liu & Di 2020
    "serf": Entry("x*erf(softplus(x))"),  # Nag & Bhattacharyya 2021
    "logish": Entry("x*log(1 + sigmoid(x))"),  # Zhu et al. 2021
    "phish": Entry("x*tanh(x*(1 + erf(x/sqrt(2)))/2)"),  # Naveen 2022
}

ALIASES = {
    "relu2": "relu_squared",
    "swish": "silu",
    "atan": "arctan",
    "logistic": "sigmoid",
    "linear": "identity",
    "starrelu": "star_relu",
    "quickgelu": "quick_gelu",
    "smooth_leaky_relu": "smooth_leaky",
}
