"""What a user can set of the persistence experiment.

Arms: *copies* begins on the manifold, clones equal bit by bit; *redistributed* begins on it, too, but for rounding,
with clones that are no copies; *beside* begins at a small distance; *noise*, the control, is copies under gradient
noise, which the theory does not keep on the manifold: the bound must fail.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

from empirical.runs.checks import check_choice, check_choices, check_counts, check_given
from empirical.runs.execution import Execution
from empirical.training.options import DataOptions, check_data
from lop_theory.errors import InvalidInput

Preset = Literal["smoke", "laptop"]
Arm = Literal["copies", "redistributed", "beside", "noise"]
Arithmetic = Literal["float64", "float32", "bfloat16"]


@dataclass(frozen=True)
class PersistenceRun:
    """One run: all that determines its result. Its hash is the run's id."""

    seed: int
    arm: Arm
    arithmetic: Arithmetic
    data: DataOptions
    width: int
    factor: int
    tasks: int
    classes_per_task: int
    steps: int
    step_size: float
    start: float
    sigma: float
    every: int
    products: int
    experiment: str = "persistence"
    protocol: int = 1

    @property
    def length(self) -> int:
        """Steps of the run."""
        return self.tasks * self.steps


@dataclass(frozen=True)
class Persistence:
    """Persistence: a network of clones trains on task after task; does it stay on the manifold on which they are
    clones, and does its distance keep within the bound of the theory? Float64, float32 and bfloat16.

    Every arm is combined with every arithmetic and seed. Finished runs are skipped, interrupted ones go on.
    """

    preset: Preset = "smoke"
    """Sizes: smoke (seconds), laptop (minutes)."""
    seeds: tuple[int, ...] = (40,)
    """Seeds; each fixes the network, the tasks and the perturbations."""
    arms: tuple[Arm, ...] = get_args(Arm)
    """copies: on the manifold, equal bit by bit; redistributed: on it but for rounding; beside: at a small distance;
    noise: the control, copies under gradient noise (not in bfloat16, whose rounding is larger)."""
    arithmetics: tuple[Arithmetic, ...] = get_args(Arithmetic)
    """In which weights are kept and steps are computed."""
    side: int = 8
    """Pixels on a side (permuted glyphs)."""
    per_class: int = 20
    """Images of a class; every step takes all of them."""
    width: int = 6
    """Units of each of two hidden layers, before they are cloned."""
    factor: int = 2
    """Clones of every unit."""
    tasks: int = 6
    classes_per_task: int = 5
    steps: int = 100
    """Steps a task."""
    step_size: float = 0.1
    """Of gradient descent."""
    start: float = 1e-4
    """beside: the distance at first, in units of the norm of the weights."""
    sigma: float = 1e-2
    """noise: deviation of the noise on every gradient, in units of the gradient's root mean square."""
    every: int = 10
    """Steps between two measurements of the curvatures; it must divide the steps."""
    products: int = 12
    """Hessian products a measurement."""
    execution: Execution = Execution()

    def __post_init__(self) -> None:
        check_choice("preset", self.preset, get_args(Preset))
        check_given(self, "seeds", "arms", "arithmetics")
        check_choices(self, {"arms": get_args(Arm), "arithmetics": get_args(Arithmetic)})
        check_counts(self, "width", "tasks", "classes_per_task", "steps", "every", "products")
        if self.steps % self.every:
            raise InvalidInput("every", self.every, f"does not divide the {self.steps} steps of a task")
        if self.factor < 2:
            raise InvalidInput("factor", self.factor, "must be at least 2")
        for name in ("step_size", "start", "sigma"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InvalidInput(name, getattr(self, name), "must be positive and finite")
        check_data(self.data)

    @property
    def data(self) -> DataOptions:
        return DataOptions("glyphs", self.side, True, self.per_class, self.per_class)

    def runs(self) -> list[PersistenceRun]:
        """Every run; those that differ in the seed only stand together."""
        names = ("width", "factor", "tasks", "classes_per_task", "steps", "step_size", "start", "sigma", "every")
        shared: dict[str, Any] = {name: getattr(self, name) for name in (*names, "products", "data")}
        return [
            PersistenceRun(seed=seed, arm=arm, arithmetic=arithmetic, **shared)
            for arm, arithmetic in product(dict.fromkeys(self.arms), dict.fromkeys(self.arithmetics))
            if (arm, arithmetic) != ("noise", "bfloat16")
            for seed in dict.fromkeys(self.seeds)
        ]


class Setting(NamedTuple):
    """One configuration, all seeds."""

    arm: Arm
    arithmetic: Arithmetic


def setting(config: Mapping[str, Any]) -> Setting:
    """The setting of a run's configuration, as its manifest has it."""
    return Setting(config["arm"], config["arithmetic"])


PERSISTENCE: dict[str, Persistence] = {
    "smoke": Persistence(tasks=2, steps=20, per_class=4),
    "laptop": Persistence(preset="laptop", seeds=(40, 41, 42, 43, 44)),
}
"""The presets by name."""
