"""The teacher's own steps, from states that nothing came before: what students of noised images learn from.

A multistep solver goes on from the prediction of the step before. The first step of a walk has none, and with DDIM in
its place every walk, and so all that is learnt from single steps, would be of first order. So it looks ahead: DDIM to
the middle level m, by angle, a prediction there, and then the solver's own step from s through the predictions at s and
m. For `dpm-solver` that is DPM-Solver++(2S) (Lu et al. 2022, algorithm 1), for `angle-2m` its single-step sibling,
exact where x0 is linear in the angle. It costs one evaluation more per walk. Where no level is between s and r, or no
other was predicted at, the step is DDIM; so is `dpm-solver`'s step to clean data, as in sampling.
"""

from itertools import pairwise

import torch
from torch import Tensor

from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.diffusion.solvers import SOLVERS
from sfddm.diffusion.spacing import evenly_in_angle
from sfddm.diffusion.steps import STEPS, Step, ddim_step
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import Denoiser
from sfddm.spec.parts import TeacherSteps

Predicted = tuple[Tensor, Tensor]
"""An image [B, C, H, W], and the level (int64 [B]) where it was predicted."""


def paths(levels: tuple[int, ...], substeps: int, contract: Contract) -> Tensor:
    """The levels that a walk of `substeps` steps passes in each segment of an index set, int64 [T', substeps + 1].

    From the segment's start down to its end, evenly in angle. A segment of fewer levels than sub-steps repeats levels;
    a step from a level to itself changes nothing.
    """
    return torch.tensor([descent(s, r, substeps, contract) for r, s in pairwise((0, *levels))])


def descent(start: int, end: int, substeps: int, contract: Contract) -> list[int]:
    """One of these rows: from level `start` down to `end`."""
    return [*reversed(evenly_in_angle((end, start), substeps, contract.noise_schedule, contract.timesteps)), end]


@torch.no_grad()
def walk(teacher: Denoiser, x: Tensor, path: Tensor, steps: TeacherSteps, ahead: bool) -> tuple[Tensor, Tensor | None]:
    """Where the teacher arrives along `path` (int64 [B, substeps + 1]), and with `ahead` its features there."""
    before, last = x, None
    for level, lower in pairwise(path.unbind(1)):
        before = x
        x0 = _predicted(teacher, x, level, lower, steps)
        if SOLVERS[steps.solver].memory and last is None:
            last = _from_the_middle(teacher, x, x0, level, lower, steps)
        x = _stepped(teacher.schedule, x, x0, level, lower, last, steps)
        last = x0, level
    if not ahead:
        return x, None
    clean = path[:, -1] == 0
    # The teacher is never evaluated on clean images: the features of the level before are used instead.
    state = torch.where(_column(clean), before, x)
    return x, teacher(state, torch.where(clean, path[:, -2], path[:, -1])).features


def _stepped(
    schedule: NoiseSchedule,
    x: Tensor,
    x0: Tensor,
    level: Tensor,
    lower: Tensor,
    last: Predicted | None,
    steps: TeacherSteps,
) -> Tensor:
    """One step of the solver, through the predictions at `level` and at the level of `last`."""
    at_s, at_r = schedule.at(level, x), schedule.at(lower, x)
    moved = ddim_step(x, x0, at_s, at_r)
    if last is not None:
        solver, (last_x0, last_level) = steps.solver, last
        known = last_x0, schedule.at(last_level, x)
        curved = STEPS[solver](Step(x, x0, at_s, at_r, (known,), iter(()), _one_evaluation))
        straight = (last_level == level) | ((lower == 0) & (not SOLVERS[solver].last_step))
        moved = torch.where(_column(straight), moved, curved)
    return torch.where(_column(lower == 0), moved.clamp(-1, 1), moved) if steps.clip_sample else moved


def _from_the_middle(
    teacher: Denoiser, x: Tensor, x0: Tensor, level: Tensor, lower: Tensor, steps: TeacherSteps
) -> Predicted:
    """What is predicted halfway; at `level` itself where no level is between it and `lower`."""
    middle = halfway(teacher.schedule, level, lower)
    there = ddim_step(x, x0, teacher.schedule.at(level, x), teacher.schedule.at(middle, x))
    return _predicted(teacher, there, middle, lower, steps), middle


def _one_evaluation(there: Tensor) -> Tensor:
    raise AssertionError("a solver that students learn from has one evaluation a step")


def halfway(schedule: NoiseSchedule, level: Tensor, lower: Tensor) -> Tensor:
    """The first level from the middle of the angles on, between `lower` and `level`; `level` where none is between."""
    theta = schedule.theta
    middle = torch.searchsorted(theta, (theta[level] + theta[lower]) / 2)
    return torch.minimum(middle, torch.maximum(level - 1, lower + 1)).minimum(level)


def _predicted(teacher: Denoiser, x: Tensor, level: Tensor, lower: Tensor, steps: TeacherSteps) -> Tensor:
    x0, _ = teacher.predict(x, level, lower)
    return x0.clamp(-1, 1) if steps.clip_sample else x0


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
