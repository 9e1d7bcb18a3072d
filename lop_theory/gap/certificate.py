"""The certificate that the quartic gap bound holds on all of [−1, 1]   [gap: Lemma A.1].

With g(t) = ct + (1 − c)t² (the extremal kernel), Q(ρ) = Σ_j T_{j+3} ρ^j and 0 ≤ ρ ≤ 1:

    (ρ² − K²) − λρ²(1 − ρ²) = ρ²(1 − ρ)·q(ρ),    q(ρ) = cλ(1 − ρ) + (g(ρ) + K(ρ))·Q(ρ).

Every term of q is a series with non-negative coefficients except cλ(1 − ρ), which falls, so on a cell [u, v]

    q ≥ cλ(1 − v) + (g(u) + K(u))·Q(u) =: ℓ,    and    r(ρ) ≥ λ + ℓ/(1 + v).

The certificate stores decimal enclosures of the a_k; from these decimals alone, in whole numbers, follow the
enclosures of the a_k² (rounded outwards to the same decimals) and one ℓ per cell (rounded down). A checker needs the
decimals, exact rationals and this paragraph. Negative ρ follow from gap(−s) = gap(s) + 4E(s)O(s) ≥ gap(s).
"""

from typing import Any, NamedTuple

from lop_theory.activations.expression import Expr, to_text
from lop_theory.activations.formula import parse
from lop_theory.balls import arb, decimal_text, decimal_units, fmpz, fmpz_poly, precision, within
from lop_theory.errors import InvalidInput
from lop_theory.gap.kernel import Kernel
from lop_theory.hermite.expansion import Expansion
from lop_theory.verdict import Fails, Holds, Undecided, Verdict

FORMAT = "lop_theory gap certificate"
VERSION = 2
STATEMENT = "rho^2 - K(rho)^2 >= lambda*rho^2*(1 - rho^2) for every rho in [-1, 1]"
CELLS = 32
GUARD_DIGITS = 3


class Certificate(NamedTuple):
    """Whole numbers in units of 10^−decimals: ``coefficients[k]`` = (lower, upper) of a_k; ``slack[i]`` = ℓ on [i/32,
    (i+1)/32].
    """

    decimals: int
    linear: bool
    coefficients: tuple[tuple[int, int], ...]
    a1_squared: tuple[int, int]
    strength: tuple[int, int]
    slack: tuple[int, ...]
    kappa_floor: int
    square_sum_low: int


def certify(kern: Kernel) -> Certificate:
    """The certificate for the kernel's activation, from its coefficient enclosures."""
    decimals = kern.expansion.digits + GUARD_DIGITS
    return derive(decimals, kern.expansion.linear, _bounds(kern, decimals))


def derive(decimals: int, linear: bool, bounds: tuple[tuple[int, int], ...]) -> Certificate:
    """Every other number of the certificate, from the decimal enclosures of the a_k."""
    unit = 10**decimals
    low, high = squares(bounds, unit)
    strength = (max(0, unit - high[1]), min(unit, unit - low[1]))
    slack = _slack(low, tails_low(high, unit), strength[0], unit)
    floor = strength[0] + min(ell * CELLS // (CELLS + i + 1) for i, ell in enumerate(slack))
    return Certificate(decimals, linear, bounds, (low[1], high[1]), strength, slack, floor, sum(low))


def squares(bounds: tuple[tuple[int, int], ...], unit: int) -> tuple[list[int], list[int]]:
    """Lower and upper ends of the a_k², rounded outwards to the same decimals."""
    low = [0 if lo <= 0 <= hi else min(lo * lo, hi * hi) // unit for lo, hi in bounds]
    return low, [-(-max(lo * lo, hi * hi) // unit) for lo, hi in bounds]


def _bounds(kern: Kernel, decimals: int) -> tuple[tuple[int, int], ...]:
    """Decimal enclosures of the a_k with room of a hundredth of their last digit, so that a checker with a ball of its
    own can always tell; an interval of width 0 stands only where parity or linearity proves the value."""
    expansion = kern.expansion
    with precision(expansion.bits + 48):
        room = within(arb(10) ** -(decimals + 2))
        balls = [a if proven(expansion, k) else a + room for k, a in enumerate(expansion.coefficients)]
    return tuple(decimal_units(balls, decimals))


def proven(expansion: Expansion, k: int) -> bool:
    """Whether a_k is known exactly: k = 0, φ linear, or φ̄ odd (even) and k even (odd)."""
    return k == 0 or expansion.linear or {"odd": 0, "even": 1}.get(expansion.parity) == k % 2


def tails_low(high: list[int], unit: int) -> list[int]:
    """T_m ≥ max(0, 1 − Σ_{1≤k<m} a_k²) for m ≤ n (T_m is a sum of squares, so 0 is always a bound)."""
    tails, rest = [unit, unit], unit
    for square in high[1:]:
        rest -= square
        tails.append(max(0, rest))
    return tails


def _slack(low: list[int], tails: list[int], strength: int, unit: int) -> tuple[int, ...]:
    """⌊ℓ⌋ for every cell, in whole numbers: the product polynomial is evaluated at i/CELLS homogeneously."""
    c = low[1]
    squared = unit - c + (low[2] if len(low) > 2 else 0)
    product = fmpz_poly([0, 2 * c, squared, *low[3:]]) * fmpz_poly(tails[3:] or [0])
    degree = max(product.degree(), 1)
    scaled = fmpz_poly([product[j] * fmpz(CELLS) ** (degree - j) for j in range(degree + 1)])
    per_step = fmpz(CELLS) ** (degree - 1) * (c * strength)
    divisor = fmpz(CELLS) ** degree * unit
    return tuple(int((scaled(i) + per_step * (CELLS - i - 1)) // divisor) for i in range(CELLS))


def verdict(certificate: Certificate) -> Verdict:
    """Whether the bound is certified: Parseval is respected, every ℓ ≥ 0 and the activation is certainly nonlinear
    (or exactly linear).
    """
    unit = 10**certificate.decimals
    if certificate.square_sum_low > unit:
        return Fails({"sum of squares exceeds 1": certificate.square_sum_low / unit})
    negative = [i for i, ell in enumerate(certificate.slack) if ell < 0]
    if negative:
        return Fails({"cell": f"[{negative[0]}/{CELLS}, {negative[0] + 1}/{CELLS}]"})
    if not certificate.linear and certificate.strength[0] <= 0:
        return Undecided("λ is not separated from 0 at this precision; raise --digits")
    return Holds("certified by balls")


def to_json(certificate: Certificate, kern: Kernel, name: str) -> dict[str, Any]:
    """The certificate as JSON data; ``sha256`` covers everything else. ``name`` is the activation's label.

    Raises ``InvalidInput`` if the formula is too large to be read back.
    """

    def text(units: int) -> str:
        return decimal_text(units, certificate.decimals)

    _require_readable(kern.expansion.expr)
    payload: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "claim": "gap",
        "statement": STATEMENT,
        "activation": name,
        "formula": to_text(kern.expansion.expr),
        "digits": kern.expansion.digits,
        "decimals": certificate.decimals,
        "linear": certificate.linear,
        "coefficients": [[text(lo), text(hi)] for lo, hi in certificate.coefficients],
        "a1_squared": [text(v) for v in certificate.a1_squared],
        "lambda": [text(v) for v in certificate.strength],
        "slack": [text(ell) for ell in certificate.slack],
        "kappa_floor": text(certificate.kappa_floor),
    }
    return payload | {"sha256": digest(payload)}


def _require_readable(expr: Expr) -> None:
    """A certificate that its reader cannot read back is not written."""
    text = to_text(expr)
    try:
        same = parse(text, room=4) == expr
    except InvalidInput as error:
        raise InvalidInput("certificate", text, f"is too large a formula: {error.requirement}", "shorten it") from None
    assert same, text


def digest(payload: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of ``payload``."""
    import hashlib
    import json

    return hashlib.sha256(json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
