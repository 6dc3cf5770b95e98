"""Which mutants mypy refuses: they would not get as far as the tests."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.mutation.mutants import Mutant
from bench.mutation.setup import Setup


class TypeChecker:
    """A copy of the package in which mypy looks at mutants of several modules at once."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        self._setup, self._folder = setup, folder
        self._writes = 0
        self.refused = 0
        """How many mutants had an error so far."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(
            setup.root / setup.package, folder / setup.package, ignore=shutil.ignore_patterns("__pycache__")
        )
        if (setup.root / "pyproject.toml").exists():
            shutil.copy(setup.root / "pyproject.toml", folder)
        failing = self._failing()
        if failing:
            raise SystemExit(f"mypy finds faults without any mutant, in {', '.join(sorted(failing))}")

    def passing(self, mutants: Sequence[Mutant]) -> list[Mutant]:
        """Those without an error in their own module. They have to be of different modules."""
        for mutant in mutants:
            self._write(mutant.path, mutant.source)
        failing = self._failing()
        for mutant in mutants:
            self._write(mutant.path, (self._setup.root / mutant.path).read_text(encoding="utf-8"))
        found = [mutant for mutant in mutants if mutant.path not in failing]
        self.refused += len(mutants) - len(found)
        return found

    def _write(self, path: str, text: str) -> None:
        """Change a file of the copy, at a second of its own: to mypy, equal size and second mean equal contents."""
        self._writes += 1
        (self._folder / path).write_text(text, encoding="utf-8")
        os.utime(self._folder / path, (self._writes, self._writes))

    def _failing(self) -> set[str]:
        command = [sys.executable, "-m", "mypy", "--package", self._setup.package, "--no-error-summary"]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(f"mypy: {(done.stdout + done.stderr).strip()}")
        return {line.partition(":")[0] for line in done.stdout.splitlines() if ": error:" in line}
