"""
Add a claim
===========

A claim is an entry of ``claims.toml`` with evidence that is recomputed, a checker that
could fail, and tests. This page takes a statement through all of it: it turns out
false, is corrected, and gets a verdict from what was recomputed. The steps are those of
``CONTRIBUTING.md``.
"""

# %%
# The statement: *the gap at correlation 1/2 is at least λ/5, for every activation*. A
# checker yields findings. Each says which statement it is about, whether that held
# (``None``: undecided), the kind of evidence, and what was computed.

from lop_theory.activations import activation
from lop_theory.balls import arb
from lop_theory.gap import gap, standard_kernel
from lop_theory.verify.finding import Finding, decided, recomputed_verdict

NAMES = ("relu", "tanh", "gelu", "silu", "erf")


def fifth_holds(kern, share):
    """Whether gap(1/2) ≥ share·λ; balls that overlap decide nothing."""
    value, floor = gap(kern, arb(1) / 2), share * kern.strength
    return decided(value >= floor, value < floor)


def first_try(examples):
    for name in NAMES[: max(3, examples)]:
        kern = standard_kernel(activation(name).expr)
        yield Finding(
            "paper",
            fifth_holds(kern, arb(1) / 5),
            "certified by balls",
            f"gap(1/2) of {name}",
        )


for finding in first_try(5):
    print(finding)
print("verdict:", recomputed_verdict(first_try(5)))
assert recomputed_verdict(first_try(5)) == "holds"

# %%
# Five activations are not every activation. With K(ρ) = ρ² the gap is 1/4 − 1/16 = 3/16
# and λ = 1: he₂ refutes it. From Lemma A.1 the constant that holds is ρ²(1 − ρ²) =
# 3/16, and he₂ attains it.

from lop_theory.verify.finding import refutes  # noqa: E402


def checker(examples):
    square = standard_kernel(activation("hermite", k=2).expr)
    value = gap(square, arb(1) / 2)
    yield refutes(
        bool(value < square.strength / 5),
        "exact counterexample",
        f"he2: gap(1/2) = {value.str(5)}, λ = 1",
    )
    for name in NAMES[: max(3, examples)]:
        kern = standard_kernel(activation(name).expr)
        yield Finding(
            "corrected",
            fifth_holds(kern, arb(3) / 16),
            "certified by balls",
            f"gap(1/2) of {name}",
        )


for finding in checker(5):
    print(finding)
assert recomputed_verdict(checker(5)) == "corrected"

# %%
# A checker that cannot fail proves nothing. Plant an error in the mathematics and look
# whether the verdict changes, as ``tests/verify/test_checkers.py`` does to every
# checker.

right = gap
gap = lambda kern, rho: right(kern, rho) / 2  # noqa: E731
assert recomputed_verdict(checker(5)) not in ("holds", "corrected")
gap = right
assert recomputed_verdict(checker(5)) == "corrected"

# %%
# The entry of the ledger. ``report --check`` follows every link; here nothing backs the
# claim yet, and it says so.

from lop_theory.report.ledger import Claim, load, problems  # noqa: E402
from lop_theory.report.place import root  # noqa: E402

mine = Claim(
    id="gap-at-half",
    paper="-",
    statement="rho^2 - K(rho)^2 >= lambda/5 at rho = 1/2, for every activation.",
    corrected="rho^2 - K(rho)^2 >= 3 lambda/16 at rho = 1/2; he2 attains it.",
    verdict="corrected",
    evidence=("exact counterexample", "certified by balls"),
    uses=("gap",),
)
ledger = load(root() / "claims.toml")
found = [
    problem
    for problem in problems([*ledger, mine], root())
    if problem.startswith("gap-at-half")
]
print(*found, sep="\n")
assert found == ["gap-at-half: neither a test nor a proof backs it"]

# %%
# The checker goes into a file of ``lop_theory/verify/`` and its name into ``checks`` of
# the entry, tests carry ``@pytest.mark.claim("gap-at-half")``, and a theorem, if there
# is one, goes into ``proofs``. Then these agree:
#
# .. code-block:: console
#
#    python -m lop_theory.report --check
#    python -m lop_theory verify --only gap
