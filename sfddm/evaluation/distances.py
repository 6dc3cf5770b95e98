"""Metrics of a set of images against the real images, in a scorer's features: Frechet and kernel distance, precision
and recall."""

from collections.abc import Sequence
from math import fsum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfddm.evaluation.metrics import BLOCKS
from sfddm.evaluation.moments import frechet_distance
from sfddm.evaluation.real import Real
from sfddm.evaluation.similarity import Comparison


def distances(compared: Comparison, real: Real, blocks: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Every metric of this module by its key, and on how many images it is based."""
    own, floor = compared.features, real.half.count
    kept = np.array_split(np.arange(len(own)), len(blocks))
    kernel, *kernel_blocks = kernel_distances([own, *(own[part] for part in kept)], real.features)
    equal = min(len(own), len(real.features))
    precision, recall = precision_recall(own[:equal], real.features[:equal])
    return {
        "frechet_distance": frechet_distance(compared.sums(0, blocks[-1][1]).moments(), real.moments),
        BLOCKS["frechet_distance"]: [frechet_distance(compared.sums(*of).moments(), real.moments) for of in blocks],
        "frechet_distance_at_floor": frechet_distance(compared.sums(0, floor).moments(), real.half),
        "teacher_frechet_distance": frechet_distance(compared.teachers.moments(), real.moments),
        "kernel_distance": kernel,
        BLOCKS["kernel_distance"]: kernel_blocks,
        "kernel_samples": [len(own), len(real.features)],
        "precision": precision,
        "recall": recall,
        "precision_samples": equal,
    }


CHUNK = 1000
"""Rows of the kernel matrix that are held at a time."""


def kernel_distances(sets: Sequence[Tensor], b: Tensor) -> list[float]:
    """Unbiased squared maximum mean discrepancies of features [N, D] and b [M, D] (Binkowski et al. 2018), for each of
    several sets.

    Kernel (x.y / D + 1)^3; mean over pairs within the set, plus within b, less twice the mean over pairs across. The
    expectation doesn't depend on the number of images, so small sets scatter but are not biased; it can be negative.
    """
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
"""k: the region of a set is the union of balls around its features, each reaching to its k-th nearest."""
ROUNDING = 1e-13
"""Rounding error of a squared distance, as a share of the squared sizes of both features."""


def precision_recall(generated: Tensor, real: Tensor) -> tuple[float, float]:
    """Share of generated features [N, D] in the real ones' region, and of real features [M, D] in the generated ones'
    (Kynkaanniemi et al. 2019, equations 1 and 2, k = 3).

    Both depend on N and M, so they compare only at equal numbers of images.
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
    # Equal features leave a rounding error, but the region of a set of equal features has no extent.
    return squares.masked_fill_(squares < ROUNDING * sizes, 0)
