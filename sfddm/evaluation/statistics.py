"""Whether two students differ by more than chance explains, and whether a student is as good as its teacher.

The estimate is the difference of the metric over all images; a Frechet distance is given less its bias. Its error
comes from values without one block of images each, a delete-one-block jackknife (Efron and Stein 1981), of both draws:
the noises, which all rows share, so that most of what they do cancels in a difference, and the real images. What a
block of one does depends on the other draw; that part is in the spread over both, so it is taken out once
(docs/evaluation.md). With several training seeds their spread is added.

There is no bootstrap over images: images drawn again with replacement have a Frechet distance's bias twice, so the
bootstrap's values don't surround the value whose spread is wanted.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import sqrt
from statistics import fmean, variance
from typing import Any, Literal

from attrs import frozen
from scipy.special import stdtrit

from sfddm.evaluation.metrics import CONDITIONS, JACKKNIFE, JUDGED_CONDITIONS, part

CONFIDENCE = 0.95


@frozen(kw_only=True)
class Measured:
    """One metric of one trained network."""

    whole: float
    """Its value for all images."""
    images: tuple[float, ...]
    """Its value without each block of consecutive noises, the same blocks for every network."""
    real: tuple[float, ...] = ()
    """Its value without each block of real images; empty where it has nothing to do with these."""
    both: tuple[float, ...] = ()
    """Its value without both."""

    def __sub__(self, other: "Measured") -> "Measured":
        return _combined([self, other], [1, -1])


@frozen(slots=False)
class Difference:
    """How much larger a metric of one student is than another's."""

    estimate: float
    error: float
    """Standard error of the estimate."""
    degrees: float
    """Degrees of freedom of that (Welch 1947, Satterthwaite 1946)."""
    comparisons: int = 1
    """Number of differences that are looked at together: all of their intervals hold at once (Bonferroni)."""

    @cached_property
    def half_width(self) -> float:
        """Half the width of the interval that holds the difference with a confidence of 95 %."""
        tail = (1 - CONFIDENCE) / 2 / self.comparisons
        return float(stdtrit(self.degrees, 1 - tail)) * self.error if self.error else 0.0  # scipy.stats loads slowly

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.estimate - self.half_width

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.estimate + self.half_width

    @property
    def different(self) -> bool:
        """Whether the interval leaves out 0."""
        return abs(self.estimate) > self.half_width


def measured(metrics: Mapping[str, Any], key: str, scorer: str | None = None) -> Measured | None:
    """A metric in the content of metrics.json; None if it is not there with its jackknife."""
    found = part(metrics, scorer)
    values = found.get(JACKKNIFE.get(key, ""))
    if values is None or key not in found:
        return None
    return Measured(whole=found[key], **{draw: tuple(of) for draw, of in values.items()})


def paired_difference(a: Sequence[Measured], b: Sequence[Measured], comparisons: int = 1) -> Difference:
    """The difference a - b of two students, each given by its training seeds.

    Squared standard error: that of the draws of noises and of real images, of the difference of the seeds' means; plus
    for each student the variance over its seeds, less what these draws contribute to that, over their number. With one
    seed that last part is 0: then that one trained network is compared, not the method.
    """
    one, other = _mean(a), _mean(b)
    parts = [*_draws(one - other), _seeds(a, one), _seeds(b, other)]
    squared = sum(error for error, _ in parts)
    known = sum(error**2 / degrees for error, degrees in parts if error)
    return Difference(one.whole - other.whole, sqrt(squared), squared**2 / known if known else 1.0, comparisons)


def standard_error(of: Measured) -> float:
    """The standard error of one network's metric, over the draws of noises and of real images."""
    return sqrt(sum(squared for squared, _ in _draws(of)))


def with_bias(of: Measured, more: float) -> float:
    """A Frechet distance with the bias that it would have of so many times fewer images.

    The values without a block tell the bias (`distances.frechet_distances`); what real images add to it stays.
    """
    images, real = ((len(values) - 1) * (fmean(values) - of.whole) for values in (of.images, of.real))
    return of.whole + more * images + real


def difference(a: Mapping[str, Any], b: Mapping[str, Any], key: str, scorer: str | None = None) -> Difference | None:
    """The difference a - b of a metric of two trained networks, given by their metrics.json; None without errors."""
    one, other = measured(a, key, scorer), measured(b, key, scorer)
    return paired_difference([one], [other]) if one and other else None


def why_not(a: Mapping[str, Any], b: Mapping[str, Any], scorer: str | None = None) -> list[str]:
    """Why the metrics of two students, each given by its metrics.json, don't compare; empty if they do."""
    pairs = [(CONDITIONS, a, b, "")]
    if scorer is not None:
        pairs.append((JUDGED_CONDITIONS, part(a, scorer), part(b, scorer), f"{scorer}: "))
    return [
        f"{where}other {words} ({of_a.get(key, 'unknown')} | {of_b.get(key, 'unknown')})"
        for conditions, of_a, of_b, where in pairs
        for key, words in conditions.items()
        if key not in of_a or of_a[key] != of_b.get(key)
    ]


Part = tuple[float, float]
"""A variance, and the degrees of freedom of its estimate."""


def _draws(of: Measured) -> list[Part]:
    """What noises and real images contribute to the squared error of a metric or a difference."""
    images, real = _jackknife(of.images), _jackknife(of.real)
    if not of.both:
        return [(images, len(of.images) - 1)]
    # Each of the two has all of their interaction; the sum should have it once.
    triples = zip(of.images, of.real, of.both, strict=True)
    together = fmean((of.whole - less - less_real + both) ** 2 for less, less_real, both in triples)
    once = (len(of.both) - 1) ** 2 * together
    share = max(1 - once / (images + real), 0.5) if images + real else 1.0
    return [(share * images, len(of.images) - 1), (share * real, len(of.real) - 1)]


def _jackknife(values: Sequence[float]) -> float:
    """The variance of a statistic from its values without one block each."""
    return (len(values) - 1) ** 2 / len(values) * variance(values) if values else 0.0


def _seeds(seeds: Sequence[Measured], mean: Measured) -> Part:
    """What training seeds contribute to the squared error of their mean."""
    count = len(seeds)
    if count == 1:
        return 0.0, 1
    draws = fmean(sum(of for of, _ in _draws(seed - mean)) for seed in seeds) * count / (count - 1)
    return max(variance(seed.whole for seed in seeds) - draws, 0.0) / count, count - 1


def _mean(seeds: Sequence[Measured]) -> Measured:
    return _combined(seeds, [1 / len(seeds)] * len(seeds))


def _combined(of: Sequence[Measured], weights: Sequence[float]) -> Measured:
    def total(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
        return tuple(
            sum(weight * value for weight, value in zip(weights, values, strict=True))
            for values in zip(*rows, strict=True)
        )

    return Measured(
        whole=total([[one.whole] for one in of])[0],
        images=total([one.images for one in of]),
        real=total([one.real for one in of]),
        both=total([one.both for one in of]),
    )


Verdict = Literal["better", "as good", "worse", "open", "scorers differ", "not comparable"]
"""How a student compares with another or with its teacher."""


def relative(distance: float, teachers: Measured) -> float | None:
    """A distance over the teacher's; None where the teacher's is within its error of 0, and shares mean nothing."""
    return distance / teachers.whole if teachers.whole > standard_error(teachers) else None


def margin_of(share: float, teachers: Measured) -> float:
    """So much of the teacher's distance, which can be below 0 less its bias; then no margin is left."""
    return share * max(teachers.whole, 0.0)


def against(found: Difference, margin: float = 0.0) -> Verdict:
    """What a difference of distances says of the first one: better, if the whole interval is below 0; else as good, if
    it is below the margin; else worse, if it is above 0; else open."""
    if found.high < 0:
        return "better"
    if found.high < margin:
        return "as good"
    return "worse" if found.low > 0 else "open"


def agreed(verdicts: Sequence[Verdict]) -> Verdict:
    """What all scorers say that can be used, where they agree."""
    if not verdicts:
        return "not comparable"
    said = set(verdicts)
    if len(said) == 1:
        return verdicts[0]
    if said == {"better", "as good"}:
        return "as good"
    return "scorers differ" if "worse" in said and said & {"better", "as good"} else "open"
