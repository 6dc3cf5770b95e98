"""A whole experiment and its runs."""

from typing import Literal

from attrs import frozen

from sfddm.errors import SpecError
from sfddm.spec.data import Data
from sfddm.spec.evaluation import Evaluation, Gates, Registry, Scorer
from sfddm.spec.fields import Name
from sfddm.spec.index_set import IndexSet
from sfddm.spec.parts import Context
from sfddm.spec.students import Free, Resampled, Student
from sfddm.spec.teacher import Teacher


@frozen(kw_only=True)
class Run:
    """Spec x student x seed: the unit that is distilled, evaluated, tracked and registered."""

    name: str
    spec: str
    student: str
    seed: int
    method: str
    """The method, or the solver of a free row."""


@frozen(kw_only=True)
class Spec:
    """One experiment: a data set, a teacher, its students, and how they are judged."""

    version: Literal[2]
    """The version of the format."""
    name: Name
    """The name of the file, without `.yaml`."""
    data: Data
    teacher: Teacher
    students: dict[Name, Student]
    """The rows of the comparison by their names: students, and free samplers of the teacher."""
    evaluation: Evaluation
    registry: Registry
    promotion: Gates

    @property
    def context(self) -> Context:
        """What students are checked against."""
        return Context(teacher=self.teacher, shape=self.data.shape, students=self.students)

    def runs(self) -> list[Run]:
        """Every student with each of its seeds, in the spec's order."""
        return [self._run(name, seed) for name, student in self.students.items() for seed in student.seeds]

    def _run(self, name: str, seed: int) -> Run:
        method = self.students[name].method
        what = method.solver if isinstance(method, Free) else method.kind
        return Run(name=f"{self.name}-{name}-s{seed}", spec=self.name, student=name, seed=seed, method=what)

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

    def scorer(self, name: str) -> Scorer:
        """The scorer of that name.

        Raises:
            SpecError: there is none.
        """
        if name not in self.evaluation.scorers:
            raise SpecError(f"{self.name} has no scorer {name!r}; it has: {', '.join(self.evaluation.scorers)}.")
        return self.evaluation.scorers[name]

    def trained(self, student: str) -> str:
        """The student whose weights this one has: itself, or the one that it samples again."""
        method = self.students[student].method
        return method.student if isinstance(method, Resampled) else student

    def levels(self, student: str) -> tuple[int, ...]:
        """The student's index set phi_1 < ... < phi_T'."""
        return self.levels_of(self.students[student].index_set)

    def levels_of(self, index_set: IndexSet) -> tuple[int, ...]:
        """The levels of an index set on this teacher."""
        return self.context.levels(index_set)

    def parent(self, run: Run) -> str | None:
        """The run whose training this one has its weights from; None for one that is made from the teacher."""
        method = self.students[run.student].method
        return f"{method.student}-s{run.seed}" if isinstance(method, Resampled) else None
