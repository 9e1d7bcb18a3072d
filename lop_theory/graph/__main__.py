"""``python -m lop_theory.graph FILE``: which cloned and frozen manifolds a network lies on."""

import argparse
import json
from collections.abc import Sequence

from lop_theory.cli import NOT_CERTIFIED, OK, Parser, run
from lop_theory.errors import InvalidInput
from lop_theory.graph.closure import escapes
from lop_theory.graph.diagnose import Diagnosis, diagnose
from lop_theory.graph.io import read_network, read_partition
from lop_theory.graph.scalars import is_exact, rational, to_float

EPILOG = """\
FILE is JSON {"inputs": [id…], "outputs": [id…], "nodes": [{"id": …, "activation": "tanh", "bias": 0}…],
"edges": [[source, target, weight]…]} with weights as numbers or rational strings such as "1/4"; a GraphML file with
node attributes activation, bias, role and edge attribute weight; or the safetensors state of an MLP.
Integers and strings are exact; one decimal number makes the file approximate: sums are equal within the tolerance.

exit status: 0 done; 1 a partition was given and training can leave its manifold; 2 the input is unusable."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code (bad input raises ``InvalidInput``)."""
    options = _parser().parse_args(arguments)
    found = _run(options)
    print(json.dumps(found.to_json(), ensure_ascii=False) if options.json else _text(found))
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
    parser.add_argument("--tolerance", metavar="T", help="largest difference of equal sums (default: 0 or 1e-9)")
    parser.add_argument(
        "--inputs", nargs=2, metavar=("LOW", "HIGH"), help="range of the input values, for frozen units (default: all)"
    )
    parser.add_argument("--activation", default="relu", help="hidden activation of a safetensors MLP (default: relu)")
    return parser


def _run(options: argparse.Namespace) -> Diagnosis:
    network = read_network(options.file, options.activation)
    partition = read_partition(options.partition, network.dag) if options.partition else None
    default = 0.0 if is_exact(network.weight) else 1e-9
    tolerance = default if options.tolerance is None else to_float(rational(options.tolerance, "tolerance"))
    if tolerance < 0:
        raise InvalidInput("tolerance", tolerance, "must not be negative", "use 0 for exact sums")
    return diagnose(network, partition, tolerance=tolerance, input_range=options.inputs)


def _text(found: Diagnosis) -> str:
    checks = found.hypotheses._asdict()
    lines = [f"{name.replace('_', ' '):20} {_outcome(verdict)}" for name, verdict in checks.items()]
    lines.append(f"{'SGD stays':20} {'yes, for every data set and loss' if found.trajectory_invariant else 'no'}")
    if found.trajectory_invariant:
        leaving = escapes(block_constant=found.block_constant)
        lines += [f"{'leave, decay ' + decay:20} {names}" for decay, names in leaving.items()]
    lines.append(f"{'distance':20} {found.distance:.6g} to the manifold of this partition")
    if found.nearest is not None:
        u, v = found.nearest.units
        lines.append(f"{'nearest clone pair':20} {u} and {v}, at distance {found.nearest.distance:.6g}")
    lines += _blocks("clones (this partition)", found.partition)
    lines += _blocks("equal forward values", found.forward_classes)
    lines += _blocks("clones that SGD keeps", found.trained_clones)
    lines += [f"frozen for ever      {f.id}: z in [{_end(f.interval[0])}, {_end(f.interval[1])}]" for f in found.frozen]
    return "\n".join(lines)


def _blocks(title: str, blocks: Sequence[Sequence[object]]) -> list[str]:
    several = [block for block in blocks if len(block) > 1]
    return [f"{title}: {len(several)} blocks of several nodes"] + ["  " + " ".join(map(str, b)) for b in several]


def _outcome(verdict: object) -> str:
    witness = getattr(verdict, "witness", None)
    if witness is None:
        return f"yes ({getattr(verdict, 'evidence', '')})"
    values = f": {', '.join(map(str, witness.values))}" if witness.values else ""
    block = f" {' '.join(map(str, witness.block))}" if witness.block else ""
    return f"no: {witness.what}{block} at {', '.join(map(str, witness.nodes))}{values}"


def _end(end: object) -> str:
    return str(end)


if __name__ == "__main__":
    run(main)
