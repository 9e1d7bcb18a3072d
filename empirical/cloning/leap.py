"""Why a clone with matched step sizes parts from its base in float32: step by step, the first ReLU that differs.

    python -m empirical.cloning.leap MODEL SEED      (a run of the preset laptop again, a step at a time)

Base and clone compute the same up to rounding. A pre-activation within rounding of 0 may have one sign in the base and
the other in its clones: their ReLU is then open here and closed there, and the gradients of this step differ by all of
that unit's share on that sample, not by a rounding error. The replay finds the first such step and, to tell cause from
company, makes it again with the clone's ReLUs opened as the base's were.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from empirical.cloning.base import Arrays, images_of, train
from empirical.cloning.metrics import function_gap
from empirical.cloning.options import CLONING, CloningRun
from empirical.cloning.simulation import Simulation
from lop_theory.cli import OK, Parser, run
from lop_theory.errors import InvalidInput

STEP_OF_ITS_OWN = 10
"""A leap: the outputs' difference grows by more than this factor in one step."""


class Leap(NamedTuple):
    """The first step in which a ReLU is open in base or clone alone: layers and samples of these pre-activations, the
    largest of their magnitudes in either network, the largest difference of any pre-activation in the batch; largest
    relative difference of outputs before the step, after it, and after it if the clone's ReLUs open as the base's."""

    step: int
    layers: tuple[int, ...]
    flipped: int
    magnitude: float
    rounding: float
    before: float
    after: float
    repaired: float

    @property
    def is_cause(self) -> bool:
        """Whether the leap comes with the flipped signs and not without."""
        return self.after > STEP_OF_ITS_OWN * self.before and self.repaired < STEP_OF_ITS_OWN * self.before

    def __str__(self) -> str:
        return (
            f"step {self.step}: {self.flipped} pre-activations of layers {self.layers} differ in sign, |z| at most "
            f"{self.magnitude:.1e} (largest difference of any in the batch {self.rounding:.1e}); outputs differ by "
            f"{self.before:.1e} before the step, {self.after:.1e} after it, {self.repaired:.1e} with the base's signs"
        )


class Signs:
    """The pre-activations of every ReLU in a network's last pass in training; opened as ``like`` says, if given."""

    def __init__(self, model: nn.Module, like: "Signs | None" = None, factor: int = 1) -> None:
        self.seen: list[Tensor] = []
        self._places = [module for module in model.modules() if isinstance(module, nn.ReLU)]
        self._like, self._factor = like, factor
        self._hooks = [
            module.register_forward_hook(lambda module, inputs, _, at=at: self._passed(at, module, inputs[0]))
            for at, module in enumerate(self._places)
        ]

    def _passed(self, at: int, module: nn.Module, z: Tensor) -> Tensor | None:
        if not module.training:
            return None
        self.seen[at:] = [z.detach()]
        if self._like is None:
            return None
        return z * (self._like.seen[at] > 0).repeat_interleave(self._factor, dim=1)

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()


def find_leap(run: CloningRun, until: int | None = None) -> Leap | None:
    """The first step side by side in which signs differ, or ``None`` in ``until`` steps (all of the run's).

    Raises ``InvalidInput`` for a run whose clone does not follow its base or that has no ReLU.
    """
    simulation = Simulation((run,))
    if not run.matched or not any(isinstance(m, nn.ReLU) for m in simulation.trainers["base"].models[0].modules()):
        raise InvalidInput("run", f"{run.model.name}, matched {run.matched}", "is none of matched step sizes with ReLU")
    simulation.advance()
    watched = [Signs(simulation.trainers[role].models[0]) for role in ("base", "clone")]
    for step in range(run.steps if until is None else until):
        saved, before = simulation.states(), _gap(simulation)
        _step(simulation)
        base, clone = (signs.seen for signs in watched)
        different = [_differing(z, w, run.factor) for z, w in zip(base, clone, strict=True)]
        if any(mask.any() for mask in different):
            after = _gap(simulation)
            for signs in watched:
                signs.remove()
            wide = [z.repeat_interleave(run.factor, dim=1) for z in base]
            shown = [torch.maximum(z.abs(), w.abs())[m] for z, w, m in zip(wide, clone, different, strict=True)]
            return Leap(
                step,
                tuple(k for k, mask in enumerate(different) if mask.any()),
                sum(int(mask.sum()) for mask in different),
                max(float(values.max()) for values in shown if len(values)),
                max(float((z - w).abs().max()) for z, w in zip(wide, clone, strict=True)),
                before,
                after,
                _repaired(simulation, saved[0]),
            )
    return None


def _differing(z: Tensor, w: Tensor, factor: int) -> Tensor:
    return (z.repeat_interleave(factor, dim=1) > 0) != (w > 0)


def _gap(simulation: Simulation) -> float:
    base, clone = (simulation.trainers[role].models[0] for role in ("base", "clone"))
    return function_gap(clone, base, images_of(simulation.runs, simulation.device).probe[0].images)


def _step(simulation: Simulation) -> None:
    train(simulation.runs, simulation.trainers, simulation.step, simulation.step + 1, simulation.device)
    simulation.step += 1


def _repaired(simulation: Simulation, before: Arrays) -> float:
    """The step again from where it began, the clone's ReLUs open where the base's are."""
    again = Simulation(simulation.runs, [before], simulation.step - 1)
    own = Signs(again.trainers["base"].models[0])
    Signs(again.trainers["clone"].models[0], like=own, factor=simulation.run.factor)
    _step(again)
    return _gap(again)


def main(arguments: list[str] | None = None) -> int:
    runs = {(r.model.name, str(r.seed)): r for r in CLONING["laptop"].runs() if r.matched}
    models, seeds = (tuple(dict.fromkeys(values)) for values in zip(*runs, strict=True))
    parser = Parser(prog="python -m empirical.cloning.leap", description="The step in which a matched clone parts.")
    parser.add_argument("model", metavar="MODEL", choices=models, help=f"one of: {' '.join(models)}")
    parser.add_argument("seed", metavar="SEED", choices=seeds, help=f"one of: {' '.join(seeds)}")
    options = parser.parse_args(arguments)
    print(find_leap(runs[options.model, options.seed]) or "no sign differs in any step")
    return OK


if __name__ == "__main__":
    run(main)
