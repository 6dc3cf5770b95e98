"""Noise schedules over levels t = 0..T, level 0 clean: alpha_t = sqrt(alpha_bar_t), sigma_t = sqrt(1 - alpha_bar_t)."""

import math

import torch
from torch import Tensor, nn

from sfddm.spec.teacher import Schedule

LARGEST_BETA = 0.999
"""No single level destroys everything (Nichol and Dhariwal 2021, section 3.2)."""


def alpha_bar(kind: Schedule, timesteps: int) -> Tensor:
    """The share of the image's variance that is left at each level.

    Args:
        kind: linear: beta from 1e-4 to 0.02 over 1000 levels, rescaled to T (Ho et al. 2020);
            cosine: Nichol and Dhariwal 2021, equation 17; sigmoid: Jabri et al. 2022, algorithm 1, from -3 to 3.
        timesteps: T.

    Returns:
        float64 [T + 1], falling from 1 at level 0.
    """
    t = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    match kind:
        case "linear":
            scale = 1000 / timesteps
            beta = torch.linspace(scale * 1e-4, scale * 0.02, timesteps, dtype=torch.float64)
        case "cosine":
            left = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
            beta = 1 - left[1:] / left[:-1]
        case "sigmoid":
            ends = torch.sigmoid(torch.tensor([-3.0, 3.0], dtype=torch.float64))
            left = (ends[1] - torch.sigmoid(6 * t - 3)) / (ends[1] - ends[0])
            beta = 1 - left[1:] / left[:-1]
    return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - beta.clamp(0, LARGEST_BETA), 0)])


class NoiseSchedule(nn.Module):
    """alpha, sigma and theta = atan2(sigma, alpha) of every level, ready to be gathered for a batch of levels."""

    alpha: Tensor
    sigma: Tensor
    theta: Tensor

    def __init__(self, kind: Schedule, timesteps: int) -> None:
        super().__init__()
        remaining = alpha_bar(kind, timesteps)
        alpha, sigma = remaining.sqrt(), (1 - remaining).sqrt()
        # Rounded to float32 only after the differences of angles that the targets need have lost nothing.
        self.register_buffer("alpha", alpha.float(), persistent=False)
        self.register_buffer("sigma", sigma.float(), persistent=False)
        self.register_buffer("theta", torch.atan2(sigma, alpha), persistent=False)

    def at(self, level: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma of `level` (int [B]), shaped to multiply `like` ([B, ...])."""
        shape = (-1,) + (1,) * (like.dim() - 1)
        return self.alpha[level].reshape(shape), self.sigma[level].reshape(shape)

    def angle(self, start: Tensor, end: Tensor, like: Tensor) -> Tensor:
        """delta = theta_start - theta_end, shaped to multiply `like` ([B, ...]); start, end: int [B]."""
        shape = (-1,) + (1,) * (like.dim() - 1)
        return (self.theta[start] - self.theta[end]).to(like.dtype).reshape(shape)
