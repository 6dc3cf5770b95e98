"""From noise to image on any index set."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Protocol

import torch
from attrs import frozen
from torch import Tensor

from sfddm.diffusion.process import diffuse
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.diffusion.solvers import Level, ancestral_step, angle_step, ddim_step, dpm_solver_step


@frozen
class State:
    """Where a trajectory stands: `x` [B, ...] at `level`; `features` are the network's there, None at level 0."""

    level: int
    x: Tensor
    features: Tensor | None


class Denoises(Protocol):
    """What a sampler needs of a network."""

    schedule: NoiseSchedule

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, Tensor]:
        """The image predicted at state x [B, C, H, W] and level (int [B]), and the features on the way.

        `landing` (int [B]) is the level that the sampler goes to next, for networks that are told.
        """
        ...


def trajectory(network: Denoises, noise: Tensor, sampler: Sampler, step_noise: Iterator[Tensor]) -> Iterator[State]:
    """Every state from the noise at the highest level down to the image at level 0.

    Args:
        network: predicts images.
        noise: x at level phi_T', [B, C, H, W].
        sampler: solver and levels.
        step_noise: one [B, C, H, W] a step, for samplers that add noise on the way; others draw nothing from it.
    """
    x = noise
    last: tuple[Tensor, Level] | None = None
    descending = (*reversed(sampler.levels), 0)
    for level, lower in pairwise(descending):
        levels = torch.full((x.shape[0],), level, device=x.device)
        landing = torch.full_like(levels, lower)
        at_s, at_r = network.schedule.at(levels, x), network.schedule.at(landing, x)
        x0, features = network.predict(x, levels, landing)
        yield State(level, x, features)
        if sampler.clip_sample:
            x0 = x0.clamp(-1, 1)
        if sampler.solver == "angle-2m":
            x = angle_step(x, x0, last, at_s, at_r)
            x = x.clamp(-1, 1) if sampler.clip_sample and lower == 0 else x
        elif lower == 0:
            x = x0
        elif sampler.solver == "ancestral":
            x = ancestral_step(x, x0, next(step_noise), at_s, at_r)
        elif sampler.solver == "consistency":
            x = diffuse(x0, next(step_noise), *at_r)
        elif sampler.solver == "dpm-solver":
            x = dpm_solver_step(x, x0, last, at_s, at_r)
        else:
            x = ddim_step(x, x0, at_s, at_r)
        last = x0, at_s
    yield State(0, x, None)


def sample(network: Denoises, noise: Tensor, sampler: Sampler, step_noise: Iterator[Tensor]) -> Tensor:
    """The images [B, C, H, W] in [-1, 1] (where clipped) that `noise` leads to."""
    for state in trajectory(network, noise, sampler, step_noise):
        x = state.x
    return x
