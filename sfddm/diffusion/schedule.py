"""A noise schedule on tensors: alpha_t = sqrt(alpha_bar_t), sigma_t = sqrt(1 - alpha_bar_t), level 0 clean."""

import torch
from torch import Tensor, nn

from sfddm.diffusion.levels import Schedule, alpha_bar


class NoiseSchedule(nn.Module):
    """alpha, sigma and theta = atan2(sigma, alpha) of every level, ready to be gathered for a batch of levels."""

    alpha: Tensor
    sigma: Tensor
    theta: Tensor

    def __init__(self, kind: Schedule, timesteps: int) -> None:
        super().__init__()
        remaining = torch.tensor(alpha_bar(kind, timesteps))
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
