"""Options and output of ``python -m lop_theory.gap``: table, JSON, certificate file, picture."""

from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Iterator
from typing import Any

from lop_theory.activations.catalogue import CATALOGUE, Activation, activation, from_formula
from lop_theory.balls import arb, lower_decimal, precision, upper_decimal
from lop_theory.cli import NOT_CERTIFIED, OK, Parser, run, writable, write_whole
from lop_theory.errors import InvalidInput
from lop_theory.gap.analysis import Analysis, analyse
from lop_theory.gap.kappa import Kappa
from lop_theory.hermite.expansion import require_digits
from lop_theory.verdict import Fails, Holds, Undecided


def parser() -> Parser:
    found = Parser(
        prog="python -m lop_theory.gap",
        description="Certify the quartic gap bound rho^2 - K(rho)^2 >= lambda rho^2 (1 - rho^2) on all of [-1, 1]\n"
        "(arXiv 2510.00304, Lemma A.1) with rigorous error bounds.",
        epilog="exit code: 0 certified, 1 not certified or undecided, 2 bad input",
        formatter_class=RawDescriptionHelpFormatter,
    )
    found.add_argument("--act", action="append", default=[], metavar="NAME", help="a catalogue activation (repeatable)")
    found.add_argument("--formula", metavar="TEXT", help='your own, such as "x*tanh(log(1+exp(x)))"')
    found.add_argument("--all", action="store_true", help="the whole catalogue as one table")
    found.add_argument(
        "--param", action="append", default=[], metavar="NAME=NUMBER", help="a parameter, such as slope=0.1"
    )
    found.add_argument("--scale", default="1", metavar="A", help="use phi(A x + B) (default 1)")
    found.add_argument("--bias", default="0", metavar="B", help="use phi(A x + B) (default 0)")
    found.add_argument("--digits", type=int, default=15, metavar="D", help="decimals of every enclosure (default 15)")
    found.add_argument("--coefficients", action="store_true", help="print the Hermite coefficients a_1 ... a_19 too")
    found.add_argument("--exact", action="store_true", help="print lambda in closed form where one is known (SymPy)")
    found.add_argument("--json", action="store_true", help="one JSON object per activation, one a line")
    found.add_argument("--certificate", metavar="FILE", help="save the certificate of the one activation named")
    found.add_argument("--check", metavar="FILE", help="re-check a saved certificate independently")
    found.add_argument("--plot", metavar="FILE", help="draw the gap and its bound (.png, .pdf or .svg)")
    return found


def _chosen(options: Namespace) -> Iterator[Activation]:
    """The activations that the command line names."""
    given = vars(options)
    parameters = dict(_split(item) for item in given["param"])
    modulation = {"scale": given["scale"], "bias": given["bias"]}
    if given["formula"] is not None and parameters:
        raise InvalidInput("param", next(iter(parameters)), "goes with --act, not with --formula", "write the number")
    if given["all"] and parameters:
        raise InvalidInput("param", next(iter(parameters)), "goes with --act, not with --all", "name one activation")
    if given["formula"] is not None:
        yield from_formula(given["formula"], **modulation)
    for name in CATALOGUE if given["all"] else given["act"]:
        yield activation(name, **modulation, **parameters)


def _split(item: str) -> tuple[str, str]:
    name, equals, number = item.partition("=")
    if not equals:
        raise InvalidInput("param", item, "must be NAME=NUMBER", "such as --param slope=0.1")
    return name.strip(), number.strip()


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code (0 certified, 1 not certified or undecided; bad input raises)."""
    options = parser().parse_args(arguments)
    if options.check is not None:
        if options.all or options.act or options.formula is not None:
            raise InvalidInput("check", options.check, "goes alone", "check the file first, then certify")
        return check_file(options.check)
    require_digits(options.digits)
    if not (options.all or options.act or options.formula is not None):
        raise InvalidInput("act", None, "nothing to do", "give --act NAME, --formula TEXT, --all or --check FILE")
    chosen = list(_chosen(options))
    require_paths(options, len(chosen))
    closed = _closed_forms(chosen) if options.exact else {}
    return report((analyse(act, digits=options.digits) for act in chosen), options, closed)


def _closed_forms(chosen: list[Activation]) -> dict[str, str]:
    """Label → λ in closed form. Raises ``InvalidInput`` before anything is printed if one is not known."""
    from lop_theory.hermite.exact import strength

    return {act.label: str(strength(act)) for act in chosen}


def require_paths(options: Namespace, count: int) -> None:
    """Refuse unwritable outputs before computing."""
    for parameter in ("certificate", "plot"):
        path = getattr(options, parameter)
        if path is None:
            continue
        if count != 1:
            raise InvalidInput(parameter, path, "takes one activation", "name one with --act or --formula")
        writable(parameter, path)
    if options.plot is not None and not options.plot.lower().endswith((".png", ".pdf", ".svg")):
        raise InvalidInput("plot", options.plot, "must end in .png, .pdf or .svg", "rename it")


def report(analyses: Iterable[Analysis], options: Namespace, closed: dict[str, str]) -> int:
    """Print every analysis as it is made and write the files asked for; the exit code."""
    certified = True
    if options.all and not options.json:
        print(_HEADER)
    for analysis in analyses:
        certified &= bool(analysis.verdict)
        _print_one(analysis, options, closed.get(analysis.activation.label))
        _write_files(analysis, options)
    return OK if certified else NOT_CERTIFIED


def _print_one(analysis: Analysis, options: Namespace, closed: str | None) -> None:
    if options.json:
        import json

        print(json.dumps(as_json(analysis) | ({} if closed is None else {"lambda_exact": closed})))
        return
    print(_row(analysis) if options.all else _block(analysis))
    if options.coefficients:
        print(_coefficient_lines(analysis))
    if closed is not None:
        print(f"  lambda exact  {closed}")


def _write_files(analysis: Analysis, options: Namespace) -> None:
    if options.certificate is not None:
        import json

        from lop_theory.gap.certificate import to_json

        data = to_json(analysis.certificate, analysis.kern, analysis.activation.label)
        write_whole(writable("certificate", options.certificate), (json.dumps(data, indent=1) + "\n").encode())
    if options.plot is not None:
        from lop_theory.gap.plot import picture

        write_whole(writable("plot", options.plot), picture(analysis, options.plot.rpartition(".")[2].lower()))


def check_file(path: str) -> int:
    """Re-check a saved certificate; 0 if it holds, 1 if a field is wrong or the check is undecided."""
    from lop_theory.gap.checker import check, read

    data = read(path)
    found = check(data)
    print(f"{_CHECKED[type(found)]}: {found[0]}")
    if found:
        print(f"  {data['activation']}    lambda in [{data['lambda'][0]}, {data['lambda'][1]}]")
    return OK if found else NOT_CERTIFIED


_CHECKED = {Holds: "certificate holds", Fails: "CERTIFICATE FAILS", Undecided: "CERTIFICATE UNDECIDED"}


# ---- JSON ----


def _bounds(ball: arb, digits: int) -> dict[str, str]:
    return {"lower": lower_decimal(ball, digits + 3), "upper": upper_decimal(ball, digits + 3)}


def as_json(analysis: Analysis) -> dict[str, Any]:
    """lower ≤ true value ≤ upper for every pair of decimal strings."""
    kern, digits = analysis.kern, analysis.kern.expansion.digits
    return {
        "activation": analysis.activation.label,
        "a1_squared": _bounds(kern.c, digits),
        "lambda": _bounds(kern.strength, digits),
        "kappa": _bounds(analysis.kappa.value, digits),
        "kappa_at": place(analysis.kappa),
        "kappa_method": analysis.kappa.method,
        "k_minus_one": _bounds(analysis.minus_one, digits),
        "parity": kern.expansion.parity,
        "hermite": [_bounds(a, digits) for a in kern.expansion.coefficients],
        "route": kern.expansion.method,
        "certified": bool(analysis.verdict),
        "evidence": analysis.verdict[0],
        "digits": digits,
        "seconds": round(analysis.seconds, 6),
    }


def place(kap: Kappa) -> str:
    """Where κ is attained or approached."""
    if kap.method == "linear":
        return "everywhere (linear)"
    if kap.method == "parity":
        return "rho -> 0"
    if kap.method == "end":
        return "rho -> 1"
    if kap.method == "cells":
        return f"rho in [{lower_decimal(kap.at, 6)}, {upper_decimal(kap.at.min(arb(1)), 6)}]"
    return f"rho = {kap.at.str(8, radius=False)}"


# ---- table ----

_WIDTHS = (22, 20, 12, 18, 17, 9, 12, 9, 6)
_TITLES = ("activation", "lambda", "c = a1^2", "kappa", "where", "K(-1)", "kappa-lambda", "certified", "ms")


def _line(cells: Iterable[str]) -> str:
    return " ".join(f"{cell:<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


_HEADER = _line(_TITLES)


def _short(ball: arb, digits: int) -> str:
    """Digits that are certain, no more than ``digits`` of them."""
    return ball.str(digits, radius=False) if not ball.is_zero() else "0"


def _margin(analysis: Analysis) -> str:
    """κ − λ: how far the sharp constant lies above the bound's."""
    margin = analysis.kappa.value - analysis.kern.strength
    return "0" if margin.contains(0) else margin.str(4, radius=False)


def _row(analysis: Analysis) -> str:
    with precision(analysis.kern.expansion.bits):
        cells = (
            analysis.activation.label,
            _short(analysis.kern.strength, 16),
            _short(analysis.kern.c, 9),
            _short(analysis.kappa.value, 15),
            _place_short(analysis.kappa),
            _short(analysis.minus_one, 6),
            _margin(analysis),
            _word(analysis),
            f"{analysis.seconds * 1e3:.1f}",
        )
    return _line(cells)


def _place_short(kap: Kappa) -> str:
    return {"linear": "everywhere", "cells": "rho near " + kap.at.str(3, radius=False)}.get(kap.method, place(kap))


def _word(analysis: Analysis) -> str:
    return "yes" if analysis.verdict else "NO"


def _block(analysis: Analysis) -> str:
    kern, digits = analysis.kern, analysis.kern.expansion.digits
    with precision(kern.expansion.bits + 16):
        route = f"{kern.order - 1} Hermite coefficients by {kern.expansion.method}"
        lines = [
            f"{analysis.activation.label}    {digits} digits, {route}",
            f"  lambda        {_enclosure(kern.strength, digits)}   decorrelation strength 1 - a1^2",
            f"  c = a1^2      {_enclosure(kern.c, digits)}   linearity K'(0)",
            f"  kappa         {_enclosure(analysis.kappa.value, digits)}   sharp constant, {place(analysis.kappa)}",
            f"  K(-1)         {_enclosure(analysis.minus_one, digits)}   {_parity_note(analysis)}",
            f"  worst margin  {_margin(analysis)}   kappa - lambda",
            f"  certified     {_word(analysis)} on [-1, 1] ({analysis.verdict[0]}), {analysis.seconds * 1e3:.1f} ms",
        ]
    return "\n".join(lines)


def _enclosure(ball: arb, digits: int) -> str:
    return f"[{lower_decimal(ball, digits + 1)}, {upper_decimal(ball, digits + 1)}]"


def _parity_note(analysis: Analysis) -> str:
    notes = {
        "odd": "odd up to a constant",
        "even": "even",
        "mixed": "odd and even part: the bound is strict at rho = -1",
    }
    return notes[analysis.kern.expansion.parity]


def _coefficient_lines(analysis: Analysis) -> str:
    digits = analysis.kern.expansion.digits
    pairs = enumerate(analysis.kern.expansion.coefficients)
    return "\n".join(f"  a_{k:<3}         {_enclosure(a, digits)}" for k, a in pairs if k)


if __name__ == "__main__":
    run(main)
