"""Forward processes (the teacher's, and the student's on the same levels), and the jump between two levels."""

import torch
from torch import Tensor


def diffuse(x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """x_t = alpha_t x_0 + sigma_t noise; all tensors [B, ...] or broadcastable to it."""
    return alpha * x0 + sigma * noise


def transition(alpha_r: Tensor, alpha_s: Tensor) -> tuple[Tensor, Tensor]:
    """Mean factor and variance of the student's one step from level r up to level s > r.

    q'(x'_k | x'_(k-1)) = N(sqrt(a_s / a_r) x'_(k-1), (1 - a_s / a_r) I) with a = alpha^2 (SFDDM, Lemma A.1), so that
    the student's hidden variable k has the teacher's distribution at level phi_k.
    """
    factor = alpha_s / alpha_r
    return factor, 1 - factor**2


def posterior(
    x_s: Tensor, x0: Tensor, at_s: tuple[Tensor, Tensor], at_r: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Mean [B, ...] and variance of q'(x'_(k-1) | x'_k, x_0): what ancestral sampling draws from on an index set.

    Args:
        x_s: the state at level s = phi_k, [B, ...].
        x0: the (predicted) image, [B, ...].
        at_s: alpha and sigma of level s.
        at_r: alpha and sigma of level r = phi_(k-1).

    Source: Ho et al. 2020, equations 6 and 7, with the transition of SFDDM's Lemma A.1.
    """
    (alpha_s, sigma_s), (alpha_r, sigma_r) = at_s, at_r
    factor, variance = transition(alpha_r, alpha_s)
    mean = (alpha_r * variance * x0 + factor * sigma_r**2 * x_s) / sigma_s**2
    return mean, variance * sigma_r**2 / sigma_s**2


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
