"""Steps shared by all trained methods: load the teacher, train, package the student."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Generic, TypeVar

from attrs import frozen

from sfddm.data import store
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.solvers import Solver
from sfddm.errors import UserError
from sfddm.methods.job import Distilled, Job
from sfddm.methods.trajectories import Trajectories, load_or_compute
from sfddm.networks import storage
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.layout import denoiser_digest
from sfddm.networks.size import share
from sfddm.runtime.machine import device
from sfddm.spec.parts import Cache
from sfddm.spec.students import Trained
from sfddm.training.batches import Draw, Rows, real_classes, real_images
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.loop import Companion, Fitted, Losses, prepare, train

Loss = Callable[[int, Denoiser], Losses]
"""The loss of an iteration, given the average so far that targets may come from."""
M = TypeVar("M", bound=Trained)


@frozen(kw_only=True)
class Task(Generic[M]):
    """What a trained method is given: everything is loaded, or is when it is asked for."""

    method: M
    levels: tuple[int, ...]
    """phi_1 < ... < phi_T'."""
    seed: int
    teacher: Denoiser
    """The network that the student is made from, on the device where it is trained."""
    images: Callable[[Rows], Draw]
    """Batches of real images, of which this process takes some rows."""
    classes: Callable[[Rows], Draw | None]
    """Their classes; None where the teacher is told none."""
    trajectories: Callable[[Cache], Trajectories]
    """The teacher's trajectories through the levels; the same ones are in memory once."""
    curve: Callable[[int], Curve]
    """The course of a training of so many iterations, to be used as a context."""
    checkpoints: Checkpoints

    def fit(
        self,
        student: Denoiser,
        loss: Loss,
        target_average: float | None = None,
        companion: Companion | None = None,
    ) -> Fitted[Denoiser]:
        """Train a student in one go: `sfddm.training.loop.train`."""
        training = self.method.training
        with self.curve(training.iterations) as curve:
            return train(
                student,
                loss,
                training,
                curve,
                self.checkpoints,
                target_average=target_average,
                companion=companion,
                seed=self.seed,
            )


def distilled(
    job: Job, make: Callable[[Task[M]], Fitted[Denoiser]], kind: type[M], solver: Solver = "ddim"
) -> Distilled:
    """The student that a method of `kind` makes, its sampler and what it cost."""
    task = task_of(job, kind)
    fitted, contract, method = make(task), task.teacher.contract, task.method
    network = share(getattr(method, "start", None), task.teacher.config)  # a method of one's own may do without
    return Distilled(
        write=partial(storage.write, denoiser=fitted.network, others=fitted.others),
        sampler=Sampler(solver=solver, levels=job.levels, clip_sample=job.student.clip_sample),
        cost=job.student.cost(job.levels, contract.noise_schedule, contract.timesteps, network).to_json(),
        curve=job.curve,
    )


def task_of(job: Job, kind: type[M]) -> Task[M]:
    """The task of a job whose method is of `kind`, with the teacher loaded."""
    method = job.student.method
    assert isinstance(method, kind)
    teacher = storage.load(job.parent, device())
    prepare(teacher, method.training)
    return Task(
        method=method,
        levels=job.levels,
        seed=job.seed,
        teacher=teacher,
        images=partial(_images, job.data, teacher),
        classes=partial(_classes, job.data, teacher),
        trajectories=cache(partial(_trajectories, job, teacher)),
        curve=partial(_curve, job, method.training.batch_size),
        checkpoints=job.checkpoints,
    )


def require_same_features(student: Denoiser, teacher: Denoiser) -> None:
    """Raises: UserError: the feature term can't compare their activations one by one; with imported teachers the spec
    doesn't know it before."""
    own, teachers = ("x".join(map(str, network.feature_shape)) for network in (student, teacher))
    if own != teachers:
        raise UserError(
            f"the student's network has {own} features and the teacher's {teachers}: give the student's network "
            f"{teacher.feature_shape[0]} as the first entry of channels and the teacher's patch, or leave the feature "
            "term out."
        )


def _images(data: Path, teacher: Denoiser, rows: Rows) -> Draw:
    return real_images(store.read(data, "train"), rows, teacher.device)


def _classes(data: Path, teacher: Denoiser, rows: Rows) -> Draw | None:
    told = teacher.contract.classes
    return real_classes(store.read(data, "train"), told, rows, teacher.device) if told else None


def _trajectories(job: Job, teacher: Denoiser, source: Cache) -> Trajectories:
    return load_or_compute(teacher, denoiser_digest(job.parent), job.levels, source, job.cache)


def _curve(job: Job, batch_size: int, iterations: int) -> Curve:
    job.training_starts(iterations)
    return Curve(job.curve, job.name, iterations, batch_size)
