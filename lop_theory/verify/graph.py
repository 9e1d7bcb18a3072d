"""Checkers of networks as graphs (theory.md §5, §6): clone theorem, its hypotheses, bases, frozen units, optimisers.

The positive half runs SGD on seeded random clones in exact rationals; the negative half recomputes the smallest
counterexample of every hypothesis.
"""

from collections.abc import Iterator
from itertools import product
from random import Random
from typing import Any

from lop_theory.graph import counterexamples as named
from lop_theory.graph.cloning import (
    gradient_spread,
    hypotheses,
    residuals,
    sgd_step,
    sum_spread,
    trajectory,
    trajectory_invariant,
)
from lop_theory.graph.counterexamples import Counterexample
from lop_theory.graph.dag import Network
from lop_theory.graph.partition import Partition
from lop_theory.graph.passes import Gradient, backward, forward, gradient, squared_error
from lop_theory.graph.scalars import exact, rational
from lop_theory.verify.finding import Finding, NotHere, agreed, refutes
from lop_theory.verify.networks import batch, clone

_COUNTEREXAMPLE, _TESTED = "exact counterexample", "tested"


def _clones(examples: int, seed: int) -> Iterator[tuple[Random, Network, Partition]]:
    random = Random(seed)
    for _ in range(examples):
        yield random, *clone(random)


def _broken(conclusion: str, dropped: tuple[str, ...] = ()) -> Iterator[Finding]:
    """Every named counterexample to ``conclusion``: one hypothesis dropped, and what it claims fails exactly."""
    for example in named.COUNTEREXAMPLES:
        if example.breaks == conclusion and (not dropped or example.dropped in dropped):
            fails = not getattr(hypotheses(example.network(), example.partition()), example.dropped)
            yield refutes(fails and _breaks(example), _COUNTEREXAMPLE, f"{example.name}: without {example.dropped}")


def _breaks(example: Counterexample) -> bool:
    network, partition = example.network(), example.partition()
    found = residuals(network, partition, *example.batch())
    if example.breaks == "forward":
        return found.forward != 0
    if example.breaks == "backward":
        return found.forward == 0 and found.backward != 0
    after = trajectory(network, [example.batch()], "1/8")[-1]
    return found == (0, 0, 0) and sum_spread(after, partition) != 0


def clone_forward(examples: int) -> Iterator[Finding]:
    """Equal values in a block, exactly   [clone-forward]."""
    yield from _broken("forward", ("equal_biases", "singleton_ends"))
    yield _residual("forward", examples)


def clone_backward(examples: int) -> Iterator[Finding]:
    """Equal adjoints in a block, exactly   [clone-backward]."""
    yield from _broken("backward", ("singleton_ends",))
    yield _residual("backward", examples)


def clone_gradient(examples: int) -> Iterator[Finding]:
    """A block-constant gradient, exactly, under the hypotheses of both halves   [clone-gradient]."""
    yield from _broken("backward", ("singleton_ends",))
    yield _residual("gradient", examples)


def _residual(which: str, examples: int) -> Finding:
    zero = [getattr(residuals(n, p, *batch(random)), which) == 0 for random, n, p in _clones(examples, 11)]
    return Finding("corrected", all(zero), _TESTED, f"the {which} residual is exactly 0 on {examples} clones")


def clone_trajectory(examples: int) -> Iterator[Finding]:
    """SGD stays in w₀ + BC under the corrected hypotheses, and leaves without a biregular mask   [clone-trajectory]."""
    yield from _broken("trajectory")
    stay = []
    for random, network, partition in _clones(examples, 12):
        after = trajectory(network, [batch(random), batch(random)], "1/16")[-1]
        moved = Gradient(after.weight - network.weight, after.bias - network.bias)
        still = sum_spread(after, partition) == 0 and gradient_spread(network, partition, moved) == 0
        stay.append(bool(trajectory_invariant(network, partition)) and still)
    yield Finding("corrected", all(stay), _TESTED, f"two SGD steps stay exactly on {examples} clones")


def clone_support(examples: int) -> Iterator[Finding]:
    """Three in- and out-equitable blocks leave in one step; with a biregular mask none does   [clone-support]."""
    for example in (named.SUPPORT_3X3, named.SUPPORT_2X3, named.SUPPORT_2X2):
        found = hypotheses(example.network(), example.partition())
        leaves = bool(found.in_equitable and found.out_equitable) and not found.biregular_support and _breaks(example)
        yield refutes(leaves, _COUNTEREXAMPLE, f"{example.name}: equal sums, and one SGD step parts them")
    equal = [
        sum_spread(sgd_step(n, batch(random), "1/16"), p) == 0
        for random, n, p in _clones(examples, 14)
        if hypotheses(n, p).biregular_support
    ]
    detail = f"one SGD step keeps equal sums on {len(equal)} clones of biregular support"
    yield Finding("corrected", all(equal) if equal else None, _TESTED, detail)


def clone_ordering(examples: int) -> Iterator[Finding]:
    """RE∩CE with a cyclic quotient or an inner edge; it clones all the same   [clone-ordering]."""
    for example in (named.CYCLIC_QUOTIENT, named.EDGE_IN_BLOCK):
        acyclic = hypotheses(example.network(), example.partition()).quotient_acyclic
        yield refutes(not acyclic, _COUNTEREXAMPLE, f"{example.name}, {example.network().dag.nodes} nodes")
        zero = [
            residuals(example.network(), example.partition(), exact([x])[:, None], squared_error(exact(["7"])[:, None]))
            == (0, 0, 0)
            for x in ("-2", "1/3", "5")
        ]
        yield Finding("corrected", all(zero), _TESTED, f"{example.name}: values, adjoints and gradients are cloned")
    follows = [
        bool(found.quotient_acyclic)
        for _, n, p in _clones(examples, 13)
        if (found := hypotheses(n, p)).biregular_support
    ]
    yield Finding(
        "corrected", all(follows), _TESTED, f"an equitable mask makes the quotient acyclic ({len(follows)} clones)"
    )


def functional_lop(examples: int) -> Iterator[Finding]:
    """The gradient is tangent for every data set and loss   [functional-lop]."""
    losses: list[Any] = [lambda t: lambda y: y - t, lambda t: lambda y: (y - t) ** 3, lambda t: lambda y: t * y + 1]
    zero = []
    for random, network, partition in _clones(examples, 14):
        x, _ = batch(random)
        zero += [residuals(network, partition, x, loss(exact(["3/2", "-1"])[None, :])) == (0, 0, 0) for loss in losses]
    yield Finding("paper", all(zero), _TESTED, f"tangent for {len(zero)} pairs of data and loss")


def affine_vs_curved(_: int) -> Iterator[Finding]:
    """On w² + b² − v² = const the flow is tangent and a discrete step leaves   [affine-vs-curved]."""
    network = named.CURVED.network()
    a = network.dag.number_of["a"]
    for x, t in product(("1", "-3/2"), ("0", "5")):
        at = exact([[x]]), squared_error(exact([[t]]))
        g = gradient(network, *at)
        along = network.weight[0] * g.weight[0] + network.bias[a] * g.bias[a] - network.weight[1] * g.weight[1]
        yield Finding("paper", along == 0, _TESTED, f"the gradient is tangent at x = {x}, t = {t}")
    after = sgd_step(network, named.CURVED.batch(), "1/4")
    left = [n.weight[0] ** 2 + n.bias[a] ** 2 - n.weight[1] ** 2 for n in (network, after)]
    yield Finding(
        "paper",
        left[0] != left[1],
        _COUNTEREXAMPLE,
        f"a step of 1/4 moves the conserved quantity from {left[0]} to {left[1]}",
    )


def clone_dimension(examples: int) -> Iterator[Finding]:
    """dim M_D = block pairs with edges + blocks with biases, against the rank of a basis   [clone-dimension]."""
    import numpy as np

    from lop_theory.graph.dimensions import bases, dimension, parameters
    from lop_theory.graph.partition import block_pairs

    right, biases = [], 0
    for _, network, partition in _clones(examples, 15):
        tangent = bases(network.dag, partition, "constant").tangent.toarray()
        right.append(np.linalg.matrix_rank(tangent) == dimension(network.dag, partition, "constant"))
        pairs = block_pairs(network.dag, partition).total
        biases += dimension(network.dag, partition, "constant") - pairs
        right.append(dimension(network.dag, partition, "constant") <= parameters(network.dag))
    yield refutes(biases > 0, _COUNTEREXAMPLE, f"blocks with biases add {biases} dimensions in {examples} clones")
    yield Finding("corrected", all(right), _TESTED, f"the dimension is the rank of a basis on {examples} clones")


def base_networks(examples: int) -> Iterator[Finding]:
    """h = h̃ and |S_I| δ = δ̃   [base-network]."""
    from lop_theory.graph.quotient import base_network

    values, adjoints, same = [], [], []
    for random, network, partition in _clones(examples, 16):
        x, loss = batch(random)
        base = base_network(network, partition)
        trace, small = forward(network, x), forward(base.network, x)
        values.append(bool((trace.h == small.h[base.node_of]).all()))
        delta = backward(network, trace, loss(trace.h[network.dag.outputs])).adjoint
        base_delta = backward(base.network, small, loss(small.h[base.network.dag.outputs])).adjoint[base.node_of]
        sizes = exact(partition.sizes[partition.block_of])[:, None]
        adjoints.append(bool((sizes * delta == base_delta).all()))
        same.append(bool((delta == base_delta).all()))
    yield refutes(
        not all(same),
        _COUNTEREXAMPLE,
        f"delta differs from the base's on {same.count(False)} of {examples} clones",
    )
    yield Finding(
        "corrected", all(values) and all(adjoints), _TESTED, f"h and |S| delta are the base's on {examples} clones"
    )


def clone_rates(examples: int) -> Iterator[Finding]:
    """With matched rates the functions coincide at every step   [clone-rates]."""
    from lop_theory.graph.quotient import base_network

    equal = []
    for random, network, partition in _clones(examples, 17):
        base, data = base_network(network, partition), [batch(random) for _ in range(2)]
        big, small = network, base.network
        for at in data:
            big, small = sgd_step(big, at, "1/16"), sgd_step(small, at, "1/16", base.weight_rate, base.bias_rate)
        equal.append(bool((forward(big, data[0][0]).h == forward(small, data[0][0]).h[base.node_of]).all()))
    yield Finding("paper", all(equal), _TESTED, f"clone and base agree exactly after two steps on {examples} clones")


def frozen_units(_: int) -> Iterator[Finding]:
    """A dead unit revives through its upstream weights and through momentum; certified ones do not   [frozen-unit]."""
    from lop_theory.graph.certificate import frozen_units as certified

    start = named.REVIVED_BY_UPSTREAM.network()
    x, loss = named.REVIVED_BY_UPSTREAM.batch()
    v = start.dag.number_of["v"]
    after = sgd_step(start, (x, loss), "1/2")
    revived = forward(start, x).z[v, 0] < 0 < forward(after, x).z[v, 0]
    yield refutes(revived, _COUNTEREXAMPLE, "a relu unit with zero gradient revives through its upstream weights")
    yield refutes(
        _revives_by_momentum(),
        _COUNTEREXAMPLE,
        "momentum 1/2 carries a dead unit back; plain SGD does not",
    )
    none = certified(named.REVIVED_BY_UPSTREAM.network())
    yield Finding("corrected", not none, _TESTED, "a unit that can revive gets no certificate")
    network = _bounded_dead_unit()
    sure = {frozen.id for frozen in certified(network)}
    stays = agreed(_still_dead(network, random) for random in map(Random, range(20)))
    yield Finding(
        "corrected",
        sure == {"v"} and stays is True,
        _TESTED,
        "a certified unit has zero gradient for 20 upstream weights",
    )


def _revives_by_momentum() -> bool:
    example = named.REVIVED_BY_MOMENTUM
    start, (x, loss) = example.network(), example.batch()
    v, later, half = start.dag.number_of["v"], exact([["-1"]]), rational("1/2")
    first, live = gradient(start, x, loss), sgd_step(start, (x, loss), 1)
    dead = gradient(live, later, loss)
    moved = live.weight - half * first.weight - dead.weight, live.bias - half * first.bias - dead.bias
    plain = sgd_step(live, (later, loss), 1)
    z = [forward(n, later).z[v, 0] for n in (live, live.with_parameters(*moved), plain)]
    return z[0] < 0 < z[1] and z[2] < 0


def _bounded_dead_unit(weight: str = "1") -> Network:
    """x → tanh u → relu v → y with v's bias −2: |tanh| ≤ 1 keeps z(v) ≤ −1 for every upstream weight."""
    from lop_theory.activations import activation
    from lop_theory.graph.dag import Node, build_network

    nodes = [
        Node("u", activation("hardtanh"), "0"),
        Node("v", activation("relu"), "-2"),
        Node("y", activation("identity"), "0"),
    ]
    return build_network(["x"], nodes, [("x", "u", weight), ("u", "v", "1"), ("v", "y", "1")], ["y"], rationals=True)


def _still_dead(network: Network, random: Random) -> bool:
    moved = _bounded_dead_unit(str(rational(random.randint(-50, 50)) / 7))
    found = gradient(moved, *batch(random))
    into = moved.dag.target == moved.dag.number_of["v"]
    return bool((found.weight[into] == 0).all()) and network.dag.nodes == moved.dag.nodes


def optimiser_closure(examples: int) -> Iterator[Finding]:
    """The optimiser table, run: predicted = observed; coupled L2 under Adam leaves RE∩CE   [optimiser-closure]."""
    try:
        from lop_theory.graph.optimisers import run, table
    except ImportError:
        raise NotHere("needs PyTorch", "pip install 'lop-theory[torch]'") from None
    breaks = run("Adam", "coupled", "RE∩CE")
    yield refutes(
        breaks.observed[0] is False,
        "measured",
        f"Adam with coupled L2 leaves RE∩CE by {breaks.distances[0]:.2g} of its path",
    )
    cells = table(["SGD", "Adam", "AdamW", "RMSprop"][: max(1, examples // 10)], steps=6)
    yield Finding(
        "corrected",
        all(cell.agrees for cell in cells),
        "measured",
        f"{len(cells)} cells of the optimiser table as predicted",
    )
