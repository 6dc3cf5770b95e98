"""Errors that a user can cause and mend."""

from pathlib import Path

USAGE_ERROR = 2
"""The exit code of every command and stage that ends in one of them."""


class UserError(Exception):
    """What is wrong, where, and what to do; shown without a traceback."""


class SpecError(UserError):
    """One or more faults in a spec file, each with its place."""


def missing(path: Path) -> UserError:
    """An output of the pipeline that is not there."""
    return UserError(f"{path} is missing: `dvc repro` makes it, `dvc pull` fetches it from a remote.")


def damaged(path: Path, reason: object) -> UserError:
    """An output of the pipeline that can't be what was written."""
    return UserError(f"{path} is damaged ({reason}): delete it and run `dvc checkout` or `dvc repro`.")


def printable(text: str) -> str:
    """`text` on one line; what a terminal would obey or hide (control characters, marks of direction) as escapes."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def shown(error: BaseException) -> str:
    """An error's lines, fit for a terminal."""
    return "\n".join(printable(line) for line in str(error).split("\n"))
