"""The sources of SFDDM's batches: trajectories of the teacher, rollouts of the student, noised real images."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sfddm.costs import split
from sfddm.data import store
from sfddm.methods.batches import Batch, join, jump, noised, paths, walk
from sfddm.methods.job import Job
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.layout import denoiser_digest
from sfddm.randomness import Purpose, generator
from sfddm.spec.sources import Cache, DataSource, RolloutSource, Source, TrajectorySource
from sfddm.training.batches import Rows, gathered, integers, real_images, rows_of, take
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
    counts = split(sources, size)
    loaded: dict[Cache, Trajectories] = {}
    parts = [
        _part(job, source, rows_of(count, sum(counts[:at])), teacher, needs, loaded)
        for at, (source, count) in enumerate(zip(sources, counts, strict=True))
        if count
    ]

    def draw(step: int, student: Denoiser) -> Batch:
        random = generator(job.seed, Purpose.TRAINING_BATCH, step)
        return join([part(step, random, student) for part in parts])

    return draw


def _part(
    job: Job, source: Source, rows: Rows, teacher: Denoiser, needs: Needs, loaded: dict[Cache, Trajectories]
) -> Part:
    """What one source gives; trajectories that another one `loaded` already take memory once."""
    match source:
        case DataSource(substeps=substeps):
            return _from_data(job, substeps, rows, teacher, needs)
        case TrajectorySource() | RolloutSource():
            if source.cache not in loaded:
                digest = denoiser_digest(job.parent)
                loaded[source.cache] = load_or_compute(teacher, digest, job.levels, source.cache, job.cache)
            return _from_cache(
                job, loaded[source.cache], rows, isinstance(source, RolloutSource), needs, teacher.device
            )


def _from_cache(job: Job, cached: Trajectories, rows: Rows, rollout: bool, needs: Needs, device: torch.device) -> Part:
    """Segments of the teacher's trajectories: the noises in turn, the segment at random."""
    levels = torch.tensor((0, *job.levels), device=device)
    numbers = torch.arange(cached.states.shape[1], device=device)

    def draw(step: int, random: np.random.Generator, student: Denoiser) -> Batch:
        chosen = take(numbers, job.seed, step, rows)
        k = integers(random, 1, len(levels), rows, device)
        start = torch.full_like(k, len(levels) - 1) if rollout else k
        x = gathered(cached.states, (start, chosen), device)
        return Batch(
            x=_roll_out(student, x, levels, k) if rollout else x,
            level=levels[k],
            landing_level=levels[k - 1],
            landing=gathered(cached.states, (k - 1, chosen), device),
            landing_features=gathered(cached.features, (k - 1, chosen), device).float() if needs.features else None,
        )

    return draw


@torch.no_grad()
def _roll_out(student: Denoiser, noise: Tensor, levels: Tensor, k: Tensor) -> Tensor:
    """Where the student itself arrives from noise [B, C, H, W] at phi_k (k: int64 [B]); levels: phi_0..phi_T'."""
    x = noise.clone()
    with _eagerly(student):
        for here in range(len(levels) - 1, 1, -1):
            going = k < here
            if going.any():
                at = levels[here].expand(int(going.sum()))
                x[going] = jump(student, x[going], at, levels[here - 1].expand_as(at))
    return x


def _eagerly(network: Denoiser) -> AbstractContextManager[Any]:
    """Within the block a compiled network runs as it is written: the sizes of its batches are random.

    torch.compile would compile the first few sizes and leave the others, so that a training that goes on from a
    checkpoint, which meets them in another order, would end with other last bits.
    """
    return torch.compiler.set_stance("force_eager") if network.computing["compiled"] else nullcontext()


def _from_data(job: Job, substeps: int, rows: Rows, teacher: Denoiser, needs: Needs) -> Part:
    """Noised real images; the teacher's DDIM sub-steps then give the landing state."""
    real = real_images(store.read(job.data, "train"), rows, teacher.device)
    walks = paths(job.levels, substeps, teacher.contract).to(teacher.device)

    def draw(step: int, random: np.random.Generator, _: Denoiser) -> Batch:
        x, path = noised(real(job.seed, step), walks, teacher.schedule, random, rows)
        landing, features = walk(teacher, x, path, needs.features) if needs.landing or needs.features else (x, None)
        return Batch(x=x, level=path[:, 0], landing_level=path[:, -1], landing=landing, landing_features=features)

    return draw
