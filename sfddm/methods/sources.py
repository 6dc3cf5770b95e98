"""What a student sees in one iteration, where it comes from, and where its jump should land."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sfddm.diffusion.process import diffuse
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.diffusion.steps import ddim_step
from sfddm.methods.teaching import paths, walk
from sfddm.methods.train import Task
from sfddm.methods.trajectories import Trajectories
from sfddm.networks.denoiser import Denoiser, class_of
from sfddm.randomness import Purpose, generator
from sfddm.spec.parts import DataSource, RolloutSource, Source, TeacherSteps, TrajectorySource, split
from sfddm.spec.students import SFDDM
from sfddm.training.batches import Rows, gathered, integers, moved, noise_like, sent, take


@frozen(kw_only=True)
class Batch:
    """Where a student is, B times, and where it should go."""

    x: Tensor
    """x_s, [B, C, H, W]."""
    level: Tensor
    """s, int64 [B]."""
    landing_level: Tensor
    """r, int64 [B]."""
    landing: Tensor
    """x_r, [B, C, H, W]; x_s itself where nothing asked for it."""
    landing_features: Tensor | None
    """The teacher's features at the landing state, [B, channels, H, W]; None where nothing asked for them."""
    labels: Tensor | None = None
    """The images' classes, int64 [B]; None where networks are told none."""
    compared: Tensor | None = None
    """Whether each image's features count, bool [B]; None: all do."""


def join(batches: list[Batch]) -> Batch:
    """Several batches as one; all of them have features, or none."""
    features = [batch.landing_features for batch in batches if batch.landing_features is not None]
    labels = [batch.labels for batch in batches if batch.labels is not None]
    return Batch(
        x=torch.cat([batch.x for batch in batches]),
        level=torch.cat([batch.level for batch in batches]),
        landing_level=torch.cat([batch.landing_level for batch in batches]),
        landing=torch.cat([batch.landing for batch in batches]),
        landing_features=torch.cat(features) if features else None,
        labels=torch.cat(labels) if labels else None,
    )


def noised(
    x0: Tensor, levels: Tensor, schedule: NoiseSchedule, random: np.random.Generator, rows: Rows
) -> tuple[Tensor, Tensor]:
    """Real images [B, C, H, W], the own `rows` of a batch, at random rows of `levels` (int64 [K, M]).

    Returns:
        x [B, C, H, W], with fresh noise up to its row's first level, and the rows, int64 [B, M].
    """
    chosen = levels[integers(random, 0, len(levels), rows, x0.device)]
    return diffuse(x0, noise_like(random, rows, x0), *schedule.at(chosen[:, 0], x0)), chosen


@torch.no_grad()
def jump(network: Denoiser, x: Tensor, level: Tensor, lower: Tensor) -> Tensor:
    """One DDIM step of a network from `level` to `lower` (int64 [B]); from a level to itself nothing changes."""
    x0, _ = network.predict(x, level, lower)
    return ddim_step(x, x0, network.schedule.at(level, x), network.schedule.at(lower, x))


Draw = Callable[[int, Denoiser], Batch]
"""The batch of one iteration, for the student as it is by then."""
Part = Callable[[int, np.random.Generator, Denoiser], Batch]
"""One source's part of it."""


def batches(task: Task[SFDDM]) -> Draw:
    """Batches from all sources of a method, each with its share."""
    method = task.method
    counts = split(method.sources, method.training.batch_size)
    parts = [
        _part(task, source, Rows(count, sum(counts[:at])))
        for at, (source, count) in enumerate(zip(method.sources, counts, strict=True))
        if count
    ]

    def draw(step: int, student: Denoiser) -> Batch:
        random = generator(task.seed, Purpose.TRAINING_BATCH, step)
        return join([part(step, random, student) for part in parts])

    return draw


def _part(task: Task[SFDDM], source: Source, rows: Rows) -> Part:
    """What one source gives."""
    match source:
        case DataSource(teacher_steps=steps):
            return _from_data(task, steps, rows)
        case TrajectorySource() | RolloutSource():
            return _from_cache(task, task.trajectories(source.cache), rows, isinstance(source, RolloutSource))


def _from_cache(task: Task[SFDDM], cached: Trajectories, rows: Rows, rollout: bool) -> Part:
    """Segments of the teacher's trajectories: the noises in turn, the segment at random."""
    device, ahead = task.teacher.device, any(term.looks_ahead for term in task.method.terms)
    # Indices are on the host: a GPU that had them would be waited for.
    levels, numbers = torch.tensor((0, *task.levels)), torch.arange(cached.states.shape[1])

    def draw(step: int, random: np.random.Generator, student: Denoiser) -> Batch:
        chosen = take(numbers, task.seed, step, rows)
        k = integers(random, 1, len(levels), rows, levels.device)
        start = torch.full_like(k, len(levels) - 1) if rollout else k
        x, labels = gathered(cached.states, (start, chosen), device), class_of(task.teacher.contract, chosen)
        labels = None if labels is None else moved(labels, device)
        return Batch(
            x=_roll_out(student, x, task.levels, k, labels) if rollout else x,
            labels=labels,
            level=moved(levels[k], device),
            landing_level=moved(levels[k - 1], device),
            landing=gathered(cached.states, (k - 1, chosen), device),
            landing_features=gathered(cached.features, (k - 1, chosen), device).float() if ahead else None,
        )

    return draw


@torch.no_grad()
def _roll_out(student: Denoiser, noise: Tensor, levels: tuple[int, ...], k: Tensor, labels: Tensor | None) -> Tensor:
    """Where the student itself arrives from noise [B, C, H, W], of these classes, at phi_k (k: int64 [B], on the
    host)."""
    x = noise.clone()
    with _eagerly(student):
        for here in range(len(levels), 1, -1):
            going = np.flatnonzero(k < here)
            if len(going):
                rows = sent(going, x.device)
                at, lower = (torch.full_like(rows, levels[place - 1]) for place in (here, here - 1))
                x[rows] = jump(student.given(None if labels is None else labels[rows]), x[rows], at, lower)
    return x


def _eagerly(network: Denoiser) -> AbstractContextManager[Any]:
    """Within the block a compiled network runs as it is written: the sizes of its batches are random.

    torch.compile would compile the first few sizes and leave the others, so that a training that goes on from a
    checkpoint, which meets them in another order, would end with other last bits.
    """
    return torch.compiler.set_stance("force_eager") if network.computing["compiled"] else nullcontext()


def _from_data(task: Task[SFDDM], steps: TeacherSteps, rows: Rows) -> Part:
    """Noised real images; the teacher's steps then give the landing state, where a term asks for it."""
    teacher, real, terms = task.teacher, task.images(rows), task.method.terms
    lands, ahead = any(term.lands for term in terms), any(term.looks_ahead for term in terms)
    walks, classes = paths(task.levels, steps.substeps, teacher.contract).to(teacher.device), task.classes(rows)

    def draw(step: int, random: np.random.Generator, _: Denoiser) -> Batch:
        labels = classes(task.seed, step) if classes else None
        x, path = noised(real(task.seed, step), walks, teacher.schedule, random, rows)
        landing, features = walk(teacher.given(labels), x, path, steps, ahead) if lands or ahead else (x, None)
        return Batch(
            x=x,
            level=path[:, 0],
            landing_level=path[:, -1],
            landing=landing,
            landing_features=features,
            labels=labels,
        )

    return draw
