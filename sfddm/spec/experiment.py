"""A whole experiment, the runs that it stands for, and what its sections must agree on."""

from typing import Literal

from attrs import frozen

from sfddm.diffusion.spacing import resolve
from sfddm.errors import SpecError
from sfddm.spec.data import Data
from sfddm.spec.evaluation import Evaluation, Gates, Registry
from sfddm.spec.fields import Name, Seed
from sfddm.spec.index_set import IndexSet
from sfddm.spec.students import Method, Resampled
from sfddm.spec.teacher import Teacher


@frozen(kw_only=True)
class Student:
    """One row of the comparison, trained once a seed. Free samplers of the teacher are students too."""

    index_set: IndexSet
    clip_sample: bool
    """Clip the predicted images to [-1, 1] while sampling."""
    method: Method
    seeds: tuple[Seed, ...]


@frozen(kw_only=True)
class Run:
    """Spec x student x seed: the unit that is distilled, evaluated, tracked and registered."""

    name: str
    spec: str
    student: str
    seed: int
    method: str


@frozen(kw_only=True)
class Spec:
    """One experiment: a data set, a teacher, its students, and how they are judged."""

    version: Literal[1]
    """Of the spec's own format."""
    name: Name
    """The same as the file's."""
    data: Data
    teacher: Teacher
    students: dict[Name, Student]
    evaluation: Evaluation
    registry: Registry
    promotion: Gates

    def runs(self) -> list[Run]:
        """Every student with each of its seeds, in the spec's order."""
        return [
            Run(name=f"{self.name}-{name}-s{seed}", spec=self.name, student=name, seed=seed, method=student.method.kind)
            for name, student in self.students.items()
            for seed in student.seeds
        ]

    def run(self, student: str, seed: str) -> Run:
        """The run of a student and a seed, as a command line names them.

        Raises:
            SpecError: there is no such run.
        """
        runs = {(run.student, str(run.seed)): run for run in self.runs()}
        if (student, seed) not in runs:
            known = ", ".join(" ".join(key) for key in runs)
            raise SpecError(f"{self.name} has no student {student!r} with seed {seed}; it has: {known}.")
        return runs[student, seed]

    def levels(self, student: str) -> tuple[int, ...]:
        """The student's index set phi_1 < ... < phi_T'."""
        return self.levels_of(self.students[student].index_set)

    def levels_of(self, index_set: IndexSet) -> tuple[int, ...]:
        """The levels of an index set on this teacher."""
        return resolve(index_set, self.teacher.noise_schedule, self.teacher.timesteps)

    def parent(self, run: Run) -> str | None:
        """The run whose student this one samples on another index set; None for one that is made from the teacher."""
        method = self.students[run.student].method
        return f"{method.student}-s{run.seed}" if isinstance(method, Resampled) else None
