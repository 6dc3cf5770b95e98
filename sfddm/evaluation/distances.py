"""Distances between two sets of images: Frechet and kernel distance, precision and recall, in features or in pixels."""

from collections.abc import Sequence
from functools import cached_property
from math import fsum
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


CHUNK = 1000
"""Rows of the kernel matrix that are held at a time."""


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of features a [N, D] and b [M, D] (Binkowski et al. 2018).

    Kernel (x.y / D + 1)^3; mean over pairs within a, plus within b, less twice the mean over pairs across. Its
    expectation is the same at every number of images, so small sets scatter but are not biased; it can be negative.
    """
    return kernel_distances([a], b)[0]


def kernel_distances(sets: Sequence[Tensor], b: Tensor) -> list[float]:
    """The kernel distance of each of several sets to the same b."""
    within = _within(b)
    return [_within(a) + within - 2 * _sum(a, b) / (len(a) * len(b)) for a in sets]


def _within(x: Tensor) -> float:
    """Mean of the kernel over all pairs of different rows."""
    own = float((x.double().square().sum(1) / x.shape[1] + 1).pow(3).sum())
    return (_sum(x, x) - own) / (len(x) * (len(x) - 1))


def _sum(x: Tensor, y: Tensor) -> float:
    others = y.double().T / y.shape[1]
    return fsum(float((chunk.double() @ others).add_(1).pow_(3).sum()) for chunk in torch.split(x, CHUNK))


NEIGHBOUR = 3
"""k: a set's region is the union of balls around its features that reach to each one's k-th nearest neighbour."""
ROUNDING = 1e-13
"""Of a squared distance, as a share of the features' squared sizes."""


def precision_recall(generated: Tensor, real: Tensor) -> tuple[float, float]:
    """Share of generated features [N, D] in the real ones' region, and of real features [M, D] in the generated ones'
    (Kynkaanniemi et al. 2019, equations 1 and 2, k = 3).

    Both depend on N and M: only figures of equal numbers compare.
    """
    generated, real = generated.double(), real.double()
    return _share_inside(generated, real), _share_inside(real, generated)


def _share_inside(points: Tensor, region: Tensor) -> float:
    radii = torch.cat([_squares(chunk, region).kthvalue(NEIGHBOUR + 1).values for chunk in torch.split(region, CHUNK)])
    inside = [(_squares(chunk, region) <= radii).any(1) for chunk in torch.split(points, CHUNK)]
    return float(torch.cat(inside).double().mean())


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances [N, M]."""
    sizes = a.square().sum(1)[:, None] + b.square().sum(1)
    squares = torch.addmm(sizes, a, b.T, alpha=-2)
    # Of equal features this leaves rounding; a set of equal ones has a region without extent.
    return squares.masked_fill_(squares < ROUNDING * sizes, 0)


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
