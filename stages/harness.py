"""What every stage does around its work: locks and errors."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from sfddm.environment import scratch
from sfddm.errors import USAGE_ERROR, UserError, shown
from sfddm.interrupts import SIGNALS, Interrupted, interrupt
from sfddm.locks import locked
from sfddm.shortage import memory_errors
from sfddm.spec.fields import require_name


def main(stage: Callable[..., None], *parameters: str) -> None:
    """Run a stage with the command line's arguments, alone: a second process with the same ones waits.

    A user's error is shown as it stands, with exit code 2; SIGINT ends a stage with 130, SIGTERM with 143.
    """
    arguments = sys.argv[1:]
    for number in SIGNALS:
        signal.signal(number, interrupt)
    try:
        if len(arguments) != len(parameters):
            raise UserError(f"usage: python -m {_module(stage)} {' '.join(name.upper() for name in parameters)}")
        for argument in arguments:
            require_name(argument, "an argument")
        name = "-".join([_module(stage), *arguments]).replace(os.sep, "_")
        with locked(scratch() / "locks" / f"{name}.lock"), memory_errors(_lower_something):
            stage(*arguments)
    except (UserError, OSError) as error:
        print(f"error: {shown(error)}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        sys.exit(interrupted.exit_code)


def _module(stage: Callable[..., None]) -> str:
    return f"stages.{Path(stage.__code__.co_filename).stem}"


def _lower_something() -> str:
    return "Lower the batch size or the number of noises or samples in the spec's sections that this stage reads."
