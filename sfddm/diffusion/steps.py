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
Known = tuple[Tensor, Level]
"""An image that was predicted, and its level."""


class Step(NamedTuple):
    """What a solver may look at on its way from level s to level r."""

    x: Tensor
    """The state at level s."""
    x0: Tensor
    """The image predicted there."""
    at_s: Level
    at_r: Level
    past: tuple[Known, ...]
    """What was predicted in the steps before, the last one first; as many as the solver looks at, or as there were."""
    noise: Iterator[Tensor]
    """Standard normal numbers in the shape of x, one per step, for solvers that add noise; others draw nothing."""
    predict: Callable[[Tensor], Tensor]
    """The image predicted at a state of level r, for solvers of several evaluations per step; r is not clean data."""

    @property
    def last(self) -> Known | None:
        """What was predicted in the step before; None in the first step."""
        return self.past[0] if self.past else None


def ddim_step(x: Tensor, x0: Tensor, at_s: Level, at_r: Level) -> Tensor:
    """D(x_s, x0) = alpha_r x0 + sigma_r (x_s - alpha_s x0) / sigma_s (Song et al. 2021, equation 12 with eta = 0)."""
    (alpha_s, sigma_s), (alpha_r, sigma_r) = at_s, at_r
    return alpha_r * x0 + sigma_r * (x - alpha_s * x0) / sigma_s


def ancestral_step(x: Tensor, x0: Tensor, noise: Tensor, at_s: Level, at_r: Level) -> Tensor:
    """A draw from q'(x_r | x_s, x0) (Ho et al. 2020, algorithm 2, on the student's own levels)."""
    mean, variance = posterior(x, x0, at_s, at_r)
    return mean + variance.sqrt() * noise


def dpm_solver_step(x: Tensor, x0: Tensor, last: Known | None, at_s: Level, at_r: Level) -> Tensor:
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


def unipc_step(step: Step) -> Tensor:
    """UniPC-2 (Zhao et al. 2023, algorithms 1 and 2, with B(h) = exp(h) - 1, "bh2", for networks that predict images).

    Its predictor is DPM-Solver++(2M). Its corrector takes the step that led to x_s once more, now that the image there
    is known, through that image as well, and costs no evaluation. The first step is DDIM; so is the one to clean data,
    from whose prediction the corrected state takes nothing away.
    """
    x = step.x + _correction(step) if step.past else step.x
    return dpm_solver_step(x, step.x0, step.last, step.at_s, step.at_r)


def _correction(step: Step) -> Tensor:
    """What the corrector of second order (of first order after the first step) adds to the predictor's state."""
    (last_x0, at_last), at_s = step.past[0], step.at_s
    h = _half_log_snr(at_s) - _half_log_snr(at_last)
    rise = torch.expm1(-h)
    change = step.x0 - last_x0
    if len(step.past) == 1:
        return -at_s[0] * rise * change / 2
    earlier_x0, at_earlier = step.past[1]
    ratio = (_half_log_snr(at_earlier) - _half_log_snr(at_last)) / h
    slope = (earlier_x0 - last_x0) / ratio
    # rho_1 + rho_2 = first and ratio rho_1 + rho_2 = second make it exact for images quadratic in the half log-SNR.
    first = (rise / -h - 1) / rise
    second = 2 * ((rise / -h - 1) / -h - 0.5) / rise
    of_slope = (first - second) / (1 - ratio)
    return -at_s[0] * rise * ((of_slope - 0.5) * slope + (first - of_slope) * change)


def angle_step(x: Tensor, x0: Tensor, last: Known | None, at_s: Level, at_r: Level) -> Tensor:
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
    "unipc": unipc_step,
    "angle-2m": lambda step: angle_step(step.x, step.x0, step.last, step.at_s, step.at_r),
    "ancestral": lambda step: ancestral_step(step.x, step.x0, next(step.noise), step.at_s, step.at_r),
    # Multistep consistency sampling: jump to the image, add fresh noise (Song et al. 2023, algorithm 1).
    "consistency": lambda step: diffuse(step.x0, next(step.noise), *step.at_r),
}
"""The state at level r of each solver's step; `sfddm.diffusion.solvers` says when it is asked for."""
