"""Search for the T' noise levels on which DDIM comes nearest to the teacher's own images.

Dynamic programming over a grid of levels on the teacher's own trajectories (GITS: Chen et al. 2024, "On the Trajectory
Regularity of ODE-based Diffusion Sampling", section 4), followed by coordinate descent on what is really asked for, the
mean squared error of the few-step images. The descent starts at the best of three sets: the cheapest by the squared
error of each jump where it lands, the cheapest by its root, and the grid's own spacing, evenly in angle.

Measured on two teachers of 8x8 digits: with a linear schedule the squared error is the better cost, with a cosine one
the root. Neither GITS's factor 1.15 on later errors, nor its coordinates (errors divided by alpha), nor errors divided
by the states' deviation did as well on both.
"""

from collections.abc import Iterator

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import Denoises, Levels, sample, trajectory
from sfddm.diffusion.solvers import Teaching
from sfddm.diffusion.steps import ddim_step

BATCH = 250
"""Images evaluated at a time."""
STRIDES = (1, 2, 4)
"""How far, in grid levels, the descent tries to move one level."""


@frozen(kw_only=True)
class Walk:
    """The teacher's own way from N noises to N images over a grid of G levels.

    It takes 2 (G + 1) N images of memory in fp32: 9 MB for 64 levels and 256 noises of 8x8, 0.4 GB for 32x32x3.
    """

    levels: tuple[int, ...]
    """0 and the grid's levels, [G + 1]."""
    states: Tensor
    """[G + 1, N, C, H, W]: the state at each level; the images at level 0."""
    samples: Tensor
    """[G, N, C, H, W]: the image predicted at each of the grid's levels, clipped where the sampler clips."""
    clip_sample: bool


def search(teacher: Denoises, walk: Walk, steps: int) -> tuple[int, ...]:
    """The T' = `steps` levels found: phi_1 < ... < phi_T', all on the walk's grid, the last one its noisiest.

    Args:
        teacher: predicts images.
        walk: its own trajectories.
        steps: T', at most the grid's levels.
    """
    costs, last = jump_costs(teacher.schedule, walk), len(walk.levels) - 1
    even = tuple((2 * k * last + steps) // (2 * steps) for k in range(1, steps + 1))
    starts = [
        tuple(walk.levels[position] for position in positions)
        for positions in (cheapest(costs, steps), cheapest(np.sqrt(costs), steps), even)
    ]
    return descend(teacher, walk, min(starts, key=lambda levels: mean_squared_error(teacher, walk, levels)))


@torch.inference_mode()
def take_walk(teacher: Denoises, noise: Tensor, grid: tuple[int, ...], solver: Teaching, clip_sample: bool) -> Walk:
    """Run the teacher's deterministic sampler over a grid.

    Args:
        teacher: predicts images.
        noise: [N, C, H, W], on the teacher's device.
        grid: increasing levels from 1 to T.
        solver: one without noise.
        clip_sample: clip the predicted images to [-1, 1].
    """
    sampler = Sampler(solver=solver, levels=grid, clip_sample=clip_sample)
    states, samples = [], []
    for part in _batches(noise):
        recorder = _Recorder(teacher)
        passed = [state.x for state in trajectory(recorder, part, sampler, iter(()))]
        states.append(torch.stack(passed[::-1]))
        samples.append(torch.stack(recorder.samples[::-1]))
    predicted = torch.cat(samples, dim=1)
    return Walk(
        levels=(0, *grid),
        states=torch.cat(states, dim=1),
        samples=predicted.clamp(-1, 1) if clip_sample else predicted,
        clip_sample=clip_sample,
    )


@torch.inference_mode()
def jump_costs(schedule: Levels, walk: Walk) -> np.ndarray:
    """What one DDIM jump from the walk's state at one level to another costs: its squared error there, averaged.

    Returns:
        float64 [G + 1, G + 1] over the walk's levels: from row to column, infinite unless that is downwards.
    """
    alpha, sigma = schedule.at(torch.tensor(walk.levels), walk.states)
    costs = np.full((len(walk.levels), len(walk.levels)), np.inf)
    for start in range(1, len(walk.levels)):
        x, x0 = walk.states[start], walk.samples[start - 1]
        landed = ddim_step(x, x0, (alpha[start], sigma[start]), (alpha[:start], sigma[:start]))
        costs[start, :start] = (landed - walk.states[:start]).square().flatten(1).double().mean(1).cpu()
    return costs


def cheapest(costs: np.ndarray, steps: int) -> tuple[int, ...]:
    """The way of `steps` jumps from the last position to position 0 with the least summed cost.

    Args:
        costs: [G + 1, G + 1] from row to column, infinite where there is no jump.
        steps: at most G.

    Returns:
        The positions that jumps start from, increasing; the last one is G.
    """
    best, landings = costs[:, 0], []
    for _ in range(steps - 1):
        total = costs + best
        landings.append(total.argmin(axis=1))
        best = total.min(axis=1)
    way = [len(costs) - 1]
    for landing in reversed(landings):
        way.append(int(landing[way[-1]]))
    return tuple(reversed(way))


def descend(teacher: Denoises, walk: Walk, levels: tuple[int, ...]) -> tuple[int, ...]:
    """Move one level at a time, as long as that brings DDIM's images nearer to the walk's.

    Args:
        teacher: predicts images.
        walk: its own trajectories.
        levels: where to begin, all of them on the walk; the last one stays.

    Returns:
        Levels of which none can be moved by one of `STRIDES` with a gain.
    """
    best = mean_squared_error(teacher, walk, levels)
    before: tuple[int, ...] = ()
    while levels != before:
        before, x = levels, walk.states[-1]
        for index in range(len(levels) - 2, -1, -1):
            for tried in list(_moves(walk, levels, index)):
                # Whatever becomes of this level, the states above it stay as they are.
                error = _error(teacher, walk, x, tried[: index + 2])
                if error < best:
                    best, levels = error, tried
            x = _jump(teacher, walk, x, levels[index : index + 2])
    return levels


def mean_squared_error(teacher: Denoises, walk: Walk, levels: tuple[int, ...]) -> float:
    """The error of DDIM's images on `levels`, whose last is the walk's noisiest, to the walk's from the same noises."""
    return _error(teacher, walk, walk.states[-1], levels)


def _moves(walk: Walk, levels: tuple[int, ...], index: int) -> Iterator[tuple[int, ...]]:
    """The same levels with the one at `index` moved on the walk's grid, between its neighbours."""
    position = walk.levels.index(levels[index])
    lower = levels[index - 1] if index else 0
    for moved in sorted(position + sign * stride for stride in STRIDES for sign in (-1, 1)):
        if 0 < moved < len(walk.levels) and lower < walk.levels[moved] < levels[index + 1]:
            yield (*levels[:index], walk.levels[moved], *levels[index + 1 :])


@torch.inference_mode()
def _error(teacher: Denoises, walk: Walk, x: Tensor, levels: tuple[int, ...]) -> float:
    """The error of the images that DDIM reaches from states x [N, C, H, W] at the last one of `levels`."""
    sampler = Sampler(solver="ddim", levels=levels, clip_sample=walk.clip_sample)
    images = torch.cat([sample(teacher, part, sampler, iter(())) for part in _batches(x)])
    return float((images - walk.states[0]).square().double().mean())


@torch.inference_mode()
def _jump(teacher: Denoises, walk: Walk, x: Tensor, ends: tuple[int, ...]) -> Tensor:
    """Where DDIM's one jump from states x [N, C, H, W] at ends[1] lands at ends[0]."""
    landed = []
    for part in _batches(x):
        lower, level = (torch.full((len(part),), end, device=part.device) for end in ends)
        x0, _ = teacher.predict(part, level, lower)
        at_s, at_r = (teacher.schedule.at(each, part) for each in (level, lower))
        landed.append(ddim_step(part, x0.clamp(-1, 1) if walk.clip_sample else x0, at_s, at_r))
    return torch.cat(landed)


def _batches(x: Tensor) -> list[Tensor]:
    return [x[start : start + BATCH] for start in range(0, len(x), BATCH)]


class Counting:
    """A network that counts its evaluations, in images: what a search with it costs, in forward-equivalents."""

    def __init__(self, network: Denoises) -> None:
        self._network, self.schedule = network, network.schedule
        self.images = 0

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, Tensor | None]:
        """The network's own prediction."""
        self.images += len(x)
        return self._network.predict(x, level, landing)


class _Recorder:
    """A network that keeps the images [N, C, H, W] that it predicts."""

    def __init__(self, network: Denoises) -> None:
        self._network, self.schedule = network, network.schedule
        self.samples: list[Tensor] = []

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, Tensor | None]:
        """The network's own prediction."""
        sample, features = self._network.predict(x, level, landing)
        self.samples.append(sample)
        return sample, features
