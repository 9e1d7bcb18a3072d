"""Random masks. The identity in evaluation; in training independent masks break clones, by design."""

from lop_theory.modules.interface import Axes, Call
from lop_theory.modules.rules.rule_table import table


def dropout(call: Call) -> Axes:
    """Masks are drawn per coordinate (``feature_dropout``: per channel): cloned coordinates see different ones."""
    x = call["input"]
    if call["train"] and call["p"] > 0:
        return _noisy(call, x.axes, f"dropout p={call['p']} draws independent masks for clones")
    return x.axes


def functional(call: Call) -> list[Axes]:
    """dropout as a pure call: the result and the mask."""
    return [dropout(call)] * len(call.output)


def rrelu(call: Call) -> Axes:
    axes = call["self"].axes
    return _noisy(call, axes, "rrelu draws independent slopes for clones") if call["training"] else axes


def noise(call: Call) -> Axes:
    return _noisy(call, call["self"].axes, f"{call.node.target} draws independent noise for clones")


def _noisy(call: Call, axes: Axes, reason: str) -> Axes:
    call.breaks(reason, axes)
    return call.varying(*axes)


RULES = {
    **table(dropout, "dropout feature_dropout alpha_dropout feature_alpha_dropout"),
    **table(functional, "native_dropout"),
    **table(rrelu, "rrelu"),
    **table(noise, "rand_like randn_like bernoulli"),
}
