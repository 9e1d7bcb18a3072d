"""``python -m lop_theory.graph FILE``: which cloned and frozen manifolds a network lies on."""

import argparse
import json
import re
from collections.abc import Sequence
from math import inf
from typing import Any

from lop_theory.cli import NOT_CERTIFIED, OK, Parser, run
from lop_theory.errors import InvalidInput
from lop_theory.graph.certificate import ROUNDINGS
from lop_theory.graph.closure import escapes
from lop_theory.graph.convert import network_of
from lop_theory.graph.dag import Network
from lop_theory.graph.dense import Mlp
from lop_theory.graph.diagnosis import FROZEN_UNDER, MAX_PAIR_SEARCH, Diagnosis, diagnose, diagnose_layers
from lop_theory.graph.io import Assumed, read_file, read_partition
from lop_theory.graph.names import enclosing, listed, shown, told_apart
from lop_theory.graph.progress import Say, spoken
from lop_theory.graph.scalars import is_exact, rational, to_float

LARGEST_FLOAT = 1e140
MAX_PAIR_EDGES = 10**6
EPILOG = """\
FILE is JSON {"inputs": [id…], "outputs": [id…], "nodes": [{"id": …, "activation": "tanh", "bias": 0}…],
"edges": [[source, target, weight]…]} with weights as numbers or rational strings such as "1/4"; a GraphML file with
node attributes activation, bias, role and edge attribute weight; or the safetensors state of an MLP, of which the
order of the layers and the hidden activation that were assumed are printed (--order, --activation set them).
Integers and strings are exact; one decimal number makes the file approximate: two sums are equal if they differ by at
most T times the (mean) absolute sum of their own terms, so that the scale of the weights does not matter.
The nearest pair of clones is looked for among up to 5,000 nodes, in dense layers of up to a million edges.
"Frozen for ever" speaks of the arithmetic it names and includes its rounding, while all values stay finite.

exit status: 0 done; 1 a partition was given and training is not guaranteed to stay; 2 the input is unusable."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code (bad input raises ``InvalidInput``)."""
    options = _parser().parse_args(arguments)
    with spoken() as say:
        assumed, found = _run(options, say)
    if options.json:
        print(json.dumps({**found.to_json(), "assumed": None if assumed is None else assumed._asdict()}))
    else:
        print("\n".join([*_assumptions(assumed), *_lines(found)]))
    return NOT_CERTIFIED if options.partition and not found.trajectory_invariant else OK


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m lop_theory.graph",
        description="Cloned and frozen units of a network, their manifolds, and whether training can leave them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="the network: .json, .graphml or .safetensors")
    parser.add_argument("--partition", metavar="FILE", help="check this partition [[ids]…] instead of the coarsest")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--tolerance",
        metavar="T",
        help="largest difference of equal sums over the size of their terms (default: 0 or 1e-9)",
    )
    parser.add_argument(
        "--inputs", nargs=2, metavar=("LOW", "HIGH"), help="range of the input values, for frozen units (default: all)"
    )
    parser._negative_number_matcher = re.compile(r"-[\d.]")  # --inputs takes -1/2 and -1e-3
    parser.add_argument("--activation", help="hidden activation of a safetensors MLP (default: relu)")
    parser.add_argument("--order", nargs="+", metavar="NAME", help="layers of a safetensors MLP from input to output")
    parser.add_argument(
        "--arithmetic",
        choices=list(ROUNDINGS),
        help="in which it is trained, for frozen units (default: exact or float64)",
    )
    return parser


def _run(options: argparse.Namespace, say: Say) -> tuple[Assumed | None, Diagnosis]:
    reading = read_file(options.file, options.activation, options.order)
    content = reading.content
    if isinstance(content, Mlp) and (options.partition or _is_small(content)):
        content = reading.network
    exact = isinstance(content, Network) and is_exact(content.weight)
    if not exact:
        _require_moderate(content)
    default = 0.0 if exact else 1e-9
    tolerance = default if options.tolerance is None else to_float(rational(options.tolerance, "tolerance"))
    if not 0 <= tolerance < inf:
        raise InvalidInput("tolerance", tolerance, "must be finite and not negative", "use 0 for exact sums")
    asked: dict[str, Any] = {
        "tolerance": tolerance,
        "input_range": options.inputs,
        "arithmetic": options.arithmetic,
        "say": say,
    }
    found = diagnose_layers(content, **asked) if isinstance(content, Mlp) and tolerance else None
    if found is None:
        network = network_of(content) if isinstance(content, Mlp) else content
        partition = read_partition(options.partition, network.dag) if options.partition else None
        found = diagnose(network, partition, **asked)
    return reading.assumed, found


def _is_small(mlp: Mlp) -> bool:
    """Whether its units are compared pair by pair, in the graph."""
    return len(mlp.bias) <= MAX_PAIR_SEARCH and mlp.edges <= MAX_PAIR_EDGES


def _require_moderate(content: Network | Mlp) -> None:
    """Refuse floats whose squares and sums could overflow."""
    weights = [layer.weight for layer in content.layers] if isinstance(content, Mlp) else [content.weight]
    largest = max(float(abs(values).max(initial=0.0)) for values in (*weights, content.bias))
    if largest > LARGEST_FLOAT:
        raise InvalidInput(
            "weight",
            largest,
            f"is above {LARGEST_FLOAT:g}, where floating sums overflow",
            'write weights as strings "1e200"',
        )


def _assumptions(assumed: Assumed | None) -> list[str]:
    if assumed is None:
        return []
    order = " -> ".join(shown(name) for name in assumed.layers)
    return [
        f"{'layers, assumed':20} {order} (order: {assumed.decided_by}; --order)",
        f"{'activation, assumed':20} {assumed.activation} between the layers (--activation)",
    ]


def _lines(found: Diagnosis) -> list[str]:
    checks = found.hypotheses._asdict()
    lines = [f"{name.replace('_', ' '):20} {_outcome(verdict)}" for name, verdict in checks.items()]
    lines.append(f"{'SGD stays':20} {_stays(found)}")
    if found.trajectory_invariant and found.codimension:
        leaving = escapes(block_constant=found.block_constant)
        lines += [f"{'leave, decay ' + decay:20} {names}" for decay, names in leaving.items()]
    lines.append(
        f"{'distance':20} {found.distance:.6g} to the manifold of this partition, codimension {found.codimension}"
    )
    near = found.nearest
    if near is not None:
        u, v = map(shown, near.units)
        lines.append(
            f"{'nearest clone pair':20} {u} and {v}, at distance {near.distance:.6g} (weights {near.apart:.6g} apart)"
        )
    lines += _blocks("clones (this partition)", found.partition)
    lines += _blocks("equal forward values", found.forward_classes)
    lines += _blocks("clones that SGD keeps", found.trained_clones)
    lines += [f"{'frozen for ever':20} {shown(f.id)}: z in {enclosing(*f.interval)}" for f in found.frozen]
    if found.frozen:
        lines.append(f"{'':20} (under {FROZEN_UNDER}, for the inputs given, {_spoken(found.frozen[0].arithmetic)})")
    return lines


def _spoken(arithmetic: str) -> str:
    return "in exact arithmetic" if arithmetic == "exact" else f"in {arithmetic} with its rounding"


def _stays(found: Diagnosis) -> str:
    """The corrected theorem is a sufficient condition; within a tolerance it speaks of a manifold nearby."""
    if not found.trajectory_invariant:
        return "not guaranteed: a hypothesis fails"
    if not found.codimension:
        return "nothing to stay on: no block of several nodes, so the manifold is the whole space"
    if found.evidence == "exact":
        return "yes, for every data set and loss (in exact arithmetic)"
    return f"yes on the manifold at distance {found.distance:.3g} ({found.evidence}); off it, clones may drift apart"


def _blocks(title: str, blocks: Sequence[Sequence[object]]) -> list[str]:
    several = [block for block in blocks if len(block) > 1]
    return [f"{title}: {len(several)} blocks of several nodes"] + ["  " + listed(b) for b in several]


def _outcome(verdict: object) -> str:
    witness = getattr(verdict, "witness", None)
    if witness is None:
        return f"yes ({getattr(verdict, 'evidence', '')})"
    values = f": {', '.join(told_apart(witness.values))}" if witness.values else ""
    block = f" {listed(witness.block)}" if witness.block else ""
    return f"no: {witness.what}{block} at {', '.join(map(shown, witness.nodes))}{values}"


if __name__ == "__main__":
    run(main)
