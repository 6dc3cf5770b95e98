"""What every method is given, and what it gives back. Nothing here needs torch: free methods copy files."""

from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from sfddm.diffusion.sampler import Sampler
from sfddm.runtime.kinds import import_kind
from sfddm.spec.students import Student
from sfddm.training.checkpoints import Checkpoints


@frozen(kw_only=True)
class Job:
    """One run: a student, a seed, and where to find what it is made from."""

    name: str
    student: Student
    levels: tuple[int, ...]
    seed: int
    parent: Path
    """The stored network that the student is made from: the teacher, or another student."""
    data: Path
    cache: Path
    """Where trajectories are kept between runs."""
    curve: Path
    """Where the training writes its points."""
    checkpoints: Checkpoints
    """Where the training is kept while it lasts."""
    training_starts: Callable[[int], None]
    """To be called with the number of iterations when the training begins."""


@frozen(kw_only=True)
class Distilled:
    """A finished student."""

    write: Callable[[Path], None]
    """Writes the network's files into an existing folder."""
    sampler: Sampler
    cost: dict[str, int]
    """In forward-equivalents, as `Cost.to_json` has it."""
    curve: Path | None = None
    """The course of the training, where there was one."""


def distill(job: Job) -> Distilled:
    """Make the student with the method that its spec names; only that method's file is imported."""
    made: Distilled = import_kind("distill", job.student.method.kind).distill(job)
    return made
