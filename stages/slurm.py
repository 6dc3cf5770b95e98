"""A stage on a cluster: it queues itself with SLURM where SFDDM_SLURM asks for it, shows the job's output and waits.

SFDDM_SLURM has options of `sbatch`, such as `--gpus=1 --time=4:00:00`. Like the number of processes they are no part of
an experiment. DVC stays where it was started, so one that works on several runs (`sfddm run --jobs`) queues several
jobs. All machines have to see the project's folder.
"""

import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from sfddm.errors import UserError
from sfddm.runtime.machine import scratch
from sfddm.runtime.processes import SLURM
from sfddm.runtime.signals import Interrupted, postponed

UNKNOWN = "unknown"
WARNING = 120
"""Seconds before its time is up in which a job may write a checkpoint."""
PAUSE = 0.5
"""Seconds between two looks at the job's output."""
SCRIPT = """#!/bin/bash
unset {options}
each=${{SLURM_GPUS_ON_NODE:-${{SFDDM_NPROC:-1}}}}
unset SFDDM_NPROC
if [ $((SLURM_NNODES * each)) = 1 ]; then
  exec srun --ntasks=1 {python} -m {module} {arguments}
fi
export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-$((SLURM_CPUS_ON_NODE > each ? SLURM_CPUS_ON_NODE / each : 1))}}
exec srun --ntasks-per-node=1 {python} -m torch.distributed.run --nnodes="$SLURM_NNODES" --nproc-per-node="$each" \\
  --rdzv-backend=c10d --rdzv-endpoint="$(hostname):$((20000 + SLURM_JOB_ID % 10000))" --rdzv-id="$SLURM_JOB_ID" \\
  -m {module} {arguments}
"""


def run_under_slurm(module: str, arguments: list[str], options: str) -> None:
    """Queue `python -m MODULE ARGUMENTS`, and wait until it is done, however often it is queued again before.

    Raises:
        SystemExit: the stage failed; with its exit code.
        UserError: there is no SLURM, it refuses the options, or the job was ended by something else than the stage.
        Interrupted: this process was told to end, and has cancelled the job.
    """
    if shutil.which("sbatch") is None:
        raise UserError(f"{SLURM} is set, and there is no sbatch here: unset it, or start this where SLURM is.")
    log = scratch() / "logs" / f"slurm-{'-'.join([module, *arguments])}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    script = SCRIPT.format(
        options=SLURM, python=shlex.quote(sys.executable), module=module, arguments=shlex.join(arguments)
    )
    command = [
        "sbatch", "--parsable", "--wait", "--requeue", "--open-mode=append", f"--signal=TERM@{WARNING}",
        f"--job-name={'-'.join([module.removeprefix('stages.'), *arguments])}", f"--output={log}",
        *shlex.split(options),
    ]  # fmt: skip
    waiting = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert waiting.stdin is not None and waiting.stdout is not None and waiting.stderr is not None
    job = ""
    try:
        with postponed():  # until the job's number is known, by which it is cancelled
            with suppress(BrokenPipeError):  # what it refuses it may not read
                waiting.stdin.write(script)
                waiting.stdin.close()
            job = waiting.stdout.readline().strip().partition(";")[0]
        if not job:
            raise UserError(f"sbatch refused {shlex.join(command)}: {waiting.stderr.read().strip()}")
        print(f"SLURM job {job} is queued; its output is in {log}", file=sys.stderr, flush=True)
        _show(log, waiting)
    except Interrupted as interrupted:
        if job:
            subprocess.run(["scancel", job], check=False)
        waiting.wait()
        raise Interrupted(interrupted.exit_code - 128, f"SLURM job {job} was cancelled") from None
    _end(job, waiting.returncode, log)


def _show(log: Path, waiting: "subprocess.Popen[str]") -> None:
    """Pass on what the job writes until it is done."""
    with log.open("rb") as file:
        while True:
            done = waiting.poll() is not None
            sys.stderr.buffer.write(file.read())
            sys.stderr.flush()
            if done:
                return
            time.sleep(PAUSE)


def _state(job: str) -> tuple[str, str]:
    """The state of a job and the reason for it; SLURM forgets jobs some minutes after they have ended."""
    shown = subprocess.run(["scontrol", "show", "job", "-o", job], capture_output=True, text=True, check=False).stdout
    found = re.search(r"JobState=(\S+) Reason=(\S+)", shown)
    return (found[1], found[2]) if found else (UNKNOWN, UNKNOWN)


def _end(job: str, code: int, log: Path) -> None:
    """Go on after a job that is done, or end as it did: sbatch's own code is 0 for one that was cancelled."""
    state, reason = _state(job)
    while state == "COMPLETING":  # an epilog, or another node
        time.sleep(PAUSE)
        state, reason = _state(job)
    if state == "COMPLETED" or (state == UNKNOWN and not code):
        return
    if state == "FAILED":
        sys.exit(code or 1)  # the stage said why itself
    raise UserError(
        f"SLURM job {job} ended as {state} (reason: {reason}); its output is in {log}. Nothing was left half-written; "
        "the same command goes on from the last checkpoint."
    )
