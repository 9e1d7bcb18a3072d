"""Python callables as formulas: our own node is passed through the function and records what is done to it.

``torch.nn.GELU()``, ``F.mish``, ``np.tanh`` or ``lambda x: x * torch.sigmoid(1.702 * x)``: NumPy hands its functions
over through ``__array_ufunc__`` and ``__array_function__``, PyTorch through ``__torch_function__``, everything else
through the operators. What cannot be expressed is refused by name. Neither package is imported here.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lop_theory.activations.catalogue import Activation, activation, from_formula
from lop_theory.activations.entries import ALIASES, CATALOGUE
from lop_theory.activations.expression import Expr, X, degree, num, to_text, tree_depth, tree_size
from lop_theory.activations.formula import MAX_NODES, MAX_POWER, MAX_TREE_DEPTH, function_named
from lop_theory.balls import parse_fmpq
from lop_theory.errors import InvalidInput


def as_activation(function: "Activation | str | Callable[[Any], Any]") -> Activation:
    """An activation as a person gives it: one of ours, a catalogue name, a formula, or a Python callable."""
    if isinstance(function, Activation):
        return function
    if isinstance(function, str):
        known = ALIASES.get(function, function) in CATALOGUE
        return activation(function) if known else from_formula(function)
    return trace(function)


def trace(function: Callable[[Any], Any]) -> Activation:
    """The activation that a callable of one array or tensor computes.

    Raises ``InvalidInput`` that names what it calls and we cannot express.
    """
    label = getattr(function, "__name__", type(function).__name__)
    try:
        found = function(Traced(X))
    except InvalidInput:
        raise
    except Exception as error:
        raise _refused(label, f"cannot be traced ({type(error).__name__}: {error})") from None
    try:
        expr = _expression(found)
    except InvalidInput as error:
        raise _refused(label, error.requirement) from None
    if tree_size(expr) > MAX_NODES or tree_depth(expr) > MAX_TREE_DEPTH or degree(expr) > MAX_POWER:
        raise _refused(label, f"spells out more than {MAX_NODES} operations or a power above {MAX_POWER}")
    known = (act for act in map(activation, CATALOGUE) if act.expr == expr)
    return next(known, Activation(to_text(expr), (), expr))


def _refused(label: str, reason: str) -> InvalidInput:
    remedy = "write it with operators, NumPy or PyTorch functions"
    return InvalidInput("callable", label, " ".join(reason.split()), remedy)


def _expression(value: Any) -> Expr:
    """An argument or result as an expression: traced, a number, or an array with one element."""
    if isinstance(value, Traced):
        return value.expr
    if not isinstance(value, (bool, int, float)) and hasattr(value, "item"):
        try:
            value = value.item()
        except (TypeError, ValueError, RuntimeError):
            raise _refused("constant", "holds several numbers: one function for all units is meant") from None
    if isinstance(value, bool):
        return num(int(value))
    if isinstance(value, (int, float)):
        try:
            return num(parse_fmpq(repr(float(value)) if isinstance(value, float) else str(value)))
        except ValueError:
            raise _refused("constant", f"holds the number {value!r}") from None
    raise _refused("constant", f"holds a {type(value).__name__}")


def _argument(value: Any) -> Any:
    """An argument of a word: an expression, or an option (text, switch, nothing) as it is."""
    return value if value is None or isinstance(value, (str, bool)) else _expression(value)


def _called(name: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> "Traced":
    """The word ``name`` of the vocabulary, applied to traced arguments."""
    plain = name.strip("_")
    build = function_named(plain)
    if build is None:
        raise _refused(name, "is not in the language: it mixes units, is random, or is not known")
    given = {key: _argument(value) for key, value in options.items() if key not in _IGNORED}
    plain_args = [_argument(arg) for arg in args]
    try:
        return Traced(build(*plain_args, **given))
    except (TypeError, AttributeError):
        raise _refused(name, "does not take these arguments") from None
    except ValueError as error:
        raise _refused(name, str(error)) from None


_IGNORED = ("out", "dtype", "_stacklevel")


def _operator(name: str) -> Callable[..., "Traced"]:
    return lambda self, *others: _called(name, (self, *others), {})


def _reflected(name: str) -> Callable[["Traced", Any], "Traced"]:
    return lambda self, other: _called(name, (other, self), {})


class Traced:
    """The node that stands for the input: every operation on it gives a larger one."""

    def __init__(self, expr: Expr) -> None:
        self.expr = expr

    __add__, __radd__ = _operator("add"), _reflected("add")
    __sub__, __rsub__ = _operator("subtract"), _reflected("subtract")
    __mul__, __rmul__ = _operator("multiply"), _reflected("multiply")
    __truediv__, __rtruediv__ = _operator("divide"), _reflected("divide")
    __pow__, __rpow__ = _operator("pow"), _reflected("pow")
    __neg__, __pos__, __abs__ = _operator("negative"), _operator("positive"), _operator("abs")
    __gt__, __ge__ = _operator("greater"), _operator("greater_equal")
    __lt__, __le__ = _operator("less"), _operator("less_equal")
    __and__, __rand__ = _operator("logical_and"), _reflected("logical_and")
    __or__, __ror__ = _operator("logical_or"), _reflected("logical_or")
    __invert__ = _operator("logical_not")

    def __eq__(self, _: object) -> bool:
        raise _refused("==", "asks for a single point, which has no Gaussian mass")

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise _refused("if", "branches on its input: write where(x > 0, ..., ...)")

    def __float__(self) -> float:
        raise _refused("float", "turns its input into one number (math. functions do): use NumPy's or PyTorch's")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or function_named(name.strip("_")) is None:
            raise AttributeError(f"the input has no attribute {name!r} in a formula")
        return lambda *args, **options: _called(name, (self, *args), options)

    def float(self) -> "Traced":
        return self

    def to(self, *_: Any, **__: Any) -> "Traced":
        return self

    double = half = clone = contiguous = float

    def type_as(self, _: Any) -> "Traced":
        return self

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **options: Any) -> "Traced":
        if method != "__call__":
            raise _refused(f"{ufunc.__name__}.{method}", "mixes units")
        return _called(ufunc.__name__, args, options)

    def __array_function__(self, function: Any, _types: Any, args: Any, options: Any) -> "Traced":
        return _called(function.__name__, args, options)

    @classmethod
    def __torch_function__(cls, function: Any, _types: Any, args: Any = (), options: Any = None) -> "Traced":
        return _called(function.__name__, args, options or {})
