"""An any-step student: one network that is told where it is and where it should land, trained once.

    L = w_hidden D(jump from x_s to r, x_r)  +  w_feature |h'(x_s; s, r) - h(x_r)|,   s > r on one trajectory

The teacher's trajectories are cached on a grid of levels. Jumps have lengths of 1, 2, 4, ... grid steps at aligned
places, where few-step samplers need them; a share of them goes between any two levels, for index sets that are not on
the grid. Between grid levels the state is what one DDIM step that passes from the higher to the lower one takes on the
way.

Expected results (8x8 digits, cosine teacher of v, 600 k forward-equivalents once; docs/study.md): 0.80 0.90 0.95, 0.82
0.91 0.99, 0.83 0.83 1.10 and 1.32 1.02 1.68 times the teacher's Frechet distance at T' = 8, 4, 2 and 1, to three
scorers.
"""

import numpy as np
import torch
from attrs import evolve
from torch import Tensor

from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.methods.job import Distilled, Job
from sfddm.methods.scores import Scoring, fake_of, landing
from sfddm.methods.sources import Batch
from sfddm.methods.terms.term import At, loss_of
from sfddm.methods.train import Task, distilled, require_same_features
from sfddm.methods.trajectories import Trajectories
from sfddm.networks.denoiser import Denoiser, class_of
from sfddm.networks.student import first_student
from sfddm.randomness import Purpose, generator
from sfddm.spec.students import AnyStep
from sfddm.training.batches import Rows, gathered, moved, take
from sfddm.training.loop import Fitted, Losses

FROM_THE_TOP = 0.25
"""Share of the free jumps that start at the noisiest level, as every sampler does."""
SHORTEST = 0.25
"""Grid steps that a free jump spans at least."""


def distill(job: Job) -> Distilled:
    """Train one student."""
    return distilled(job, make, AnyStep)


def make(task: Task[AnyStep]) -> Fitted[Denoiser]:
    """The trained student."""
    method, teacher, levels = task.method, task.teacher, (0, *task.levels)
    student = first_student(teacher, method.start, task.seed, two_times=True)
    if any(term.looks_ahead for term in method.terms):
        require_same_features(student, teacher)
    cached = task.trajectories(method.cache)
    grid, numbers = torch.tensor(levels), torch.arange(method.cache.noises)
    rows = Rows(method.training.batch_size)
    fake = fake_of(task)

    def loss(step: int, _: Denoiser) -> Losses:
        random = generator(task.seed, Purpose.TRAINING_BATCH, step)
        jumps = draw_jumps(random, levels, rows.size, method.unaligned)[rows.own]
        chosen = take(numbers, task.seed, step, rows)
        batch = _batch(cached, grid, teacher.schedule, chosen, torch.from_numpy(jumps))
        if (labels := class_of(teacher.contract, chosen)) is not None:
            batch = evolve(batch, labels=moved(labels, teacher.device))
        return losses(method, student, batch, fake.at(step) if fake else None)

    return task.fit(student, loss, companion=fake.companion if fake else None)


def losses(method: AnyStep, student: Denoiser, batch: Batch, score: Scoring | None = None) -> Losses:
    """The terms of the loss on one batch."""
    own = student.given(batch.labels)(batch.x, batch.level, batch.landing_level)
    scored = score(landing(student, own, batch), batch) if score else None
    return loss_of(method.terms)(At(student=student, own=own, teachers=None, batch=batch, scored=scored))


def draw_jumps(random: np.random.Generator, grid: tuple[int, ...], size: int, unaligned: float) -> np.ndarray:
    """Jumps from level s down to r < s: int64 [size, 2], rows (s, r).

    Args:
        random: where they come from.
        grid: phi_0 = 0 < phi_1 < ... < phi_N.
        size: how many.
        unaligned: the share that goes between any two levels, their places uniform in grid steps. The others span 1, 2,
            4, ... grid steps and start at phi_N less a multiple of it.
    """
    levels, steps = np.array(grid), len(grid) - 1
    length = 2 ** random.integers(0, int(np.log2(steps)) + 1, size)
    start = steps - length * random.integers(0, -(-steps // length))
    aligned = levels[np.stack([start, np.maximum(start - length, 0)], axis=1)]
    places = np.sort(random.random((size, 2)) * steps, axis=1)[:, ::-1]
    places[:, 0] = np.where(random.random(size) < FROM_THE_TOP, steps, np.maximum(places[:, 0], SHORTEST))
    places[:, 1] = np.maximum(np.minimum(places[:, 1], places[:, 0] - SHORTEST), 0)
    free = np.rint(np.interp(places, np.arange(steps + 1), levels)).astype(np.int64)
    free[:, 0] = np.maximum(free[:, 0], 1)
    free[:, 1] = np.minimum(free[:, 1], free[:, 0] - 1)
    jumps: np.ndarray = np.where((random.random(size) < unaligned)[:, None], free, aligned)
    return jumps


def _batch(cached: Trajectories, grid: Tensor, schedule: NoiseSchedule, chosen: Tensor, jumps: Tensor) -> Batch:
    (x, _), (landing, features) = (between(cached, grid, schedule, chosen, level) for level in jumps.unbind(1))
    level, landing_level = moved(jumps, x.device).unbind(1)
    return Batch(
        x=x,
        level=level,
        landing_level=landing_level,
        landing=landing,
        landing_features=features,
        # A jump from noise to image in one go has no feature term.
        compared=~((level == schedule.theta.numel() - 1) & (landing_level == 0)),
    )


def between(
    cached: Trajectories, grid: Tensor, schedule: NoiseSchedule, chosen: Tensor, level: Tensor
) -> tuple[Tensor, Tensor]:
    """States [B, C, H, W] and features [B, channels, H, W] of cached trajectories at any levels up to the grid's end.

    One DDIM step from s to r passes x_u = (sin(theta_u - theta_r) x_s + sin(theta_s - theta_u) x_r) / sin(theta_s -
    theta_r) on the way: a rotation in the plane of image and noise. Features are linear in the level.

    Args:
        cached: trajectories on `grid`.
        grid: phi_0 = 0, ..., phi_N, int64 [N + 1]; on the host, as the other indices, so that no GPU is waited for.
        schedule: of the levels.
        chosen: numbers of the trajectories, int64 [B].
        level: u, int64 [B].
    """
    device = schedule.theta.device
    high = torch.searchsorted(grid, level.contiguous()).clamp(min=1)
    low = high - 1
    s, r = grid[high], grid[low]
    here, above, below = (schedule.theta[moved(each, device)] for each in (level, s, r))
    whole = torch.sin(above - below)
    of_high, of_low = _column(torch.sin(here - below) / whole), _column(torch.sin(above - here) / whole)
    part = moved(_column((level - r) / (s - r)), device)
    # Features are kept where jumps land: not at the noisiest level; on clean images those of the lowest level are used.
    last = len(cached.features) - 1
    upper, lower = (gathered(cached.features, (index.clamp(max=last), chosen), device).float() for index in (high, low))
    x_s, x_r = (gathered(cached.states, (index, chosen), device) for index in (high, low))
    return of_high * x_s + of_low * x_r, torch.lerp(lower, upper, part)


def _column(values: Tensor) -> Tensor:
    return values.float().view(-1, 1, 1, 1)
