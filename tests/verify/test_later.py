"""The checkers of later papers: they add up to the registered verdict, and a mutant of each statement is caught."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lop_theory.balls import fmpq
from lop_theory.report.ledger import load
from lop_theory.stability.one_step import Gain, best_step
from lop_theory.verify import attraction, isometry, later
from lop_theory.verify.finding import recomputed_verdict

ROOT = Path(__file__).parents[2]
CLAIMS = [c for c in load(ROOT / "claims.toml") if c.id.startswith("later-")]


def checker(link: str) -> Any:
    module, _, name = link.partition(":")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("examples", [3, 12])
@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.id)
def test_the_checker_adds_up_to_the_registered_verdict(claim, examples):
    findings = [f for link in claim.checks for f in checker(link)(examples)]
    assert recomputed_verdict(findings) == claim.verdict
    assert {f.evidence for f in findings} == set(claim.evidence)
    assert all(f.detail for f in findings)


def test_every_later_claim_has_a_checker_and_a_source():
    assert len(CLAIMS) == 10
    assert all(c.checks and "2510.00304" not in c.source for c in CLAIMS)


def _no_slope_term(network, trace):
    defect = trace.h.copy()
    defect[network.dag.inputs] = 0 * defect[network.dag.inputs]
    return defect


def _twice(*moments):
    step, gain = best_step(*moments)
    return Gain(step, 2 * gain)


MUTANTS = {
    "without − zφ′": (later.norm_imbalance, "lop_theory.graph.norm_imbalance.homogeneity_defect", _no_slope_term),
    "gain without the half": (later.one_step_gain, "lop_theory.verify.later.best_step", _twice),
    "the gain grows with the step": (later.one_step_gain, "lop_theory.verify.later.gain_at", lambda s, g, *_: s * g),
    "a rank that sees scale": (later.rank_blindness, "lop_theory.verify.later._renyi2", lambda h: (h * h).sum()),
    "tanh has no slope at 0": (later.dormancy, "lop_theory.verify.later._unit", lambda *_, **__: (True, True)),
    "silent units move": (
        later.dormancy,
        "lop_theory.verify.later.unmoved_units",
        lambda network, *_: np.zeros(network.dag.nodes, dtype=bool),
    ),
    "a bound without the third derivative": (
        later.gated_pair,
        "lop_theory.verify.later.remainder_bound",
        lambda gate, x, second, _: abs(gate.total) * (x @ gate.half) ** 2 * second / 2,
    ),
    "outgoing ½ ± 1/ε": (
        later.gated_pair,
        "lop_theory.verify.later.pair_of",
        lambda w, v, e: later.Pair(np.stack([w + e * v, w - e * v]), np.array([1 / e + 1 / (2 * e / e), -1 / e + 1])),
    ),
    "no tie is seen": (
        later.duplicate_experts,
        "lop_theory.verify.later.split_tokens",
        lambda logits, *_: np.zeros(len(logits), dtype=bool),
    ),
    "α without D″": (attraction.stochastic_collapse, "lop_theory.verify.attraction.attraction_rate", lambda h, *_: h),
    "α with the whole of D″": (
        attraction.stochastic_collapse,
        "lop_theory.stability.attraction.attraction_rate",
        lambda h, s, *_: h + s,
    ),
    "QR for polar": (isometry.polar, "lop_theory.verify.isometry.polar_factor", lambda w: np.linalg.qr(w)[0]),
    "QR on the manifold": (
        isometry.isometry_remedy,
        "lop_theory.verify.isometry.polar_factor",
        lambda w: np.linalg.qr(w)[0] if len(w) >= len(w.T) else np.linalg.qr(w.T)[0].T,
    ),
    "entrywise cubes for Muon": (
        isometry.muon,
        "lop_theory.verify.isometry.odd_polynomial",
        lambda w, c: c[0] * w + c[1] * w**3,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_of_the_statement_is_caught(name, monkeypatch):
    check, target, mutant = MUTANTS[name]
    before = recomputed_verdict(check(12))
    monkeypatch.setattr(target, mutant)
    assert recomputed_verdict(check(12)) != before


def test_no_checker_needs_torch():
    code = (
        "import sys; from lop_theory.verify import attraction, isometry, later\n"
        "for c in (later.norm_imbalance, later.dormancy, later.gated_pair, later.duplicate_experts, isometry.polar):\n"
        "    assert list(c(2))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_rationals_stay_rational():
    assert isinstance(attraction.attraction_rate(fmpq(-1, 4), fmpq(1)), fmpq)
