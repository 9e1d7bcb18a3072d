"""What a check of the theory on a trained network says, and how a run records many of them."""

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

Prediction = Literal["rank-gain", "clone-distance", "frozen", "clone-equals-base"]
Verdict = Literal["pass", "fail", "out of hypothesis"]
SHORT: dict[Verdict, str] = {"pass": "pass", "fail": "fail", "out of hypothesis": "out"}


class Check(NamedTuple):
    """One prediction on one layer: what was measured, the bound that the theory gives for it, and why the verdict.

    ``measured`` and ``bound`` are NaN where a failed hypothesis leaves nothing to compare.
    """

    prediction: Prediction
    layer: str
    verdict: Verdict
    measured: float
    bound: float
    reason: str


def judged(*, hypothesis: str, holds: bool) -> Verdict:
    """``hypothesis`` names what is not met, or is empty."""
    return "out of hypothesis" if hypothesis else "pass" if holds else "fail"


def counts(checks: Iterable[Check]) -> dict[str, int]:
    """Columns of a row: ``theory_pass``, ``theory_fail``, ``theory_out``, and the same per prediction
    (``theory_rank_gain_pass``, …)."""
    found = {f"theory_{short}": 0 for short in SHORT.values()}
    found |= {_column(name, verdict): 0 for name in get_args(Prediction) for verdict in SHORT}
    for check in checks:
        found[f"theory_{SHORT[check.verdict]}"] += 1
        found[_column(check.prediction, check.verdict)] += 1
    return found


def _column(prediction: Prediction, verdict: Verdict) -> str:
    return f"theory_{prediction.replace('-', '_')}_{SHORT[verdict]}"
