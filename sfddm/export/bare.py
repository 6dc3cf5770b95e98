"""A student as a sampler needs it and nothing more: no features, no levels but its own.

This file goes into an exported folder as it is, so it imports torch and the mathematics alone.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from sfddm.diffusion.prediction import to_input, to_sample


class Levels(nn.Module):
    """alpha and sigma of the levels phi_0 = 0 < phi_1 < ... < phi_T', which are called by their index k."""

    alpha: Tensor
    sigma: Tensor

    def __init__(self, alpha: list[float], sigma: list[float]) -> None:
        super().__init__()
        self.register_buffer("alpha", torch.tensor(alpha), persistent=False)
        self.register_buffer("sigma", torch.tensor(sigma), persistent=False)

    def at(self, level: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma at indices k (int [B]), shaped to multiply `like` ([B, ...])."""
        shape = (-1,) + (1,) * (like.dim() - 1)
        return self.alpha[level].reshape(shape), self.sigma[level].reshape(shape)


class Bare(nn.Module):
    """A network that predicts images at its own levels.

    `student` describes it in plain data: solver, clip_sample, prediction, two_times, and for k = 0..T' the lists
    levels, alpha, sigma, and told, which is what the network is told of the time there. With a `patch`, the network is
    given patches of so many pixels a side as channels, and with `classes` it is told one of them.
    """

    told: Tensor

    def __init__(self, network: nn.Module, student: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.dtype = next(network.parameters()).dtype
        self.schedule = Levels(student["alpha"], student["sigma"])
        self.register_buffer("told", torch.tensor(student["told"]), persistent=False)
        self.prediction = student["prediction"]
        self.two_times = student["two_times"]
        self.patch = student.get("patch", 1)
        self.classes = student.get("classes", 0)
        self.labels: Tensor | None = None
        """The images' classes, int64 [B], where the network is told them."""

    def predict(self, x: Tensor, level: Tensor, landing: Tensor) -> tuple[Tensor, None]:
        """The image predicted at state x [B, C, H, W] and index k (int [B]); `landing` (int [B]) is the next one."""
        second = self.told[landing] if self.two_times else self.labels
        alpha, sigma = self.schedule.at(level, x)
        given = to_input(self.prediction, x, alpha, sigma).to(self.dtype)
        if self.patch > 1:
            given = nn.functional.pixel_unshuffle(given, self.patch)
        output = self.network(given, self.told[level], class_labels=second, return_dict=False)[0]
        if self.patch > 1:
            output = nn.functional.pixel_shuffle(output, self.patch)
        return to_sample(self.prediction, output.float(), x, alpha, sigma), None


def sampler_of(student: Mapping[str, Any]) -> Any:
    """Its sampler, on the indices 1..T'."""
    steps = tuple(range(1, len(student["levels"])))
    return SimpleNamespace(solver=student["solver"], levels=steps, clip_sample=student["clip_sample"])
