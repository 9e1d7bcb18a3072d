"""A forger of gap certificates who knows the format: whatever is altered, everything that follows from it is made
consistent again, digest included.
"""

import json

from lop_theory.activations.catalogue import Activation
from lop_theory.gap.certificate import certify, derive, digest, to_json
from lop_theory.gap.kernel import correlation_kernel


def honest(act: Activation, *, n: int = 8, digits: int = 15) -> dict:
    """The certificate as the tool writes it, through JSON."""
    kern = correlation_kernel(act.expr, n, digits)
    return json.loads(json.dumps(to_json(certify(kern), kern, act.label)))


def resealed(data: dict) -> dict:
    """The certificate with a fresh digest."""
    payload = {k: v for k, v in data.items() if k != "sha256"}
    return payload | {"sha256": digest(payload)}


def units(text: str) -> int:
    """The decimal as a whole number of its last digits."""
    return int(text.replace(".", ""))


def decimal(value: int, decimals: int) -> str:
    sign, digits = "-" if value < 0 else "", str(abs(value)).rjust(decimals + 1, "0")
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"


def forged(data: dict, bounds: list[tuple[int, int]], *, linear: bool | None = None) -> dict:
    """The certificate that claims a_k ∈ bounds[k] (in units of its last digit), every derived number recomputed."""
    decimals = data["decimals"]
    found = derive(decimals, data["linear"] if linear is None else linear, tuple(bounds))
    text = lambda pair: [decimal(value, decimals) for value in pair]  # noqa: E731
    return resealed(
        data
        | {
            "linear": found.linear,
            "coefficients": [text(pair) for pair in bounds],
            "a1_squared": text(found.a1_squared),
            "lambda": text(found.strength),
            "slack": text(found.slack),
            "kappa_floor": decimal(found.kappa_floor, decimals),
        }
    )


def bounds_of(data: dict) -> list[tuple[int, int]]:
    """The stored intervals in units of their last digit."""
    return [(units(lo), units(hi)) for lo, hi in data["coefficients"]]
