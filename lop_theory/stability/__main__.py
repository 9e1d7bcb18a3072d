"""``python -m lop_theory.stability``: the command, loaded where a missing PyTorch is one line and no traceback."""

from lop_theory.cli import run


def main(arguments: list[str] | None = None) -> int:
    from lop_theory.stability.command import main as command

    return command(arguments)


if __name__ == "__main__":
    run(main)
