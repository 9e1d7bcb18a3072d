"""``python -m lop_theory.tension``: the verdict of every activation; ``--act NAME --scale A --bias B``: one unit."""

from lop_theory.activations.catalogue import CATALOGUE, activation
from lop_theory.balls import arb
from lop_theory.budget import DEFAULT_SECONDS, announce, note
from lop_theory.cli import Parser, read_seconds, run
from lop_theory.errors import InvalidInput
from lop_theory.hermite.expansion import expand
from lop_theory.tension.modulation import Unit, direction_verdict, unit
from lop_theory.verdict import Fails, Verdict


def _verdict_text(found: Verdict) -> str:
    if not isinstance(found, Fails):
        return "monotone on the grid (not proved)"
    places = ", ".join(f"{float(arb(p)):g}: {float(s):.4f}" for p, s in zip(*found.witness, strict=True))
    return f"NOT monotone ({places})"


def _table() -> None:
    print(f"{'activation':<14} {'lambda as a function of the scale':<50} lambda as a function of the bias", flush=True)
    for name in CATALOGUE:
        note(f"{name:<14} unfinished: the time is spent (--seconds)")
        if not expand(activation(name).expr, 2).linear:
            scale, bias = (_verdict_text(direction_verdict(name, d)) for d in ("scale", "bias"))
            print(f"{name:<14} {scale:<50} {bias}", flush=True)


def _print_unit(found: Unit) -> None:
    print(f"{found.activation.label}: phi = {found.activation.expr}")
    print(f"  lambda                        {found.strength.str(15)}")
    for reading, ball in found.frozen._asdict().items():
        print(f"  P(frozen), {reading:<14}     {ball.str(12)}")
    print(f"  floor for monotone phi        {found.floor.str(8)}")


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(
        prog="python -m lop_theory.tension", description="Decorrelation strength against frozen probability (App. A.2)."
    )
    parser.add_argument("--act", metavar="NAME", help="one activation; without it, the table of verdicts")
    parser.add_argument("--scale", default="1", metavar="A", help="phi(A x + B) (default 1)")
    parser.add_argument("--bias", default="0", metavar="B", help="phi(A x + B) (default 0)")
    parser.add_argument(
        "--epsilon", default="0.01", metavar="E", help="a unit is frozen where |phi'| < E (default 0.01)"
    )
    parser.add_argument(
        "--seconds", type=float, default=DEFAULT_SECONDS, metavar="S", help="say what is known after S s (default 30)"
    )
    options = parser.parse_args(arguments)
    for name in ("scale", "bias", "epsilon"):
        if options.act is None and getattr(options, name) != parser.get_default(name):
            raise InvalidInput(name, getattr(options, name), "is of one activation", "name it with --act")
    announce(read_seconds(options.seconds))
    if options.act is None:
        _table()
    else:
        note(f"{options.act}    unfinished: the time is spent (--seconds)")
        _print_unit(unit(options.act, scale=options.scale, bias=options.bias, epsilon=options.epsilon))
    return 0


if __name__ == "__main__":
    run(main, budget=True)
