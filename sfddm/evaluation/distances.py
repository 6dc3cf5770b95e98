"""Metrics of a set of images against the real images, in a scorer's features: Frechet and kernel distance, precision
and recall; and the first two without one block of images at a time, which gives the error of a difference.

Both draws count: of the images, through their noises, and of the real ones. So a metric is computed without each block
of images, without each block of real images, and, because what a block of one does depends on the other, without both.
How much larger the Frechet distance is without a block also says how much of it is there because images are few.
"""

from itertools import combinations_with_replacement
from math import fsum
from statistics import fmean
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from sfddm.evaluation.metrics import JACKKNIFE
from sfddm.evaluation.moments import Sample, blocks, frechet_distance
from sfddm.evaluation.real import KEPT, Real

Jackknife = dict[str, list[float]]
"""A metric without one block each: of `images`, of `real` images, of `both`."""


def distances(own: Sample, teachers: Sample, real: Real) -> dict[str, Any]:
    """Every metric of this module by its key, and on how many images it is based."""
    kept = own.features[:KEPT]
    equal = min(len(kept), len(real.sample.features))
    precision, recall = precision_recall(kept[:equal], real.sample.features[:equal])
    kernel, kernel_jackknife = kernel_distances(kept, real.sample.features)
    at_floor = Sample(own.features[: real.floor_images]).whole if real.floor_images else None
    frechet, teachers_frechet = frechet_distances(own, real.sample), frechet_distances(teachers, real.sample)
    return {
        "frechet_distance": frechet.unbiased,
        JACKKNIFE["frechet_distance"]: frechet.jackknife,
        "frechet_distance_at_n": frechet.at_n,
        "frechet_distance_at_floor": frechet_distance(at_floor, real.sample.whole) if at_floor else None,
        "train_distance": frechet_distance(own.whole, real.train) if real.train else None,
        "teacher_frechet_distance": teachers_frechet.unbiased,
        JACKKNIFE["teacher_frechet_distance"]: teachers_frechet.jackknife,
        "kernel_distance": kernel,
        JACKKNIFE["kernel_distance"]: kernel_jackknife,
        "kernel_samples": [len(kept), len(real.sample.features)],
        "precision": precision,
        "recall": recall,
        "precision_samples": equal,
    }


@frozen
class Frechet:
    """The Frechet distance of two sets of features."""

    at_n: float
    """The usual estimate, which is too large by about a / n + b / m for n and m images."""
    unbiased: float
    """The same less that bias: what it would be for endless images, which Chong and Forsyth (2020) extrapolate too. It
    can be negative near 0."""
    jackknife: Jackknife
    """The estimates without one block each, less the same bias."""


def frechet_distances(own: Sample, real: Sample) -> Frechet:
    """The Frechet distance without its bias to first order (Quenouille 1956), and how it scatters.

    Nine tenths of n images have 10 / 9 of the bias of n: so nine times what the distance grows by is the bias. It costs
    no further distances, and the result scatters no more than the usual estimate (docs/evaluation.md).
    """
    at_n, values = frechet_distance(own.whole, real.whole), _frechet_without_blocks(own, real)
    bias = sum((len(values[draw]) - 1) * (fmean(values[draw]) - at_n) for draw in ("images", "real"))
    return Frechet(at_n, at_n - bias, {draw: [value - bias for value in of] for draw, of in values.items()})


def _frechet_without_blocks(own: Sample, real: Sample) -> Jackknife:
    places = list(zip(blocks(len(own.features)), blocks(len(real.features)), strict=True))
    values: Jackknife = {"images": [], "real": [], "both": []}
    for of_own, of_real in places:
        less, less_real = own.without(of_own), real.without(of_real)
        values["images"].append(frechet_distance(less, real.whole))
        values["real"].append(frechet_distance(less_real, own.whole))
        values["both"].append(frechet_distance(less, less_real))
    return values


CHUNK = 1000
"""Rows of the kernel matrix that are held at a time."""


def kernel_distances(a: Tensor, b: Tensor) -> tuple[float, Jackknife]:
    """Unbiased squared maximum mean discrepancy of features a [N, D] and b [M, D] (Binkowski et al. 2018), and the same
    without one block each.

    Kernel (x.y / D + 1)^3; mean over pairs within each set, less twice the mean over pairs across. The expectation
    doesn't depend on the number of images, so small sets scatter but are not biased; it can be negative.
    """
    own, real = ([features[block] for block in blocks(len(features))] for features in (a, b))
    sizes, real_sizes = (torch.tensor([len(part) for part in parts], dtype=torch.float64) for parts in (own, real))
    within, real_within = _pairs_within(own), _pairs_within(real)
    across = torch.tensor([[_sum(part, other) for other in real] for part in own], dtype=torch.float64)

    def value(kept: Tensor, real_kept: Tensor) -> float:
        n, m = float(kept @ sizes), float(real_kept @ real_sizes)
        inside = kept @ within @ kept / (n * (n - 1)) + real_kept @ real_within @ real_kept / (m * (m - 1))
        return float(inside - 2 * (kept @ across @ real_kept) / (n * m))

    every = torch.ones(len(own), dtype=torch.float64)
    less = 1 - torch.eye(len(own), dtype=torch.float64)
    return value(every, every), {
        "images": [value(kept, every) for kept in less],
        "real": [value(every, kept) for kept in less],
        "both": [value(kept, kept) for kept in less],
    }


def _pairs_within(parts: list[Tensor]) -> Tensor:
    """Sums of the kernel over all pairs of different features of two blocks, [blocks, blocks]."""
    sums = torch.zeros(len(parts), len(parts), dtype=torch.float64)
    for row, column in combinations_with_replacement(range(len(parts)), 2):
        sums[row, column] = sums[column, row] = _sum(parts[row], parts[column])
    same = [float((part.double().square().sum(1) / part.shape[1] + 1).pow(3).sum()) for part in parts]
    return sums - torch.diag(torch.tensor(same, dtype=torch.float64))


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
    radii = torch.cat([_reach(_squares(chunk, region)) for chunk in torch.split(region, CHUNK)])
    inside = [(_squares(chunk, region) <= radii).any(1) for chunk in torch.split(points, CHUNK)]
    return float(torch.cat(inside).double().mean())


def _reach(squares: Tensor) -> Tensor:
    """The squared distance of each feature to its k-th nearest, [N]; itself is the nearest."""
    return squares.topk(NEIGHBOUR + 1, largest=False).values[:, -1]


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances [N, M]."""
    sizes = a.square().sum(1)[:, None] + b.square().sum(1)
    squares = torch.addmm(sizes, a, b.T, alpha=-2)
    # Equal features leave a rounding error, but the region of a set of equal features has no extent.
    return squares.masked_fill_(squares < ROUNDING * sizes, 0)
