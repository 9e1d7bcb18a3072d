"""Graph passes against scipy.sparse products level by level; partition refinement: growth, and against networkx; the
command on a million edges of JSON, a long chain and 25 million edges of dense layers. All times are CPU times."""

import json
import math
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import networkx as nx
import numpy as np
from scipy.sparse import csr_matrix

from benchmarks.timing import best_seconds
from lop_theory.activations.catalogue import activation
from lop_theory.graph.dag import Network, RawGraph, assemble
from lop_theory.graph.digits import to_digits
from lop_theory.graph.io import network_to_json
from lop_theory.graph.levels import stable_order
from lop_theory.graph.partition import Partition, partition_from_labels
from lop_theory.graph.passes import backward, forward
from lop_theory.graph.refinement import default_seed, refine

DEPTH, CLONES, DEGREE = 10, 4, 20


def cloned_layers(edges: int, *, depth: int = DEPTH, regular: bool = False) -> Network:
    """A sparse layered DAG of about ``edges`` edges; every hidden unit has four clones (dense 4 × 4 block pairs).
    Sums are of order 1, so that no tanh is saturated and no gradient 0.

    Random neighbours and float64 weights, or a regular graph with equal weights, whose colours travel layer by layer.
    """
    rng = np.random.default_rng(0)
    base, degree = edges // (DEGREE * depth * CLONES), DEGREE // CLONES
    sources, targets, weights = [], [], []
    before, clones_before, first = np.arange(base), 1, base
    for _ in range(depth):
        to = np.repeat(np.arange(base), degree)
        shifts = np.tile(rng.choice(base, degree, replace=False), base)
        of = (to + shifts) % base if regular else rng.integers(0, base, base * degree)
        to, of = np.divmod(np.unique(to * base + of), base)
        w = np.ones(len(to)) if regular else rng.random(len(to))
        for i in range(CLONES):
            for j in range(clones_before):
                sources.append(before[0] + of * clones_before + j)
                targets.append(first + to * CLONES + i)
                weights.append(w / clones_before / degree)
        before, clones_before = np.arange(first, first + base * CLONES), CLONES
        first += base * CLONES
    sources.append(before)
    targets.append(np.full(len(before), first))
    weights.append(np.full(len(before), 1 / len(before)))
    kinds = np.array([-1] * base + [0] * (first + 1 - base))
    columns = [np.concatenate(part) for part in (sources, targets)]
    raw = RawGraph(range(first + 1), *columns, base, [first], (activation("tanh"),), kinds)
    return assemble(raw, np.concatenate(weights), np.zeros(first + 1))


def main() -> None:
    _passes(cloned_layers(10**6))
    _growth()
    _commands()
    _against_colour_refinement(cloned_layers(10**5), "random float64 weights", {"Fractions": Fraction, "floats": float})
    _against_colour_refinement(cloned_layers(10**5, depth=50, regular=True), "regular, depth 50", {"floats": float})


def _passes(network: Network) -> None:
    dag = network.dag
    for batch in (1, 16):
        x = np.random.default_rng(0).normal(size=(len(dag.inputs), batch))
        seed = np.ones((1, batch))
        ours = best_seconds(lambda x=x, seed=seed: backward(network, forward(network, x), seed))
        products = best_seconds(_level_products(network, batch))
        h = np.ones((dag.nodes, batch))
        outer = best_seconds(lambda h=h: (h[dag.target] * h[dag.source]).sum(axis=1))
        print(f"{dag.edges} edges, batch {batch:>2}: forward, adjoint and gradient {ours * 1e3:.1f} ms")
        print(f"  against the two products in scipy.sparse alone, {products * 1e3:.1f} ms: {ours / products:.2f} x")
        whole = products + outer
        print(
            f"  against them and the edge products in numpy, {whole * 1e3:.1f} ms: {ours / whole:.2f} x (target <= 3)"
        )


def _level_products(network: Network, batch: int):
    """The forward and the adjoint products alone, with matrices built beforehand; no activations, no gradient."""
    dag = network.dag
    matrix = csr_matrix((network.weight, dag.source, dag.in_pointers), shape=(dag.nodes, dag.nodes))
    transposed = matrix.T.tocsr()
    bounds = list(zip(dag.level_start[:-1], dag.level_start[1:], strict=True))
    rows = [matrix[a:b] for a, b in bounds]
    columns = [transposed[a:b] for a, b in bounds]

    def action() -> None:
        h = np.ones((dag.nodes, batch))
        for (a, b), part in zip(bounds, rows, strict=True):
            h[a:b] = part @ h
        for (a, b), part in reversed(list(zip(bounds, columns, strict=True))):
            h[a:b] = part @ h

    return action


def _growth() -> None:
    sizes, seconds = [], []
    for edges in (10**4, 10**5, 10**6):
        network = cloned_layers(edges)
        sizes.append(network.dag.edges)
        seconds.append(best_seconds(lambda n=network: refine(n), repeats=3))
        tolerant = best_seconds(lambda n=network: refine(n, tolerance=1e-9), repeats=1)
        print(f"refine {network.dag.edges:>8} edges: exact {seconds[-1]:.4f} s, tolerance 1e-9 {tolerant:.4f} s")
    exponent = math.log(seconds[-1] / seconds[0]) / math.log(sizes[-1] / sizes[0])
    print(f"growth exponent {exponent:.2f} (1 is linear); largest {seconds[-1]:.2f} s (target < 10)")


def _against_colour_refinement(network: Network, name: str, kinds: dict[str, Any]) -> None:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(network.dag.nodes))
    ends = (network.dag.source.tolist(), network.dag.target.tolist())
    fast = best_seconds(lambda: refine(network), repeats=5)
    found = refine(network)
    for kind, number in kinds.items():
        graph.add_weighted_edges_from(zip(*ends, map(number, network.weight.tolist()), strict=True))
        start = time.process_time()
        naive = colour_refinement(graph, default_seed(network))
        slow = time.process_time() - start
        assert naive == found
        print(f"{name}, {network.dag.edges} edges: refine (exact) {fast * 1e3:.1f} ms")
        print(f"  networkx colour refinement, {kind}, {slow:.2f} s: {slow / fast:.0f} x (target >= 50)")
    print(f"  one sort and one sum of its edges in numpy alone: {slow / _floor(network):.0f} x")


def _floor(network: Network) -> float:
    """What any round needs in NumPy: both ends of every edge sorted by (node, key), their exact sums, once."""
    dag, digits = network.dag, to_digits(network.weight)
    numbers = np.concatenate([digits, digits])
    ends, keys = np.concatenate([dag.target, dag.source]), np.concatenate([dag.source, dag.target])

    def action() -> None:
        order = stable_order(ends)
        code = ends[order] * dag.nodes + keys[order]
        begin = np.flatnonzero(np.append(True, code[1:] != code[:-1]))
        np.add.reduceat(np.take(numbers, order, axis=0), begin, axis=0)

    return best_seconds(action)


def _commands() -> None:
    """CPU seconds and peak memory of ``python -m lop_theory.graph`` in fresh processes."""
    with TemporaryDirectory() as folder:
        for name, file in (
            ("928k edges of JSON", _as_json(cloned_layers(10**6), Path(folder, "layers.json"))),
            ("chain of 100,000 nodes", _as_json(chain(10**5), Path(folder, "chain.json"))),
            ("dense layers, 25 million edges", _dense_file(Path(folder, "dense.safetensors"))),
            ("the same with weights 1", _dense_file(Path(folder, "ones.safetensors"), ones=True)),
        ):
            command = [sys.executable, "-m", "lop_theory.graph", str(file)]
            seconds, megabytes = _process(command)
            print(f"command, {name} ({file.stat().st_size >> 20} MB): {seconds:.1f} s, {megabytes:.0f} MB")


def _process(command: list[str]) -> tuple[float, float]:
    probe = f"import resource, subprocess; subprocess.run({command!r}, check=True, stdout=subprocess.DEVNULL); "
    probe += "u = resource.getrusage(resource.RUSAGE_CHILDREN); print(u.ru_utime + u.ru_stime, u.ru_maxrss / 1024)"
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    seconds, megabytes = map(float, done.stdout.split())
    return seconds, megabytes


def _as_json(network: Network, file: Path) -> Path:
    file.write_text(json.dumps(network_to_json(network)))
    return file


def chain(nodes: int) -> Network:
    weight = np.random.default_rng(0).random(nodes - 1)
    kinds = np.array([-1] + [0] * (nodes - 1))
    ends = (np.arange(nodes - 1), np.arange(1, nodes))
    raw = RawGraph(range(nodes), *ends, 1, [nodes - 1], (activation("tanh"),), kinds)
    return assemble(raw, weight, np.zeros(nodes))


def _dense_file(file: Path, width: int = 2500, layers: int = 4, *, ones: bool = False) -> Path:
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    shapes = {"weight": (width, width), "bias": (width,)}
    state = {
        f"net.{2 * k}.{part}": (np.ones(shape) if ones else rng.normal(size=shape, scale=width**-0.5)).astype("f4")
        for k in range(layers)
        for part, shape in shapes.items()
    }
    save_file(state, file)
    return file


def colour_refinement(graph: nx.DiGraph, seed: Partition) -> Partition:
    """Naive iterated colour refinement with dictionaries: all nodes in every round, until nothing splits."""
    colour = dict(enumerate(seed.block_of.tolist()))
    while True:
        codes: dict[object, int] = {}
        new = {}
        for v in graph:
            signature = []
            for side in (graph.pred[v], graph.succ[v]):
                sums: dict[int, Any] = {}
                for u, data in side.items():
                    sums[colour[u]] = sums.get(colour[u], 0) + data["weight"]
                signature.append(
                    tuple(sorted((c, t) for c, s in sums.items() if (t := round(s, 9) if isinstance(s, float) else s)))
                )
            new[v] = codes.setdefault((colour[v], *signature), len(codes))
        if len(codes) == len(set(colour.values())):
            return partition_from_labels(np.array([new[v] for v in range(len(new))]))
        colour = new
