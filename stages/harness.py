"""What every stage does around its work: locks and errors."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from sfddm.errors import USAGE_ERROR, UserError, shown
from sfddm.pipeline.params import NOT_CURRENT, lists_runs, require_current_code, section
from sfddm.runtime.locks import locked
from sfddm.runtime.machine import choose_kernels, compile_errors, scratch
from sfddm.runtime.memory import memory_errors
from sfddm.runtime.processes import SLURM, is_main, launched, process_group, refuse_tasks, requested, world_size
from sfddm.runtime.signals import SIGNALS, Interrupted, interrupt
from sfddm.spec.fields import require_name
from sfddm.spec.read import load_spec
from stages.slurm import run_under_slurm
from stages.torchrun import run_under_torchrun


def main(stage: Callable[..., None], *parameters: str, shares: bool = False) -> None:
    """Run a stage with the command line's arguments, alone: a second one with the same ones waits.

    A stage that `shares` its work runs in as many processes as SFDDM_NPROC says, of which the first has the lock; if
    SFDDM_SLURM is set, as a job.
    A user's error is shown without a traceback, with exit code 2; SIGINT ends a stage with 130, SIGTERM with 143.
    """
    arguments = sys.argv[1:]
    for number in SIGNALS:
        signal.signal(number, interrupt)
    try:
        if len(arguments) != len(parameters):
            raise UserError(f"usage: python -m {_module(stage)} {' '.join(name.upper() for name in parameters)}")
        for argument in arguments:
            require_name(argument, "an argument")
        _check_code(_module(stage).removeprefix("stages."), *arguments)
        if shares and not launched() and (queued := os.environ.get(SLURM)) is not None:
            run_under_slurm(_module(stage), arguments, queued)
        else:
            _start(stage, arguments, shares)
    except (UserError, OSError) as error:
        print(f"error: {shown(error)}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    except Interrupted as interrupted:
        if is_main():
            print(interrupted, file=sys.stderr)
        sys.exit(interrupted.exit_code)
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)  # on the way out nothing would catch an exception


def _start(stage: Callable[..., None], arguments: list[str], shares: bool) -> None:
    refuse_tasks()
    choose_kernels()
    if world_size() > 1 and not shares:
        raise UserError(f"{_module(stage)} can't be shared by {world_size()} processes: start it without torchrun.")
    if shares and not launched() and requested() > 1:
        run_under_torchrun(_module(stage), arguments, requested())
    else:
        _run(stage, arguments)


def _check_code(stage: str, spec_name: str, item: str = "", seed: str = "") -> None:
    spec = load_spec(spec_name)
    require_current_code(section(stage, spec, spec.run(item, seed).student if seed else item))
    if is_main() and not lists_runs(spec):  # a spec may change while its stages run
        print(f"note: {NOT_CURRENT}", file=sys.stderr, flush=True)


def _run(stage: Callable[..., None], arguments: list[str]) -> None:
    lock = scratch() / "locks" / f"{'-'.join([_module(stage), *arguments]).replace(os.sep, '_')}.lock"
    with (
        locked(lock) if is_main() else nullcontext(),
        memory_errors(_lower_something),
        compile_errors(),
        process_group(),
    ):
        stage(*arguments)


def _module(stage: Callable[..., None]) -> str:
    return f"stages.{Path(stage.__code__.co_filename).stem}"


def _lower_something() -> str:
    return "Lower the batch size or the number of noises or samples in the spec's sections that this stage reads."
