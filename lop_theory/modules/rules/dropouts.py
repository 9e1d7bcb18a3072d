"""Random masks. The identity in evaluation; in training independent masks break clones, by design."""

from lop_theory.modules.interface import Axes, Call
from lop_theory.modules.rules.rule_table import table


def dropout(call: Call) -> Axes:
    """Masks are drawn per coordinate (``feature_dropout``: per channel): cloned coordinates see different ones."""
    x = call["input"]
    if call["train"] and call["p"] > 0:
        call.breaks(f"dropout p={call['p']} draws independent masks for clones", x.axes)
    return x.axes


def functional(call: Call) -> list[Axes]:
    """dropout as a pure call: the result and the mask."""
    return [dropout(call)] * len(call.output)


def rrelu(call: Call) -> Axes:
    x = call["self"]
    if call["training"]:
        call.breaks("rrelu draws independent slopes for clones", x.axes)
    return x.axes


def noise(call: Call) -> Axes:
    x = call["self"]
    call.breaks(f"{call.node.target} draws independent noise for clones", x.axes)
    return x.axes


RULES = {
    **table(dropout, "dropout feature_dropout alpha_dropout feature_alpha_dropout"),
    **table(functional, "native_dropout"),
    **table(rrelu, "rrelu"),
    **table(noise, "rand_like randn_like bernoulli"),
}
