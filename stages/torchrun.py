"""A stage in several processes: it runs itself under torchrun where SFDDM_NPROC asks for it.

The number never stands in a command of dvc.yaml, which DVC hashes: how many processes share the work is no part of an
experiment. The stage becomes torchrun's agent, which starts the processes, ends all of them when one fails or when the
stage is told to end, and waits for them.
"""

import logging
import os
import signal
import sys
from collections.abc import Mapping
from tempfile import TemporaryDirectory

from sfddm.errors import UserError
from sfddm.runtime.processes import available
from sfddm.runtime.signals import Interrupted


def run_under_torchrun(module: str, arguments: list[str], number: int) -> None:
    """Run `python -m MODULE ARGUMENTS` in `number` processes of this machine, and wait for them.

    Raises:
        SystemExit: one of them failed; with its exit code.
        UserError: one of them was killed.
        Interrupted: this process was told to end, and has ended them.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    logging.disable(logging.CRITICAL)  # the processes say what was wrong themselves
    os.environ.setdefault("OMP_NUM_THREADS", str(max(available(on_gpu=False) // number, 1)))
    with TemporaryDirectory() as logs:
        options = ["--standalone", f"--nproc-per-node={number}", f"--log-dir={logs}", "-m", module, *arguments]
        try:
            run(parse_args(options))  # type: ignore[no-untyped-call]
        except SignalException as ended:
            raise Interrupted(ended.sigval, "its processes have ended") from None
        except ChildFailedError as failed:
            codes = {process: (of.timestamp, of.exitcode) for process, of in failed.failures.items()}
            _end_like(*first_failure(codes), number)


def first_failure(failures: Mapping[int, tuple[int, int]]) -> tuple[int, int]:
    """The process to blame, and its exit code, of failures (second, exit code) by process.

    Of those in the first second it is one that was killed: others that lost it ended by themselves. SIGTERM doesn't
    count: torchrun ends the rest with it.
    """

    def blame(process: int) -> tuple[int, bool, bool]:
        second, code = failures[process]
        return second, code == -signal.SIGTERM, code >= 0

    process = min(failures, key=blame)
    return process, failures[process][1]


def _end_like(process: int, code: int, number: int) -> None:
    if code >= 0:
        sys.exit(code)  # it said why itself
    raise UserError(
        f"process {process} of {number} was killed ({signal.Signals(-code).name}), and the others were ended. Nothing "
        "was left half-written; `dvc repro` goes on from the last checkpoint."
    )
