"""What is mutated, and whose tests should notice."""

import hashlib
from pathlib import Path

from attrs import frozen


@frozen(kw_only=True)
class Setup:
    """A repository, seen from the mutation bench. Patterns are relative to its root."""

    root: Path
    targets: tuple[str, ...]
    """Patterns of the modules that are mutated."""
    tests: tuple[str, ...]
    """Patterns of the files of tests that should notice."""
    marker: str
    """pytest's expression for the tests that are fast."""
    package: str
    """The package of the targets; mypy reads all of it."""
    inputs: tuple[str, ...]
    """The folders that decide whether a mutant is noticed: a result holds until one of their files changes."""
    warm: tuple[str, ...]
    """Modules that take long to import and are not mutated; they are imported once."""

    def modules(self) -> list[str]:
        """The files that are mutated."""
        return self._files(self.targets)

    def test_files(self) -> list[str]:
        """The files of tests."""
        return self._files(self.tests)

    def digest(self) -> str:
        """A name for all files below the inputs as they are now."""
        found = hashlib.sha256()
        for path in self._files(tuple(f"{folder}/**/*" for folder in self.inputs)):
            if "__pycache__" not in path:
                found.update(f"{path}\0{hashlib.sha256((self.root / path).read_bytes()).hexdigest()}\0".encode())
        return found.hexdigest()[:16]

    def _files(self, patterns: tuple[str, ...]) -> list[str]:
        found = {path for pattern in patterns for path in self.root.glob(pattern) if path.is_file()}
        return sorted(path.relative_to(self.root).as_posix() for path in found)
