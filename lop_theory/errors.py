"""Errors that a user can cause. Our own invariants are plain ``assert``."""


class InvalidInput(ValueError):  # noqa: N818 - the project's public name
    """Input that no computation can accept.

    The message is one line: parameter, value, requirement, remedy.
    """

    def __init__(self, parameter: str, value: object, requirement: str, remedy: str = "") -> None:
        self.parameter = parameter
        self.value = value
        self.requirement = requirement
        self.remedy = remedy
        super().__init__(f"{parameter}={shorten(value)}: {requirement}" + (f"; {remedy}" if remedy else ""))


def shorten(value: object, limit: int = 80) -> str:
    """``repr`` on one line; the middle of a long one is left out, so that a path keeps its file name."""
    text = " ".join(repr(value).split())
    half = limit // 2
    return text if len(text) <= limit else f"{text[: half - 1]}…{text[-half:]}"
