"""Non-leaking augmentation: images are changed at random, and the network is told how (Karras et al. 2022, F.2).

Told that nothing was done, as samplers leave it, it draws images like the unchanged ones.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

NUMBERS = 9
"""What the network is told of an image: mirrored and upside down (0 or 1), scaled, turned (clockwise: cosine - 1 and
sine of the angle), stretched (by how much, times cosine and sine of twice the axis' angle), moved (right, down). All
are 0 for an image that is as it was."""
OCTAVES = 0.2
"""By how many doublings an image of number 1 is scaled or stretched."""
MOVE = 1 / 8
"""By what share of its width or height it is moved."""


def draw(random: np.random.Generator, images: int, probability: float) -> np.ndarray:
    """Changes of so many images, float32 [images, NUMBERS].

    Half are mirrored. Each other change is drawn for `probability` of the images, independently, and of those that
    could be upside down half are.
    """
    turned, along = random.uniform(-math.pi, math.pi, (2, images))
    scaled, stretched, right, down = random.standard_normal((4, images))
    by_chance = np.stack([
        random.random(images) < 0.5, scaled, np.cos(turned) - 1, np.sin(turned),
        stretched * np.cos(2 * along), stretched * np.sin(2 * along), right, down,
    ])  # fmt: skip
    chosen = random.random((5, images)) < probability
    mirrored = random.random((1, images)) < 0.5
    return np.concatenate([mirrored, by_chance * chosen[[0, 1, 2, 2, 3, 3, 4, 4]]]).T.astype(np.float32)


def changed(images: Tensor, numbers: Tensor) -> Tensor:
    """Images [B, C, H, W] in [-1, 1] changed as their numbers [B, NUMBERS] say; beyond borders they are reflected.

    What is only mirrored or upside down, or left as it is, has the same bytes in new places.
    """
    mirrored, upside_down = (numbers[:, at].bool().view(-1, 1, 1, 1) for at in (0, 1))
    images = torch.where(mirrored, images.flip(-1), images)
    images = torch.where(upside_down, images.flip(-2), images)
    grid = affine_grid(_sources(numbers, images.shape[-1] / images.shape[-2]), list(images.shape), align_corners=False)
    moved = grid_sample(images, grid, mode="bicubic", padding_mode="reflection", align_corners=False).clamp(-1, 1)
    return torch.where(numbers[:, 2:].any(1).view(-1, 1, 1, 1), moved, images)


def _sources(numbers: Tensor, width_per_height: float) -> Tensor:
    """Where each place of a changed image comes from, as `affine_grid` has it: [B, 2, 3] in halves of the sides."""
    scale, cosine, sine, along, across = numbers[:, 2], numbers[:, 3] + 1, numbers[:, 4], numbers[:, 5], numbers[:, 6]
    # The inverse of a stretch is the exponential of a symmetric matrix without a trace.
    strength = torch.hypot(along, across)
    angle = torch.atan2(across, along)
    octaves = math.log(2) * OCTAVES
    grow, skew = torch.cosh(octaves * strength), torch.sinh(octaves * strength)
    stretch = torch.stack([
        grow - skew * angle.cos(), -skew * angle.sin(), -skew * angle.sin(), grow + skew * angle.cos(),
    ], dim=1).view(-1, 2, 2)  # fmt: skip
    turn = torch.stack([cosine, sine, -sine, cosine], dim=1).view(-1, 2, 2)
    linear = torch.exp2(-OCTAVES * scale).view(-1, 1, 1) * stretch @ turn
    sides = linear.new_tensor([width_per_height, 1.0])
    linear = linear * sides / sides[:, None]
    return torch.cat([linear, linear @ (-2 * MOVE * numbers[:, 7:, None])], dim=2)
