"""Whether two students differ by more than noise, from the distances of equal blocks of equal evaluation noises.

All rows share their noises, so that most of what the draw of noises does to one distance it does to the others too: a
difference inside a block is free of it, and its variance over the blocks is what is left.

No bootstrap over images: a Frechet distance of finitely many images is biased upward, and images drawn again with
replacement have that bias twice, so that the bootstrap's figures don't lie around the one that they should spread.

For the same reason a block's distance is larger than that of all images, for both students much alike: the difference
loses this bias, the block distances keep it, so they serve for differences alone.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import fmean, variance
from typing import Any

from attrs import frozen
from scipy.special import stdtrit

from sfddm.report.compare import Subject

CONFIDENCE = 0.95


@frozen(kw_only=True)
class Distances:
    """Frechet distances of one trained network's images."""

    whole: float
    """Of all images."""
    blocks: tuple[float, ...]
    """Of the images of each block of consecutive noises, the same blocks for every network."""


@frozen(kw_only=True)
class Difference:
    """How much larger one student's distance is than another's."""

    estimate: float
    half_width: float
    """Of the interval that holds the difference with a confidence of 95 %."""

    @property
    def different(self) -> bool:
        """Whether the interval leaves out 0."""
        return abs(self.estimate) > self.half_width


def paired_difference(a: Sequence[Distances], b: Sequence[Distances]) -> Difference:
    """The difference a - b of two students, each given by its training seeds.

    Estimate: mean over blocks of the differences of the seeds' mean block distances. Squared standard error: the
    variance of those differences over their number, plus for each student the variance of its whole distance over its
    seeds over their number. With one seed the last term is 0: what is compared then is that one trained network, not
    the method. Half-width: Student's t quantile with one degree of freedom less than there are blocks.
    """
    differences = [one - other for one, other in zip(_block_means(a), _block_means(b), strict=True)]
    squared_error = variance(differences) / len(differences) + _of_seeds(a) + _of_seeds(b)
    quantile = float(stdtrit(len(differences) - 1, (1 + CONFIDENCE) / 2))  # scipy.stats takes long to import
    return Difference(estimate=fmean(differences), half_width=quantile * sqrt(squared_error))


def _block_means(seeds: Sequence[Distances]) -> list[float]:
    return [fmean(blocks) for blocks in zip(*(seed.blocks for seed in seeds), strict=True)]


def _of_seeds(seeds: Sequence[Distances]) -> float:
    """Squared standard error of the mean whole distance over training seeds."""
    return variance(seed.whole for seed in seeds) / len(seeds) if len(seeds) > 1 else 0.0


SHARED = {
    "noise_seed": "noises",
    "samples": "number of images",
    "scorer": "scorer",
    "scorer_version": "scorer's version",
    "real": "real images",
    "reference": "reference",
}
"""What two students' `metrics.json` must agree on for their figures to compare, and what users call it."""
BLOCKS = {
    "frechet_distance": "frechet_blocks",
    "kernel_distance": "kernel_blocks",
    "agreement": "agreement_blocks",
    "mse_to_teacher": "mse_blocks",
    "ssim": "ssim_blocks",
    "feature_cosine": "cosine_blocks",
}
"""Figures that are also known for each block of the common noises, from which the spread of a difference comes."""


def fields_that_differ(subjects: list[Subject]) -> dict[str, list[Any]]:
    """Paths of the fields that are not the same in all, with every subject's value; None where it has no such field."""
    paths = dict.fromkeys(path for subject in subjects for path in subject.fields)
    values = {path: [subject.fields.get(path) for subject in subjects] for path in paths}
    return {path: found for path, found in values.items() if any(value != found[0] for value in found)}


def why_not(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Why the figures of two students, each given by its `metrics.json`, don't compare; empty if they do."""
    return [
        f"other {words} ({a.get(key, 'unknown')} | {b.get(key, 'unknown')})"
        for key, words in SHARED.items()
        if key not in a or a[key] != b.get(key)
    ]


def difference(a: Mapping[str, Any], b: Mapping[str, Any], key: str) -> Difference | None:
    """How much larger a figure of `b` is than that of `a`, of these two trained networks; None without blocks of it."""
    blocks = BLOCKS.get(key, "")
    if blocks not in a or blocks not in b:
        return None
    of_a, of_b = (Distances(whole=metrics[key], blocks=tuple(metrics[blocks])) for metrics in (a, b))
    return paired_difference([of_b], [of_a])
