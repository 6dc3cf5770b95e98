"""One step of each solver, from noise level s down to level r.

All tensors are [B, ...] or broadcastable to it; `at_s` and `at_r` are the pairs (alpha, sigma) of the two levels.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from sfddm.diffusion.process import diffuse, posterior
from sfddm.diffusion.solvers import Solver

Level = tuple[Tensor, Tensor]


class Step(NamedTuple):
    """What a solver may look at on its way from level s to level r."""

    x: Tensor
    """The state at level s."""
    x0: Tensor
    """The image predicted there."""
    at_s: Level
    at_r: Level
    last: tuple[Tensor, Level] | None
    """The image predicted in the step before and that step's level; None in the first step."""
    noise: Iterator[Tensor]
    """Standard normal numbers in the shape of x, one per step, for solvers that add noise; others draw nothing."""
    predict: Callable[[Tensor], Tensor]
    """The image predicted at a state of level r, for solvers of several evaluations per step; r is not clean data."""


def ddim_step(x: Tensor, x0: Tensor, at_s: Level, at_r: Level) -> Tensor:
    """D(x_s, x0) = alpha_r x0 + sigma_r (x_s - alpha_s x0) / sigma_s (Song et al. 2021, equation 12 with eta = 0)."""
    (alpha_s, sigma_s), (alpha_r, sigma_r) = at_s, at_r
    return alpha_r * x0 + sigma_r * (x - alpha_s * x0) / sigma_s


def ancestral_step(x: Tensor, x0: Tensor, noise: Tensor, at_s: Level, at_r: Level) -> Tensor:
    """A draw from q'(x_r | x_s, x0) (Ho et al. 2020, algorithm 2, on the student's own levels)."""
    mean, variance = posterior(x, x0, at_s, at_r)
    return mean + variance.sqrt() * noise


def dpm_solver_step(x: Tensor, x0: Tensor, last: tuple[Tensor, Level] | None, at_s: Level, at_r: Level) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2); `last` holds the previous step's x0 and level.

    The first step has no previous one and is of first order: there it is DDIM. The step to clean data (level 0), where
    the log-SNR is infinite, is DDIM too and not this function's business.
    """
    if last is None:
        return ddim_step(x, x0, at_s, at_r)
    last_x0, at_last = last
    ratio = (_half_log_snr(at_s) - _half_log_snr(at_last)) / (_half_log_snr(at_r) - _half_log_snr(at_s))
    extrapolated = (1 + 1 / (2 * ratio)) * x0 - last_x0 / (2 * ratio)
    return ddim_step(x, extrapolated, at_s, at_r)


def angle_step(x: Tensor, x0: Tensor, last: tuple[Tensor, Level] | None, at_s: Level, at_r: Level) -> Tensor:
    """A two-step exponential integrator in the angle theta = atan2(sigma, alpha); `last` as for DPM-Solver++(2M).

    x_r / sigma_r = x_s / sigma_s + integral of x0(theta) d cot(theta), with x0 linear in theta through the last two
    predictions (the construction of DEIS, Zhang and Chen 2023, equation 13, with image and angle in place of noise and
    time). DDIM, with x0 constant, plus the slope's part. Unlike log-SNR the angle is finite on clean data, so the last
    step is of second order too: there x0 is extrapolated to theta = 0. The first step is DDIM.
    """
    moved = ddim_step(x, x0, at_s, at_r)
    if last is None:
        return moved
    last_x0, at_last = last
    slope = (x0 - last_x0) / (_angle(at_s) - _angle(at_last))
    (alpha_r, sigma_r), (_, sigma_s) = at_r, at_s
    return moved + slope * (alpha_r * (_angle(at_r) - _angle(at_s)) - torch.xlogy(sigma_r, sigma_r / sigma_s))


def _angle(level: Level) -> Tensor:
    return torch.atan2(level[1], level[0])


def _half_log_snr(level: Level) -> Tensor:
    return torch.log(level[0]) - torch.log(level[1])


STEPS: dict[Solver, Callable[[Step], Tensor]] = {
    "ddim": lambda step: ddim_step(step.x, step.x0, step.at_s, step.at_r),
    "dpm-solver": lambda step: dpm_solver_step(step.x, step.x0, step.last, step.at_s, step.at_r),
    "angle-2m": lambda step: angle_step(step.x, step.x0, step.last, step.at_s, step.at_r),
    "ancestral": lambda step: ancestral_step(step.x, step.x0, next(step.noise), step.at_s, step.at_r),
    # Multistep consistency sampling: jump to the image, add fresh noise (Song et al. 2023, algorithm 1).
    "consistency": lambda step: diffuse(step.x0, next(step.noise), *step.at_r),
}
"""The state at level r of each solver's step; `sfddm.diffusion.solvers` says when it is asked for."""
