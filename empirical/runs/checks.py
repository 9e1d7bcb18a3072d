"""What every experiment's options are checked for. Each check raises ``InvalidInput`` naming the field."""

from typing import Any

from lop_theory.errors import InvalidInput


def check_choice(parameter: str, value: str, known: tuple[str, ...]) -> None:
    """That the value is a known one."""
    if value not in known:
        raise InvalidInput(parameter, value, "is unknown", f"one of: {', '.join(known)}")


def check_choices(options: Any, known: dict[str, tuple[str, ...]]) -> None:
    """That all values of the fields, which hold several, are known ones."""
    for name, values in known.items():
        for value in getattr(options, name):
            check_choice(name, value, values)


def check_given(options: Any, *names: str) -> None:
    """That the fields, which hold several values, have one; and that no seed is negative."""
    for name in names:
        if not getattr(options, name):
            raise InvalidInput(name, (), "is empty", "give at least one value")
    if min(options.seeds) < 0:
        raise InvalidInput("seeds", options.seeds, "must not be negative")


def check_counts(options: Any, *names: str) -> None:
    """That the fields are at least 1, where they are set."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InvalidInput(name, value, "must be at least 1")
