"""The page's own programs against Python: λ, κ and frozen mass of the catalogue, and the clones of networks."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lop_theory.activations import activation
from lop_theory.balls import fmpq
from lop_theory.graph.counterexamples import COUNTEREXAMPLES
from lop_theory.graph.io import network_to_json
from lop_theory.graph.partition import block_ids
from lop_theory.graph.refinement import refine
from lop_theory.hermite import expand
from lop_theory.report.page.explorer import activations
from lop_theory.strategies import equitable_networks, networks
from lop_theory.tension.frozen import standardised_probability

ASSETS = Path(__file__).parents[2] / "lop_theory" / "report" / "page" / "assets"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node.js")


def node(program: str, data: object) -> object:
    """What the program prints as JSON; it finds ``data``, and the page's scripts as modules."""
    head = (
        f"const at = {json.dumps(str(ASSETS) + '/')}; const data = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
    )
    done = subprocess.run(
        [str(NODE), "-e", head + program], input=json.dumps(data), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


ANALYSE = """
const FORMULA = require(at + 'formula.js'), KERNEL = require(at + 'kernel.js');
console.log(JSON.stringify(data.map(([formula, scale, bias, epsilon]) => {
  const found = KERNEL.analyse(FORMULA.parse(formula), scale, bias, epsilon);
  return [found.strength, found.kappa, found.frozen];
})));
"""


def test_lambda_and_kappa_of_the_catalogue():
    rows = activations()
    found = node(ANALYSE, [[row["formula"], 1, 0, 0.1] for row in rows.values()])
    for (name, row), (strength, kappa, _) in zip(rows.items(), found, strict=True):
        assert strength == pytest.approx(float(row["lambda"][0]), abs=2e-5), name
        assert kappa == pytest.approx(float(row["kappa"][0]), abs=3e-3), name


def test_scale_bias_and_frozen_mass():
    cases = [("tanh", 3, 0.5), ("relu", 1, -1), ("gelu", 2, 0.25), ("softplus", 1, -2), ("elu", 0.5, 1)]
    formulas = [str(activation(name).expr) for name, *_ in cases]
    found = node(ANALYSE, [[f, a, b, 0.2] for f, (_, a, b) in zip(formulas, cases, strict=True)])
    for (name, a, b), (strength, _, frozen) in zip(cases, found, strict=True):
        expr = activation(name, scale=str(a), bias=str(b)).expr
        assert strength == pytest.approx(1 - float(expand(expr, 2).coefficients[1]) ** 2, abs=2e-4), name
        assert frozen == pytest.approx(float(standardised_probability(expr, fmpq(1, 5))), abs=5e-3), name


@pytest.mark.parametrize(
    "text", ["", "x +", "foo(x)", "max(x)", "x)", "constructor(x)", "__proto__", "x; alert(1)", "tanh(x, x)"]
)
def test_a_formula_that_is_none_is_refused(text):
    program = """
    const F = require(at + 'formula.js');
    let message = null;
    try { F.parse(data) } catch (error) { message = error.message }
    console.log(JSON.stringify(message));
    """
    assert node(program, text)


def test_a_formula_is_read_as_python_reads_it():
    program = "const F = require(at + 'formula.js'); console.log(JSON.stringify(data.map((t) => F.parse(t)(1.5))));"
    texts = ["-x**2", "2**-x", "x^3/2 - 1e-1", "max(x, 2, 1)*erf(x)", "-(-x)", "1 - 2 - 3", "8/4/2", "2**3**0.5"]
    from math import erf

    expected = [-(1.5**2), 2**-1.5, 1.5**3 / 2 - 0.1, 2 * erf(1.5), 1.5, -4, 1, 2 ** (3**0.5)]
    assert node(program, texts) == pytest.approx(expected, rel=1e-12)


DIAGNOSE = "const N = require(at + 'network.js'); console.log(JSON.stringify(data.map((n) => N.diagnose(n))));"


def several(network, **options):
    found = block_ids(network.dag, refine(network, **options))
    return sorted(sorted(map(str, block)) for block in found if len(block) > 1)


KINDS_OF_BLOCKS = {"forward": {"mode": "in"}, "clones": {}, "kept": {"support": True}}


def told(found):
    return {name: sorted(map(sorted, found[name])) for name in KINDS_OF_BLOCKS}


def computed(network):
    return {name: several(network, **options) for name, options in KINDS_OF_BLOCKS.items()}


def test_the_named_counterexamples():
    nets = [example.network() for example in COUNTEREXAMPLES]
    for example, found in zip(COUNTEREXAMPLES, node(DIAGNOSE, [network_to_json(n) for n in nets]), strict=True):
        assert told(found) == computed(example.network()), example.name


KINDS = tuple(map(activation, ("identity", "square", "relu")))
CLONED = equitable_networks(activations=KINDS).map(lambda cloned: cloned.network)


@settings(max_examples=8)
@given(st.lists(st.one_of(networks(activations=KINDS), CLONED), min_size=5, max_size=10))
def test_random_networks(drawn):
    for network, found in zip(drawn, node(DIAGNOSE, [network_to_json(n) for n in drawn]), strict=True):
        assert told(found) == computed(network)
