"""What every method is given, and what it gives back."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from attrs import asdict, frozen

from sfddm.diffusion.sampler import Sampler
from sfddm.spec.experiment import Student
from sfddm.spec.methods import module_name


@frozen(kw_only=True)
class Job:
    """One run: a student, a seed, and where its teacher and its data lie."""

    name: str
    student: Student
    levels: tuple[int, ...]
    seed: int
    teacher: Path
    data: Path
    cache: Path
    """Where trajectories are kept between runs."""
    curve: Path
    """Where the training writes its points."""
    training_starts: Callable[[int], None]
    """To be called with the number of iterations when the training begins."""


@frozen(kw_only=True)
class Cost:
    """What a student cost, in forward-equivalents of its teacher's network.

    A forward pass of one image is 1, a forward and backward pass 3.
    """

    cache: int
    training: int

    def to_json(self) -> dict[str, int]:
        """Plain data, with the total."""
        return {**asdict(self), "total": self.cache + self.training}


NO_COST = Cost(cache=0, training=0)


@frozen(kw_only=True)
class Distilled:
    """A finished student."""

    write: Callable[[Path], None]
    """Writes the network's files into an existing folder."""
    sampler: Sampler
    cost: Cost
    curve: Path | None = None
    """The course of the training, where there was one."""


def distill(job: Job) -> Distilled:
    """Make the student with the method that its spec names; only that method's file is imported."""
    made: Distilled = import_module(f"sfddm.methods.{module_name(job.student.method)}").distill(job)
    return made
