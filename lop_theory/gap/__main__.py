"""Options of ``python -m lop_theory.gap``: table, JSON, certificate file, check, picture."""

import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lop_theory.activations.catalogue import CATALOGUE, Activation, activation, from_formula
from lop_theory.budget import DEFAULT_SECONDS, announce, note
from lop_theory.cli import NOT_CERTIFIED, OK, Parser, read_seconds, run, writable, write_whole
from lop_theory.errors import InvalidInput
from lop_theory.gap.analysis import Analysis, Known, analyse
from lop_theory.gap.printout import HEADER, as_json, block, coefficient_lines, row, unfinished
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
    found.add_argument("--card", action="store_true", help="all of one activation: gain, chaos, frozen, scale and bias")
    found.add_argument("--json", action="store_true", help="one JSON object per activation, one a line")
    found.add_argument("--certificate", metavar="FILE", help="save the certificate of the one activation named")
    found.add_argument(
        "--coq", metavar="FILE", help="a Coq file: the certificate, and lambda proved from its integrals"
    )
    found.add_argument("--coq-certificate", metavar="FILE", help="a Coq file of the certificate alone (any activation)")
    found.add_argument("--check", metavar="FILE", help="re-check a saved certificate independently")
    found.add_argument(
        "--seconds", type=float, default=DEFAULT_SECONDS, metavar="S", help="say what is known after S s (default 30)"
    )
    found.add_argument("--plot", metavar="FILE", help="draw the gap and its bound (.png, .pdf or .svg)")
    return found


def _chosen(options: Namespace) -> Iterator[Activation]:
    """The activations that the command line names."""
    given = vars(options)
    parameters = _parameters(given["param"])
    modulation = {"scale": given["scale"], "bias": given["bias"]}
    if given["formula"] is not None and parameters:
        raise InvalidInput("param", next(iter(parameters)), "goes with --act, not with --formula", "write the number")
    if given["all"] and parameters:
        raise InvalidInput("param", next(iter(parameters)), "goes with --act, not with --all", "name one activation")
    if given["formula"] is not None:
        yield from_formula(given["formula"], **modulation)
    for name in CATALOGUE if given["all"] else given["act"]:
        yield activation(name, **modulation, **parameters)


def _parameters(items: list[str]) -> dict[str, str]:
    """NAME=NUMBER items; the first that repeats a name is refused."""
    found: dict[str, str] = {}
    for name, number in map(_split, items):
        if name in found:
            raise InvalidInput("param", f"{name}={number}", "is given twice", "give each parameter once")
        found[name] = number
    return found


def _split(item: str) -> tuple[str, str]:
    name, equals, number = item.partition("=")
    if not equals:
        raise InvalidInput("param", item, "must be NAME=NUMBER", "such as --param slope=0.1")
    return name.strip(), number.strip()


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code (0 certified, 1 not certified or undecided; bad input raises)."""
    options = parser().parse_args(arguments)
    announce(read_seconds(options.seconds))
    if options.check is not None:
        if options.all or options.act or options.formula is not None:
            raise InvalidInput("check", options.check, "goes alone", "check the file first, then certify")
        return check_file(options.check)
    require_digits(options.digits)
    if not (options.all or options.act or options.formula is not None):
        raise InvalidInput("act", None, "nothing to do", "give --act NAME, --formula TEXT, --all or --check FILE")
    chosen = list(_chosen(options))
    require_paths(options, len(chosen))
    if options.coq is not None:
        from lop_theory.gap.coq import require_expressible

        require_expressible(chosen[0].expr)
    closed = _closed_forms(chosen) if options.exact else {}
    return report((_analysed(act, options) for act in chosen), options, closed)


def _analysed(act: Activation, options: Namespace) -> Analysis:
    """The analysis, with notes of what is known so far for the case that the time runs out."""

    def progress(known: Known) -> None:
        note(unfinished(act.label, known, in_json=options.json))

    progress(Known(None))
    return analyse(act, digits=options.digits, progress=progress)


def _closed_forms(chosen: list[Activation]) -> dict[str, str]:
    """Label → λ in closed form. Raises ``InvalidInput`` before anything is printed if one is not known."""
    from lop_theory.hermite.exact import strength

    return {act.label: str(strength(act)) for act in chosen}


def require_paths(options: Namespace, count: int) -> None:
    """Refuse unwritable outputs before computing."""
    outputs = {name: getattr(options, name) for name in ("certificate", "coq", "coq_certificate", "plot")}
    for parameter, path in outputs.items():
        if path is None:
            continue
        if count != 1:
            raise InvalidInput(parameter, path, "takes one activation", "name one with --act or --formula")
        writable(parameter, path)
    _require_apart({name: path for name, path in outputs.items() if path is not None})
    if options.plot is not None and not options.plot.lower().endswith((".png", ".pdf", ".svg")):
        raise InvalidInput("plot", options.plot, "must end in .png, .pdf or .svg", "rename it")


def _require_apart(outputs: dict[str, str]) -> None:
    """Refuse one file for two outputs."""
    seen: dict[Path, str] = {}
    for parameter, path in outputs.items():
        other = seen.setdefault(Path(path).resolve(), parameter)
        if other != parameter:
            raise InvalidInput(parameter, path, f"is the file of --{other} too", "give two files")


def report(analyses: Iterable[Analysis], options: Namespace, closed: dict[str, str]) -> int:
    """Print every analysis as it is made and write the files asked for; the exit code."""
    certified = True
    if options.all and not (options.json or options.card):
        print(HEADER, flush=True)
    for analysis in analyses:
        certified &= bool(analysis.verdict)
        _print_one(analysis, options, closed.get(analysis.activation.label))
        _write_files(analysis, options)
        sys.stdout.flush()  # what is certain is out before the time is spent
    return OK if certified else NOT_CERTIFIED


def _print_one(analysis: Analysis, options: Namespace, closed: str | None) -> None:
    if options.json:
        import json

        print(json.dumps(_data(analysis, options) | ({} if closed is None else {"lambda_exact": closed})))
        return
    print(_text(analysis, options))
    if options.coefficients:
        print(coefficient_lines(analysis))
    if closed is not None:
        print(f"  lambda exact  {closed}")


def _text(analysis: Analysis, options: Namespace) -> str:
    if options.card:
        from lop_theory.gap.card import card_of
        from lop_theory.gap.card_lines import card_block

        note(f"{block(analysis)}\n  card          unfinished: the time is spent (--seconds)")
        return card_block(card_of(analysis))
    return row(analysis) if options.all else block(analysis)


def _data(analysis: Analysis, options: Namespace) -> dict[str, Any]:
    if options.card:
        import json

        from lop_theory.gap.card import card_of
        from lop_theory.gap.card_lines import card_json

        note(json.dumps(as_json(analysis) | {"finished": False}))
        return card_json(card_of(analysis))
    return as_json(analysis)


def _write_files(analysis: Analysis, options: Namespace) -> None:
    if options.certificate is not None:
        import json

        from lop_theory.gap.certificate import to_json

        data = to_json(analysis.certificate, analysis.kern, analysis.activation.label)
        write_whole(writable("certificate", options.certificate), (json.dumps(data, indent=1) + "\n").encode())
    for parameter, path in (("coq", options.coq), ("coq_certificate", options.coq_certificate)):
        if path is not None:
            from lop_theory.gap import coq

            text = coq.script(analysis) if parameter == "coq" else coq.certificate_script(analysis)
            write_whole(writable(parameter, path), text.encode())
    if options.plot is not None:
        from lop_theory.gap.plot import picture

        kind = options.plot.rpartition(".")[2].lower()
        write_whole(writable("plot", options.plot), picture(analysis, kind, card=options.card))


def check_file(path: str) -> int:
    """Re-check a saved certificate; 0 if it holds, 1 if a field is wrong or the check is undecided."""
    from lop_theory.gap.checker import check, read

    data = read(path)
    found = check(data)
    print(f"{_CHECKED[type(found)]}: {found[0]}")
    if found:
        print(f"  {data['activation']}    lambda in [{data['lambda'][0]}, {data['lambda'][1]}]")
    return OK if found else NOT_CERTIFIED


_CHECKED: dict[type, str] = {Holds: "certificate holds", Fails: "CERTIFICATE FAILS", Undecided: "CERTIFICATE UNDECIDED"}


if __name__ == "__main__":
    run(main, budget=True)
