"""Bit-flipping as a run: begin, advance to the next measurement, measure. The harness (runs/) does the rest."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from empirical.bitflip import layer
from empirical.bitflip.backprop import Rule, Tracked
from empirical.bitflip.online import Learner, advance, fresh_learner
from empirical.bitflip.options import DROPPED_SHARE, BitflipRun
from empirical.bitflip.stream import Stream, bitflip_stream, stream_inputs, task_inputs
from empirical.bitflip.units import ACTIVATIONS, kaiming_bound
from empirical.runs.run import Advance, Experiment
from empirical.runs.store import Row

COLUMNS = {
    "step": "int64",
    "error": "float32",
    "replaced": "int32",
    "weight_norm": "float32",
    "frozen_certified": "float32",
    **{
        f"{probe}_{name}": "float32"
        for probe in ("stream", "task")
        for name in (
            "dead",
            "duplicate_before",
            "duplicate",
            "duplicate_before_as_coded",
            "duplicate_as_coded",
            "effective_rank_before",
            "effective_rank",
            "stable_rank",
            "participation_ratio",
        )
    },
}
"""Columns of a record. ``stream_…`` metrics are of the fixed batch from the whole stream (the authors' choice),
``task_…`` of every input of the present task once (exact, for the inputs are equally likely); ``…_before`` is before
the activation. ``error`` is the mean squared error of the bin that ends at ``step``, ``replaced`` the units replaced
since the row with metrics before."""


def state(learner: Learner) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint."""
    tracked = {f"tracked_{name}": array for name, array in learner.tracked._asdict().items()}
    return {**{k: v for k, v in learner._asdict().items() if k != "tracked"}, **tracked}


def learner_from(arrays: dict[str, np.ndarray]) -> Learner:
    """The learner of a checkpoint."""
    own = {k: v for k, v in arrays.items() if not k.startswith("tracked_")}
    return Learner(**own, tracked=Tracked(**{k: arrays[f"tracked_{k}"] for k in Tracked._fields}))


class Simulation:
    """A group of one run in memory; :meth:`advance` goes to the next measurement."""

    def __init__(self, run: BitflipRun, arrays: dict[str, np.ndarray] | None = None, step: int = 0) -> None:
        self.run, self.step = run, step
        self.source = source(run)
        self.rule = rule(run)
        self.probe = stream_inputs(self.source, run.samples, run.probe)
        self.learner = (
            learner_from(arrays) if arrays else fresh_learner(run.seed, run.stream.bits + 1, run.width, self.rule.bound)
        )

    def states(self) -> list[dict[str, np.ndarray]]:
        return [state(self.learner)]

    def first_rows(self) -> list[list[Row]]:
        """The row at step 0: metrics of the untrained learner."""
        return [[{"step": 0, "replaced": 0, **self.metrics()}]]

    def advance(self) -> list[Advance]:
        """Train up to the next measurement, or to an error that is not finite."""
        rows, cause = self._advance()
        return [Advance(rows, f"{cause} (step size {self.run.learner.step_size})" if cause else None)]

    def _advance(self) -> Advance:
        run, start = self.run, self.step
        stop = min(start + run.measure_every, run.samples)
        errors = np.zeros((stop - start) // run.bin)
        self.step, replaced = advance(
            self.learner, self.rule, self.source, (start, stop, run.bin), errors, np.empty((0, 2), np.int64)
        )
        done = (self.step - start) // run.bin
        rows: list[Row] = [{"step": start + (k + 1) * run.bin, "error": errors[k] / run.bin} for k in range(done)]
        if self.step < stop:
            return Advance(rows, f"the error of sample {self.step} is not finite")
        if not np.isfinite(self.learner.weights).all():
            return Advance(rows, f"a weight is not finite after sample {self.step - 1}")
        rows[-1].update(replaced=replaced, **self.metrics())
        return Advance(rows)

    def metrics(self) -> dict[str, float]:
        """Metrics of the present weights. Nothing of the run is touched."""
        rows, _ = layers(self.learner)
        found = {
            "weight_norm": float(np.linalg.norm(self.learner.weights)),
            "frozen_certified": float(certified_frozen(rows, self.run.learner.activation).mean()),
        }
        now = max(self.step - 1, 0)
        for name, inputs in (("stream", self.probe), ("task", task_inputs(self.source, now))):
            found |= {f"{name}_{k}": v for k, v in layer_metrics_of(rows, inputs, self.rule.activation).items()}
        return found


def begin(configs: Sequence[BitflipRun], arrays: list[dict[str, np.ndarray]] | None, step: int) -> Simulation:
    """The simulation of a group, which is one run: the engine is compiled for one learner."""
    (run,) = configs
    return Simulation(run, arrays[0] if arrays else None, step)


def label(run: BitflipRun) -> str:
    """The run on the screen."""
    return f"width {run.width} {run.method} seed {run.seed}"


EXPERIMENT = Experiment("bitflip", COLUMNS, begin, label=label)


def source(run: BitflipRun) -> Stream:
    """The run's stream."""
    options = asdict(run.stream)
    return bitflip_stream(run.seed, units=options.pop("target_units"), **options)


def rule(run: BitflipRun) -> Rule:
    """How the run trains."""
    learner, cbp = run.learner, run.cbp
    return Rule(
        activation=ACTIVATIONS.index(learner.activation),
        adam=learner.optimiser == "adam",
        step_size=learner.step_size,
        start=run.cbp_start,
        adaptable=cbp.utility == "adaptable",
        rate=cbp.replacement_rate,
        decay=cbp.decay,
        maturity=cbp.maturity,
        accumulate=cbp.fraction == "accumulate",
        bound=kaiming_bound(learner.activation, run.stream.bits + 1),
        dropout=DROPPED_SHARE if run.method == "dropout" else 0.0,
    )


def layers(learner: Learner) -> tuple[np.ndarray, float]:
    """Rows (inputs, bias, outgoing) × hidden, and the output bias."""
    return learner.weights[:-1].reshape(-1, learner.tracked.age.size), float(learner.weights[-1])


def certified_frozen(rows: np.ndarray, activation: str) -> np.ndarray:
    """ReLU units that no input of bits can switch on, b + w_bias + Σ max(w, 0) ≤ 0: their gradient is 0 for ever
    (mask)."""
    if activation != "relu":
        return np.zeros(rows.shape[1], dtype=bool)
    return rows[-2] + rows[-3] + np.maximum(rows[:-3], 0.0).sum(0) <= 0.0


def layer_metrics_of(rows: np.ndarray, inputs: np.ndarray, activation: int) -> dict[str, float]:
    """Metrics of the hidden layer on ``inputs``, before and after the activation."""
    return dict(zip(layer.NAMES, layer.numbers(rows[:-2], rows[-2], inputs, activation).tolist(), strict=True))
