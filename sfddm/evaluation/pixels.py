"""Moments of the pixels themselves: a distance in them owes nothing to any classifier's features."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from sfddm.evaluation.frechet import Moments, MomentSums
from sfddm.images import from_bytes

MOST = 1024
"""Numbers an image: beyond it the covariance is larger than n images can fill."""
BATCH = 1000


def flat_pixels(images: Tensor) -> Tensor:
    """[B, D] of images [B, C, H, W]; while D is above `MOST`, every 2x2 pixels (fewer at an odd edge) are averaged."""
    while images[0].numel() > MOST:
        images = avg_pool2d(images, 2, ceil_mode=True)
    return images.flatten(1)


def pixel_moments(images: np.ndarray) -> Moments:
    """Moments of the pixels, in [-1, 1], of uint8 images [N, C, H, W]."""
    sums = MomentSums(flat_pixels(torch.zeros(1, *images.shape[1:])).shape[1])
    for start in range(0, len(images), BATCH):
        sums.add(flat_pixels(from_bytes(np.array(images[start : start + BATCH]))))
    return sums.moments()
