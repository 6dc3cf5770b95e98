"""What every stage does around its work: locks and errors."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sfddm.environment import scratch
from sfddm.errors import USAGE_ERROR, UserError, shown
from sfddm.spec.fields import require_name

INTERRUPTED = 128 + signal.SIGINT


def main(stage: Callable[..., None], *parameters: str) -> None:
    """Run a stage with the command line's arguments; a user's error is shown as it stands, with exit code 2."""
    arguments = sys.argv[1:]
    try:
        if len(arguments) != len(parameters):
            raise UserError(f"usage: python -m {_module(stage)} {' '.join(name.upper() for name in parameters)}")
        for argument in arguments:
            require_name(argument, "an argument")
        name = "-".join([_module(stage), *arguments]).replace(os.sep, "_")
        with _only_one(scratch() / "locks" / f"{name}.lock"):
            stage(*arguments)
    except (UserError, OSError) as error:
        print(f"error: {shown(error)}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    except KeyboardInterrupt:
        print("interrupted: nothing was left half-written", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _module(stage: Callable[..., None]) -> str:
    return f"stages.{Path(stage.__code__.co_filename).stem}"


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """The lock of one stage with its arguments: after a crash of DVC an older process may still be at it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"another process is making this; waiting for it to end ({path} is locked)", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
