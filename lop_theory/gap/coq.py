"""The certificate as a Coq file: ``check`` of proofs/Certificate.v run on its numbers, and what follows from it.

[gap-certificate] Coq's kernel then vouches for every step from the boxes of the Hermite coefficients to the enclosure
of λ and the floor of r(ρ) = (ρ² − K²)/(ρ²(1 − ρ²)); that the boxes hold the coefficients is certified by balls.
"""

from lop_theory.errors import InvalidInput
from lop_theory.gap.analysis import Analysis
from lop_theory.gap.certificate import CELLS, Certificate

HEAD = """(* Gap certificate of {label}, written by `python -m lop_theory.gap`.

   Coq checks it after `make proofs`:   coqc -R proofs lop THIS_FILE

   boxes of a_1, a_2, ... in units of 10^-{decimals}: that they hold the Hermite coefficients of the standardised
   activation is certified by balls, outside Coq; what follows from them is proved here.                         *)
From Coq Require Import Reals ZArith List.
From lop Require Import Gap Certificate.
Import ListNotations.
Local Open Scope Z_scope.

Definition numbers : certificate := Certificate {unit} {cells}
  [{boxes}]
  ({low}, {high})
  [{slack}]
  {kappa}.

Lemma accepted : check numbers = true.
Proof. vm_cast_no_check (eq_refl true). Qed.

(* lambda lies in its interval, and kappa / unit bounds (rho^2 - K^2) / (rho^2 (1 - rho^2)) from below *)
Theorem certified : forall a : nat -> R, standardised a -> encloses numbers a ->
  (IZR (fst (lambda numbers)) <= IZR (unit numbers) * decorr a <= IZR (snd (lambda numbers)))%R
  /\\ forall rho : R, (0 < Rabs rho < 1)%R -> (IZR (Certificate.kappa numbers) / IZR (unit numbers) <= ratio a rho)%R.
Proof. exact (fun a => certificate_holds numbers a accepted). Qed.
Print Assumptions certified.
"""


def script(analysis: Analysis) -> str:
    """The Coq file. Raises ``InvalidInput`` if the bound is not certified (``analysis.verdict``)."""
    if not analysis.verdict:
        raise InvalidInput(
            "coq", analysis.activation.label, "is not certified", "see what the command prints without --coq"
        )
    return _certificate(analysis.certificate, analysis.activation.label)


def _certificate(found: Certificate, label: str) -> str:
    return HEAD.format(
        label=_comment(label),
        decimals=found.decimals,
        unit=10**found.decimals,
        cells=CELLS,
        boxes=";\n   ".join(f"({lo}, {hi})" for lo, hi in found.coefficients[1:]),
        low=found.strength[0],
        high=found.strength[1],
        slack="; ".join(map(str, found.slack)),
        kappa=found.kappa_floor,
    )


def _comment(text: str) -> str:
    """``text`` where it cannot end or open a comment or a string of Coq."""
    return text.replace("(*", "( *").replace("*)", "* )").replace('"', "'")
