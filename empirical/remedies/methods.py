"""What each remedy is in training: its optimiser, its penalty, what it does at the start of a task."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from empirical.remedies.options import Name, RemedyRun
from lop_theory.optim import (
    CCBP,
    SNR,
    UPGD,
    ContinualBackprop,
    L2Init,
    NoisySGD,
    Project,
    ReDo,
    ReGraMa,
    Wrapping,
    dash,
    fire,
    parseval,
    shrink_and_perturb,
    spectral,
)
from lop_theory.optim.continual_backprop import Settings
from lop_theory.optim.partial_resets import Softness
from lop_theory.optim.snr import Silence

PERIOD = 50
"""Steps between two looks of a companion that has a period."""
UPDATE = 120
"""Steps between two new thresholds of SNR."""
UPGD_NOISE, UPGD_DECAY = 1e-3, 0.999
PERTURB = 0.1
Make = Callable[[nn.Sequential, RemedyRun, Tensor], Optimizer]
Batches = Sequence[tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]


class GradientNoise(Wrapping):
    """Gaussian noise of deviation σ‖g‖ on every element of a gradient, before the inner optimiser reads it."""

    def __init__(self, optimiser: Optimizer, sigma: float, seed: int) -> None:
        super().__init__(optimiser)
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        self.noise = NoisySGD(parameters, sigma=sigma, seed=seed)

    def graded(self) -> None:
        self.noise.add_noise()

    def companion_state(self) -> dict[str, Any]:
        return {"noise": self.noise.state_dict()}

    def load_companion_state(self, state: Any) -> None:
        self.noise.load_state_dict(state["noise"])


def hidden(model: nn.Sequential) -> list[nn.Linear]:
    """The linear layers but the classifier, which is zero at a task's start."""
    return [m for m in model if isinstance(m, nn.Linear)][:-1]


def optimiser(model: nn.Sequential, run: RemedyRun, example: Tensor) -> Optimizer:
    """Adam, with what the remedy adds; UPGD is an optimiser of its own."""
    make = OPTIMISERS.get(run.remedy)
    return _adam(model, run) if make is None else make(model, run, example)


def _adam(model: nn.Module, run: RemedyRun) -> Adam:
    return Adam(model.parameters(), lr=run.step_size, fused=True)


def _upgd(model: nn.Module, run: RemedyRun, _: Tensor) -> Optimizer:
    return UPGD(model.parameters(), run.strength, beta_utility=UPGD_DECAY, sigma=UPGD_NOISE, seed=run.seed)


def _snr(model: nn.Module, run: RemedyRun, x: Tensor) -> Optimizer:
    silence = Silence(percentile=run.strength, update=UPDATE, grow=True)  # a batch of 32 is too small to judge by one
    return SNR(_adam(model, run), model, example_input=x, silence=silence, seed=run.seed)


def _cbp(model: nn.Module, run: RemedyRun, x: Tensor) -> Optimizer:
    settings = Settings(rate=run.strength, seed=run.seed)
    return ContinualBackprop(_adam(model, run), model, example_input=x, settings=settings)


def _ccbp(model: nn.Module, run: RemedyRun, x: Tensor) -> Optimizer:
    softness = Softness(rate=run.strength)
    return CCBP(_adam(model, run), model, example_input=x, softness=softness, period=PERIOD, seed=run.seed)


def _by_dormancy(kind: type[ReDo] | type[ReGraMa]) -> Make:
    return lambda model, run, x: kind(
        _adam(model, run), model, example_input=x, tau=run.strength, period=PERIOD, seed=run.seed
    )


OPTIMISERS: dict[Name, Make] = {
    "lazy": lambda model, run, _: Adam(model.parameters(), lr=run.step_size / run.strength, fused=True),
    "weight_decay": lambda model, run, _: AdamW(
        model.parameters(), lr=run.step_size, weight_decay=run.strength, fused=True
    ),
    "gradient_noise": lambda model, run, _: GradientNoise(_adam(model, run), run.strength, run.seed),
    "l2_init": lambda model, run, _: L2Init(_adam(model, run), strength=run.strength),
    "project": lambda model, run, _: Project(_adam(model, run), model[:-1]),
    "upgd": _upgd,
    "cbp": _cbp,
    "ccbp": _ccbp,
    "redo": _by_dormancy(ReDo),
    "regrama": _by_dormancy(ReGraMa),
    "snr": _snr,
}
PENALTIES: dict[Name, Callable[[list[Tensor]], Tensor]] = {"parseval": parseval, "spectral": spectral}
"""Of the hidden weights; the strength multiplies them."""


def penalty(model: nn.Sequential, run: RemedyRun) -> Tensor | float:
    """What the remedy adds to the loss."""
    if run.remedy not in PENALTIES:
        return 0.0
    return run.strength * PENALTIES[run.remedy]([layer.weight for layer in hidden(model)])


def at_start(
    model: nn.Sequential, inner: Optimizer, run: RemedyRun, fresh: Callable[[], nn.Module], seen: tuple[Batches, Loss]
) -> None:
    """What the remedy does before a task other than the first; ``fresh`` makes a new network, ``seen`` are batches of
    the task and its loss. An optimiser forgets what is changed all at once."""
    match run.remedy:
        case "shrink_perturb":
            shrink_and_perturb(model, fresh, shrink=run.strength, perturb=PERTURB, optimiser=inner)
        case "dash":
            dash(model, *seen, floor=run.strength)
            inner.state.clear()
        case "fire":
            names = [name for name, m in model.named_children() if any(m is layer for layer in hidden(model))]
            fire(model, only=names)
            inner.state.clear()
        case _:
            pass
