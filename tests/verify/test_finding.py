"""What findings add up to: nothing is a pass by default."""

import pytest

from lop_theory.verify.finding import Finding, recomputed_verdict


def findings(text: str) -> list[Finding]:
    """``p+ c-`` stands for: the paper's statement held, the corrected one failed; ``?`` is undecided."""
    holds = {"+": True, "-": False, "?": None}
    return [Finding("paper" if t[0] == "p" else "corrected", holds[t[1]], "tested", t) for t in text.split()]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("", None),
        ("p+", "holds"),
        ("p+ p+", "holds"),
        ("c+", "holds"),
        ("p?", "undecided"),
        ("p+ p?", "undecided"),
        ("p-", "false"),
        ("p+ p-", "false"),
        ("p- c+", "corrected"),
        ("p- c+ c?", "undecided"),
        ("p- p? c+", "undecided"),
        ("p- c-", "undecided"),
        ("p+ c-", "false"),
        ("c?", "undecided"),
    ],
)
def test_the_verdict_of_findings(text, verdict):
    assert recomputed_verdict(findings(text)) == verdict
