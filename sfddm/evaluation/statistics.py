"""Whether two students differ by more than noise, from a metric of equal blocks of equal evaluation noises.

All rows share their noises, so most of what the draw of noises does to one distance it does to the others too: a
difference inside a block is free of it, and its variance over the blocks is what is left.

There is no bootstrap over images: a Frechet distance of finitely many images is biased upward, and images drawn again
with replacement have that bias twice, so the bootstrap's values don't surround the value whose spread is wanted.

For the same reason a block's distance is larger than that of all images, by much the same for both students. The
difference loses this bias and the block distances keep it, so they are good for differences alone.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import fmean, variance
from typing import Any

from attrs import frozen
from scipy.special import stdtrit

from sfddm.evaluation.metrics import BLOCKS, CONDITIONS

CONFIDENCE = 0.95


@frozen(kw_only=True)
class Measured:
    """One metric of one trained network."""

    whole: float
    """Its value for all images."""
    blocks: tuple[float, ...]
    """Its value for each block of consecutive noises, the same blocks for every network."""


@frozen(kw_only=True)
class Difference:
    """How much larger a metric of one student is than another's."""

    estimate: float
    half_width: float
    """Half the width of the interval that holds the difference with a confidence of 95 %."""

    @property
    def different(self) -> bool:
        """Whether the interval leaves out 0."""
        return abs(self.estimate) > self.half_width


def measured(metrics: Mapping[str, Any], key: str) -> Measured | None:
    """A metric in the content of metrics.json; None if it is not there for each block."""
    blocks = BLOCKS.get(key, "")
    return Measured(whole=metrics[key], blocks=tuple(metrics[blocks])) if blocks in metrics else None


def paired_difference(a: Sequence[Measured], b: Sequence[Measured]) -> Difference:
    """The difference a - b of two students, each given by its training seeds.

    The estimate is the mean over blocks of the differences of the seeds' means. Its squared standard error is the
    variance of those differences over their number, plus for each student the variance of its whole metric over its
    seeds over their number. With one seed that last term is 0: then that one trained network is compared, not the
    method. The half-width takes Student's t quantile with one degree of freedom less than there are blocks.
    """
    differences = [one - other for one, other in zip(_block_means(a), _block_means(b), strict=True)]
    squared_error = variance(differences) / len(differences) + _seeds_error(a) + _seeds_error(b)
    quantile = float(stdtrit(len(differences) - 1, (1 + CONFIDENCE) / 2))  # scipy.stats takes long to import
    return Difference(estimate=fmean(differences), half_width=quantile * sqrt(squared_error))


def difference(a: Mapping[str, Any], b: Mapping[str, Any], key: str) -> Difference | None:
    """How much larger a metric of `b` is than that of `a`, two trained networks' metrics.json; None without blocks."""
    one, other = measured(a, key), measured(b, key)
    return paired_difference([other], [one]) if one and other else None


def why_not(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Why the metrics of two students, each given by its metrics.json, don't compare; empty if they do."""
    return [
        f"other {words} ({a.get(key, 'unknown')} | {b.get(key, 'unknown')})"
        for key, words in CONDITIONS.items()
        if key not in a or a[key] != b.get(key)
    ]


def _block_means(seeds: Sequence[Measured]) -> list[float]:
    return [fmean(blocks) for blocks in zip(*(seed.blocks for seed in seeds), strict=True)]


def _seeds_error(seeds: Sequence[Measured]) -> float:
    """Squared standard error of the mean over training seeds."""
    return variance(seed.whole for seed in seeds) / len(seeds) if len(seeds) > 1 else 0.0
