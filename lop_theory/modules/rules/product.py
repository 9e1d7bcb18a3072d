"""Sums of products: linear, mm, bmm, matmul, einsum. With a learned operand its weights must be equitable.

Where both operands are activations (attention logits) nothing can be rescaled in the operand itself: the sum over a
cloned axis grows by the multiplicity, which ``expand`` corrects and ``certify(base=...)`` finds if nobody did.
"""

from lop_theory.modules.interface import Axes, Call
from lop_theory.modules.rules.entrywise import broadcast
from lop_theory.modules.rules.rule_table import table


def linear(call: Call) -> Axes:
    x, weight, bias = call["input"], call["weight"], call["bias"]
    batch, out = "abcdefgh"[: len(x.shape) - 1], "o" if len(weight.shape) == 2 else ""
    axes = contraction(call, ("input", "weight"), (batch + "i", out + "i"), batch + out)
    return axes if bias is None else (*axes[:-1], call.domain.tie(axes[-1], bias.axes[0]))


def addmm(call: Call) -> Axes:
    """addmm, baddbmm: the first operand is added to the product of the other two."""
    first, second = ("mat1", "mat2") if "mat1" in call.arguments else ("batch1", "batch2")
    batched = len(call[first].shape) == 3
    axes = contraction(call, (first, second), ("bni", "bio") if batched else ("ni", "io"), "bno" if batched else "no")
    product = call[first]._replace(shape=call.shape, axes=axes)
    return broadcast(call, [product, call["self"]], call.shape)


def matmul(call: Call) -> Axes:
    """mm, bmm, mv, dot, matmul: batch axes broadcast."""
    names = ("self", next(n for n in ("mat2", "other", "vec", "tensor") if n in call.arguments))
    left, right = (call[name] for name in names)
    batch = "abcdefgh"[: max(len(left.shape), len(right.shape)) - 2] if len(call.shape) else ""
    lead = [
        batch[len(batch) - (len(operand.shape) - 2) :] if len(operand.shape) > 2 else "" for operand in (left, right)
    ]
    row, column = ("n" if len(left.shape) > 1 else ""), ("o" if len(right.shape) > 1 else "")
    return contraction(call, names, (lead[0] + row + "i", lead[1] + "i" + column), batch + row + column)


def einsum(call: Call) -> Axes:
    """Any equation over one or two operands without repeated letters; with more, only axes that are kept may clone."""
    inputs, output = _written_out(call)
    if len(inputs) > 2 and all(len(set(term)) == len(term) for term in inputs):
        axes = _tied(call, tuple(f"tensors.{k}" for k in range(len(inputs))), inputs)
        for letter in axes.keys() - set(output):
            call.domain.rigid(axes[letter])
        return tuple(axes[letter] for letter in output)
    if any(len(set(term)) < len(term) for term in inputs):
        for operand in call.operands():
            for axis in operand.axes:
                call.domain.rigid(axis)
        return call.fresh()
    return contraction(call, tuple(f"tensors.{k}" for k in range(len(inputs))), inputs, output)


def _written_out(call: Call) -> tuple[tuple[str, ...], str]:
    """The terms with letters for the ellipsis, and the output, which is sorted where it is not written."""
    terms, arrow, output = call["equation"].replace(" ", "").partition("->")
    inputs = terms.split(",")
    unused = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in terms]
    extra = [len(o.shape) - len(term.replace("...", "")) for o, term in zip(call["tensors"], inputs, strict=True)]
    letters = "".join(unused[: max(extra)])  # 0 where a term has no ellipsis
    written = tuple(t.replace("...", letters[len(letters) - n :]) for t, n in zip(inputs, extra, strict=True))
    if not arrow:
        found = "".join(written)
        output = "..." + "".join(sorted(x for x in set(found) - set(letters) if found.count(x) == 1))
    return written, output.replace("...", letters)


def contraction(call: Call, names: tuple[str, ...], terms: tuple[str, ...], output: str) -> Axes:
    """Einsum over named operands: tie equal letters, then ask for equitable weights or for a correction."""
    axes = _tied(call, names, terms)
    shared = set(terms[0]).intersection(*terms[1:])
    summed = [letter for letter in terms[0] if letter in shared and letter not in output]
    for name, term in zip(names, terms, strict=True):
        for letter in set(term) - set(output) - set(summed if len(terms) > 1 else ""):
            call.correct(name, term.index(letter), axes[letter])
    if len(terms) > 1:
        learned = [call[name].learned for name in names]
        if any(learned):
            _weighted(call, names, terms, output, axes)
        else:
            _activations(call, names, terms, axes, shared - set(summed))
    return tuple(axes[letter] for letter in output)


def _tied(call: Call, names: tuple[str, ...], terms: tuple[str, ...]) -> dict[str, object]:
    axes: dict[str, object] = {}
    size: dict[str, int] = {}
    for name, term in zip(names, terms, strict=True):
        for letter, axis, n in zip(term, call[name].axes, call[name].shape, strict=True):
            if size.setdefault(letter, n) == n:
                axes[letter] = call.domain.tie(axes.get(letter, axis), axis)
                continue
            narrow, wide = (axis, axes[letter]) if n == 1 else (axes[letter], axis)  # a broadcast batch axis
            call.domain.rigid(narrow)
            axes[letter], size[letter] = wide, max(n, size[letter])
    return axes


def _weighted(call: Call, names: tuple[str, ...], terms: tuple[str, ...], output: str, axes: dict[str, object]) -> None:
    weight = 1 if call[names[1]].learned else 0
    data = 1 - weight
    summed = [letter for letter in terms[weight] if letter in terms[data] and letter not in output]
    if not summed:
        return
    for letter in set(terms[weight]) - {*terms[data], *output}:  # summed over in the weight alone
        call.domain.rigid(axes[letter])
    kept = set(output) - set(terms[data])
    roles = [
        ("summed" if letter in summed else "kept" if letter in kept else "shared", axes[letter])
        for letter in terms[weight]
    ]
    call.contract(names[data], terms[data].index(summed[0]), names[weight], roles)


def _activations(
    call: Call, names: tuple[str, ...], terms: tuple[str, ...], axes: dict[str, object], batch: set[str]
) -> None:
    domain = call.domain
    for letter in set(terms[0]) & set(terms[1]) - batch:
        call.correct(names[0], terms[0].index(letter), axes[letter])
    heads = [letter for letter in batch if domain.cloned(axes[letter])]
    for letter in axes if heads else ():
        domain.mark(axes[letter], "heads" if letter in batch else "width")


RULES = {
    **table(linear, "linear"),
    **table(addmm, "addmm baddbmm"),
    **table(matmul, "mm bmm matmul mv dot"),
    **table(einsum, "einsum"),
}
