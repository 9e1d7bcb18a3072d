"""ReDo: reset dormant units (Sokar et al. 2023, Algorithm 1)."""

from lop_theory.optim.companion import State
from lop_theory.optim.dormancy import DormancyReset, places


class ReDo(DormancyReset):
    """Every ``period`` steps, units with mean|h_i| / (mean over the layer) ≤ τ (Eq. 1 of arXiv 2302.12902) get fresh
    incoming and zero outgoing weights, and the optimiser forgets them. τ is 0.025 by default.

    Means are over the training passes of that step. Nothing takes over what the units gave (as in the published code):
    a dormant unit gives little, a dead one nothing. Where a new unit feeds another, the weight between them is fresh.
    """

    watched = ("size",)
    default_tau = 0.025

    def watch(self) -> None:
        super().watch()
        self._wake()

    def _wake(self) -> None:
        """Watch only the passes of the step that is due."""
        for (watch,) in self.watches:
            watch.active = self.due

    def act(self) -> list[list[int]]:
        found = self._reset() if self.due else [[] for _ in self.layers]
        self.steps += 1
        self._wake()
        return found

    def _reset(self) -> list[list[int]]:
        self.summed()
        sizes = [watch.by_unit(watch.mean("size")) for (watch,) in self.watches]
        seen = [watch.count > 0 for (watch,) in self.watches]
        found = self.reset([places(self.small(size) & met) for size, met in zip(sizes, seen, strict=True)])
        self.clear()
        return found

    def load_method_state(self, state: State) -> None:
        super().load_method_state(state)
        self._wake()
