"""The student's landing states seen by its teacher and by a fake: where their distribution differs from the teacher's.

A *fake* is a copy of the teacher that is trained, beside the student, to denoise what the student makes; so it knows
the student's distribution as the teacher knows that of the images. A landing state x_r is noised on to a level u > r,

    x_u = a x_r + b e,   a = alpha_u / alpha_r,   b^2 = 1 - a^2,   e ~ N(0, I),

and each predicts the x_r that it came from: D(x_u) = (x_u + b^2 score(x_u)) / a. Their difference is the direction in
which the student's distribution has to move; it is zero where the distributions agree (DMD: Yin et al. 2024, equations
7 and 8; for hidden variables, r > 0: Phased DMD, Fan et al. 2025).

The student is compared with a moving average of the fake. The fake itself follows its last batches and the student
would follow it, so that both drift.

On hidden variables a fake that learnt to predict the image would be biased, since the student has made none. It learns
the noise that was added instead: e_u = (sigma_u / b) e has the score of x_u as its mean, whatever r. As v, that is
v* = (sigma_u / alpha_u) (e / b - x_u). Where r > 0, its variance grows without limit towards u = r, so errors count
min(1, 10 (b / sigma_u)^2).
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor

from sfddm.diffusion.levels import RHO, SIGMAS
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.methods.sources import Batch
from sfddm.methods.train import Task
from sfddm.networks.denoiser import Denoiser, Evaluated
from sfddm.networks.student import first_student
from sfddm.randomness import Purpose, generator
from sfddm.spec.parts import DistributionTerm, FromTeacher, distribution_of
from sfddm.training.batches import Rows, noise_like, sent
from sfddm.training.guard import SPREAD
from sfddm.training.loop import Companion, Losses

NARROW = 10.0
"""Where (b / sigma_u)^2 is below 1 / NARROW, the fake's errors count less."""
LOWEST, HIGHEST = 0.05, 0.8
"""The part of them that states are noised to, from the cleanest (0) to the noisiest (1)."""


@frozen(kw_only=True)
class Scored:
    """Landing states, and where they should move."""

    landed: Tensor
    """x_r, [B, C, H, W], with the student's gradient."""
    direction: Tensor
    """(D_fake - D_teacher) / mean |x_r - D_teacher|, [B, C, H, W], without gradient."""
    fake: Tensor
    """The fake's own loss on these states, a scalar with its gradient alone."""

    def beside(self, teachers: Tensor) -> Losses:
        """The fake's loss, and the spread of the landing states over that of the teacher's from the same noises."""
        own, wanted = (states.detach().float().var(0).mean().sqrt() for states in (self.landed, teachers))
        return {"fake": self.fake, SPREAD: (own / wanted).nan_to_num(1.0)}  # a single image has no spread


Scoring = Callable[[Tensor, Batch], Scored]
"""How landing states x_r, [B, C, H, W], of a batch's jumps are scored."""


@frozen(kw_only=True)
class Fake:
    """The fake of one training."""

    term: DistributionTerm
    network: Denoiser
    """Told the landing level too, where a student has several."""
    average: Denoiser | None
    """The moving average of the network, where the term asks for one: the student is compared with it."""
    teacher: Denoiser
    seed: int
    iterations: int
    """Those of the training."""
    rows: Rows
    """The rows of a batch that this process scores."""

    @property
    def companion(self) -> Companion:
        """What the training loop has to know."""
        return Companion(
            network=self.network,
            loss="fake",
            learning_rate=self.term.learning_rate,
            average=self.average,
            decay=self.term.average,
        )

    def at(self, step: int) -> Scoring | None:
        """How iteration `step` scores; None where it doesn't yet."""
        if step < self.term.first(self.iterations):
            return None
        random, share = generator(self.seed, Purpose.SCORE_NOISE, step), self.term.risen(step, self.iterations)

        def scored(landed: Tensor, batch: Batch) -> Scored:
            teacher, fake = self.teacher.given(batch.labels), self.network.given(batch.labels)
            average = self.average.given(batch.labels) if self.average else None
            found = score(landed, batch.landing_level, teacher, fake, random, self.rows, average)
            return evolve(found, direction=share * found.direction)

        return scored


def fake_of(task: Task[Any]) -> Fake | None:
    """The fake that the terms of the task's method ask for: first a copy of the teacher; None where none does."""
    term, training = distribution_of(task.method.terms), task.method.training
    if term is None:
        return None
    copy = FromTeacher(kind="teacher", prediction="same")
    network = first_student(task.teacher, copy, task.seed, two_times=len(task.levels) > 1)
    return Fake(
        term=term,
        network=network,
        average=deepcopy(network).requires_grad_(False) if term.average else None,
        teacher=task.teacher,
        seed=task.seed,
        iterations=training.iterations,
        rows=Rows(training.batch_size),
    )


def landing(student: Denoiser, own: Evaluated, batch: Batch) -> Tensor:
    """Where the student's jumps of the evaluation `own` land, [B, C, H, W], with its gradient."""
    delta = student.schedule.angle(batch.level, batch.landing_level, batch.x)
    return torch.cos(delta) * batch.x - torch.sin(delta) * student.v(own, batch.x, batch.level)


def score(
    landed: Tensor,
    level: Tensor,
    teacher: Denoiser,
    fake: Denoiser,
    random: np.random.Generator,
    rows: Rows,
    average: Denoiser | None = None,
) -> Scored:
    """Compare the student's landing states with the teacher's distribution, and give the fake its loss on them.

    Args:
        landed: x_r, [B, C, H, W].
        level: r, int64 [B], 0 for images.
        teacher: knows the images' distribution.
        fake: knows the student's.
        random: where noise and levels come from.
        rows: of the batch, that these images are.
        average: that of the fake, which gives the direction; None for the fake itself.
    """
    schedule, r = teacher.schedule, level
    u = _noisier(schedule, r, sent(random.random(rows.size)[rows.own], landed.device))
    noise = noise_like(random, rows, landed)
    alpha, sigma = schedule.at(u, landed)
    a = alpha / schedule.at(r, landed)[0]
    variance = _variance(schedule, r, u).view(-1, 1, 1, 1)
    b = variance.sqrt()
    x_u = a * landed.detach() + b * noise
    own = fake.v(fake(x_u, u, r), x_u, u)
    target = sigma / alpha * (noise / b - x_u)
    errors = (NARROW * variance / sigma.square()).clamp(max=1) * (own - target).square()
    with torch.no_grad():
        true = teacher.v(teacher(x_u, u), x_u, u)
        known = average.v(average(x_u, u, r), x_u, u) if average else own
        # The predicted noise is sigma x + alpha v, and score = -noise / sigma.
        denoised = (x_u - variance / sigma * (sigma * x_u + alpha * true)) / a
        apart = variance / (a * sigma) * alpha * (true - known)
        size_of_step = (landed - denoised).abs().flatten(1).mean(1).view(-1, 1, 1, 1)
    return Scored(landed=landed, direction=apart / size_of_step, fake=errors.mean())


def _noisier(schedule: NoiseSchedule, level: Tensor, share: Tensor) -> Tensor:
    """Levels above `level` (int64 [B]), at `share` ([B], in 0..1) of the way on Karras' scale."""
    places = _places(schedule)
    low = places[level].clamp(min=LOWEST)
    high = ((low + 1) / 2).clamp(min=HIGHEST)  # for landing levels that are noisier themselves
    wanted = low + share * (high - low)
    return torch.maximum(torch.searchsorted(places, wanted), level + 1).clamp(max=len(places) - 1)


def _places(schedule: NoiseSchedule) -> Tensor:
    """Where each level 0..T is on Karras' scale, float64 [T + 1], increasing."""
    lowest, highest = (sigma ** (1 / RHO) for sigma in SIGMAS)
    places: Tensor = (schedule.theta.tan() ** (1 / RHO) - lowest) / (highest - lowest)
    return places


def _variance(schedule: NoiseSchedule, r: Tensor, u: Tensor) -> Tensor:
    """b^2 = 1 - (alpha_u / alpha_r)^2, without its cancellation where the levels are near each other; float32 [B]."""
    low, high = schedule.theta[r], schedule.theta[u]
    return (torch.sin(high - low) * torch.sin(high + low) / torch.cos(low) ** 2).float()
