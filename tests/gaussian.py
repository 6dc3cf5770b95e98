"""Gaussian data N(0, S^2): its exact denoiser is linear, so every jump multiplies the state by a known factor."""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import Tensor, nn

from sfddm.diffusion.levels import Schedule, alpha_bar
from sfddm.diffusion.schedule import NoiseSchedule
from sfddm.methods.job import Job
from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import Denoiser
from tests.parts import of

S = 0.5
"""The data's standard deviation."""
T = 1024
NO_NOISE: Iterator[Tensor] = iter(())
ONE = torch.ones(1, 1, 1, 1, dtype=torch.float64)


def level(kind: Schedule, timesteps: int, t: int) -> tuple[float, float]:
    """alpha and sigma of level t."""
    remaining = float(alpha_bar(kind, timesteps)[t])
    return math.sqrt(remaining), math.sqrt(1 - remaining)


def image_factor(alpha: float, sigma: float) -> float:
    """E[x_0 | x] / x."""
    return alpha * S**2 / (alpha**2 * S**2 + sigma**2)


def ddim_factor(kind: Schedule, timesteps: int, *path: int) -> float:
    """What the exact teacher's DDIM makes of 1 on the way down a path of levels."""
    factor = 1.0
    for s, r in pairwise(path):
        (alpha_s, sigma_s), (alpha_r, sigma_r) = level(kind, timesteps, s), level(kind, timesteps, r)
        image = image_factor(alpha_s, sigma_s)
        factor *= alpha_r * image + sigma_r * (1 - alpha_s * image) / sigma_s
    return factor


def flow_factor(kind: Schedule, timesteps: int, s: int, r: int) -> float:
    """What the probability flow makes of 1 between two levels: it keeps states in proportion to their deviation."""
    at_s, at_r = (math.hypot(alpha * S, sigma) for alpha, sigma in (level(kind, timesteps, t) for t in (s, r)))
    return at_r / at_s


class GaussianTeacher:
    """The exact denoiser, in float64."""

    def __init__(self, kind: Schedule = "sigmoid", timesteps: int = T) -> None:
        self.schedule = NoiseSchedule(kind, timesteps).double()

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.schedule.at(level, x)
        return alpha * S**2 * x / (alpha**2 * S**2 + sigma**2), x


class Told:
    """A denoiser whose image is a number for each pair of levels (from, to); other pairs are an error."""

    def __init__(self, images: dict[tuple[int, int], float], kind: Schedule = "cosine", timesteps: int = 64) -> None:
        self.schedule, self.images = NoiseSchedule(kind, timesteps).double(), images

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, Tensor]:
        images = [self.images[pair] for pair in zip(level.tolist(), landing.tolist(), strict=True)]
        x0 = torch.tensor(images, dtype=x.dtype).view(-1, *(1,) * (x.dim() - 1)).expand_as(x)
        return x0, x + level.view_as(x0[:, :1, :1, :1])


class LinearNetwork(nn.Module):
    """What a method trains in place of a UNet: its output is a factor times its input, one factor for each time.

    A network of two times has one for each pair of times. Its configuration has diffusers' names.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = config
        pairs = config["times"] + 1 if config.get("class_embed_type") == "timestep" else 1
        self.conv_norm_out = nn.Identity()
        self.conv_out = nn.Module()
        self.conv_out.weight = nn.Parameter(torch.zeros(config["out_channels"], config["times"], pairs))
        self.conv_out.bias = nn.Parameter(torch.zeros(config["out_channels"]))

    def evaluated(self, images: int) -> None:
        """For those who count."""

    def forward(
        self, x: Tensor, time: Tensor, class_labels: Tensor | None = None, return_dict: bool = False
    ) -> tuple[Tensor]:
        self.evaluated(len(x))
        second = torch.zeros_like(time) if class_labels is None else class_labels + 1
        factor = self.conv_out.weight[:, time, second].T[:, :, None, None]
        return (factor * self.conv_norm_out(x) + self.conv_out.bias[:, None, None],)


def linear_teacher(contract: Contract) -> Denoiser:
    """The exact teacher of 8x8 images, as a denoiser that can be stored and copied."""
    config = {
        "sample_size": [8, 8],
        "in_channels": 1,
        "out_channels": 1,
        "block_out_channels": [1],
        "layers_per_block": 1,
        "times": contract.timesteps,
    }
    network = LinearNetwork(**config)
    for t in range(1, contract.timesteps + 1):
        alpha, sigma = level(contract.noise_schedule, contract.timesteps, t)
        image = image_factor(alpha, sigma)
        noise = (1 - alpha * image) / sigma
        output = {"sample": image, "epsilon": noise, "v": alpha * noise - sigma * image}[contract.prediction]
        network.conv_out.weight.data[0, t - 1, 0] = output
    return Denoiser(network, contract)


def use_linear_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on stored configurations describe linear networks."""
    for module in ("denoiser", "storage"):
        monkeypatch.setattr(f"sfddm.networks.{module}.make_network", lambda config: LinearNetwork(**config))


def gaussian_job(folder: Path, method: Any, levels: tuple[int, ...], contract: Contract) -> Job:
    """The job of a student whose parent is the exact teacher, unclipped."""
    (folder / "teacher").mkdir()
    storage.write(folder / "teacher", linear_teacher(contract))
    made = of(folder, method)
    return evolve(made, levels=levels, student=evolve(made.student, clip_sample=False))
