"""Every rule against random calls of the real operator, from PyTorch's operator database: values and adjoints.

A call's tensors are widened as its rule allows, the literal sizes rewritten, sums corrected; then the wide result must
be the tiled one, and block sums of the wide adjoints the base's. No rule is trusted: a wrong one fails here.
"""

from contextlib import suppress
from itertools import islice

import pytest

torch = pytest.importorskip("torch")
from torch import fx  # noqa: E402
from torch._guards import TracingContext, tracing  # noqa: E402
from torch._subclasses import FakeTensorMode  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402
from torch.utils import _pytree as pytree  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules.clone import tiled  # noqa: E402
from lop_theory.modules.interface import Breaks, Profile  # noqa: E402
from lop_theory.modules.plan import Plan, Traced  # noqa: E402
from lop_theory.modules.propagation import Recording, propagate, sizes_of  # noqa: E402
from lop_theory.modules.redistribute import block_sums  # noqa: E402
from lop_theory.modules.rewrite import Rewriter  # noqa: E402
from lop_theory.modules.rules import RULES, reduction  # noqa: E402
from lop_theory.modules.scale import Scales  # noqa: E402
from lop_theory.trace import Input, Program, run  # noqa: E402

# The database forbids the process to set backends' flags from its import on; other tests set them.
torch.backends.flags_frozen.__globals__["__allow_nonbracketed_mutation_flag"] = True

SAMPLES = 4
MOST = 16
"""Sample calls that are tried while nothing was compared yet."""
COVERED = {overload._schema.name.removeprefix("aten::") for overload in RULES if hasattr(overload, "_schema")}


DESCRIPTIONS = FakeTensorMode(allow_fallback_kernels=True)


def captured(function, tensors):
    """The pure graph of one call; None if it has in-place calls or no tensor. One mode describes all values: by default
    each gets its own, which notes the call stack, in most of the time of a capture."""
    try:
        with tracing(TracingContext(DESCRIPTIONS)):
            graph = make_fx(function, pre_dispatch=True)(*tensors).graph
    except Exception:
        return None
    for node in graph.nodes:
        if getattr(getattr(node.target, "_schema", None), "is_mutable", False) or node.op == "get_attr":
            return None
    return graph


def program_of(graph, tensors):
    places = [n for n in graph.nodes if n.op == "placeholder"]
    inputs = tuple(Input(n.name, n.name, tuple(t.shape), t.dtype, None) for n, t in zip(places, tensors, strict=True))
    output = next(n for n in graph.nodes if n.op == "output")
    flat, spec = pytree.tree_flatten(output.args[0])
    output.args = (tuple(flat),)
    return Program(graph, {}, {}, inputs, spec, {}, {}, None, {})


def widened(program, tensors, rules):
    """The wide graph, its inputs, the axes of everything; None if nothing can be cloned."""
    sizes = {}

    def observe(node, value):
        sizes[node.name] = sizes_of(value)
        return value

    run(program, {}, tensors, observe)
    plan, recording = Plan(), Recording(sizes, frozenset())
    floats = {i.placeholder for i in program.inputs if i.dtype.is_floating_point}
    last = next(n for n in program.graph.nodes if n.op == "output")
    results, last.args = last.args, ((),)  # outputs are rigid in a model; here they are what we look at

    def source(name, shape):
        return tuple((plan.free if name in floats else plan.new)(n) for n in shape)

    try:
        axes = propagate(program, recording, plan, source, rules)
    finally:
        last.args = results
    leaves = {leaf for value in axes.values() for axis in flat_axes(value) for leaf in plan.leaves(axis)}
    chosen = {leaf: 2 for leaf in leaves if plan.cloned(leaf) and not plan.marks(leaf) & {"avoid", "width"}}
    masks = [e for effects in plan.effects.values() for e in effects if isinstance(e, Breaks)]
    if not chosen or masks:  # random masks part clones by design
        return None
    maps = {n: tuple(plan.origin(a, chosen) for a in v) for n, v in axes.items() if isinstance(v, tuple)}
    rewriter = Rewriter(Traced(program, recording, axes), plan, chosen, Profile({}, maps))
    Scales({}).demand(rewriter, correct=True, redistribute=None)
    wide = [tiled(t, maps[i.placeholder]) for t, i in zip(tensors, program.inputs, strict=True)]
    return rewriter.program(), wide, (plan, axes, chosen)


def flat_axes(value):
    return [a for part in value for a in flat_axes(part)] if isinstance(value, list) else list(value or ())


def passed(program, inputs, weights):
    """Floating outputs and input gradients; ``weights`` makes the loss from an output's shape and place."""
    leaves = [t.detach().clone().requires_grad_(t.is_floating_point()) for t in inputs]
    outputs = [t for t in pytree.tree_leaves(run(program, {}, [t * 1 if t.is_floating_point() else t for t in leaves]))]
    floats = [t for t in outputs if isinstance(t, torch.Tensor) and t.is_floating_point()]
    terms = [(t * weights(k)).sum() for k, t in enumerate(floats) if t.requires_grad]
    asked = [t for t in leaves if t.requires_grad]
    found = torch.autograd.grad(sum(terms), asked, allow_unused=True) if terms and asked else [None] * len(asked)
    return outputs, found


def differentiable(program, tensors):
    """The operator has a derivative, and gives something."""
    try:
        outputs, _ = passed(program, tensors, lambda _: 1.0)
    except (RuntimeError, KeyError):
        return False
    return all(t.numel() for t in outputs if isinstance(t, torch.Tensor))


def compared(program, tensors, rules=None):
    """Wide outputs and block sums of wide adjoints, what each must be, and within which tolerance; nothing if nothing
    could be widened."""
    made = widened(program, tensors, rules)
    if made is None:
        return
    wide_program, wide, (plan, axes, chosen) = made
    outputs, _ = passed(program, tensors, lambda _: 0.0)
    results = [axes_of(axes, node) for node in next(n for n in program.graph.nodes if n.op == "output").args[0]]
    maps = [tuple(plan.origin(a, chosen) for a in r) if r is not None else None for r in results]
    floats = [
        (t, m) for t, m in zip(outputs, maps, strict=True) if isinstance(t, torch.Tensor) and t.is_floating_point()
    ]
    random = [
        torch.randn(t.shape, dtype=t.dtype, generator=torch.Generator().manual_seed(k))
        for k, (t, _) in enumerate(floats)
    ]
    shares = [shared(r, m) for r, (_, m) in zip(random, floats, strict=True)]
    base, adjoints = passed(program, tensors, lambda k: random[k])
    found, theirs = passed(wide_program, wide, lambda k: shares[k])
    for a, b, m in zip(found, base, maps, strict=True):
        if isinstance(b, torch.Tensor):
            yield a, tiled(b, m), {"rtol": 1e-9, "atol": 1e-10}
    names = [i.placeholder for i in program.inputs if i.dtype.is_floating_point]
    for name, a, b in zip(names, theirs, adjoints, strict=True):
        if a is not None and b is not None:
            total = a.numpy()
            for dim, axis in enumerate(axes[name]):
                total = block_sums(total, plan.origin(axis, chosen), dim)
            yield torch.as_tensor(total), b, {"rtol": 1e-8, "atol": 1e-9}


def axes_of(axes, node):
    return axes[node.name] if isinstance(node, fx.Node) and isinstance(axes.get(node.name), tuple) else None


def shared(weights, maps):
    """The loss of the clone: every output's weight divided among its clones."""
    result = weights
    for dim, index in enumerate(maps):
        counts = torch.bincount(torch.as_tensor(index), minlength=weights.shape[dim]).to(weights)
        result = result / counts.reshape([-1 if d == dim else 1 for d in range(weights.dim())])
    return tiled(result, maps)


def calls(entry):
    """Programs of sample calls that use a covered operator and nothing random."""
    torch.manual_seed(0)
    samples = entry.sample_inputs_func(entry, "cpu", torch.float64, False)  # sample_inputs() looks for its caller: slow
    for sample in islice(samples, MOST):
        leaves, spec = pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
        places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]

        def function(*tensors, leaves=leaves, spec=spec, places=places):
            values = list(leaves)
            for k, t in zip(places, tensors, strict=True):
                values[k] = t
            first, args, kwargs = pytree.tree_unflatten(values, spec)
            return entry.op(first, *args, **kwargs)

        tensors = [leaves[k].detach() for k in places]
        usable = all(t.numel() and not t.is_complex() for t in tensors)
        graph = captured(function, tensors) if usable else None
        if graph is not None:
            yield program_of(graph, tensors), tensors


RANDOM = frozenset("bernoulli rand_like randn_like dropout native_dropout rrelu alpha_dropout feature_dropout".split())


def entries():
    seen = set()
    for entry in op_db:
        known = entry.aten_name in COVERED or entry.name.rpartition(".")[2] in COVERED
        if (
            known
            and entry.aten_name not in RANDOM
            and entry.name.rpartition(".")[2] not in RANDOM
            and (entry.name, entry.variant_test_name) not in seen
        ):
            seen.add((entry.name, entry.variant_test_name))
            yield pytest.param(entry, id=entry.formatted_name)


@pytest.mark.claim("coverage")
@pytest.mark.parametrize("entry", list(entries()))
def test_rule_agrees_with_the_operator(entry):
    count = 0
    for number, (program, tensors) in enumerate(calls(entry)):
        if number >= SAMPLES and count:
            break
        with suppress(InvalidInput):  # a correction that cannot be made is refused
            if differentiable(program, tensors):
                for found, right, tolerance in compared(program, tensors):
                    torch.testing.assert_close(found, right, **tolerance, equal_nan=True)
                    count += 1
    if not count:
        pytest.skip("no sample of it could be widened and has a derivative: nothing was compared")


def test_a_wrong_rule_is_found():
    """The rule of the reduction for the minimum of two tensors, which once was certified."""
    entry = next(e for e in op_db if e.name == "min" and e.variant_test_name == "binary")
    wrong = {torch.ops.aten.min.other: reduction.extremum, torch.ops.aten.minimum.default: reduction.extremum}
    with pytest.raises((AssertionError, ValueError, KeyError, RuntimeError)):
        _ = [
            torch.testing.assert_close(found, right, **tolerance, equal_nan=True)
            for program, tensors in calls(entry)
            for found, right, tolerance in compared(program, tensors, wrong)
        ]
