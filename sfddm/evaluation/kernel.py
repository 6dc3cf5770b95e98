"""Kernel distance (KID): how far two sets of features are apart, without a Gaussian in between."""

from collections.abc import Sequence
from math import fsum

import torch
from torch import Tensor

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
