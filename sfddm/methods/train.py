"""The way from a job to a trained student that all methods share: load the parent, follow the curve, store the rest."""

from collections.abc import Callable
from functools import partial

from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.solvers import Solver
from sfddm.errors import UserError
from sfddm.methods.costs import cost
from sfddm.methods.job import Distilled, Job
from sfddm.networks import storage
from sfddm.networks.denoiser import Denoiser
from sfddm.runtime.machine import device
from sfddm.spec.training import Training
from sfddm.training.curve import Curve
from sfddm.training.loop import Losses, prepare, train

Loss = Callable[[int, Denoiser], Losses]
"""The loss of an iteration, given the average so far."""


def load_teacher(job: Job, training: Training) -> Denoiser:
    """The network that the student is made from, on the device where it is trained, and computing as it does."""
    teacher = storage.load(job.parent, device())
    prepare(teacher, training)
    return teacher


def require_same_features(student: Denoiser, teacher: Denoiser) -> None:
    """Raises: UserError: the feature term can't compare their activations one by one; of imported teachers the spec
    doesn't know it before."""
    own, teachers = (network.config["block_out_channels"][0] for network in (student, teacher))
    if own != teachers:
        raise UserError(
            f"the student's network has {own} features and the teacher's {teachers}: give the student's network "
            f"{teachers} as the first entry of channels, or set the weight of its feature term to 0."
        )


def train_student(job: Job, student: Denoiser, loss: Loss, training: Training) -> Denoiser:
    """Train in one go, and follow the course."""
    job.training_starts(training.iterations)
    with Curve(job.curve, job.name, training.iterations, training.batch_size) as curve:
        return train(student, loss, training, curve, job.checkpoints)


def distilled(job: Job, student: Denoiser, solver: Solver = "ddim") -> Distilled:
    """A trained student, its sampler and what it cost."""
    contract = student.contract
    return Distilled(
        write=partial(storage.write, denoiser=student),
        sampler=Sampler(solver=solver, levels=job.levels, clip_sample=job.student.clip_sample),
        cost=cost(job.student.method, job.levels, contract.noise_schedule, contract.timesteps).to_json(),
        curve=job.curve,
    )
