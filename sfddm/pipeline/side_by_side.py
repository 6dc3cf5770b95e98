"""The runs of a spec side by side: one DVC makes what they share, then several of them a run each.

DVC lets go of its project while a stage's command runs, and guards the paths that the stage reads and writes; so DVCs
that wait for each other (`--wait-for-lock`) work in one project, and what they leave is what one of them would. Each
has a GPU of its own, or its share of the processors.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Self

from attrs import define, field, frozen

from sfddm.errors import USAGE_ERROR, UserError
from sfddm.runtime.machine import device, scratch
from sfddm.runtime.processes import SLURM, available
from sfddm.runtime.signals import postponed
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.parts import Cost

WAITS, RUNS, DONE, FAILED, LEFT = "waits", "runs", "done", "failed", "left out"
ERROR, DVCS = "error: ", "ERROR: "
"""How a stage's own words begin, and DVC's after it."""
TAIL = 2**14
"""Bytes at the end of a log that are looked at."""


@frozen
class Place:
    """Where one of several DVCs works."""

    name: str
    environment: dict[str, str]


@define(eq=False)
class Work:
    """What one DVC is asked for."""

    name: str
    stages: list[str]
    log: Path
    after: "list[Work]" = field(factory=list)
    """Has to be done before."""
    state: str = WAITS
    place: Place = Place("", {})
    process: "subprocess.Popen[bytes] | None" = None
    fault: str = ""
    """Why it could not be started."""

    def last_line(self, beginning: str = "") -> str:
        """What it said last, or in the last line with this beginning."""
        lines = reversed(self._lines())
        return next((line.strip() for line in lines if line.strip() and line.startswith(beginning)), "")

    def error(self) -> str:
        """What its stage gave as the reason to end, all lines of it."""
        lines = self._lines()
        begins = [place for place, line in enumerate(lines) if line.startswith(ERROR)]
        said = takewhile(lambda line: not line.startswith(DVCS), lines[begins[-1] :] if begins else [])
        return "\n".join(said).removeprefix(ERROR).rstrip()

    def _lines(self) -> list[str]:
        """The end of its log."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as file:
            file.seek(max(self.log.stat().st_size - TAIL, 0))
            return file.read().decode(errors="replace").replace("\r", "\n").split("\n")


def places(jobs: int) -> list[Place]:
    """A GPU for each job, or an equal share of the processors; where SLURM runs the stages, whatever it gives them.

    Args:
        jobs: how many at once; 0 for as many as there are devices.

    Raises:
        UserError: there are more jobs than devices.
    """
    if SLURM in os.environ and jobs >= 1:
        return [Place("SLURM", {})] * jobs
    if jobs == 1:
        return [Place("all", {})]  # what is set stays, as with `dvc repro`
    on_gpu = device().type == "cuda"
    there = available(on_gpu)
    if not 0 <= jobs <= there or SLURM in os.environ:
        what = "CUDA devices" if on_gpu else "processors"
        raise UserError(f"--jobs is {jobs}, and this machine has {there} {what}: expected a number from 1 to {there}, "
                        "or 0 for all of them.")  # fmt: skip
    jobs = jobs or there
    if on_gpu:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(there)))
        return [Place(f"GPU {name}", {"CUDA_VISIBLE_DEVICES": name}) for name in visible.split(",")[:jobs]]
    threads = os.environ.get("OMP_NUM_THREADS") or str(there // jobs)
    return [Place(f"{threads} threads", {"OMP_NUM_THREADS": threads})] * jobs


def works(spec: Spec, pending: Collection[str] | None = None) -> list[Work]:
    """Everything of a spec: what runs share, each run after the one that it is made from, and what reads them all.

    What has none of the `pending` stages is done already; None where these are not known. A DVC that is started for
    nothing takes seconds, and a spec may have a hundred runs.
    """

    def work(name: str, stages: list[str], after: Sequence[Work] = ()) -> Work:
        made = pending is not None and not set(stages) & set(pending)
        log = scratch() / "logs" / f"{name.replace(', ', '-')}.log"
        return Work(name, stages, log, list(after), state=DONE if made else WAITS)

    data = work(f"{spec.name}, data", [f"data@{spec.name}"])
    teacher = work(f"{spec.name}, teacher", [f"teacher@{spec.name}"], [data])
    # Evaluations need it, trainings don't.
    reference = work(f"{spec.name}, reference", [f"reference@{spec.name}"], [teacher])
    scorers = [work(f"{spec.name}, {name}", [f"scorer@{spec.name}-{name}"], [data]) for name in spec.evaluation.scorers]
    costs = {run: _cost(spec, run) for run in spec.runs()}
    made, runs = dict[str, Work](), list[Work]()
    # The dearest first, so that none of them goes on alone at the end.
    for run in sorted(costs, key=lambda run: costs[run].total, reverse=True):
        distill, evaluate = f"distill@{run.name}", f"evaluate@{run.name}"
        if costs[run].training:
            made[run.name] = work(f"{run.name}, training", [distill], [teacher])
            runs += [made[run.name], work(run.name, [evaluate], [made[run.name], reference, *scorers])]
        else:  # one start of DVC for both
            made[run.name] = work(run.name, [distill, evaluate], [teacher, reference, *scorers])
            runs.append(made[run.name])
    for run in costs:
        if parent := spec.parent(run):
            made[run.name].after.append(made[f"{spec.name}-{parent}"])
    last = work(f"{spec.name}, comparison", [f"track@{spec.name}", f"report@{spec.name}"], runs)
    return [data, teacher, *scorers, reference, *runs, last]


def _cost(spec: Spec, run: Run) -> Cost:
    teacher = spec.teacher
    return spec.students[run.student].cost(spec.levels(run.student), teacher.noise_schedule, teacher.timesteps)


class SideBySide:
    """Works as they go on, one in each place. Leaving the context ends what still runs, trainings with a checkpoint."""

    def __init__(self, works: Sequence[Work], where: Sequence[Place]) -> None:
        self._works, self._free = works, list(where)

    def __enter__(self) -> Self:
        for work in self._works:
            work.log.parent.mkdir(parents=True, exist_ok=True)
            work.log.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        running = [work.process for work in self._works if work.process and work.process.poll() is None]
        for process in running:  # Ctrl-C for DVC and its stage: the stage keeps a checkpoint, and DVC waits for it
            os.killpg(process.pid, signal.SIGINT)
        for process in running:
            process.wait()

    def look(self) -> bool:
        """Note what has ended, and start what can be; returns whether there is something left to do."""
        for work in self._works:
            if work.state == RUNS and work.process and (code := work.process.poll()) is not None:
                work.state = FAILED if code else DONE
                self._free.append(work.place)
        for work in self._works:
            if work.state == WAITS and any(each.state in (FAILED, LEFT) for each in work.after):
                work.state = LEFT
            elif work.state == WAITS and self._free and all(each.state == DONE for each in work.after):
                self._start(work)
        return any(work.state in (WAITS, RUNS) for work in self._works)

    def _start(self, work: Work) -> None:
        place = self._free.pop(0)
        try:
            with work.log.open("wb") as log, postponed():  # whatever comes between, it is known that the process runs
                work.process = subprocess.Popen(
                    # Items alone: DVC would look at what comes before each, which the others may be writing.
                    [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", *work.stages],
                    env={**os.environ, **place.environment}, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
                work.state, work.place = RUNS, place
        except OSError as error:  # a full disk, too many processes
            work.state, work.fault = FAILED, str(error)
            self._free.append(place)


def faults(works: Sequence[Work]) -> Iterator[str]:
    """What to say of what failed."""
    for work in works:
        if work.state == FAILED:
            # DVC says after the stage that it has failed, so the last line is the last resort.
            yield f"{work.name} failed: {work.fault or work.error() or work.last_line()}\n{work.log} has all of it."


def exit_code(works: Sequence[Work]) -> int:
    """That of a stage that ended in what a user can mend; 0 where all are done, 1 for everything else."""
    if all(work.state == DONE for work in works):
        return 0
    mended = f"exited with {USAGE_ERROR}"
    return USAGE_ERROR if any(work.last_line(DVCS).endswith(mended) for work in works if work.state == FAILED) else 1
