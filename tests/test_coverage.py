"""How often intervals of differences hold the truth, in small; `python -m bench.coverage` measures it in large."""

from statistics import fmean

import pytest
import torch
from attrs import evolve

from bench.coverage import Case, simulate
from sfddm.evaluation.distances import frechet_distances
from sfddm.evaluation.moments import Sample, blocks, frechet_distance
from sfddm.evaluation.statistics import Measured, paired_difference

SMALL = Case(name="one seed", dimensions=16, images=1000, real=300)
SEEDS = evolve(SMALL, name="three seeds", seeds=3, training=0.1)
UNEQUAL = evolve(SMALL, name="unequal covariances", other_scale=0.9, shift=0.0)


@pytest.mark.parametrize(
    ("case", "repetitions"), [(SMALL, 100), (SEEDS, 50)], ids=lambda value: getattr(value, "name", "")
)
def test_intervals_hold_the_truth_about_as_often_as_they_say(case: Case, repetitions: int) -> None:
    found = simulate(case, repetitions)
    assert 0.90 <= found.coverage <= 0.99, found
    assert found.error == pytest.approx(found.scatter, rel=0.35), found
    assert abs(found.bias) < 0.4 * found.scatter, found


def test_a_difference_that_is_large_enough_never_has_the_wrong_sign() -> None:
    found = simulate(UNEQUAL, 100)
    assert found.truth > 0, "the narrower one is farther away"
    assert abs(found.bias) < 0.4 * found.scatter, found
    assert 0.90 <= found.coverage <= 0.99, found
    assert (found.sign, found.wrong) == (1, 0)


def measured(own: Sample, real: Sample) -> Measured:
    found = frechet_distances(own, real)
    return Measured(whole=found.unbiased, **{draw: tuple(of) for draw, of in found.jackknife.items()})


def test_a_student_of_too_little_variety_is_farther_away_though_each_of_its_blocks_is_nearer() -> None:
    """The covariance of few images scatters; that makes all distances larger, those of a narrow student by less, and
    in blocks by more than what it lacks."""
    random = torch.Generator().manual_seed(0)
    real, wide = (Sample(torch.randn(count, 64, generator=random)) for count in (3000, 320))
    narrow = Sample(0.8**0.5 * wide.features)

    def distance(own: Sample, block: slice) -> float:
        return frechet_distance(Sample(own.features[block]).whole, real.whole)

    assert fmean(distance(narrow, block) - distance(wide, block) for block in blocks(320)) < -1
    found = paired_difference([measured(narrow, real)], [measured(wide, real)])
    assert found.low > 0, "the whole interval"
