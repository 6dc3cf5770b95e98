"""Mean and covariance of features, gathered batch by batch, and the Frechet distance between two of them.

All is computed where the features are.
"""

from functools import cached_property
from itertools import pairwise
from typing import Self

import torch
from attrs import frozen
from torch import Tensor


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
        features = features.double()
        self._count += len(features)
        self._sum = self._sum.to(features.device) + features.sum(0)
        self._outer = self._outer.to(features.device) + features.T @ features
        return self

    def __sub__(self, other: Self) -> Self:
        """The sums without those of some of the features."""
        left = type(self)(len(self._sum))
        left._count = self._count - other._count
        left._sum = self._sum - other._sum
        left._outer = self._outer - other._outer
        return left

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


BLOCKS = 10
"""Blocks of consecutive images, one of which at a time is left out for the errors of differences."""


def blocks(count: int) -> list[slice]:
    """The places of each block among so many images."""
    ends = [round(count * block / BLOCKS) for block in range(BLOCKS + 1)]
    return [slice(low, high) for low, high in pairwise(ends)]


class Sample:
    """Features [N, D] of one set of images, with the moments of all of them and of all but one block."""

    def __init__(self, features: Tensor) -> None:
        self.features = features
        self._sums = moment_sums(features)
        self.whole = self._sums.moments()

    def without(self, block: slice) -> Moments:
        """The moments without the images in one block."""
        return (self._sums - moment_sums(self.features[block])).moments()


CHUNK = 10_000
"""Features that are turned into float64 at a time."""


def moment_sums(features: Tensor) -> MomentSums:
    """The sums of features [N, D]."""
    sums = MomentSums(features.shape[1])
    for chunk in torch.split(features, CHUNK):
        sums.add(chunk)
    return sums
