"""Ships the ledger and the records inside the packages that read them, so that a wheel can verify the claims."""

from pathlib import Path
from shutil import copy2, copytree

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = {"claims.toml": "lop_theory/_shipped/claims.toml", "results": "empirical/_shipped/results"}


class Ship(build_py):
    """Copies what stands at the root of the checkout; an editable installation reads it where it stands."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source, target in SHIPPED.items():
                _copy(Path(source), Path(self.build_lib, target))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        copytree(source, target, dirs_exist_ok=True)
    else:
        copy2(source, target)


setup(cmdclass={"build_py": Ship})
