"""What a student sees in one iteration: where it stands, and where its jump should land."""

from itertools import pairwise

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sfddm.diffusion.index_set import evenly_in_angle
from sfddm.diffusion.process import diffuse
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.diffusion.solvers import ddim_step
from sfddm.networks.denoiser import Contract, Denoiser
from sfddm.training.batches import Rows, integers, noise_like


@frozen(kw_only=True)
class Batch:
    """Where B students stand and where they should go."""

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


def join(batches: list[Batch]) -> Batch:
    """Several batches as one; all of them have features, or none."""
    features = [batch.landing_features for batch in batches if batch.landing_features is not None]
    return Batch(
        x=torch.cat([batch.x for batch in batches]),
        level=torch.cat([batch.level for batch in batches]),
        landing_level=torch.cat([batch.landing_level for batch in batches]),
        landing=torch.cat([batch.landing for batch in batches]),
        landing_features=torch.cat(features) if features else None,
    )


def paths(levels: tuple[int, ...], substeps: int, contract: Contract) -> Tensor:
    """The levels that a walk of `substeps` steps passes in each segment of an index set, int64 [T', substeps + 1].

    From the segment's start down to its end, evenly in angle. A segment of fewer levels than sub-steps repeats levels;
    a step from a level to itself changes nothing.
    """
    rows = []
    for ends in pairwise((0, *levels)):
        rising = evenly_in_angle(ends, substeps, contract.noise_schedule, contract.timesteps)
        rows.append([*reversed(rising), ends[0]])
    return torch.tensor(rows)


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
def walk(teacher: Denoiser, x: Tensor, path: Tensor, ahead: bool) -> tuple[Tensor, Tensor | None]:
    """Where the teacher's DDIM arrives along `path` (int64 [B, substeps + 1]), and with `ahead` its features there."""
    before = x
    for level, lower in zip(path.unbind(1), path.unbind(1)[1:], strict=False):
        before = x
        x = jump(teacher, x, level, lower)
    if not ahead:
        return x, None
    clean = path[:, -1] == 0
    # The teacher is never evaluated on clean images: the features of the level before stand for them.
    state = torch.where(clean.view(-1, 1, 1, 1), before, x)
    return x, teacher(state, torch.where(clean, path[:, -2], path[:, -1])).features


@torch.no_grad()
def jump(network: Denoiser, x: Tensor, level: Tensor, lower: Tensor) -> Tensor:
    """One DDIM step of a network from `level` to `lower` (int64 [B]); from a level to itself nothing changes."""
    x0, _ = network.predict(x, level, lower)
    return ddim_step(x, x0, network.schedule.at(level, x), network.schedule.at(lower, x))
