"""The definitions and lemmas written for Coq, by a small checker of their proof terms: each lemma of
proofs/numbers/Formula.v is applied to what its hypotheses ask for, and concludes what is stated of the definition."""

import math
import re
from fractions import Fraction
from pathlib import Path

import pytest

from lop_theory.activations.catalogue import activation, from_formula
from lop_theory.activations.real_balls import real_function
from lop_theory.balls import arb
from lop_theory.errors import InvalidInput
from lop_theory.gap.coq_formula import Chain, coq_text, core, required_growth, translate

LEMMAS = (Path(__file__).parents[2] / "proofs/numbers/Formula.v").read_text()
WORDS = {"tanh": "hyperbolic", "abs": "Rabs"} | {
    op: op for op in ("sqrt", "exp", "softplus", "relu", "sigmoid", "sin", "cos", "atan")
}
ADD, MUL, INVERSE = "{0} x + {1} x", "{0} x * {1} x", "/ {0} x"
BODY = {op: f"{word} ({{0}} x)" for op, word in WORDS.items()}
BOUNDS = {"sin": 1, "cos": 1, "tanh": 1, "sigmoid": 1, "atan": 2}
# lemma → (kinds of its hypotheses with the function that each is about, the function that it concludes of, the numbers)
RULES = {
    "smooth_add": ("smooth0 smooth1", ADD, None),
    "smooth_mul": ("smooth0 smooth1", MUL, None),
    "smooth_inv": ("smooth0 low0", INVERSE, None),
    "nonneg_add": ("nonneg0 nonneg1", ADD, None),
    "nonneg_mul": ("nonneg0 nonneg1", MUL, None),
    "nonneg_square": ("", "{0} x * {0} x", None),
    "nonpos_mul": ("nonpos0 nonneg1", MUL, None),
    "nonpos_mul_right": ("nonneg0 nonpos1", MUL, None),
    "above": ("low0 nonneg1", ADD, lambda c, _: c),
    "above_right": ("low1 nonneg0", ADD, lambda c, _: c),
    "grows_add": ("grows0 grows1", ADD, lambda a, b: (a[0] + b[0], a[1] + b[1])),
    "grows_mul": ("grows0 grows1", MUL, lambda a, b: (a[1] * b[0], a[1] * b[1]) if a[0] == 0 else None),
    "grows_mul_right": ("grows0 grows1", MUL, lambda a, b: (b[1] * a[0], b[1] * a[1]) if b[0] == 0 else None),
    "grows_inv": ("low0", INVERSE, lambda c: (0, 1 / c[0])),
    "grows_exp": ("nonpos0", BODY["exp"], lambda _: (0, 1)),
    **{f"smooth_{op}": ("smooth0", BODY[op], None) for op in WORDS},
    **{f"nonneg_{op}": ("", BODY[op], None) for op in ("abs", "sqrt", "exp", "softplus", "relu", "sigmoid")},
    **{f"grows_{op}": ("", BODY[op], lambda bound=bound: (0, bound)) for op, bound in BOUNDS.items()},
    **{f"grows_{op}": ("grows0", BODY[op], lambda a: a) for op in ("abs", "relu")},
    **{f"grows_{op}": ("grows0", BODY[op], lambda a: (a[0], a[1] + 1)) for op in ("sqrt", "softplus")},
}


def parsed(text):
    """A term as nested lists of words; tactics are left out."""
    stack = [[]]
    for word in re.findall(r"\(|\)|[^\s()]+", re.sub(r"ltac:\((?:[^()]|\([^()]*\))*\)", "", text)):
        if word == "(":
            stack.append([])
        elif word == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(word)
    (whole,) = stack
    return whole[0] if len(whole) == 1 else whole


def constant(term):
    """The value of a number of Coq."""
    match term:
        case "PI":
            return math.pi
        case str():
            return Fraction(term)
        case [single]:
            return constant(single)
        case [("sqrt" | "exp") as word, inner]:
            return getattr(math, word)(constant(inner))
        case [a, ("+" | "*" | "/") as sign, b]:
            a, b = constant(a), constant(b)
            return a + b if sign == "+" else a * b if sign == "*" else a / b
    raise AssertionError(term)


def concluded(term, bodies, known):
    """(function, numbers) that a proof term concludes; its hypotheses must be known of the functions it names."""
    name, *arguments = [term] if isinstance(term, str) else term
    assert re.search(rf"^Lemma {name}\b", LEMMAS, re.M), name
    if name in ("smooth_x", "grows_x"):
        return "x", (1, 0)
    if name.endswith("_num"):
        value = constant(arguments[0])
        top = constant(arguments[1]) if name == "grows_num" else None
        assert top is None or abs(value) <= top <= abs(value) + 2**-18
        assert {"nonneg_num": value >= 0, "nonpos_num": value <= 0}.get(name, True)
        return arguments[0], (0, constant(arguments[1])) if top is not None else None
    hypotheses, body, numbers = RULES[name]
    functions = [a for a in arguments if isinstance(a, str) and a in bodies]
    given = [a for a in arguments if isinstance(a, str) and a in known]
    wanted = [(h[:-1], functions[int(h[-1])]) for h in hypotheses.split()]
    assert [known[a][:2] for a in given] == wanted, (term, given)
    written = [constant(a) for a in arguments if a != "_" and a not in functions and a not in given]
    found = numbers(*(known[a][2] for a in given)) if numbers else None
    if name == "grows_inv":
        assert written == [known[given[0]][2][0], found[1]]
    return body.format(*functions), found


def check(lines):
    """Every lemma of the chain is proved by its term; what is known of each definition."""
    bodies, known = {}, {}
    for line in lines:
        if found := re.fullmatch(r"Definition (e\d+) \(x : R\) : R := (.*)\.", line):
            bodies[found[1]] = found[2]
            continue
        name, statement, proof = re.fullmatch(r"Lemma (\w+) : (.*?)\. Proof\. (.*)\. Qed\.", line).groups()
        kind = re.sub(r"\d", "", name)
        kind = {"s": "smooth", "g": "grows"}.get(kind, kind)
        about = f"e{re.sub(r'[a-z]', '', name)}"
        if kind == "low":
            number = (constant(parsed(re.fullmatch(rf"forall x, (.*) <= {about} x", statement)[1])),)
        else:
            word, own, *number = parsed(statement)
            assert (word, own) == (kind, about)
            number = tuple(map(constant, number))
        if kind == "low" and "fun _" in proof:
            assert f"unfold {about};" in proof
            assert 0 < number[0] <= constant(parsed(bodies[about]))
        else:
            term = parsed(proof.removeprefix("exact ").removesuffix("; lra"))
            if kind == "grows":
                head, own, *blanks, term = term[1]
                assert (head, own, blanks) == ("grows_as", about, ["_"] * 4)
            body, numbers = concluded(term, bodies, known)
            assert (body if isinstance(body, str) else parsed_back(body)) == bodies[about], line
            if number:
                assert tuple(numbers) == number, line
        known[name] = kind, about, number
    return bodies, known


def translated(expr):
    chain = Chain(expr)
    return translate(core(expr), chain), chain


def parsed_back(term):
    return term if isinstance(term, str) else f"({' '.join(map(parsed_back, term))})"


FORMULAS = {  # growth (A, B) of the whole, its sign, and a lower bound, as far as the rules see them
    "x": ((1, 0), "", None),
    "tanh(x)": ((0, 1), "", None),
    "atan(x)": ((0, 2), "", None),
    "sigmoid(3*x)": ((0, 1), "+", None),
    "abs(x)": ((1, 0), "+", None),
    "relu(x - 1)": ((1, 1), "+", None),
    "softplus(2*x)": ((2, 1), "+", None),
    "sqrt(abs(x))": ((1, 1), "+", None),
    "relu(x) + x": ((2, 0), "", None),
    "3*x": ((3, 0), "", None),
    "-x/2": ((Fraction(1, 2), 0), "", None),
    "x*tanh(x)": ((1, 0), "", None),
    "tanh(x)*(x + 1/3)": ((1, Fraction(1, 3)), "", None),
    "sin(x)*cos(x)": ((0, 1), "", None),
    "exp(-abs(x))": ((0, 1), "+", None),
    "exp(-x**2)": ((0, 1), "+", None),
    "exp(abs(x)*(-2))": ((0, 1), "+", None),
    "exp(-(abs(x) + x**2))": ((0, 1), "+", None),
    "exp(x)": (None, "+", None),
    "-abs(x)": ((1, 0), "-", None),
    "relu(x)*sigmoid(x)": ((1, 0), "+", None),
    "sigmoid(x)*(-abs(x))": ((1, 0), "-", None),
    "x**2": (None, "+", None),
    "x**2 + 1/2": (None, "+", Fraction(1, 2)),
    "1/2 + x**2": (None, "+", Fraction(1, 2)),
    "1/(1/2 + x**2)": ((0, 2), "", None),
    "x/(1 + abs(x))": ((1, 0), "", None),
    "(3 + abs(x))**(-1)": ((0, Fraction(1, 3)), "", None),
    "max(x, 1)": ((2, 1), "", None),
    "min(x, 0)": ((1, 0), "-", None),
    "max(0, x)": ((1, 0), "+", None),
    "log(1 + exp(x))": ((1, 1), "+", None),
    "log(exp(x) + 1)": ((1, 1), "+", None),
    "x + 8": ((1, 8), "", None),
    "0.3*tanh(x)": ((0, Fraction(3, 10)), "", None),
}


@pytest.mark.parametrize("text", FORMULAS)
def test_every_lemma_follows_from_those_before_it(text):
    growth, sign, low = FORMULAS[text]
    node, chain = translated(from_formula(text).expr)
    _, known = check(chain.lines)
    about = f"e{node.place}"
    facts = {kind: number for kind, own, number in known.values() if own == about}
    assert facts.get("grows") == growth
    assert ("nonneg" in facts, "nonpos" in facts) == (sign == "+", sign == "-")
    assert facts.get("low", (None,))[0] == low


@pytest.mark.parametrize("name", ["silu", "gelu_tanh", "mish", "elu", "selu", "softsign", "hardtanh", "tanhexp"])
def test_catalogue_entries_are_proved(name):
    node, chain = translated(activation(name).expr)
    check(chain.lines)
    assert node.place == len(chain.names) - 1


@pytest.mark.parametrize("name", ["phish", "gelu"])
def test_what_coq_has_no_function_for_is_refused(name):
    with pytest.raises(InvalidInput, match="Coq is not given its integrals"):
        translated(activation(name).expr)


@pytest.mark.parametrize(
    ("text", "right"),
    [("2*x", True), ("2*x + 1/10", False), ("x + 8", True), ("x + 9", False), ("16*tanh(x)", True),
     ("17*tanh(x)", False), ("x**2", False), ("x*tanh(x) + 8*sin(x)", True)],
)  # fmt: skip
def test_growth_of_at_most_twice_x_beyond_eight(text, right):
    """A·8 + B ≤ 16."""
    node, chain = translated(from_formula(text).expr)
    if right:
        assert required_growth(node, chain).startswith(f"(grows_linear e{node.place} _ _ g{node.place} ")
        return
    with pytest.raises(InvalidInput, match=r"2\|x\|"):
        required_growth(node, chain)


@pytest.mark.parametrize(
    "text",
    ["x**5", "x**6", "x**7*2", "x**(-3)", "(x + 3)**(1/2)", "max(x, 1)", "min(x, 1)", "max(0, x)", "max(x, 0)",
     "min(0, x)", "min(x, 0)", "min(2, x*3)", "log(1 + exp(2*x))", "log(exp(x) + 1)", "x/(2 + x**2)", "pi*x*sqrt(2)",
     "exp(1)*x - 1/3", "abs(x - pi/4)"],
)  # fmt: skip
def test_what_is_written_for_coq_is_the_formula(text):
    expr = from_formula(text).expr
    spoken = re.sub(r"\((sqrt|exp) ([^()\s]+)\)", r"\1(\2)", coq_text(core(expr))).replace("(/ ", "(1 / ")
    words = {"Rabs": abs, "PI": math.pi, "sqrt": math.sqrt, "exp": math.exp, "relu": lambda u: max(u, 0.0),
             "softplus": lambda u: math.log1p(math.exp(u)), "sigmoid": lambda u: 1 / (1 + math.exp(-u))}  # fmt: skip
    for x in (-2.5, -0.75, 0.5, 3.0):
        assert eval(spoken, words | {"x": x}) == pytest.approx(float(real_function(expr)(arb(x))), rel=1e-12)
