"""Checkers of what the paper says beside its theorems: what it infers from them, and remarks on ranks and stability."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from random import Random

from lop_theory.balls import fmpq
from lop_theory.gap.rank import gain_bound, polynomial_kernel, potential, rank_gain, renyi2_rank, shannon_rank
from lop_theory.graph.dag import Network, Node, build_network
from lop_theory.graph.dimensions import dimension
from lop_theory.graph.partition import partition_from_blocks
from lop_theory.graph.refinement import refine
from lop_theory.verify.finding import Finding, refutes

_SYMBOLIC, _COUNTEREXAMPLE, _TESTED = "symbolic proof", "exact counterexample", "tested"


def _simplex(classes: int) -> list[list[fmpq]]:
    """Correlations of a simplex ETF: −1/(C − 1) off the diagonal."""
    return [[fmpq(1) if i == j else fmpq(-1, classes - 1) for j in range(classes)] for i in range(classes)]


# ---- §3: ranks and the gain ----


def effective_ranks(examples: int) -> Iterator[Finding]:
    """1 ≤ er₂ ≤ Shannon rank ≤ n, the ends at rank one and at equal eigenvalues   [effective-ranks]."""
    random = Random(1)
    spectra = [[random.randint(0, 6) for _ in range(random.randint(1, 5))] for _ in range(4 * examples)]
    spectra = [s for s in spectra if any(s)] + [[3, 3, 3], [0, 4, 0]]
    inside = all(1 <= _renyi2(s) <= len(s) for s in spectra)
    ends = all((_renyi2(s) == 1) == (sum(map(bool, s)) == 1) for s in spectra)
    top = all((_renyi2(s) == len(s)) == (len(set(s)) == 1) for s in spectra)
    detail = f"er2 = (sum)^2 / (sum of squares) on {len(spectra)} spectra, exact: bounds and both equality cases"
    yield Finding("paper", inside and ends and top, _TESTED, detail)
    matrices = [_simplex(c) for c in range(2, 2 + max(3, examples // 4))]
    ordered = all(float(Fraction(str(renyi2_rank(m)))) <= shannon_rank(m) + 1e-9 <= len(m) + 2e-9 for m in matrices)
    yield Finding("paper", ordered, _TESTED, f"er2 <= Shannon rank <= n on {len(matrices)} simplices")


def _renyi2(spectrum: list[int]) -> Fraction:
    return Fraction(sum(spectrum) ** 2, sum(v * v for v in spectrum))


def strength_order(examples: int) -> Iterator[Finding]:
    """A larger λ raises the bound, not the gain   [strength-order]."""
    weak, strong = [fmpq(1, 2), fmpq(0), fmpq(1, 2)], [fmpq(2, 5), fmpq(3, 5)]
    pair = [[fmpq(1), fmpq(1, 2)], [fmpq(1, 2), fmpq(1)]]
    gains = [rank_gain(pair, polynomial_kernel(squares)) for squares in (weak, strong)]
    detail = f"n = 2, rho = 1/2: lambda 1/2 (K = (rho + rho^3)/2) gains {gains[0]}, lambda 3/5 gains {gains[1]}"
    yield refutes(1 - weak[0] < 1 - strong[0] and gains[0] > gains[1], _COUNTEREXAMPLE, detail)
    random = Random(2)
    grows = all(_bound_grows(random) for _ in range(examples))
    yield Finding("corrected", grows, _TESTED, f"1 + lambda P does not fall with lambda in {examples} exact cases")
    extremal = all(_extremal_order(random) for _ in range(examples))
    detail = f"kernels c rho + (1 - c) rho^2, rho >= 0: the gain grows with lambda in {examples} exact cases"
    yield Finding("corrected", extremal, _TESTED, detail)


def _nonnegative(random: Random) -> list[list[fmpq]]:
    """A unit diagonal and a constant correlation in [0, 1]."""
    n, rho = random.randint(2, 4), fmpq(random.randint(0, 12), 12)
    return [[fmpq(1) if i == j else rho for j in range(n)] for i in range(n)]


def _two(random: Random) -> list[fmpq]:
    return sorted(fmpq(random.randint(0, 10), 10) for _ in range(2))


def _bound_grows(random: Random) -> bool:
    matrix, (low, high) = _nonnegative(random), _two(random)
    return gain_bound(matrix, low) <= gain_bound(matrix, high)


def _extremal_order(random: Random) -> bool:
    matrix, (low, high) = _nonnegative(random), _two(random)
    gains = [rank_gain(matrix, polynomial_kernel([1 - strength, strength])) for strength in (low, high)]
    return gains[0] <= gains[1]


def collapse_correlations(examples: int) -> Iterator[Finding]:
    """A simplex of C ≥ 3 class means is no fixed point: its potential is (C − 2)/(C − 1)²   [collapse-correlations]."""
    three = _simplex(3)
    gain = rank_gain(three, polynomial_kernel([fmpq(1, 2), fmpq(1, 2)]))
    detail = f"three classes: correlation -1/2, potential {potential(three)}, gain {gain} under K = (rho + rho^2)/2"
    yield refutes(potential(three) > 0 and gain > 1, _COUNTEREXAMPLE, detail)
    classes = range(2, 2 + max(4, min(examples, 12)))
    formula = all(potential(_simplex(c)) == fmpq(c - 2, (c - 1) ** 2) for c in classes)
    ranks = all(renyi2_rank(_simplex(c)) == c - 1 for c in classes)
    detail = f"potential (C - 2)/(C - 1)^2 and rank C - 1 for C = 2..{classes[-1]}, exact"
    yield Finding("corrected", formula and ranks, _TESTED, detail)
    yield Finding("corrected", _simplex_formula(), _SYMBOLIC, "the same for every C")


def _simplex_formula() -> bool:
    import sympy as sp

    c = sp.Symbol("C", positive=True)
    square = 1 / (c - 1) ** 2
    norm = c + c * (c - 1) * square
    found = c * (c - 1) * square * (1 - square) / norm
    return sp.cancel(found - (c - 2) / (c - 1) ** 2) == 0 and sp.cancel(c**2 / norm - (c - 1)) == 0


def low_rank_clones(examples: int) -> Iterator[Finding]:
    """Low rank without clones   [low-rank-clones]."""
    found = _plane_network([(1, 0), (0, 1), (1, 1)])
    detail = (
        "identity units x, y, x + y with equal outgoing weights: rank 2 of 3, coarsest equitable partition discrete"
    )
    yield refutes(_discrete(found), _COUNTEREXAMPLE, detail)
    random = Random(3)
    cases = [_directions(random) for _ in range(examples)]
    apart = all(_discrete(_plane_network(rows)) for rows in cases)
    yield Finding("corrected", apart, _TESTED, f"{examples} layers of 3-6 distinct units of rank 2: no clones, exact")
    twins = not any(_discrete(_plane_network([*rows, rows[0]])) for rows in cases)
    yield Finding("corrected", twins, _TESTED, "with one unit copied the partition finds the pair")


def _directions(random: Random) -> list[tuple[int, int]]:
    grid = [(a, b) for a in range(-2, 3) for b in range(-2, 3) if (a, b) != (0, 0)]
    return random.sample(grid, random.randint(3, 6))


def _plane_network(rows: list[tuple[int, int]]) -> Network:
    """x, y → identity units a x + b y → their sum."""
    from lop_theory.activations import from_formula

    identity = from_formula("x")
    units = [f"h{k}" for k in range(len(rows))]
    edges = [("xy"[k], h, str(row[k])) for h, row in zip(units, rows, strict=True) for k in range(2)]
    edges += [(h, "out", "1") for h in units]
    return build_network(["x", "y"], [Node(n, identity) for n in (*units, "out")], edges, ["out"], rationals=True)


def _discrete(network: Network) -> bool:
    return refine(network).blocks == network.dag.nodes


# ---- Remark 2.3, App. A.5: the manifolds ----


def clone_generality(examples: int) -> Iterator[Finding]:
    """dim RE∩CE − dim BC = Σ (m − 1)(n − 1) over complete block pairs   [clone-generality]."""
    random = Random(4)
    cases = [[random.randint(1, 4) for _ in range(random.randint(1, 3))] for _ in range(examples)]
    agree = all(_extra(sizes) == _rectangles(sizes) for sizes in [*cases, [2, 2]])
    yield Finding(
        "paper", agree, _TESTED, f"{examples + 1} layered networks with complete blocks, by the dimension formula"
    )
    detail = f"two blocks of two: {_extra([2, 2])} more dimension than block-constant weights"
    yield Finding("paper", _extra([2, 2]) == 1, _COUNTEREXAMPLE, detail)


def _rectangles(sizes: list[int]) -> int:
    whole = [1, *sizes, 1]
    return sum((m - 1) * (n - 1) for m, n in pairwise(whole))


def _extra(sizes: list[int]) -> int:
    """dim RE∩CE − dim BC of a layered network with one complete block a layer."""
    from lop_theory.activations import from_formula

    identity = from_formula("x")
    layers = [[f"{k}.{i}" for i in range(size)] for k, size in enumerate([1, *sizes, 1])]
    edges = [(u, v, "1") for a, b in pairwise(layers) for u in a for v in b]
    nodes = [Node(name, identity) for layer in layers[1:] for name in layer]
    dag = build_network(layers[0], nodes, edges, layers[-1], rationals=True).dag
    partition = partition_from_blocks(dag, layers)
    return dimension(dag, partition, "both") - dimension(dag, partition, "constant")


def saddle_perturbation(examples: int) -> Iterator[Finding]:
    """Of a quadratic saddle almost every perturbation escapes   [saddle-perturbation]."""
    import sympy as sp

    t = sp.Symbol("t", positive=True)
    path = {
        "mostly along curvature +2": (sp.Integer(1), sp.Rational(1, 1000)),
        "along +2": (sp.Integer(1), sp.Integer(0)),
    }
    limits = {k: sp.limit((a * sp.exp(-2 * t)) ** 2 + (b * sp.exp(t)) ** 2, t, sp.oo) for k, (a, b) in path.items()}
    detail = (
        "curvatures 2 and -1, start (1, 1/1000), in a direction of positive curvature: the distance tends to infinity"
    )
    yield refutes(limits["mostly along curvature +2"] == sp.oo, _COUNTEREXAMPLE, detail)
    yield Finding(
        "corrected", limits["along +2"] == 0, _SYMBOLIC, "only the plane of curvature >= 0 comes back: null set"
    )
    random = Random(5)
    escaped = [_steps_away(random) for _ in range(examples)]
    yield Finding(
        "corrected", all(escaped), _TESTED, f"gradient steps from {examples} random starts beside saddles leave"
    )


def _steps_away(random: Random) -> bool:
    """Whether gradient descent leaves 10× its starting distance; the negative curvature is at least 1/2."""
    curvatures = [random.uniform(0, 2) for _ in range(3)] + [-random.uniform(0.5, 1)]
    point = [random.gauss(0, 1) for _ in curvatures]
    start = sum(p * p for p in point)
    for _ in range(400):
        point = [p * (1 - 0.1 * c) for p, c in zip(point, curvatures, strict=True)]
    return sum(p * p for p in point) > 100 * start


def normal_convexity(examples: int) -> Iterator[Finding]:
    """Positive curvature normal to a manifold leaves the loss free to be non-convex   [normal-convexity]."""
    import sympy as sp

    x, y = sp.symbols("x y", real=True)
    loss = x**2 + (y**2 - 1) ** 2
    hessian = sp.hessian(loss, (x, y)).subs(x, 0)
    tangent = loss.diff(x).subs(x, 0) == 0
    normal, inside = hessian[0, 0], hessian[1, 1].subs(y, 0)
    detail = (
        f"x^2 + (y^2 - 1)^2 on x = 0: tangent gradient, curvature {normal} normal to it, {inside} along it at y = 0"
    )
    yield Finding("paper", bool(tangent and normal > 0 and inside < 0), _COUNTEREXAMPLE, detail)
    values = [loss.subs({x: sp.Rational(k, max(1, examples)), y: v}) for k in range(examples) for v in (-1, 1, 0)]
    mid = all(values[3 * k] < values[3 * k + 2] > values[3 * k + 1] for k in range(examples))
    yield Finding(
        "paper", mid, _TESTED, f"and it exceeds its chord from y = -1 to 1 at {examples} distances from x = 0"
    )
