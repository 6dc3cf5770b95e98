"""Ending with the process that started a stage."""

import ctypes
import os
import signal
import sys
from pathlib import Path

from sfddm.runtime.processes import LAUNCHED

SET_PARENT_DEATH_SIGNAL = 1
"""Linux's PR_SET_PDEATHSIG."""


def die_with_parent() -> None:
    """Under DVC or torchrun, end when that is killed: nobody would wait for the result, and the next repro starts anew.

    With SIGTERM, so that a training writes a checkpoint first: where a machine is taken away, DVC and its stage are
    told together, and DVC is gone at once.
    """
    if not {"DVC_STAGE", LAUNCHED} & set(os.environ) or sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent or (parent == 1 and not _starts_stages(Path("/proc/1/cmdline"))):
        sys.exit("the process that started this stage is gone")


def _starts_stages(command_line: Path) -> bool:
    """Whether process 1, which takes over orphans, is itself what started this one, as it can be in a container."""
    # A worker of torchrun that lost it early finds no one to join, and ends by itself.
    return LAUNCHED in os.environ or b"dvc" in command_line.read_bytes()
