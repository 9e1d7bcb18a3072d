"""The words of the formula language beyond the basic functions: each builds an expression from expressions.

The same table serves the reader of typed formulas (``formula``) and the tracer of Python callables (``tracing``), so
names and signatures are those of NumPy, SciPy and PyTorch. Conditions are expressions with the values 0 and 1.
"""

from collections.abc import Callable, Mapping

from lop_theory.activations.expression import FUNCTIONS, ONE, PI, ZERO, Expr, add, call, div, mul, neg, num, power, sub
from lop_theory.balls import fmpq

Word = Callable[..., Expr]

MAX_POWER = 64
MAX_BITS = 4096
MAX_HERMITE = 40

HALF, TWO, MINUS_ONE = num(fmpq(1, 2)), num(2), num(-1)
QUARTER, EIGHTH, THIRD, TWENTY = num(fmpq(1, 4)), num(fmpq(1, 8)), num(fmpq(1, 3)), num(20)
CONSTANTS = {"pi": PI, "π": PI, "tau": mul(TWO, PI), "e": call("exp", ONE), "True": ONE, "False": ZERO}


def bits(value: fmpq) -> int:
    """The length of the longer of numerator and denominator."""
    return max(int(value.p).bit_length(), int(value.q).bit_length())


def at_least(a: Expr, b: Expr) -> Expr:
    """1 where a ≥ b, else 0."""
    return call("step", sub(a, b))


def above(a: Expr, b: Expr) -> Expr:
    """1 where a > b, else 0."""
    return sub(ONE, call("step", sub(b, a)))


def where(condition: Expr, input: Expr, other: Expr) -> Expr:
    """``input`` where the condition holds, ``other`` elsewhere. Raises ``ValueError`` if it is no condition."""
    if not is_condition(condition):
        raise ValueError("where needs a condition such as x > 0")
    opposite = _negated(condition)
    if opposite is not None:
        return where(opposite, other, input)
    return add(mul(condition, input), mul(sub(ONE, condition), other))


def _negated(condition: Expr) -> Expr | None:
    """c if the condition is spelled 1 − c."""
    match condition:
        case Expr("add", (Expr("num", _, one), Expr("mul", (Expr("num", _, minus), inner)))) if (one, minus) == (1, -1):
            return inner
        case _:
            return None


def is_condition(expr: Expr) -> bool:
    """Whether the expression is built as a condition: its values are 0 and 1."""
    if expr in (ZERO, ONE) or expr.op == "step":
        return True
    inner = _negated(expr)
    if inner is not None:
        return is_condition(inner)
    if expr.op == "mul":
        return all(map(is_condition, expr.args))
    return expr.op == "add" and _is_union(expr)


def _is_union(expr: Expr) -> bool:
    """a + b − ab for conditions a and b, which is "a or b"."""
    match expr.args:
        case (Expr("add", (a, b)), last):
            return last == neg(mul(a, b)) and is_condition(a) and is_condition(b)
        case _:
            return False


def opposite(condition: Expr) -> Expr:
    """1 where the condition fails, else 0."""
    found = _negated(condition)
    return sub(ONE, condition) if found is None else found


def log(x: Expr, base: Expr | None = None) -> Expr:
    return call("log", x) if base is None else div(call("log", x), call("log", base))


def raised(x: Expr, exponent: Expr) -> Expr:
    """x ** exponent. Raises ``ValueError`` unless the exponent is a moderate rational or the base a positive number."""
    if exponent.op == "num":
        p, q = abs(int(exponent.number.p)), int(exponent.number.q)
        if p > MAX_POWER * q or q > MAX_POWER:
            raise ValueError(f"powers are limited to ±{MAX_POWER} with denominators up to {MAX_POWER}")
        if x.op == "num" and bits(x.number) * p > MAX_BITS * q:
            raise ValueError(f"this number has more than {MAX_BITS} bits")
        if x == ZERO and exponent.number < 0:
            raise ValueError("division by zero")
        return power(x, exponent.number)
    if x == CONSTANTS["e"]:
        return call("exp", exponent)
    if x.op == "pi" or (x.op == "num" and x.number > 0):
        return call("exp", mul(exponent, call("log", x)))
    raise ValueError("a power needs a constant rational exponent or a positive constant base")


def clamp(
    x: Expr, min: Expr | None = None, max: Expr | None = None, *, a_min: Expr | None = None, a_max: Expr | None = None
) -> Expr:
    low, high = min if a_min is None else a_min, max if a_max is None else a_max
    inside = x if low is None else call("max", low, x)
    return inside if high is None else call("min", high, inside)  # NumPy's and PyTorch's order where low > high


def rectified(x: Expr, *, inplace: bool = False) -> Expr:
    del inplace
    return call("relu", x)


def _fold(name: str) -> Word:
    def whole(*args: Expr) -> Expr:
        if len(args) < 2:
            raise TypeError(f"{name} takes two or more arguments, not {len(args)}")
        result = args[0]
        for arg in args[1:]:
            result = call(name, result, arg)
        return result

    return whole


def _basic(name: str) -> Word:
    return lambda x: call(name, x)


def signed_root(x: Expr) -> Expr:
    """The real cube root."""
    return mul(call("sign", x), power(call("abs", x), fmpq(1, 3)))


def normal_cdf(x: Expr) -> Expr:
    return div(add(ONE, call("erf", div(x, call("sqrt", TWO)))), TWO)


def normalised_sinc(x: Expr) -> Expr:
    """sin(πx)/(πx), as in NumPy and PyTorch."""
    return div(call("sin", mul(PI, x)), mul(PI, x))


def heaviside(x: Expr, values: Expr = HALF) -> Expr:
    del values  # one point has no Gaussian mass
    return call("step", x)


def threshold(x: Expr, threshold: Expr, value: Expr, inplace: bool = False) -> Expr:
    del inplace
    return where(above(x, threshold), x, value)


def hardtanh(x: Expr, min_val: Expr = MINUS_ONE, max_val: Expr = ONE, inplace: bool = False) -> Expr:
    del inplace
    if min_val.op == max_val.op == "num" and min_val.number > max_val.number:
        raise ValueError("min_val must not exceed max_val")
    return call("max", min_val, call("min", max_val, x))


def prelu(x: Expr, weight: Expr = QUARTER) -> Expr:
    return add(call("relu", x), mul(weight, call("min", x, ZERO)))


def leaky_random(
    x: Expr, lower: Expr = EIGHTH, upper: Expr = THIRD, training: bool = False, inplace: bool = False
) -> Expr:
    """rrelu as it is in evaluation: the mean slope."""
    del inplace
    if training:
        raise ValueError("rrelu draws random slopes in training; use it in evaluation mode")
    return prelu(x, mul(HALF, add(lower, upper)))


def gelu(x: Expr, approximate: str = "none") -> Expr:
    if approximate == "tanh":
        inner = mul(call("sqrt", div(TWO, PI)), add(x, mul(num(fmpq(44715, 10**6)), power(x, fmpq(3)))))
        return div(mul(x, add(ONE, call("tanh", inner))), TWO)
    if approximate != "none":
        raise ValueError("gelu knows approximate='none' and approximate='tanh'")
    return div(mul(x, add(ONE, call("erf", div(x, call("sqrt", TWO))))), TWO)


def softplus(x: Expr, beta: Expr = ONE, threshold: Expr = TWENTY) -> Expr:
    """log(1 + exp(βx))/β; beyond βx > threshold PyTorch rounds it to x, which changes it by less than 3e-9."""
    if threshold.number < 20:
        raise ValueError("softplus with a threshold below 20 is another function; use where")
    return div(call("softplus", mul(beta, x)), beta)


def logaddexp(a: Expr, b: Expr) -> Expr:
    return add(a, call("softplus", sub(b, a)))


def hermite(x: Expr, k: Expr) -> Expr:
    """The probabilists' He_k in Horner form, so that it stays short and exact at any degree."""
    if k.op != "num" or k.number.q != 1 or not 1 <= k.number <= MAX_HERMITE:
        raise ValueError(f"k must be a whole number from 1 to {MAX_HERMITE}")
    below, this = [1], [0, 1]
    for n in range(1, int(k.number.p)):
        shifted, lower = [0, *this], [n * c for c in below] + [0] * 2
        below, this = this, [a - b for a, b in zip(shifted, lower, strict=False)]
    found = num(this[-1])
    for coefficient in reversed(this[:-1]):
        found = add(mul(found, x), num(coefficient))
    return found


WORDS: Mapping[str, Word] = {
    **{name: _basic(name) for name in FUNCTIONS},
    "relu": rectified,
    **dict.fromkeys(("max", "maximum", "fmax"), _fold("max")),
    **dict.fromkeys(("min", "minimum", "fmin"), _fold("min")),
    "log": log,
    "ln": log,
    "log1p": lambda x: log(add(ONE, x)),
    "log2": lambda x: log(x, TWO),
    "log10": lambda x: log(x, num(10)),
    "expm1": lambda x: sub(call("exp", x), ONE),
    "exp2": lambda x: raised(TWO, x),
    "erfc": lambda x: sub(ONE, call("erf", x)),
    "arctan": _basic("atan"),
    "arcsinh": _basic("asinh"),
    "asin": lambda x: call("atan", div(x, call("sqrt", sub(ONE, power(x, fmpq(2)))))),
    "acos": lambda x: sub(div(PI, TWO), WORDS["asin"](x)),
    "acosh": lambda x: log(add(x, call("sqrt", sub(power(x, fmpq(2)), ONE)))),
    "atanh": lambda x: div(log(div(add(ONE, x), sub(ONE, x))), TWO),
    "sec": lambda x: div(ONE, call("cos", x)),
    "sech": lambda x: div(ONE, call("cosh", x)),
    "csch": lambda x: div(ONE, call("sinh", x)),
    "coth": lambda x: div(ONE, call("tanh", x)),
    "sinc": normalised_sinc,
    "cbrt": signed_root,
    "pow": raised,
    "square": lambda x: power(x, fmpq(2)),
    "reciprocal": lambda x: div(ONE, x),
    "rsqrt": lambda x: power(call("sqrt", x), fmpq(-1)),
    "hypot": lambda x, y: call("sqrt", add(power(x, fmpq(2)), power(y, fmpq(2)))),
    "logaddexp": logaddexp,
    "Phi": normal_cdf,
    "normpdf": lambda x: div(call("exp", div(power(x, fmpq(2)), num(-2))), call("sqrt", mul(TWO, PI))),
    "heaviside": heaviside,
    "where": where,
    "clip": clamp,
    "clamp": clamp,
    "clamp_min": clamp,
    "clamp_max": lambda x, max: clamp(x, None, max),
    "absolute": _basic("abs"),
    "fabs": _basic("abs"),
    "sgn": _basic("sign"),
    "add": lambda x, other, alpha=ONE: add(x, mul(alpha, other)),
    "subtract": lambda x, other, alpha=ONE: sub(x, mul(alpha, other)),
    "rsub": lambda x, other, alpha=ONE: sub(other, mul(alpha, x)),
    "multiply": mul,
    "divide": div,
    "negative": neg,
    "positive": lambda x: x,
    "greater": above,
    "greater_equal": at_least,
    "less": lambda a, b: above(b, a),
    "less_equal": lambda a, b: at_least(b, a),
    "logical_and": mul,
    "logical_or": lambda a, b: sub(add(a, b), mul(a, b)),
    "logical_not": opposite,
    "ones_like": lambda _x: ONE,
    "zeros_like": lambda _x: ZERO,
    "threshold": threshold,
    "hardtanh": hardtanh,
    "prelu": prelu,
    "rrelu": leaky_random,
    "gelu": gelu,
    "softplus": softplus,
    "hermite": hermite,
}  # fmt: skip

SYNONYMS = {
    "arcsin": "asin", "arccos": "acos", "arccosh": "acosh", "arctanh": "atanh", "normcdf": "Phi", "ndtr": "Phi",
    "norm_cdf": "Phi", "cdf": "Phi", "expit": "sigmoid", "sub": "subtract", "mul": "multiply", "div": "divide",
    "true_divide": "divide", "neg": "negative", "gt": "greater", "ge": "greater_equal", "lt": "less",
    "le": "less_equal", "float_power": "pow", "power": "pow", "log_sigmoid": "logsigmoid", "bitwise_and": "logical_and",
    "bitwise_or": "logical_or", "bitwise_not": "logical_not", "invert": "logical_not", "special_expit": "sigmoid",
    "special_ndtr": "Phi", "special_erf": "erf", "special_erfc": "erfc", "special_log1p": "log1p",
    "special_expm1": "expm1", "special_exp2": "exp2", "special_sinc": "sinc", "hard_sigmoid": "hardsigmoid",
    "hard_swish": "hardswish", "hard_tanh": "hardtanh", "soft_sign": "softsign",
}  # fmt: skip
"""Other spellings of a word or of a catalogue name."""
