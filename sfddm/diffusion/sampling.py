"""From noise to image on any index set."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sfddm.diffusion.process import diffuse
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.solvers import Level, ancestral_step, angle_step, ddim_step, dpm_solver_step

MULTISTEP = ("angle-2m", "dpm-solver")
"""Solvers that look at the step before."""
STOCHASTIC = ("ancestral", "consistency")
"""Solvers that add noise on the way."""


class State(NamedTuple):
    """Where a trajectory stands: `x` [B, ...] at `level`; `features` are the network's there, None at level 0."""

    level: int
    x: Tensor
    features: Tensor | None


class Levels(Protocol):
    """alpha and sigma of noise levels."""

    def at(self, level: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Of `level` (int [B]), shaped to multiply `like` ([B, ...])."""
        ...


class Denoises(Protocol):
    """What a sampler needs of a network."""

    @property
    def schedule(self) -> Levels:
        """The noise levels that it was trained on."""
        ...

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, Tensor | None]:
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
        x, x0 = advance(sampler, x, x0, last, at_s, at_r, lower == 0, step_noise)
        last = x0, at_s
    yield State(0, x, None)


def advance(
    sampler: Sampler,
    x: Tensor,
    x0: Tensor,
    last: tuple[Tensor, Level] | None,
    at_s: Level,
    at_r: Level,
    final: bool,
    step_noise: Iterator[Tensor],
) -> tuple[Tensor, Tensor]:
    """One step of a sampler: the state at level r, and the predicted image as the next step should see it.

    Args:
        sampler: its solver, and whether it clips.
        x: the state at level s, [B, ...].
        x0: the image predicted there.
        last: the image predicted in the step before and that step's level; None in the first one.
        at_s: alpha and sigma of level s.
        at_r: alpha and sigma of level r.
        final: whether r is clean data.
        step_noise: as `trajectory` has it.
    """
    if sampler.clip_sample:
        x0 = x0.clamp(-1, 1)
    if sampler.solver == "angle-2m":
        x = angle_step(x, x0, last, at_s, at_r)
        x = x.clamp(-1, 1) if sampler.clip_sample and final else x
    elif final:
        x = x0
    elif sampler.solver == "ancestral":
        x = ancestral_step(x, x0, next(step_noise), at_s, at_r)
    elif sampler.solver == "consistency":
        x = diffuse(x0, next(step_noise), *at_r)
    elif sampler.solver == "dpm-solver":
        x = dpm_solver_step(x, x0, last, at_s, at_r)
    else:
        x = ddim_step(x, x0, at_s, at_r)
    return x, x0


def sample(network: Denoises, noise: Tensor, sampler: Sampler, step_noise: Iterator[Tensor]) -> Tensor:
    """The images [B, C, H, W] in [-1, 1] (where clipped) that `noise` leads to."""
    for state in trajectory(network, noise, sampler, step_noise):
        x = state.x
    return x
