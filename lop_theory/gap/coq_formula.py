"""An activation as Coq definitions, with the lemmas of proofs/numbers/Formula.v that prove its continuity and growth.

One definition a node of the formula; each fact is one lemma about its arguments' facts. What Coq's integrals cannot
take (a jump, erf, a logarithm other than log(1 + exp u), faster growth than linear) is refused by name.
"""

from math import floor
from typing import NamedTuple

from lop_theory.activations.ball_table import constant_value
from lop_theory.activations.expression import ONE, ZERO, Expr, is_constant, num, to_text
from lop_theory.balls import arb, fmpq
from lop_theory.errors import InvalidInput

_BOUNDS = {"tanh": 1, "sigmoid": 1, "sin": 1, "cos": 1, "atan": 2}
_WORDS = {"tanh": "hyperbolic", "abs": "Rabs", "sqrt": "sqrt", "exp": "exp", "softplus": "softplus", "relu": "relu"}
_WHOLE_AT = 8  # beyond |x| = 8 the integrals are bounded by |phi(x)| <= 2 |x|


class Node(NamedTuple):
    """A definition ``e<place>`` and what is known of it; proofs are terms of Coq."""

    place: int
    smooth: str
    growth: tuple[fmpq, fmpq, str] | None = None
    nonneg: str | None = None
    nonpos: str | None = None
    low: tuple[fmpq, str] | None = None  # c > 0 and a proof that c <= e x


class Chain:
    """The definitions and lemmas of a formula, in order."""

    def __init__(self, formula: Expr) -> None:
        self.formula = formula
        self.lines: list[str] = []
        self.names: list[str] = []
        self.known: dict[int, Node] = {}

    def define(self, body: str, facts: Node) -> Node:
        """Add ``e<index> x := body`` with its facts; the node whose proofs are the lemmas' names."""
        i, name = len(self.names), f"e{len(self.names)}"
        self.names.append(name)
        self.lines += [
            f"Definition {name} (x : R) : R := {body}.",
            f"Lemma s{i} : smooth {name}. Proof. exact {facts.smooth}. Qed.",
        ]
        found = Node(i, f"s{i}")
        if facts.growth is not None:
            a, b, proof = facts.growth
            self.lines.append(
                f"Lemma g{i} : grows {name} {number(a)} {number(b)}. Proof. apply (grows_as {name} {proof}); lra. Qed."
            )
            found = found._replace(growth=(a, b, f"g{i}"))
        for sign in ("nonneg", "nonpos"):
            if getattr(facts, sign) is not None:
                self.lines.append(f"Lemma {sign}{i} : {sign} {name}. Proof. exact {getattr(facts, sign)}. Qed.")
                found = found._replace(**{sign: f"{sign}{i}"})
        if facts.low is not None:
            self.lines.append(
                f"Lemma low{i} : forall x, {number(facts.low[0])} <= {name} x. Proof. exact {facts.low[1]}. Qed."
            )
            found = found._replace(low=(facts.low[0], f"low{i}"))
        return found


def number(value: fmpq) -> str:
    """A rational number as a term of Coq's reals."""
    p = f"({value.p})" if value.p < 0 else str(value.p)
    return p if value.q == 1 else f"({p} / {value.q})"


def core(expr: Expr) -> Expr:
    """The same function of sums, products, inverses (``inv``) and Coq's functions alone. Raises ``InvalidInput`` that
    names what cannot be expressed.
    """
    if is_constant(expr) or expr.op == "x":
        return expr
    match expr.op:
        case "div":
            return Expr("mul", (core(expr.args[0]), Expr("inv", (core(expr.args[1]),))))
        case "pow":
            return _power(core(expr.args[0]), expr)
        case "max" | "min":
            return _extreme(expr.op, *map(core, expr.args))
        case "log" if (inner := _log_one_plus_exp(expr)) is not None:
            return Expr("softplus", (core(inner),))
        case op if op in ("add", "mul") or op in _BOUNDS or op in _WORDS:
            return Expr(op, tuple(map(core, expr.args)))
        case op:
            raise refused(expr, "is not continuous" if op in ("sign", "step") else "is none of Coq's functions here")


def _power(base: Expr, expr: Expr) -> Expr:
    exponent = expr.number
    if exponent == fmpq(1, 2):
        return Expr("sqrt", (base,))
    if exponent.q != 1:
        raise refused(expr, "is a root other than the square root")
    positive = _whole_power(base, abs(int(exponent.p)))
    return positive if exponent > 0 else Expr("inv", (positive,))


def _whole_power(base: Expr, n: int) -> Expr:
    if n == 1:
        return base
    half = _whole_power(base, n // 2)
    square = Expr("mul", (half, half))
    return square if n % 2 == 0 else Expr("mul", (base, square))


def _extreme(op: str, a: Expr, b: Expr) -> Expr:
    """max(a, b) = a + relu(b − a), min(a, b) = a − relu(a − b); max(u, 0) = relu(u), min(u, 0) = −relu(−u)."""
    if ZERO in (a, b):
        u = a if b == ZERO else b
        return Expr("relu", (u,)) if op == "max" else _minus(Expr("relu", (_minus(u),)))
    if op == "max":
        return Expr("add", (a, Expr("relu", (Expr("add", (b, _minus(a))),))))
    return Expr("add", (a, _minus(Expr("relu", (Expr("add", (a, _minus(b))),)))))


def _minus(u: Expr) -> Expr:
    return num(-u.number) if u.op == "num" else Expr("mul", (num(-1), u))


def _log_one_plus_exp(expr: Expr) -> Expr | None:
    """u if the expression is log(1 + exp u)."""
    match expr.args[0]:
        case Expr("add", (a, b)) if ONE in (a, b):
            other = b if a == ONE else a
            return other.args[0] if other.op == "exp" else None
        case _:
            return None


def translate(expr: Expr, chain: Chain) -> Node:
    """The node of a core expression; what occurs twice as one object is defined once."""
    if id(expr) not in chain.known:
        chain.known[id(expr)] = _translated(expr, chain)
    return chain.known[id(expr)]


def _translated(expr: Expr, chain: Chain) -> Node:
    if is_constant(expr):
        return _constant(expr, chain)
    if expr.op == "x":
        return chain.define("x", Node(0, "smooth_x", (fmpq(1), fmpq(0), "_ _ _ _ grows_x")))
    first = translate(expr.args[0], chain)
    if expr.op in ("add", "mul"):
        return (_add if expr.op == "add" else _mul)(first, translate(expr.args[1], chain), chain)
    return _inverse(first, chain) if expr.op == "inv" else _function(expr.op, first, chain)


def refused(expr: Expr, why: str) -> InvalidInput:
    return InvalidInput("coq", to_text(expr), f"{why}, so Coq is not given its integrals", "use --coq-certificate")


def _constant(expr: Expr, chain: Chain) -> Node:
    value, text = constant_value(expr), constant_text(expr)
    tactic = "lra" if expr.op == "num" else "interval"
    low, top = (expr.number, expr.number) if expr.op == "num" else _around(value)
    bound = f"(grows_num {text} {number(max(abs(low), abs(top)))} ltac:(apply Rabs_le_between; split; {tactic}))"
    known = Node(0, f"(smooth_num {text})", (fmpq(0), max(abs(low), abs(top)), f"_ _ _ _ {bound}"))
    if value >= 0:
        known = known._replace(nonneg=f"(nonneg_num {text} ltac:({tactic}))")
    if value <= 0:
        known = known._replace(nonpos=f"(nonpos_num {text} ltac:({tactic}))")
    if low > 0:
        known = known._replace(low=(low, f"(fun _ => ltac:(unfold e{len(chain.names)}; {tactic}))"))
    return chain.define(text, known)


def _around(value: arb) -> tuple[fmpq, fmpq]:
    """Multiples of 2^-20 with room below and above a constant."""
    near = floor(float(value * 2**20))
    return fmpq(near - 1, 2**20), fmpq(near + 2, 2**20)


def constant_text(expr: Expr) -> str:
    """A number without x as a term of Coq."""
    match expr.op:
        case "num":
            return number(expr.number)
        case "pi":
            return "PI"
        case "add" | "mul" | "div":
            a, b = map(constant_text, expr.args)
            return f"({a} { {'add': '+', 'mul': '*', 'div': '/'}[expr.op] } {b})"
        case "sqrt" | "exp":
            return f"({expr.op} {constant_text(expr.args[0])})"
        case _:
            raise refused(expr, "is none of Coq's numbers here")


def _add(a: Node, b: Node, chain: Chain) -> Node:
    facts = Node(0, f"(smooth_add e{a.place} e{b.place} {a.smooth} {b.smooth})")
    if a.growth and b.growth:
        proof = f"_ _ _ _ (grows_add e{a.place} e{b.place} _ _ _ _ {a.growth[2]} {b.growth[2]})"
        facts = facts._replace(growth=(a.growth[0] + b.growth[0], a.growth[1] + b.growth[1], proof))
    if a.nonneg and b.nonneg:
        facts = facts._replace(nonneg=f"(nonneg_add e{a.place} e{b.place} {a.nonneg} {b.nonneg})")
    if a.low and b.nonneg:
        facts = facts._replace(low=(a.low[0], f"(above e{a.place} e{b.place} _ {a.low[1]} {b.nonneg})"))
    elif b.low and a.nonneg:
        facts = facts._replace(low=(b.low[0], f"(above_right e{a.place} e{b.place} _ {b.low[1]} {a.nonneg})"))
    return chain.define(f"e{a.place} x + e{b.place} x", facts)


def _mul(a: Node, b: Node, chain: Chain) -> Node:
    pair = f"e{a.place} e{b.place}"
    facts = Node(0, f"(smooth_mul {pair} {a.smooth} {b.smooth})")
    if a.growth and b.growth and 0 in (a.growth[0], b.growth[0]):
        left = a.growth[0] == 0
        bound, other = (a.growth[1], b.growth) if left else (b.growth[1], a.growth)
        proof = f"_ _ _ _ ({'grows_mul' if left else 'grows_mul_right'} {pair} _ _ _ {a.growth[2]} {b.growth[2]})"
        facts = facts._replace(growth=(bound * other[0], bound * other[1], proof))
    if a.place == b.place:
        facts = facts._replace(nonneg=f"(nonneg_square e{a.place})")
    elif a.nonneg and b.nonneg:
        facts = facts._replace(nonneg=f"(nonneg_mul {pair} {a.nonneg} {b.nonneg})")
    elif a.nonpos and b.nonneg:
        facts = facts._replace(nonpos=f"(nonpos_mul {pair} {a.nonpos} {b.nonneg})")
    elif a.nonneg and b.nonpos:
        facts = facts._replace(nonpos=f"(nonpos_mul_right {pair} {a.nonneg} {b.nonpos})")
    return chain.define(f"e{a.place} x * e{b.place} x", facts)


def _inverse(a: Node, chain: Chain) -> Node:
    if a.low is None:
        raise refused(chain.formula, "divides by what is not seen to stay away from 0")
    low, proof = a.low
    smooth = f"(smooth_inv e{a.place} {number(low)} ltac:(lra) {a.smooth} {proof})"
    growth = f"_ _ _ _ (grows_inv e{a.place} {number(low)} {number(1 / low)} ltac:(lra) ltac:(lra) {proof})"
    return chain.define(f"/ e{a.place} x", Node(0, smooth, (fmpq(0), 1 / low, growth)))


def _function(op: str, a: Node, chain: Chain) -> Node:
    word = _WORDS.get(op, op)
    facts = Node(0, f"(smooth_{op} e{a.place} {a.smooth})")
    if op in _BOUNDS:
        facts = facts._replace(growth=(fmpq(0), fmpq(_BOUNDS[op]), f"_ _ _ _ (grows_{op} e{a.place})"))
    elif op == "exp" and a.nonpos:
        facts = facts._replace(growth=(fmpq(0), fmpq(1), f"_ _ _ _ (grows_exp e{a.place} {a.nonpos})"))
    elif op != "exp" and a.growth:
        more = fmpq(0 if op in ("abs", "relu") else 1)
        proof = f"_ _ _ _ (grows_{op} e{a.place} _ _ {a.growth[2]})"
        facts = facts._replace(growth=(a.growth[0], a.growth[1] + more, proof))
    if op in ("abs", "sqrt", "exp", "softplus", "relu", "sigmoid"):
        facts = facts._replace(nonneg=f"(nonneg_{op} e{a.place})")
    return chain.define(f"{word} (e{a.place} x)", facts)


def coq_text(expr: Expr) -> str:
    """A core expression in Coq's words."""
    if is_constant(expr):
        return constant_text(expr)
    inner = tuple(map(coq_text, expr.args))
    match expr.op:
        case "x":
            return "x"
        case "add" | "mul":
            return f"({inner[0]} {'+' if expr.op == 'add' else '*'} {inner[1]})"
        case "inv":
            return f"(/ {inner[0]})"
        case op:
            return f"{op if op == 'tanh' else _WORDS.get(op, op)} ({inner[0]})"


def required_growth(node: Node, chain: Chain) -> str:
    """The proof that |φ(x)| ≤ 2|x| for |x| ≥ 8. Raises ``InvalidInput`` if it is not seen."""
    if node.growth is None or node.growth[0] * _WHOLE_AT + node.growth[1] > 2 * _WHOLE_AT:
        raise refused(chain.formula, "is not seen to stay below 2|x| where |x| > 8")
    return f"(grows_linear e{node.place} _ _ {node.growth[2]} ltac:(lra))"
