"""Where one jump of the student should point, so that it lands on the teacher's hidden variable."""

import torch
from torch import Tensor


def hidden_target(x_s: Tensor, x_r: Tensor, delta: Tensor) -> Tensor:
    """v* with which one deterministic jump from x_s at level s lands on x_r at level r < s.

    v* = (cos(delta) x_s - x_r) / sin(delta), delta = theta_s - theta_r, theta = atan2(sigma, alpha); it is the v of
    x0* = (x_r - (sigma_r / sigma_s) x_s) / (alpha_r - (sigma_r / sigma_s) alpha_s), without its cancellation.

    Args:
        x_s: the student's state, [B, ...].
        x_r: where the teacher's sub-steps arrive from there, [B, ...].
        delta: the angle between the two levels, broadcastable to x_s.
    """
    return (torch.cos(delta) * x_s - x_r) / torch.sin(delta)
