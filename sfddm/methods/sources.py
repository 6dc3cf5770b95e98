"""The sources of SFDDM's batches: trajectories of the teacher, rollouts of the student, noised real images."""

from collections.abc import Callable

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sfddm.data import store
from sfddm.methods.batches import Batch, join, jump, noised, paths, walk
from sfddm.methods.job import Job
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.layout import denoiser_digest
from sfddm.randomness import Purpose, generator
from sfddm.spec.sources import DataSource, RolloutSource, Source, TrajectorySource, split
from sfddm.training.batches import integers, real_images, take
from sfddm.trajectories import Trajectories, load_or_compute

Draw = Callable[[int, Denoiser], Batch]
"""The batch of one iteration, for the student as it is by then."""
Part = Callable[[int, np.random.Generator, Denoiser], Batch]
"""One source's part of it."""


@frozen
class Needs:
    """What the terms of a loss ask of a source."""

    landing: bool
    features: bool


def batches(job: Job, sources: tuple[Source, ...], size: int, teacher: Denoiser, needs: Needs) -> Draw:
    """Batches of `size` images from all sources, each with its share."""
    parts = [
        _part(job, source, count, teacher, needs)
        for source, count in zip(sources, split(sources, size), strict=True)
        if count
    ]

    def draw(step: int, student: Denoiser) -> Batch:
        random = generator(job.seed, Purpose.TRAINING_BATCH, step)
        return join([part(step, random, student) for part in parts])

    return draw


def _part(job: Job, source: Source, size: int, teacher: Denoiser, needs: Needs) -> Part:
    match source:
        case DataSource(substeps=substeps):
            return _from_data(job, substeps, size, teacher, needs)
        case TrajectorySource() | RolloutSource():
            cached = load_or_compute(teacher, denoiser_digest(job.parent), job.levels, source.cache, job.cache)
            return _from_cache(job, cached, size, isinstance(source, RolloutSource), needs)


def _from_cache(job: Job, cached: Trajectories, size: int, rollout: bool, needs: Needs) -> Part:
    """Segments of the teacher's trajectories: the noises in turn, the segment at random."""
    device = cached.states.device
    levels = torch.tensor((0, *job.levels), device=device)
    numbers = torch.arange(cached.states.shape[1], device=device)

    def draw(step: int, random: np.random.Generator, student: Denoiser) -> Batch:
        chosen = take(numbers, job.seed, step, size)
        k = integers(random, 1, len(levels), size, device)
        return Batch(
            x=_roll_out(student, cached.states[-1, chosen], levels, k) if rollout else cached.states[k, chosen],
            level=levels[k],
            landing_level=levels[k - 1],
            landing=cached.states[k - 1, chosen],
            landing_features=cached.features[k - 1, chosen] if needs.features else None,
        )

    return draw


@torch.no_grad()
def _roll_out(student: Denoiser, noise: Tensor, levels: Tensor, k: Tensor) -> Tensor:
    """Where the student itself arrives from noise [B, C, H, W] at phi_k (k: int64 [B]); levels: phi_0..phi_T'."""
    x = noise.clone()
    for here in range(len(levels) - 1, 1, -1):
        going = k < here
        if going.any():
            at = levels[here].expand(int(going.sum()))
            x[going] = jump(student, x[going], at, levels[here - 1].expand_as(at))
    return x


def _from_data(job: Job, substeps: int, size: int, teacher: Denoiser, needs: Needs) -> Part:
    """Noised real images; the teacher's DDIM sub-steps then give the landing state."""
    real = real_images(store.read(job.data, "train"), teacher.device)
    rows = paths(job.levels, substeps, teacher.contract).to(teacher.device)

    def draw(step: int, random: np.random.Generator, _: Denoiser) -> Batch:
        x, path = noised(real(job.seed, step, size), rows, teacher.schedule, random)
        walks = needs.landing or needs.features
        landing, features = walk(teacher, x, path, needs.features) if walks else (x, None)
        return Batch(x=x, level=path[:, 0], landing_level=path[:, -1], landing=landing, landing_features=features)

    return draw
