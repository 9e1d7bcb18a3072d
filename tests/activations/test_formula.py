"""The formula parser and the lowerings of an expression."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations.arrays import numpy_function
from lop_theory.activations.catalogue import from_formula
from lop_theory.activations.complex_boxes import complex_function
from lop_theory.activations.expression import FUNCTIONS, Expr, to_text, tree_depth
from lop_theory.activations.formula import MAX_TREE_DEPTH, parse
from lop_theory.activations.rationals import exact_function
from lop_theory.activations.real_balls import real_function
from lop_theory.activations.symbolic import derivative
from lop_theory.activations.symbols import sympy_expression
from lop_theory.balls import acb, arb, fmpq, precision
from lop_theory.errors import InvalidInput

SMOOTH = [f for f in FUNCTIONS if f in "exp sin cos tanh atan erf sigmoid softplus sinh cosh".split()]


@st.composite
def formula_texts(draw, depth: int = 3) -> str:
    """Formulas that are smooth and defined on the whole line."""
    if depth == 0:
        return draw(st.sampled_from(["x", "1/2", "3", "0.25", "pi"]))
    kind = draw(st.sampled_from(["leaf", "+", "-", "*", "call", "square"]))
    inner = formula_texts(depth=depth - 1)
    if kind == "leaf":
        return draw(formula_texts(depth=0))
    if kind == "call":
        return f"{draw(st.sampled_from(['sin', 'cos', 'tanh', 'atan', 'erf', 'sigmoid', 'softplus']))}({draw(inner)})"
    if kind == "square":
        return f"({draw(inner)})**2"
    return f"({draw(inner)} {kind} {draw(inner)})"


@given(formula_texts(), st.floats(-2, 2))
def test_lowerings_agree_with_python_and_each_other(text, x):
    expr = parse(text)
    names = {
        "sigmoid": lambda u: 1 / (1 + math.exp(-u)),
        "softplus": lambda u: math.log1p(math.exp(u)),
        "x": x,
        "pi": math.pi,
        **{n: getattr(math, n) for n in ("sin", "cos", "tanh", "atan", "erf")},
    }
    expected = eval(text, {"__builtins__": {}}, names)  # the oracle: Python itself, on text that this test made
    ball = real_function(expr)(arb(x))
    assert float(ball) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert float(numpy_function(expr)(np.array([x]))[0]) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert complex_function(expr)(acb(x)).real.overlaps(ball)


@given(formula_texts(), st.fractions(-2, 2, max_denominator=64))
def test_derivative_encloses_a_difference_quotient(text, point):
    expr = parse(text)
    with precision(200):
        x, h = arb(fmpq(point.numerator, point.denominator)), arb(2) ** -60
        phi = real_function(expr)
        quotient = (phi(x + h) - phi(x - h)) / (2 * h)
        slope = real_function(derivative(expr))(x)
        assert abs(quotient - slope) < 1e-12 * (1 + abs(slope))


@given(formula_texts())
def test_text_round_trip(text):
    expr = parse(text)
    again = parse(to_text(expr))
    with precision(128):
        for x in (-1.5, 0.0, 0.75):
            assert real_function(expr)(arb(x)).overlaps(real_function(again)(arb(x)))


@given(st.text(alphabet="x0123456789.+-*/()e, abcdefghijklmnopqrstuvwz_[]{}'\"=:;<>!@#$%^&|~`\\\n\t²π·", max_size=60))
def test_fuzz_gives_an_expression_or_invalid_input(text):
    try:
        outcome = parse(text)
    except InvalidInput as error:
        outcome = error
    assert isinstance(outcome, Expr) or "\n" not in str(outcome)


TOKENS = [
    "x", " if ", " else ", ">", "where", "gelu", "np.", "=", "lambda ", ":", "sin", "(", ")", "+", "**", "9", "max",
    ",", ".", "pi", "-", "/", " ",
]  # fmt: skip


@given(st.lists(st.sampled_from(TOKENS), max_size=60))
def test_fuzz_of_tokens(tokens):
    try:
        result = parse("".join(tokens))
    except InvalidInput:
        return
    assert isinstance(result, Expr)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("x +", "column"),
        ("x.__class__", "Attribute"),
        ("__import__('os')", "unknown function"),
        ("lambda: x", "Lambda"),
        ("lambda x, y: x", "Lambda"),
        ("lambda x=1: x", "Lambda"),
        ("[x]", "List"),
        ("x if x else 1", "condition"),
        ("where(x, 1, 2)", "condition"),
        ("where(x + 1, 1, 2)", "condition"),
        ("where(-x, 1, 2)", "condition"),
        ("where((x + 1) & (x > 0), x, 2)", "condition"),
        ("where(not x, 1, x)", "condition"),
        ("x and 1", "condition"),
        ("exec(x)", "unknown function"),
        ("sigmod(x)", "did you mean 'sigmoid'"),
        ("x + y", "unknown name"),
        ("inf*x", "inf is not a number"),
        ("np.nan + x", "nan is not a number"),
        ("tanh", "write tanh(x)"),
        ("sin(x, x)", "does not take these arguments"),
        ("max(x)", "two or more"),
        ("sin(x=1, y=2)", "does not take these arguments"),
        ("sin(*x)", "plain arguments"),
        ("elu(x, alpha=x)", "must be a number"),
        ("elu(x, 1, 2)", "elu takes x, alpha=1"),
        ("elu(x, 1, alpha=2)", "elu takes"),
        ("relu(x, 3)", "does not take"),
        ("gelu(x, approximate='no')", "approximate"),
        ("softmax(x)", "unknown function"),
        ("os.system(x)", "unknown function"),
        ("np.load('a')", "unknown function"),
        ("np.linalg.norm(x)", "unknown function"),
        ("|x|", "write abs(x)"),
        ("2x", "write 2*x"),
        ("sin x", "write"),
        ("f(x) = x", "what follows the ="),
        ("x == 1", "no Gaussian mass"),
        ("rrelu(x, training=True)", "evaluation"),
        ("silu(" * 30 + "x" + ")" * 30, "operations"),
        ("exp2(1000)", "limited"),
        ("x**x", "constant rational exponent"),
        ("(x**2)**x", "constant rational exponent"),
        ("hermite(x, x**2)", "whole number"),
        ("hermite(x, x)", "whole number"),
        ("hermite(x, 3/2)", "whole number"),
        ("hermite(x, 0)", "whole number"),
        ("hermite(x, 41)", "whole number"),
        ("(-2)**x", "constant rational exponent"),
        ("0**x", "constant rational exponent"),
        ("2**x**x", "constant rational exponent"),
        ("(((9**64)**64)**64)", "bits"),
        ("x**1000", "limited"),
        ("1/0", "division by zero"),
        ("0**-1", "division by zero"),
        ("1j", "not a usable number"),
        ("'x'", "not a usable number"),
        ("True", "not a usable number"),
        ("1e999999999", "out of range"),
        ("x" * 10_000, "characters"),
        ("(" * 500 + "x" + ")" * 500, "parentheses"),
        ("-" * 1500 + "x", "formula"),
        ("+".join(["x"] * 900), "deeper"),
        ("x\n+1", "one line"),
        ("х", "ASCII"),
        ("x @ x", "operator"),
        ("hardtanh(x, 2, -2) + x", "must not exceed"),
        ("hardtanh_range(x, 2, -2) + x", "must not exceed"),
        *[(text, "as it looks") for text in ("tanh(x) # + x**3", "tanh(x) # *)", "x²³", "x ² ³", "x³**2", "x³ ^ 2")],
        *[(text, "as it looks") for text in ("x²3", "x².5", "sin(xπ)", "sin(πx)", "sin(πt)", "tanh(π2)")],
        *[(text, "not a product") for text in ("tanh(xx)", "sin(pix)", "sin(xpi)", "tanh(ax) + ax", "ex")],
    ],
)
def test_refusals_name_the_offence(text, word):
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "plain"),
    [("(x²)³", "(x**2)**3"), ("x² if x > 0 else x³", "x**2 if x > 0 else x**3"), ("-x²/3", "-x**2/3"),
     ("π²·x + x³·x²", "pi**2*x + x**3*x**2"), ("tanh(π·x)", "tanh(pi*x)"), ("tanh(inputs)", "tanh(x)"),
     ("x^2^3", "x**8")],
)  # fmt: skip
def test_what_reads_as_it_looks_is_taken(text, plain):
    assert parse(text) == parse(plain)


@pytest.mark.parametrize("bounds", [(-1, 2), (1, -1), (0.5, 0.5)])
def test_a_clip_with_crossed_bounds_is_numpys(bounds):
    x = np.linspace(-3, 3, 41)
    found = numpy_function(parse(f"clip(x, {bounds[0]}, {bounds[1]})*x"))(x)
    assert np.array_equal(found, np.clip(x, *bounds) * x)


def test_numbers_are_exact():
    assert parse("0.1").number == fmpq(1, 10)
    assert parse("1e-3*x") == parse("x*0.001/1") or str(parse("1e-3")) == "(1/1000)"


@given(st.fractions(-5, 5, max_denominator=50))
def test_exact_lowering_matches_float(value):
    expr = parse("max(x, 0) + abs(x - 1/3)/2 - step(x - 1)*x**2 + sign(x)")
    exact = exact_function(expr)(fmpq(value.numerator, value.denominator))
    assert float(exact.p) / float(exact.q) == pytest.approx(float(numpy_function(expr)(float(value))), abs=1e-12)


def test_exact_lowering_refuses_transcendental():
    with pytest.raises(InvalidInput, match="not exact"):
        exact_function(parse("x + sin(x)"))


def test_sympy_lowering():
    import sympy as sp

    x = sp.Symbol("x", real=True)
    assert sp.simplify(sympy_expression(parse("sin(x)**2 + cos(x)**2"), x)) == 1


OPERATIONS = "exp log sqrt sin cos tan sinh cosh tanh sign atan asinh erf abs step sigmoid softplus relu".split()


OTHERS = ["max(x, 1/3)", "min(x, pi)", "x**3/7 - 2", "sign(-x)", "step(-x)", "relu(-x)", "x**(-2) + pi*x"]


@pytest.mark.parametrize("text", [*(f"{op}(x/2 + 3/4)" for op in OPERATIONS), *OTHERS])
def test_what_sympy_is_told_has_the_values_of_numpy(text):
    sp = pytest.importorskip("sympy")
    x, expr = sp.Symbol("x", real=True), parse(text)
    found, right = sympy_expression(expr), numpy_function(expr)(np.array([0.3, 1.7]))
    assert [float(found.subs(x, sp.Rational(k, 10)).evalf()) for k in (3, 17)] == pytest.approx(
        right.tolist(), rel=1e-12
    )
    assert sympy_expression(expr, y := sp.Symbol("y", real=True)) == found.subs(x, y)


# ---- what people type ----


SAME = {
    "where(x>0, x, 0.1*x)": "relu(x) + min(x, 0)/10",
    "x if x>0 else 0.1*x": "relu(x) + min(x, 0)/10",
    "x if x > 1 else 0 if x > 0 else -x": "x*step(x-1) + relu(-x)",
    "x*(x>0)": "relu(x)",
    "x*(not x <= 0)": "relu(x)",
    "(x>0)*(x<1)": "step(x)*step(1-x)",
    "(0 < x < 1)*x": "x*step(x)*step(1-x)",
    "where((x > 1) | (x < -1), x, 0)": "x*step(abs(x) - 1)",
    "where((x > 1) or (x < -1), x, 0)": "x*step(abs(x) - 1)",
    "where((x < 1) & (x > -1), x, 0)": "x*(1 - step(abs(x) - 1))",
    "where(((x > 1) | (x < -1)) & (x < 3), x, 0)": "x*step(abs(x) - 1)*step(3 - x)",
    "where(((x > 1) & (x < 2)) | (x < -1), x, 0)": "x*(step(x - 1)*step(2 - x) + step(-1 - x))",
    "where(~(x > 1) & (not (x < -1)), x, 0)": "x*step(1 - x)*step(x + 1)",
    "clip(x, -1, 1)": "max(-1, min(1, x))",
    "np.clip(x, a_min=-1, a_max=1)": "max(-1, min(1, x))",
    "torch.clamp(x, min=0)": "relu(x)",
    "x.clamp(min=0)": "relu(x)",
    "np.heaviside(x, 0.5)": "step(x)",
    "jnp.maximum(x, 0)": "relu(x)",
    "e**x": "exp(x)",
    "pi**x": "exp(x*log(pi))",
    "(1/3)**(2*x)": "exp(-2*x*log(3))",
    "e*x + tau": "exp(1)*x + 2*pi",
    "ln(1+e^x)": "softplus(x)",
    "log1p(exp(x))": "softplus(x)",
    "log2(2 + x²)": "log(2 + x**2)/log(2)",
    "log(2 + x**2, 10)": "log10(2 + x**2)",
    "expm1(x) + erfc(x)": "exp(x) - erf(x)",
    "arcsinh(x)": "log(x + sqrt(x**2 + 1))",
    "sinh(asinh(x))": "x",
    "sin(asin(tanh(x)/2))": "tanh(x)/2",
    "cos(arccos(tanh(x)/2))": "tanh(x)/2",
    "tanh(atanh(tanh(x)/2))": "tanh(x)/2",
    "cosh(acosh(2 + x²))": "2 + x**2",
    "sech(x)": "1/cosh(x)",
    "cbrt(x)": "sign(x)*abs(x)**(1/3)",
    "pow(x, 3) + square(x)": "x**3 + x**2",
    "hypot(x, 1)": "sqrt(1 + x**2)",
    "rsqrt(1 + x**2)": "1/sqrt(1 + x**2)",
    "logaddexp(x, 0)": "softplus(x)",
    "x*Phi(x)": "gelu(x)",
    "x*norm.cdf(x)": "gelu(x)",
    "normpdf(x)": "exp(-x**2/2)/sqrt(2*pi)",
    "0.5*gelu(x) + swish(x, 2)": "x*(1 + erf(x/sqrt(2)))/4 + x*sigmoid(2*x)",
    "leaky_relu(x, 0.2)": "max(x, x/5)",
    "F.leaky_relu(x, negative_slope=0.2, inplace=True)": "max(x, x/5)",
    "torch.nn.functional.gelu(x, approximate='tanh')": "gelu_tanh(x)",
    "F.hardtanh(x, -2, 2)": "max(-2, min(2, x))",
    "F.threshold(x, 1, -3)": "where(x > 1, x, -3)",
    "math.tanh(x) + torch.sigmoid(2*x)": "tanh(x) + sigmoid(2*x)",
    "z*sigmoid(z)": "silu(x)",
    "lambda t: t*tanh(t)": "x*tanh(x)",
    "x² − π·x": "x**2 - pi*x",
    "x^2 + 1": "x**2 + 1",
    "elu(2*x - 1)": "relu(2*x - 1) + exp(min(2*x - 1, 0)) - 1",
}


@pytest.mark.parametrize("text", SAME)
def test_spellings_denote_the_same_function(text):
    ours, theirs = parse(text), parse(SAME[text])
    x = np.array([-3.7, -1.2, -0.93, -0.31, 0.27, 0.8, 1.4, 2.6])
    np.testing.assert_allclose(numpy_function(ours)(x), numpy_function(theirs)(x), rtol=1e-12, atol=1e-12)
    with precision(100):
        for point in x:
            assert real_function(ours)(arb(float(point))).overlaps(real_function(theirs)(arb(float(point))))
    assert parse(to_text(ours), room=4) == ours


@pytest.mark.parametrize("text", ["x*(((9**64)**64)**64)", "x + 3**64**2", f"x*{10**1300}", "x + 1/7**64**64"])
def test_numbers_of_too_many_bits_are_refused_inside_a_formula(text):
    with pytest.raises(InvalidInput):
        from_formula(text)


def test_the_deepest_tree():
    """1 − erf(u) is three levels above u, tanh(u) one."""
    deep = "erfc(" * 66 + "tanh(x" + ")" * 67
    assert tree_depth(parse(deep)) == MAX_TREE_DEPTH
    with pytest.raises(InvalidInput, match="200 levels"):
        parse(f"tanh({deep})")
