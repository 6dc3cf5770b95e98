"""From noise to image on any index set."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.solvers import SOLVERS
from sfddm.diffusion.steps import STEPS, Known, Step


class State(NamedTuple):
    """One state of a trajectory: `x` [B, ...] at `level`, and the network's `features` there, None at level 0."""

    level: int
    x: Tensor
    features: Tensor | None


class Levels(Protocol):
    """alpha and sigma of noise levels."""

    def at(self, level: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """The pair at `level` (int [B]), shaped to multiply `like` ([B, ...])."""
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
        step_noise: one [B, C, H, W] per step, for samplers that add noise on the way; others draw nothing from it.
    """
    x = noise
    past: tuple[Known, ...] = ()
    for level, lower in pairwise((*reversed(sampler.levels), 0)):
        here = torch.full((x.shape[0],), level, device=x.device)
        there = torch.full_like(here, lower)
        at_s, at_r = network.schedule.at(here, x), network.schedule.at(there, x)
        x0, features = network.predict(x, here, there)
        yield State(level, x, features)
        x0 = clipped(sampler, x0)
        predict = partial(_predict, network, sampler, there)
        x = advance(sampler, Step(x, x0, at_s, at_r, past, step_noise, predict), final=lower == 0)
        past = ((x0, at_s), *past)[: SOLVERS[sampler.solver].memory]
    yield State(0, x, None)


def advance(sampler: Sampler, step: Step, final: bool) -> Tensor:
    """The state at the end of one step of a sampler; `final`: that is clean data, where a clipped sampler clips."""
    if not final:
        return STEPS[sampler.solver](step)
    return clipped(sampler, STEPS[sampler.solver](step)) if SOLVERS[sampler.solver].last_step else step.x0


def clipped(sampler: Sampler, x0: Tensor) -> Tensor:
    """A predicted image as the sampler goes on from it."""
    return x0.clamp(-1, 1) if sampler.clip_sample else x0


def _predict(network: Denoises, sampler: Sampler, level: Tensor, x: Tensor) -> Tensor:
    return clipped(sampler, network.predict(x, level, level)[0])


def sample(network: Denoises, noise: Tensor, sampler: Sampler, step_noise: Iterator[Tensor]) -> Tensor:
    """The images [B, C, H, W] in [-1, 1] (where clipped) that `noise` leads to."""
    for state in trajectory(network, noise, sampler, step_noise):
        x = state.x
    return x
