"""What a network's clones and frozen units are, as data: the answer behind ``python -m lop_theory.graph``."""

from collections.abc import Hashable
from typing import Any, NamedTuple

from lop_theory.errors import InvalidInput
from lop_theory.graph import dense
from lop_theory.graph.certificate import Frozen, arithmetic_of, frozen_among, frozen_units, units_of_layers
from lop_theory.graph.cloning import Hypotheses, hypotheses
from lop_theory.graph.dag import Network, exact_network
from lop_theory.graph.dense import Mlp, coarsest
from lop_theory.graph.dimensions import codimension
from lop_theory.graph.equitable import Witness, block_constant
from lop_theory.graph.io import as_json_number
from lop_theory.graph.manifold import distance
from lop_theory.graph.names import shown
from lop_theory.graph.nearest import NearestPair, nearest_pair
from lop_theory.graph.partition import Partition, block_ids, block_names
from lop_theory.graph.progress import Say, silent
from lop_theory.graph.refinement import refine
from lop_theory.verdict import Fails, Holds

FROZEN_UNDER = "SGD without momentum or decay"
MAX_PAIR_SEARCH = 5000  # nodes up to which all pairs of units are compared


class Diagnosis(NamedTuple):
    """Verdicts on one partition, computed (coarsest doubly equitable) or given."""

    partition: list[list[Hashable]]
    forward_classes: list[list[Hashable]]
    trained_clones: list[list[Hashable]]
    hypotheses: Hypotheses
    frozen: tuple[Frozen, ...]
    distance: float
    codimension: int
    nearest: NearestPair | None
    block_constant: bool
    evidence: str

    @property
    def witness(self) -> Witness | None:
        """The first hypothesis that fails, as nodes and sums."""
        return next((v.witness for v in self.hypotheses if isinstance(v, Fails)), None)

    @property
    def trajectory_invariant(self) -> bool:
        return self.witness is None

    def to_json(self) -> dict[str, Any]:
        found = self.hypotheses
        return {
            "in_equitable": bool(found.in_equitable),
            "out_equitable": bool(found.out_equitable),
            "biregular_support": bool(found.biregular_support),
            "quotient_acyclic": bool(found.quotient_acyclic),
            "trajectory_invariant": self.trajectory_invariant,
            "partition": self.partition,
            "forward_classes": self.forward_classes,
            "frozen": [_frozen_json(f) for f in self.frozen],
            "codimension": self.codimension,
            "distance": as_json_number(self.distance),
            "witness": None if self.witness is None else _witness_json(self.witness),
            "equal_biases": bool(found.equal_biases),
            "singleton_ends": bool(found.singleton_ends),
            "trained_clones": self.trained_clones,
            "nearest": None if self.nearest is None else _nearest_json(self.nearest),
            "evidence": self.evidence,
        }


def diagnose(
    network: Network,
    partition: Partition | None = None,
    *,
    tolerance: float = 0.0,
    input_range: tuple[object, object] | None = None,
    arithmetic: str | None = None,
    say: Say = silent,
) -> Diagnosis:
    """Clones, frozen units and verdicts. Raises ``InvalidInput`` if a given block mixes activations.

    With tolerance 0 float weights are read as the dyadic rationals they are, so that sums do not depend on their order.
    ``arithmetic`` is what certificates of frozen units speak of (``certificate``): exact, for floats float64.
    """
    spoken = arithmetic_of(network.bias, arithmetic)
    if tolerance == 0:
        network = exact_network(network)
    dag = network.dag
    say(f"looking for clones among {dag.nodes:,} nodes and {dag.edges:,} edges")
    chosen = refine(network, tolerance=tolerance) if partition is None else partition
    say("checking the hypotheses")
    found = hypotheses(network, chosen, tolerance)
    _require_equal_activations(found)
    say("looking for clones of the forward pass and those that training keeps")
    classes = refine(network, mode="in", tolerance=tolerance)
    settled = partition is None and bool(found.biregular_support)  # then asking for the support splits nothing
    kept = chosen if settled else refine(network, support=True, tolerance=tolerance)
    say("certifying frozen units")
    frozen = frozen_units(network, input_range, spoken)
    say("measuring distances")
    return Diagnosis(
        partition=block_ids(dag, chosen),
        forward_classes=block_ids(dag, classes),
        trained_clones=block_ids(dag, kept),
        hypotheses=found,
        frozen=frozen,
        distance=distance(network, chosen, "both"),
        codimension=codimension(dag, chosen, "both"),
        nearest=nearest_pair(network) if dag.nodes <= MAX_PAIR_SEARCH else None,
        block_constant=bool(block_constant(network, chosen, tolerance)),
        evidence="exact" if tolerance == 0 else f"tested within {tolerance:g} of the sums' size",
    )


def diagnose_layers(
    mlp: Mlp,
    *,
    tolerance: float,
    input_range: tuple[object, object] | None = None,
    arithmetic: str | None = None,
    say: Say = silent,
) -> Diagnosis | None:
    """The same for the coarsest partition of dense layers, as arrays; ``None`` if only the graph can decide
    (``dense``). The nearest pair is not looked for.

    The hypotheses hold by construction: refinement ends when all sums of a block agree, blocks lie in one layer, and
    between two layers all edges exist. ``tolerance`` is positive.
    """
    spoken, names = arithmetic_of(mlp.bias, arithmetic), mlp.names
    say(f"looking for clones among {len(names):,} nodes and {mlp.edges:,} edges")
    chosen, classes = coarsest(mlp, tolerance), coarsest(mlp, tolerance, "in")
    if chosen is None or classes is None:
        return None
    say("certifying frozen units")
    frozen = frozen_among(units_of_layers(mlp), input_range, spoken)
    say("measuring distances")
    by_name, evidence = block_names(names, chosen), f"tested within {tolerance:g} of the sums' size"
    exact, tested = Holds("exact"), Holds(evidence)
    return Diagnosis(
        partition=by_name,
        forward_classes=block_names(names, classes),
        trained_clones=by_name,
        hypotheses=Hypotheses(exact, exact, tested, tested, tested, exact, exact),
        frozen=frozen,
        distance=dense.distance(mlp, chosen),
        codimension=dense.codimension(mlp, chosen),
        nearest=None,
        block_constant=dense.block_constant(mlp, chosen, tolerance),
        evidence=evidence,
    )


def _require_equal_activations(found: Hypotheses) -> None:
    if isinstance(found.equal_activations, Fails):
        witness: Witness = found.equal_activations.witness
        pair = " and ".join(map(shown, witness.nodes))
        kinds = " and ".join(map(str, witness.values))
        raise InvalidInput("partition", pair, f"have the activations {kinds} in one block", "put them in two blocks")


def _frozen_json(frozen: Frozen) -> dict[str, Any]:
    ends = {"interval": frozen.interval, "flat_region": frozen.flat_region}
    return {
        "id": frozen.id,
        "under": FROZEN_UNDER,
        "arithmetic": frozen.arithmetic,
        **{key: [as_json_number(end) for end in pair] for key, pair in ends.items()},
    }


def _nearest_json(nearest: NearestPair) -> dict[str, Any]:
    sizes = {"distance": as_json_number(nearest.distance), "apart": as_json_number(nearest.apart)}
    return {"units": list(nearest.units), **sizes}


def _witness_json(witness: Witness) -> dict[str, Any]:
    return {
        "what": witness.what,
        "nodes": list(witness.nodes),
        "sums": [_plain(value) for value in witness.values],
        "block": list(witness.block),
    }


def _plain(value: object) -> object:
    return value if isinstance(value, str) else as_json_number(value)
