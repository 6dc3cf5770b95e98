"""An any-step student: one network that is told where it stands and where it should land, trained once.

    L = w_hidden D(jump from x_i to phi_j, x_j)  +  w_feature |h'(x_i; i, j) - h(x_j)|,   i > j on a grid of levels

x_i and x_j are states of the same trajectory of the teacher, cached on the whole grid. Jumps have lengths 1, 2, 4, ...
at aligned places, where few-step samplers need them, and a share of them goes between any two levels. Sampled on any
index set: the second time is a number that the network is told, not one of a list. Expected results: docs/study.md.
"""

import numpy as np
import torch
from torch import Tensor

from sfddm.methods.batches import Batch
from sfddm.methods.job import Distilled, Job
from sfddm.methods.losses import jump_loss
from sfddm.methods.trained import distilled, load_teacher, train_student
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.layout import denoiser_digest
from sfddm.networks.student import first_student
from sfddm.randomness import Purpose, generator
from sfddm.spec.methods import AnyStep
from sfddm.training.batches import take
from sfddm.training.loop import Losses
from sfddm.trajectories import Trajectories, load_or_compute


def distill(job: Job) -> Distilled:
    """Train one student."""
    method = job.student.method
    assert isinstance(method, AnyStep)
    teacher = load_teacher(job)
    student = first_student(teacher, method.start, job.seed, two_times=True)
    cached = load_or_compute(teacher, denoiser_digest(job.parent), job.levels, method.cache, job.cache)
    levels = torch.tensor((0, *job.levels), device=teacher.device)
    numbers = torch.arange(method.cache.noises, device=teacher.device)
    size = method.training.batch_size

    def loss(step: int, _: Denoiser) -> Losses:
        random = generator(job.seed, Purpose.TRAINING_BATCH, step)
        jumps = torch.from_numpy(draw_jumps(random, len(job.levels), size, method.unaligned)).to(teacher.device)
        batch = _batch(cached, levels, take(numbers, job.seed, step, size), jumps)
        return losses(method, student, batch, whole=jumps[:, 0] - jumps[:, 1] == len(job.levels))

    return distilled(job, train_student(job, student, loss, method.training))


def losses(method: AnyStep, student: Denoiser, batch: Batch, whole: Tensor) -> Losses:
    """The terms of the loss on one batch; jumps over the `whole` grid (bool [B]) have no feature term."""
    levels = batch.level, batch.landing_level
    own = student(batch.x, *levels)
    term = method.hidden
    hidden = jump_loss(student, own, batch.x, levels, batch.landing, term.distance, term.weighting)
    assert batch.landing_features is not None
    apart = (own.features.float() - batch.landing_features.float()).abs().flatten(1).mean(1)
    feature = (apart * ~whole).mean()
    return {"loss": term.weight * hidden + method.feature.weight * feature, "hidden": hidden, "feature": feature}


def draw_jumps(random: np.random.Generator, steps: int, size: int, unaligned: float) -> np.ndarray:
    """Jumps from grid index i down to j, 0 <= j < i <= steps: int64 [size, 2], rows (i, j).

    Aligned jumps have a length of 1, 2, 4, ... up to `steps`, and start at `steps` less a multiple of it.
    """
    length = 2 ** random.integers(0, int(np.log2(steps)) + 1, size)
    start = steps - length * random.integers(0, -(-steps // length))
    aligned = np.stack([start, np.maximum(start - length, 0)], axis=1)
    # Two different numbers of 0..steps: the second is drawn from the `steps` that are left.
    first, second = random.integers(0, steps + 1, size), random.integers(0, steps, size)
    second += second >= first
    free = np.stack([np.maximum(first, second), np.minimum(first, second)], axis=1)
    return np.where((random.random(size) < unaligned)[:, None], free, aligned)


def _batch(cached: Trajectories, levels: Tensor, chosen: Tensor, jumps: Tensor) -> Batch:
    start, end = jumps.unbind(1)
    return Batch(
        x=cached.states[start, chosen],
        level=levels[start],
        landing_level=levels[end],
        landing=cached.states[end, chosen],
        landing_features=cached.features[end, chosen],
    )
