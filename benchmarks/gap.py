"""The gap command: start-up, rigorous coefficients against acb.integral and mpmath.quad, the whole catalogue."""

import tempfile

import mpmath as mp

from benchmarks.timing import best_seconds, process_cpu_seconds
from lop_theory.activations.catalogue import activation
from lop_theory.gap.certificate import certify, verdict
from lop_theory.gap.checker import check, read
from lop_theory.gap.kernel import correlation_kernel
from lop_theory.hermite.adaptive import coefficient
from lop_theory.hermite.expansion import raw_moments

NAMES = ("tanh", "gelu", "relu", "silu", "erf")
_MP = {
    "tanh": mp.tanh,
    "gelu": lambda x: x * mp.ncdf(x),
    "relu": lambda x: max(x, mp.mpf(0)),
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "erf": mp.erf,
}


def _mp_coefficient(name: str, k: int) -> object:
    def integrand(x: mp.mpf) -> mp.mpf:
        below, this = mp.mpf(0), mp.mpf(1)
        for i in range(k):
            below, this = this, (x * this - mp.sqrt(i) * below) / mp.sqrt(i + 1)
        return _MP[name](x) * this * mp.npdf(x)

    return mp.quad(integrand, [-mp.inf, 0, mp.inf])


def _start_up() -> None:
    base = process_cpu_seconds(["-c", "import flint"])
    ours = process_cpu_seconds(["-m", "lop_theory.gap", "--act", "tanh"])
    print(f"fresh process, --act tanh: {ours * 1e3:.0f} ms CPU = {ours / base:.2f} x 'import flint' (target <= 3)")
    whole = process_cpu_seconds(["-m", "lop_theory.gap", "--all"], repeats=3)
    print(f"fresh process, --all: {whole:.2f} s CPU (target < 2)")


def _warm() -> None:
    for name in NAMES:
        expr = activation(name).expr
        seconds = best_seconds(lambda e=expr: verdict(certify(correlation_kernel(e))), repeats=9, inner=20)
        print(f"warm {name:<5}: lambda, 20 coefficients and certificate {seconds * 1e3:.2f} ms (target <= 1)")


def _against_integrators(count: int, sample: list[int]) -> None:
    """At 30 digits; the slow integrators are timed on ``sample`` and scaled to ``count`` coefficients."""
    bits = 113
    for name in NAMES:
        expr = activation(name).expr
        ours = best_seconds(lambda e=expr: raw_moments(e, count, bits), repeats=5)
        acb = best_seconds(lambda e=expr: [coefficient(e, k, bits) for k in sample], repeats=1) / len(sample) * count
        with mp.workdps(30):
            quad = best_seconds(lambda n=name: [_mp_coefficient(n, k) for k in sample], repeats=1) / len(sample) * count
        print(
            f"{count:>3} coefficients of {name:<5}, 30 digits: {ours * 1e3:7.2f} ms; acb.integral {acb / ours:6.0f} x, "
            f"mpmath.quad {quad / ours:6.0f} x (100, 1000)"
        )


HARD = {
    "narrow bump": ["--formula", "exp(-10**4*(x-2)**2)+x/100"],
    "78 absolute values": [
        "--formula",
        "+".join("(" + "+".join(f"abs(x-({k}/20))" for k in range(j, j + 13)) + ")" for j in range(-39, 39, 13)),
    ],
    "abs of a polynomial of degree 13": ["--formula", "abs(x**13-3*x**7+x-1/3)"],
    "max(sin x, cos x)": ["--formula", "max(sin(x),cos(x))"],
    "mish at scale 100": ["--act", "mish", "--scale", "100"],
    "tanh with bias 100": ["--act", "tanh", "--bias", "100"],
    "x*sigmoid(x+x^3/10)": ["--formula", "x*sigmoid(x+x**3/10)"],
    "card of gelu": ["--act", "gelu", "--card"],
}


def _hard() -> None:
    base = process_cpu_seconds(["-m", "lop_theory.gap", "--act", "tanh"], repeats=3)
    for name, arguments in HARD.items():
        found = process_cpu_seconds(["-m", "lop_theory.gap", *arguments], repeats=2)
        print(f"fresh process, {name}: {found / base:.1f} x the CPU of --act tanh (target <= 10)")


def _checking() -> None:
    """A certificate made and checked, in fresh processes and warm (where making it reuses its grids)."""
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            path = f"{folder}/{name}.json"
            made = process_cpu_seconds(["-m", "lop_theory.gap", "--act", name, "--certificate", path], repeats=3)
            checked = process_cpu_seconds(["-m", "lop_theory.gap", "--check", path], repeats=3)
            data = read(path)
            act = activation(name)
            warm = best_seconds(lambda a=act: certify(correlation_kernel(a.expr)), repeats=5, inner=5)
            again = best_seconds(lambda d=data: check(d), repeats=5)
            print(f"check of {name:<5}: {checked / made:.1f} x making it; warm {again / warm:.0f} x (target <= 20)")


def main() -> None:
    _start_up()
    _hard()
    _checking()
    _warm()
    _against_integrators(20, [1, 7, 13, 19])
    _against_integrators(100, [1, 49, 99])
