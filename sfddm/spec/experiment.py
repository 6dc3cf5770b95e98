"""A whole experiment, the runs that it stands for, and what its sections must agree on."""

from collections.abc import Iterator
from typing import Literal

from attrs import frozen

from sfddm.diffusion.index_set import IndexSetError, resolve
from sfddm.errors import SpecError
from sfddm.spec.data import Data
from sfddm.spec.evaluation import Evaluation, Registry
from sfddm.spec.fields import Name, Seed
from sfddm.spec.index_set import IndexSet
from sfddm.spec.methods import FREE, SFDDM, DataSource, Method, TrajectorySource
from sfddm.spec.structure import Fault, nearest
from sfddm.spec.teacher import Teacher, UNet2D
from sfddm.spec.training import Training


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
        return resolve(index_set, self.teacher.timesteps)


def cross_check(spec: Spec) -> Iterator[Fault]:
    """Yield every disagreement between sections that are each valid alone."""
    yield from _check_data(spec)
    yield from _check_training(spec.teacher.source.training, ("teacher", "source", "training"))
    yield from _check_training(spec.evaluation.scorer.training, ("evaluation", "scorer", "training"))
    yield from _check_network(spec.teacher.source.network, spec.data.shape)
    yield from _check_index_set(spec.evaluation.reference.index_set, spec, ("evaluation", "reference", "index_set"))
    if not spec.students:
        yield Fault("expected at least one student", ("students",))
    for name, student in spec.students.items():
        path = ("students", name)
        yield from _check_index_set(student.index_set, spec, (*path, "index_set"))
        if not student.seeds or len(set(student.seeds)) < len(student.seeds):
            yield Fault("expected one seed or several different ones", (*path, "seeds"))
        if isinstance(student.method, FREE) and len(student.seeds) > 1:
            yield Fault("a free sampler trains nothing: give it one seed", (*path, "seeds"))
        if isinstance(student.method, SFDDM):
            yield from _check_sfddm(student.method, (*path, "method"))
            yield from _check_training(student.method.training, (*path, "method", "training"))
    for position, name in enumerate(spec.registry.students):
        if name not in spec.students:
            yield Fault(f"unknown student {name!r}{nearest(name, spec.students)}", ("registry", "students", position))


def _check_data(spec: Spec) -> Iterator[Fault]:
    if not 1 < spec.data.train < spec.data.size:
        yield Fault(f"expected fewer than the {spec.data.size} images of the set", ("data", "train"))


def _check_network(network: UNet2D, shape: tuple[int, int, int]) -> Iterator[Fault]:
    path = ("teacher", "source", "network")
    if len(network.attention) != len(network.channels):
        yield Fault(f"expected {len(network.channels)} entries, as many as channels", (*path, "attention"))
    for position, channels in enumerate(network.channels):
        if channels % network.norm_groups:
            message = f"expected a multiple of norm_groups ({network.norm_groups}), found {channels}"
            yield Fault(message, (*path, "channels", position))
    halvings = 2 ** max(len(network.channels) - 1, 0)
    if not network.channels or shape[1] % halvings or shape[2] % halvings:
        yield Fault(f"{shape[1]}x{shape[2]} images can't be halved that often", (*path, "channels"))


def _check_index_set(index_set: IndexSet, spec: Spec, path: tuple[str, ...]) -> Iterator[Fault]:
    try:
        resolve(index_set, spec.teacher.timesteps)
    except IndexSetError as error:
        yield Fault(str(error), (*path, error.field))


def _check_sfddm(method: SFDDM, path: tuple[str, ...]) -> Iterator[Fault]:
    if method.output.weight == method.hidden.weight == method.feature.weight == 0:
        yield Fault("the weights of output, hidden and feature are all 0: give one of them a positive weight", path)
    if isinstance(method.source, TrajectorySource) and method.source.noises < method.training.batch_size:
        yield Fault("expected at least one batch of noises", (*path, "source", "noises"))
    walks = method.hidden.weight > 0 or (method.feature.weight > 0 and method.feature.state == "landing")
    if isinstance(method.source, DataSource) and method.source.substeps > 1 and not walks:
        yield Fault("no term needs the landing state that sub-steps lead to: set substeps to 1", (*path, "source"))


def _check_training(training: Training, path: tuple[str, ...]) -> Iterator[Fault]:
    if training.warmup + training.decay * training.iterations > training.iterations:
        yield Fault("warm-up and decay together are longer than the training", (*path, "warmup"))
