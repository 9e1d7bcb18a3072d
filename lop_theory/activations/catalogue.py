"""Activations by name (the table is ``entries``) or by formula.

Everything else is derived from the formula: functions on floats, balls, rationals and tensors, the derivative, kinks
and jumps, parity, flat regions, limits, the strip of analyticity. ``--formula`` gives a user's own function the same
services.

The one convention for φ′ at a kink: what PyTorch's autograd returns for the counterpart, written in the entry's
``slopes``; a user's formula takes the derivative of the branch on the left, as PyTorch's relu does. NumPy, exact
rationals and ``Activation.torch`` follow it; the theorems on cloned and frozen units hold for any choice that equal
activations share, as in Coq, where ``act'`` is a free function and only ``Backprop.v`` asks it to be a derivative.
"""

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from lop_theory.activations.entries import ALIASES, CATALOGUE, Entry
from lop_theory.activations.expression import Expr, X, add, compose, mul, num, to_text
from lop_theory.activations.formula import parse
from lop_theory.activations.piecewise import breakpoints, exact_parity, flat_pieces, jumps_between, pieces
from lop_theory.activations.ranges import extended_range
from lop_theory.activations.real_balls import real_function
from lop_theory.activations.strip import analytic_half_width
from lop_theory.activations.symbolic import Parity, derivative
from lop_theory.activations.vocabulary import hermite
from lop_theory.balls import arb, fmpq, parse_fmpq, precision, to_exact
from lop_theory.errors import InvalidInput

_POSITIVE = ("alpha", "beta", "omega", "tau", "cap")


class Activation(NamedTuple):
    """An activation φ: its name, rational parameters and formula (scale and bias already applied)."""

    name: str
    parameters: tuple[tuple[str, fmpq], ...]
    expr: Expr
    scale: fmpq = fmpq(1)
    bias: fmpq = fmpq(0)

    @property
    def label(self) -> str:
        """Name with parameters, scale and bias, such as ``leaky_relu(slope=1/10, scale=2)``; ``from_label`` reads it
        back."""
        modulation = (("scale", self.scale, 1), ("bias", self.bias, 0))
        given = (*self.parameters, *((key, value) for key, value, usual in modulation if value != usual))
        inside = ", ".join(f"{key}={value}" for key, value in given)
        return f"{self.name}({inside})" if inside else self.name

    def numpy(self) -> Callable[[Any], Any]:
        """φ on float64 arrays."""
        from lop_theory.activations.arrays import numpy_function

        return numpy_function(self.expr)

    def derivative_numpy(self) -> Callable[[Any], Any]:
        """φ′ on float64 arrays, by the convention at a kink."""
        from lop_theory.activations.arrays import numpy_function, with_values

        own = [(_to_float(k), float(numpy_function(slope)(0.0))) for k, slope in self.kink_slopes()]
        return with_values(numpy_function(derivative(self.expr)), own)

    def torch(self) -> Callable[[Any], Any]:
        """φ on torch tensors; its gradient follows the convention at a kink."""
        from lop_theory.activations.arrays import numpy_function, torch_function, with_slopes

        own = [(_to_float(k), float(numpy_function(slope)(0.0))) for k, slope in self.kink_slopes()]
        return with_slopes(torch_function(self.expr), own)

    def sympy(self, symbol: Any = None) -> Any:
        """φ as a SymPy expression."""
        from lop_theory.activations.symbols import sympy_expression

        return sympy_expression(self.expr, symbol)

    def ball(self) -> Callable[[arb], arb]:
        """φ on real balls at the precision in force."""
        return real_function(self.expr)

    def exact(self) -> Callable[[fmpq], fmpq]:
        """φ on exact rationals. Raises ``InvalidInput`` unless φ is piecewise rational."""
        from lop_theory.activations.rationals import exact_function

        return exact_function(self.expr)

    def derivative_exact(self) -> Callable[[fmpq], fmpq]:
        """φ′ on exact rationals, by the convention at a kink."""
        from lop_theory.activations.rationals import exact_function

        own = {k: exact_function(slope)(k) for k, slope in self.kink_slopes()}
        elsewhere = exact_function(derivative(self.expr))
        return lambda x: own[x] if x in own else elsewhere(x)

    def parity(self) -> Parity:
        """Parity of φ up to a constant."""
        return exact_parity(self.expr)

    def kinks(self) -> tuple[fmpq, ...]:
        """Rational places where φ switches branch: kinks and jumps."""
        return breakpoints(self.expr)

    def kink_slopes(self) -> tuple[tuple[fmpq, Expr], ...]:
        """(kink, the constant that φ′ is taken to be there): the entry's, or the derivative from the left."""
        entry = CATALOGUE.get(self.name)
        if entry is None:
            found = [p for p in pieces(self.expr) if p.hi is not None]
            return tuple((p.hi, compose(derivative(p.expr), num(p.hi))) for p in found if p.hi is not None)
        values = dict(self.parameters)
        table = [(_constant(k, values), _constant(slope, values)) for k, slope in entry.slopes.items()]
        return tuple(((k - self.bias) / self.scale, num(self.scale * slope)) for k, slope in dict(table).items())

    def jumps(self) -> tuple[fmpq, ...]:
        """Kinks at which the value of φ jumps (decided by balls: a jump that is listed is certain)."""
        pairs = pairwise(pieces(self.expr))
        return tuple(left.hi for left, right in pairs if left.hi is not None and jumps_between(left, right))

    def flat_regions(self) -> tuple[tuple[fmpq | float, fmpq | float], ...]:
        """Intervals on which φ′ = 0 identically; infinite ends are floats."""
        return tuple(
            (float("-inf") if p.lo is None else p.lo, float("inf") if p.hi is None else p.hi)
            for p in flat_pieces(self.expr)
        )

    def range_on(self, lo: fmpq | float, hi: fmpq | float) -> tuple[float, float]:
        """Floats that enclose φ([lo, hi]) rigorously; ends may be infinite. (−inf, inf) where nothing is known."""
        parts = [(p.expr, part) for p in pieces(self.expr) if (part := _overlap(p.lo, p.hi, lo, hi))]
        with precision(128):
            found = [extended_range(expr, *part) for expr, part in parts]
            known = [r for r in found if r is not None]
            if len(known) < len(found):
                return float("-inf"), float("inf")
            return min(_below(r.lo) for r in known), max(_above(r.hi) for r in known)

    def strip(self) -> float | None:
        """Half-width of a strip around the real line in which φ is analytic (inf: entire), ``None`` where none is
        known.
        """
        width = analytic_half_width(self.expr)
        return None if width is None else float(width.lower())

    def limits(self) -> tuple[Any, Any]:
        """(lim x→−∞, lim x→∞) of φ as SymPy numbers (±oo where φ diverges, an ``AccumBounds`` where it oscillates)."""
        import sympy as sp

        from lop_theory.activations.symbols import sympy_expression

        x = sp.Symbol("x", real=True)
        first, last = pieces(self.expr)[0].expr, pieces(self.expr)[-1].expr
        return sp.limit(sympy_expression(first, x), x, -sp.oo), sp.limit(sympy_expression(last, x), x, sp.oo)


def _constant(text: str, values: Mapping[str, fmpq]) -> fmpq:
    from lop_theory.activations.rationals import exact_function

    return exact_function(parse(text, dict(values)))(fmpq(0))


def _to_float(value: fmpq) -> float:
    return int(value.p) / int(value.q)


def _overlap(
    a: fmpq | None, b: fmpq | None, lo: fmpq | float, hi: fmpq | float
) -> tuple[fmpq | float, fmpq | float] | None:
    """[a, b] ∩ [lo, hi] with ``None`` as the infinite ends of the first; ``None`` if they do not meet."""
    left = lo if a is None or _at_most(a, lo) else a
    right = hi if b is None or _at_most(hi, b) else b
    return (left, right) if _at_most(left, right) else None


def _at_most(a: fmpq | float, b: fmpq | float) -> bool:
    """a ≤ b, exactly, for rationals and ±inf."""
    if isinstance(a, fmpq) and isinstance(b, fmpq):
        return bool(a <= b)
    return a == float("-inf") or b == float("inf")


def _below(bound: arb) -> float:
    """The largest double found that is ≤ the exact ball ``bound``."""
    return -_above(-bound)


def _above(bound: arb) -> float:
    import math

    if not bound.is_finite():
        return float(bound)
    rounded, exact = float(bound), to_exact(bound)
    if math.isinf(rounded):
        return math.inf if exact > 0 else -1.7976931348623157e308
    return rounded if fmpq(*rounded.as_integer_ratio()) >= exact else math.nextafter(rounded, math.inf)


def activation(name: str, *, scale: str | fmpq = "1", bias: str | fmpq = "0", **parameters: object) -> Activation:
    """The catalogue activation ``name`` with rational parameters, as φ(scale·x + bias).

    Parameters are numbers or strings (``slope="1/10"``); a float is read by its shortest decimal.
    Raises ``InvalidInput`` for an unknown name (the nearest is named), an unknown parameter or a value that is not
    usable.
    """
    key = ALIASES.get(name, name)
    if key not in CATALOGUE:
        raise InvalidInput(
            "activation",
            name,
            "is unknown",
            f"did you mean {_nearest(name)!r}? one of: {' '.join(CATALOGUE)}",
        )
    entry = CATALOGUE[key]
    values = _read_parameters(key, entry, parameters)
    expr = _hermite(values["k"]) if key == "hermite" else parse(entry.formula, values)
    modulation = rational("scale", scale), rational("bias", bias)
    return Activation(key, tuple(values.items()), _modulate(expr, *modulation), *modulation)


def from_formula(text: str, *, scale: str | fmpq = "1", bias: str | fmpq = "0") -> Activation:
    """A user's formula as an activation. Raises ``InvalidInput`` as ``formula.parse`` does."""
    modulation = rational("scale", scale), rational("bias", bias)
    expr = _modulate(parse(text), *modulation)
    return Activation(text.strip() if modulation == (1, 0) else to_text(expr), (), expr)


_LABEL = re.compile(r"(\w+)(?:\((\w+=[^()]*)\))?", re.ASCII)


def from_label(label: str) -> Activation:
    """The activation that ``Activation.label`` names: a catalogue name with parameters, or a formula.

    Raises ``InvalidInput`` as ``activation`` and ``from_formula`` do.
    """
    found = _LABEL.fullmatch(label)
    if found is None or found[1] not in CATALOGUE:
        expr = parse(label, room=4)
        return Activation(label, (), expr)
    pairs = [item.partition("=") for item in found[2].split(", ")] if found[2] else []
    given = {key: value for key, _, value in pairs}
    if len(given) < len(pairs) or "name" in given:
        raise InvalidInput("activation", label, "names a parameter twice", "name each once")
    return activation(found[1], **given)


def _modulate(expr: Expr, a: fmpq, b: fmpq) -> Expr:
    if a == 0:
        raise InvalidInput("scale", str(a), "must not be 0: φ(b) is constant", "give a nonzero scale")
    return expr if (a, b) == (1, 0) else compose(expr, add(mul(num(a), X), num(b)))


def rational(parameter: str, value: object) -> fmpq:
    """``value`` as an exact rational; ``InvalidInput`` if it is not a finite number of moderate size."""
    if isinstance(value, fmpq):
        return value
    try:
        found = parse_fmpq(str(value))
    except ValueError:
        raise InvalidInput(parameter, value, "must be a finite number", "write 2, -0.5, 1e-3 or 1/4") from None
    if found != 0 and not fmpq(1, 10**12) <= abs(found) <= 10**12:
        raise InvalidInput(parameter, value, "must be 0 or of size between 1e-12 and 1e12", "rescale it")
    return found


def _read_parameters(key: str, entry: Entry, given: Mapping[str, object]) -> dict[str, fmpq]:
    for name in given:
        if name not in entry.defaults:
            known = ", ".join(entry.defaults) or "none"
            raise InvalidInput("param", name, f"is not a parameter of {key}", f"its parameters: {known}")
    values = {name: rational(name, given.get(name, default)) for name, default in entry.defaults.items()}
    for name in _POSITIVE:
        if name in values and values[name] <= 0:
            raise InvalidInput(name, str(values[name]), "must be positive", f"give {key} a positive {name}")
    return values


def _hermite(k: fmpq) -> Expr:
    """He_k as a polynomial in x (standardising divides by √k!)."""
    try:
        return hermite(X, num(k))
    except ValueError as error:
        raise InvalidInput("k", str(k), str(error), "use --param k=3") from None


def _nearest(name: str) -> str:
    from difflib import get_close_matches  # only an error needs it

    return (get_close_matches(name, [*CATALOGUE, *ALIASES], 1, 0.3) or ["tanh"])[0]
