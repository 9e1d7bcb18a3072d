"""Every checker gives the registered verdict, and none can only pass: altered mathematics is noticed."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from lop_theory.balls import arb, within
from lop_theory.gap.certificate import certify
from lop_theory.gap.enclosure import tangent
from lop_theory.graph.cloning import Residuals, sgd_step
from lop_theory.graph.counterexamples import Counterexample
from lop_theory.graph.equitable import block_constant
from lop_theory.report.ledger import Claim, load
from lop_theory.verify import graph, scalar, tangents
from lop_theory.verify.finding import Finding, recomputed_verdict
from lop_theory.verify.outcome import Outcome, recompute

ROOT = Path(__file__).parents[2]
CLAIMS = {claim.id: claim for claim in load(ROOT / "claims.toml")}
HERE = [name for name, claim in CLAIMS.items() if any(check.startswith("lop_theory.") for check in claim.checks)]


def recomputed(claim: Claim) -> Outcome:
    theory = tuple(check for check in claim.checks if check.startswith("lop_theory."))
    return recompute(claim._replace(checks=theory), 4)


@pytest.mark.parametrize("name", HERE)
def test_a_claim_gets_its_registered_verdict(name):
    found = recomputed(CLAIMS[name])
    assert found.state == "agrees", found
    assert all(finding.evidence in (*CLAIMS[name].evidence, "tested") for finding in found.findings), found.evidence


def test_every_claim_with_mathematics_has_a_checker():
    """What is proved only is checked by the audit of its proof."""
    assert [name for name, claim in CLAIMS.items() if not claim.checks and claim.evidence != ("proved",)] == []


@pytest.mark.parametrize(
    ("checker", "name", "replacement"),
    [
        (scalar.mehler, "value", lambda _, rho: rho),
        (scalar.kernel_bounds, "value", lambda _, rho: 2 * rho),
        (scalar.gap_kappa, "gap", lambda _, rho: rho * rho * (1 - rho * rho) / 1000),
        (scalar.gap_kappa, "gap", lambda *_: within(arb(1))),  # undecided
        (scalar.fixed_point_types, "derivative_at_one", lambda _: within(arb(3))),  # undecided
        (scalar.gap_certificate, "certify", lambda kern: certify(kern)._replace(strength=(0, 0))),
        (scalar.gap_certificate, "certify", lambda kern: certify(kern)._replace(kappa_floor=10**40)),
        (tangents.gap_kappa_branches, "tangent", lambda found: tangent(found)._replace(low=10**18)),
        (tangents.gap_kappa_branches, "tangent", lambda found: tangent(found)._replace(high=0)),
        (tangents.gap_kappa_branches, "sharp_constant", lambda _: SimpleNamespace(value=within(arb(1)))),  # undecided
        (scalar.gap_parity, "polynomial_kernel", lambda _: lambda s: s - s**2),
        (scalar.rank_gains, "gain_bound", lambda _, strength: 2 + strength),
        (scalar.rank_equality, "is_fixed_ratio", lambda *_, **__: True),
        (scalar.fixed_point_types, "value", lambda _, rho: rho),
        (scalar.fixed_point_types, "at_minus_one", lambda _: arb(-1)),
        (scalar.linear_steps, "gain_bound", lambda _, strength: 2 + strength),
    ],
)
def test_altered_mathematics_of_the_kernel_is_noticed(monkeypatch, checker, name, replacement):
    before = recomputed_verdict(checker(8))
    monkeypatch.setattr(import_module(checker.__module__), name, replacement)
    assert recomputed_verdict(checker(8)) not in (before, None)


@pytest.mark.parametrize("name", ["SUPPORT_3X3", "SUPPORT_2X3", "SUPPORT_2X2", "CYCLIC_QUOTIENT"])
def test_a_counterexample_that_is_none_decides_nothing(monkeypatch, name):
    """Weights made equal: the support is still irregular, but nothing leaves, or the quotient is acyclic."""
    harmless = Counterexample(
        name="harmless", dropped="biregular_support", breaks="trajectory", edges="x y 1", blocks=()
    )
    monkeypatch.setattr(graph.named, name, harmless)
    checker = graph.clone_ordering if name == "CYCLIC_QUOTIENT" else graph.clone_support
    assert recomputed_verdict(checker(2)) == "undecided"


@pytest.mark.parametrize(
    ("checker", "name", "replacement"),
    [
        (graph.clone_forward, "residuals", lambda *_: Residuals(1, 1, 1)),
        (graph.functional_lop, "residuals", lambda *_: Residuals(0, 0, 1)),
        (graph.clone_trajectory, "sum_spread", lambda *_: 1),
        (graph.clone_trajectory, "trajectory_invariant", lambda *_: False),
        (graph.clone_rates, "sgd_step", lambda network, at, rate, *_: sgd_step(network, at, rate)),
    ],
)
def test_altered_mathematics_of_the_graph_is_noticed(monkeypatch, checker, name, replacement):
    before = recomputed_verdict(checker(4))
    monkeypatch.setattr(graph, name, replacement)
    assert recomputed_verdict(checker(4)) not in (before, None)


def _exits(_):
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("checker", "said"),
    [
        (lambda _: [], "says nothing about gap"),
        (_exits, "SystemExit: 0"),
        (lambda _: 1 / 0, "ZeroDivisionError"),
        (lambda _: [Finding("Paper", False, "tested", "a name misspelt")], "about 'Paper'"),
        (lambda _: [Finding("paper", "False", "tested", "text")], "holds 'False'"),
        (lambda _: [Finding("paper", float("nan"), "tested", "NaN")], "holds nan"),
        (lambda _: [Finding("paper", True, "felt", "no kind")], "by 'felt'"),
        (lambda _: ["holds"], "AttributeError"),
    ],
)
@pytest.mark.parametrize("verdict", ["holds", "undecided"])
def test_a_check_from_which_nothing_follows_differs_from_every_verdict(monkeypatch, checker, said, verdict):
    """Beside a check that agrees, and where the ledger itself has the claim undecided."""
    monkeypatch.setattr(scalar, "planted", checker, raising=False)
    checks = ("lop_theory.verify.scalar:gap_parity", "lop_theory.verify.scalar:planted")
    found = recompute(CLAIMS["gap"]._replace(checks=checks, evidence=("tested",), verdict=verdict), 2)
    assert (found.verdict, found.state) == ("undecided", "differs")
    assert said in found.findings[-1].detail


def test_every_checker_is_of_the_claim_that_names_it():
    """A checker's docstring ends in the ids of its claims: claims whose checks are exchanged are noticed."""
    for name in HERE:
        for check in CLAIMS[name].checks:
            module, _, function = check.partition(":")
            assert f"[{name}]" in " ".join(getattr(import_module(module), function).__doc__.split()), check


@pytest.mark.parametrize("seed", range(11, 18))
def test_the_clones_of_the_checkers_are_clones(seed):
    """A check on discrete partitions would hold of everything: most networks have blocks of several units."""
    drawn = [(network, partition) for _, network, partition in graph._clones(5, seed)]
    several = [partition.sizes.max() > 1 for _, partition in drawn]
    redistributed = [not block_constant(network, partition) for network, partition in drawn]
    assert sum(several) >= 3
    assert any(redistributed)
