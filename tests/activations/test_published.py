"""The later entries of the catalogue against their published definitions, written anew in mpmath."""

import mpmath as mp
import numpy as np
import pytest

from lop_theory.activations.catalogue import activation, from_formula
from lop_theory.errors import InvalidInput


def _logistic(x):
    return 1 / (1 + mp.exp(-x))


def _softplus(x):
    return mp.log(1 + mp.exp(x))


# name → (definition of x and the parameters, source)
PUBLISHED = {
    "prelu": (lambda x, weight: x if x > 0 else weight * x, "He et al., arXiv 1502.01852, Eq. 1, a = 0.25"),
    "rrelu": (lambda x, slope: x if x >= 0 else slope * x, "Xu et al., arXiv 1505.00853: mean of 1/8 and 1/3"),
    "very_leaky_relu": (lambda x, slope: x if x > 0 else x * slope, "Graham, arXiv 1409.6070: x if x > 0 else x/3"),
    "smooth_leaky": (
        lambda x, alpha, beta: alpha * x + (1 - alpha) * x * _logistic(beta * x),
        "lop_theory.optim.SmoothLeakyReLU",
    ),
    "crelu_positive": (lambda x: max(x, 0), "Shang et al., arXiv 1603.05201: ([x]₊, [−x]₊)"),
    "crelu_negative": (lambda x: max(-x, 0), "Shang et al., arXiv 1603.05201"),
    "clipped_relu": (lambda x, cap: min(max(x, 0), cap), "Hannun et al., arXiv 1412.5567, Eq. 1 (there with cap 20)"),
    "hardtanh_range": (
        lambda x, min_val, max_val: max_val if x > max_val else min_val if x < min_val else x,
        "torch.nn.Hardtanh",
    ),
    "quick_gelu": (lambda x: x * _logistic(mp.mpf("1.702") * x), "Hendrycks & Gimpel, arXiv 1606.08415, §2"),
    "squareplus": (lambda x, b: (x + mp.sqrt(x**2 + b)) / 2, "Barron, arXiv 2112.11687, Eq. 1"),
    "softplus_tau": (lambda x, tau: tau * _softplus(x / tau), "softplus at temperature τ"),
    "snake": (lambda x, alpha: x + (1 - mp.cos(2 * alpha * x)) / (2 * alpha), "Ziyin et al., arXiv 2006.08195, Eq. 3"),
    "star_relu": (lambda x, s, b: s * max(x, 0) ** 2 + b, "Yu et al., arXiv 2210.13452, §2"),
    "tanhexp": (lambda x: x * mp.tanh(mp.exp(x)), "Liu & Di, arXiv 2003.09855, Eq. 1"),
    "serf": (lambda x: x * mp.erf(_softplus(x)), "Nag & Bhattacharyya, arXiv 2108.09598, Eq. 1"),
    "logish": (lambda x: x * mp.log(1 + _logistic(x)), "Zhu et al., Neurocomputing 458 (2021)"),
    "phish": (lambda x: x * mp.tanh(x * mp.ncdf(x)), "Naveen, TechRxiv 17283824 (2022): x·tanh(gelu(x))"),
}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("given", [None, "0.3", "1.7"])
def test_values_are_those_of_the_published_definition(name, given):
    definition, _ = PUBLISHED[name]
    names = [key for key, _ in activation(name).parameters]
    act = activation(name, **({key: "-0.3" if key == "min_val" else given for key in names} if given else {}))
    values = {key: mp.mpf(int(value.p)) / int(value.q) for key, value in act.parameters}
    for x in (-6.25, -2, -1.125, -0.3, 0, 0.25, 0.9, 1.75, 3.5, 7):
        with mp.workdps(30):
            expected = definition(mp.mpf(x), **values)
            assert abs(act.numpy()(np.array([x]))[0] - expected) <= 1e-14 * (1 + abs(expected)), (name, x)


def test_numbers_that_the_papers_print():
    at = lambda name, x: float(activation(name).numpy()(np.array([float(x)]))[0])  # noqa: E731 - a table
    assert at("squareplus", 0) == 1  # b = 4
    least = min(at("serf", x / 1000) for x in range(-2000, 0))
    assert least == pytest.approx(-0.3484, abs=1e-4)  # "bounded below by ≈ −0.3484"
    least = min(at("tanhexp", x / 1000) for x in range(-3000, 0))
    assert least == pytest.approx(-0.3532, abs=1e-4)  # "minimum value ≈ −0.3532"


def test_star_relu_is_standardised():
    """s and b make E φ(Z) = 0 and Var φ(Z) = 1 (Yu et al. §2): s = 2/√5, b = −1/√5, to the four digits given."""
    from lop_theory.hermite import expand

    found = expand(activation("star_relu").expr, 2)
    assert abs(float(found.mean)) < 1e-4
    assert float(found.variance) == pytest.approx(1, abs=1e-3)


def test_hermite_is_a_function_in_formulas_too():
    assert from_formula("hermite(x, 3)").expr == activation("hermite", k=3).expr
    assert from_formula("0.5*hermite(2*x, 2)").numpy()(np.array([1.5]))[0] == 4
    for text, words in [("hermite(x)", "hermite"), ("hermite(x, 99)", "1 to 40"), ("hermite(x, 1.5)", "whole")]:
        with pytest.raises(InvalidInput, match=words):
            from_formula(text)
