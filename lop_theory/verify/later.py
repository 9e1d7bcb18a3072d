"""Checkers of what later papers claim about units and gradients: exact rationals and symbols first, then floats.

None of them needs PyTorch; the tests of the same claims do, as an oracle.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lop_theory.activations import from_formula
from lop_theory.balls import fmpq
from lop_theory.graph.cloning import Batch
from lop_theory.graph.dag import Network, Node, build_network
from lop_theory.graph.dormancy import silent_units, unmoved_units
from lop_theory.graph.norm_imbalance import imbalance
from lop_theory.graph.passes import backward, forward, gradient, squared_error
from lop_theory.graph.scalars import Values, exact, to_float
from lop_theory.stability.experts import split_tokens
from lop_theory.stability.gated_pair import Pair, gate_of, pair_of, remainder_bound
from lop_theory.stability.one_step import best_step, gain_at, gradient_moments
from lop_theory.verify.finding import Finding, refutes

_SYMBOLIC, _COUNTEREXAMPLE, _TESTED = "symbolic proof", "exact counterexample", "tested"
_SOFTSIGN = "x/(1 + abs(x))"  # a sigmoidal activation that is exact on rationals


def _rational(random: Random) -> fmpq:
    return fmpq(random.randint(-4, 4), random.randint(1, 3))


def _matrix(random: Random, rows: int, columns: int) -> Values:
    return exact([str(_rational(random)) for _ in range(rows * columns)]).reshape(rows, columns)


def _network(random: Random, formulas: Sequence[str]) -> Network:
    """2 inputs → 3 → 2 → 1 with every forward edge, skips included, and rational parameters."""
    layers = [["x0", "x1"], ["a0", "a1", "a2"], ["b0", "b1"], ["y"]]
    earlier = [[name for layer in layers[:k] for name in layer] for k in range(len(layers))]
    nodes = [Node(v, from_formula(random.choice(formulas)), _rational(random)) for layer in layers[1:] for v in layer]
    edges = [
        (u, v, _rational(random))
        for layer, before in zip(layers[1:], earlier[1:], strict=True)
        for v in layer
        for u in before
    ]
    return build_network(layers[0], nodes, edges, layers[-1], rationals=True)


def _batch(random: Random, network: Network, samples: int = 2) -> Batch:
    targets = _matrix(random, len(network.dag.outputs), samples)
    return _matrix(random, len(network.dag.inputs), samples), squared_error(targets)


# ---- 2605.01288: norms of adjacent layers ----


def norm_imbalance(examples: int) -> Iterator[Finding]:
    """outgoing − incoming = Σ δ (f(z) − z f′(z))   [later-norm-imbalance]."""
    yield Finding("paper", _unit_identity(), _SYMBOLIC, "one unit, any activation, any two readers: difference is 0")
    random, formulas = Random(1), ("x**2", "x**3/6 + x", "relu(x)", _SOFTSIGN)
    sides = [imbalance(n := _network(random, formulas), *_batch(random, n)) for _ in range(examples)]
    same = all((s.outgoing - s.incoming == s.defect).all() for s in sides)
    yield Finding("paper", same, _TESTED, f"every node of {examples} random networks, exact rationals")
    kept = [imbalance(n := _network(random, ("x", "relu(x)")), *_batch(random, n)) for _ in range(examples)]
    homogeneous = all((s.outgoing == s.incoming).all() for s in kept)
    yield Finding("paper", homogeneous, _TESTED, "identity and relu: no drift, exact rationals")
    line = build_network(["x"], [Node("h", from_formula("x"), "1"), Node("y", from_formula("x"))], _LINE, ["y"])
    found = imbalance(line, np.array([[1.0]]), np.ones_like)
    left = float((found.outgoing - (found.incoming - found.of_biases))[1])
    yield Finding("paper", left != found.defect[1], _COUNTEREXAMPLE, f"bias left out: {left:g}, not 0: it must count")


_LINE = [("x", "h", "1"), ("h", "y", "1")]


def _unit_identity() -> bool:
    """The readers act through their adjoints c₁, c₂ only: the rest of the network may be replaced by c·(v h)."""
    import sympy as sp

    w1, w2, x1, x2, b, v1, v2, c1, c2, z = sp.symbols("w1 w2 x1 x2 b v1 v2 c1 c2 z")
    phi = sp.Function("phi")
    at = w1 * x1 + w2 * x2 + b
    loss = c1 * v1 * phi(at) + c2 * v2 * phi(at)
    left = sum(p * loss.diff(p) for p in (v1, v2)) - sum(p * loss.diff(p) for p in (w1, w2, b))
    right = (c1 * v1 + c2 * v2) * (phi(z) - z * phi(z).diff(z)).subs(z, at)
    return sp.expand((left - right).doit()) == 0


# ---- 2605.09044: one-step gain, scale-free ranks ----


def one_step_gain(examples: int) -> Iterator[Finding]:
    """E[L(θ) − L(θ − ηg)] ≥ η‖G‖² − ½ℓη²E‖g‖², best ‖G‖⁴/(2ℓE‖g‖²)   [later-one-step-gain]."""
    random = Random(2)
    slacks = [slack for _ in range(2 * examples + 4) if (slack := _gain_slack(random)) is not None]
    least = f"least {to_float(min(slacks)):.2g}, greatest {to_float(max(slacks)):.2g}"
    detail = f"expected gain - bound >= 0 on {len(slacks)} sums of parabolas and Huber losses, exact; {least}"
    yield Finding("paper", min(slacks) >= 0, _TESTED, detail)
    moments = (fmpq(4), fmpq(5))
    step, gain = best_step(*moments, fmpq(2))
    others = [gain_at(step * fmpq(k, 10), *moments, fmpq(2)) for k in range(21)]
    yield Finding(
        "paper", max(others) == gain == gain_at(step, *moments, fmpq(2)), _TESTED, "no other step promises more"
    )
    tight = _parabola_gain(step, fmpq(2), [fmpq(3), fmpq(1)])
    yield Finding("paper", tight == gain, _TESTED, f"attained by theta^2: gain {tight}")
    curved = _fall(lambda t: -t + t**2 / 2 + 10 * t**4, fmpq(0), [fmpq(-1)], fmpq(1))
    detail = f"-t + t^2/2 + 10 t^4 with the curvature 1 of t = 0: gain {curved}, bound 1/2: an estimate, no bound"
    yield Finding("paper", curved < fmpq(1, 2), _COUNTEREXAMPLE, detail)


def _gain_slack(random: Random) -> fmpq | None:
    """Expected gain at the best step minus the bound, for Σ c_i φ_i(θ_i) with Huber losses and parabolas, c_i of either
    sign, and three draws of an unbiased gradient."""
    size, smoothness = random.randint(1, 3), fmpq(2)
    scale = [fmpq(random.randint(-4, 4), 2) for _ in range(size)]
    kind = [random.choice((_huber, _square)) for _ in range(size)]
    theta = [_rational(random) for _ in range(size)]
    slope = [c * _slope(phi, t) for c, phi, t in zip(scale, kind, theta, strict=True)]
    if not any(slope):
        return None  # no gradient, nothing to gain
    noise = _matrix(random, 2, size)
    draws = np.vstack([noise, -noise.sum(axis=0)[None, :]]) + exact([str(s) for s in slope])[None, :]
    step, gain = best_step(*gradient_moments(draws), smoothness)
    falls = [
        c * (phi(t) - phi(t - step * g)) for row in draws for c, phi, t, g in zip(scale, kind, theta, row, strict=True)
    ]
    return sum(falls, fmpq(0)) / len(draws) - gain


def _huber(t: fmpq) -> fmpq:
    return t**2 / 2 if abs(t) <= 1 else abs(t) - fmpq(1, 2)


def _square(t: fmpq) -> fmpq:
    return t**2 / 2


def _slope(phi: Any, t: fmpq) -> fmpq:
    return t if phi is _square or abs(t) <= 1 else t / abs(t)


def _fall(loss: Any, at: fmpq, draws: Sequence[fmpq], step: fmpq) -> fmpq:
    """Expected decrease of a loss of one variable."""
    return sum((loss(at) - loss(at - step * g) for g in draws), fmpq(0)) / len(draws)


def _parabola_gain(step: fmpq, smoothness: fmpq, draws: Sequence[fmpq]) -> fmpq:
    mean = sum(draws, fmpq(0)) / len(draws)
    return _fall(lambda t: smoothness * t**2 / 2, mean / smoothness, draws, step)


def rank_blindness(examples: int) -> Iterator[Finding]:
    """Ranks of H and of εH are equal; the gain of a step of given size is not   [later-rank-blindness]."""
    random = Random(3)
    features = [h for _ in range(examples) if (h := _matrix(random, 4, 3)).any()]
    small = fmpq(1, 1000)
    blind = all(_renyi2(h) == _renyi2(small * h) for h in features)
    yield Finding("paper", blind, _TESTED, f"Renyi-2 rank of {len(features)} feature matrices, exact")
    spectra = [np.linalg.svd(h.astype(float), compute_uv=False) for h in features]
    moved = max(abs(_entropy_rank(s) - _entropy_rank(1e-3 * s)) for s in spectra)
    yield Finding("paper", moved < 1e-9, _TESTED, f"entropy of normalised singular values: largest change {moved:.0e}")
    h, y = exact([[1, 0], [0, 2]]), exact([1, 1])
    falls = [_head_gain(scale * h, y, fmpq(1, 8)) for scale in (fmpq(1), small)]
    yield Finding("paper", falls[1] < falls[0] * small, _COUNTEREXAMPLE, f"step 1/8: gains {falls[0]} and {falls[1]}")
    best = [_head_gain(s * h, y, fmpq(1, 4) / s**2) for s in (fmpq(1), small)]
    detail = f"with steps 1/4 and 1/(4 eps^2) both gain {best[0]}: scale alone is not loss of plasticity"
    yield Finding("paper", best[0] == best[1], _COUNTEREXAMPLE, detail)


def _renyi2(h: Values) -> fmpq:
    gram = h.T @ h
    return gram.trace() ** 2 / (gram * gram).sum()


def _entropy_rank(values: NDArray[Any]) -> float:
    p = values[values > 1e-12 * values.max()] / values.sum()
    return math.exp(-float(p @ np.log(p)))


def _head_gain(h: Values, y: Values, step: fmpq) -> fmpq:
    """Decrease of ½‖Hv − y‖² by one gradient step on the head v from 0."""
    after = h @ (step * (h.T @ y)) - y
    return ((y * y).sum() - (after * after).sum()) / 2


# ---- 2603.21173: dormancy and gradient ----


def dormancy(examples: int) -> Iterator[Finding]:
    """Silent ⟺ no gradient: false both ways; what holds for relu   [later-dormancy]."""
    import sympy as sp

    z = sp.Symbol("z")
    slopes = {f.__name__: (f(z).subs(z, 0), f(z).diff(z).subs(z, 0)) for f in (sp.tanh, sp.erf)}
    silent = _unit(_SOFTSIGN, incoming="0", outgoing="1")
    for_all = all(value == 0 and slope != 0 for value, slope in slopes.values())
    detail = "tanh, erf, softsign with w = 0: h = 0 on all data, gradient not 0"
    yield refutes(for_all and silent == (True, False), _COUNTEREXAMPLE, detail)
    loud = [_unit(formula, incoming="1", outgoing="0") for formula in (_SOFTSIGN, "relu(x)")]
    detail = "outgoing weight 0 (softsign, relu): gradient 0, h not 0"
    yield refutes(all(found == (False, True) for found in loud), _COUNTEREXAMPLE, detail)
    random = Random(4)
    networks = [n for _ in range(8 * examples) if not _at_kink(n := _network(random, ("relu(x)",)), x := _DATA)]
    forward_only = all((~silent_units(n, x) | unmoved_units(n, x, _ADJOINT)).all() for n in networks)
    yield Finding(
        "corrected", forward_only, _TESTED, f"relu: silent units are unmoved in {len(networks)} networks, exact"
    )
    met = [_error_free(n, x) for n in networks]
    both = all(a == b for pairs in met for a, b in pairs)
    detail = f"relu: silent iff no error on any sample, {sum(map(len, met))} units with adjoints not 0, exact"
    yield Finding("corrected", both, _TESTED, detail)


_DATA = exact([[1, -1, 2], [1, 2, -3]])
_TARGETS = exact([["1/7", "2/7", "-3/7"]])
_ADJOINT = squared_error(_TARGETS)


def _unit(formula: str, incoming: str, outgoing: str) -> tuple[bool, bool]:
    """(silent, unmoved) of h in x → h → y at x = 1, target 1."""
    nodes = [Node("h", from_formula(formula)), Node("y", from_formula("x"))]
    network = build_network(["x"], nodes, [("x", "h", incoming), ("h", "y", outgoing)], ["y"], rationals=True)
    x, adjoint = exact([["1"]]), squared_error(exact([["1"]]))
    return bool(silent_units(network, x)[1]), bool(unmoved_units(network, x, adjoint)[1])


def _at_kink(network: Network, x: Values) -> bool:
    return bool((forward(network, x).z[~network.dag.is_input] == 0).any())


def _error_free(network: Network, x: Values) -> list[tuple[bool, bool]]:
    """(silent, without error on every sample) of the hidden units whose adjoints are not 0 on any sample."""
    trace = forward(network, x)
    adjoint = backward(network, trace, _ADJOINT(trace.h[network.dag.outputs])).adjoint
    alone = [gradient(network, x[:, [k]], squared_error(_TARGETS[:, [k]])).bias for k in range(x.shape[1])]
    silent = silent_units(network, x)
    taught = [v for v in np.flatnonzero(~network.dag.is_input) if (adjoint[v] != 0).all()]
    return [(bool(silent[v]), all(bias[v] == 0 for bias in alone)) for v in taught]


# ---- 2506.14951: near-clones that compute a gate ----


def gated_pair(examples: int) -> Iterator[Finding]:
    """w ± εv with outgoing ½ ± 1/(2ε) is σ(w·x) + (v·x)σ′(w·x) + O(ε²)   [later-gated-pair]."""
    random, epsilon = Random(5), fmpq(1, 100)
    excess = [_excess(_matrix(random, 3, 2), epsilon) for _ in range(examples)]
    detail = f"square and cube within the C^3 bound, of order eps^2, of the gate on {examples} inputs, exact"
    yield Finding("paper", max(excess) <= 0, _TESTED, detail)
    errors = [abs(_pair_value(math.tanh, 0.7, 1.3, e) - _tanh_gate(0.7, 1.3)) for e in (0.1, 0.05, 0.025)]
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    near = all(abs(order - 2) < 0.05 for order in orders)
    yield Finding("paper", near, _TESTED, f"tanh: observed orders in eps {', '.join(f'{o:.3f}' for o in orders)}")
    weight, direction = exact(["1", "2"]), exact(["3", "-1"])
    pair = pair_of(weight, direction, epsilon)
    merged, kept = (_output(_square2, p, weight) for p in (_merged(pair), pair))
    detail = f"merging the pair (cosine {_cosine(pair):.5f}) changes its output from {kept} to {merged}: not harmless"
    yield Finding("paper", abs(kept - merged) >= 1 and _cosine(pair) > 0.995, _COUNTEREXAMPLE, detail)
    kink = [_pair_value(lambda t: max(t, 0), fmpq(0), fmpq(1), fmpq(1, n)) - fmpq(1, 2) for n in (10, 20)]
    detail = "relu at its kink: error eps/2 from the slope 1/2, and 1/2 from PyTorch's slope 0: C^3 is needed"
    yield Finding("paper", kink == [fmpq(1, 20), fmpq(1, 40)], _COUNTEREXAMPLE, detail)


def _square2(t: Any) -> Any:
    return t**2


def _output(sigma: Any, pair: Pair, x: Values) -> Any:
    return sum(a * sigma(w @ x) for w, a in zip(pair.incoming, pair.outgoing, strict=True))


def _merged(pair: Pair) -> Pair:
    gate = gate_of(pair)
    return Pair(gate.mean[None, :], np.array([gate.total]))


def _pair_value(sigma: Any, u: Any, s: Any, epsilon: Any) -> Any:
    """The pair's output where w·x = u and v·x = s."""
    return _output(sigma, pair_of(np.array([u]), np.array([s]), epsilon), np.array([1 if isinstance(u, fmpq) else 1.0]))


def _tanh_gate(u: float, s: float) -> float:
    return math.tanh(u) + s / math.cosh(u) ** 2


def _excess(rows: Values, epsilon: fmpq) -> fmpq:
    """How far the pair's distance from its gate exceeds the bound, the worse of the square and the cube."""
    w, v, x = rows
    pair, u, s = pair_of(w, v, epsilon), w @ x, v @ x
    gate, reach = gate_of(pair), abs(u) + epsilon * abs(s)
    square = abs(_output(lambda t: t**2, pair, x) - (u**2 + 2 * u * s)) - remainder_bound(gate, x, fmpq(2), fmpq(0))
    cube = abs(_output(lambda t: t**3, pair, x) - (u**3 + 3 * u**2 * s))
    return max(square, cube - remainder_bound(gate, x, 6 * reach, fmpq(6)))


def _cosine(pair: Pair) -> float:
    a, b = pair.incoming.astype(float)
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


# ---- upcycled mixtures of experts ----


def duplicate_experts(examples: int) -> Iterator[Finding]:
    """Copied experts with copied router rows stay equal until top-k cuts a group   [later-duplicate-experts]."""
    random, groups = Random(10), (0, 0, 1, 1)
    tokens = [fmpq(random.randint(1, 9), 4) * (-1) ** k for k in range(max(4, examples))]
    start = Mixture([fmpq(2), fmpq(2), fmpq(-1), fmpq(-1)], [fmpq(1), fmpq(1), fmpq(3), fmpq(3)])
    for k in (2, 4):
        final, cuts = _train(start, tokens, groups, k)
        same = _paired(final) and not cuts
        yield Finding(
            "paper", same, _TESTED, f"top-{k} of two pairs takes whole pairs: equal after {len(tokens)} steps"
        )
    final, cuts = _train(start, tokens[:1], groups, 3)
    detail = "top-3 cuts a pair on the first token: the copies differ after one step"
    yield Finding("paper", cuts and not _paired(final), _COUNTEREXAMPLE, detail)
    fresh, _ = _train(start._replace(router=[fmpq(1), fmpq(2), fmpq(3), fmpq(3)]), tokens[:1], groups, 4)
    parted = fresh.experts[0] != fresh.experts[1]
    detail = "router rows not copied: the copies differ after one step, all experts chosen, no tie"
    yield Finding("paper", parted, _COUNTEREXAMPLE, detail)


class Mixture(NamedTuple):
    """y = Σ_{i chosen} p(r_i x) a_i x / Σ_{j chosen} p(r_j x), with p(l) = 1 + l + l² > 0 in place of exp."""

    experts: list[fmpq]
    router: list[fmpq]


def _train(start: Mixture, tokens: Sequence[fmpq], groups: Sequence[int], k: int) -> tuple[Mixture, bool]:
    """SGD on ½(y − 1)², one token a step, and whether top-k cut a group; the first of tied experts are taken."""
    mixture, cuts = start, False
    for x in tokens:
        logits = np.array([r * x for r in mixture.router], dtype=object)
        cuts = cuts or bool(split_tokens(logits[None, :], groups, k)[0])
        chosen = sorted(range(len(logits)), key=lambda e: (-logits[e], e))[:k]
        mixture = _step(mixture, x, chosen)
    return mixture, cuts


def _step(mixture: Mixture, x: fmpq, chosen: Sequence[int]) -> Mixture:
    """∂y/∂a_i = g_i x, ∂y/∂r_i = p′(l_i)(a_i x − y) x / Σp; a step of size 1/64, rounded to keep numbers short."""
    logit = {e: mixture.router[e] * x for e in chosen}
    weight = {e: 1 + v + v**2 for e, v in logit.items()}
    total = sum(weight.values(), fmpq(0))
    y = sum((weight[e] * mixture.experts[e] * x for e in chosen), fmpq(0)) / total
    experts, router = list(mixture.experts), list(mixture.router)
    for e in chosen:
        experts[e] = _short(experts[e] - (y - 1) * weight[e] / total * x / 64)
        router[e] = _short(router[e] - (y - 1) * (1 + 2 * logit[e]) * (mixture.experts[e] * x - y) * x / total / 64)
    return Mixture(experts, router)


def _short(value: fmpq) -> fmpq:
    return fmpq((value * 10**9).floor(), 10**9)


def _paired(mixture: Mixture) -> bool:
    return all(row[0] == row[1] and row[2] == row[3] for row in mixture)
