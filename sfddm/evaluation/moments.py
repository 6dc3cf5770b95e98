"""Mean and covariance of features or pixels, gathered batch by batch, and the Frechet distance between two of them."""

from functools import cached_property
from typing import Self

import numpy as np
import torch
from attrs import frozen
from torch import Tensor
from torch.nn.functional import avg_pool2d

from sfddm.images import from_bytes


@frozen
class Moments:
    """Number, mean [D] and covariance [D, D] of features, in float64."""

    count: int
    mean: Tensor
    covariance: Tensor

    @cached_property
    def root(self) -> Tensor:
        """Symmetric square root [D, D] of the covariance; taken once for all distances to these moments."""
        values, vectors = torch.linalg.eigh(self.covariance)
        root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
        return root


class MomentSums:
    """Gathers the moments of features batch by batch."""

    def __init__(self, dimensions: int) -> None:
        self._count = 0
        self._sum = torch.zeros(dimensions, dtype=torch.float64)
        self._outer = torch.zeros(dimensions, dimensions, dtype=torch.float64)

    def add(self, features: Tensor) -> Self:
        """Take in a batch of features [B, D]."""
        features = features.double().cpu()
        self._count += len(features)
        self._sum += features.sum(0)
        self._outer += features.T @ features
        return self

    def __add__(self, other: Self) -> Self:
        """The sums of both sets of features together."""
        total = type(self)(len(self._sum))
        total._count = self._count + other._count
        total._sum = self._sum + other._sum
        total._outer = self._outer + other._outer
        return total

    def moments(self) -> Moments:
        """The moments so far; the covariance is the unbiased one."""
        mean = self._sum / self._count
        covariance = (self._outer - self._count * torch.outer(mean, mean)) / (self._count - 1)
        return Moments(self._count, mean, covariance)


def frechet_distance(a: Moments, b: Moments) -> float:
    """Squared Frechet distance of the Gaussians with these moments (Dowson and Landau 1982; Heusel et al. 2017).

    |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), the last trace through the symmetric B^(1/2) A B^(1/2).
    """
    overlap = torch.linalg.eigvalsh(b.root @ a.covariance @ b.root).clamp(min=0).sqrt().sum()
    spread = torch.trace(a.covariance) + torch.trace(b.covariance) - 2 * overlap
    return float((a.mean - b.mean).square().sum() + spread)


MOST = 1024
"""Numbers per image; the covariance of more is larger than n images can fill."""
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
