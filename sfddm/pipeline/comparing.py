"""What it takes to compare a student's features with those of the teacher's and of real images, in time and memory.

Passes of scorers' networks are not in it. Each computation is timed on a few features as random numbers, and scaled by
how often an evaluation does it, and on how many images.
"""

import time
from collections.abc import Callable, Sequence

import torch
from attrs import frozen

from sfddm.evaluation.distances import CHUNK as ROWS
from sfddm.evaluation.distances import kernel_distances, precision_recall
from sfddm.evaluation.moments import BLOCKS, CHUNK, Sample, frechet_distance, moment_sums
from sfddm.evaluation.real import KEPT

FEW = 1000
"""Images that computations are timed with."""
LONG_ENOUGH = 0.25
"""Seconds; what takes less is timed a second time, because a first call is slower."""
SINGLE, DOUBLE = 4, 8
"""Bytes of a number."""


@frozen(kw_only=True)
class Computations:
    """Seconds of each computation, with features of one size."""

    root: float
    """The square root of a covariance."""
    distance: float
    """A Frechet distance to moments whose root is there."""
    moments: float
    """Sums and outer products, for one image."""
    kernel: float
    """The kernel, for one pair of images."""
    neighbours: float
    """Precision and recall, for one pair of images in one direction and one set's reach."""

    def total(self, samples: int, real: int) -> float:
        """An evaluation of so many images: of the student's and the teacher's distances with their errors, to so many
        real images, and of kernel distance, precision and recall."""
        kept, equal = min(samples, KEPT), min(samples, real)
        jackknifed = 3 * BLOCKS + 1  # without each block of images, of real images and of both, and with all
        return (
            2 * (BLOCKS + 2) * self.root
            + (2 * jackknifed + 2) * self.distance  # two more: to training images, and at floor
            + (4 * samples + 3 * real) * self.moments
            + _kernel_pairs(kept, real) * self.kernel
            + equal**2 * self.neighbours
        )


def _kernel_pairs(images: int, real: int) -> float:
    """Pairs within each set, of each two blocks once, and across."""
    within = (1 + 1 / BLOCKS) / 2
    return within * (images**2 + real**2) + images * real


def time_computations(features: int, device: torch.device) -> Computations:
    """Time them with so many features of an image."""
    drawn = torch.randn(2, FEW, features, generator=torch.Generator().manual_seed(0)).to(device)
    own, real = drawn
    a, b = Sample(own).whole, Sample(real).whole
    _ = b.root
    return Computations(
        root=seconds(lambda: float(moment_sums(own).moments().root[0, 0])),
        distance=seconds(lambda: frechet_distance(a, b)),
        moments=seconds(lambda: float(moment_sums(own).moments().mean[0])) / FEW,
        kernel=seconds(lambda: kernel_distances(own, real)) / _kernel_pairs(FEW, FEW),
        neighbours=seconds(lambda: precision_recall(own, real)) / FEW**2,
    )


def seconds(compute: Callable[[], object]) -> float:
    """How long it takes."""
    took = 0.0
    for _ in range(2):
        began = time.perf_counter()
        compute()
        if (took := time.perf_counter() - began) > LONG_ENOUGH:
            break
    return took


def memory(samples: int, real: int, sizes: Sequence[int]) -> int:
    """Bytes for scorers with these numbers of features: all real ones, one scorer's of the student and the teacher, and
    what is computed from them at once in fp64, which is the moments of many or the distances between some of them."""
    most, equal = max(sizes), min(samples, real)
    neighbours = 2 * equal * most + 3 * ROWS * equal
    gathered = min(max(samples, real), CHUNK) * most + 4 * most**2
    return SINGLE * (real * sum(sizes) + 2 * samples * most) + DOUBLE * max(neighbours, gathered)
