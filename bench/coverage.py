"""How often the 95 % interval of a difference of Frechet distances holds the true difference, and shows its sign:
`python -m bench.coverage [REPETITIONS [WITH 512 FEATURES [WITH 2048 FEATURES]]]`.

Students are Gaussian maps of common noises, so every repetition can draw new noises, new real images and newly trained
students, and the true difference, for endless images and seeds, is known.
"""

import sys
from math import sqrt
from statistics import fmean, stdev

import torch
from attrs import frozen
from torch import Tensor

from sfddm.evaluation.distances import frechet_distances
from sfddm.evaluation.moments import Sample
from sfddm.evaluation.statistics import Difference, Measured, paired_difference


@frozen(kw_only=True)
class Case:
    """Two students whose features are Gaussian, and how many images they are judged by."""

    name: str
    dimensions: int = 64
    images: int = 5000
    real: int = 797
    seeds: int = 1
    other_scale: float = 1.04
    """The scale of the second student's features; the first one's have that of the real images."""
    shift: float = 0.05
    """How far the features of both students are shifted."""
    training: float = 0.03
    """How much training seeds change scale and shift of every feature."""

    @property
    def spectrum(self) -> Tensor:
        """The standard deviation of every feature, [dimensions]."""
        return 1 / torch.arange(1, self.dimensions + 1, dtype=torch.float64) ** 0.25

    @property
    def spread(self) -> float:
        """How much seeds differ, where there are several."""
        return self.training if self.seeds > 1 else 0.0

    @property
    def truth(self) -> float:
        """How much farther away the second student is: that of feature i is spectrum_i^2 E[(scale - 1)^2]."""
        lacking = (self.other_scale - 1) ** 2 + (self.other_scale**2 - 1) * self.spread**2
        return float(self.spectrum.square().sum()) * lacking


CASES = (
    Case(name="one seed"),
    Case(name="three seeds", seeds=3),
    Case(name="unequal covariances", other_scale=0.9, shift=0.0),
    Case(name="unequal covariances, three seeds", seeds=3, other_scale=0.9, shift=0.0),
)
WIDE = Case(name="512 features", dimensions=512, images=2500, real=2500, other_scale=0.97, shift=0.0)
"""As many images per feature as in the next one, which takes sixty times as long."""
INCEPTION = Case(name="2048 features", dimensions=2048, images=10000, real=10000, other_scale=0.97, shift=0.0)
SHARED = 0.9
"""Correlation of two students' images of one noise: deterministic samplers of one teacher are alike."""


@frozen(kw_only=True)
class Outcome:
    """What many repetitions of a case show."""

    truth: float
    bias: float
    """By how much the estimates are off on average."""
    scatter: float
    """Standard deviation of the estimates."""
    error: float
    """What the standard errors say of it: the root of their mean square."""
    coverage: float
    """Share of intervals that hold the truth."""
    sign: float
    """Share of estimates that have its sign."""
    wrong: float
    """Share of intervals that leave out 0 on the wrong side."""


def simulate(case: Case, repetitions: int, seed: int = 0) -> Outcome:
    """Repeat a comparison with everything drawn anew."""
    random = torch.Generator().manual_seed(seed)
    found = [_difference(case, random) for _ in range(repetitions)]
    truth = case.truth
    return Outcome(
        truth=truth,
        bias=fmean(each.estimate for each in found) - truth,
        scatter=stdev(each.estimate for each in found),
        error=sqrt(fmean(each.error**2 for each in found)),
        coverage=fmean(each.low <= truth <= each.high for each in found),
        sign=fmean(each.estimate * truth > 0 for each in found),
        wrong=fmean(each.different and each.estimate * truth < 0 for each in found),
    )


def _difference(case: Case, random: torch.Generator) -> Difference:
    real = Sample((_normal(case.real, case, random) * case.spectrum).float())
    noises = _normal(case.images, case, random)
    students = []
    for scale in (1.0, case.other_scale):
        drawn = (_images(case, noises, scale, random) for _ in range(case.seeds))
        students.append([_measured(images * case.spectrum, real) for images in drawn])
    return paired_difference(students[1], students[0])


def _images(case: Case, noises: Tensor, scale: float, random: torch.Generator) -> Tensor:
    """Features of one trained student's images: its noises' and some of its own, scaled and shifted."""
    own = SHARED * noises + sqrt(1 - SHARED**2) * _normal(case.images, case, random)
    scales, shifts = (case.spread * _normal(1, case, random) for _ in range(2))
    return own * (scale * (1 + scales)) + case.shift + shifts


def _measured(features: Tensor, real: Sample) -> Measured:
    found = frechet_distances(Sample(features.float()), real)
    return Measured(whole=found.unbiased, **{draw: tuple(of) for draw, of in found.jackknife.items()})


def _normal(count: int, case: Case, random: torch.Generator) -> Tensor:
    return torch.randn(count, case.dimensions, generator=random, dtype=torch.float64)


def main(repetitions: int = 1000, wide: int = 100, large: int = 0) -> None:
    """Print a table of all cases that are repeated; one repetition with 2048 features takes a quarter of an hour."""
    print("| case | seeds | true difference | bias | scatter | standard error | coverage | right sign |")
    print("|---|---|---|---|---|---|---|---|")
    wanted = [*((case, repetitions) for case in CASES), (WIDE, wide), (INCEPTION, large)]
    for case, count in ((case, count) for case, count in wanted if count):
        seen = simulate(case, count)
        print(
            f"| {case.name}, D = {case.dimensions} | {case.seeds} | {seen.truth:.4f} | {seen.bias:+.4f} | "
            f"{seen.scatter:.4f} | {seen.error:.4f} | {seen.coverage:.1%} | {seen.sign:.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
