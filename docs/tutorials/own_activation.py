"""
Verify your own activation
==========================

Does the quartic gap bound ρ² − K(ρ)² ≥ λρ²(1 − ρ²) hold for *your* φ, and with which λ?
Every number below is an interval that contains the truth. The bound itself is proved
for every activation (claim ``gap``); what a certificate adds is λ, κ and the
coefficients of this one, in a form that others can check.
"""

# %%
# A formula is parsed through a whitelist and never executed. Numbers in it are exact:
# 0.1 is 1/10.

from lop_theory.activations import from_formula
from lop_theory.gap import analyse

mine = from_formula("x*tanh(x) + x/2")
found = analyse(mine, digits=20)
print("lambda   ", found.kern.strength)
print(
    "kappa    ", found.kappa.value, "by", found.kappa.method, "at rho =", found.kappa.at
)
print("K(-1)    ", found.minus_one)
print("verdict  ", found.verdict)

assert found.verdict  # only Holds is true: Fails and Undecided are not
assert (
    found.kern.strength < found.kappa.value
)  # certainly: a comparison of balls that overlap is never true

# %%
# κ is the largest constant for which the bound holds with this φ, λ the largest that
# depends on a₁² alone. Scale and bias are part of the activation: λ, and all that
# follows from it, moves with them.

gains = {
    scale: from_formula("x*tanh(x) + x/2", scale=scale) for scale in ("1/4", "1", "4")
}
strengths = {scale: analyse(act).kern.strength for scale, act in gains.items()}
for scale, strength in strengths.items():
    print(f"scale {scale:>3}   lambda {strength.str(12, radius=False)}")
assert strengths["1/4"] < strengths["1"]

# %%
# A certificate is data. The checker recomputes every coefficient by another route than
# the one that found it.

from lop_theory.gap import check  # noqa: E402
from lop_theory.gap.certificate import to_json  # noqa: E402

certificate = to_json(found.certificate, found.kern, mine.label)
print(*list(certificate.items())[2:8], sep="\n")
honest = check(certificate)
print("checker:", honest)
assert honest

# %%
# Now somebody makes λ a little larger, and is clever enough to mend the checksum. The
# checker names the field.

from lop_theory.gap.certificate import digest  # noqa: E402
from lop_theory.verdict import Fails  # noqa: E402

forged = {key: value for key, value in certificate.items() if key != "sha256"}
forged["lambda"] = ["0.7" + text[3:] for text in forged["lambda"]]
forged["sha256"] = digest(forged)
caught = check(forged)
print("checker:", caught)
assert isinstance(caught, Fails)

# %%
# Bad input gets one line: parameter, value, requirement, remedy. On the command line
# the exit code is then 2.

from lop_theory.errors import InvalidInput  # noqa: E402

for text in ("x + __import__('os')", "x/(x - 1)", "7"):
    try:
        analyse(from_formula(text))
        raise AssertionError(f"{text} was taken")
    except InvalidInput as error:
        print(error)

# %%
# The picture shows midpoints: it is an illustration, the certificate is the rigorous
# object.

import matplotlib.pyplot as plt  # noqa: E402

from lop_theory.gap import draw_gap, standard_kernel  # noqa: E402

figure, axes = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
draw_gap(axes, standard_kernel(mine.expr), mine.label)

# %%
# The same from a shell, at a hundred digits, and the certificate to a file:
#
# .. code-block:: console
#
#    python -m lop_theory.gap --formula "x*tanh(x) + x/2" --digits 100
#    python -m lop_theory.gap --formula "x*tanh(x) + x/2" --certificate mine.json
#    python -m lop_theory.gap --check mine.json
