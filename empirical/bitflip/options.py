"""What a user can set, as frozen dataclasses: presets are values of the same class, never different code.

Every field is documented where it stands; ``--help`` shows these texts with the values of the preset that was named.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from empirical.runs.checks import check_choices, check_counts, check_given
from empirical.runs.execution import Execution
from lop_theory.errors import InvalidInput

Preset = Literal["smoke", "laptop", "paper"]
Method = Literal["sgd", "cbp", "switch", "dropout"]
ActivationName = Literal["relu", "tanh", "sigmoid", "elu", "leaky_relu"]
MOST_DRAWN_BITS = 12
DROPPED_SHARE = 0.1
"""Of the method dropout: the authors' share."""
_SHARED = ("samples", "stream", "learner", "cbp", "bin", "measure_every", "probe")


@dataclass(frozen=True)
class StreamOptions:
    """The bit-flipping stream and its target network."""

    bits: int = 20
    """Input bits m, without the constant bias bit."""
    flipping: int = 15
    """Of these, bits that are held during a task; one flips between tasks."""
    flip_every: int = 10_000
    """Steps of a task, T."""
    target_units: int = 100
    """Linear threshold units of the target network."""
    beta: float = 0.7
    """Threshold β: a target unit fires when about this share of the inputs agree with its weights."""


@dataclass(frozen=True)
class LearnerOptions:
    """The learner and its optimiser."""

    activation: ActivationName = "relu"
    """Activation of the hidden layer."""
    optimiser: Literal["sgd", "adam"] = "sgd"
    """Update rule below CBP; Adam with betas (0.9, 0.999) and epsilon 1e-8."""
    step_size: float = 0.01
    """Learning rate."""


@dataclass(frozen=True)
class CbpOptions:
    """Continual backprop; the defaults are those of lop_theory.optim (a test compares them)."""

    replacement_rate: float = 1e-4
    """Expected share of the mature units replaced a step."""
    decay: float = 0.99
    """Decay of the running means."""
    maturity: int = 100
    """Steps that a unit must have lived through before it can be replaced."""
    utility: Literal["adaptable", "contribution"] = "adaptable"
    """|h − mean|·|w_out| / mean|w_in|, or |h|·|w_out|."""
    fraction: Literal["accumulate", "draw"] = "accumulate"
    """What becomes of a fraction of a replacement: carried over, or drawn at random."""


@dataclass(frozen=True)
class BitflipRun:
    """One run: all that determines its result. Its hash is the run's id."""

    seed: int
    width: int
    method: Method
    samples: int
    stream: StreamOptions
    learner: LearnerOptions
    cbp: CbpOptions
    bin: int
    measure_every: int
    probe: int
    experiment: str = "bitflip"
    protocol: int = 1

    @property
    def length(self) -> int:
        """Steps of the run."""
        return self.samples

    @property
    def cbp_start(self) -> int:
        """The first step under CBP; ``samples`` if there is none."""
        return {"cbp": 0, "switch": self.samples // 2}.get(self.method, self.samples)


@dataclass(frozen=True)
class Bitflip:
    """Bit-flipping: online regression whose target drifts; SGD loses plasticity, continual backprop (CBP) keeps or
    restores it.

    Every combination of seed, width and method is a run of its own. Finished runs are skipped, interrupted ones go on.
    """

    preset: Preset = "smoke"
    """Sizes: smoke (seconds), laptop (a minute or two), paper (5,000,000 samples, 4 widths, 10 seeds)."""
    seeds: tuple[int, ...] = (0, 1)
    """Seeds; each fixes a target network, a stream and a learner."""
    width: tuple[int, ...] = (5, 50)
    """Hidden units of the learner."""
    method: tuple[Method, ...] = ("sgd", "cbp", "switch")
    """Plain training (sgd), CBP from the start, CBP from half-way on, or plain training that drops a tenth of the
    hidden units at every step (errors are those of the whole network)."""
    samples: int = 200_000
    """Samples of the stream, each seen once."""
    stream: StreamOptions = StreamOptions(flip_every=1_000)
    learner: LearnerOptions = LearnerOptions()
    cbp: CbpOptions = CbpOptions()
    bin: int = 1_000
    """Squared errors are averaged over this many samples."""
    measure_every: int = 10_000
    """Samples between two measurements (and checkpoints)."""
    probe: int = 2_000
    """Inputs of the fixed batch for metrics, drawn from the whole stream."""
    execution: Execution = Execution()

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_sizes(self)
        _check_stream(self.stream)
        _check_rates(self.learner, self.cbp)
        if self.execution.on_gpu:
            raise InvalidInput("device", self.execution.device, "is of no use here", "bit-flipping runs on the CPU")

    def runs(self) -> list[BitflipRun]:
        """Every run, small ones first."""
        shared = {name: getattr(self, name) for name in _SHARED}
        return [
            BitflipRun(seed=seed, width=width, method=method, protocol=self._protocol(method), **shared)
            for width in sorted(set(self.width))
            for method in dict.fromkeys(self.method)
            for seed in dict.fromkeys(self.seeds)
        ]

    def _protocol(self, method: Method) -> int:
        """2 since a replaced weight has a step count of its own in Adam."""
        return 2 if self.learner.optimiser == "adam" and method in ("cbp", "switch") else 1


def _check_choices(options: Bitflip) -> None:
    check_given(options, "seeds", "width", "method")
    check_choices(options, {"method": get_args(Method)})
    if min(options.width) < 1:
        raise InvalidInput("width", options.width, "must be at least 1")


def _check_sizes(options: Bitflip) -> None:
    check_counts(options, "samples", "bin", "measure_every", "probe")
    if options.measure_every % options.bin:
        raise InvalidInput("measure_every", options.measure_every, f"must be a multiple of the bin, {options.bin}")
    if options.samples % (2 * options.bin):
        raise InvalidInput("samples", options.samples, f"must be a multiple of twice the bin, {2 * options.bin}")


def _check_stream(stream: StreamOptions) -> None:
    if not 1 <= stream.flipping <= stream.bits <= 60:
        raise InvalidInput("flipping, bits", (stream.flipping, stream.bits), "must satisfy 1 ≤ flipping ≤ bits ≤ 60")
    if stream.bits - stream.flipping > MOST_DRAWN_BITS:
        raise InvalidInput(
            "bits", stream.bits, f"leaves more than {MOST_DRAWN_BITS} bits drawn at each step", "raise --flipping"
        )
    if stream.flip_every < 1 or stream.target_units < 1:
        raise InvalidInput("flip_every, target_units", (stream.flip_every, stream.target_units), "must be at least 1")
    if not 0 <= stream.beta <= 1:
        raise InvalidInput("beta", stream.beta, "must lie in [0, 1]")


def _check_rates(learner: LearnerOptions, cbp: CbpOptions) -> None:
    if not 0 < learner.step_size < float("inf"):
        raise InvalidInput("step_size", learner.step_size, "must be positive and finite")
    if not 0 <= cbp.replacement_rate <= 1 or not 0 <= cbp.decay < 1:
        raise InvalidInput(
            "replacement_rate, decay", (cbp.replacement_rate, cbp.decay), "must lie in [0, 1] and in [0, 1)"
        )
    if cbp.maturity < 0:
        raise InvalidInput("maturity", cbp.maturity, "must not be negative")


_FULL = {"width": (5, 10, 50, 100), "stream": StreamOptions(), "measure_every": 50_000}
BITFLIP: dict[str, Bitflip] = {
    "smoke": Bitflip(),
    "laptop": Bitflip(preset="laptop", seeds=(0, 1, 2), samples=1_000_000, **_FULL),
    "paper": Bitflip(preset="paper", seeds=tuple(range(10)), method=get_args(Method), samples=5_000_000, **_FULL),
}
"""The presets by name."""
